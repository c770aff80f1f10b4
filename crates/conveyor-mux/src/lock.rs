//! One writer per pane.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use rustix::fs::FlockOperation;
use rustix::fs::flock;
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Pin;

/// The right to type into one pane; given back when dropped, and by the kernel when the holder is killed.
#[derive(Debug)]
pub struct PaneLock {
    _file: File,
}

impl PaneLock {
    /// Takes the lock when it is free. `dir` is made when it is missing.
    pub fn try_acquire(dir: &Path, pin: &Pin) -> Result<Option<Self>> {
        let path = dir.join(file_name(pin));
        let file = open(dir, &path).map_err(|error| unusable(&path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(unusable(&path, error)),
        }
    }

    /// Waits for the lock, at most for `patience`.
    ///
    /// Errors: timeout when another process keeps it.
    pub async fn acquire(dir: &Path, pin: &Pin, patience: Duration) -> Result<Self> {
        if let Some(lock) = Self::try_acquire(dir, pin)? {
            return Ok(lock);
        }
        match timeout(patience, Self::wait(dir, pin)?).await {
            Ok(Ok(lock)) => lock,
            Ok(Err(_)) => Err(Error::environment("the thread that waits for a pane's lock has ended")),
            Err(_) => Err(Error::timeout(format!("another process is typing into {}", pin.pane))
                .hint("wait for it, or look who it is: `conveyor doctor`")),
        }
    }

    /// Waits in a thread, because flock can't be awaited. A thread of its own, not one of the runtime's: the runtime
    /// would wait for it when it is shut down. When nobody listens any more the lock is given back at once.
    fn wait(dir: &Path, pin: &Pin) -> Result<oneshot::Receiver<Result<Self>>> {
        let path = dir.join(file_name(pin));
        let file = open(dir, &path).map_err(|error| unusable(&path, error))?;
        let (answer, answered) = oneshot::channel();
        let wait = move || {
            let locked = loop {
                match flock(&file, FlockOperation::LockExclusive) {
                    Err(Errno::INTR) => {}
                    done => break done,
                }
            };
            let locked = locked.map(|()| Self { _file: file }).map_err(|error| unusable(&path, error));
            drop(answer.send(locked));
        };
        thread::Builder::new()
            .name("pane lock".to_owned())
            .spawn(wait)
            .map_err(|error| Error::environment(format!("cannot start a thread: {error}")))?;
        Ok(answered)
    }
}

/// The file of a pin. Server process and pane name a pane for ever: the lock of a reused pane id is another file.
fn file_name(pin: &Pin) -> PathBuf {
    let pane = pin.pane.to_string();
    let started = pin.server.started.unwrap_or(0);
    PathBuf::from(format!("pane-{}-{started}-{}.lock", pin.server.pid, pane.trim_start_matches('%')))
}

fn open(dir: &Path, path: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(path)
}

fn unusable(path: &Path, error: impl Into<io::Error>) -> Error {
    Error::environment(format!("cannot lock {}: {}", path.display(), error.into()))
        .hint("the folder has to be writable and on a local disk")
}
