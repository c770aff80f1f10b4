//! Waiting for names to appear or change in folders, without polling.
//!
//! Subscribe first, then look: what comes between [`Folders::watch`] and the looking is told by the next
//! [`Folders::changed`].

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use conveyor_model::Error;
use conveyor_model::Result;
use notify::EventKind;
use notify::RecommendedWatcher;
use notify::RecursiveMode;
use notify::Watcher;
use tokio::sync::Notify;

/// A set of folders in which something wakes a task.
pub struct Folders {
    watcher: RecommendedWatcher,
    bell: Arc<Notify>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// Watches no folder yet. Only paths that `concerns` says yes to wake anybody.
    pub fn new(concerns: impl Fn(&Path) -> bool + Send + 'static) -> Result<Self> {
        let bell = Arc::new(Notify::new());
        let ringer = Arc::clone(&bell);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let rings = match event {
                // Opening and closing: our own reading does that too.
                Ok(event) if matches!(event.kind, EventKind::Access(_)) && !event.need_rescan() => false,
                Ok(event) => event.need_rescan() || event.paths.iter().any(|path| concerns(path)),
                Err(_) => true,
            };
            if rings {
                ringer.notify_one();
            }
        })
        .map_err(|error| Error::environment(format!("the system cannot watch folders: {error}")))?;
        Ok(Self { watcher, bell, watched: BTreeSet::new() })
    }

    /// Watches these folders and no others. A folder that does not exist is passed over. The answer says whether one was
    /// not watched before: then it is to be looked into.
    pub fn watch(&mut self, wanted: &BTreeSet<PathBuf>) -> Result<bool> {
        let gone: Vec<PathBuf> = self.watched.difference(wanted).cloned().collect();
        for folder in gone {
            self.watched.remove(&folder);
            // It fails if the folder is gone, and then there is nothing to end.
            let _ = self.watcher.unwatch(&folder);
        }
        let mut fresh = false;
        for folder in wanted {
            if self.watched.contains(folder) {
                continue;
            }
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => fresh |= self.watched.insert(folder.clone()),
                Err(_) if !folder.exists() => {}
                Err(error) => {
                    let words = format!("{} cannot be watched: {error}", folder.display());
                    return Err(Error::environment(words));
                }
            }
        }
        Ok(fresh)
    }

    /// Returns when something that concerns the watcher has happened since the last call.
    pub async fn changed(&self) {
        self.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn rung(folders: &Folders) -> bool {
        tokio::time::timeout(Duration::from_millis(500), folders.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_new_name_wakes_and_what_does_not_concern_us_does_not() {
        let place = tempfile::tempdir().unwrap();
        let mut folders = Folders::new(|path| path.extension().is_some_and(|ext| ext == "json")).unwrap();
        let wanted = BTreeSet::from([place.path().to_owned(), place.path().join("missing")]);
        assert!(folders.watch(&wanted).unwrap());
        assert!(!folders.watch(&wanted).unwrap(), "nothing is new");
        std::fs::write(place.path().join("a.txt"), "x").unwrap();
        assert!(!rung(&folders).await);
        std::fs::write(place.path().join(".a"), "x").unwrap();
        std::fs::rename(place.path().join(".a"), place.path().join("a.json")).unwrap();
        assert!(rung(&folders).await);
        assert!(!folders.watch(&BTreeSet::new()).unwrap());
        std::fs::write(place.path().join("b.json"), "x").unwrap();
        while rung(&folders).await {}
        std::fs::write(place.path().join("c.json"), "x").unwrap();
        assert!(!rung(&folders).await, "a folder that is not wanted any more wakes nobody");
    }
}
