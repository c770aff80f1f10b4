//! Pausing a task and taking a session over: what is written, and what is read of it. What a hold keeps back is decided
//! by `conveyor_model::delivery::passage`; everybody who carries out asks [`crate::gate`].

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery::Holds;
use conveyor_model::ids::TaskId;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::bindings;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use serde_json::json;

use crate::Plane;
use crate::speaker;

/// The sort of attention that a paused task raises.
pub(crate) const PAUSED: &str = "task_paused";

/// The sort of attention that a session raises which a person drives.
pub(crate) const TAKEN_OVER: &str = "session_taken_over";

/// What holds a delivery now.
pub(crate) async fn of_delivery(db: &mut Db, delivery: &Delivery) -> Result<Holds> {
    let target = match &delivery.target_session_id {
        Some(id) => sessions::get(db, id).await?,
        None => None,
    };
    of(db, target.as_ref(), delivery.task_id.as_ref()).await
}

/// What holds a session, and what belongs to a task, now. A worker is held by the task that it works on, whatever a
/// message to it belongs to.
pub(crate) async fn of(db: &mut Db, target: Option<&Session>, task: Option<&TaskId>) -> Result<Holds> {
    let worker = target.filter(|target| target.role == Role::Worker);
    let works_on = match worker {
        Some(worker) => bindings::active_of_worker(db, &worker.id).await?.map(|binding| binding.task_id),
        None => None,
    };
    let mut task_paused = false;
    for id in [task, works_on.as_ref()].into_iter().flatten() {
        task_paused |= tasks::get(db, id).await?.is_some_and(|task| task.paused_at.is_some());
    }
    Ok(Holds {
        session_paused: target.is_some_and(|target| target.paused_at.is_some()),
        taken_over: target.is_some_and(|target| target.taken_over_at.is_some()),
        task_paused,
    })
}

/// Only a person holds and lets go: an agent that could let go would undo what a person did.
pub(crate) async fn only_a_person(plane: &Plane, db: &mut Db, what: &str) -> Result<()> {
    match speaker::session(plane, db).await? {
        Some(session) => {
            Err(Error::refused(format!("`{}` is an agent's session; a person {what}", session.name))
                .hint("ask the user in your chat"))
        }
        None => Ok(()),
    }
}

/// Pauses a task. False when it was paused before: then nothing is written.
pub(crate) async fn pause(tx: &mut Tx, task: &Task, reason: Option<&str>) -> Result<bool> {
    if task.paused_at.is_some() {
        return Ok(false);
    }
    let why = reason.map_or(String::new(), |reason| format!(": {reason}"));
    let sentence = format!("The task {} was paused{why}.", task.name);
    let next = Task { paused_at: Some(tx.now()), ..task.clone() };
    tasks::update(tx, &next, AuditRow::new("task_paused", sentence)).await?;
    let new = NewAttention {
        kind: PAUSED.to_owned(),
        session: None,
        task: Some(task.id.clone()),
        delivery: None,
        message: format!("{} is paused; nothing is delivered for it.", task.name),
        evidence: json!({ "reason": reason }),
    };
    let audit = AuditRow::new("attention_raised", new.message.clone()).task(&task.id);
    attention::raise(tx, new, audit).await?;
    Ok(true)
}

/// Lets a task go on. False when it was not paused.
pub(crate) async fn resume(tx: &mut Tx, task: &Task) -> Result<bool> {
    clear_task(tx, task).await?;
    if task.paused_at.is_none() {
        return Ok(false);
    }
    let next = Task { paused_at: None, ..task.clone() };
    let sentence = format!("The task {} goes on.", task.name);
    tasks::update(tx, &next, AuditRow::new("task_resumed", sentence)).await?;
    Ok(true)
}

/// A task that goes on, or has ended, wants no attention for its pause.
pub(crate) async fn clear_task(tx: &mut Tx, task: &Task) -> Result<()> {
    let audit = AuditRow::new("attention_cleared", format!("{} is not paused any more.", task.name));
    attention::clear(tx, task.id.as_str(), PAUSED, audit.task(&task.id)).await.map(drop)
}

/// Notes that a person drives a session. False when one did before.
pub(crate) async fn take_over(tx: &mut Tx, session: &Session, reason: Option<&str>) -> Result<bool> {
    if session.taken_over_at.is_some() {
        return Ok(false);
    }
    let why = reason.map_or(String::new(), |reason| format!(": {reason}"));
    let next = Session { taken_over_at: Some(tx.now()), ..session.clone() };
    let sentence = format!("A person took {} over{why}.", session.name);
    sessions::update(tx, &next, AuditRow::new("session_taken_over", sentence)).await?;
    let new = NewAttention {
        kind: TAKEN_OVER.to_owned(),
        session: Some(session.id.clone()),
        task: None,
        delivery: None,
        message: format!("A person drives {}; nothing is delivered to it.", session.name),
        evidence: json!({ "reason": reason }),
    };
    let audit = AuditRow::new("attention_raised", new.message.clone()).session(&session.id);
    attention::raise(tx, new, audit).await?;
    Ok(true)
}

/// Gives a session back. False when nobody had taken it over.
pub(crate) async fn give_back(tx: &mut Tx, session: &Session) -> Result<bool> {
    let audit = AuditRow::new("attention_cleared", format!("{} is driven by its agent again.", session.name));
    attention::clear(tx, session.id.as_str(), TAKEN_OVER, audit.session(&session.id)).await?;
    if session.taken_over_at.is_none() {
        return Ok(false);
    }
    let next = Session { taken_over_at: None, ..session.clone() };
    let sentence = format!("{} was given back.", session.name);
    sessions::update(tx, &next, AuditRow::new("session_given_back", sentence)).await?;
    Ok(true)
}
