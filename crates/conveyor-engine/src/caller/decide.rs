//! Who may decide what becomes of a delivery.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::deliveries::Delivery;
use conveyor_store::threads;

use super::Caller;
use crate::Plane;

/// Whether the caller may decide about a delivery: a person, who sent it, or the manager of its binding.
///
/// In a shell the thread is a claim, which may only narrow.
pub(crate) async fn may_decide(plane: &Plane, db: &mut Db, delivery: &Delivery) -> Result<()> {
    let Some(thread) = plane.caller.thread() else { return Ok(()) };
    let Some(caller) = threads::session_of(db, thread).await? else { return unknown(plane) };
    let binding = match &delivery.binding_id {
        Some(id) => bindings::get(db, id).await?,
        None => None,
    };
    let manages = binding.is_some_and(|binding| binding.manager_session_id == caller.id);
    if manages || delivery.source_session_id.as_ref() == Some(&caller.id) {
        return Ok(());
    }
    Err(Error::refused(format!("{} is neither from `{}` nor under it", delivery.id, caller.name))
        .hint("ask a person, or the manager of its task"))
}

/// An agent over MCP that is not registered has sent nothing and manages nobody.
fn unknown(plane: &Plane) -> Result<()> {
    match plane.caller {
        Caller::Person | Caller::Shell { .. } => Ok(()),
        Caller::Tool { .. } => {
            Err(Error::refused("this thread is not registered")
                .hint("ask a person, or the manager of the task"))
        }
    }
}
