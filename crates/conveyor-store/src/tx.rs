//! Reading and writing: a [`Reader`] is a snapshot, a [`Tx`] is a change that is told in the audit chain.

use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Arc;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::Timestamp;
use conveyor_model::audit::Actor;
use conveyor_model::audit::Hash;
use conveyor_model::audit::Head;
use conveyor_model::audit::Header;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_model::limits;
use serde_json::Value;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use crate::cell::Args;
use crate::cell::Table;
use crate::cell::args;
use crate::cell::storable;
use crate::clock::Clock;
use crate::db::Db;
use crate::db::Sql;
use crate::engine;
use crate::engine::Engine;
use crate::engine::postgres::CHANNEL;
use crate::engine::trouble::Fault;
use crate::ledger::Ledger;

/// A consistent snapshot. Dropping it ends it.
#[derive(Debug)]
pub struct Reader {
    db: Option<OwnedMutexGuard<Db>>,
    now: Timestamp,
}

impl Reader {
    pub(crate) fn new(db: OwnedMutexGuard<Db>, now: Timestamp) -> Self {
        Self { db: Some(db), now }
    }

    /// The ledger's time when the snapshot was taken.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

impl Deref for Reader {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db.as_ref().expect("the guard is taken out only when the reader is dropped")
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Db {
        self.db.as_mut().expect("the guard is taken out only when the reader is dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        finish_later(self.db.take());
    }
}

/// Rolls a transaction back; on a server in the background, keeping the connection from its next user until that is done.
///
/// Without a runtime the process is about to end, and the engine rolls back when the connection closes.
fn finish_later(db: Option<OwnedMutexGuard<Db>>) {
    let Some(mut db) = db else { return };
    if engine::roll_back_at_once(&mut db) {
        return;
    }
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move { engine::roll_back(&mut db).await });
    }
}

/// What an audit row says. Every change of the ledger's is made with one.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    kind: String,
    sentence: String,
    task: Option<TaskId>,
    session: Option<SessionId>,
    binding: Option<BindingId>,
    delivery: Option<DeliveryId>,
    correlation: Option<String>,
    payload: Value,
}

impl AuditRow {
    /// A row of the sort `kind` (a word in snake_case that never changes its meaning), told in a sentence.
    pub fn new(kind: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            sentence: sentence.into(),
            task: None,
            session: None,
            binding: None,
            delivery: None,
            correlation: None,
            payload: json!({}),
        }
    }

    /// The same, belonging to a task.
    pub fn task(mut self, id: &TaskId) -> Self {
        self.task = Some(id.clone());
        self
    }

    /// The same, belonging to a session.
    pub fn session(mut self, id: &SessionId) -> Self {
        self.session = Some(id.clone());
        self
    }

    /// The same, belonging to a binding.
    pub fn binding(mut self, id: &BindingId) -> Self {
        self.binding = Some(id.clone());
        self
    }

    /// The same, belonging to a delivery.
    pub fn delivery(mut self, id: &DeliveryId) -> Self {
        self.delivery = Some(id.clone());
        self
    }

    /// The same, tied to other rows by a correlation id.
    pub fn correlation(mut self, id: impl Into<String>) -> Self {
        self.correlation = Some(id.into());
        self
    }

    /// The same with details, a JSON object. They may be pruned later; what must last belongs into the sentence.
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = payload;
        self
    }

    /// The same with one more detail, for what only the query function knows.
    pub(crate) fn noting(mut self, key: &str, value: Value) -> Self {
        if let Value::Object(payload) = &mut self.payload {
            payload.insert(key.to_owned(), value);
        }
        self
    }

    /// Fills in the task unless it is named already. The query functions use it for what they know.
    pub(crate) fn or_task(mut self, id: Option<&TaskId>) -> Self {
        self.task = self.task.or_else(|| id.cloned());
        self
    }

    pub(crate) fn or_session(mut self, id: Option<&SessionId>) -> Self {
        self.session = self.session.or_else(|| id.cloned());
        self
    }

    pub(crate) fn or_binding(mut self, id: Option<&BindingId>) -> Self {
        self.binding = self.binding.or_else(|| id.cloned());
        self
    }

    pub(crate) fn or_delivery(mut self, id: &DeliveryId) -> Self {
        self.delivery = self.delivery.or_else(|| Some(id.clone()));
        self
    }

    pub(crate) fn or_correlation(mut self, id: &str) -> Self {
        self.correlation = self.correlation.or_else(|| Some(id.to_owned()));
        self
    }
}

/// A source of small numbers, each given out once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// `acknowledgements.id`
    Acknowledgement,
    /// `delivery_attempts.id`
    Attempt,
    /// `attention.id`
    Attention,
    /// `bindings.number`
    Binding,
    /// `continuations.id`
    Continuation,
    /// `continuation_reviews.id`
    ContinuationReview,
    /// `captures.id`
    Capture,
    /// `criteria.id`
    Criterion,
    /// `cycles.id`
    Cycle,
    /// `decisions.id`
    Decision,
    /// `deliveries.number`, shown in inboxes.
    Delivery,
    /// `divergences.id`
    Divergence,
    /// `epilogue_runs.id`
    Epilogue,
    /// `events.id`
    Event,
    /// `evidence.id`
    Evidence,
    /// `follows.number`
    Follow,
    /// `handoffs.id`
    Handoff,
    /// `receipts.id`
    Receipt,
    /// `runs.number`
    Run,
    /// `transcript_segments.id`
    Segment,
    /// `sessions.number`
    Session,
    /// `cycle_spans.id`
    Span,
    /// `tasks.number`
    Task,
    /// `telemetry.number`
    Telemetry,
    /// `session_threads.number`
    Thread,
}

impl Counter {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledgement => "acknowledgement",
            Self::Attempt => "attempt",
            Self::Attention => "attention",
            Self::Binding => "binding",
            Self::Continuation => "continuation",
            Self::ContinuationReview => "continuation_review",
            Self::Capture => "capture",
            Self::Criterion => "criterion",
            Self::Cycle => "cycle",
            Self::Decision => "decision",
            Self::Delivery => "delivery",
            Self::Divergence => "divergence",
            Self::Epilogue => "epilogue",
            Self::Event => "event",
            Self::Evidence => "evidence",
            Self::Follow => "follow",
            Self::Handoff => "handoff",
            Self::Receipt => "receipt",
            Self::Run => "run",
            Self::Segment => "segment",
            Self::Session => "session",
            Self::Span => "span",
            Self::Task => "task",
            Self::Telemetry => "telemetry",
            Self::Thread => "thread",
        }
    }
}

/// A change. Nothing of it exists for anybody else before [`Tx::commit`]; dropping it rolls back.
#[derive(Debug)]
pub struct Tx {
    ledger: Ledger,
    db: Option<OwnedMutexGuard<Db>>,
    actor: String,
    now: Timestamp,
    head: Head,
    begun: i64,
    changed: bool,
    whispered: bool,
}

impl Deref for Tx {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db.as_ref().expect("the guard is taken out only when the transaction ends")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Db {
        self.db.as_mut().expect("the guard is taken out only when the transaction ends")
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        finish_later(self.db.take());
    }
}

impl Tx {
    pub(crate) fn new(
        ledger: Ledger,
        db: OwnedMutexGuard<Db>,
        actor: &Actor,
        head: Head,
        now: Timestamp,
    ) -> Self {
        let actor = storable(&actor.to_string()).into_owned();
        Self { ledger, db: Some(db), actor, now, head, begun: head.seq, changed: false, whispered: false }
    }

    /// The ledger's time: all rows of one transaction share it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who makes the change, as audit rows name it.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// The clock and source of ids that the ledger was opened with.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(self.ledger.clock())
    }

    /// Appends a row to the audit chain and returns its place.
    pub async fn audit(&mut self, row: AuditRow) -> Result<i64> {
        if row.correlation.as_ref().is_some_and(|id| id.len() > limits::KEY_BYTES) {
            return Err(Error::usage(format!("a correlation id is longer than {} bytes", limits::KEY_BYTES)));
        }
        let header = Header {
            seq: self.head.seq + 1,
            at: self.now,
            actor: self.actor.clone(),
            kind: storable(&row.kind).into_owned(),
            sentence: storable(&row.sentence).into_owned(),
            task: row.task,
            session: row.session,
            binding: row.binding,
            delivery: row.delivery,
            correlation: row.correlation.as_deref().map(|id| storable(id).into_owned()),
        };
        let payload = row.payload.to_string();
        let digest = Hash::of(payload.as_bytes());
        let hash = header.hash(self.head.hash, digest);
        let seq = header.seq;
        self.execute(crate::audit::INSERT, crate::audit::args(&header, digest, hash)).await?;
        let sql = "INSERT INTO audit_payloads (seq, payload_json) VALUES ($1, $2)";
        self.execute(sql, args![&seq, &payload]).await?;
        self.head = Head { seq, hash };
        Ok(seq)
    }

    /// The next number of a counter.
    pub async fn next_number(&mut self, counter: Counter) -> Result<i64> {
        self.next_numbers(counter, 1).await
    }

    /// Takes `count` numbers that follow one another, and returns the first.
    pub async fn next_numbers(&mut self, counter: Counter, count: i64) -> Result<i64> {
        let sql = "INSERT INTO counters (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value";
        let last = self.value::<i64>(sql, args![&counter.as_str().to_owned(), &count]).await?;
        Ok(last.unwrap_or(count) - count + 1)
    }

    /// Runs a statement that changes state, and returns the number of rows that it changed.
    pub(crate) async fn change(&mut self, sql: impl Into<Sql>, args: Args) -> Result<u64> {
        let rows = self.execute(sql, args).await?;
        self.changed |= rows > 0;
        Ok(rows)
    }

    /// Notes what rows that were written in bulk have changed.
    pub(crate) fn changed_in_bulk(&mut self, rows: Result<u64, Fault>) -> Result<()> {
        let rows = rows.map_err(|fault| self.told(&fault))?;
        self.changed |= rows > 0;
        Ok(())
    }

    /// Inserts a row that is a change of state.
    pub(crate) async fn insert<T: Table>(&mut self, row: &T) -> Result<()> {
        self.change(T::insert(), row.args()).await.map(drop)
    }

    /// Replaces the row with this one's key. The row is missing: kind `not_found`.
    pub(crate) async fn replace<T: Table>(&mut self, row: &T) -> Result<()> {
        match self.change(T::update(), row.args()).await? {
            0 => Err(Error::not_found(format!("the row to change is not in {}", T::TABLE))),
            _ => Ok(()),
        }
    }

    /// Runs a statement that nobody has to be woken for and that needs no audit row: heartbeats, telemetry.
    pub(crate) async fn whisper(&mut self, sql: impl Into<Sql>, args: Args) -> Result<u64> {
        let rows = self.execute(sql, args).await?;
        self.whispered |= rows > 0;
        Ok(rows)
    }

    /// Makes the change durable and rings the bell, unless only heartbeats or telemetry were written. A transaction
    /// that changed nothing writes nothing.
    ///
    /// Refused, and rolled back: a change without an audit row, which is a defect of the caller's; and any change after a
    /// statement failed, so that a caller that went on after an error does the same on both engines.
    pub async fn commit(mut self) -> Result<()> {
        let told = self.head.seq > self.begun;
        if self.changed && !told {
            return Err(Error::ledger("a change without an audit row was rolled back; please report this"));
        }
        if self.broken {
            return Err(Error::ledger("a change of which a part had failed was rolled back"));
        }
        if !told && !self.whispered {
            self.roll_back_now().await;
            return Ok(());
        }
        let write = self.ledger.next_write();
        self.ledger.clone().gate().before_commit(write).await?;
        self.finish(told).await?;
        self.ledger.gate().after_commit(write).await?;
        if told {
            self.ledger.ring();
        }
        Ok(())
    }

    /// Ends the transaction without a trace, and waits until that is done.
    pub async fn roll_back(mut self) {
        self.roll_back_now().await;
    }

    async fn roll_back_now(&mut self) {
        if let Some(mut db) = self.db.take() {
            engine::roll_back(&mut db).await;
        }
    }

    async fn finish(&mut self, told: bool) -> Result<()> {
        if told {
            let head = self.head;
            let sql = "UPDATE chain_head SET seq = $1, hash = $2";
            self.execute(sql, args![&head.seq, &head.hash]).await?;
            if self.engine() == Engine::Postgres {
                self.execute("SELECT pg_notify($1, '')", args![&CHANNEL.to_owned()]).await?;
            }
        }
        // A server that is lost during COMMIT may or may not have done it.
        let lost = if self.engine() == Engine::Postgres { Retry::Unknown } else { Retry::Safe };
        self.script("COMMIT").await.map_err(|error| error.retry(lost))?;
        if let Some(mut db) = self.db.take() {
            db.unfinished = false;
        }
        Ok(())
    }
}
