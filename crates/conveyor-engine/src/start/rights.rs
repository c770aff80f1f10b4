//! Who may start sessions: nobody gains rights by it.

use std::path::Path;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::threads;

use super::Sandbox;
use crate::Caller;
use crate::Plane;

/// What a caller is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What the new session may touch.
    pub sandbox: Sandbox,
    /// Where it works.
    pub cwd: &'a Path,
    /// Whether the caller names the program itself.
    pub names_program: bool,
}

/// Whether the caller may start such a session.
///
/// A worker may not. An agent over MCP, which runs outside of its own sandbox, may not start what may do more than it
/// may itself: no wider sandbox, no other program, and while it is confined to its folder no other folder. A person may.
pub async fn may_start(plane: &Plane, asked: Asked<'_>) -> Result<()> {
    let caller = session(plane).await?;
    if let Some(worker) = caller.as_ref().filter(|session| session.role == Role::Worker) {
        return Err(Error::refused(format!("the worker `{}` may not start sessions", worker.name))
            .hint("ask your manager or the user"));
    }
    let Caller::Tool { sandbox_mode, .. } = &plane.caller else { return Ok(()) };
    let own = own_sandbox(sandbox_mode.as_deref());
    let home = caller.map_or_else(|| plane.environment.cwd.clone(), |session| session.cwd.into());
    confined(own, &home, asked)
}

fn confined(own: Sandbox, home: &Path, asked: Asked<'_>) -> Result<()> {
    if own == Sandbox::DangerFullAccess {
        return Ok(());
    }
    let (has, wants) = (own.as_str(), asked.sandbox.as_str());
    if asked.sandbox > own {
        return Err(Error::refused(format!(
            "a session in the sandbox `{has}` may not start one in `{wants}`"
        ))
        .hint(format!("ask for --sandbox {has}, or let the user run the command")));
    }
    if asked.names_program {
        return Err(Error::refused(format!(
            "a session in the sandbox `{has}` may not name the program to start"
        ))
        .hint("leave out --codex-bin"));
    }
    if !asked.cwd.starts_with(home) {
        let cwd = asked.cwd.display();
        return Err(Error::refused(format!(
            "{cwd} lies outside of this session's folder {}",
            home.display()
        ))
        .hint("let the user run the command"));
    }
    Ok(())
}

/// The caller's own sandbox. One that is not told, or not known, counts as the narrowest.
fn own_sandbox(word: Option<&str>) -> Sandbox {
    let all = [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::DangerFullAccess];
    all.into_iter().find(|sandbox| word == Some(sandbox.as_str())).unwrap_or(Sandbox::ReadOnly)
}

/// The caller's session, as far as it is registered.
async fn session(plane: &Plane) -> Result<Option<Session>> {
    match (plane.caller.thread(), plane.ledger_to_read().await?) {
        (Some(thread), Some(ledger)) => threads::session_of(&mut *ledger.read().await?, thread).await,
        (None, _) | (_, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(own: Option<&str>, sandbox: Sandbox, cwd: &str, names_program: bool) -> bool {
        let asked = Asked { sandbox, cwd: Path::new(cwd), names_program };
        confined(own_sandbox(own), Path::new("/repo"), asked).is_ok()
    }

    #[test]
    fn an_agent_starts_nothing_that_may_do_more_than_itself() {
        let workspace = Some("workspace-write");
        assert!(may(workspace, Sandbox::WorkspaceWrite, "/repo/sub", false));
        assert!(may(workspace, Sandbox::ReadOnly, "/repo", false));
        assert!(!may(workspace, Sandbox::DangerFullAccess, "/repo", false), "wider sandbox");
        assert!(!may(workspace, Sandbox::WorkspaceWrite, "/other", false), "another folder");
        assert!(!may(workspace, Sandbox::WorkspaceWrite, "/repo", true), "a program of its own");
        assert!(may(Some("danger-full-access"), Sandbox::DangerFullAccess, "/other", true));
    }

    #[test]
    fn a_sandbox_that_is_not_told_counts_as_the_narrowest() {
        for unknown in [None, Some(""), Some("seatbelt")] {
            assert!(!may(unknown, Sandbox::WorkspaceWrite, "/repo", false));
            assert!(may(unknown, Sandbox::ReadOnly, "/repo", false));
        }
    }
}
