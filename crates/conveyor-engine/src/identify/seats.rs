//! The panes that hold a Codex, and which of them is a session's.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;

use conveyor_agents::discover;
use conveyor_agents::discover::Above;
use conveyor_agents::discover::Belonging;
use conveyor_agents::discover::Clues;
use conveyor_agents::discover::Codex;
use conveyor_agents::discover::Proof;
use conveyor_agents::process::Snapshot;
use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_model::pane;
use conveyor_mux::PaneInfo;
use conveyor_mux::Pin;
use conveyor_mux::Server;
use conveyor_mux::Target;

use super::Candidate;
use super::Claims;
use super::codex_of;
use super::shown;
use crate::Plane;

/// A pane that holds a Codex.
pub(super) struct Seat {
    pub(super) info: PaneInfo,
    pub(super) pin: Pin,
    pub(super) belonging: Belonging,
    /// What it showed, where that was looked at.
    pub(super) screen: Option<String>,
    /// Whether a turn runs in it, as the screen shows.
    running: bool,
}

impl Seat {
    /// The thread that it proves.
    pub(super) fn thread(&self) -> Option<&str> {
        self.proved().map(|(thread, _)| thread)
    }

    fn proved(&self) -> Option<(&str, Proof)> {
        match &self.belonging {
            Belonging::Proved { thread_id, proof, .. } => Some((thread_id, *proof)),
            Belonging::Ambiguous { .. } | Belonging::Unproved { .. } => None,
        }
    }

    /// Whether its Codex holds this thread, perhaps among others.
    fn holds(&self, thread: &str) -> bool {
        match &self.belonging {
            Belonging::Ambiguous { candidates, codex: Some(_) } => {
                candidates.iter().any(|held| held == thread)
            }
            Belonging::Ambiguous { codex: None, .. }
            | Belonging::Proved { .. }
            | Belonging::Unproved { .. } => false,
        }
    }

    fn candidate(&self) -> Candidate {
        let why = match &self.belonging {
            Belonging::Proved { thread_id, .. } => format!("it shows the thread {thread_id}"),
            Belonging::Ambiguous { candidates, .. } => {
                format!("it may be any of the threads {}", candidates.join(", "))
            }
            Belonging::Unproved { why, .. } => why.clone(),
        };
        let cwd = codex_of(&self.belonging).and_then(|codex| codex.cwd.clone());
        Candidate { pane: self.info.id, tmux_session: self.info.session.clone(), cwd, why }
    }
}

/// The pane that was chosen.
pub(super) struct Choice {
    pub(super) pin: Pin,
    pub(super) proof: &'static str,
    pub(super) codex: Option<Codex>,
}

/// For whom a pane is sought.
pub(super) struct Sitting<'a> {
    pub(super) thread: Option<&'a str>,
    pub(super) rollout: Option<&'a Path>,
    pub(super) home: &'a Path,
    /// Whether the thread is the caller's own, which therefore runs a turn just now.
    pub(super) is_caller: bool,
    /// The tmux session that was named, and its seats.
    pub(super) session: Option<&'a str>,
    pub(super) seats: &'a [&'a Seat],
}

/// All processes of this moment, and all panes in which one of them is a Codex.
pub(super) struct Around {
    pub(super) processes: Snapshot,
    /// The Codex that started this very process as a tool or as an MCP server.
    pub(super) above: Option<Above>,
    pub(super) seats: Vec<Seat>,
    pub(super) warnings: Vec<String>,
}

impl Around {
    /// Looks around. No tmux is no error, unless a tmux session was named.
    pub(super) async fn gather(plane: &Plane, claims: &Claims) -> Result<Self> {
        let mut warnings = Vec::new();
        let processes = Snapshot::take().unwrap_or_else(|error| {
            warnings.push(error.message);
            Snapshot::default()
        });
        let is_agent = plane.caller.thread().is_some();
        let above = is_agent.then(|| discover::codex_above(&processes, plane.environment.pid)).flatten();
        let mut around = Self { processes, above, seats: Vec::new(), warnings };
        if claims.no_tmux {
            return Ok(around);
        }
        let mut names = BTreeSet::new();
        for server in around.servers(plane, claims) {
            match around.panes(plane, &server).await {
                Ok(sessions) => names.extend(sessions),
                Err(error) if claims.tmux_session.is_some() => return Err(error),
                Err(error) => around.warnings.push(error.message),
            }
        }
        match claims.tmux_session.as_deref().filter(|name| !names.contains(*name)) {
            Some(missing) => {
                Err(Error::not_found(format!("there is no tmux session `{}`", missing.escape_debug()))
                    .hint("list them: tmux list-sessions"))
            }
            None => Ok(around),
        }
    }

    /// Where panes are looked for: the server of the environment, tmux's default one, and those in which the Codex above
    /// us and the process that was named were started.
    fn servers(&self, plane: &Plane, claims: &Claims) -> Vec<Server> {
        let variable = |name| plane.environment.variable(name).map(OsStr::new);
        let tmpdir = variable("TMUX_TMPDIR");
        let mut servers = vec![Server::of_environment(variable("TMUX"), tmpdir)];
        let named = claims.pid.and_then(|pid| u32::try_from(pid).ok());
        let named = named.and_then(|pid| self.processes.ancestors(pid).first().map(|process| process.id));
        let named = named.and_then(|id| {
            use conveyor_agents::process::ProcessTable as _;
            self.processes.belongings(id).ok()?.tmux
        });
        let above = self.above.as_ref().and_then(|above| above.tmux.clone());
        for tmux in [named, above].into_iter().flatten() {
            servers.push(Server::of_environment(Some(&tmux), None));
        }
        if variable("TMUX").is_some() {
            servers.push(Server::named("default", tmpdir));
        }
        let mut seen = Vec::new();
        servers.retain(|server| {
            !seen.contains(server) && {
                seen.push(server.clone());
                true
            }
        });
        servers
    }

    /// Adds the seats of a server; returns the names of its sessions.
    async fn panes(&mut self, plane: &Plane, server: &Server) -> Result<BTreeSet<String>> {
        let panes = plane.mux.panes(server).await?;
        let names = panes.iter().map(|pane| pane.session.clone()).collect();
        for info in panes.into_iter().filter(|pane| !pane.dead) {
            if let Some(seat) = self.seat(plane, server, info).await? {
                // The same server by two names, or a window that is linked into two sessions.
                if !self.seats.iter().any(|known| known.pin.program == seat.pin.program) {
                    self.seats.push(seat);
                }
            }
        }
        Ok(names)
    }

    /// The seat in a pane; none when no Codex runs there, or when it went meanwhile.
    async fn seat(&self, plane: &Plane, server: &Server, info: PaneInfo) -> Result<Option<Seat>> {
        let Ok(pin) = plane.mux.pin(server, &Target::Pane(info.id)).await else { return Ok(None) };
        if pin.program.pid != info.pid {
            return Ok(None);
        }
        let mut clues = Clues { root_pid: Some(info.pid), pane_title: Some(&info.title), ..Clues::default() };
        let belonging = match discover(&self.processes, &*plane.log, &clues) {
            Ok(belonging) => belonging,
            Err(error) if error.kind == ErrorKind::Ambiguous => unclear(error.message),
            // It ended while it was looked at.
            Err(_) => return Ok(None),
        };
        let held = matches!(&belonging, Belonging::Proved { proof, .. } if proof.is_held());
        if codex_of(&belonging).is_none() || held {
            let keep = codex_of(&belonging).is_some() || is_unclear(&belonging);
            return Ok(keep.then_some(Seat { info, pin, belonging, screen: None, running: false }));
        }
        let Ok(screen) = plane.mux.capture(&pin).await else { return Ok(None) };
        let text = screen.text();
        clues.screen = Some(&text);
        let belonging = discover(&self.processes, &*plane.log, &clues).unwrap_or(belonging);
        let belonging = by_screen(plane, belonging, &text);
        let running = pane::classify(&screen).kind.is_running();
        Ok(Some(Seat { info, pin, belonging, screen: Some(text), running }))
    }

    /// The thread that a tmux session proves, if it is one, and the seats in it.
    pub(super) fn of_session(&self, name: Option<&str>) -> (Option<(&str, Proof)>, Vec<&Seat>) {
        let Some(name) = name else { return (None, Vec::new()) };
        let seats: Vec<&Seat> = self.seats.iter().filter(|seat| seat.info.session == name).collect();
        let mut proved = seats.iter().filter_map(|seat| seat.proved());
        let first = proved.next();
        let alone = proved.all(|other| first.is_some_and(|first| first.0 == other.0));
        (first.filter(|_| alone), seats)
    }

    /// The seat above or at a process.
    pub(super) fn seat_of(&self, pid: u32) -> Option<&Seat> {
        let line = self.processes.ancestors(pid);
        self.seats.iter().find(|seat| line.iter().any(|process| process.id.pid == seat.info.pid))
    }

    /// The one pane that is proved to show the thread, else those that may.
    ///
    /// Errors: conflict, when a tmux session was named and the thread is proved to be in another one.
    pub(super) fn choose(
        &self,
        plane: &Plane,
        sitting: &Sitting<'_>,
    ) -> Result<(Option<Choice>, Vec<Candidate>)> {
        let Some(thread) = sitting.thread else { return Ok((None, self.candidates(sitting))) };
        // A caller whose thread is held among others, after `/clear`, is in front: it runs a turn.
        let is_its_own = |seat: &&Seat| {
            seat.thread() == Some(thread) || (sitting.is_caller && seat.running && seat.holds(thread))
        };
        let everywhere: Vec<&Seat> = self.seats.iter().filter(is_its_own).collect();
        let proved: Vec<&Seat> = everywhere.iter().copied().filter(|seat| sitting.is_named(seat)).collect();
        match (proved.as_slice(), everywhere.first()) {
            ([seat], _) => Ok((
                Some(chosen(seat, seat.proved().map_or(Proof::WriterLock, |(_, how)| how).as_str())),
                vec![],
            )),
            ([], Some(other)) => Err(Error::conflict(format!(
                "the thread {thread} is in the tmux session `{}`, not in the one that was named",
                other.info.session
            ))
            .hint(format!("name that one: --tmux-session {}", other.info.session))),
            ([], None) => match self.by_last_message(plane, sitting, thread) {
                Some(seat) => Ok((Some(chosen(seat, "last_message")), vec![])),
                None => Ok((None, self.candidates(sitting))),
            },
            (several, _) => Ok((None, several.iter().map(|seat| seat.candidate()).collect())),
        }
    }

    /// Panes whose Codex may have the thread: unproved ones of the same CODEX_HOME, in the tmux session if one was named.
    /// Where that is all that is known, its CODEX_HOME is known by it alone.
    fn candidates(&self, sitting: &Sitting<'_>) -> Vec<Candidate> {
        let unproved = self.seats.iter().filter(|seat| seat.thread().is_none() && sitting.is_named(seat));
        let any_home = sitting.thread.is_none() && sitting.session.is_some();
        let of_home = |seat: &&Seat| {
            let home = codex_of(&seat.belonging).and_then(|codex| codex.home.as_deref());
            any_home || home.is_none_or(|home| home == sitting.home)
        };
        unproved.filter(of_home).map(Seat::candidate).collect()
    }

    /// The one terminal of the shared daemon's that shows the thread's last message, where no other thread of that
    /// daemon has the same one.
    ///
    /// Taken only where something else ties the two: the call comes from the thread itself, so that a turn runs, and the
    /// pane shows a running turn; or a person named both the thread and the tmux session.
    fn by_last_message(&self, plane: &Plane, sitting: &Sitting<'_>, thread: &str) -> Option<&Seat> {
        let daemon = discover::daemon(&self.processes, sitting.home)?;
        if !daemon.threads.contains(thread) || !(sitting.is_caller || sitting.session.is_some()) {
            return None;
        }
        let last = shown::messages(&*plane.log, sitting.rollout?).pop()?;
        let others: Vec<BTreeSet<String>> = daemon
            .threads
            .iter()
            .filter(|other| *other != thread)
            .filter_map(|other| discover::rollout_of(&*plane.log, sitting.home, other).ok()?)
            .map(|path: PathBuf| shown::messages(&*plane.log, &path).into_iter().collect())
            .collect();
        if !shown::is_unique(&last, &others) {
            return None;
        }
        let mut showing = self.seats.iter().filter(|seat| {
            seat.is_of_daemon(sitting.home)
                && seat.screen.as_deref().is_some_and(|text| shown::shows(text, &last))
        });
        let (seat, another) = (showing.next()?, showing.next());
        let tied = if sitting.is_caller { seat.running } else { true };
        (another.is_none() && tied && sitting.is_named(seat)).then_some(seat)
    }
}

impl Seat {
    /// Whether it is an unproved terminal of the shared daemon of this home.
    fn is_of_daemon(&self, home: &Path) -> bool {
        self.thread().is_none()
            && codex_of(&self.belonging)
                .is_some_and(|codex| codex.daemon && codex.home.as_deref() == Some(home))
    }
}

impl Sitting<'_> {
    /// Whether this seat is in the tmux session that was named; any is, where none was.
    fn is_named(&self, seat: &Seat) -> bool {
        self.session.is_none() || self.seats.iter().any(|named| named.pin == seat.pin)
    }
}

fn chosen(seat: &Seat, proof: &'static str) -> Choice {
    Choice { pin: seat.pin.clone(), proof, codex: codex_of(&seat.belonging).cloned() }
}

/// The thread in front, where the program holds several.
pub(super) fn by_screen(plane: &Plane, belonging: Belonging, screen: &str) -> Belonging {
    let Belonging::Ambiguous { candidates, codex: Some(codex) } = &belonging else { return belonging };
    let Some(home) = &codex.home else { return belonging };
    let Some(thread_id) = shown::in_front(&*plane.log, home, candidates, screen) else { return belonging };
    let rollout = discover::rollout_of(&*plane.log, home, &thread_id).ok().flatten();
    Belonging::Proved { thread_id, proof: Proof::LastMessage, rollout, codex: Some(codex.clone()) }
}

/// A pane with two Codexes: it is nobody's.
fn unclear(why: String) -> Belonging {
    Belonging::Unproved { candidates: Vec::new(), why, codex: None }
}

fn is_unclear(belonging: &Belonging) -> bool {
    matches!(belonging, Belonging::Unproved { why, .. } if why.starts_with("two Codexes"))
}
