//! The dispatcher: it reads what agents newly recorded and carries out what is queued.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | one dispatcher: its name, what it takes, what it has done |
//! | `item.rs` | one thing that it did, as reports show it |
//! | `observe.rs` | reading the rollouts of all followed sessions |
//! | `rollouts.rs` | which rollouts are watched, and where new ones appear |
//! | `panes.rs` | looking at the panes of sessions that are busy and silent |
//! | `route.rs` | what needs no terminal: into the inbox, out of time, tried too often |
//! | `letters.rs` | letters out of workers' outboxes, as they appear |
//! | `push.rs` | what is typed, target by target |
//! | `pass.rs` | all of that once |
//! | `watch.rs` | all of that whenever something happens |
//! | `work.rs` | the work on targets while watching |
//! | `stand_in.rs` | what a waiting reader does where no dispatcher lives |
//! | `known.rs` | which dispatchers there are and how each stands |
//! | `process.rs` | a dispatcher in the background: started, asked for, stopped |
//!
//! Everything is level-triggered: a wake only says that something may be due; what is due is read from the ledger.

mod item;
mod known;
mod letters;
mod observe;
mod panes;
mod pass;
mod process;
mod push;
mod rollouts;
mod route;
mod stand_in;
mod watch;
mod work;

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conveyor_model::Name;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Kind;
use conveyor_model::limits;

pub use self::item::Item;
pub use self::item::ItemState;
pub use self::item::PermissionCheck;
pub use self::known::Known;
pub use self::known::Standing;
pub use self::known::alive;
pub use self::known::known;
pub use self::known::serves;
pub use self::pass::once;
pub use self::pass::plan;
pub use self::process::Process;
pub use self::process::detach;
pub use self::process::leave_session;
pub use self::process::status;
pub use self::process::stop;
pub(crate) use self::stand_in::StandIn;
pub use self::watch::Ends;
pub use self::watch::watch;
use crate::Plane;
use crate::deliver::Holder;
use crate::plane::Told;

/// What a dispatcher does and how much of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub id: Name,
    /// How long its leases last.
    pub lease: Duration,
    /// How many commands, and how many turn ends, one pass takes; all when absent.
    pub limit: Option<u32>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// For how long a pass waits until an agent has recorded what was typed into it.
    pub patience: Duration,
    /// Whether each item is told at once.
    pub streams: bool,
}

/// One dispatcher at work.
pub struct Dispatch<'a> {
    plane: &'a Plane,
    settings: Settings,
    done: Mutex<Done>,
    swept: AtomicU64,
}

/// What it has done so far: the count of all, and the newest items up to what a report may hold.
#[derive(Debug, Default)]
struct Done {
    items: Vec<Item>,
    count: u64,
}

impl<'a> Dispatch<'a> {
    /// A dispatcher that has done nothing yet.
    pub fn new(plane: &'a Plane, settings: Settings) -> Self {
        Self { plane, settings, done: Mutex::default(), swept: AtomicU64::new(0) }
    }

    /// The items of its report, how many there were, and whether some were left out.
    pub fn results(self) -> (Vec<Item>, u64, bool) {
        let done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let cut = done.count > done.items.len() as u64;
        (done.items, done.count, cut)
    }

    /// How often only the sweep found something: a writer died between its commit and the bell.
    pub fn swept(&self) -> u64 {
        self.swept.load(Ordering::Relaxed)
    }

    fn actor(&self) -> Actor {
        Actor::Dispatch(self.settings.id.to_string())
    }

    fn holder(&self) -> Holder {
        Holder { name: self.settings.id.to_string(), lease: self.settings.lease }
    }

    fn host(&self) -> &str {
        &self.plane.environment.host
    }

    /// Whether it takes this kind.
    fn takes(&self, kind: &str) -> bool {
        self.settings.kind.is_none_or(|wanted| wanted.as_str() == kind)
    }

    /// Notes what it did, and tells it where that is wanted.
    fn note(&self, item: Item) {
        if self.settings.streams {
            self.plane.tell(&Told { json: serde_json::json!(item), text: item.text() });
        }
        let kept = self.settings.limit.unwrap_or(0).max(limits::LIST_ROWS) as usize;
        let mut done = self.done();
        done.count += 1;
        if done.items.len() < kept {
            done.items.push(item);
        }
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock that a watching dispatcher holds as long as it lives.
pub fn lock_name(id: &str) -> String {
    format!("dispatch-{id}")
}

#[cfg(test)]
mod tests;
