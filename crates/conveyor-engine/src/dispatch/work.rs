//! The work on targets that goes on while a dispatcher watches: each target by itself, all at once.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use futures::stream::FuturesUnordered;

use super::Dispatch;
use super::push;
use super::push::Budget;
use super::push::Scan;

/// A step of the work that has ended.
pub(super) enum Step {
    /// What was found to be due.
    Scanned(Result<Scan>),
    /// The work on a target, and whether anything was done.
    Worked(SessionId, Result<bool>),
    /// A pause after trouble.
    Paused,
}

pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Step> + Send + 'a>>;

/// The work that goes on.
pub(super) struct Work<'a> {
    pub(super) running: FuturesUnordered<Running<'a>>,
    busy: HashSet<SessionId>,
    scanning: bool,
    pub(super) wanted: bool,
    /// A target was due that somebody works on: look again when that ends.
    missed: bool,
    pub(super) due: Option<Timestamp>,
}

impl Default for Work<'_> {
    fn default() -> Self {
        let (busy, running) = (HashSet::new(), FuturesUnordered::new());
        Self { running, busy, scanning: false, wanted: true, missed: false, due: None }
    }
}

impl<'a> Work<'a> {
    pub(super) fn scan_if_due(&mut self, d: &'a Dispatch<'a>) {
        if self.wanted && !self.scanning {
            (self.wanted, self.scanning) = (false, true);
            self.running.push(Box::pin(async move { Step::Scanned(push::scan(d).await) }));
        }
    }

    pub(super) fn take(&mut self, d: &'a Dispatch<'a>, budget: &'a Budget, step: Step) {
        match step {
            Step::Scanned(Ok(scan)) => {
                self.scanning = false;
                self.due = scan.next;
                for (target, looks) in scan.targets {
                    self.begin(d, budget, target, looks);
                }
            }
            Step::Scanned(Err(error)) => {
                tracing::warn!(%error, "the dispatcher tries again");
                self.running.push(Box::pin(paused(d)));
            }
            Step::Paused => (self.scanning, self.wanted) = (false, true),
            Step::Worked(target, done) => {
                self.busy.remove(&target);
                self.wanted |= *done.as_ref().unwrap_or(&false) || std::mem::take(&mut self.missed);
                if let Err(error) = done {
                    tracing::warn!(%error, "a target is tried again");
                    self.due = Some(d.plane.clock.now().plus(limits::DISPATCH_PAUSE));
                }
            }
        }
    }

    fn begin(&mut self, d: &'a Dispatch<'a>, budget: &'a Budget, target: SessionId, looks: Vec<DeliveryId>) {
        if !self.busy.insert(target.clone()) {
            self.missed = true;
            return;
        }
        self.running.push(Box::pin(async move {
            let done = push::target(d, &target, &looks, budget).await;
            Step::Worked(target, done)
        }));
    }
}

async fn paused(d: &Dispatch<'_>) -> Step {
    d.plane.clock.sleep(limits::DISPATCH_PAUSE).await;
    Step::Paused
}
