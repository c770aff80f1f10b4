//! What needs no terminal: messages into inboxes, and the end of what is out of time or was tried too often.

use std::collections::HashMap;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use serde_json::json;

use super::Dispatch;
use super::Item;
use super::PermissionCheck;
use crate::gate;
use crate::gate::Verdict;
use crate::message;

/// Everything that needs no terminal, once.
pub(super) async fn all(d: &Dispatch<'_>) -> Result<()> {
    end_overdue(d).await?;
    end_spent(d).await?;
    // Counted for each by itself, so that commands cannot keep the ends of turns waiting.
    for kinds in classes(d) {
        into_inboxes(d, &kinds).await?;
    }
    Ok(())
}

/// The messages that a pass takes: commands, and ends of turns.
pub(super) fn classes(d: &Dispatch<'_>) -> Vec<Vec<String>> {
    let taken = |signal: bool| {
        let is_signal = |kind: &Kind| kind.is_message() && (*kind == Kind::WorkerTaskComplete) == signal;
        let kinds = Kind::ALL.iter().filter(|kind| is_signal(kind) && d.takes(kind.as_str()));
        kinds.map(|kind| kind.as_str().to_owned()).collect::<Vec<_>>()
    };
    [taken(false), taken(true)].into_iter().filter(|kinds| !kinds.is_empty()).collect()
}

/// Puts what is due into inboxes, batch by batch, up to the limit of a pass.
async fn into_inboxes(d: &Dispatch<'_>, kinds: &[String]) -> Result<()> {
    let mut left = d.settings.limit.unwrap_or(u32::MAX);
    loop {
        let size = left.min(limits::DISPATCH_BATCH);
        let moved = if size == 0 { 0 } else { batch(d, kinds, size).await? };
        left -= moved;
        if moved < limits::DISPATCH_BATCH {
            return Ok(());
        }
    }
}

/// One transaction. Returns how many went somewhere.
async fn batch(d: &Dispatch<'_>, kinds: &[String], size: u32) -> Result<u32> {
    let ledger = d.plane.ledger().await?;
    let mut reader = ledger.read().await?;
    let now = reader.now();
    if deliveries::unrouted(&mut reader, d.host(), kinds, now, 1).await?.is_empty() {
        return Ok(0);
    }
    drop(reader);
    let mut tx = ledger.write(&d.actor()).await?;
    let now = tx.now();
    let due = deliveries::unrouted(&mut tx, d.host(), kinds, now, size).await?;
    let mut names = Names::default();
    let mut items = Vec::with_capacity(due.len());
    for delivery in due {
        items.push(one(d, &mut tx, &mut names, delivery).await?);
    }
    tx.commit().await?;
    // Whoever went nowhere is looked at again with the next wake, not at once.
    let moved = if items.iter().all(Option::is_none) { 0 } else { items.len() as u32 };
    for item in items.into_iter().flatten() {
        d.note(item);
    }
    Ok(moved)
}

/// One delivery: addressed where it has no target yet, refused where the gate is closed, else put into the inbox.
async fn one(d: &Dispatch<'_>, tx: &mut Tx, names: &mut Names, delivery: Delivery) -> Result<Option<Item>> {
    let Some(delivery) = addressed(tx, delivery).await? else { return Ok(None) };
    let target = names.of(tx, delivery.target_session_id.as_ref()).await?;
    let verdict = gate::verdict(tx, &delivery).await?;
    let permission_check = delivery.required_permission.clone().map(|required_permission| PermissionCheck {
        allowed: verdict == Verdict::Open,
        required_permission,
    });
    let id = d.settings.id.as_str();
    let item = match verdict {
        Verdict::Held(_) => return Ok(None),
        Verdict::Closed(error) => {
            let failed = gate::refuse(tx, &delivery, None, &error).await?;
            failed.map(|failed| Item::of(&failed, id, target))
        }
        // It has a proved pane by now: it is typed.
        Verdict::Open if delivery.transport == Transport::Push => None,
        Verdict::Open => {
            let sentence = format!(
                "{} lies in the inbox of {}.",
                delivery.id,
                target.as_deref().unwrap_or("its target")
            );
            let audit = AuditRow::new("delivery_in_inbox", sentence);
            let put = deliveries::into_inbox(tx, &delivery, id, audit).await?;
            put.map(|(delivery, attempt)| Item {
                attempt_id: Some(attempt.id),
                ..Item::of(&delivery, id, target)
            })
        }
    };
    let Some(item) = item.map(|item| Item { permission_check, ..item }) else { return Ok(None) };
    tell(tx, &delivery, &item).await?;
    Ok(Some(item))
}

/// A delivery that was accepted before its task was bound goes to whom the task is bound to now.
async fn addressed(tx: &mut Tx, delivery: Delivery) -> Result<Option<Delivery>> {
    let (None, Some(task)) = (&delivery.target_session_id, &delivery.task_id) else {
        return Ok(Some(delivery));
    };
    let Some(binding) = bindings::active_of_task(tx, task).await? else { return Ok(Some(delivery)) };
    let (worker, manager) = (binding.worker_session_id.clone(), binding.manager_session_id.clone());
    let (source, target) =
        if delivery.kind == Kind::NotifyManager.as_str() { (worker, manager) } else { (manager, worker) };
    let Some(session) = sessions::get(tx, &target).await? else { return Ok(Some(delivery)) };
    let after = Delivery {
        binding_id: Some(binding.id),
        source_session_id: Some(source),
        target_session_id: Some(target),
        host: session.host.clone(),
        transport: message::transport(&session),
        ..delivery
    };
    let audit = AuditRow::new("delivery_addressed", format!("{} goes to {}.", after.id, session.name));
    Ok(deliveries::address(tx, &after, audit).await?.then_some(after))
}

/// Ends what nobody began in time.
async fn end_overdue(d: &Dispatch<'_>) -> Result<()> {
    let ledger = d.plane.ledger().await?;
    loop {
        let mut reader = ledger.read().await?;
        let now = reader.now();
        let due = deliveries::overdue(&mut reader, d.host(), now, limits::DISPATCH_BATCH).await?;
        drop(reader);
        let due: Vec<_> =
            due.into_iter().filter(|due| d.takes(&due.kind)).map(|due| (due.id, due.state)).collect();
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = ledger.write(&d.actor()).await?;
        let error = Error::timeout("its time was over before anybody began it");
        let change = Change { error: Some(error), ..Change::default() };
        let told = |id: &conveyor_model::ids::DeliveryId| {
            AuditRow::new("delivery_expired", format!("{id} is expired."))
        };
        let expired = deliveries::move_batch(&mut tx, &due, Stage::Expired, &change, told).await?;
        let items = items(d, &mut tx, &expired).await?;
        tx.commit().await?;
        for item in items {
            d.note(item);
        }
    }
}

/// Ends what was tried as often as its sender allows; nothing of it can have reached anybody.
async fn end_spent(d: &Dispatch<'_>) -> Result<()> {
    let ledger = d.plane.ledger().await?;
    let mut reader = ledger.read().await?;
    let now = reader.now();
    let spent = deliveries::spent(&mut reader, d.host(), now, limits::DISPATCH_BATCH).await?;
    drop(reader);
    if !spent.iter().any(|spent| d.takes(&spent.kind)) {
        return Ok(());
    }
    let mut tx = ledger.write(&d.actor()).await?;
    let mut failed = Vec::new();
    for delivery in spent.iter().filter(|spent| d.takes(&spent.kind)) {
        let tries = delivery.max_attempts;
        let error = Error::timeout(format!("it was tried {tries} times, as often as it may be"));
        failed.extend(gate::refuse(&mut tx, delivery, None, &error).await?);
    }
    let items = items(d, &mut tx, &failed).await?;
    tx.commit().await?;
    for item in items {
        d.note(item);
    }
    Ok(())
}

async fn items(d: &Dispatch<'_>, tx: &mut Tx, moved: &[Delivery]) -> Result<Vec<Item>> {
    let mut names = Names::default();
    let mut items = Vec::new();
    for delivery in moved {
        let item = Item::of(
            delivery,
            d.settings.id.as_str(),
            names.of(tx, delivery.target_session_id.as_ref()).await?,
        );
        tell(tx, delivery, &item).await?;
        items.push(item);
    }
    Ok(items)
}

/// The contract's row of telemetry for what became of a delivery.
pub(super) async fn tell(tx: &mut Tx, delivery: &Delivery, item: &Item) -> Result<()> {
    use super::ItemState as S;
    let is_signal = item.signal_type.is_some();
    let (event, severity) = match item.state {
        S::PullRequired => ("dispatch_signal_pull_required", Severity::Info),
        S::Delivered | S::Submitted if is_signal => ("dispatch_signal_routed", Severity::Info),
        S::Delivered | S::Submitted => ("dispatch_command_succeeded", Severity::Info),
        S::Blocked => ("dispatch_command_blocked", Severity::Warning),
        S::Requeued => ("dispatch_command_abandoned", Severity::Warning),
        S::Failed | S::Expired | S::Unproved | S::Cancelled if is_signal => {
            ("dispatch_signal_failed", Severity::Error)
        }
        S::Failed | S::Expired | S::Unproved | S::Cancelled => ("dispatch_command_failed", Severity::Error),
        S::Planned | S::Suppressed => return Ok(()),
    };
    let new = NewTelemetry {
        task: delivery.task_id.clone(),
        run: None,
        actor: "dispatch".to_owned(),
        event_type: event.to_owned(),
        severity,
        summary: item.text(),
        correlation: json!({
            "attempt_id": item.attempt_id,
            "command_id": item.command_id,
            "command_type": delivery.kind,
            "correlation_id": item.correlation_id,
            "dispatcher_id": item.dispatcher_id,
            "routed_notification_id": item.notification_id,
        }),
        attributes: json!({
            "delivery_mode": item.delivery_mode,
            "error": item.error,
            "permission_check": item.permission_check,
            "state": item.state,
        }),
    };
    telemetry::insert(tx, new).await
}

/// Names of sessions, each looked up once.
#[derive(Default)]
pub(super) struct Names(HashMap<SessionId, Option<String>>);

impl Names {
    pub(super) async fn of(&mut self, db: &mut Db, id: Option<&SessionId>) -> Result<Option<String>> {
        let Some(id) = id else { return Ok(None) };
        if let Some(known) = self.0.get(id) {
            return Ok(known.clone());
        }
        let name = sessions::get(db, id).await?.map(|session| session.name.to_string());
        self.0.insert(id.clone(), name.clone());
        Ok(name)
    }
}
