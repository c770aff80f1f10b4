//! Whether a session still has the thread that it is known by, asked cheaply before anything rests on it.
//!
//! A person types `/clear`, `/new`, `/resume` or forks without telling anybody. What tells is the process, which holds
//! another thread, or the title or footer, which show another one. Only when one of them does is the thread proved again.

use conveyor_agents::discover;
use conveyor_agents::process::ProcessTable;
use conveyor_agents::process::System;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::pane::Screen;
use conveyor_store::AuditRow;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use conveyor_store::threads::SessionThread;
use serde_json::json;

use super::Refreshed;
use super::refresh;
use super::refresh::process;
use crate::Plane;
use crate::message;

/// The attention that a session raises which left its thread for one that nothing proves.
const TROUBLE: &str = "thread_unknown";

/// How a session stands to the thread that it is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing says that it has another one.
    Kept,
    /// It had another one, which was proved and adopted just now.
    Moved,
    /// It has another one, and which is not proved: what is typed now could not be proved.
    Left,
}

/// Looks, proves again where something has changed, and notes what came of it.
///
/// Errors: those of the ledger. A process or a terminal that cannot be looked at says nothing.
pub async fn standing(plane: &Plane, session: &Session) -> Result<Standing> {
    if session.host != plane.environment.host {
        return Ok(Standing::Kept);
    }
    let current = threads::current(&mut *plane.ledger().await?.read().await?, &session.id).await?;
    if current.is_empty() || !has_changed(plane, session, &current).await {
        return Ok(Standing::Kept);
    }
    let standing = match refresh(plane, session).await {
        Ok(refreshed) => judged(&refreshed, &current),
        Err(error) if error.kind == ErrorKind::Ledger => return Err(error),
        Err(error) => {
            tracing::warn!(%error, session = %session.name, "its thread cannot be proved again");
            (Standing::Kept, None)
        }
    };
    note(plane, session, &standing).await?;
    Ok(standing.0)
}

/// Whether process, title or footer name a thread that is not the session's latest.
async fn has_changed(plane: &Plane, session: &Session, current: &[SessionThread]) -> bool {
    let held = process(session)
        .filter(|process| process.is_alive())
        .and_then(|process| System.belongings(process).ok())
        .map(|belongings| discover::held_threads(&belongings))
        .unwrap_or_default();
    let is_known = |thread: &String| current.iter().any(|known| known.thread_id == *thread);
    if !held.is_empty() {
        return !held.iter().all(is_known);
    }
    // The shared daemon holds them all: only the terminal can tell.
    let Some(pin) = message::pin(session) else { return false };
    let Ok(screen) = plane.mux.capture(&pin).await else { return false };
    shows_another(&screen, current)
}

fn shows_another(screen: &Screen, current: &[SessionThread]) -> bool {
    let text = screen.text();
    let shown = discover::shown_thread(&screen.title, &text);
    match (shown, current.first()) {
        (Some(shown), Some(latest)) => !latest.thread_id.starts_with(shown),
        (Some(_) | None, _) => false,
    }
}

/// What follows, and why where the thread is not known.
fn judged(refreshed: &Refreshed, current: &[SessionThread]) -> (Standing, Option<String>) {
    let is_known = |thread: &String| current.iter().any(|known| known.thread_id == *thread);
    match refreshed {
        Refreshed::Adopted { .. } => (Standing::Moved, None),
        Refreshed::Same | Refreshed::Gone | Refreshed::Elsewhere => (Standing::Kept, None),
        Refreshed::Taken { thread, by } => {
            (Standing::Left, Some(format!("it shows the thread {thread}, which is `{by}`'s")))
        }
        // Sub-agents are threads too: beside the session's own they change nothing.
        Refreshed::Unproved { candidates, .. }
            if candidates.is_empty() || candidates.iter().any(is_known) =>
        {
            (Standing::Kept, None)
        }
        Refreshed::Unproved { why, .. } => (Standing::Left, Some(why.clone())),
    }
}

async fn note(plane: &Plane, session: &Session, (standing, why): &(Standing, Option<String>)) -> Result<()> {
    let ledger = plane.ledger().await?;
    let open = attention::open(&mut *ledger.read().await?, Some(&session.id), None, u32::MAX).await?;
    let is_raised = open.iter().any(|row| row.kind == TROUBLE);
    if is_raised == (*standing == Standing::Left) {
        return Ok(());
    }
    let mut tx = ledger.write(&Actor::Conveyor).await?;
    match why {
        None => {
            let audit =
                AuditRow::new("attention_cleared", format!("The thread of {} is known.", session.name));
            attention::clear(&mut tx, session.id.as_str(), TROUBLE, audit.session(&session.id)).await?;
        }
        Some(why) => {
            let message = format!(
                "{} has left its thread, and which one it has now is not proved ({why}); messages for it wait. \
                 Register it again: register-{} --name {} --tmux-session <name>.",
                session.name, session.role, session.name
            );
            let new = NewAttention {
                kind: TROUBLE.to_owned(),
                session: Some(session.id.clone()),
                message: message.clone(),
                evidence: json!({ "why": why }),
                ..NewAttention::default()
            };
            attention::raise(&mut tx, new, AuditRow::new("attention_raised", message)).await?;
        }
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use conveyor_model::Timestamp;
    use conveyor_model::ids::SessionId;

    use super::*;

    fn has(thread: &str) -> Vec<SessionThread> {
        vec![SessionThread {
            number: 1,
            session_id: SessionId::new(uuid::Uuid::nil()),
            thread_id: thread.to_owned(),
            rollout_path: None,
            proof: "lock".to_owned(),
            since_at: Timestamp::from_millis(0),
            until_at: None,
        }]
    }

    #[test]
    fn sub_agents_beside_the_sessions_own_thread_hold_nothing_back() {
        let unproved = |candidates: &[&str]| Refreshed::Unproved {
            why: "several".to_owned(),
            candidates: candidates.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(judged(&unproved(&["own", "sub"]), &has("own")).0, Standing::Kept);
        assert_eq!(judged(&unproved(&[]), &has("own")).0, Standing::Kept);
        assert_eq!(judged(&unproved(&["a", "b"]), &has("own")).0, Standing::Left);
        let taken = Refreshed::Taken { thread: "other".to_owned(), by: "x".to_owned() };
        assert_eq!(judged(&taken, &has("own")).0, Standing::Left);
    }

    #[test]
    fn a_title_that_shows_another_thread_is_a_change_and_a_plain_one_is_none() {
        let own = "01a203b1-5a77-7b02-adb4-ea3209f7045a";
        let titled = |title: &str| Screen { title: title.to_owned(), ..Screen::default() };
        assert!(!shows_another(&titled(&format!("⠋ {own}")), &has(own)));
        assert!(!shows_another(&titled("work"), &has(own)));
        assert!(shows_another(&titled("01a203cb-d5df-7441-8285-68347..."), &has(own)));
    }
}
