//! Where the threads of a CODEX_HOME show themselves when they begin.
//!
//! Codex makes a thread's rollout with its first message, in the folder of the day on which the thread began, and from
//! 0.169 on its writer's lock when the thread begins (measured). Both are new names in folders that can be watched.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use crate::log::thread_of_rollout;

/// The newest days that are watched: a session of yesterday may get its first message today.
const DAYS: usize = 2;

/// The folders of a CODEX_HOME in which something new means a new thread, a new rollout, or a new day; all that exist.
pub fn folders(home: &Path) -> BTreeSet<PathBuf> {
    let sessions = home.join("sessions");
    let mut all = BTreeSet::from([home.to_owned(), home.join("thread-writer-locks"), sessions.clone()]);
    let mut days = 0;
    'years: for year in newest(&sessions) {
        for month in newest(&year) {
            for day in newest(&month) {
                all.extend([year.clone(), month.clone(), day]);
                days += 1;
                if days == DAYS {
                    break 'years;
                }
            }
            all.insert(month);
        }
        all.insert(year);
    }
    all.retain(|folder| folder.is_dir());
    all
}

/// The folders in a folder whose names are numbers, the greatest first.
fn newest(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_number))
        .map(|entry| entry.path())
        .collect();
    found.sort_unstable();
    found.reverse();
    found
}

/// What a new name in one of [`folders`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Birth {
    /// A thread's rollout or its writer's lock.
    Thread(String),
    /// Perhaps a folder that is to be watched too.
    Folder,
}

/// What this new name is; nothing for any other file.
pub fn of(path: &Path) -> Option<Birth> {
    if let Some(thread) = thread_of_rollout(path).or_else(|| crate::discover::lock_thread(path)) {
        return Some(Birth::Thread(thread.to_owned()));
    }
    let name = path.file_name()?.to_str()?;
    let is_folder =
        matches!(name, "sessions" | "thread-writer-locks") || name.bytes().all(|byte| byte.is_ascii_digit());
    is_folder.then_some(Birth::Folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a203b1-5a77-7b02-adb4-ea3209f7045a";

    #[test]
    fn the_newest_days_are_watched_and_what_a_new_day_begins_in() {
        let home = tempfile::tempdir().unwrap();
        for day in ["2025/12/30", "2025/12/31", "2026/01/01"] {
            std::fs::create_dir_all(home.path().join("sessions").join(day)).unwrap();
        }
        let found = folders(home.path());
        let expected = [
            "",
            "sessions",
            "sessions/2025",
            "sessions/2025/12",
            "sessions/2025/12/31",
            "sessions/2026",
            "sessions/2026/01",
            "sessions/2026/01/01",
        ];
        let expected = expected.map(|folder| home.path().join(folder).components().collect::<PathBuf>());
        assert_eq!(found, BTreeSet::from(expected));
    }

    #[test]
    fn a_rollout_and_a_lock_are_births_and_a_database_is_none() {
        let rollout = format!("/c/sessions/2026/01/01/rollout-2026-01-01T00-00-00-{ID}.jsonl");
        assert_eq!(of(Path::new(&rollout)), Some(Birth::Thread(ID.to_owned())));
        let lock = format!("/c/thread-writer-locks/{ID}.lock");
        assert_eq!(of(Path::new(&lock)), Some(Birth::Thread(ID.to_owned())));
        assert_eq!(of(Path::new("/c/sessions/2026/02")), Some(Birth::Folder));
        assert_eq!(of(Path::new("/c/state_5.sqlite-wal")), None);
    }
}
