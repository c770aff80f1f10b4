//! Reading an inbox: what the inbox verbs share. How an item is confirmed is told in `docs/dispatch.md`.

use std::fmt::Write as _;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Hold;
use conveyor_model::delivery::Transport;
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
use conveyor_store::receipts;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use conveyor_store::threads;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::Caller;
use crate::Plane;
use crate::dispatch::StandIn;
use crate::hold;
use crate::ingest;
use crate::message;
use crate::resolve;
use crate::verb::Report;
use crate::verbs::inbox_ack::ReceiptView;

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

/// What lies in the inbox.
#[derive(Serialize, JsonSchema, Debug)]
pub struct InboxReport {
    /// What was taken.
    pub consumed: Option<InboxItem>,
    /// What else waits, oldest first.
    pub items: Vec<InboxItem>,
    /// What was confirmed by `--ack`.
    pub acknowledged: Vec<String>,
    /// Whose inbox it is.
    pub session: SessionRef,
    /// The task, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// How it was waited.
    pub wait: Waited,
    /// The binding, or the session, has ended: nothing more will come.
    pub ended: bool,
    /// Why nothing is handed over now: a person has paused the task or taken the session over.
    pub held: Option<Hold>,
    /// What to run next.
    pub next: Option<String>,
}

/// A session.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SessionRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: Role,
}

/// A task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskRef {
    /// Its id.
    pub id: String,
    /// As it was asked for.
    pub name: String,
}

/// How it was waited.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Waited {
    /// It was asked to wait.
    pub enabled: bool,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
    /// As it was asked.
    pub interval_seconds: f64,
    /// Looks into the inbox.
    pub poll_count: u32,
    /// Nothing came in time.
    pub timed_out: bool,
    /// As it was asked.
    pub timeout_seconds: f64,
}

/// A message in an inbox.
#[derive(Serialize, JsonSchema, Debug)]
pub struct InboxItem {
    /// The binding.
    pub binding_id: Option<String>,
    /// Until when its reader may confirm it.
    pub claim_expires_at: Option<Timestamp>,
    /// When it was offered last; null before.
    pub claimed_at: Option<Timestamp>,
    /// The reader that it was offered to.
    pub claimed_by: Option<String>,
    /// The command.
    pub command_id: String,
    /// Stands in the reader's record when the reader has read this: that confirms the item. Only of what is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<String>,
    /// When it was confirmed.
    pub consumed_at: Option<Timestamp>,
    /// The session that confirmed it.
    pub consumed_by_session_id: Option<String>,
    /// The cycle that took it.
    pub consumed_manager_cycle_id: Option<i64>,
    /// What ties it to others.
    pub correlation_id: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Conveyor's own key.
    pub dedupe_key: Option<String>,
    /// Since when it lies here.
    pub delivered_at: Option<Timestamp>,
    /// By which way it goes.
    pub delivery_mode: Transport,
    /// Nothing went wrong with what lies here.
    pub error: Option<String>,
    /// Its number, for `--ack`.
    pub id: i64,
    /// What it says.
    pub message: String,
    /// What its addressee said of it last: see `inbox-ack`.
    pub acknowledgement: Option<ReceiptView>,
    /// How often it was offered.
    pub offers: i64,
    /// Details.
    pub payload: Value,
    /// It was offered before and not confirmed: it may have been read.
    pub redelivered: bool,
    /// The contract's key: nothing was typed.
    pub side_effect_completed: bool,
    /// The contract's key: nothing was typed.
    pub side_effect_started: bool,
    /// What it is.
    pub signal_type: String,
    /// The record that ended the turn.
    pub source_event_id: Option<i64>,
    /// When that was written.
    pub source_event_timestamp: Option<String>,
    /// Who sent it.
    pub source_session_id: Option<String>,
    /// Its name.
    pub source_session_name: Option<String>,
    /// What it does.
    pub source_session_role: Option<Role>,
    /// The contract's word for what lies in an inbox.
    pub state: &'static str,
    /// Whom it is for.
    pub target_session_id: String,
    /// Its name.
    pub target_session_name: String,
    /// What it does.
    pub target_session_role: Role,
    /// The task.
    pub task_id: Option<String>,
    /// Its name.
    pub task_name: Option<String>,
}

impl Report for InboxReport {
    fn text(&self) -> Option<String> {
        let on = self.task.as_ref().map(|task| format!(" on {}", task.name)).unwrap_or_default();
        let mut text = format!("inbox of {}{on}\n", self.session.name);
        for id in &self.acknowledged {
            let _ = writeln!(text, "acknowledged {id}");
        }
        if let Some(item) = &self.consumed {
            text.push_str(&item.text("consumed"));
        }
        match (self.items.len(), self.wait.timed_out) {
            (0, true) => text.push_str("pending: none (timed out)\n"),
            (0, false) => text.push_str("pending: none\n"),
            (count, _) => {
                let _ = writeln!(text, "pending: {count}");
            }
        }
        text.extend(self.items.iter().map(|item| item.text(" ")));
        if let Some(hold) = self.held {
            let _ = writeln!(text, "held: {}", hold.words());
        }
        if self.ended {
            text.push_str("ended: nothing more will come\n");
        }
        if let Some(next) = &self.next {
            let _ = writeln!(text, "next: {next}");
        }
        Some(text)
    }
}

impl InboxItem {
    /// A line about it, and what it says, indented.
    fn text(&self, lead: &str) -> String {
        let from = self.source_session_name.as_deref().unwrap_or("the operator");
        let (again, key) = (
            if self.redelivered { " (redelivered)" } else { "" },
            self.confirmation.as_deref().unwrap_or(""),
        );
        let message = self.message.replace('\n', "\n    ");
        let head = [lead, &format!("#{}", self.id), &self.command_id, key, &self.signal_type, "from", from];
        let head: Vec<&str> = head.into_iter().filter(|word| !word.is_empty()).collect();
        format!("{}{again}\n    {message}\n", head.join(" "))
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
            items.push(self.item(&mut db, delivery, None).await?);
        }
        let consumed = match &look.consumed {
            Some(taken) => Some(self.item(&mut db, taken, Some(taken.token.clone())).await?),
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

    async fn item(
        &self,
        db: &mut Db,
        delivery: &Delivery,
        confirmation: Option<String>,
    ) -> Result<InboxItem> {
        let source = match &delivery.source_session_id {
            Some(id) => sessions::get(db, id).await?,
            None => None,
        };
        let task = match &delivery.task_id {
            Some(id) => conveyor_store::tasks::get(db, id).await?,
            None => None,
        };
        // What was offered now counts itself.
        let offered_before = delivery.offers - i64::from(confirmation.is_some());
        let target = &self.session;
        Ok(InboxItem {
            binding_id: delivery.binding_id.as_ref().map(ToString::to_string),
            claim_expires_at: delivery.offered_until,
            claimed_at: confirmation.is_some().then_some(delivery.updated_at),
            claimed_by: delivery.offered_to.clone(),
            command_id: delivery.id.to_string(),
            confirmation,
            consumed_at: delivery.consumed_at,
            consumed_by_session_id: delivery.consumed_at.map(|_| target.id.to_string()),
            consumed_manager_cycle_id: delivery.consumed_cycle,
            correlation_id: delivery.correlation_id.clone(),
            created_at: delivery.created_at,
            dedupe_key: delivery.dedupe_key.clone(),
            delivered_at: delivery.inbox_at,
            delivery_mode: delivery.transport,
            error: delivery.error.clone(),
            id: delivery.number,
            message: message::said(delivery).to_owned(),
            acknowledgement: receipts::latest(db, &delivery.id).await?.map(ReceiptView::from),
            offers: delivery.offers,
            payload: payload(delivery, source.as_ref(), target),
            redelivered: offered_before > 0,
            side_effect_completed: false,
            side_effect_started: false,
            signal_type: delivery.kind.clone(),
            source_event_id: delivery.payload_json["source_event_id"].as_i64(),
            source_event_timestamp: delivery.payload_json["worker_receipt"]["at"].as_str().map(str::to_owned),
            source_session_id: delivery.source_session_id.as_ref().map(ToString::to_string),
            source_session_name: source.as_ref().map(|source| source.name.to_string()),
            source_session_role: source.as_ref().map(|source| source.role),
            state: "delivered",
            target_session_id: target.id.to_string(),
            target_session_name: target.name.to_string(),
            target_session_role: target.role,
            task_id: delivery.task_id.as_ref().map(ToString::to_string),
            task_name: task.map(|task| task.name.to_string()),
        })
    }
}

/// The contract's payload: what was stored, and what it names.
fn payload(delivery: &Delivery, source: Option<&Session>, target: &Session) -> Value {
    let mut payload = delivery.payload_json.clone();
    let extra = json!({
        "command_id": delivery.id,
        "command_type": delivery.kind,
        "delivery_mode": delivery.transport,
        "message": message::said(delivery),
        "source_session": source.map(|source| &source.name),
        "target_session": target.name,
        "task_id": delivery.task_id,
    });
    if let (Value::Object(payload), Value::Object(extra)) = (&mut payload, extra) {
        for (key, value) in extra {
            payload.entry(key).or_insert(value);
        }
    }
    payload
}

/// Confirms what a reader's own record shows that it has read: a tool's output that holds an item's id and its
/// confirmation, which stands nowhere but in what the reader was given.
pub(crate) async fn confirm_by_record(tx: &mut Tx, session: &Session, output: &str) -> Result<()> {
    for id in named(output) {
        let Some(item) = deliveries::get(tx, &id).await? else { continue };
        let ours = item.target_session_id.as_ref() == Some(&session.id) && item.consumed_at.is_none();
        if let (true, Some(reader)) = (ours && output.contains(&item.token), &item.offered_to) {
            let audit =
                AuditRow::new("inbox_consumed", format!("The record of {} shows {}.", session.name, item.id));
            deliveries::consume(tx, &item.id, reader, "record", audit).await?;
        }
    }
    Ok(())
}

/// The ids of deliveries that a text names, each once.
fn named(text: &str) -> Vec<DeliveryId> {
    const UUID_CHARS: usize = 36;
    let mut found: Vec<DeliveryId> = Vec::new();
    for (at, _) in text.match_indices(DeliveryId::PREFIX) {
        let id = text.get(at..at + DeliveryId::PREFIX.len() + UUID_CHARS).and_then(|id| id.parse().ok());
        found.extend(id.filter(|id| !found.contains(id)));
    }
    found
}

#[cfg(test)]
mod tests;
