//! Deliveries that their target reads itself: offered, then confirmed.
//!
//! Reading is not yet having read: what a killed reader had in its hands is offered again. An item is `pending` until its
//! reader has confirmed it; then it is `recorded`.

use std::time::Duration;

use conveyor_model::Result;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;

use crate::cell::Table as _;
use crate::cell::args;
use crate::db::Db;
use crate::deliveries::Delivery;
use crate::deliveries::attempts::Attempt;
use crate::deliveries::attempts::AttemptState;
use crate::deliveries::lease::held_back;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

/// Puts a pending delivery into its target's inbox: one attempt, which succeeded. `None` when it stands elsewhere already.
///
/// No lease is needed: nothing is done outside of this transaction.
pub async fn into_inbox(
    tx: &mut Tx,
    before: &Delivery,
    dispatcher: &str,
    audit: AuditRow,
) -> Result<Option<(Delivery, Attempt)>> {
    let now = tx.now();
    let sql = "UPDATE deliveries SET inbox_at = $3, transport = 'pull_required', epoch = epoch + 1, \
               attempts = attempts + 1, updated_at = $3 \
               WHERE id = $1 AND epoch = $2 AND state = 'pending' AND inbox_at IS NULL";
    if tx.change(sql, args![&before.id, &before.epoch, &now]).await? == 0 {
        return Ok(None);
    }
    let after = Delivery {
        inbox_at: Some(now),
        transport: Transport::Pull,
        epoch: before.epoch + 1,
        attempts: before.attempts + 1,
        updated_at: now,
        ..before.clone()
    };
    let attempt = Attempt {
        id: tx.next_number(Counter::Attempt).await?,
        delivery_id: after.id.clone(),
        epoch: after.epoch,
        dispatcher: dispatcher.to_owned(),
        state: AttemptState::Succeeded,
        started_at: now,
        finished_at: Some(now),
        side_effect_started: false,
        side_effect_completed: false,
        error: None,
        result_json: None,
    };
    tx.insert(&attempt).await?;
    let audit = audit
        .or_delivery(&after.id)
        .or_task(after.task_id.as_ref())
        .or_session(after.target_session_id.as_ref())
        .or_binding(after.binding_id.as_ref())
        .or_correlation(&after.correlation_id);
    tx.audit(audit).await?;
    Ok(Some((after, attempt)))
}

/// Gives a delivery that was accepted without a target the one that its task has now. `false` when it has one already.
pub async fn address(tx: &mut Tx, delivery: &Delivery, audit: AuditRow) -> Result<bool> {
    let sql = "UPDATE deliveries SET binding_id = $2, source_session_id = $3, target_session_id = $4, host = $5, \
               transport = $6, updated_at = $7 WHERE id = $1 AND state = 'pending' AND target_session_id IS NULL";
    let now = tx.now();
    let args = args![
        &delivery.id,
        &delivery.binding_id,
        &delivery.source_session_id,
        &delivery.target_session_id,
        &delivery.host,
        &delivery.transport,
        &now,
    ];
    let addressed = tx.change(sql, args).await? > 0;
    if addressed {
        tx.audit(audit.or_delivery(&delivery.id).or_task(delivery.task_id.as_ref())).await?;
    }
    Ok(addressed)
}

/// What lies unread in a session's inbox, oldest first.
pub async fn inbox(db: &mut Db, session: &SessionId, limit: u32) -> Result<Vec<Delivery>> {
    inbox_of(db, session, None, limit).await
}

/// The same, only what belongs to a task when one is given.
pub async fn inbox_of(
    db: &mut Db,
    session: &SessionId,
    task: Option<&TaskId>,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let (rest, args) = Filter::new()
        .given("target_session_id = ?", Some(session))
        .must("inbox_at IS NOT NULL AND consumed_at IS NULL AND state IN ('pending', 'recorded')")
        .given("task_id = ?", task)
        .limited("ORDER BY seq", limit);
    db.all(Delivery::select(&rest), args).await
}

/// Offers the oldest item that no other reader, no pause and no take-over holds. `offers` above 1 in the result means that it was offered before.
///
/// The item is this reader's until `lasting` is over; whoever asks again under the same name gets it again.
pub async fn offer_next(
    tx: &mut Tx,
    session: &SessionId,
    reader: &str,
    lasting: Duration,
    audit: AuditRow,
) -> Result<Option<Delivery>> {
    offer_next_of(tx, session, None, reader, lasting, audit).await
}

/// The same, only of what belongs to a task when one is given.
pub async fn offer_next_of(
    tx: &mut Tx,
    session: &SessionId,
    task: Option<&TaskId>,
    reader: &str,
    lasting: Duration,
    audit: AuditRow,
) -> Result<Option<Delivery>> {
    let now = tx.now();
    // No task's id is empty, so that an empty text can stand for any.
    let rest = "WHERE target_session_id = $1 AND inbox_at IS NOT NULL AND consumed_at IS NULL \
                AND state IN ('pending', 'recorded') AND ($4 = '' OR task_id = $4) \
                AND (offered_until IS NULL OR offered_until <= $2 OR offered_to = $3)";
    let rest = format!("{rest} AND NOT {} ORDER BY seq LIMIT 1", held_back!());
    let task = task.map_or(String::new(), ToString::to_string);
    let args = args![session, &now, &reader.to_owned(), &task];
    let Some(before) = tx.one::<Delivery>(Delivery::select(&rest), args).await? else { return Ok(None) };
    let after = Delivery {
        offered_to: Some(reader.to_owned()),
        offered_until: Some(now.plus(lasting)),
        offers: before.offers + 1,
        updated_at: now,
        ..before
    };
    tx.replace(&after).await?;
    tx.audit(audit.or_delivery(&after.id).or_session(Some(session)).or_task(after.task_id.as_ref())).await?;
    Ok(Some(after))
}

/// What a reader was offered and has not confirmed, oldest first; also what has expired in its hands.
pub async fn offered(db: &mut Db, session: &SessionId, reader: &str) -> Result<Vec<Delivery>> {
    let rest = "WHERE target_session_id = $1 AND inbox_at IS NOT NULL AND consumed_at IS NULL \
                AND state IN ('pending', 'recorded', 'expired') AND offered_to = $2 ORDER BY seq";
    db.all(Delivery::select(rest), args![session, &reader.to_owned()]).await
}

/// Confirms that a reader has an item, `how` being `record`, `next_poll` or the like. `false` when it was confirmed
/// before, or when another reader holds it.
pub async fn consume(tx: &mut Tx, id: &DeliveryId, reader: &str, how: &str, audit: AuditRow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE deliveries SET consumed_at = $2, consumed_by = $3, consumed_how = $4, updated_at = $2, \
               recorded_at = CASE WHEN state IN ('pending', 'expired') THEN $2 ELSE recorded_at END, \
               state = CASE WHEN state IN ('pending', 'expired') THEN 'recorded' ELSE state END \
               WHERE id = $1 AND inbox_at IS NOT NULL AND consumed_at IS NULL \
               AND (offered_to IS NULL OR offered_to = $3 OR offered_until <= $2)";
    let consumed = tx.change(sql, args![id, &now, &reader.to_owned(), &how.to_owned()]).await? > 0;
    if consumed {
        tx.audit(audit.or_delivery(id)).await?;
    }
    Ok(consumed)
}

/// The same on the target's own word, whoever was offered it.
pub async fn acknowledge(tx: &mut Tx, id: &DeliveryId, reader: &str, audit: AuditRow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE deliveries SET consumed_at = $2, consumed_by = $3, consumed_how = 'ack', updated_at = $2, \
               recorded_at = CASE WHEN state IN ('pending', 'expired') THEN $2 ELSE recorded_at END, \
               state = CASE WHEN state IN ('pending', 'expired') THEN 'recorded' ELSE state END \
               WHERE id = $1 AND inbox_at IS NOT NULL AND consumed_at IS NULL";
    let consumed = tx.change(sql, args![id, &now, &reader.to_owned()]).await? > 0;
    if consumed {
        tx.audit(audit.or_delivery(id)).await?;
    }
    Ok(consumed)
}

/// Confirms items that a cycle has shown to its manager, and returns those that were unread until then.
pub async fn consume_for_cycle(
    tx: &mut Tx,
    ids: &[DeliveryId],
    reader: &str,
    cycle: i64,
    audit: AuditRow,
) -> Result<Vec<DeliveryId>> {
    let now = tx.now();
    let sql = "UPDATE deliveries SET consumed_at = $2, consumed_by = $3, consumed_how = 'cycle', \
               consumed_cycle = $4, updated_at = $2, \
               recorded_at = CASE state WHEN 'pending' THEN $2 ELSE recorded_at END, \
               state = CASE state WHEN 'pending' THEN 'recorded' ELSE state END \
               WHERE id = $1 AND inbox_at IS NOT NULL AND consumed_at IS NULL";
    let mut consumed = Vec::new();
    for id in ids {
        if tx.change(sql, args![id, &now, &reader.to_owned(), &cycle]).await? > 0 {
            consumed.push(id.clone());
        }
    }
    if !consumed.is_empty() {
        tx.audit(audit).await?;
    }
    Ok(consumed)
}
