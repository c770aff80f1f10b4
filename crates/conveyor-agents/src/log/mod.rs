//! The effect: an agent's log, as files that grow.

mod fs;
mod memory;

use std::io;
use std::path::Path;
use std::path::PathBuf;

pub use fs::FsLog;
pub use memory::MemoryLog;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A socket, a pipe, a device.
    Other,
}

/// Which file it is, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Its device.
    pub device: u64,
    /// Its inode on that device.
    pub inode: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// A file that was opened: the same one even if another takes its name.
pub trait LogFile: Send + Sync {
    /// What it is now.
    fn stat(&self) -> io::Result<Stat>;

    /// Reads from `offset` on; 0 bytes mean the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// Where rollouts lie.
pub trait AgentLog: Send + Sync {
    /// Opens a file; opening a pipe must not wait for its writer.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// All rollouts under a CODEX_HOME whose name holds exactly this thread id, archived ones too. A name that holds
    /// the id proves the path; no other property of a file does.
    fn rollouts_of(&self, codex_home: &Path, thread_id: &str) -> io::Result<Vec<PathBuf>>;

    /// Ids that begin with `prefix` of threads that this CODEX_HOME knows: by a rollout, or by a writer's lock, which
    /// exists before the first message.
    fn threads_like(&self, codex_home: &Path, prefix: &str) -> io::Result<Vec<String>>;
}

/// The thread id at the end of a rollout's name: `rollout-2026-11-22T14-34-25-<uuid>.jsonl`, also when compressed.
pub fn thread_of_rollout(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_prefix("rollout-")?;
    let stem = name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".jsonl.zst"))?;
    thread_id(stem.get(stem.len().checked_sub(THREAD_ID_CHARS)?..)?)
}

/// Length of a UUID.
pub const THREAD_ID_CHARS: usize = 36;

/// `text` if it is a thread id: a UUID in lower case.
pub fn thread_id(text: &str) -> Option<&str> {
    (text.len() == THREAD_ID_CHARS && is_thread_prefix(text)).then_some(text)
}

/// Whether `text` could be the beginning of a thread id.
pub fn is_thread_prefix(text: &str) -> bool {
    text.len() <= THREAD_ID_CHARS
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_rollout_holds_its_thread() {
        let id = "01a203ae-04ca-7370-9952-c3bf08534c3d";
        let name = format!("/h/sessions/2026/11/22/rollout-2026-11-22T14-34-25-{id}.jsonl");
        assert_eq!(thread_of_rollout(Path::new(&name)), Some(id));
        assert_eq!(thread_of_rollout(Path::new(&format!("{name}.zst"))), Some(id));
        assert_eq!(thread_of_rollout(Path::new("rollout-é.jsonl")), None);
        assert_eq!(thread_of_rollout(Path::new("/h/history.jsonl")), None);
        assert!(is_thread_prefix(&id[..29]) && !is_thread_prefix("01A2") && thread_id(&id[..35]).is_none());
    }
}
