//! What can be wrong with a rollout as a whole, and what to do about it.

use std::io;
use std::path::Path;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;

use super::about;
use crate::log::AgentLog;
use crate::log::FileKind;
use crate::log::LogFile;

/// How compressed files begin: zstd, gzip, xz, bzip2.
const COMPRESSED: [(&[u8], &str, &str); 4] = [
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d --keep"),
    (b"\x1f\x8b", "gzip", "gzip -d --keep"),
    (b"\xfd7zXZ", "xz", "xz -d --keep"),
    (b"BZh", "bzip2", "bzip2 -d --keep"),
];

pub(super) fn open(log: &dyn AgentLog, path: &Path) -> Result<Box<dyn LogFile>> {
    let file = log.open(path).map_err(|error| not_opened(log, path, &error))?;
    match file.stat().map_err(|error| read(path, &error))?.kind {
        FileKind::File => Ok(file),
        FileKind::Folder => Err(about(path, "is a folder, not a rollout")
            .hint("name the file itself: sessions/YYYY/MM/DD/rollout-…-<thread id>.jsonl under CODEX_HOME")),
        FileKind::Other => Err(about(path, "is neither a file nor a folder")),
    }
}

fn not_opened(log: &dyn AgentLog, path: &Path, error: &io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return read(path, error);
    }
    let packed = path.with_added_extension("zst");
    if log.open(&packed).is_ok() {
        return about(path, "was compressed by Codex").hint(format!("zstd -d --keep {}", quoted(&packed)));
    }
    about(path, "does not exist").hint(
        "Codex writes a rollout with a thread's first message, and moves it to archived_sessions when the thread is \
         archived; run `conveyor discover` to see where it is",
    )
}

pub(super) fn read(path: &Path, error: &io::Error) -> Error {
    let failed = about(path, &format!("cannot be read: {error}"));
    if error.kind() == io::ErrorKind::PermissionDenied {
        return failed
            .hint("run conveyor as the user who runs Codex: its rollouts are readable by that user only");
    }
    failed.retry(Retry::Safe)
}

pub(super) fn foreign(path: &Path, expected: &str, found: &str) -> Error {
    about(path, &format!("holds thread {found}, not {expected} any more")).hint(
        "another thread's file took its place; register the session again with the rollout of its own thread",
    )
}

pub(super) fn refuse_compressed(path: &Path, file: &dyn LogFile) -> Result<()> {
    let mut head = [0; 8];
    let len = file.read_at(0, &mut head).map_err(|error| read(path, &error))?;
    match COMPRESSED.iter().find(|(magic, _, _)| head[..len].starts_with(magic)) {
        Some((_, name, command)) => {
            Err(about(path, &format!("is compressed with {name}"))
                .hint(format!("{command} {}", quoted(path))))
        }
        None => Ok(()),
    }
}

/// The path as a word of a shell command.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
