//! Rollouts in the file system.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::OFlags;

use super::AgentLog;
use super::FileKind;
use super::LogFile;
use super::Stat;
use super::thread_id;
use super::thread_of_rollout;

/// The real files.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsLog;

impl LogFile for File {
    fn stat(&self) -> io::Result<Stat> {
        let meta = self.metadata()?;
        let kind = match meta.file_type() {
            kind if kind.is_file() => FileKind::File,
            kind if kind.is_dir() => FileKind::Folder,
            _ => FileKind::Other,
        };
        Ok(Stat { kind, device: meta.dev(), inode: meta.ino(), len: meta.len() })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }
}

impl AgentLog for FsLog {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        Ok(Box::new(OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?))
    }

    fn rollouts_of(&self, codex_home: &Path, thread_id: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for_each_rollout(codex_home, &mut |path, thread| {
            if thread == thread_id {
                found.push(path.to_owned());
            }
        })?;
        found.sort();
        Ok(found)
    }

    fn threads_like(&self, codex_home: &Path, prefix: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut keep = |thread: &str| {
            if thread.starts_with(prefix) {
                found.push(thread.to_owned());
            }
        };
        for_each_rollout(codex_home, &mut |_, thread| keep(thread))?;
        for path in entries(&codex_home.join("thread-writer-locks"))? {
            let stem = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".lock"));
            stem.and_then(thread_id).into_iter().for_each(&mut keep);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// `sessions/YYYY/MM/DD` and `archived_sessions`, whatever its depth.
fn for_each_rollout(codex_home: &Path, visit: &mut dyn FnMut(&Path, &str)) -> io::Result<()> {
    const DEEPEST: usize = 4;
    let mut folders = vec![(codex_home.join("sessions"), 0), (codex_home.join("archived_sessions"), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder)? {
            match thread_of_rollout(&path) {
                Some(thread) => visit(&path, thread),
                None if depth < DEEPEST && path.is_dir() => folders.push((path, depth + 1)),
                None => {}
            }
        }
    }
    Ok(())
}

/// What a folder holds; nothing if there is none.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
