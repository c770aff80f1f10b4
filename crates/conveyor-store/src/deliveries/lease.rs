//! Who may act on a delivery: a lease, fenced by an epoch.
//!
//! The lease's end is compared with the ledger's clock only. Its holder shows the epoch with each move; a successor's
//! lease raises it, so that a holder that slept too long can change nothing any more.

use std::time::Duration;

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Stage;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;

use crate::cell::Table as _;
use crate::cell::args;
use crate::db::Db;
use crate::deliveries::Delivery;
use crate::deliveries::attempts;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Tx;

/// Whether nothing is delivered to a delivery's target, for its task, or for the task that its target works on, at the
/// moment: what `conveyor_model::delivery::passage` keeps waiting, in the engine's words. Looked up by keys: sessions and
/// tasks that went are kept for ever.
macro_rules! held_back {
    () => {
        "(EXISTS (SELECT 1 FROM sessions s WHERE s.id = deliveries.target_session_id \
         AND (s.paused_at IS NOT NULL OR s.taken_over_at IS NOT NULL)) \
         OR EXISTS (SELECT 1 FROM tasks t WHERE t.id = deliveries.task_id AND t.paused_at IS NOT NULL) \
         OR EXISTS (SELECT 1 FROM bindings b JOIN tasks w ON w.id = b.task_id \
         WHERE b.worker_session_id = deliveries.target_session_id AND b.state = 'active' \
         AND w.paused_at IS NOT NULL))"
    };
}
pub(crate) use held_back;

/// Whether a delivery that nobody has begun waits for the end of a hold. Keys and ends do not: see
/// `conveyor_model::delivery::passage`.
macro_rules! waits_for_hold {
    () => {
        concat!(
            "(state IN ('pending', 'leased') \
             AND kind NOT IN ('answer', 'session_interrupt', 'slash', 'stop_session') AND ",
            held_back!(),
            ")"
        )
    };
}

/// A condition, what does not wait for the end of a hold, and what follows.
fn concat_held(condition: &str, rest: &str) -> String {
    format!("{condition} AND NOT {}{rest}", waits_for_hold!())
}

/// The right to act on a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// The delivery as it is now; its `epoch` is the right.
    pub delivery: Delivery,
    /// Where it stood before. Anything but `pending` is what a dead holder left: the recovery table decides.
    pub was: Stage,
}

/// Leases the delivery that is due for a target: the oldest that is open.
///
/// `None` when there is none, when it is not available yet, or when somebody holds it: order is kept, nothing overtakes. A
/// delivery that was submitted and waits for its record does not hold up the next one, nor does one that lies in the
/// inbox, nor one whose sender put it off to a later time. What a pause or a take-over keeps back is not leased.
pub async fn lease_next(
    tx: &mut Tx,
    target: &SessionId,
    dispatcher: &str,
    lasting: Duration,
) -> Result<Option<Lease>> {
    let now = tx.now();
    let rest = "WHERE target_session_id = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                AND state <> 'submitted' AND inbox_at IS NULL \
                AND NOT (state = 'pending' AND attempts = 0 AND available_at > $2)";
    let rest = concat_held(rest, " ORDER BY seq LIMIT 1");
    match tx.one::<Delivery>(Delivery::select(&rest), args![target, &now]).await? {
        Some(oldest) => take(tx, oldest, dispatcher, lasting).await,
        None => Ok(None),
    }
}

/// Leases one delivery, whatever stands before it. `None` when it is settled, not available, or held.
pub async fn lease(
    tx: &mut Tx,
    id: &DeliveryId,
    dispatcher: &str,
    lasting: Duration,
) -> Result<Option<Lease>> {
    match crate::deliveries::get(tx, id).await? {
        Some(delivery) => take(tx, delivery, dispatcher, lasting).await,
        None => Ok(None),
    }
}

async fn take(tx: &mut Tx, before: Delivery, dispatcher: &str, lasting: Duration) -> Result<Option<Lease>> {
    let now = tx.now();
    let held = before.leased_until.is_some_and(|until| until > now);
    let due = before.available_at <= now && before.attempts < before.max_attempts;
    if before.state.is_settled() || held || (before.state == Stage::Pending && !due) {
        return Ok(None);
    }
    let after = Delivery {
        state: if before.state == Stage::Pending { Stage::Leased } else { before.state },
        epoch: before.epoch + 1,
        leased_by: Some(dispatcher.to_owned()),
        leased_until: Some(now.plus(lasting)),
        attempts: before.attempts + 1,
        updated_at: now,
        ..before.clone()
    };
    attempts::abandon(tx, &before).await?;
    tx.replace(&after).await?;
    attempts::begin(tx, &after, dispatcher).await?;
    let sentence = format!("{dispatcher} leased {} under epoch {}", after.id, after.epoch);
    let audit = AuditRow::new("delivery_leased", sentence)
        .delivery(&after.id)
        .or_task(after.task_id.as_ref())
        .or_session(after.target_session_id.as_ref())
        .or_correlation(&after.correlation_id);
    tx.audit(audit).await?;
    Ok(Some(Lease { delivery: after, was: before.state }))
}

/// Lengthens a lease. `false` when the epoch is not ours any more. Rings nobody.
pub async fn renew(tx: &mut Tx, id: &DeliveryId, epoch: i64, lasting: Duration) -> Result<bool> {
    let until = tx.now().plus(lasting);
    let sql =
        "UPDATE deliveries SET leased_until = $3 WHERE id = $1 AND epoch = $2 AND leased_by IS NOT NULL";
    Ok(tx.whisper(sql, args![id, &epoch, &until]).await? > 0)
}

/// Gives a lease back without having moved anything, to be tried again at `available_at`. A `leased` delivery becomes
/// `pending`; one whose effect began keeps its stage. `false` when the epoch is not ours any more.
pub async fn release(
    tx: &mut Tx,
    id: &DeliveryId,
    epoch: i64,
    available_at: Timestamp,
    audit: AuditRow,
) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE deliveries SET state = CASE state WHEN 'leased' THEN 'pending' ELSE state END, \
               leased_by = NULL, leased_until = NULL, available_at = $3, updated_at = $4 \
               WHERE id = $1 AND epoch = $2 AND leased_by IS NOT NULL";
    let released = tx.change(sql, args![id, &epoch, &available_at, &now]).await? > 0;
    if released {
        tx.audit(audit.or_delivery(id)).await?;
    }
    Ok(released)
}

/// What a holder of this host has leased and not settled.
pub async fn held_by(db: &mut Db, host: &str, holder: &str) -> Result<Vec<Delivery>> {
    let rest = "WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                AND leased_by = $2 ORDER BY seq";
    db.all(Delivery::select(rest), args![&host.to_owned(), &holder.to_owned()]).await
}

/// The targets on a host for which something is to be typed and may be acted on now. Each is to be asked with
/// [`lease_next`].
///
/// Costs what is open, not what ever was.
pub async fn ready_targets(db: &mut Db, host: &str, now: Timestamp) -> Result<Vec<SessionId>> {
    let sql = concat!(
        "SELECT target_session_id FROM deliveries \
         WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
         AND state <> 'submitted' AND target_session_id IS NOT NULL AND available_at <= $2 \
         AND inbox_at IS NULL AND NOT (state = 'pending' AND transport = 'pull_required') \
         AND (leased_until IS NULL OR leased_until <= $2) \
         AND NOT ",
        waits_for_hold!(),
        " GROUP BY target_session_id ORDER BY min(seq)"
    );
    db.values(sql, args![&host.to_owned(), &now]).await
}

/// Submitted deliveries on a host that nobody watches at the moment: each is to be taken with [`lease`] and looked for.
pub async fn unwatched(db: &mut Db, host: &str, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
    let rest = "WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                AND state = 'submitted' AND (leased_until <= $2 OR (leased_until IS NULL AND available_at <= $2)) \
                ORDER BY seq LIMIT $3";
    db.all(Delivery::select(rest), args![&host.to_owned(), &now, &i64::from(limit)]).await
}

/// What is due on a host and only has to be put into its target's inbox, or still has no target. Only of these kinds.
pub async fn unrouted(
    db: &mut Db,
    host: &str,
    kinds: &[String],
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let (rest, args) = Filter::new()
        .given("host = ?", Some(&host.to_owned()))
        .must("state IN ('pending', 'leased', 'effect_started', 'submitted')")
        .must("state = 'pending' AND (transport = 'pull_required' OR target_session_id IS NULL)")
        .must("inbox_at IS NULL AND attempts < max_attempts")
        .must(concat!("NOT ", held_back!()))
        .given("available_at <= ?", Some(&now))
        .one_of("kind", kinds)
        .limited("ORDER BY seq", limit);
    db.all(Delivery::select(&rest), args).await
}

/// What is due on a host and may not be tried any more.
pub async fn spent(db: &mut Db, host: &str, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
    let rest = "WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                AND state = 'pending' AND inbox_at IS NULL AND available_at <= $2 AND attempts >= max_attempts \
                ORDER BY seq LIMIT $3";
    db.all(Delivery::select(rest), args![&host.to_owned(), &now, &i64::from(limit)]).await
}

/// Pending deliveries on a host whose time is over.
pub async fn overdue(db: &mut Db, host: &str, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
    let rest = "WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
                AND state = 'pending' AND expires_at <= $2 ORDER BY seq LIMIT $3";
    db.all(Delivery::select(rest), args![&host.to_owned(), &now, &i64::from(limit)]).await
}

/// When something of a host becomes due that is not due now: the next `available_at`, the end of the next lease, or the
/// end of what nobody began in time.
pub async fn next_due(db: &mut Db, host: &str, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(due) FROM (\
               SELECT CASE WHEN leased_until IS NULL THEN available_at ELSE leased_until END AS due FROM deliveries \
               WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
               AND inbox_at IS NULL \
               UNION ALL SELECT expires_at AS due FROM deliveries \
               WHERE host = $1 AND state IN ('pending', 'leased', 'effect_started', 'submitted') \
               AND state = 'pending' AND expires_at IS NOT NULL) moments \
               WHERE due > $2";
    let due: Option<Option<Timestamp>> = db.value(sql, args![&host.to_owned(), &now]).await?;
    Ok(due.flatten())
}
