//! From what a person typed to the rows that it names. An unknown name is an error that says how to find the right one.

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;

use crate::Plane;

/// A task by its id or name; the unfinished one where several have had the name.
pub async fn task(db: &mut Db, text: &str) -> Result<Task> {
    tasks::by_id_or_name(db, text).await?.ok_or_else(|| {
        Error::not_found(format!("there is no task `{}`", text.escape_debug()))
            .hint("list them: conveyor tasks")
    })
}

/// A task by its id or name, in a transaction that is to change something about it. No ledger is made for it.
pub async fn task_to_change(plane: &Plane, text: &str) -> Result<(Tx, Task)> {
    plane.ledger_that_exists().await?;
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let task = task(&mut tx, text).await?;
    Ok((tx, task))
}

/// A session by its name, active or gone.
pub async fn session(db: &mut Db, name: &Name) -> Result<Session> {
    sessions::by_name(db, name).await?.ok_or_else(|| {
        Error::not_found(format!("there is no session `{name}`")).hint("list them: conveyor sessions")
    })
}

/// An active session by its name.
///
/// Errors: not found, also for one that is gone.
pub async fn active_session(db: &mut Db, name: &Name) -> Result<Session> {
    let session = session(db, name).await?;
    match session.state {
        SessionState::Active => Ok(session),
        SessionState::Gone => Err(Error::not_found(format!("the session `{name}` is gone"))
            .hint(format!("register it again: conveyor register-{} --name {name}", session.role.as_str()))),
    }
}

/// An active session that has a role.
pub async fn active_in_role(db: &mut Db, name: &Name, role: Role) -> Result<Session> {
    in_role(active_session(db, name).await?, role)
}

/// A session that has a role, active or gone.
pub async fn session_in_role(db: &mut Db, name: &Name, role: Role) -> Result<Session> {
    in_role(session(db, name).await?, role)
}

fn in_role(session: Session, role: Role) -> Result<Session> {
    if session.role == role {
        return Ok(session);
    }
    let name = &session.name;
    Err(Error::conflict(format!("`{name}` is a {}, not a {}", session.role.as_str(), role.as_str()))
        .hint(format!("list the right ones: conveyor sessions --role {}", role.as_str())))
}

/// The active binding of a task.
pub async fn binding(db: &mut Db, task: &Task) -> Result<Binding> {
    bindings::active_of_task(db, &task.id).await?.ok_or_else(|| {
        Error::not_found(format!("the task `{}` is not bound to a worker and a manager", task.name))
            .hint(format!("conveyor bind --task {} --worker <worker> --manager <manager>", task.name))
    })
}

/// The session that a row refers to by id.
///
/// Errors: ledger, for the row must exist.
pub async fn by_id(db: &mut Db, id: &conveyor_model::ids::SessionId) -> Result<Session> {
    sessions::get(db, id)
        .await?
        .ok_or_else(|| Error::ledger(format!("the session {id} is missing")).hint("conveyor db-doctor"))
}
