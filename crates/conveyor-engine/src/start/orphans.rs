//! Starts whose starter was killed between taking the name and noting the pane.
//!
//! The program may run by then, in a pane that nobody knows. It carries the session's id in its environment, and by that
//! it is found and adopted; where none carries it, nothing was started and the name is given back.

use std::ffi::OsString;

use conveyor_agents::ProcessId;
use conveyor_agents::process::ProcessTable;
use conveyor_agents::process::Snapshot;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::limits;
use conveyor_mux::PaneInfo;
use conveyor_mux::Pin;
use conveyor_mux::Server;
use conveyor_mux::Target;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::audit;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use serde_json::Value;
use serde_json::json;

use super::with_pane;
use crate::Caller;
use crate::Plane;
use crate::message;

/// What raises attention for a start that was cut off.
const TROUBLE: &str = "start_cut_off";

/// The process that starts a session, for the session's first audit row.
pub(super) fn starter(plane: &Plane) -> Value {
    json!(ProcessId::of(plane.environment.pid).ok().flatten())
}

/// Adopts what such starts left running, and gives back the names of the others.
pub(crate) async fn reconcile(plane: &Plane) -> Result<()> {
    let Some(ledger) = plane.ledger_to_read().await? else { return Ok(()) };
    let orphans = orphans(plane, &mut *ledger.read().await?).await?;
    if orphans.is_empty() {
        return Ok(());
    }
    for session in orphans {
        // What cannot be looked at now is looked at the next time.
        let Some(all) = look(plane, &session).await? else { return Ok(()) };
        let pin = pin_of(plane, &all, &session).await;
        settle(plane, &session, pin).await?;
    }
    Ok(())
}

/// The sessions whose start was cut off, without looking for what it left running: for whoever only reads. Nothing where
/// other processes cannot be seen.
pub(crate) async fn cut_off(plane: &Plane, db: &mut Db) -> Result<Vec<Session>> {
    match &plane.caller {
        Caller::Shell { sandboxed: true, .. } => Ok(Vec::new()),
        Caller::Person | Caller::Shell { .. } | Caller::Tool { .. } => orphans(plane, db).await,
    }
}

/// Whether a name is taken only by a start that left nothing running.
pub(super) async fn is_left_over(plane: &Plane, db: &mut Db, session: &Session) -> Result<bool> {
    if !is_orphan(plane, db, session).await? {
        return Ok(false);
    }
    let Some(all) = look(plane, session).await? else { return Ok(false) };
    Ok(program_of(&all, session).is_none())
}

/// The processes, once the session's program is among them or can no longer come.
async fn look(plane: &Plane, session: &Session) -> Result<Option<Snapshot>> {
    loop {
        let Ok(all) = Snapshot::take() else { return Ok(None) };
        let age = plane.clock.now().since(session.registered_at);
        if age >= limits::START_SETTLES || program_of(&all, session).is_some() {
            return Ok(Some(all));
        }
        plane.clock.sleep(limits::START_LOOK).await;
    }
}

async fn orphans(plane: &Plane, db: &mut Db) -> Result<Vec<Session>> {
    let wanted = sessions::Wanted {
        state: Some(SessionState::Active),
        host: Some(plane.environment.host.clone()),
        ..sessions::Wanted::default()
    };
    let mut found = Vec::new();
    for session in sessions::list(db, &wanted, limits::FOLLOWED_SESSIONS).await? {
        if is_orphan(plane, db, &session).await? {
            found.push(session);
        }
    }
    Ok(found)
}

/// Whether nobody will ever note this session's pane: its starter does not live any more.
async fn is_orphan(plane: &Plane, db: &mut Db, session: &Session) -> Result<bool> {
    let has_no_pane = session.started_by_conveyor && message::pin(session).is_none();
    if !has_no_pane || session.host != plane.environment.host {
        return Ok(false);
    }
    let wanted = audit::Wanted {
        session: Some(session.id.clone()),
        kinds: vec!["session_registered".to_owned()],
        ..audit::Wanted::default()
    };
    let first = audit::list(db, &wanted, 1).await?.into_iter().next();
    let starter = first.and_then(|row| row.payload_json).map(|payload| payload["starter"].clone());
    let starter: Option<ProcessId> = starter.and_then(|starter| serde_json::from_value(starter).ok());
    // A row that names no starter was written before this was noted.
    Ok(starter.is_some_and(|starter| !starter.is_alive()))
}

/// The first program that carries the session's mark, and the tmux of its environment.
fn program_of(all: &Snapshot, session: &Session) -> Option<(ProcessId, Option<OsString>)> {
    let carries = all.processes().iter().filter_map(|process| {
        let belongings = all.belongings(process.id).ok()?;
        (belongings.started_as.as_deref() == Some(session.id.as_str()))
            .then_some((process.id, belongings.tmux))
    });
    carries.min_by_key(|(process, _)| process.start_ticks)
}

/// The pane in which it runs.
async fn pin_of(plane: &Plane, all: &Snapshot, session: &Session) -> Option<Pin> {
    let (process, tmux) = program_of(all, session)?;
    let above: Vec<u32> = all.ancestors(process.pid).iter().map(|process| process.id.pid).collect();
    let server = Server::of_environment(tmux.as_deref(), None);
    let panes: Vec<PaneInfo> = plane.mux.panes(&server).await.ok()?;
    let pane = panes.into_iter().find(|pane| above.contains(&pane.pid))?;
    plane.mux.pin(&server, &Target::Pane(pane.id)).await.ok()
}

async fn settle(plane: &Plane, session: &Session, pin: Option<Pin>) -> Result<()> {
    let mut tx = plane.ledger().await?.write(&Actor::Conveyor).await?;
    let now = sessions::get(&mut tx, &session.id).await?;
    let Some(now) = now.filter(|now| now.state == SessionState::Active && message::pin(now).is_none()) else {
        tx.roll_back().await;
        return Ok(());
    };
    let name = &session.name;
    let message = if let Some(pin) = pin {
        let sentence =
            format!("{name} was found in the pane {} of the tmux session {}.", pin.pane, pin.session);
        sessions::update(&mut tx, &with_pane(now, &pin), AuditRow::new("session_started", sentence)).await?;
        format!(
            "The start of {name} was cut off before its first message; it runs, and nobody told it anything."
        )
    } else {
        let sentence = format!("The start of {name} was cut off and left nothing running.");
        sessions::mark_gone(&mut tx, &session.id, AuditRow::new("session_start_undone", sentence.clone()))
            .await?;
        sentence
    };
    raise(&mut tx, session, message).await?;
    tx.commit().await
}

async fn raise(tx: &mut Tx, session: &Session, message: String) -> Result<()> {
    let new = NewAttention {
        kind: TROUBLE.to_owned(),
        session: Some(session.id.clone()),
        message: message.clone(),
        evidence: json!({ "tmux_session": session.tmux_session }),
        ..NewAttention::default()
    };
    attention::raise(tx, new, AuditRow::new("attention_raised", message)).await.map(drop)
}
