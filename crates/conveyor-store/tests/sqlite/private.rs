//! A ledger belongs to one user: whoever else could write it could make the dispatcher act.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::audit::Actor;
use conveyor_store::AuditRow;
use conveyor_store::Engine;
use conveyor_store::Ledger;
use conveyor_store::Location;
use conveyor_store::Mode;
use conveyor_store::OpenGate;
use conveyor_store::SystemClock;
use conveyor_store::testing::Place;

use crate::probe;

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

async fn refused(path: &Path) -> Error {
    let location = Location::Sqlite(path.to_owned());
    let opened = Ledger::open(&location, Mode::Write, Arc::new(SystemClock), Arc::new(OpenGate)).await;
    opened.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn folder_and_files_are_made_private() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("a/conveyor");
    let location = Location::Sqlite(folder.join("ledger.db"));
    let ledger = Ledger::open(&location, Mode::Write, Arc::new(SystemClock), Arc::new(OpenGate)).await;
    let ledger = ledger.unwrap().unwrap();
    let _lock = ledger.try_lock("dispatch").await.unwrap().unwrap();
    let mut tx = ledger.write(&Actor::Operator).await.unwrap();
    tx.audit(AuditRow::new("tested", "x")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(mode_of(&folder), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).unwrap().flatten() {
        assert_eq!(mode_of(&file.path()), 0o600, "{}", file.path().display());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    let expected =
        ["ledger.db", "ledger.db-shm", "ledger.db-wal", "ledger.db.bell", "ledger.db.dispatch.lock"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_file_or_folder_that_others_can_write_is_refused() {
    let place = Place::new(Engine::Sqlite).await.unwrap();
    let path = place.location().path().unwrap().to_owned();
    drop(place.open().await.unwrap());
    for (target, mode, cure) in
        [(path.as_path(), 0o644, "chmod go= "), (path.parent().unwrap(), 0o777, "chmod go-w ")]
    {
        let before = mode_of(target);
        probe::mode(target, mode);
        let error = refused(&path).await;
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
        assert!(error.hint.unwrap().starts_with(cure));
        probe::mode(target, before);
    }
    drop(place.open().await.unwrap());
}

#[tokio::test]
async fn another_users_file_or_folder_is_refused() {
    let place = Place::new(Engine::Sqlite).await.unwrap();
    let path = place.location().path().unwrap().to_owned();
    drop(place.open().await.unwrap());
    for target in [path.as_path(), path.parent().unwrap()] {
        std::os::unix::fs::chown(target, Some(65_534), None).unwrap();
        let error = refused(&path).await;
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
        assert!(error.message.contains("belongs to user 65534"), "{error}");
        std::os::unix::fs::chown(target, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    }
}

#[tokio::test]
async fn the_same_ledger_under_another_name_has_the_same_bell_and_locks() {
    let place = Place::new(Engine::Sqlite).await.unwrap();
    let path = place.location().path().unwrap().to_owned();
    let ledger = place.open().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let location = Location::Sqlite(link);
    let linked = Ledger::open(&location, Mode::Write, Arc::new(SystemClock), Arc::new(OpenGate)).await;
    let linked = linked.unwrap().unwrap();
    assert_eq!(linked.location(), ledger.location());
    let _held = linked.try_lock("dispatch").await.unwrap().unwrap();
    assert!(ledger.is_locked("dispatch").await.unwrap());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}
