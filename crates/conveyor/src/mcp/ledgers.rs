//! The ledgers of recent callers, kept open between calls.
//!
//! Opening costs more than a small call, on PostgreSQL by far. But a server lives as long as its agent, which may sleep
//! for days, and there is one for each: so an idle one lets go of its ledger, and each call first makes sure that what
//! it was lent is still the ledger that it would open itself.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use conveyor_engine::Caller;
use conveyor_engine::Environment;
use conveyor_engine::Plane;
use conveyor_engine::plane::Effects;
use conveyor_model::Result;
use conveyor_model::limits;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::sleep_until;

/// Opens planes for callers.
pub(super) struct Ledgers {
    environment: Environment,
    db: Option<String>,
    kept: Mutex<Kept>,
    filled: Notify,
    idle: Duration,
}

/// What is open, the latest last.
struct Kept {
    lent: Vec<Lent>,
    used: Instant,
}

/// A plane for one call.
#[derive(Clone)]
pub(super) struct Lent {
    /// The plane.
    pub(super) plane: Arc<Plane>,
    /// Which file the ledger was before it was opened.
    file: Option<FileId>,
}

/// What tells a file from another that came to lie in its place: device and inode. A server's is always the same.
type FileId = (u64, u64);

impl Ledgers {
    /// For callers in these surroundings; `db` names the ledger of all of them.
    pub(super) fn new(environment: Environment, db: Option<String>) -> Self {
        let kept = Mutex::new(Kept { lent: Vec::new(), used: Instant::now() });
        Self { environment, db, kept, filled: Notify::new(), idle: limits::MCP_LEDGER_IDLE }
    }

    /// The plane of a caller, on the ledger that is the caller's now.
    pub(super) fn lend(&self, caller: Caller) -> Result<Lent> {
        let plane = Plane::with(self.environment.clone(), caller, self.db.as_deref(), Effects::real())?;
        let fresh = Lent { file: file_id(&plane), plane: Arc::new(plane) };
        let mut kept = self.kept();
        kept.used = Instant::now();
        Ok(kept.lent.iter().find(|lent| lent.serves_like(&fresh)).cloned().unwrap_or(fresh))
    }

    /// Keeps a plane for the next call, unless what it read or where it wrote is no longer the ledger.
    pub(super) fn keep(&self, lent: Lent) {
        let same_file = lent.file.is_some() && lent.file == file_id(&lent.plane);
        if !same_file || !lent.plane.is_open() || !lent.plane.read_is_sound() {
            return;
        }
        let mut kept = self.kept();
        kept.used = Instant::now();
        kept.lent.retain(|other| !other.serves_like(&lent));
        if kept.lent.len() == limits::MCP_LEDGERS {
            kept.lent.remove(0);
        }
        kept.lent.push(lent);
        self.filled.notify_one();
    }

    /// Closes what nobody used for a while, for ever.
    pub(super) async fn let_go(&self) {
        loop {
            self.filled.notified().await;
            while let Some(until) = self.unused_until() {
                sleep_until(until).await;
            }
        }
    }

    /// When what is kept will have been idle for long enough. Where that is past, nothing is kept any more.
    fn unused_until(&self) -> Option<Instant> {
        let mut kept = self.kept();
        let until = kept.used + self.idle;
        if until <= Instant::now() {
            kept.lent.clear();
        }
        (!kept.lent.is_empty()).then_some(until)
    }

    /// How many ledgers are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.kept().lent.len()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing between taking and leaving it can panic half-way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// Whether a call may use this plane instead of the other.
    fn serves_like(&self, other: &Self) -> bool {
        self.file == other.file
            && self.plane.caller == other.plane.caller
            && self.plane.location() == other.plane.location()
            && self.plane.read_is_sound()
    }
}

/// The file that lies where a plane's ledger is.
fn file_id(plane: &Plane) -> Option<FileId> {
    match plane.location().path() {
        Some(path) => std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino())),
        None => Some((0, 0)),
    }
}

#[cfg(test)]
mod tests;
