//! Checking all that a start needs before anything is touched.

use std::ffi::OsStr;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::prompt;
use conveyor_mux::Server;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;

use super::Approval;
use super::LaunchFlags;
use super::OnDialog;
use super::Sandbox;
use super::codex;
use super::codex::Codex;
use super::orphans;
use super::rights;
use crate::Plane;
use crate::plane::quote;

/// One session that is to be started; everything in it was checked.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name.
    pub name: Name,
    /// What it does.
    pub role: Role,
    /// Where it works.
    pub cwd: PathBuf,
    /// The name of its tmux session.
    pub tmux_session: Name,
    /// The tmux server: the caller's, else the default one.
    pub server: Server,
    /// What is started.
    pub codex: Codex,
    /// Codex's own folder.
    pub codex_home: PathBuf,
    /// What it may touch.
    pub sandbox: Sandbox,
    /// When it asks.
    pub approval: Approval,
    /// Within which time it must be there.
    pub timeout_seconds: u64,
    /// What happens when a dialog stands before the composer.
    pub on_dialog: OnDialog,
    /// Whether the question for trust is answered.
    pub accept_trust: bool,
    /// Whether a failed start is left behind.
    pub keep_on_failure: bool,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The session's name.
    pub name: &'a Name,
    /// What it does.
    pub role: Role,
    /// Another name for its tmux session.
    pub tmux_session: Option<&'a Name>,
    /// All else.
    pub flags: &'a LaunchFlags,
}

/// Plans the sessions, in one tmux server and with one Codex. Nothing is touched, and no ledger is made.
///
/// Errors: refused for a caller who may not; usage for a folder that is none; conflict for a name in use; environment
/// without tmux or Codex.
pub async fn plan(plane: &Plane, wanted: &[Wanted<'_>]) -> Result<Vec<Spec>> {
    let mut specs = Vec::with_capacity(wanted.len());
    let server = server(plane);
    for one in wanted {
        let cwd = folder(plane, one.flags.cwd.as_deref())?;
        let names_program = one.flags.codex_bin.is_some();
        let asked = rights::Asked { sandbox: one.flags.sandbox(), cwd: &cwd, names_program };
        rights::may_start(plane, asked).await?;
        let tmux_session = tmux_session(one)?;
        name_is_free(plane, one.name).await?;
        session_is_free(plane, &server, &tmux_session).await?;
        specs.push((one, cwd, tmux_session));
    }
    // It takes a quarter of a second, so it comes last and once.
    let bin = wanted.iter().find_map(|one| one.flags.codex_bin.as_deref());
    let codex = codex::find(plane, bin).await?;
    let codex_home = plane.environment.codex_home()?;
    let spec = |(one, cwd, tmux_session): (&Wanted<'_>, PathBuf, Name)| Spec {
        name: one.name.clone(),
        role: one.role,
        cwd,
        tmux_session,
        server: server.clone(),
        codex: codex.clone(),
        codex_home: codex_home.clone(),
        sandbox: one.flags.sandbox(),
        approval: one.flags.approval(),
        timeout_seconds: one.flags.timeout_seconds,
        on_dialog: one.flags.on_dialog,
        accept_trust: one.flags.accept_trust,
        keep_on_failure: one.flags.keep_on_failure,
    };
    Ok(specs.into_iter().map(spec).collect())
}

/// Plans one session; see [`plan`].
pub async fn plan_one(plane: &Plane, wanted: Wanted<'_>) -> Result<Spec> {
    let specs = plan(plane, &[wanted]).await?;
    specs.into_iter().next().ok_or_else(|| Error::usage("no session to start"))
}

/// The tmux server of the caller's own terminal, else the default one.
fn server(plane: &Plane) -> Server {
    let variable = |name| plane.environment.variable(name).map(OsStr::new);
    Server::of_environment(variable("TMUX"), variable("TMUX_TMPDIR"))
}

fn folder(plane: &Plane, cwd: Option<&str>) -> Result<PathBuf> {
    let cwd = match cwd {
        Some(cwd) => plane.environment.absolute(cwd)?,
        None => plane.environment.cwd.clone(),
    };
    // The real path: rights compare it, and Codex records it.
    cwd.canonicalize().ok().filter(|cwd| cwd.is_dir()).ok_or_else(|| {
        Error::usage(format!("`{}` is not a folder", cwd.display()))
            .hint("make it, or name another with --cwd")
    })
}

fn tmux_session(wanted: &Wanted<'_>) -> Result<Name> {
    match wanted.tmux_session {
        Some(name) => Ok(name.clone()),
        None => format!("codex-{}", wanted.name).parse().map_err(|error: Error| {
            error.during("naming the tmux session").hint("choose a shorter name, or one with --tmux-session")
        }),
    }
}

async fn name_is_free(plane: &Plane, name: &Name) -> Result<()> {
    let Some(ledger) = plane.ledger_to_read().await? else { return Ok(()) };
    let mut reader = ledger.read().await?;
    let Some(session) = sessions::active_by_name(&mut reader, name).await? else { return Ok(()) };
    if orphans::is_left_over(plane, &mut reader, &session).await? {
        return Ok(());
    }
    Err(Error::conflict(format!("there is an active {} `{name}` already", session.role))
        .hint(format!("choose another name, or give this one back: conveyor deregister {name}")))
}

async fn session_is_free(plane: &Plane, server: &Server, name: &Name) -> Result<()> {
    let panes = plane.mux.panes(server).await?;
    if panes.iter().all(|pane| pane.session != name.as_str()) {
        return Ok(());
    }
    Err(Error::conflict(format!("there is a tmux session `{name}` already"))
        .hint(format!("look at it: tmux attach -t '={name}'; or choose another name with --tmux-session")))
}

/// How a session in this sandbox calls conveyor.
pub fn way(plane: &Plane, sandbox: Sandbox) -> prompt::Way {
    prompt::Way {
        program: quote(&[&plane.environment.executable.to_string_lossy()]),
        ledger: quote(&[&plane.location().to_string()]),
        sandboxed: sandbox.keeps_the_shell_away(),
    }
}
