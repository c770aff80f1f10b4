//! Messages and actions on agents, from acceptance to proof.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the row, enqueueing, reading |
//! | `lease.rs` | who may act: leases fenced by an epoch, first in first out for each target |
//! | `moves.rs` | moves from stage to stage, and what is noted with them |
//! | `inbox.rs` | deliveries that their target reads itself |
//! | `attempts.rs` | the history of leases |

mod attempts;
mod inbox;
mod lease;
mod moves;

pub use attempts::Attempt;
pub use attempts::AttemptState;
pub use attempts::attempts;
pub use attempts::attempts_by;
pub use attempts::finish_attempt;
pub use attempts::mark_side_effect;
pub use inbox::acknowledge;
pub use inbox::address;
pub use inbox::consume;
pub use inbox::consume_for_cycle;
pub use inbox::inbox;
pub use inbox::inbox_of;
pub use inbox::into_inbox;
pub use inbox::offer_next;
pub use inbox::offer_next_of;
pub use inbox::offered;
pub use lease::Lease;
pub use lease::held_by;
pub use lease::lease;
pub use lease::lease_next;
pub use lease::next_due;
pub use lease::overdue;
pub use lease::ready_targets;
pub use lease::release;
pub use lease::renew;
pub use lease::spent;
pub use lease::unrouted;
pub use lease::unwatched;
pub use moves::Change;
pub use moves::move_batch;
pub use moves::move_state;
pub use moves::note_look;
pub use moves::resend;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::audit::Hash;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_model::limits;
use serde_json::Value;
use serde_json::json;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

table! {
    /// A delivery: everything that is known of one message or action.
    Delivery in "deliveries" {
        /// Its id over all transports; the contract's command id.
        id: DeliveryId,
        /// Its place in the order of deliveries: the audit row that accepted it.
        seq: i64,
        /// Small number that inboxes show. It orders nothing.
        number: i64,
        /// What it is; the contract's command types.
        kind: String,
        /// By which way it goes.
        transport: Transport,
        /// The task that it belongs to.
        task_id: Option<TaskId>,
        /// The binding under which it was accepted.
        binding_id: Option<BindingId>,
        /// Who sends it, where a session does.
        source_session_id: Option<SessionId>,
        /// Whom it is for.
        target_session_id: Option<SessionId>,
        /// The host that can carry it out.
        host: String,
        /// The text, as it was accepted.
        body: String,
        /// SHA-256 of the text as it is typed; absent for keys.
        wire_digest: Option<String>,
        /// What names it in a rollout.
        token: String,
        /// Details of the request.
        payload_json: Value,
        /// Details of the result.
        result_json: Option<Value>,
        /// Where it stands.
        state: Stage,
        /// Counts the leases. Whoever acts under an older epoch has lost the right to.
        epoch: i64,
        /// Who holds the lease.
        leased_by: Option<String>,
        /// Until when, by the ledger's clock.
        leased_until: Option<Timestamp>,
        /// Leases that were taken so far.
        attempts: i64,
        /// Leases that may be taken.
        max_attempts: i64,
        /// Not before.
        available_at: Timestamp,
        /// Not after.
        expires_at: Option<Timestamp>,
        /// What ties it to others.
        correlation_id: String,
        /// The caller's key: the same key with the same content is the same delivery.
        idempotency_key: Option<String>,
        /// SHA-256 over what the key stands for.
        content_digest: String,
        /// Conveyor's own key: an observation is routed once.
        dedupe_key: Option<String>,
        /// The permission that the task's configuration must grant.
        required_permission: Option<String>,
        /// Why it did not succeed.
        error: Option<String>,
        /// What sort of failure.
        error_kind: Option<String>,
        /// Whether it may be sent again: `safe`, `unsafe`, `unknown`.
        retry: Option<String>,
        /// The pane into which the effect began.
        effect_pin_json: Option<Value>,
        /// The thread at that moment.
        effect_thread_id: Option<String>,
        /// Its rollout.
        effect_rollout: Option<String>,
        /// The rollout's length: the record that proves it lies behind.
        effect_offset: Option<i64>,
        /// When the effect began.
        effect_at: Option<Timestamp>,
        /// When the submit key went out.
        submitted_at: Option<Timestamp>,
        /// When the record was found.
        recorded_at: Option<Timestamp>,
        /// The record.
        recorded_event_id: Option<i64>,
        /// The turn of the record, whose end answers the delivery.
        recorded_turn_id: Option<String>,
        /// The recorded text differs from the one that was sent.
        altered: bool,
        /// When the turn that holds the record ended.
        answered_at: Option<Timestamp>,
        /// Looks in a row that found it nowhere.
        looks: i64,
        /// The first of them.
        first_look_at: Option<Timestamp>,
        /// The last of them.
        last_look_at: Option<Timestamp>,
        /// Since when it lies in its target's inbox.
        inbox_at: Option<Timestamp>,
        /// Which reader holds it.
        offered_to: Option<String>,
        /// Until when the reader may confirm; then it is offered again.
        offered_until: Option<Timestamp>,
        /// How often it was offered.
        offers: i64,
        /// When it was confirmed as read.
        consumed_at: Option<Timestamp>,
        /// Which reader confirmed.
        consumed_by: Option<String>,
        /// How: `record`, `ack`, `next_poll`, `cycle`.
        consumed_how: Option<String>,
        /// The cycle that took it.
        consumed_cycle: Option<i64>,
        /// When it was accepted.
        created_at: Timestamp,
        /// When it last changed.
        updated_at: Timestamp,
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// What names it in a rollout.
    pub token: String,
    /// What it is.
    pub kind: String,
    /// By which way it goes.
    pub transport: Transport,
    /// The task.
    pub task: Option<TaskId>,
    /// The binding.
    pub binding: Option<BindingId>,
    /// Who sends it.
    pub source: Option<SessionId>,
    /// Whom it is for.
    pub target: Option<SessionId>,
    /// The host that can carry it out.
    pub host: String,
    /// The text.
    pub body: String,
    /// SHA-256 of the text as it is typed.
    pub wire_digest: Option<String>,
    /// Details.
    pub payload: Value,
    /// How often it may be leased; more than any number of accidents by default.
    pub max_attempts: i64,
    /// Not before; now when absent.
    pub available_at: Option<Timestamp>,
    /// Not after.
    pub expires_at: Option<Timestamp>,
    /// What ties it to others; made from the id when absent.
    pub correlation: Option<String>,
    /// The caller's key.
    pub idempotency_key: Option<String>,
    /// Conveyor's own key.
    pub dedupe_key: Option<String>,
    /// The permission that is needed.
    pub required_permission: Option<String>,
    /// What the sender said, where the text is conveyor's own words about it.
    pub said: Option<String>,
}

/// Leases that a delivery may have unless its sender says otherwise.
pub const MAX_ATTEMPTS: i64 = 100;

impl NewDelivery {
    /// A message without any conditions.
    pub fn new(
        id: DeliveryId,
        token: String,
        kind: impl Into<String>,
        transport: Transport,
        host: String,
    ) -> Self {
        Self {
            id,
            token,
            kind: kind.into(),
            transport,
            task: None,
            binding: None,
            source: None,
            target: None,
            host,
            body: String::new(),
            wire_digest: None,
            payload: json!({}),
            max_attempts: MAX_ATTEMPTS,
            available_at: None,
            expires_at: None,
            correlation: None,
            idempotency_key: None,
            dedupe_key: None,
            required_permission: None,
            said: None,
        }
    }

    /// What an idempotency key stands for: all that the sender chose, not ids, times or the way it goes.
    fn content_digest(&self) -> String {
        let content = json!([
            self.kind,
            self.task,
            self.source,
            self.target,
            self.said.as_ref().unwrap_or(&self.body),
            self.payload,
            self.expires_at,
            self.required_permission,
        ]);
        Hash::of(content.to_string().as_bytes()).to_string()
    }

    fn check(&self) -> Result<()> {
        for key in [&self.idempotency_key, &self.dedupe_key, &self.correlation].into_iter().flatten() {
            if key.is_empty() || key.len() > limits::KEY_BYTES {
                return Err(Error::usage(format!("a key has 1 to {} bytes", limits::KEY_BYTES)));
            }
        }
        Ok(())
    }

    fn accepted(self, seq: i64, number: i64, now: Timestamp) -> Delivery {
        let content_digest = self.content_digest();
        let correlation_id = self
            .correlation
            .unwrap_or_else(|| format!("dispatch-{}", &self.id.as_str()[DeliveryId::PREFIX.len()..]));
        Delivery {
            id: self.id,
            seq,
            number,
            kind: self.kind,
            transport: self.transport,
            task_id: self.task,
            binding_id: self.binding,
            source_session_id: self.source,
            target_session_id: self.target,
            host: self.host,
            body: self.body,
            wire_digest: self.wire_digest,
            token: self.token,
            payload_json: self.payload,
            result_json: None,
            state: Stage::Pending,
            epoch: 0,
            leased_by: None,
            leased_until: None,
            attempts: 0,
            max_attempts: self.max_attempts,
            available_at: self.available_at.unwrap_or(now),
            expires_at: self.expires_at,
            correlation_id,
            idempotency_key: self.idempotency_key,
            content_digest,
            dedupe_key: self.dedupe_key,
            required_permission: self.required_permission,
            error: None,
            error_kind: None,
            retry: None,
            effect_pin_json: None,
            effect_thread_id: None,
            effect_rollout: None,
            effect_offset: None,
            effect_at: None,
            submitted_at: None,
            recorded_at: None,
            recorded_event_id: None,
            recorded_turn_id: None,
            altered: false,
            answered_at: None,
            looks: 0,
            first_look_at: None,
            last_look_at: None,
            inbox_at: None,
            offered_to: None,
            offered_until: None,
            offers: 0,
            consumed_at: None,
            consumed_by: None,
            consumed_how: None,
            consumed_cycle: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// What came of enqueueing.
#[derive(Clone, Debug, PartialEq)]
pub struct Enqueued {
    /// The delivery: the new one, or the one that was accepted before under the same key.
    pub delivery: Delivery,
    /// It was there already; nothing was written.
    pub deduplicated: bool,
}

/// Accepts a delivery.
///
/// The same idempotency or dedupe key with the same content returns the first one. The same idempotency key with other
/// content: kind `conflict`.
pub async fn insert(tx: &mut Tx, new: NewDelivery, audit: AuditRow) -> Result<Enqueued> {
    new.check()?;
    if let Some(first) = known(tx, &new).await? {
        return Ok(Enqueued { delivery: first, deduplicated: true });
    }
    let number = tx.next_number(Counter::Delivery).await?;
    let now = tx.now();
    let mut delivery = new.accepted(0, number, now);
    let audit = audit
        .or_delivery(&delivery.id)
        .or_task(delivery.task_id.as_ref())
        .or_session(delivery.target_session_id.as_ref())
        .or_binding(delivery.binding_id.as_ref())
        .or_correlation(&delivery.correlation_id);
    delivery.seq = tx.audit(audit).await?;
    tx.insert(&delivery).await?;
    Ok(Enqueued { delivery, deduplicated: false })
}

/// The delivery that was accepted before under one of the new one's keys.
async fn known(tx: &mut Tx, new: &NewDelivery) -> Result<Option<Delivery>> {
    if let Some(key) = &new.idempotency_key
        && let Some(first) = by_idempotency_key(tx, key).await?
    {
        if first.content_digest == new.content_digest() {
            return Ok(Some(first));
        }
        return Err(Error::conflict(format!("the key `{key}` was used for another delivery, {}", first.id))
            .hint("use another key, or leave it out"));
    }
    match &new.dedupe_key {
        Some(key) => by_dedupe_key(tx, key).await,
        None => Ok(None),
    }
}

/// A delivery by its id.
pub async fn get(db: &mut Db, id: &DeliveryId) -> Result<Option<Delivery>> {
    db.one(Delivery::select("WHERE id = $1"), args![id]).await
}

/// A delivery by the number that inboxes show.
pub async fn by_number(db: &mut Db, number: i64) -> Result<Option<Delivery>> {
    db.one(Delivery::select("WHERE number = $1"), args![&number]).await
}

/// The delivery that a token in a rollout names. This is the ingester's look-up.
pub async fn by_token(db: &mut Db, token: &str) -> Result<Option<Delivery>> {
    db.one(Delivery::select("WHERE token = $1"), args![&token.to_owned()]).await
}

/// The delivery that a caller's key stands for.
pub async fn by_idempotency_key(db: &mut Db, key: &str) -> Result<Option<Delivery>> {
    db.one(Delivery::select("WHERE idempotency_key = $1"), args![&key.to_owned()]).await
}

/// The delivery that one of conveyor's own keys stands for.
pub async fn by_dedupe_key(db: &mut Db, key: &str) -> Result<Option<Delivery>> {
    db.one(Delivery::select("WHERE dedupe_key = $1"), args![&key.to_owned()]).await
}

/// Which deliveries are listed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only for this session.
    pub target: Option<SessionId>,
    /// Only for this worker, from it, or of a binding in which it works.
    pub worker: Option<SessionId>,
    /// Only for this manager, from it, or of a binding in which it supervises.
    pub manager: Option<SessionId>,
    /// Only of these kinds; all when empty.
    pub kinds: Vec<String>,
    /// Only in these states; all when empty.
    pub states: Vec<Stage>,
    /// Only with this correlation id.
    pub correlation: Option<String>,
    /// Only behind this place.
    pub after: Option<i64>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

/// Deliveries in their order.
pub async fn list(db: &mut Db, wanted: &Wanted, limit: u32) -> Result<Vec<Delivery>> {
    let order = if wanted.newest_first { "ORDER BY seq DESC" } else { "ORDER BY seq" };
    let (rest, args) = Filter::new()
        .given("task_id = ?", wanted.task.as_ref())
        .given("target_session_id = ?", wanted.target.as_ref())
        .given(
            "(target_session_id = ? OR source_session_id = ? \
             OR binding_id IN (SELECT id FROM bindings WHERE worker_session_id = ?))",
            wanted.worker.as_ref(),
        )
        .given(
            "(target_session_id = ? OR source_session_id = ? \
             OR binding_id IN (SELECT id FROM bindings WHERE manager_session_id = ?))",
            wanted.manager.as_ref(),
        )
        .one_of("kind", &wanted.kinds)
        .one_of("state", &wanted.states)
        .given("correlation_id = ?", wanted.correlation.as_ref())
        .given("seq > ?", wanted.after.as_ref())
        .limited(order, limit);
    db.all(Delivery::select(&rest), args).await
}

/// What is not settled for a target: pending, leased, begun, submitted. Oldest first.
pub async fn open_for(db: &mut Db, target: &SessionId, limit: u32) -> Result<Vec<Delivery>> {
    let rest = "WHERE target_session_id = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                ORDER BY seq LIMIT $2";
    db.all(Delivery::select(rest), args![target, &i64::from(limit)]).await
}

/// What is not settled on a host. Oldest first.
pub async fn open_on(db: &mut Db, host: &str, limit: u32) -> Result<Vec<Delivery>> {
    let rest = "WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                ORDER BY seq LIMIT $2";
    db.all(Delivery::select(rest), args![&host.to_owned(), &i64::from(limit)]).await
}

/// What a thread may still prove: deliveries whose effect began there, or in another of its session's threads, and whose
/// record was not found yet.
pub async fn unsettled_of_thread(db: &mut Db, thread: &str) -> Result<Vec<Delivery>> {
    let rest = "WHERE target_session_id IN (SELECT session_id FROM session_threads WHERE thread_id = $1) \
                AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                AND effect_at IS NOT NULL ORDER BY seq";
    let mut open: Vec<Delivery> = db.all(Delivery::select(rest), args![&thread.to_owned()]).await?;
    let rest = "WHERE target_session_id IN (SELECT session_id FROM session_threads WHERE thread_id = $1) \
                AND state IN ('unproved', 'blocked') ORDER BY seq DESC LIMIT $2";
    let limit = i64::from(limits::LIST_ROWS);
    open.extend(db.all::<Delivery>(Delivery::select(rest), args![&thread.to_owned(), &limit]).await?);
    Ok(open)
}

/// Recorded deliveries of a target that a turn's end answers: those of that turn, or with `None` all of them.
pub async fn recorded_in_turn(db: &mut Db, target: &SessionId, turn: Option<&str>) -> Result<Vec<Delivery>> {
    let turn = turn.map(str::to_owned);
    let (rest, args) = Filter::new()
        .given("target_session_id = ?", Some(target))
        .must("state = 'recorded'")
        .given("recorded_turn_id = ?", turn.as_ref())
        .build();
    db.all(Delivery::select(&format!("{rest} ORDER BY seq")), args).await
}

/// Deliveries of a target that rest on a record behind this one.
pub async fn recorded_behind(db: &mut Db, target: &SessionId, event: i64) -> Result<Vec<Delivery>> {
    let (rest, args) = Filter::new()
        .given("target_session_id = ?", Some(target))
        .must("state IN ('recorded', 'answered')")
        .given("recorded_event_id > ?", Some(&event))
        .build();
    db.all(Delivery::select(&format!("{rest} ORDER BY seq")), args).await
}

/// How many deliveries of a task stand in each stage.
pub async fn counts(db: &mut Db, task: Option<&TaskId>) -> Result<Vec<(Stage, i64)>> {
    let (rest, args) = Filter::new().given("task_id = ?", task).build();
    db.all(format!("SELECT state, count(*) FROM deliveries {rest} GROUP BY state ORDER BY state"), args).await
}
