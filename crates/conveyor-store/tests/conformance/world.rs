//! What most tests begin with.

use conveyor_model::Name;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_model::wire;
use conveyor_store::AuditRow;
use conveyor_store::Ledger;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;

pub(crate) const HOST: &str = "here";

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn told() -> AuditRow {
    AuditRow::new("tested", "a test changed something")
}

pub(crate) async fn begin(ledger: &Ledger) -> Tx {
    ledger.write(&Actor::Operator).await.unwrap()
}

pub(crate) async fn session(tx: &mut Tx, text: &str, role: Role) -> Session {
    let id = SessionId::new(tx.clock().uuid_v7());
    let new = Session::new(id, name(text), role, HOST.to_owned(), "/srv".to_owned(), tx.now());
    sessions::insert(tx, new, told()).await.unwrap()
}

pub(crate) async fn task(tx: &mut Tx, text: &str) -> Task {
    let new = Task::new(TaskId::new(tx.clock().uuid_v7()), name(text), "goal".to_owned(), None, tx.now());
    tasks::insert(tx, new, told()).await.unwrap()
}

pub(crate) fn binding(tx: &Tx, task: &Task, worker: &Session, manager: &Session) -> Binding {
    let id = BindingId::new(tx.clock().uuid_v7());
    Binding::new(id, task.id.clone(), worker.id.clone(), manager.id.clone(), tx.now())
}

pub(crate) fn message(tx: &Tx, target: &Session, text: &str) -> NewDelivery {
    let uuid = tx.clock().uuid_v7();
    let token = wire::token(tx.clock().random());
    NewDelivery {
        target: Some(target.id.clone()),
        body: text.to_owned(),
        ..NewDelivery::new(DeliveryId::new(uuid), token, "nudge_worker", Transport::Push, HOST.to_owned())
    }
}

pub(crate) async fn enqueue(tx: &mut Tx, target: &Session, text: &str) -> Delivery {
    let new = message(tx, target, text);
    deliveries::insert(tx, new, told()).await.unwrap().delivery
}

/// A worker and a manager, bound to a task.
pub(crate) struct World {
    pub(crate) worker: Session,
    pub(crate) manager: Session,
    pub(crate) task: Task,
    pub(crate) binding: Binding,
}

pub(crate) async fn world(ledger: &Ledger) -> World {
    let mut tx = begin(ledger).await;
    let worker = session(&mut tx, "worker", Role::Worker).await;
    let manager = session(&mut tx, "manager", Role::Manager).await;
    let task = task(&mut tx, "task").await;
    let new = binding(&tx, &task, &worker, &manager);
    let binding = bindings::insert(&mut tx, new, told()).await.unwrap();
    tx.commit().await.unwrap();
    World { worker, manager, task, binding }
}
