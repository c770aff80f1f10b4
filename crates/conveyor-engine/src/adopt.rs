//! Giving a session its first thread, by what its own process holds.
//!
//! A session that conveyor started has a pane before it has a thread: Codex 0.169 locks the thread when its screen is
//! there, older versions have none before the first message. Whoever reads the session's record asks first.

use conveyor_agents::discover;
use conveyor_agents::discover::Belonging;
use conveyor_agents::discover::Clues;
use conveyor_agents::discover::Codex;
use conveyor_agents::process::System;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_store::AuditRow;
use conveyor_store::sessions;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Session;
use conveyor_store::threads::SessionThread;
use serde_json::json;

use crate::Plane;
use crate::identify;
use crate::identify::Refreshed;
use crate::message;
use crate::start;

/// Adopts the thread that the program in the session's pinned pane holds. Nothing when nothing is proved yet, and for a
/// session that has no pane on this host.
pub(crate) async fn first_thread(plane: &Plane, session: &Session) -> Result<Option<SessionThread>> {
    let is_here = session.host == plane.environment.host;
    let Some(pin) = message::pin(session).filter(|pin| is_here && pin.program.is_running()) else {
        return Ok(None);
    };
    // Processes come and go while they are looked at; what cannot be seen now is seen the next time.
    if !matches!(identify::refresh(plane, session).await, Ok(Refreshed::Adopted { .. })) {
        return Ok(None);
    }
    let clues = Clues { root_pid: Some(pin.program.pid), ..Clues::default() };
    if let Ok(Belonging::Proved { codex: Some(codex), .. }) = discover::discover(&System, &*plane.log, &clues)
    {
        note_process(plane, session, &codex).await?;
    }
    start::thread_of(plane, session).await
}

/// Notes what is now known of the agent's own process: the native program, below `node` and other wrappers.
async fn note_process(plane: &Plane, session: &Session, codex: &Codex) -> Result<()> {
    let mut tx = plane.ledger().await?.write(&Actor::Conveyor).await?;
    let Some(row) = sessions::get(&mut tx, &session.id).await? else { return Ok(()) };
    let known = Session {
        pid: Some(i64::from(codex.process.pid)),
        pid_start_ticks: i64::try_from(codex.process.start_ticks).ok(),
        codex_home: codex
            .home
            .as_ref()
            .map(|home| home.to_string_lossy().into_owned())
            .or(row.codex_home.clone()),
        owner_kind: if codex.daemon { OwnerKind::Daemon } else { OwnerKind::Embedded },
        ..row.clone()
    };
    if known != row {
        let sentence = format!("{} runs as process {}.", session.name, codex.process);
        let audit =
            AuditRow::new("session_process_found", sentence).payload(json!({ "daemon": codex.daemon }));
        sessions::update(&mut tx, &known, audit).await?;
    }
    tx.commit().await
}
