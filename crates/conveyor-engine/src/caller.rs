//! Who calls a verb, and what that lets it do.

pub(crate) mod decide;
pub(crate) mod judge;

use std::io::IsTerminal as _;

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::threads;
use serde_json::json;

use crate::Environment;
use crate::Plane;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Entry;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person, or a program of theirs, on a command line.
    Person,
    /// An agent's shell. Its thread id is a claim: it may narrow rights, never widen them.
    Shell {
        /// `CODEX_THREAD_ID`, when it is set.
        thread: Option<String>,
        /// Whether a sandbox keeps it from tmux, sockets and files outside of its workspace.
        sandboxed: bool,
    },
    /// An agent over MCP. The thread id comes from the agent's own program with each call.
    Tool {
        /// The caller's thread, where the client tells it.
        thread: Option<String>,
        /// The caller's own sandbox, where the client tells it.
        sandbox_mode: Option<String>,
    },
}

impl Caller {
    /// The caller of a command line.
    pub fn of_environment(environment: &Environment) -> Self {
        // Nobody but an agent's command is in Codex's sandbox, also where it hides that.
        if environment.is_agent() || environment.is_sandboxed() {
            let thread = environment.variable("CODEX_THREAD_ID").map(ToOwned::to_owned);
            Self::Shell { thread, sandboxed: environment.is_sandboxed() }
        } else {
            Self::Person
        }
    }

    /// The agent's thread, proved or claimed.
    pub fn thread(&self) -> Option<&str> {
        match self {
            Self::Person => None,
            Self::Shell { thread, .. } | Self::Tool { thread, .. } => thread.as_deref(),
        }
    }

    /// Whether a call runs with rights that its caller may not have: a tool's does, unless its caller is told to have no
    /// sandbox. One that is not told counts as the narrowest.
    pub fn is_beyond_its_sandbox(&self) -> bool {
        match self {
            Self::Person | Self::Shell { .. } => false,
            Self::Tool { sandbox_mode, .. } => sandbox_mode.as_deref() != Some("danger-full-access"),
        }
    }

    /// Who stands in an audit row.
    pub fn actor(&self) -> &'static str {
        match self {
            Self::Person => "operator",
            Self::Shell { .. } | Self::Tool { .. } => "agent",
        }
    }
}

/// Whether this caller may call this verb at all, from where it sits.
///
/// Errors: refused for a verb that is not offered to agents over MCP.
pub fn authorise(caller: &Caller, verb: &Entry) -> Result<()> {
    match (caller, verb.agents) {
        (Caller::Tool { .. }, Agents::No) => {
            Err(Error::refused(format!("`{}` is not offered to agents", verb.name))
                .hint(format!("a person runs it: conveyor {}", verb.name)))
        }
        _ => Ok(()),
    }
}

/// Whether a call of such a verb comes from inside a sandbox that denies what the verb may need.
pub(crate) fn is_confined(plane: &Plane, effect: Effect) -> bool {
    match (&plane.caller, effect) {
        (Caller::Shell { sandboxed: true, .. }, Effect::Writes | Effect::Acts) => true,
        (Caller::Shell { .. } | Caller::Person | Caller::Tool { .. }, _) => false,
    }
}

/// Why a verb cannot be carried out from inside a sandbox, and which way leads out.
pub(crate) fn confined(verb: &str) -> Error {
    Error::refused(format!("`{verb}` cannot work from inside this sandbox, which denies the ledger and tmux"))
        .hint(format!("call the MCP tool `{}` of the server `conveyor`", verb.replace('-', "_")))
}

/// Notes that an agent was refused something. A person's refusals are closed gates, which their verbs note themselves.
///
/// No ledger is made for it; and that it cannot be noted does not change what the caller is told.
pub(crate) async fn tell_refusal(plane: &Plane, verb: &str, task: Option<&str>, error: &Error) {
    let is_agent = matches!(plane.caller, Caller::Shell { sandboxed: false, .. } | Caller::Tool { .. });
    if !is_agent || error.kind != ErrorKind::Refused {
        return;
    }
    if let Err(second) = note_refusal(plane, verb, task, error).await {
        tracing::warn!(%second, "a refusal could not be noted");
    }
}

async fn note_refusal(plane: &Plane, verb: &str, task: Option<&str>, error: &Error) -> Result<()> {
    if plane.ledger_to_read().await?.is_none() {
        return Ok(());
    }
    let session = registered(plane, plane.caller.thread()).await?;
    let who = session.as_ref().map_or_else(|| "an unknown agent".to_owned(), |one| format!("`{}`", one.name));
    let sandbox = match &plane.caller {
        Caller::Tool { sandbox_mode, .. } => sandbox_mode.as_deref(),
        Caller::Person | Caller::Shell { .. } => None,
    };
    let mut audit = AuditRow::new("call_refused", format!("`{verb}` was refused to {who}: {error}."))
        .payload(json!({ "verb": verb, "thread_id": plane.caller.thread(), "sandbox_mode": sandbox }));
    if let Some(session) = &session {
        audit = audit.session(&session.id);
    }
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    if let Some(task) = task
        && let Some(task) = tasks::by_id_or_name(&mut tx, task).await?
    {
        audit = audit.task(&task.id);
    }
    tx.audit(audit).await?;
    tx.commit().await
}

/// Whether the caller of this plane may call this verb now: [`authorise`], and over MCP the role of the session that has
/// the caller's thread.
///
/// Verbs for any agent look nothing up, so that they work without a ledger and with a broken one.
pub async fn admit(plane: &Plane, verb: &Entry) -> Result<()> {
    let admitted = may_call(plane, verb).await;
    if let Err(error) = &admitted {
        tell_refusal(plane, verb.name, None, error).await;
    }
    admitted
}

async fn may_call(plane: &Plane, verb: &Entry) -> Result<()> {
    authorise(&plane.caller, verb)?;
    match (&plane.caller, role_for(verb.agents)) {
        (Caller::Person | Caller::Shell { .. }, _) | (Caller::Tool { .. }, None) => Ok(()),
        (Caller::Tool { thread, .. }, Some(wanted)) => {
            holds(wanted, registered(plane, thread.as_deref()).await?.as_ref(), verb)
        }
    }
}

/// The role that a verb is kept for. `None` for a verb that any agent may call, and for one that [`authorise`] refuses.
const fn role_for(agents: Agents) -> Option<Role> {
    match agents {
        Agents::Managers => Some(Role::Manager),
        Agents::Workers => Some(Role::Worker),
        Agents::Any | Agents::No => None,
    }
}

/// The active session that has a thread.
async fn registered(plane: &Plane, thread: Option<&str>) -> Result<Option<Session>> {
    match (thread, plane.ledger_to_read().await?) {
        (Some(thread), Some(ledger)) => threads::session_of(&mut *ledger.read().await?, thread).await,
        (None, _) | (_, None) => Ok(None),
    }
}

/// Refuses whoever does not have the role.
fn holds(wanted: Role, session: Option<&Session>, verb: &Entry) -> Result<()> {
    let role = wanted.as_str();
    match session {
        Some(session) if session.role == wanted => Ok(()),
        Some(session) => Err(Error::refused(format!(
            "`{}` is for a {role}, and this thread is the {} `{}`",
            verb.name,
            session.role.as_str(),
            session.name
        ))
        .hint(format!("ask the {role} of your task"))),
        None => {
            Err(Error::refused(format!("`{}` is for a {role}, and this thread is not registered", verb.name))
                .hint(format!("call the tool `register_{role}` first")))
        }
    }
}

/// Whether the caller may type into, or interrupt, this session.
///
/// A person may. A worker may reach nobody: it tells its manager through the queue. A manager over MCP reaches only the
/// workers that are bound to it. In a shell the thread is a claim, which may only narrow.
///
/// Errors: refused.
pub async fn may_reach(plane: &Plane, db: &mut Db, target: &Session) -> Result<()> {
    let Some(thread) = plane.caller.thread() else { return Ok(()) };
    let Some(session) = threads::session_of(db, thread).await? else { return Ok(()) };
    let bound = bindings::active_of_worker(db, &target.id).await?;
    let is_its_worker = bound.is_some_and(|binding| binding.manager_session_id == session.id);
    match (session.role, &plane.caller) {
        (Role::Worker, _) => {
            Err(Error::refused(format!("the worker `{}` may not act on sessions", session.name))
                .hint("tell your manager: conveyor enqueue-notify-manager <task> --message \"...\""))
        }
        (Role::Manager, Caller::Tool { .. }) if !is_its_worker => {
            Err(Error::refused(format!("`{}` is not bound to the manager `{}`", target.name, session.name))
                .hint(format!(
                    "conveyor bind --task <task> --worker {} --manager {}",
                    target.name, session.name
                )))
        }
        (Role::Manager, _) => Ok(()),
    }
}

/// Whether the caller may let a command that somebody brought reach more than its bounds: only a person, and only where
/// an agent cannot speak in their place.
///
/// Errors: refused.
pub(crate) fn may_widen(plane: &Plane, what: &str, flag: &str) -> Result<()> {
    let person = plane.caller == Caller::Person;
    if person && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        return Ok(());
    }
    Err(Error::refused(format!("only a person on a terminal may {what}"))
        .hint(format!("leave out {flag}, or ask the person to run this command")))
}

#[cfg(test)]
mod rights;
#[cfg(test)]
mod tests;
