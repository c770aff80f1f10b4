//! Which thread is meant, from all that names one. Proofs that contradict each other are never weighed: they are refused.

use conveyor_agents::discover::Proof;
use conveyor_model::Error;
use conveyor_model::Result;

/// All that names a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names<'a> {
    /// The caller's own.
    pub(super) caller: Option<&'a str>,
    /// Whether the caller may name no other.
    pub(super) bound_to_itself: bool,
    /// That of the rollout that was named.
    pub(super) rollout: Option<&'a str>,
    /// What the process that was named proves.
    pub(super) process: Option<(&'a str, Proof)>,
    /// What the tmux session that was named proves.
    pub(super) session: Option<(&'a str, Proof)>,
}

/// The thread that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meant {
    /// Its id.
    pub(super) thread: String,
    /// How it is known.
    pub(super) proof: &'static str,
}

/// The one thread that all names allow; none when nothing names one.
pub(super) fn thread(names: &Names<'_>) -> Result<Option<Meant>> {
    let process = names.process.map(|(id, _)| id);
    let session = names.session.map(|(id, _)| id);
    agree(names.rollout, "--codex-session", process, "--pid")?;
    agree(names.rollout, "--codex-session", session, "--tmux-session")?;
    agree(process, "--pid", session, "--tmux-session")?;
    let Some(id) = names.rollout.or(process).or(session).or(names.caller) else { return Ok(None) };
    may_be_named(names, id)?;
    Ok(Some(Meant { thread: id.to_owned(), proof: proof(names, id) }))
}

fn agree(one: Option<&str>, from: &str, other: Option<&str>, from_other: &str) -> Result<()> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => {
            Err(Error::conflict(format!("{from} leads to the thread {one}, {from_other} to {other}"))
                .hint(format!("leave out the one that is wrong, {from} or {from_other}")))
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// Whether the caller may mean this thread, and does.
///
/// A title, a footer or the name of a tmux session that an agent read from its environment may be another session's
/// (measured under the shared daemon). What contradicts the caller's own thread is therefore taken for an error, unless
/// the other thread was named by its rollout or is held by the very process that was named.
fn may_be_named(names: &Names<'_>, id: &str) -> Result<()> {
    let Some(caller) = names.caller else {
        return if names.bound_to_itself { Err(nobody()) } else { Ok(()) };
    };
    if caller == id {
        return Ok(());
    }
    if names.bound_to_itself {
        return Err(Error::refused(format!(
            "this call comes from the thread {caller}, and {id} is another's"
        ))
        .hint("an agent registers itself; a person registers other sessions"));
    }
    let held = names.process.is_some_and(|(_, proof)| proof.is_held());
    if names.rollout.is_some() || held {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "this call comes from the thread {caller}, but what was named leads to the thread {id}"
    ))
    .hint(
        "leave out --pid and --tmux-session to mean this session; name another one by --codex-session PATH",
    ))
}

fn nobody() -> Error {
    Error::refused("the call does not say from which thread it comes")
        .hint("a person registers this session: conveyor register-worker --tmux-session NAME")
}

fn proof(names: &Names<'_>, id: &str) -> &'static str {
    let proofs = [names.process, names.session];
    let proved = proofs.into_iter().flatten().find(|(proved, proof)| *proved == id && proof.is_held());
    let shown = proofs.into_iter().flatten().find(|(proved, _)| *proved == id);
    match (proved, names.caller == Some(id), shown) {
        (Some((_, proof)), _, _) | (None, false, Some((_, proof))) => proof.as_str(),
        (None, true, _) => Proof::Caller.as_str(),
        (None, false, None) => "named",
    }
}

#[cfg(test)]
mod tests {
    use conveyor_model::ErrorKind;

    use super::*;

    const A: &str = "thread-a";
    const B: &str = "thread-b";

    fn kind(names: &Names<'_>) -> Option<ErrorKind> {
        thread(names).err().map(|error| error.kind)
    }

    fn found(names: &Names<'_>) -> Option<(String, &'static str)> {
        thread(names).unwrap().map(|meant| (meant.thread, meant.proof))
    }

    #[test]
    fn a_caller_is_itself_unless_something_is_held_or_named() {
        let caller = Names { caller: Some(A), ..Names::default() };
        assert_eq!(found(&caller), Some((A.to_owned(), "caller")));
        let lock = Names { process: Some((B, Proof::WriterLock)), ..caller };
        assert_eq!(found(&lock), Some((B.to_owned(), "lock")));
        let rollout = Names { rollout: Some(B), ..caller };
        assert_eq!(found(&rollout), Some((B.to_owned(), "named")));
        assert_eq!(found(&Names::default()), None);
    }

    #[test]
    fn another_sessions_pane_from_the_daemons_environment_is_refused_and_not_taken() {
        let wrong = Names { caller: Some(A), session: Some((B, Proof::PaneTitle)), ..Names::default() };
        assert_eq!(kind(&wrong), Some(ErrorKind::Conflict));
        let ancestry = Names { caller: Some(A), process: Some((B, Proof::Footer)), ..Names::default() };
        assert_eq!(kind(&ancestry), Some(ErrorKind::Conflict));
    }

    #[test]
    fn an_agent_over_mcp_names_nobody_but_itself() {
        let mcp = Names { caller: Some(A), bound_to_itself: true, ..Names::default() };
        assert_eq!(found(&mcp), Some((A.to_owned(), "caller")));
        assert_eq!(kind(&Names { rollout: Some(B), ..mcp }), Some(ErrorKind::Refused));
        let held = Names { process: Some((B, Proof::WriterLock)), ..mcp };
        assert_eq!(kind(&held), Some(ErrorKind::Refused));
        assert_eq!(kind(&Names { caller: None, rollout: Some(B), ..mcp }), Some(ErrorKind::Refused));
    }

    #[test]
    fn proofs_that_contradict_each_other_are_a_conflict() {
        let names = Names { rollout: Some(A), process: Some((B, Proof::WriterLock)), ..Names::default() };
        assert_eq!(kind(&names), Some(ErrorKind::Conflict));
        let panes = Names {
            process: Some((A, Proof::WriterLock)),
            session: Some((B, Proof::PaneTitle)),
            ..Names::default()
        };
        assert_eq!(kind(&panes), Some(ErrorKind::Conflict));
    }
}
