//! Moves from stage to stage: compare-and-set on stage and epoch, checked against the model's machine.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Stage;
use conveyor_model::ids::DeliveryId;
use conveyor_model::limits;
use serde_json::Value;

use crate::deliveries::Delivery;
use crate::deliveries::get;
use crate::tx::AuditRow;
use crate::tx::Tx;

/// What is noted with a move. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The way it goes from now on.
    pub transport: Option<conveyor_model::delivery::Transport>,
    /// The pane into which the effect begins.
    pub effect_pin: Option<Value>,
    /// The thread at that moment.
    pub effect_thread: Option<String>,
    /// Its rollout.
    pub effect_rollout: Option<String>,
    /// The rollout's length.
    pub effect_offset: Option<i64>,
    /// SHA-256 of the text as it is typed.
    pub wire_digest: Option<String>,
    /// The record that holds the token.
    pub recorded_event: Option<i64>,
    /// The turn of that record.
    pub recorded_turn: Option<String>,
    /// The recorded text differs.
    pub altered: bool,
    /// Put it into the target's inbox.
    pub into_inbox: bool,
    /// Why it did not succeed: message, kind and retry are stored.
    pub error: Option<Error>,
    /// Details of the result.
    pub result: Option<Value>,
    /// Not before.
    pub available_at: Option<Timestamp>,
    /// Keep the lease. Without it, a move to anything but `effect_started` and `submitted` gives the lease back.
    pub keep_lease: bool,
}

/// Moves a delivery from one stage to another, if it still stands there and, for whoever holds a lease, under that epoch.
///
/// `epoch` is the lease's; `None` for an observer that needs none: the ingester that found the record. `None` is returned
/// when the delivery stands elsewhere or the lease was lost: whoever gets that stops at once. A move that the machine does
/// not know: kind `conflict`.
pub async fn move_state(
    tx: &mut Tx,
    id: &DeliveryId,
    epoch: Option<i64>,
    from: Stage,
    to: Stage,
    change: &Change,
    audit: AuditRow,
) -> Result<Option<Delivery>> {
    if !from.may_become(to) {
        return Err(Error::conflict(format!("a delivery cannot go from {from} to {to}")));
    }
    let Some(before) = get(tx, id).await? else { return Ok(None) };
    if before.state != from || epoch.is_some_and(|epoch| epoch != before.epoch) {
        return Ok(None);
    }
    let after = moved(before, to, change, tx.now());
    tx.replace(&after).await?;
    let audit = audit
        .or_delivery(&after.id)
        .or_task(after.task_id.as_ref())
        .or_session(after.target_session_id.as_ref())
        .or_binding(after.binding_id.as_ref())
        .or_correlation(&after.correlation_id);
    tx.audit(audit).await?;
    Ok(Some(after))
}

/// The delivery behind a move: times are noted where the stage is entered.
fn moved(before: Delivery, to: Stage, change: &Change, now: Timestamp) -> Delivery {
    let mut after = Delivery { state: to, updated_at: now, ..before };
    let entered = |at: Option<Timestamp>| at.or(Some(now));
    match to {
        Stage::EffectStarted => after.effect_at = Some(now),
        Stage::Submitted => after.submitted_at = entered(after.submitted_at),
        Stage::Recorded => after.recorded_at = entered(after.recorded_at),
        Stage::Answered => after.answered_at = entered(after.answered_at),
        Stage::Pending
        | Stage::Leased
        | Stage::Blocked
        | Stage::Failed
        | Stage::Expired
        | Stage::Unproved
        | Stage::Cancelled => {}
    }
    if !change.keep_lease && !to.is_open_effect() {
        after.leased_by = None;
        after.leased_until = None;
    }
    note(&mut after, change, now);
    after
}

fn note(after: &mut Delivery, change: &Change, now: Timestamp) {
    fn replace<T: Clone>(kept: &mut Option<T>, given: Option<&T>) {
        if let Some(given) = given {
            *kept = Some(given.clone());
        }
    }
    replace(&mut after.effect_pin_json, change.effect_pin.as_ref());
    replace(&mut after.effect_thread_id, change.effect_thread.as_ref());
    replace(&mut after.effect_rollout, change.effect_rollout.as_ref());
    replace(&mut after.effect_offset, change.effect_offset.as_ref());
    replace(&mut after.wire_digest, change.wire_digest.as_ref());
    replace(&mut after.recorded_event_id, change.recorded_event.as_ref());
    replace(&mut after.recorded_turn_id, change.recorded_turn.as_ref());
    replace(&mut after.result_json, change.result.as_ref());
    after.transport = change.transport.unwrap_or(after.transport);
    after.available_at = change.available_at.unwrap_or(after.available_at);
    after.altered |= change.altered;
    if change.into_inbox {
        after.inbox_at = after.inbox_at.or(Some(now));
    }
    if let Some(error) = &change.error {
        after.error = Some(error.message.clone());
        after.error_kind = word(&error.kind);
        after.retry = word(&error.retry);
    }
}

/// The word that serde gives to a plain enum.
fn word<T: serde::Serialize>(value: &T) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

/// Moves up to [`limits::DISPATCH_BATCH`] deliveries in one transaction, each told in a row of its own. Returns those that
/// were moved; the others stood elsewhere already.
pub async fn move_batch(
    tx: &mut Tx,
    batch: &[(DeliveryId, Stage)],
    to: Stage,
    change: &Change,
    audit: impl Fn(&DeliveryId) -> AuditRow,
) -> Result<Vec<Delivery>> {
    if batch.len() > limits::DISPATCH_BATCH as usize {
        return Err(Error::usage(format!("a batch has at most {} deliveries", limits::DISPATCH_BATCH)));
    }
    let mut all = Vec::with_capacity(batch.len());
    for (id, from) in batch {
        all.extend(move_state(tx, id, None, *from, to, change, audit(id)).await?);
    }
    Ok(all)
}

/// Notes a look that found the delivery nowhere, or with `found` that the row of such looks is broken. `false` when the
/// epoch is not ours any more. Rings nobody: the next look is a matter of time, not of a wake.
pub async fn note_look(tx: &mut Tx, id: &DeliveryId, epoch: i64, found: bool) -> Result<bool> {
    let Some(mut delivery) = get(tx, id).await? else { return Ok(false) };
    if delivery.epoch != epoch {
        return Ok(false);
    }
    let now = tx.now();
    if found {
        (delivery.looks, delivery.first_look_at) = (0, None);
    } else {
        (delivery.looks, delivery.first_look_at) = (delivery.looks + 1, delivery.first_look_at.or(Some(now)));
    }
    let sql = "UPDATE deliveries SET looks = $2, first_look_at = $3, last_look_at = $4 WHERE id = $1";
    tx.whisper(sql, crate::cell::args![id, &delivery.looks, &delivery.first_look_at, &Some(now)]).await?;
    Ok(true)
}

/// Puts a delivery that did not succeed back to `pending`, on a person's or the manager's word: the error is forgotten,
/// the attempts begin anew. A stage from which there is no way back: kind `conflict`.
pub async fn resend(tx: &mut Tx, id: &DeliveryId, audit: AuditRow) -> Result<Delivery> {
    let Some(before) = get(tx, id).await? else {
        return Err(Error::not_found(format!("there is no delivery {id}")));
    };
    let from = before.state;
    if from == Stage::Leased || !from.may_become(Stage::Pending) {
        return Err(
            Error::conflict(format!("a delivery that is {from} cannot be sent again")).retry(Retry::Unsafe)
        );
    }
    let now = tx.now();
    let after = Delivery {
        state: Stage::Pending,
        attempts: 0,
        available_at: now,
        error: None,
        error_kind: None,
        retry: None,
        looks: 0,
        first_look_at: None,
        leased_by: None,
        leased_until: None,
        updated_at: now,
        ..before
    };
    tx.replace(&after).await?;
    tx.audit(audit.or_delivery(id).or_task(after.task_id.as_ref())).await?;
    Ok(after)
}
