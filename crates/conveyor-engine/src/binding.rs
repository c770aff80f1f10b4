//! Tying a worker and a manager to a task, and ending that. `bind`, `pair` and a registration by setup code share it.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::delivery::Stage;
use conveyor_model::ids::BindingId;
use conveyor_model::turn::Coarse;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::bindings::BindingState;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::events;
use conveyor_store::follows;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::tasks::TaskState;
use conveyor_store::threads;
use conveyor_store::turns;

use crate::Plane;
use crate::attention;
use crate::ingest;

/// What came of binding.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The binding: the new one, or the one that ties the same three already.
    pub binding: Binding,
    /// The task as it is now: managed.
    pub task: Task,
    /// The same three were bound before; nothing was written.
    pub already_bound: bool,
}

/// Reads what the worker recorded so far, so that a binding that begins now begins behind it.
///
/// Call it before the transaction of [`bind`]. A worker on another host is read by that host's dispatcher.
pub async fn catch_up(plane: &Plane, worker: &Session) -> Result<()> {
    if worker.host == plane.environment.host {
        ingest::session(plane, worker).await?;
    }
    Ok(())
}

/// Binds, in the caller's transaction, and marks where the worker stands: turns that ended before, and the one that
/// runs, belong to what was before.
///
/// The rows must have been read in this transaction; [`catch_up`] must have run before it.
/// Errors: conflict for a finished task, a session that is gone or has the other role, a task or worker that is bound
/// otherwise.
pub async fn bind(tx: &mut Tx, task: &Task, worker: &Session, manager: &Session) -> Result<Bound> {
    check_rows(task, worker, manager)?;
    if let Some(binding) = bindings::active_of_task(tx, &task.id).await? {
        if ties(&binding, worker, manager) {
            return Ok(Bound { binding, task: task.clone(), already_bound: true });
        }
        return Err(task_is_bound(tx, task, &binding).await?);
    }
    if let Some(binding) = bindings::active_of_worker(tx, &worker.id).await? {
        return Err(worker_is_bound(tx, worker, &binding).await?);
    }
    let binding = marked(tx, task, worker, manager).await?;
    let sentence = format!("{} works on {} under {}.", worker.name, task.name, manager.name);
    let audit = AuditRow::new("binding_created", sentence).session(&worker.id);
    let binding = bindings::insert(tx, binding, audit).await?;
    let task = set_state(tx, task, TaskState::Managed, &binding.id).await?;
    Ok(Bound { binding, task, already_bound: false })
}

/// What of an ended binding's messages will not come any more.
#[derive(Clone, Debug, Default)]
pub struct Dropped {
    /// Taken back: nobody had begun them.
    pub cancelled: Vec<Delivery>,
    /// Expired: a reader was given them and did not confirm them, so that they may have been read.
    pub expired: Vec<Delivery>,
}

/// Ends an active binding and what it still had in the queue and in inboxes, in the caller's transaction. The answer is
/// empty when the binding was not active any more.
///
/// What somebody carries out at this moment goes on: it may have been seen. An inbox item that a reader was given is not
/// offered again; when that reader confirms it after all, it has arrived.
pub async fn end(
    tx: &mut Tx,
    binding: &Binding,
    how: BindingState,
    sentence: impl Into<String>,
) -> Result<Dropped> {
    let mut dropped = Dropped::default();
    let audit = AuditRow::new("binding_ended", sentence).task(&binding.task_id);
    if !bindings::end(tx, &binding.id, how, audit).await? {
        return Ok(dropped);
    }
    let wanted = deliveries::Wanted {
        task: Some(binding.task_id.clone()),
        states: vec![Stage::Pending],
        ..deliveries::Wanted::default()
    };
    let pending = deliveries::list(tx, &wanted, u32::MAX).await?;
    for delivery in pending.iter().filter(|one| one.binding_id.as_ref() == Some(&binding.id)) {
        if delivery.offers == 0 {
            dropped.cancelled.extend(cancel(tx, delivery, "its binding ended").await?);
        } else {
            dropped.expired.extend(expire(tx, delivery).await?);
        }
    }
    Ok(dropped)
}

/// Ends an item that a reader was given and has not confirmed.
async fn expire(tx: &mut Tx, delivery: &Delivery) -> Result<Option<Delivery>> {
    const WHY: &str = "its binding ended before its reader confirmed it";
    let audit = AuditRow::new("delivery_expired", format!("{} is expired: {WHY}.", delivery.id));
    let error = Error::timeout(WHY).retry(Retry::Unknown);
    let change = Change { error: Some(error), ..Change::default() };
    let (from, to) = (delivery.state, Stage::Expired);
    let moved = deliveries::move_state(tx, &delivery.id, None, from, to, &change, audit).await?;
    if let Some(moved) = &moved {
        attention::delivery_settled(tx, moved).await?;
    }
    Ok(moved)
}

/// Ends the binding of a task that may go on later: [`end`], and an unfinished task is paused.
pub async fn unbind(
    tx: &mut Tx,
    task: &Task,
    binding: &Binding,
    sentence: impl Into<String>,
) -> Result<(Task, Dropped)> {
    let dropped = end(tx, binding, BindingState::Ended, sentence).await?;
    let task = if task.state.is_unfinished() {
        set_state(tx, task, TaskState::Paused, &binding.id).await?
    } else {
        task.clone()
    };
    Ok((task, dropped))
}

/// Takes a delivery back that nobody has begun. Nothing when somebody was faster.
pub(crate) async fn cancel(tx: &mut Tx, delivery: &Delivery, why: &str) -> Result<Option<Delivery>> {
    let audit = AuditRow::new("delivery_cancelled", format!("{} was taken back: {why}.", delivery.id));
    let (change, to) = (Change::default(), Stage::Cancelled);
    let moved = deliveries::move_state(tx, &delivery.id, None, delivery.state, to, &change, audit).await?;
    if let Some(moved) = &moved {
        attention::delivery_settled(tx, moved).await?;
    }
    Ok(moved)
}

fn check_rows(task: &Task, worker: &Session, manager: &Session) -> Result<()> {
    if !task.state.is_unfinished() {
        return Err(Error::conflict(format!("the task `{}` is {}", task.name, task.state))
            .hint("make another: conveyor tasks --create <name> --goal <goal>"));
    }
    for (session, role) in [(worker, Role::Worker), (manager, Role::Manager)] {
        if session.role != role {
            return Err(Error::conflict(format!("`{}` is a {}, not a {role}", session.name, session.role))
                .hint(format!("list the right ones: conveyor sessions --role {role}")));
        }
        if session.state != SessionState::Active {
            return Err(Error::conflict(format!("the session `{}` is gone", session.name))
                .hint(format!("register it again: conveyor register-{role} --name {}", session.name)));
        }
    }
    Ok(())
}

fn ties(binding: &Binding, worker: &Session, manager: &Session) -> bool {
    binding.worker_session_id == worker.id && binding.manager_session_id == manager.id
}

/// A binding that begins where the worker stands now.
async fn marked(tx: &mut Tx, task: &Task, worker: &Session, manager: &Session) -> Result<Binding> {
    let id = BindingId::new(tx.clock().uuid_v7());
    let new = Binding::new(id, task.id.clone(), worker.id.clone(), manager.id.clone(), tx.now());
    let turn = turns::get(tx, &worker.id).await?;
    let observed = turn.as_ref().and_then(|row| row.observed_event_id);
    let last = events::last(tx, worker.number).await?.map(|event| event.id);
    let running = turn.map(|row| ingest::turn_of(&row)).filter(|turn| turn.coarse() == Coarse::Busy);
    let thread = threads::current(tx, &worker.id).await?.into_iter().next().map(|thread| thread.thread_id);
    let follow = match &thread {
        Some(thread) => follows::get(tx, thread).await?,
        None => None,
    };
    Ok(Binding {
        start_event_id: observed.max(last),
        start_thread_id: thread,
        start_offset: follow.map(|follow| follow.position),
        start_turn_id: running.and_then(|turn| turn.turn_id),
        ..new
    })
}

async fn set_state(tx: &mut Tx, task: &Task, state: TaskState, binding: &BindingId) -> Result<Task> {
    if task.state == state {
        return Ok(task.clone());
    }
    let task = Task { state, updated_at: tx.now(), ..task.clone() };
    let audit = AuditRow::new(format!("task_{state}"), format!("The task {} is {state}.", task.name));
    tasks::update(tx, &task, audit.binding(binding)).await?;
    Ok(task)
}

async fn task_is_bound(db: &mut Db, task: &Task, binding: &Binding) -> Result<Error> {
    let (worker, manager) = names(db, binding).await?;
    let message = format!("the task `{}` is bound already: {worker} works on it under {manager}", task.name);
    Ok(Error::conflict(message).hint(format!("end that first: conveyor unbind --task {}", task.name)))
}

async fn worker_is_bound(db: &mut Db, worker: &Session, binding: &Binding) -> Result<Error> {
    let other = match tasks::get(db, &binding.task_id).await? {
        Some(task) => task.name.to_string(),
        None => binding.task_id.to_string(),
    };
    let message = format!("`{}` works on the task `{other}` already ({})", worker.name, binding.id);
    Ok(Error::conflict(message).hint(format!("end that first: conveyor unbind --task {other}")))
}

/// The names of a binding's worker and manager.
pub async fn names(db: &mut Db, binding: &Binding) -> Result<(String, String)> {
    let worker = sessions::get(db, &binding.worker_session_id).await?;
    let manager = sessions::get(db, &binding.manager_session_id).await?;
    let name = |session: Option<Session>, id: &dyn std::fmt::Display| {
        session.map_or_else(|| id.to_string(), |session| session.name.to_string())
    };
    Ok((name(worker, &binding.worker_session_id), name(manager, &binding.manager_session_id)))
}

/// Whether the caller may bind under, or unbind from, this manager.
///
/// A person may. An agent may do so for itself only: else one manager could take over another's worker. In a shell the
/// thread is a claim, which may only narrow.
///
/// Errors: refused.
pub async fn may_arrange(plane: &Plane, db: &mut Db, manager: &Session) -> Result<()> {
    let Some(thread) = plane.caller.thread() else { return Ok(()) };
    match threads::session_of(db, thread).await? {
        Some(caller) if caller.id != manager.id => Err(Error::refused(format!(
            "this thread is the {} `{}`, which cannot arrange for the manager `{}`",
            caller.role, caller.name, manager.name
        ))
        .hint("ask a person, or that manager")),
        Some(_) | None => Ok(()),
    }
}
