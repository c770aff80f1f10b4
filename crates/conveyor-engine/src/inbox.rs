//! Reading an inbox: what the inbox verbs share. How an item is confirmed is told in `docs/dispatch.md`.

mod confirm;
mod report;

use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Hold;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::TaskId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Bell;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::bindings::BindingState;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use conveyor_store::threads;
use serde_json::json;

pub(crate) use self::confirm::confirm_by_record;
pub use self::report::InboxItem;
pub use self::report::InboxReport;
pub use self::report::SessionRef;
pub use self::report::TaskRef;
pub use self::report::Waited;
use crate::Caller;
use crate::Plane;
use crate::dispatch::StandIn;
use crate::hold;
use crate::ingest;
use crate::resolve;

/// Whose inbox.
#[derive(Clone, Debug)]
pub(crate) enum Whose {
    /// Of this session.
    Session(Name),
    /// Of the manager of this task.
    Manager(String),
    /// Of the worker of this task.
    Worker(String),
}

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) consume_next: bool,
    pub(crate) wait: bool,
    pub(crate) timeout: f64,
    pub(crate) interval: f64,
    pub(crate) limit: u32,
    pub(crate) ack: Vec<String>,
}

/// Seconds to wait by default.
pub(crate) const fn timeout() -> f64 {
    30.0
}

/// The contract's default, which nothing depends on.
pub(crate) const fn interval() -> f64 {
    2.0
}

/// Items that are listed by default.
pub(crate) const fn limit() -> u32 {
    10
}

impl Asked {
    pub(crate) fn check(&self) -> Result<()> {
        /// A day: more is a mistyped number.
        const MOST_SECONDS: f64 = 86_400.0;
        if !(0.0..=MOST_SECONDS).contains(&self.timeout) {
            return Err(Error::usage(format!("--timeout is 0 to {MOST_SECONDS} seconds")));
        }
        if !(self.interval > 0.0 && self.interval <= MOST_SECONDS) {
            return Err(Error::usage(format!("--interval is above 0 and at most {MOST_SECONDS} seconds")));
        }
        Ok(())
    }
}

/// An inbox and who reads it.
struct Inbox<'a> {
    plane: &'a Plane,
    asked: &'a Asked,
    session: Session,
    task: Option<(Task, String)>,
    binding: Option<Binding>,
    reader: String,
    /// The reader's own record can be read: it tells what the reader has seen.
    recorded: bool,
}

/// What one look found.
struct Look {
    consumed: Option<Delivery>,
    waiting: Vec<Delivery>,
    held: Option<Hold>,
    ended: bool,
}

/// Reads an inbox.
pub(crate) async fn read(plane: &Plane, whose: Whose, asked: &Asked) -> Result<InboxReport> {
    let begun = plane.clock.now();
    let inbox = Inbox::open(plane, whose, asked).await?;
    // Subscribe first, then read.
    let bell = if asked.wait { Some(plane.ledger().await?.bell().await?) } else { None };
    inbox.catch_up().await?;
    let acknowledged = inbox.arrive().await?;
    let (look, polls) = inbox.look_until_something(bell.as_ref(), begun).await?;
    inbox.report(look, acknowledged, polls, begun).await
}

impl<'a> Inbox<'a> {
    async fn open(plane: &'a Plane, whose: Whose, asked: &'a Asked) -> Result<Self> {
        let ledger = plane.ledger().await?;
        let mut db = ledger.read().await?;
        let (session, task, binding) = match whose {
            Whose::Session(name) => (resolve::active_session(&mut db, &name).await?, None, None),
            Whose::Manager(text) => Self::side(&mut db, text, Role::Manager).await?,
            Whose::Worker(text) => Self::side(&mut db, text, Role::Worker).await?,
        };
        let thread = plane.caller.thread();
        let own = match thread {
            Some(thread) => {
                threads::session_of(&mut db, thread).await?.is_some_and(|own| own.id == session.id)
            }
            None => false,
        };
        drop(db);
        if !own
            && matches!(plane.caller, Caller::Tool { .. })
            && (asked.consume_next || !asked.ack.is_empty())
        {
            return Err(Error::refused(format!(
                "this inbox is for `{}` to read, which this thread is not",
                session.name
            ))
            .hint("leave out `consume_next` and `ack`"));
        }
        let reader = match thread.filter(|_| own) {
            Some(thread) => format!("thread:{thread}"),
            None => format!("session:{}", session.name),
        };
        Ok(Self { plane, asked, session, task, binding, reader, recorded: own })
    }

    async fn side(
        db: &mut Db,
        text: String,
        role: Role,
    ) -> Result<(Session, Option<(Task, String)>, Option<Binding>)> {
        let task = resolve::task(db, &text).await?;
        let binding = resolve::binding(db, &task).await?;
        let id = match role {
            Role::Manager => &binding.manager_session_id,
            Role::Worker => &binding.worker_session_id,
        };
        Ok((resolve::by_id(db, id).await?, Some((task, text)), Some(binding)))
    }

    fn task_id(&self) -> Option<&TaskId> {
        self.task.as_ref().map(|(task, _)| &task.id)
    }

    /// Reads what the reader recorded of earlier calls, which confirms what it has seen.
    async fn catch_up(&self) -> Result<()> {
        if self.recorded && self.asked.consume_next && self.session.host == self.plane.environment.host {
            match ingest::session(self.plane, &self.session).await {
                Err(error) if error.kind == conveyor_model::ErrorKind::Ledger => return Err(error),
                // Its rollout cannot be read now; what it confirms is confirmed later.
                Err(error) => tracing::warn!(%error, "the reader's record cannot be read"),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// The sign of life, what is acknowledged, and what a reader without a record confirms by coming back.
    async fn arrive(&self) -> Result<Vec<String>> {
        let actor = self.plane.actor().await?;
        let mut tx = self.plane.ledger().await?.write(&actor).await?;
        sessions::heartbeat(&mut tx, &self.session.id).await?;
        let mut acknowledged = Vec::new();
        for id in &self.asked.ack {
            acknowledged.push(self.acknowledge(&mut tx, id).await?);
        }
        if self.asked.consume_next && !self.has_record(&mut tx).await? {
            for held in deliveries::offered(&mut tx, &self.session.id, &self.reader).await? {
                let audit = AuditRow::new(
                    "inbox_consumed",
                    format!("{} came back for more than {}.", self.reader, held.id),
                );
                deliveries::consume(&mut tx, &held.id, &self.reader, "next_poll", audit).await?;
            }
        }
        tx.commit().await?;
        Ok(acknowledged)
    }

    /// Whether the reader's record is known, so that it tells what was read.
    async fn has_record(&self, db: &mut Db) -> Result<bool> {
        let known = threads::current(db, &self.session.id).await?;
        Ok(self.recorded && known.iter().any(|thread| thread.rollout_path.is_some()))
    }

    async fn acknowledge(&self, tx: &mut Tx, id: &str) -> Result<String> {
        let item = match (id.parse::<DeliveryId>(), id.parse::<i64>()) {
            (Ok(id), _) => deliveries::get(tx, &id).await?,
            (Err(_), Ok(number)) => deliveries::by_number(tx, number).await?,
            (Err(_), Err(_)) => None,
        };
        let ours = item.filter(|item| item.target_session_id.as_ref() == Some(&self.session.id));
        let Some(item) = ours.filter(|item| item.inbox_at.is_some()) else {
            return Err(Error::not_found(format!(
                "the inbox of {} has no message `{}`",
                self.session.name,
                id.escape_debug()
            )));
        };
        let audit =
            AuditRow::new("inbox_consumed", format!("{} acknowledged {}.", self.session.name, item.id));
        deliveries::acknowledge(tx, &item.id, &self.reader, audit).await?;
        Ok(item.id.to_string())
    }

    /// Looks until there is something, or the time is over, or nothing more will come.
    async fn look_until_something(&self, bell: Option<&Bell>, begun: Timestamp) -> Result<(Look, u32)> {
        let deadline = begun.plus(Duration::from_secs_f64(self.asked.timeout));
        let mut stand_in = None;
        let mut polls = 0;
        loop {
            let look = self.look().await?;
            polls += 1;
            let found = look.consumed.is_some() || (!self.asked.consume_next && !look.waiting.is_empty());
            let left = deadline.since(self.plane.clock.now());
            let Some(bell) = bell.filter(|_| !found && !look.ended && !left.is_zero()) else {
                return Ok((look, polls));
            };
            if stand_in.is_none()
                && let Some(mut new) = StandIn::unless_alive(self.plane).await?
            {
                new.catch_up().await?;
                stand_in = Some(new);
                continue;
            }
            self.rest(bell, stand_in.as_mut(), left).await?;
        }
    }

    /// Waits for a wake. Where no dispatcher lives, this reader does what it waits for itself.
    async fn rest(&self, bell: &Bell, stand_in: Option<&mut StandIn<'a>>, left: Duration) -> Result<()> {
        // Now and then whoever did the work may have died.
        let most = left.min(limits::SWEEP);
        let Some(stand_in) = stand_in else {
            bell.rung_within(&*self.plane.clock, most).await;
            return Ok(());
        };
        tokio::select! {
            _ = bell.rung_within(&*self.plane.clock, most) => stand_in.catch_up().await,
            grown = stand_in.grown() => stand_in.read(grown?).await,
        }
    }

    async fn look(&self) -> Result<Look> {
        let mut reader = self.plane.ledger().await?.read().await?;
        let limit = self.asked.limit.max(1);
        let mut waiting = deliveries::inbox_of(&mut reader, &self.session.id, self.task_id(), limit).await?;
        let ended = self.has_ended(&mut reader).await?;
        let session = self.session_now(&mut reader).await?;
        let held = hold::of(&mut reader, Some(&session), self.task_id()).await?;
        drop(reader);
        if let Some(held) = held.strongest() {
            return Ok(Look { consumed: None, waiting: Vec::new(), held: Some(held), ended });
        }
        let consumed = if self.asked.consume_next && !waiting.is_empty() { self.take().await? } else { None };
        if consumed.is_some() {
            let mut reader = self.plane.ledger().await?.read().await?;
            waiting = deliveries::inbox_of(&mut reader, &self.session.id, self.task_id(), limit + 1).await?;
        }
        waiting.retain(|item| consumed.as_ref().is_none_or(|taken| taken.id != item.id));
        waiting.truncate(limit as usize);
        Ok(Look { consumed, waiting, held: None, ended })
    }

    /// Takes the oldest item that no other reader holds.
    async fn take(&self) -> Result<Option<Delivery>> {
        let actor = self.plane.actor().await?;
        let mut tx = self.plane.ledger().await?.write(&actor).await?;
        let audit = AuditRow::new("inbox_offered", format!("{} was given a message.", self.reader));
        let (session, task) = (&self.session.id, self.task_id());
        let taken =
            deliveries::offer_next_of(&mut tx, session, task, &self.reader, limits::LEASE, audit).await?;
        if let Some(taken) = &taken {
            self.tell(&mut tx, taken).await?;
        }
        tx.commit().await?;
        Ok(taken)
    }

    async fn tell(&self, tx: &mut Tx, taken: &Delivery) -> Result<()> {
        let new = NewTelemetry {
            task: taken.task_id.clone(),
            run: None,
            actor: "dispatch".to_owned(),
            event_type: "dispatch_inbox_consumed".to_owned(),
            severity: Severity::Info,
            summary: format!("{} took {}", self.session.name, taken.id),
            correlation: json!({
                "command_id": taken.id,
                "correlation_id": taken.correlation_id,
                "notification_id": taken.number,
                "signal_type": taken.kind,
                "target_session_id": self.session.id,
            }),
            attributes: json!({
                "delivery_mode": taken.transport,
                "offers": taken.offers,
                "target_session_name": self.session.name,
                "target_session_role": self.session.role,
                "wait_enabled": self.asked.wait,
            }),
        };
        telemetry::insert(tx, new).await
    }

    /// The session as it stands now: a wait may outlast a take-over.
    async fn session_now(&self, db: &mut Db) -> Result<Session> {
        Ok(sessions::get(db, &self.session.id).await?.unwrap_or_else(|| self.session.clone()))
    }

    /// Whether nothing more will come.
    async fn has_ended(&self, db: &mut Db) -> Result<bool> {
        if let Some(binding) = &self.binding {
            let now = bindings::get(db, &binding.id).await?;
            return Ok(now.is_none_or(|now| now.state != BindingState::Active));
        }
        let now = sessions::get(db, &self.session.id).await?;
        Ok(now.is_none_or(|now| now.state != SessionState::Active))
    }

    async fn report(
        &self,
        look: Look,
        acknowledged: Vec<String>,
        polls: u32,
        begun: Timestamp,
    ) -> Result<InboxReport> {
        let mut db = self.plane.ledger().await?.read().await?;
        let mut items = Vec::with_capacity(look.waiting.len());
        for delivery in &look.waiting {
            items.push(InboxItem::of(&mut db, &self.session, delivery, None).await?);
        }
        let consumed = match &look.consumed {
            Some(taken) => {
                Some(InboxItem::of(&mut db, &self.session, taken, Some(taken.token.clone())).await?)
            }
            None => None,
        };
        let next = consumed.as_ref().map(|taken| self.next(taken.id));
        let elapsed = self.plane.clock.now().since(begun);
        let found = consumed.is_some() || !items.is_empty();
        Ok(InboxReport {
            wait: Waited {
                enabled: self.asked.wait,
                elapsed_seconds: elapsed.as_millis() as f64 / 1000.0,
                interval_seconds: self.asked.interval,
                poll_count: polls,
                timed_out: self.asked.wait && !found && !look.ended,
                timeout_seconds: self.asked.timeout,
            },
            consumed,
            items,
            acknowledged,
            session: SessionRef {
                id: self.session.id.to_string(),
                name: self.session.name.to_string(),
                role: self.session.role,
            },
            task: self
                .task
                .as_ref()
                .map(|(task, typed)| TaskRef { id: task.id.to_string(), name: typed.clone() }),
            ended: look.ended,
            held: look.held,
            next,
        })
    }

    fn next(&self, number: i64) -> String {
        let number = number.to_string();
        self.plane.command(&["session-inbox", self.session.name.as_str(), "--ack", &number])
    }
}

#[cfg(test)]
mod tests;
