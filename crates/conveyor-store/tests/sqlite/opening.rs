//! Opening: what is read without writing, what is refused, and how long it takes.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::audit::Actor;
use conveyor_store::AuditRow;
use conveyor_store::Engine;
use conveyor_store::Ledger;
use conveyor_store::Location;
use conveyor_store::Mode;
use conveyor_store::OpenGate;
use conveyor_store::SystemClock;
use conveyor_store::audit;
use conveyor_store::testing::Place;

use crate::probe;
use crate::probe::Holder;
use crate::probe::Open;
use crate::probe::said;

async fn open(path: &Path, mode: Mode) -> Result<Option<Ledger>> {
    let location = Location::Sqlite(path.to_owned());
    Ledger::open(&location, mode, Arc::new(SystemClock), Arc::new(OpenGate)).await
}

async fn refused(path: &Path, mode: Mode) -> Error {
    open(path, mode).await.map(|_| ()).unwrap_err()
}

async fn commit_one(ledger: &Ledger) {
    let mut tx = ledger.write(&Actor::Operator).await.unwrap();
    tx.audit(AuditRow::new("tested", "a row")).await.unwrap();
    tx.commit().await.unwrap();
}

async fn place() -> (Place, PathBuf) {
    let place = Place::new(Engine::Sqlite).await.unwrap();
    let path = place.location().path().unwrap().to_owned();
    (place, path)
}

fn wal(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

fn append_in_another_process(path: &Path) {
    let output = probe::probe(&["append"], path).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// The four cases of a reader that cannot write: with and without a log, in a folder that can be written and in one that
/// can't. `nobody` reads what root wrote.
#[tokio::test]
async fn a_reader_without_rights_reads_with_and_without_a_log_and_leaves_no_trace() {
    for folder_mode in [0o755, 0o777] {
        for live in [true, false] {
            let room = Open::new();
            let inner = room.folder.path().join("state");
            fs::create_dir(&inner).unwrap();
            let path = inner.join("ledger.db");
            let ledger = open(&path, Mode::Write).await.unwrap().unwrap();
            commit_one(&ledger).await;
            let ledger = if live {
                Some(ledger)
            } else {
                ledger.close().await;
                None
            };
            for file in fs::read_dir(&inner).unwrap().flatten() {
                probe::mode(&file.path(), 0o644);
            }
            probe::mode(&inner, folder_mode);
            let shell = format!("echo x >> {}", path.display());
            let write = probe::as_nobody(Path::new("/bin/sh"), &["-c", &shell]);
            assert!(!write.status.success(), "a plain write must be refused, or this test shows nothing");

            let before = names(&inner);
            let output = room.probe_as_nobody("read", &path);
            assert_eq!(said(&output), "1 sound=true", "folder {folder_mode:o}, live {live}");
            assert_eq!(
                names(&inner),
                before,
                "reading leaves no file behind: folder {folder_mode:o}, live {live}"
            );
            let output = room.probe_as_nobody("append", &path);
            assert!(!output.status.success(), "{}", said(&output));
            drop(ledger);
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_writer_that_came_by_makes_a_lockless_read_unsound() {
    let (place, path) = place().await;
    let ledger = place.open().await.unwrap();
    commit_one(&ledger).await;
    ledger.close().await;

    let reader = open(&path, Mode::Read).await.unwrap().unwrap();
    assert_eq!(audit::head(&mut reader.read().await.unwrap()).await.unwrap().seq, 1);
    assert!(reader.read_is_sound());
    // The other process comes, writes, and takes its log with it: only the file itself shows that it was there.
    append_in_another_process(&path);
    assert!(!wal(&path).exists());
    assert!(!reader.read_is_sound());

    let again = open(&path, Mode::Read).await.unwrap().unwrap();
    assert_eq!(audit::head(&mut again.read().await.unwrap()).await.unwrap().seq, 2);
    let writer = place.open().await.unwrap();
    commit_one(&writer).await;
    assert!(!again.read_is_sound(), "a log has appeared");
    let live = open(&path, Mode::Read).await.unwrap().unwrap();
    commit_one(&writer).await;
    assert!(live.read_is_sound(), "with a log a reader is safe from writers");
    assert_eq!(audit::head(&mut live.read().await.unwrap()).await.unwrap().seq, 4);
}

#[tokio::test]
async fn reading_never_makes_a_ledger() {
    let (place, path) = place().await;
    assert!(open(&path, Mode::Read).await.unwrap().is_none());
    assert!(open(&path.join("nowhere"), Mode::Read).await.unwrap().is_none());
    assert_eq!(names(place.folder().unwrap()), [] as [&str; 0]);
    fs::write(&path, "").unwrap();
    assert!(open(&path, Mode::Read).await.unwrap().is_none(), "an empty file is what a killed maker leaves");
}

#[tokio::test]
async fn a_ledger_that_is_opened_to_read_takes_no_change() {
    let (place, path) = place().await;
    drop(place.open().await.unwrap());
    let reader = open(&path, Mode::Read).await.unwrap().unwrap();
    let error = reader.write(&Actor::Operator).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Ledger);
}

#[tokio::test]
async fn a_maker_that_was_killed_is_followed_by_one_that_finishes() {
    let (place, path) = place().await;
    fs::write(&path, "").unwrap();
    probe::mode(&path, 0o600);
    commit_one(&place.open().await.unwrap()).await;
}

#[tokio::test]
async fn reads_answer_at_once_while_another_process_holds_the_lock() {
    let (place, path) = place().await;
    let ledger = place.open().await.unwrap();
    commit_one(&ledger).await;
    let holder = Holder::of(&path);
    for _ in 0..20 {
        let begun = Instant::now();
        let reader = open(&path, Mode::Read).await.unwrap().unwrap();
        assert_eq!(audit::head(&mut reader.read().await.unwrap()).await.unwrap().seq, 1);
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    }
    // A writer that waits for the lock leaves the connection to this process's own readers in between.
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { commit_one(&ledger).await }
    });
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(audit::head(&mut ledger.read().await.unwrap()).await.unwrap().seq, 1);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    assert!(!waiting.is_finished(), "the lock is still held");
    holder.kill();
    waiting.await.unwrap();
    assert_eq!(
        audit::head(&mut ledger.read().await.unwrap()).await.unwrap().seq,
        2,
        "a killed holder's lock is free"
    );
}

#[tokio::test]
async fn four_processes_make_one_chain() {
    let (place, path) = place().await;
    let writers: Vec<_> = (0..4)
        .map(|_| probe::probe(&["append", "50"], &path).stdout(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let ledger = place.open().await.unwrap();
    assert_eq!(audit::check(&mut ledger.read().await.unwrap(), None).await.unwrap(), Ok(200));
}

#[tokio::test]
async fn foreign_and_damaged_files_are_named_as_what_they_are() {
    let (place, path) = place().await;
    fs::write(&path, "this is a text about conveyors ".repeat(100)).unwrap();
    probe::mode(&path, 0o600);
    for mode in [Mode::Read, Mode::Write] {
        let error = refused(&path, mode).await;
        assert_eq!((error.kind, error.retry), (ErrorKind::Ledger, Retry::Safe));
        assert!(error.message.contains("no SQLite file"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let made = Command::new("python3")
        .arg("-c")
        .arg("import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('create table sessions (id text)'); c.commit()")
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    probe::mode(&path, 0o600);
    for mode in [Mode::Read, Mode::Write] {
        let error = refused(&path, mode).await;
        assert!(error.message.contains("another program"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let ledger = place.open().await.unwrap();
    for _ in 0..200 {
        commit_one(&ledger).await;
    }
    ledger.close().await;
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(8_192) {
        *byte ^= 0x5a;
    }
    fs::write(&path, bytes).unwrap();
    let findings =
        conveyor_store::doctor::examine(place.location(), Arc::new(SystemClock), None).await.unwrap();
    assert!(findings.exists && !findings.ok());
    let ledger = open(&path, Mode::Write).await;
    let error = match ledger {
        Err(error) => error,
        Ok(ledger) => {
            let mut tx = ledger.unwrap().write(&Actor::Operator).await.unwrap();
            tx.audit(AuditRow::new("tested", "a row")).await.unwrap_err()
        }
    };
    assert!(error.message.contains("damaged"), "{error}");
    assert_eq!(error.hint.as_deref(), Some("conveyor db-doctor"));
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_accepted() {
    let mount = Mount::new("size=2m");
    let path = mount.folder.path().join("ledger.db");
    let ledger = open(&path, Mode::Write).await.unwrap().unwrap();
    let mut accepted = 0;
    let error = loop {
        let mut tx = ledger.write(&Actor::Operator).await.unwrap();
        let row = AuditRow::new("tested", "x".repeat(20_000));
        let done = match tx.audit(row).await {
            Ok(_) => tx.commit().await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1_000, "the disk is larger than it should be");
    };
    assert!(error.message.contains("no room"), "{error}");
    assert_eq!((error.kind, error.retry), (ErrorKind::Ledger, Retry::Safe));
    let mut db = ledger.read().await.unwrap();
    assert_eq!(audit::check(&mut db, None).await.unwrap(), Ok(accepted));
}

#[tokio::test]
async fn a_read_only_file_system_is_read_and_not_written() {
    let mount = Mount::new("size=8m");
    let path = mount.folder.path().join("ledger.db");
    let ledger = open(&path, Mode::Write).await.unwrap().unwrap();
    commit_one(&ledger).await;
    ledger.close().await;
    mount.remount_read_only();
    let reader = open(&path, Mode::Read).await.unwrap().unwrap();
    assert_eq!(audit::head(&mut reader.read().await.unwrap()).await.unwrap().seq, 1);
    let error = refused(&path, Mode::Write).await;
    assert!(error.message.contains("not written") || error.message.contains("read but"), "{error}");
}

/// A small file system in memory. Needs root.
struct Mount {
    folder: tempfile::TempDir,
}

impl Mount {
    fn new(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("{options},mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()));
        Self { folder }
    }

    fn remount_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(self.folder.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(self.folder.path()));
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
