//! The program in a pane and all that descends from it.

use std::path::PathBuf;

use conveyor_agents::discover;
use conveyor_agents::process::Process;
use conveyor_agents::process::ProcessId;
use conveyor_agents::process::ProcessTable;
use conveyor_agents::process::Snapshot;
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
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Session;
use conveyor_store::threads;

use crate::Plane;
use crate::deliver;

/// What makes Codex quit. The blank closes the list of commands, so that Tab submits instead of completing (measured).
const QUIT: &str = "/quit ";

/// What makes Codex end the commands that a thread runs in the background. Those of a thread of the shared daemon's would
/// else outlive the terminal (measured on 0.169).
const STOP: &str = "/stop ";

/// The agent's own process, as it was registered.
pub(super) fn agent(session: &Session) -> Option<ProcessId> {
    let pid = session.pid.and_then(|pid| u32::try_from(pid).ok())?;
    let start_ticks = session.pid_start_ticks.and_then(|ticks| u64::try_from(ticks).ok())?;
    Some(ProcessId { pid, start_ticks })
}

/// The agent, the pane's program, and everything below them, commands in the background included, that run now; of a
/// session of the shared daemon without the daemon, and with the commands that the daemon runs for it.
pub(super) async fn of(plane: &Plane, session: &Session, pin: &Pin) -> Result<Vec<ProcessId>> {
    let program = pin.program.started.map(|start_ticks| ProcessId { pid: pin.program.pid, start_ticks });
    let roots = [program, agent(session)].into_iter().flatten().filter(|root| root.is_alive());
    let below = roots.flat_map(|root| System.subtree(root.pid).unwrap_or_default()).collect();
    let mut found: Vec<ProcessId> = match session.owner_kind {
        OwnerKind::Embedded => ids(below),
        OwnerKind::Daemon | OwnerKind::Unknown => {
            [ids(discover::without_daemon(below)), commands(plane, session).await?].concat()
        }
    };
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What the shared daemon runs for a session's threads. It goes on without the terminal.
pub(super) async fn commands(plane: &Plane, session: &Session) -> Result<Vec<ProcessId>> {
    let home = match &session.codex_home {
        Some(home) => PathBuf::from(home),
        None => plane.environment.codex_home()?,
    };
    let all = Snapshot::take()?;
    let Some(daemon) = discover::daemon(&all, &home) else { return Ok(Vec::new()) };
    let threads = threads::of_session(&mut *plane.ledger().await?.read().await?, &session.id).await?;
    let threads = threads.into_iter().map(|thread| thread.thread_id).collect();
    Ok(ids(discover::commands_of(&all, daemon.process, &threads)?))
}

fn ids(processes: Vec<Process>) -> Vec<ProcessId> {
    processes.into_iter().map(|process| process.id).collect()
}

/// Lets the program quit by its own command, typed where nothing else stands. False when it would not take it, or does
/// not end.
pub(super) async fn quit(plane: &Plane, session: &Session, pin: &Pin, all: &[ProcessId]) -> Result<bool> {
    let lock = PaneLock::acquire(&plane.state_dir()?.join("locks"), pin, limits::PANE_LOCK).await?;
    if session.owner_kind != OwnerKind::Embedded {
        end_commands(plane, session, pin).await?;
    }
    let typed = type_line(plane, session, pin, QUIT).await?;
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

/// Lets Codex end what its daemon runs for the session, if there is anything.
async fn end_commands(plane: &Plane, session: &Session, pin: &Pin) -> Result<()> {
    let running = commands(plane, session).await?;
    if !running.is_empty() && type_line(plane, session, pin, STOP).await? {
        wait_for_end(plane, &running).await;
    }
    Ok(())
}

/// Pastes a command into an empty composer, and submits it when the composer shows nothing else.
///
/// An agent that was interrupted before it had begun to answer gives the text back to the composer (measured on 0.144),
/// and texts that were queued (measured on 0.169). They are deleted where they are conveyor's own and alone there; what a
/// person wrote is not touched, and the program is then not quit by its own command.
async fn type_line(plane: &Plane, session: &Session, pin: &Pin, line: &str) -> Result<bool> {
    let mut patience = plane.clock.now().plus(limits::PASTE_SHOWN);
    let own = deliver::own_texts(plane, session).await?;
    let mut is_typed = false;
    while plane.clock.now() < patience {
        let seen = pane::classify(&plane.mux.capture(pin).await?);
        if matches!(&seen.composer, Composer::Draft(text) if is_typed && text.trim() == line.trim()) {
            return Ok(plane.mux.press(pin, Key::Tab).await? == Acted::Done);
        }
        let takes_text = seen.kind.takes_input() && !seen.kind.is_running() && !seen.popup && !seen.in_mode;
        if takes_text && without(&seen.composer, is_typed.then_some(line)).is_only_ours(&own) {
            if !delete(plane, pin, seen.composer).await? {
                return Ok(false);
            }
            (is_typed, patience) = (false, plane.clock.now().plus(limits::PASTE_SHOWN));
            continue;
        }
        if takes_text && !is_typed && seen.composer == Composer::Empty {
            if !paste(plane, pin, line).await? {
                return Ok(false);
            }
            (is_typed, patience) = (true, plane.clock.now().plus(limits::PASTE_SHOWN));
        }
        plane.clock.sleep(limits::LOOK_AGAIN).await;
    }
    Ok(false)
}

/// The text came back while the command was being pasted: what was there without it.
fn without(composer: &Composer, typed: Option<&str>) -> Composer {
    match (composer, typed) {
        (Composer::Draft(text), Some(line)) => {
            Composer::Draft(text.trim_end().strip_suffix(line.trim()).unwrap_or(text).to_owned())
        }
        (Composer::Draft(_) | Composer::Empty | Composer::None, _) => composer.clone(),
    }
}

async fn paste(plane: &Plane, pin: &Pin, line: &str) -> Result<bool> {
    let name: BufferName = format!("conveyor-quit-{:x}", plane.clock.random()).parse()?;
    plane.mux.load_buffer(pin, &name, line.as_bytes()).await?;
    if plane.mux.paste(pin, std::slice::from_ref(&name)).await? == Acted::Refused {
        plane.mux.delete_buffer(pin, &name).await?;
        return Ok(false);
    }
    Ok(true)
}

/// Deletes a text of ours line by line, and looks between each two whether it is still nothing but that text. False when
/// it is not, or does not go away.
async fn delete(plane: &Plane, pin: &Pin, text: Composer) -> Result<bool> {
    let mut before = text;
    let mut patience = plane.clock.now().plus(limits::KEY_SHOWN);
    if plane.mux.press(pin, Key::CtrlU).await? == Acted::Refused {
        return Ok(false);
    }
    while plane.clock.now() < patience {
        plane.clock.sleep(limits::LOOK_AGAIN).await;
        let seen = pane::classify(&plane.mux.capture(pin).await?);
        match &seen.composer {
            Composer::Empty => return Ok(true),
            now if *now == before => {}
            now if now.is_rest_of(&before) => {
                before = seen.composer;
                patience = plane.clock.now().plus(limits::KEY_SHOWN);
                if plane.mux.press(pin, Key::CtrlU).await? == Acted::Refused {
                    return Ok(false);
                }
            }
            Composer::Draft(_) | Composer::None => return Ok(false),
        }
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
