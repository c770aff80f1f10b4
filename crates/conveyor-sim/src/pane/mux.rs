//! The terminals of a world as one process sees them.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::pane::Cursor;
use conveyor_model::pane::Line;
use conveyor_model::pane::Screen;
use conveyor_mux::Acted;
use conveyor_mux::BufferName;
use conveyor_mux::Gone;
use conveyor_mux::Key;
use conveyor_mux::Mux;
use conveyor_mux::PaneId;
use conveyor_mux::PaneInfo;
use conveyor_mux::Pin;
use conveyor_mux::PinCheck;
use conveyor_mux::Process;
use conveyor_mux::Server;
use conveyor_mux::SpawnSpec;
use conveyor_mux::Target;

use super::Fate;
use super::What;
use super::World;
use super::world::Inner;
use super::world::SimPane;
use crate::agent::Config;
use crate::agent::Frame;

/// Rows of every pane.
const ROWS: usize = 40;

/// The terminals of a [`World`], as one process sees them, with tmux's semantics.
pub struct SimMux {
    world: World,
    killed: AtomicBool,
}

impl SimMux {
    pub(super) fn new(world: World) -> Self {
        Self { world, killed: AtomicBool::new(false) }
    }

    /// Whether the plan has killed this process.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Takes a step unless the process is killed before it.
    fn step<T>(&self, what: What, act: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
        if self.is_killed() {
            return Err(killed());
        }
        let fate = self.world.step(what);
        self.killed.store(fate != Fate::Go, Ordering::SeqCst);
        if fate == Fate::DieBefore {
            return Err(killed());
        }
        let done = act(&mut self.world.lock());
        if fate == Fate::DieAfter { Err(killed()) } else { done }
    }
}

/// What a killed process gets: it must not go on, and nobody must believe that it knows anything.
fn killed() -> Error {
    Error::interrupted("the process was killed by the simulation").retry(Retry::Unknown)
}

fn no_server() -> Error {
    Error::environment("no tmux server is running (simulated)")
}

fn not_found(what: impl std::fmt::Display) -> Error {
    Error::not_found(format!("{what} does not exist"))
}

/// Started when: the simulated kernel's ticks are the process's own number.
fn process(pid: u32) -> Process {
    Process { pid, started: Some(pid.into()) }
}

fn pane_id(number: u32) -> Result<PaneId> {
    format!("%{number}").parse()
}

fn number(pane: PaneId) -> Option<u32> {
    pane.to_string().strip_prefix('%')?.parse().ok()
}

impl Inner {
    fn pin_of(&self, id: u32, pane: &SimPane) -> Result<Pin> {
        let server = self.server.pid.ok_or_else(no_server)?;
        Ok(Pin {
            socket: PathBuf::from(World::SOCKET),
            server: process(server),
            session: pane.session.clone(),
            pane: pane_id(id)?,
            program: process(pane.pid),
        })
    }

    /// The pane of a pin with its number, if server, pane and process are still the pinned ones.
    fn pinned(&self, pin: &Pin) -> Option<(u32, &SimPane)> {
        let id = number(pin.pane)?;
        let pane = self.server.panes.get(&id)?;
        let same = self.server.pid == Some(pin.server.pid) && pane.pid == pin.program.pid;
        same.then_some((id, pane))
    }

    /// The number of a pane that keys may be sent to.
    fn guarded(&self, pin: &Pin) -> Option<u32> {
        let (id, pane) = self.pinned(pin)?;
        (!pane.in_mode && !pane.dead).then_some(id)
    }

    fn input(&mut self, id: u32, bytes: &[u8]) {
        let now = self.now;
        self.act(id, |agent| agent.on_input(bytes, now));
    }

    fn check(&self, pin: &Pin) -> PinCheck {
        let Some(server) = self.server.pid else { return PinCheck::Gone { what: Gone::Server } };
        let pane = number(pin.pane).and_then(|id| self.server.panes.get(&id));
        let Some(pane) = pane else { return PinCheck::Gone { what: Gone::Pane } };
        if server != pin.server.pid {
            let what = format!("another tmux server, {server}, has the socket");
            return PinCheck::Changed { what };
        }
        if pane.pid != pin.program.pid {
            let what = format!("the pane holds the process {}, not {}", pane.pid, pin.program.pid);
            return PinCheck::Changed { what };
        }
        if pane.dead {
            return PinCheck::Gone { what: Gone::Program };
        }
        PinCheck::Ours { in_mode: pane.in_mode }
    }

    /// Pastes buffers in order, in one write to the terminal.
    fn paste(&mut self, pin: &Pin, names: &[BufferName]) -> Result<Acted> {
        let Some(id) = self.guarded(pin) else { return Ok(Acted::Refused) };
        let mut bytes = Vec::new();
        let mut missing = None;
        for name in names {
            let Some(text) = self.server.buffers.remove(name.as_str()) else {
                missing = Some(name);
                break;
            };
            bytes.extend_from_slice(b"\x1b[200~");
            bytes.extend(text);
            bytes.extend_from_slice(b"\x1b[201~");
        }
        self.input(id, &bytes);
        match missing {
            None => Ok(Acted::Done),
            Some(name) => Err(Error::environment(format!("tmux: no buffer {name}")).retry(Retry::Unknown)),
        }
    }
}

/// What a pane shows.
fn screen(pane: &SimPane) -> Screen {
    let Frame { lines, dim, cursor } = pane.agent.frame().bottom(ROWS);
    let line = |(row, text): (usize, String)| {
        let text = text.trim_end().to_owned();
        let byte = |column| text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
        let ranges = dim.iter().filter(|dim| dim.row == row);
        let ranges = ranges.map(|dim| byte(dim.columns.start)..byte(dim.columns.end));
        let dim = ranges.filter(|range| !range.is_empty()).collect();
        Line { text, dim }
    };
    let (row, column) = cursor.unwrap_or_default();
    Screen {
        lines: lines.into_iter().enumerate().map(line).collect(),
        width: 120,
        height: ROWS as u16,
        cursor: Some(Cursor { row: row as u16, column: column as u16, visible: cursor.is_some() }),
        title: pane.agent.title(),
        in_mode: pane.in_mode,
        dead: pane.dead,
        styled: true,
    }
}

#[async_trait]
impl Mux for SimMux {
    async fn panes(&self, _: &Server) -> Result<Vec<PaneInfo>> {
        self.step(What::Panes, |inner| {
            let info = |(id, pane): (&u32, &SimPane)| {
                Ok(PaneInfo {
                    id: pane_id(*id)?,
                    session: pane.session.clone(),
                    pid: pane.pid,
                    title: pane.agent.title(),
                    cwd: PathBuf::from(pane.agent.cwd()),
                    command: "node".to_owned(),
                    in_mode: pane.in_mode,
                    dead: pane.dead,
                })
            };
            inner.server.panes.iter().map(info).collect()
        })
    }

    async fn pin(&self, _: &Server, target: &Target) -> Result<Pin> {
        self.step(What::Pin, |inner| {
            let wanted = |id: u32, pane: &SimPane| match target {
                Target::Session(name) => pane.session == *name,
                Target::Pane(pane) => number(*pane) == Some(id),
            };
            let mut found = inner.server.panes.iter().filter(|(id, pane)| wanted(**id, pane));
            let (id, pane) = found.next().ok_or_else(|| not_found(target))?;
            if found.next().is_some() {
                return Err(Error::ambiguous(format!("{target} has several panes")));
            }
            inner.pin_of(*id, pane)
        })
    }

    async fn check(&self, pin: &Pin) -> Result<PinCheck> {
        self.step(What::Check, |inner| Ok(inner.check(pin)))
    }

    async fn capture(&self, pin: &Pin) -> Result<Screen> {
        self.step(What::Capture, |inner| {
            let (_, pane) = inner.pinned(pin).ok_or_else(|| not_found(pin.pane))?;
            Ok(screen(pane))
        })
    }

    async fn load_buffer(&self, _: &Pin, name: &BufferName, bytes: &[u8]) -> Result<()> {
        self.step(What::LoadBuffer, |inner| {
            inner.server.pid.ok_or_else(no_server)?;
            inner.server.buffers.insert(name.to_string(), bytes.to_vec());
            Ok(())
        })
    }

    async fn delete_buffer(&self, _: &Pin, name: &BufferName) -> Result<bool> {
        self.step(What::DeleteBuffer, |inner| Ok(inner.server.buffers.remove(name.as_str()).is_some()))
    }

    async fn list_buffers(&self, _: &Pin, prefix: &str) -> Result<Vec<BufferName>> {
        self.step(What::ListBuffers, |inner| {
            let names = inner.server.buffers.keys().filter(|name| name.starts_with(prefix));
            names.map(|name| name.parse()).collect()
        })
    }

    async fn paste(&self, pin: &Pin, names: &[BufferName]) -> Result<Acted> {
        self.step(What::Paste, |inner| inner.paste(pin, names))
    }

    async fn press(&self, pin: &Pin, key: Key) -> Result<Acted> {
        let bytes: &[u8] = match key {
            Key::Tab => b"\t",
            Key::Enter => b"\r",
            Key::Escape => b"\x1b",
            Key::CtrlE => b"\x05",
            Key::CtrlU => b"\x15",
        };
        self.step(What::Press(key), |inner| {
            let Some(id) = inner.guarded(pin) else { return Ok(Acted::Refused) };
            inner.input(id, bytes);
            Ok(Acted::Done)
        })
    }

    async fn spawn(&self, _: &Server, spec: &SpawnSpec) -> Result<Pin> {
        self.step(What::Spawn, |inner| {
            let session = spec.session.as_str();
            if inner.server.panes.values().any(|pane| pane.session == session) {
                return Err(Error::conflict(format!("a tmux session `{session}` exists already")));
            }
            let config = Config { cwd: spec.cwd.display().to_string(), ..inner.template.clone() };
            let id = inner.open(session, config, spec.keep_dead);
            let pane = inner.server.panes.get(&id).ok_or_else(|| not_found(session))?;
            inner.pin_of(id, pane)
        })
    }

    async fn kill_pane(&self, pin: &Pin) -> Result<bool> {
        self.step(What::KillPane, |inner| {
            let Some((id, _)) = inner.pinned(pin) else { return Ok(false) };
            inner.program_ended(id);
            inner.server.panes.remove(&id);
            Ok(true)
        })
    }

    async fn kill_session(&self, pin: &Pin) -> Result<bool> {
        self.step(What::KillSession, |inner| {
            let Some((id, pane)) = inner.pinned(pin) else { return Ok(false) };
            if pane.session != pin.session {
                return Ok(false);
            }
            inner.program_ended(id);
            inner.server.panes.remove(&id);
            Ok(true)
        })
    }
}
