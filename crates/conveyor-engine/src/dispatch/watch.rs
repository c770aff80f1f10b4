//! Watching: nothing is polled. A ring of the ledger's bell, the growth of a rollout, and the moment at which something
//! becomes due each wake what they concern; a sweep every few seconds finds what a writer did not live to ring for.
//!
//! Several things go on at once and never wait for one another: observing and routing, the work on each target, and the
//! heartbeat. They share one connection to the ledger, so none of them may stop being polled while it holds it: hence
//! they are joined, and no branch of a `select!` that another future could be waiting for uses the ledger.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Bell;
use conveyor_store::Held;
use conveyor_store::audit;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::dispatchers;
use conveyor_store::dispatchers::Dispatcher;
use futures::StreamExt;
use tokio::sync::watch;

use super::Dispatch;
use super::letters;
use super::lock_name;
use super::once;
use super::panes::Panes;
use super::process;
use super::push::Budget;
use super::rollouts::Rollouts;
use super::route;
use super::work::Work;

/// When a watch ends by itself. Ctrl-C, SIGTERM and `--stop` end it in any case.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// After so many passes, this far apart.
    pub after: Option<(u32, Duration)>,
    /// When no binding holds any more.
    pub until_unbound: bool,
    /// Where a detached one writes.
    pub log: Option<std::path::PathBuf>,
}

/// Watches until it is to end. Returns the number of passes.
///
/// Errors: conflict, when another one of this name watches this ledger; environment, when the ledger's file is gone.
pub async fn watch(d: &Dispatch<'_>, ends: &Ends) -> Result<u32> {
    // From here on a signal is ours to answer.
    let stop = d.plane.end_gracefully();
    let _alive = begin(d, ends).await?;
    tracing::info!(dispatcher = %d.settings.id, ledger = %d.plane.location(), "the dispatcher watches");
    let (ending, _) = watch::channel(false);
    let (woken, _) = watch::channel(0);
    let watching = Watching { d, ends, ending, woken, stop, passes: AtomicU32::new(0) };
    let ended = watching.run().await;
    if process::is_lost(d.plane) {
        // Nothing can be noted in it any more, and a new one must not be made in its place.
        return Err(Error::environment(format!("the ledger {} is gone", d.plane.location()))
            .hint("put it back, then start the dispatcher again"));
    }
    end(d).await?;
    ended.map(|()| match ends.after {
        Some((passes, _)) if !d.plane.is_asked_to_stop() => passes.max(1),
        Some(_) | None => watching.passes.load(Ordering::Relaxed),
    })
}

/// Takes the lock that proves that it lives, and stores its row.
async fn begin(d: &Dispatch<'_>, ends: &Ends) -> Result<Held> {
    let ledger = d.plane.ledger().await?;
    let id = d.settings.id.as_str();
    let Some(held) = ledger.try_lock(&lock_name(id)).await? else { return Err(taken(d).await?) };
    let mut tx = ledger.write(&d.actor()).await?;
    let binding = if ends.until_unbound { bindings::list(&mut tx, true, 1).await?.pop() } else { None };
    let row = Dispatcher {
        id: id.to_owned(),
        host: d.host().to_owned(),
        pid: i64::from(d.plane.environment.pid),
        started_at: tx.now(),
        heartbeat_at: tx.now(),
        log_path: ends.log.as_ref().map(|path| path.display().to_string()),
        binding_id: binding.map(|binding| binding.id),
        stop_requested_at: None,
        stopped_at: None,
    };
    dispatchers::start(
        &mut tx,
        &row,
        AuditRow::new("dispatcher_started", format!("Dispatcher {id} watches.")),
    )
    .await?;
    tx.commit().await?;
    Ok(held)
}

async fn taken(d: &Dispatch<'_>) -> Result<Error> {
    let id = d.settings.id.as_str();
    let row = dispatchers::get(&mut *d.plane.ledger().await?.read().await?, id).await?;
    let who = row.map(|row| format!(" (process {} on {})", row.pid, row.host)).unwrap_or_default();
    Ok(Error::conflict(format!("the dispatcher {id} watches this ledger already{who}"))
        .hint(d.plane.command(&["dispatch", "--status", "--dispatcher-id", id])))
}

async fn end(d: &Dispatch<'_>) -> Result<()> {
    let id = d.settings.id.as_str();
    let mut tx = d.plane.ledger().await?.write(&d.actor()).await?;
    dispatchers::stopped(&mut tx, id, AuditRow::new("dispatcher_stopped", format!("Dispatcher {id} ended.")))
        .await?;
    tx.commit().await
}

/// A watch that runs.
struct Watching<'a> {
    d: &'a Dispatch<'a>,
    ends: &'a Ends,
    /// True when nothing more is to be begun.
    ending: watch::Sender<bool>,
    /// Counts the wakes that concern the ledger.
    woken: watch::Sender<u64>,
    /// True when a signal asked to end.
    stop: watch::Receiver<bool>,
    passes: AtomicU32,
}

impl Watching<'_> {
    async fn run(&self) -> Result<()> {
        // Subscribe first, then read.
        let bell = self.d.plane.ledger().await?.bell().await?;
        let mut rollouts = Rollouts::new(self.d.plane).await?;
        while let Err(error) = rollouts.subscribe(self.d.plane).await {
            tracing::warn!(%error, "the dispatcher tries again");
            if self.d.plane.is_asked_to_stop() {
                return Ok(());
            }
            self.d.plane.clock.sleep(limits::DISPATCH_PAUSE).await;
        }
        let last = self.ends.after.map_or(u32::MAX, |(passes, _)| passes);
        self.retried(|| once(self.d)).await;
        self.passes.fetch_add(1, Ordering::Relaxed);
        if last <= 1 {
            return Ok(());
        }
        let letters = letters::watch(self.d, self.woken.subscribe(), self.ending.subscribe());
        let work = async { tokio::join!(self.observe(&mut rollouts), self.carry(), self.look(), letters) };
        let around = async { tokio::join!(self.listen(bell), self.beat(), self.asked(), self.count_down()) };
        tokio::select! {
            _ = work => {}
            _ = around => {}
        }
        if self.ends.after.is_some() && !self.d.plane.is_asked_to_stop() {
            self.retried(|| once(self.d)).await;
        }
        Ok(())
    }

    fn end(&self) {
        self.ending.send_replace(true);
    }

    fn wake(&self) {
        self.woken.send_modify(|count| *count += 1);
    }

    /// Tries something until the ledger lets it through. What is out of order for longer is told in the log.
    async fn retried<F: Future<Output = Result<()>> + Send>(&self, attempt: impl Fn() -> F + Send + Sync) {
        let mut ending = self.ending.subscribe();
        while let Err(error) = attempt().await {
            tracing::warn!(%error, "the dispatcher tries again");
            if *ending.borrow_and_update() || self.d.plane.is_asked_to_stop() {
                return;
            }
            self.d.plane.clock.sleep(limits::DISPATCH_PAUSE).await;
        }
    }

    /// Turns rings into wakes, and looks for those that nobody lived to ring.
    async fn listen(&self, bell: Bell) {
        let mut seen = 0;
        loop {
            let rung = bell.rung_within(&*self.d.plane.clock, limits::SWEEP).await;
            match self.look_up(seen).await {
                Ok(head) if rung || head != seen => {
                    if !rung && seen != 0 {
                        self.d.swept.fetch_add(1, Ordering::Relaxed);
                    }
                    seen = head;
                    self.wake();
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the ledger cannot be looked at"),
            }
        }
    }

    /// Where the chain stands; and whether this dispatcher is to end. Keeps its log short by the way.
    async fn look_up(&self, seen: i64) -> Result<i64> {
        if let Some(log) = &self.ends.log {
            process::turn_over(log);
        }
        if process::is_lost(self.d.plane) {
            self.end();
            return Ok(seen);
        }
        let mut reader = self.d.plane.ledger().await?.read().await?;
        let head = audit::head(&mut reader).await?.seq;
        if head == seen {
            return Ok(head);
        }
        let row = dispatchers::get(&mut reader, self.d.settings.id.as_str()).await?;
        let asked = row.is_none_or(|row| row.stop_requested_at.is_some());
        let unbound = self.ends.until_unbound
            && bindings::list(&mut reader, true, 1).await?.is_empty()
            && !stops_are_owed(&mut reader).await?;
        if asked || unbound {
            self.end();
        }
        Ok(head)
    }

    /// Shows that it lives.
    async fn beat(&self) {
        loop {
            self.d.plane.clock.sleep(limits::HEARTBEAT).await;
            if let Err(error) = self.beat_once().await {
                tracing::warn!(%error, "no heartbeat");
            }
        }
    }

    async fn beat_once(&self) -> Result<()> {
        let mut tx = self.d.plane.ledger().await?.write(&self.d.actor()).await?;
        dispatchers::heartbeat(&mut tx, self.d.settings.id.as_str()).await?;
        tx.commit().await
    }

    /// Ctrl-C and SIGTERM.
    async fn asked(&self) {
        let mut stop = self.stop.clone();
        // An error means that nobody can ask any more.
        if stop.wait_for(|asked| *asked).await.is_ok() {
            self.end();
        }
        std::future::pending::<()>().await;
    }

    /// The end of a watch of so many passes: the last one follows when nothing more is begun.
    async fn count_down(&self) {
        if let Some((passes, apart)) = self.ends.after {
            self.d.plane.clock.sleep(apart * passes.saturating_sub(1)).await;
            self.end();
        }
        std::future::pending::<()>().await;
    }

    /// Reads what has grown, routes what needs no terminal.
    async fn observe(&self, rollouts: &mut Rollouts) {
        let (mut woken, mut ending) = (self.woken.subscribe(), self.ending.subscribe());
        woken.mark_changed();
        while !*ending.borrow_and_update() {
            let sweep = self.sweep(rollouts);
            let done = tokio::select! {
                biased;
                _ = ending.changed() => return,
                grown = rollouts.grown() => match grown {
                    Ok(grown) => self.grown(rollouts, &grown).await,
                    Err(error) => Err(error),
                },
                _ = woken.changed() => self.refreshed(rollouts).await,
                () = self.d.plane.clock.sleep(sweep) => self.swept(rollouts).await,
            };
            self.passes.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = done {
                tracing::warn!(%error, "the dispatcher tries again");
                self.d.plane.clock.sleep(limits::DISPATCH_PAUSE).await;
                woken.mark_changed();
            }
        }
    }

    async fn grown(&self, rollouts: &mut Rollouts, grown: &BTreeSet<PathBuf>) -> Result<()> {
        rollouts.read(self.d.plane, grown).await?;
        route::all(self.d).await
    }

    async fn refreshed(&self, rollouts: &mut Rollouts) -> Result<()> {
        route::all(self.d).await?;
        rollouts.refresh(self.d.plane).await?;
        route::all(self.d).await
    }

    /// How long until something is looked at although nobody told.
    fn sweep(&self, rollouts: &Rollouts) -> Duration {
        let suspect = rollouts.next_suspect().map(|next| next.since(self.d.plane.clock.now()));
        suspect.unwrap_or(limits::SWEEP).min(limits::SWEEP)
    }

    async fn swept(&self, rollouts: &mut Rollouts) -> Result<()> {
        rollouts.look_at_suspects(self.d.plane).await?;
        let unseen = rollouts.changed_unseen(self.d.plane);
        if !unseen.is_empty() {
            self.d.swept.fetch_add(1, Ordering::Relaxed);
            self.grown(rollouts, &unseen).await?;
        }
        if rollouts.wants_search(self.d.plane.clock.now()) {
            let known = rollouts.known();
            self.refreshed(rollouts).await?;
            self.d.swept.fetch_add(u64::from(rollouts.known() > known), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Looks at panes of sessions that are busy and silent. It waits for no other work, and none waits for it.
    async fn look(&self) {
        let (mut woken, mut ending) = (self.woken.subscribe(), self.ending.subscribe());
        let mut panes = Panes::default();
        while !*ending.borrow_and_update() {
            let next = panes.look(self.d).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the panes are looked at again");
                Some(self.d.plane.clock.now().plus(limits::DISPATCH_PAUSE))
            });
            tokio::select! {
                _ = ending.changed() => {}
                _ = woken.changed() => {}
                () = self.until(next), if next.is_some() => {}
            }
        }
    }

    /// Works on targets: each by itself, all at once, nothing new once the watch is ending.
    async fn carry(&self) {
        let (mut woken, mut ending) = (self.woken.subscribe(), self.ending.subscribe());
        let budget = Budget::new(None);
        let mut work = Work::default();
        loop {
            let is_ending = *ending.borrow_and_update();
            if is_ending {
                budget.close();
                if work.running.is_empty() {
                    return;
                }
            } else {
                work.scan_if_due(self.d);
            }
            let due = work.due;
            tokio::select! {
                Some(step) = work.running.next(), if !work.running.is_empty() => work.take(self.d, &budget, step),
                _ = woken.changed(), if !is_ending => work.wanted = true,
                _ = ending.changed(), if !is_ending => {}
                () = self.until(due), if due.is_some() && !is_ending => {
                    work.due = None;
                    self.wake();
                }
            }
        }
    }

    async fn until(&self, due: Option<Timestamp>) {
        let now = self.d.plane.clock.now();
        // A moment more: the ledger's clock may be a little behind this one.
        let left = due.map_or(Duration::MAX, |due| due.since(now)) + Duration::from_millis(1);
        self.d.plane.clock.sleep(left).await;
    }
}

/// Whether a session is still to be stopped: a manager that finished its task is, when its last turn has ended.
async fn stops_are_owed(db: &mut conveyor_store::Db) -> Result<bool> {
    let wanted = deliveries::Wanted {
        kinds: vec![Kind::Stop.to_string()],
        states: vec![Stage::Pending, Stage::Leased, Stage::EffectStarted],
        ..deliveries::Wanted::default()
    };
    Ok(!deliveries::list(db, &wanted, 1).await?.is_empty())
}
