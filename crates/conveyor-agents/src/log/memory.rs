//! Rollouts in memory, for simulations: they grow, are truncated and replaced at a word.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use super::AgentLog;
use super::FileKind;
use super::LogFile;
use super::Stat;
use super::thread_of_rollout;

/// Rollouts in memory; clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    files: Arc<Mutex<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    next_inode: u64,
    by_path: BTreeMap<PathBuf, Held>,
}

#[derive(Clone, Debug)]
struct Held {
    inode: u64,
    bytes: Arc<Mutex<Vec<u8>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryLog {
    /// Appends to a file; makes it if there is none.
    pub fn append(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let held = self.held(path.as_ref());
        lock(&held.bytes).extend_from_slice(bytes);
    }

    /// Cuts a file to `len` bytes.
    pub fn truncate(&self, path: impl AsRef<Path>, len: usize) {
        lock(&self.held(path.as_ref()).bytes).truncate(len);
    }

    /// Writes other bytes into the same file, as a program does that rewrites in place.
    pub fn rewrite(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        *lock(&self.held(path.as_ref()).bytes) = bytes.to_vec();
    }

    /// Puts another file in the place of one, as a rename does.
    pub fn replace(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        self.remove(path.as_ref());
        self.append(path, bytes);
    }

    /// Removes a file.
    pub fn remove(&self, path: impl AsRef<Path>) {
        lock(&self.files).by_path.remove(path.as_ref());
    }

    fn held(&self, path: &Path) -> Held {
        let mut files = lock(&self.files);
        if let Some(held) = files.by_path.get(path) {
            return held.clone();
        }
        files.next_inode += 1;
        let held = Held { inode: files.next_inode, bytes: Arc::default() };
        files.by_path.insert(path.to_owned(), held.clone());
        held
    }

    fn rollouts(&self, codex_home: &Path) -> Vec<PathBuf> {
        let roots = [codex_home.join("sessions"), codex_home.join("archived_sessions")];
        let is_there = |path: &&PathBuf| roots.iter().any(|root| path.starts_with(root));
        lock(&self.files).by_path.keys().filter(is_there).cloned().collect()
    }
}

impl LogFile for Held {
    fn stat(&self) -> io::Result<Stat> {
        let len = lock(&self.bytes).len() as u64;
        Ok(Stat { kind: FileKind::File, device: 1, inode: self.inode, len })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = lock(&self.bytes);
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl AgentLog for MemoryLog {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let held = lock(&self.files).by_path.get(path).cloned();
        Ok(Box::new(held.ok_or(io::ErrorKind::NotFound)?))
    }

    fn rollouts_of(&self, codex_home: &Path, thread_id: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = self.rollouts(codex_home);
        found.retain(|path| thread_of_rollout(path) == Some(thread_id));
        Ok(found)
    }

    fn threads_like(&self, codex_home: &Path, prefix: &str) -> io::Result<Vec<String>> {
        let found = self.rollouts(codex_home);
        let threads = found.iter().filter_map(|path| thread_of_rollout(path));
        Ok(threads.filter(|thread| thread.starts_with(prefix)).map(ToOwned::to_owned).collect())
    }
}
