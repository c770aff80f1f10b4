//! What waits for the manager of a binding, and handing it over with the report.

use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::ids::DeliveryId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::Session;

use super::scene::Scene;
use crate::attention;
use crate::gate;
use crate::gate::Verdict;

/// Whether a message to the worker is under way, so that another one would say it twice.
pub(super) async fn message_open(tx: &mut Tx, worker: &Session) -> Result<bool> {
    let open = deliveries::open_for(tx, &worker.id, limits::LIST_ROWS).await?;
    Ok(open.iter().any(|delivery| delivery.kind.parse::<Kind>().is_ok_and(Kind::is_message)))
}

/// Whether a cycle of this actor is the manager's own reading. A person runs it in the manager's place; another
/// registered session only looks on.
pub(super) fn are_for(actor: &Actor, manager: &Session) -> bool {
    match actor {
        Actor::Operator => true,
        Actor::Manager(session) => *session == manager.id,
        Actor::Worker(_) | Actor::Dispatch(_) | Actor::Conveyor => false,
    }
}

/// What waits for the manager under this binding, oldest first: what lies unread in its inbox, and what nobody has begun
/// to deliver. What the gate keeps back from a dispatcher it keeps back from a cycle too.
pub(super) async fn waiting(tx: &mut Tx, scene: &Scene) -> Result<Vec<Delivery>> {
    let manager = &scene.manager.id;
    let now = tx.now();
    let mut waiting = deliveries::inbox(tx, manager, limits::LIST_ROWS).await?;
    let open = deliveries::open_for(tx, manager, limits::LIST_ROWS).await?;
    let is_due = |delivery: &Delivery| {
        delivery.available_at <= now && delivery.expires_at.is_none_or(|expires| expires > now)
    };
    let is_ours = |one: &Delivery| one.binding_id.as_ref() == Some(&scene.binding.id) && is_notification(one);
    waiting.retain(is_ours);
    let mut free = Vec::with_capacity(waiting.len());
    for delivery in waiting {
        // What lies in the inbox of whoever is held stays there.
        if gate::inbox_hold(tx, &delivery).await?.is_none() {
            free.push(delivery);
        }
    }
    let mut waiting = free;
    let is_new = |one: &Delivery| one.state == Stage::Pending && one.inbox_at.is_none();
    for delivery in open.into_iter().filter(|one| is_new(one) && is_due(one) && is_ours(one)) {
        if gate::verdict(tx, &delivery).await? == Verdict::Open {
            waiting.push(delivery);
        }
    }
    waiting.sort_by_key(|delivery| delivery.seq);
    Ok(waiting)
}

/// Whether it is something to be read, and not a key to be pressed.
fn is_notification(delivery: &Delivery) -> bool {
    match delivery.kind.parse::<Kind>() {
        Ok(Kind::NotifyManager | Kind::WorkerTaskComplete) => true,
        Ok(
            Kind::Answer
            | Kind::Interrupt
            | Kind::NudgeWorker
            | Kind::SessionNudge
            | Kind::Slash
            | Kind::Stop,
        )
        | Err(_) => false,
    }
}

/// Notes that the manager has these with the report of a cycle, so that nobody tells it again.
pub(super) async fn consume(tx: &mut Tx, scene: &Scene, cycle: i64, taken: &[Delivery]) -> Result<()> {
    let change = Change { into_inbox: true, ..Change::default() };
    for delivery in taken.iter().filter(|delivery| delivery.state == Stage::Pending) {
        let sentence = format!("{} was handed over with cycle {cycle} instead of being sent.", delivery.id);
        let audit = AuditRow::new("delivery_recorded", sentence);
        let (from, to) = (Stage::Pending, Stage::Recorded);
        deliveries::move_state(tx, &delivery.id, None, from, to, &change, audit).await?;
        attention::delivery_settled(tx, delivery).await?;
    }
    let ids: Vec<DeliveryId> = taken.iter().map(|delivery| delivery.id.clone()).collect();
    let sentence = format!("{} read {} notifications with cycle {cycle}.", scene.manager.name, ids.len());
    let audit = AuditRow::new("notifications_consumed", sentence)
        .session(&scene.manager.id)
        .task(&scene.task.id)
        .binding(&scene.binding.id);
    deliveries::consume_for_cycle(tx, &ids, scene.manager.name.as_str(), cycle, audit).await.map(drop)
}
