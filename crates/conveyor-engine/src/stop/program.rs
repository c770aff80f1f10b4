//! The program in a pane and all that descends from it.

use conveyor_agents::process::ProcessId;
use conveyor_agents::process::ProcessTable;
use conveyor_agents::process::System;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_model::pane;
use conveyor_model::pane::Composer;
use conveyor_mux::Acted;
use conveyor_mux::BufferName;
use conveyor_mux::Key;
use conveyor_mux::PaneLock;
use conveyor_mux::Pin;
use conveyor_store::sessions::Session;

use crate::Plane;

/// What makes Codex quit. The blank closes the list of commands, so that Tab submits instead of completing (measured).
const QUIT: &str = "/quit ";

/// The agent's own process, as it was registered.
pub(super) fn agent(session: &Session) -> Option<ProcessId> {
    let pid = session.pid.and_then(|pid| u32::try_from(pid).ok())?;
    let start_ticks = session.pid_start_ticks.and_then(|ticks| u64::try_from(ticks).ok())?;
    Some(ProcessId { pid, start_ticks })
}

/// The agent, the pane's program, and everything below them, commands in the background included, that run now.
pub(super) fn of(session: &Session, pin: &Pin) -> Vec<ProcessId> {
    let program = pin.program.started.map(|start_ticks| ProcessId { pid: pin.program.pid, start_ticks });
    let roots = [program, agent(session)].into_iter().flatten().filter(|root| root.is_alive());
    let mut found: Vec<ProcessId> = roots
        .flat_map(|root| System.subtree(root.pid).unwrap_or_default())
        .map(|process| process.id)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Lets the program quit by its own command, typed where nothing else stands. False when it would not take it, or does
/// not end.
pub(super) async fn quit(plane: &Plane, session: &Session, pin: &Pin, all: &[ProcessId]) -> Result<bool> {
    let lock = PaneLock::acquire(&plane.state_dir()?.join("locks"), pin, limits::PANE_LOCK).await?;
    let typed = type_quit(plane, pin).await?;
    drop(lock);
    if !typed {
        return Ok(false);
    }
    let watched: Vec<ProcessId> = match agent(session) {
        Some(agent) => vec![agent],
        None => all.to_vec(),
    };
    let deadline = plane.clock.now().plus(limits::PROGRAM_QUITS);
    while plane.clock.now() < deadline {
        if watched.iter().all(|process| !process.is_alive()) {
            return Ok(true);
        }
        plane.clock.sleep(limits::START_LOOK).await;
    }
    Ok(false)
}

/// Pastes the command into an empty composer, and submits it when the composer shows nothing else.
async fn type_quit(plane: &Plane, pin: &Pin) -> Result<bool> {
    let seen = pane::classify(&plane.mux.capture(pin).await?);
    if !seen.is_ready_for_paste() || seen.kind.is_running() {
        return Ok(false);
    }
    let name: BufferName = format!("conveyor-quit-{:x}", plane.clock.random()).parse()?;
    plane.mux.load_buffer(pin, &name, QUIT.as_bytes()).await?;
    if plane.mux.paste(pin, std::slice::from_ref(&name)).await? == Acted::Refused {
        plane.mux.delete_buffer(pin, &name).await?;
        return Ok(false);
    }
    let deadline = plane.clock.now().plus(limits::PASTE_SHOWN);
    while plane.clock.now() < deadline {
        let seen = pane::classify(&plane.mux.capture(pin).await?);
        if matches!(&seen.composer, Composer::Draft(text) if text.trim() == QUIT.trim()) {
            return Ok(plane.mux.press(pin, Key::Tab).await? == Acted::Done);
        }
        plane.clock.sleep(limits::LOOK_AGAIN).await;
    }
    Ok(false)
}

/// Waits until all have ended, and returns those that have not.
pub(super) async fn wait_for_end(plane: &Plane, all: &[ProcessId]) -> Vec<ProcessId> {
    let deadline = plane.clock.now().plus(limits::PROGRAM_QUITS);
    loop {
        let left: Vec<ProcessId> = all.iter().copied().filter(|process| process.is_alive()).collect();
        if left.is_empty() || plane.clock.now() >= deadline {
            return left;
        }
        plane.clock.sleep(limits::START_LOOK).await;
    }
}

/// Process ids for a person.
pub(super) fn listed(processes: &[ProcessId]) -> String {
    let pids: Vec<String> = processes.iter().map(|process| process.pid.to_string()).collect();
    pids.join(", ")
}
