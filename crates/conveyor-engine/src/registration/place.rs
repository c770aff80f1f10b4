//! Under which name a session is registered, and whether it is one that is registered already.

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;

use crate::identify::Identity;
use crate::message;

/// What the ledger knows of thread and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The active session that has the thread.
    pub(super) by_thread: Option<Session>,
    /// The active session that has the name.
    pub(super) by_name: Option<Session>,
    /// The name with the first suffix that is free, for a setup code.
    pub(super) free: Option<Name>,
}

/// Where a session belongs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// It is new, under this name.
    Fresh(Name),
    /// It is this one.
    Again(Box<Session>),
}

/// Decides by name, or by the base name of a setup code.
///
/// Errors: conflict when the thread has another name or role, or the name another thread.
pub(super) fn decide(
    role: Role,
    name: Option<&Name>,
    base: Option<&Name>,
    known: &Known,
    identity: &Identity,
) -> Result<Place> {
    if let Some(session) = &known.by_thread {
        same_role(session, role)?;
        if name.is_some_and(|name| *name != session.name) {
            return Err(Error::conflict(format!("this thread is registered as `{}` already", session.name))
                .hint(format!("use that name, or first: conveyor deregister {}", session.name)));
        }
        return Ok(Place::Again(Box::new(session.clone())));
    }
    match (&known.by_name, name.or(base)) {
        (_, None) => Err(Error::usage("a session needs a name")),
        (None, Some(free)) => Ok(Place::Fresh(free.clone())),
        (Some(session), Some(_)) if session.role == role && same_terminal(session, identity) => {
            Ok(Place::Again(Box::new(session.clone())))
        }
        (Some(session), Some(_)) => match (&known.free, base) {
            (Some(free), Some(_)) => Ok(Place::Fresh(free.clone())),
            (Some(_) | None, _) => Err(name_in_use(session)),
        },
    }
}

fn same_role(session: &Session, role: Role) -> Result<()> {
    if session.role == role {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "this thread is the {} `{}`, and cannot be a {role} too",
        session.role, session.name
    ))
    .hint(format!("if it is to change its role: conveyor deregister {}", session.name)))
}

/// Whether it is the terminal of a registered session, which has another thread now: after `/clear`, `/new` or a fork.
///
/// Only what is proved counts: the same Codex, or the same program in the same pane.
fn same_terminal(session: &Session, identity: &Identity) -> bool {
    let process = identity.process.filter(|_| identity.process_is_proved);
    let same_process = process.is_some_and(|process| {
        session.pid == Some(i64::from(process.pid))
            && session.pid_start_ticks == i64::try_from(process.start_ticks).ok()
    });
    let pin = identity.pane.as_ref().map(|pane| &pane.pin);
    let same_pane = match (message::pin(session), pin) {
        (Some(before), Some(now)) => {
            before.socket == now.socket && before.pane == now.pane && before.program == now.program
        }
        (Some(_) | None, Some(_) | None) => false,
    };
    same_process || (same_pane && process.is_none())
}

fn name_in_use(session: &Session) -> Error {
    Error::conflict(format!("the name `{}` belongs to another active {}", session.name, session.role))
        .hint(format!("take another name; or, if that session is over: conveyor deregister {}", session.name))
}

/// Whether a session may get the name that follows from a setup code.
///
/// Errors: conflict while it is bound, for others know it by its name.
pub(super) async fn may_be_renamed(tx: &mut Tx, session: &Session) -> Result<()> {
    let bound = match session.role {
        Role::Worker => bindings::active_of_worker(tx, &session.id).await?.is_some(),
        Role::Manager => !bindings::active_of_manager(tx, &session.id).await?.is_empty(),
    };
    if !bound {
        return Ok(());
    }
    Err(Error::conflict(format!("this thread is `{}` already, and bound to a task", session.name))
        .hint("end that first: conveyor unbind --task TASK"))
}
