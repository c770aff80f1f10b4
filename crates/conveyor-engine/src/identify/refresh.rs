//! Proving again which thread a registered session has: a person types `/clear`, `/new`, `/resume` or forks.

use conveyor_agents::ProcessId;
use conveyor_agents::discover;
use conveyor_agents::discover::Belonging;
use conveyor_agents::discover::Clues;
use conveyor_agents::discover::Proof;
use conveyor_agents::process::ProcessTable;
use conveyor_agents::process::System;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_mux::PinCheck;
use conveyor_store::AuditRow;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use conveyor_store::threads::SessionThread;

use super::seats;
use super::shown;
use crate::Plane;
use crate::ingest::settle;
use crate::locate;
use crate::message;

/// What a session has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The thread that it had.
    Same,
    /// Another thread, which is the session's from now on; it keeps the earlier ones.
    Adopted {
        /// The thread.
        thread: String,
    },
    /// Nothing proves which one it is now.
    Unproved {
        /// Why.
        why: String,
        /// Threads that it may be.
        candidates: Vec<String>,
    },
    /// A thread that another active session has.
    Taken {
        /// The thread.
        thread: String,
        /// The name of that session.
        by: String,
    },
    /// Its pane and its process are gone.
    Gone,
    /// It runs on another host.
    Elsewhere,
}

/// Looks at a session's pane, or its process, and adopts the thread that is proved there. A thread is adopted by what
/// the process holds, or by the id that title or footer shows; never by the newest file.
pub async fn refresh(plane: &Plane, session: &Session) -> Result<Refreshed> {
    if session.host != plane.environment.host {
        return Ok(Refreshed::Elsewhere);
    }
    let Some((belonging, screen)) = looked_at(plane, session).await? else { return Ok(Refreshed::Gone) };
    let ledger = plane.ledger().await?;
    let current = threads::current(&mut *ledger.read().await?, &session.id).await?;
    match just_begun(plane, &current, belonging, screen.as_deref()) {
        Belonging::Proved { thread_id, proof, rollout, .. } => {
            let rollout = rollout.map(|path| path.to_string_lossy().into_owned());
            adopt(plane, session, &thread_id, rollout.as_deref(), proof.as_str()).await
        }
        // The latest is still held, and nothing that is new stands against it.
        Belonging::Ambiguous { candidates, .. }
            if candidates.iter().all(|held| current.iter().any(|known| known.thread_id == *held)) =>
        {
            Ok(Refreshed::Same)
        }
        Belonging::Ambiguous { candidates, .. } => {
            Ok(Refreshed::Unproved { why: "several threads are proved".to_owned(), candidates })
        }
        Belonging::Unproved { candidates, why, .. } => Ok(Refreshed::Unproved { why, candidates }),
    }
}

/// What its pane proves, with what it shows, else what its process proves. `None` when both are gone.
async fn looked_at(plane: &Plane, session: &Session) -> Result<Option<(Belonging, Option<String>)>> {
    let process = process(session).filter(|process| process.is_alive());
    let Some(pin) = message::pin(session) else {
        let clues = Clues { root_pid: process.map(|process| process.pid), ..Clues::default() };
        let belonging = process.map(|_| discover(&System, &*plane.log, &clues)).transpose()?;
        return Ok(belonging.map(|belonging| (belonging, None)));
    };
    match plane.mux.check(&pin).await? {
        PinCheck::Ours { .. } => {}
        PinCheck::Gone { .. } | PinCheck::Changed { .. } => return Ok(None),
    }
    let screen = plane.mux.capture(&pin).await?;
    let text = screen.text();
    let clues = Clues {
        root_pid: Some(pin.program.pid),
        pane_title: Some(&screen.title),
        screen: Some(&text),
        ..Clues::default()
    };
    let belonging = with_all_it_holds(discover(&System, &*plane.log, &clues)?);
    Ok(Some((seats::by_screen(plane, belonging, &text), Some(text))))
}

/// A Codex goes on holding lock and rollout of the thread that it left, and has only the lock of the one that `/clear`
/// or `/new` began (measured on 0.169): that it holds more of the older one does not prove that it still has it.
fn with_all_it_holds(belonging: Belonging) -> Belonging {
    let Belonging::Proved { proof, codex: Some(codex), .. } = &belonging else { return belonging };
    if !proof.is_held() {
        return belonging;
    }
    let held = System.belongings(codex.process).map(|belongings| discover::held_threads(&belongings));
    match held {
        Ok(held) if held.len() > 1 => {
            Belonging::Ambiguous { candidates: held.into_iter().collect(), codex: Some(codex.clone()) }
        }
        Ok(_) | Err(_) => belonging,
    }
}

/// A thread without any message, where the program holds it beside those that it left: `/clear` and `/new` begin one.
///
/// It is the only one that the session has not had, it has no rollout (a sub-agent's has one from its start), and the
/// last message of the session's latest thread is not on the screen any more.
fn just_begun(
    plane: &Plane,
    current: &[SessionThread],
    belonging: Belonging,
    screen: Option<&str>,
) -> Belonging {
    let Belonging::Ambiguous { candidates, codex: Some(codex) } = &belonging else { return belonging };
    let (Some(home), Some(screen)) = (&codex.home, screen) else { return belonging };
    let mut unknown = candidates.iter().filter(|held| current.iter().all(|known| known.thread_id != **held));
    let (Some(fresh), None) = (unknown.next(), unknown.next()) else { return belonging };
    let rollout = |thread: &str| discover::rollout_of(&*plane.log, home, thread).ok().flatten();
    let latest = current.first().and_then(|latest| rollout(&latest.thread_id));
    let last = latest.and_then(|path| shown::messages(&*plane.log, &path).pop());
    let left = last.is_none_or(|last| !shown::shows(screen, &last));
    if !left || rollout(fresh).is_some() {
        return belonging;
    }
    Belonging::Proved {
        thread_id: fresh.clone(),
        proof: Proof::WriterLock,
        rollout: None,
        codex: Some(codex.clone()),
    }
}

/// The process that was registered.
pub(super) fn process(session: &Session) -> Option<ProcessId> {
    let pid = u32::try_from(session.pid?).ok()?;
    let start_ticks = u64::try_from(session.pid_start_ticks?).ok()?;
    Some(ProcessId { pid, start_ticks })
}

async fn adopt(
    plane: &Plane,
    session: &Session,
    thread: &str,
    rollout: Option<&str>,
    proof: &str,
) -> Result<Refreshed> {
    let ledger = plane.ledger().await?;
    let current = threads::current(&mut *ledger.read().await?, &session.id).await?;
    if current.first().is_some_and(|newest| newest.thread_id == thread) {
        return Ok(Refreshed::Same);
    }
    let mut tx = ledger.write(&plane.actor().await?).await?;
    // Somebody else may have looked at the same moment.
    let current = threads::current(&mut tx, &session.id).await?;
    if current.first().is_some_and(|newest| newest.thread_id == thread) {
        tx.roll_back().await;
        return Ok(Refreshed::Same);
    }
    if let Some(owner) = threads::session_of(&mut tx, thread).await?.filter(|owner| owner.id != session.id) {
        tx.roll_back().await;
        return Ok(Refreshed::Taken { thread: thread.to_owned(), by: owner.name.to_string() });
    }
    if sessions::get(&mut tx, &session.id).await?.is_none_or(|now| now.state != session.state) {
        return Err(Error::conflict(format!("`{}` was deregistered meanwhile", session.name)));
    }
    let again = current.iter().any(|one| one.thread_id == thread);
    if again {
        let audit = AuditRow::new("thread_released", format!("{} left the thread {thread}.", session.name));
        threads::release(&mut tx, &session.id, thread, audit).await?;
    }
    let sentence = format!("{} has the thread {thread} now, proved by its {proof}.", session.name);
    threads::adopt(&mut tx, &session.id, thread, rollout, proof, AuditRow::new("thread_adopted", sentence))
        .await?;
    settle::by_new_thread(&mut tx, session).await?;
    tx.commit().await?;
    locate::note(&plane.environment, thread, plane.location())?;
    Ok(Refreshed::Adopted { thread: thread.to_owned() })
}
