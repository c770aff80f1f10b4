//! Waiting for files to grow, without polling.
//!
//! Subscribe first, then read: a file that grows between [`Watch::add`] and the reading is told by the next
//! [`Watch::changed`], so nothing falls between. A file, and the folders above it, need not exist yet.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use conveyor_model::Error;
use conveyor_model::Result;
use notify::EventKind;
use notify::RecommendedWatcher;
use notify::RecursiveMode;
use notify::Watcher;
use notify::event::ModifyKind;

/// A set of files whose growth wakes a task.
pub struct Watch {
    watcher: RecommendedWatcher,
    news: Arc<News>,
    /// The files, and for each the folder that is watched for its sake: its own, or the nearest above that exists.
    files: BTreeMap<PathBuf, PathBuf>,
    /// Folders in which new names are told.
    folders: BTreeSet<PathBuf>,
}

/// What the system has told since it was last asked.
#[derive(Default)]
struct News {
    told: Mutex<Told>,
    bell: tokio::sync::Notify,
}

#[derive(Default)]
struct Told {
    paths: BTreeSet<PathBuf>,
    /// Those of them that are new names.
    born: BTreeSet<PathBuf>,
    /// Names came, went or moved, or events were lost: folders must be looked at again.
    names: bool,
    /// Events were lost: all files may have changed.
    lost: bool,
}

impl Watch {
    /// A watch of no file yet.
    pub fn new() -> Result<Self> {
        let news = Arc::new(News::default());
        let teller = Arc::clone(&news);
        let watcher = notify::recommended_watcher(move |event| teller.tell(event))
            .map_err(|error| failed("the system cannot watch files", &error))?;
        Ok(Self { watcher, news, files: BTreeMap::new(), folders: BTreeSet::new() })
    }

    /// Watches a file, which need not exist.
    pub fn add(&mut self, file: &Path) -> Result<()> {
        if !self.files.contains_key(file) {
            self.arm(file)?;
        }
        Ok(())
    }

    /// Watches a file no longer.
    pub fn remove(&mut self, file: &Path) {
        if let Some(folder) = self.files.remove(file)
            && !self.files.values().any(|other| *other == folder)
            && !self.folders.contains(&folder)
        {
            // It fails if the folder is gone, and then there is nothing to end.
            let _ = self.watcher.unwatch(&folder);
        }
    }

    /// Watches these folders, and no other ones, for new names in them. A folder that does not exist is passed over.
    ///
    /// Subscribe first, then look into them. The answer says whether one was not watched before.
    pub fn watch_folders(&mut self, wanted: &BTreeSet<PathBuf>) -> Result<bool> {
        let gone: Vec<_> = self.folders.difference(wanted).cloned().collect();
        for folder in gone {
            self.folders.remove(&folder);
            if !self.files.values().any(|other| *other == folder) {
                // As above.
                let _ = self.watcher.unwatch(&folder);
            }
        }
        let before = self.folders.len();
        for folder in wanted.iter().filter(|folder| folder.is_dir()) {
            if self.folders.contains(folder) {
                continue;
            }
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.folders.insert(folder.clone())),
                Err(_) if !folder.exists() => {}
                Err(error) => return Err(failed(&format!("{} cannot be watched", folder.display()), &error)),
            }
        }
        Ok(self.folders.len() > before)
    }

    /// The files that changed since the last call or since they were added, and the new names in watched folders: at
    /// least one. A file may be named that did not grow; none that grew is left out.
    ///
    /// Safe to drop and call again: what was told in between is kept.
    pub async fn changed(&mut self) -> Result<BTreeSet<PathBuf>> {
        loop {
            let changed = self.take()?;
            if !changed.is_empty() {
                return Ok(changed);
            }
            self.news.bell.notified().await;
        }
    }

    fn take(&mut self) -> Result<BTreeSet<PathBuf>> {
        let told = std::mem::take(&mut *self.news.lock());
        let mut changed =
            if told.lost { self.files.keys().cloned().collect() } else { self.known(&told.paths) };
        let is_watched = |path: &&PathBuf| path.parent().is_some_and(|folder| self.folders.contains(folder));
        changed.extend(told.born.iter().filter(is_watched).cloned());
        if told.names || told.lost {
            changed.extend(self.rearm()?);
        }
        Ok(changed)
    }

    fn known(&self, paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        paths.iter().filter(|path| self.files.contains_key(*path)).cloned().collect()
    }

    /// Watches nearer folders where they exist now; the answer is the files for which that was so.
    fn rearm(&mut self) -> Result<Vec<PathBuf>> {
        let moved = self.files.iter().filter(|(file, folder)| nearest(file) != **folder);
        let moved: Vec<_> = moved.map(|(file, _)| file.clone()).collect();
        for file in &moved {
            self.remove(file);
            self.arm(file)?;
        }
        Ok(moved)
    }

    fn arm(&mut self, file: &Path) -> Result<()> {
        loop {
            let folder = nearest(file);
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                // A folder may appear after the look and before the watch: look again.
                Ok(()) if nearest(file) == folder => {
                    self.files.insert(file.to_owned(), folder);
                    return Ok(());
                }
                Ok(()) => {}
                Err(_) if !folder.exists() => {}
                Err(error) => return Err(failed(&format!("{} cannot be watched", folder.display()), &error)),
            }
        }
    }
}

/// The folder of `file`, or the nearest above it that exists.
fn nearest(file: &Path) -> PathBuf {
    let folder = file.ancestors().skip(1).find(|folder| folder.is_dir());
    folder.unwrap_or_else(|| Path::new("/")).to_owned()
}

fn failed(what: &str, error: &notify::Error) -> Error {
    let failed = Error::environment(format!("{what}: {error}"));
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            failed.hint("raise the limit: sysctl fs.inotify.max_user_watches=524288")
        }
        _ => failed,
    }
}

impl News {
    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: notify::Result<notify::Event>) {
        let mut told = self.lock();
        match event {
            // Opening and closing: our own reading does that too, and would wake itself for ever.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) && !event.need_rescan() => return,
            Ok(event) => {
                told.lost |= event.need_rescan();
                told.names |= moves_names(event.kind);
                if matches!(event.kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_))) {
                    told.born.extend(event.paths.iter().cloned());
                }
                told.paths.extend(event.paths);
            }
            Err(_) => told.lost = true,
        }
        drop(told);
        self.bell.notify_one();
    }
}

const fn moves_names(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

#[cfg(test)]
mod tests;
