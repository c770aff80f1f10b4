//! Who may judge the work on a task: its manager and people. A worker may only propose.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::ids::TaskId;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use conveyor_store::threads;

use super::Caller;
use crate::Plane;

/// What a caller may do to the criteria of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// Everything: a person, or the task's manager.
    Full,
    /// Only propose: the task's worker.
    Proposes,
}

/// What the caller may do.
///
/// A person may do all. A worker may propose to the task that it is bound to. Over MCP a manager judges only tasks that
/// are its own, or that nobody was bound to yet. In a shell the thread is a claim, which may only narrow.
///
/// Errors: refused.
pub(crate) async fn judge(plane: &Plane, db: &mut Db, task: &Task) -> Result<Judge> {
    let Some(session) = session(plane, db).await? else {
        return match &plane.caller {
            Caller::Person | Caller::Shell { .. } => Ok(Judge::Full),
            Caller::Tool { .. } => Err(Error::refused("this thread is not registered, so it judges nothing")
                .hint("call the tool `register_worker` or `register_manager` first")),
        };
    };
    let latest = bindings::of_task(db, &task.id).await?.pop();
    match (session.role, &plane.caller, &latest) {
        (Role::Worker, _, Some(binding)) if binding.worker_session_id == session.id => Ok(Judge::Proposes),
        (Role::Worker, _, _) => Err(Error::refused(format!(
            "the worker `{}` is not bound to the task `{}`",
            session.name, task.name
        ))
        .hint("conveyor status")),
        (Role::Manager, Caller::Tool { .. }, Some(binding)) if binding.manager_session_id != session.id => {
            Err(Error::refused(format!("`{}` does not manage the task `{}`", session.name, task.name))
                .hint("conveyor tasks"))
        }
        (Role::Manager, _, _) => Ok(Judge::Full),
    }
}

/// The session of the calling agent, proved over MCP, claimed in a shell.
async fn session(plane: &Plane, db: &mut Db) -> Result<Option<Session>> {
    match plane.caller.thread() {
        Some(thread) => threads::session_of(db, thread).await,
        None => Ok(None),
    }
}

/// Notes that a person met a closed gate, instead of whatever else the transaction was to hold, and gives the refusal
/// back. What an agent was refused is noted for all verbs in one place, [`super::tell_refusal`].
///
/// When even that fails, the refusal stands all the same.
pub(crate) async fn refuse(plane: &Plane, tx: Tx, verb: &str, task: &TaskId, refusal: Error) -> Error {
    match &plane.caller {
        Caller::Shell { .. } | Caller::Tool { .. } => tx.roll_back().await,
        Caller::Person => {
            if let Err(error) = note(tx, verb, task, &refusal).await {
                tracing::warn!(%error, verb, "a refusal could not be noted");
            }
        }
    }
    refusal
}

async fn note(mut tx: Tx, verb: &str, task: &TaskId, refusal: &Error) -> Result<()> {
    tx.audit(AuditRow::new("call_refused", format!("`{verb}` was refused: {refusal}.")).task(task)).await?;
    tx.commit().await
}
