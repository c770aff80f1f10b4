//! A clean working tree of one commit, for as long as a check runs.
//!
//! Each lies in a folder of its own below the state folder, with a file that is locked while it is in use. The lock ends
//! with its process, however that ends, so whoever comes next knows what is left over and takes it away.

use std::fs;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;

use super::Commit;
use super::Repository;
use crate::Plane;

/// A working tree that nobody else uses.
#[derive(Debug)]
pub(super) struct Checkout {
    folder: PathBuf,
    /// The working tree.
    pub(super) tree: PathBuf,
    /// A home directory of its own.
    pub(super) home: PathBuf,
    /// Where its temporary files go.
    pub(super) temporary: PathBuf,
    _lock: File,
}

impl Checkout {
    /// Checks a commit out, after taking away what killed processes left over.
    pub(super) async fn of(plane: &Plane, repository: &Repository, commit: &Commit) -> Result<Self> {
        let all = plane.state_dir()?.join("checks");
        let folder = all.join(plane.clock.uuid_v7().to_string());
        let failed = |error: std::io::Error| {
            Error::environment(format!(
                "a folder for the check cannot be made at {}: {error}",
                folder.display()
            ))
        };
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        let [home, temporary] = ["home", "tmp"].map(|name| folder.join(name));
        private.create(&all).map_err(failed)?;
        // Nobody may take a folder for left over between its making and its locking.
        let making = File::create(all.join("lock")).map_err(failed)?;
        making.lock().map_err(failed)?;
        sweep(&all);
        for path in [&folder, &home, &temporary] {
            private.create(path).map_err(failed)?;
        }
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        drop(making);
        let tree = folder.join("tree");
        let checkout = Self { folder, tree, home, temporary, _lock: lock };
        let path = checkout.tree.display().to_string();
        let words = ["worktree", "add", "--detach", "--force", "--quiet", &path, &commit.id];
        let writing = [checkout.folder.as_path(), &repository.git_dir];
        if let Err(error) = repository.git(plane, &words, &writing).await {
            checkout.remove(plane, repository).await;
            return Err(error.during(format!("checking out {}", commit.id)));
        }
        Ok(checkout)
    }

    /// Takes it away again. What cannot be taken away now is left to the next one.
    pub(super) async fn remove(self, plane: &Plane, repository: &Repository) {
        remove(&self.folder);
        // Also forgets those that a killed process left over.
        let pruned =
            repository.git(plane, &["worktree", "prune", "--expire=now"], &[&repository.git_dir]).await;
        if let Err(error) = pruned {
            tracing::warn!(%error, "a removed working tree is still listed by its repository");
        }
    }
}

/// Takes away what nobody holds any more.
fn sweep(all: &Path) {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let held = File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_err());
        if !held {
            remove(&entry.path());
        }
    }
}

/// Removes a folder, also one in which a check took its own rights away.
fn remove(folder: &Path) {
    if fs::remove_dir_all(folder).is_ok() {
        return;
    }
    open_up(folder);
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "what a check left cannot be removed");
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // A link is not followed.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
