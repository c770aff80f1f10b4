//! For which side of a task a caller may speak.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use conveyor_store::threads;

use crate::Caller;
use crate::Plane;

/// In whose name something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// For one side of the binding.
    For(Role),
    /// For either side; before the task is bound, any registered session may.
    ForEither,
    /// For the manager; before the task is bound, any session that is a manager may prepare it.
    ToPrepare,
}

/// Whether the caller may say it; returns the task's active binding.
///
/// A person may speak for both sides. A session speaks only for itself: a worker cannot answer as the manager, nor a
/// manager as its worker, nor anybody for a task that is another's. Over MCP a caller that is not registered says nothing.
///
/// Errors: refused.
pub(crate) async fn may_speak(
    plane: &Plane,
    db: &mut Db,
    task: &Task,
    speaks: Speaks,
) -> Result<Option<Binding>> {
    let binding = bindings::active_of_task(db, &task.id).await?;
    let Some(session) = session(plane, db).await? else {
        return match &plane.caller {
            Caller::Person | Caller::Shell { .. } => Ok(binding),
            Caller::Tool { .. } => Err(Error::refused("this thread is not registered")
                .hint("call the tool `register_worker` or `register_manager` first")),
        };
    };
    match (speaks, &binding) {
        (Speaks::For(role), Some(binding)) if *binding.side(role) == session.id => {}
        (Speaks::ForEither, Some(binding))
            if [Role::Manager, Role::Worker].iter().any(|role| *binding.side(*role) == session.id) => {}
        (Speaks::ToPrepare, Some(binding)) if *binding.side(Role::Manager) == session.id => {}
        (Speaks::ForEither, None) => {}
        (Speaks::ToPrepare, None) if session.role == Role::Manager => {}
        (Speaks::For(_), None) => return Err(not_bound(task, &session)),
        (Speaks::For(_) | Speaks::ForEither | Speaks::ToPrepare, _) => {
            return Err(another(speaks, task, &session));
        }
    }
    Ok(binding)
}

/// The session of the calling agent, proved over MCP, claimed in a shell.
pub(crate) async fn session(plane: &Plane, db: &mut Db) -> Result<Option<Session>> {
    match plane.caller.thread() {
        Some(thread) => threads::session_of(db, thread).await,
        None => Ok(None),
    }
}

fn not_bound(task: &Task, session: &Session) -> Error {
    Error::refused(format!("the task `{}` is not bound, so `{}` has no side in it", task.name, session.name))
        .hint("end your turn and wait until you are bound")
}

fn another(speaks: Speaks, task: &Task, session: &Session) -> Error {
    let whose = match speaks {
        Speaks::For(role) => format!("the {}", role.as_str()),
        Speaks::ForEither => "either side".to_owned(),
        Speaks::ToPrepare => "the manager".to_owned(),
    };
    let role = session.role.as_str();
    Error::refused(format!(
        "the {role} `{}` does not speak for {whose} of the task `{}`",
        session.name, task.name
    ))
    .hint("conveyor status")
}
