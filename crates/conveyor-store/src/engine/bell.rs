//! The doorbell: what a writer rings after its commit, and a reader waits for.
//!
//! SQLite: one byte is written into `<ledger>.bell`, always at offset 0, so that the file never grows; each reader watches
//! the file with the system's file events, so that any number of readers wake and none has to be known to the
//! writer. (A FIFO would give each byte to one reader only.) The log `-wal` is never watched: its write event comes before
//! the commit can be seen, and 145 of 150 wakes were lost that way. PostgreSQL: NOTIFY inside the transaction, LISTEN on a
//! connection of its own.
//!
//! A reader subscribes first and reads then. A ring between two waits is kept, several become one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use notify::EventKind;
use notify::RecommendedWatcher;
use notify::RecursiveMode;
use notify::Watcher;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::engine::postgres::CHANNEL;
use crate::engine::sqlite::beside;
use crate::engine::trouble;

/// The file into which SQLite's writers ring.
pub(crate) fn file(path: &Path) -> PathBuf {
    beside(path, ".bell")
}

/// The writer's end on SQLite: the file stays open, so that a ring is one system call.
#[derive(Debug)]
pub(crate) struct Rope {
    file: Option<fs::File>,
}

impl Rope {
    /// Opens the bell's file, making it when it is missing.
    pub(crate) fn new(path: &Path) -> Self {
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file(path));
        if let Err(error) = &file {
            tracing::warn!(%error, "the doorbell cannot be rung; readers will notice with their next sweep");
        }
        Self { file: file.ok() }
    }

    /// Wakes the readers. A failure costs them a sweep and must not fail what was committed.
    pub(crate) fn ring(&self) {
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.write_at(b"!", 0)) {
            tracing::warn!(%error, "the doorbell could not be rung");
        }
    }
}

/// The reader's end. It listens from the moment in which it is made.
#[derive(Debug)]
pub struct Bell {
    rung: Arc<Notify>,
    _ear: Ear,
}

#[derive(Debug)]
enum Ear {
    File(#[expect(dead_code, reason = "listens as long as it lives")] RecommendedWatcher),
    Server(JoinHandle<()>),
}

impl Drop for Ear {
    fn drop(&mut self) {
        match self {
            Self::File(_) => {}
            Self::Server(task) => task.abort(),
        }
    }
}

impl Bell {
    /// Listens to the bell of a ledger in a file.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        let told = |error: &dyn std::fmt::Display| {
            Error::environment(format!("the ledger's doorbell cannot be watched: {error}"))
                .hint("raise fs.inotify.max_user_instances, or poll instead of waiting")
        };
        let file = file(path);
        super::sqlite::make_private(&file).map_err(|error| told(&error))?;
        let rung = Arc::new(Notify::new());
        let ring = Arc::clone(&rung);
        let mut ear = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if is_ring(&event) {
                ring.notify_one();
            }
        })
        .map_err(|error| told(&error))?;
        ear.watch(&file, RecursiveMode::NonRecursive).map_err(|error| told(&error))?;
        Ok(Self { rung, _ear: Ear::File(ear) })
    }

    /// Listens to the bell of a database. The connection is made anew by itself when it breaks.
    pub(crate) async fn of_server(url: &str, place: &str) -> Result<Self> {
        let told = |error: sqlx::Error| trouble::told(&error.into(), place);
        let mut listener = PgListener::connect(url).await.map_err(told)?;
        listener.listen(CHANNEL).await.map_err(told)?;
        let rung = Arc::new(Notify::new());
        let ring = Arc::clone(&rung);
        let task = tokio::spawn(async move {
            loop {
                // `None` means that the connection was lost: something may have been missed, so it counts as a ring.
                let heard = listener.try_recv().await;
                ring.notify_one();
                if let Err(error) = heard {
                    tracing::warn!(%error, "the doorbell's connection is broken");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
        Ok(Self { rung, _ear: Ear::Server(task) })
    }

    /// Returns when the bell was rung since the last call, or since the bell was made.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Waits for a ring, at most for `patience` on `clock`. Whether it was rung.
    pub async fn rung_within(&self, clock: &dyn Clock, patience: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.rung() => true,
            () = clock.sleep(patience) => false,
        }
    }
}

/// Whether a file event is a ring. Opening and closing the file are not; an error or a lost queue counts as one, because
/// something may have been missed.
fn is_ring(event: &notify::Result<notify::Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(_) => event.need_rescan(),
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => true,
        },
        Err(_) => true,
    }
}
