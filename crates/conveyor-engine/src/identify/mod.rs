//! Who is a session: its thread, its process, its pane, proved or not said at all.
//!
//! The thread comes from the caller (an MCP call's own, or `CODEX_THREAD_ID`), from a rollout that was named, or from
//! what a process or a pane proves. The pane is proved only by what sits in it: a Codex that holds the thread, shows its
//! id, or shows the caller's own last message. `TMUX_PANE` and ancestry of a call prove nothing by themselves: under the
//! shared daemon they are another session's (measured). Without a proved pane a session is pull-only.

mod meant;
mod refresh;
mod seats;
mod shown;
mod standing;

use std::path::Path;
use std::path::PathBuf;

use conveyor_agents::ProcessId;
use conveyor_agents::discover;
use conveyor_agents::discover::Belonging;
use conveyor_agents::discover::Clues;
use conveyor_agents::discover::Codex;
use conveyor_agents::process;
use conveyor_agents::process::NamedPid;
use conveyor_agents::read_meta;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_mux::PaneId;
use conveyor_mux::Pin;
use conveyor_store::sessions::OwnerKind;
use schemars::JsonSchema;
use serde::Serialize;

use self::meant::Meant;
use self::meant::Names;
pub use self::refresh::Refreshed;
pub use self::refresh::refresh;
use self::seats::Around;
use self::seats::Choice;
use self::seats::Seat;
pub use self::standing::Standing;
pub use self::standing::standing;
use crate::Plane;

/// What somebody says of a session. All of it is to be proved.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Its process: Codex's, or one above it.
    pub pid: Option<i64>,
    /// The exact name of its tmux session.
    pub tmux_session: Option<String>,
    /// Its rollout.
    pub rollout: Option<String>,
    /// It is not to be looked for in tmux.
    pub no_tmux: bool,
}

/// A session's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub id: String,
    /// How it is known: `lock`, `open_file`, `title`, `footer`, `caller`, `named`.
    pub proof: &'static str,
    /// Its rollout; none before the first message.
    pub rollout: Option<PathBuf>,
}

/// A pane that is proved to show a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedPane {
    /// The pane.
    pub pin: Pin,
    /// How that is known: as for a thread, or `last_message`.
    pub proof: &'static str,
}

/// A pane that may be a session's, and is not proved to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Candidate {
    /// The pane.
    pub pane: PaneId,
    /// Its tmux session.
    pub tmux_session: String,
    /// Where its Codex works.
    pub cwd: Option<PathBuf>,
    /// Why it is not proved.
    pub why: String,
}

/// What was found out about a session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its thread. [`identify`] never leaves it out.
    pub thread: Option<Thread>,
    /// Its process: the TUI's where it is known.
    pub process: Option<ProcessId>,
    /// Whether that process is proved to be the session's Codex; else somebody named it.
    pub process_is_proved: bool,
    /// Its CODEX_HOME.
    pub codex_home: Option<PathBuf>,
    /// Where it works.
    pub cwd: Option<PathBuf>,
    /// Which process owns its turns.
    pub owner: OwnerKind,
    /// Its pane, if that is proved.
    pub pane: Option<ProvedPane>,
    /// Panes that may be its own, where none is proved.
    pub candidates: Vec<Candidate>,
    /// What is odd but stands against nothing.
    pub warnings: Vec<String>,
}

/// Finds and proves a session; it has a thread, or this fails.
///
/// Errors: usage where nothing names a session; conflict where proofs contradict each other; refused for a pid that is
/// a mere number, and for an agent that names another session than its own; rollout for a file that is none.
pub async fn identify(plane: &Plane, claims: &Claims) -> Result<Identity> {
    let deadline = plane.clock.now().plus(limits::THREAD_APPEARS);
    loop {
        let identity = look(plane, claims).await?;
        if identity.thread.is_some() {
            return Ok(identity);
        }
        let names_one = claims.pid.is_some() || claims.tmux_session.is_some();
        let may_come = names_one && !identity.candidates.is_empty();
        if !may_come || plane.clock.now() >= deadline {
            return Err(unknown(&identity, claims));
        }
        plane.clock.sleep(limits::START_LOOK).await;
    }
}

/// The same, also when nothing names a thread: for a doctor.
pub async fn look(plane: &Plane, claims: &Claims) -> Result<Identity> {
    let around = Around::gather(plane, claims).await?;
    let named = named_process(&around, plane, claims)?;
    let rollout = claims.rollout.as_deref().map(|path| named_rollout(plane, path)).transpose()?;
    let (in_session, session_seats) = around.of_session(claims.tmux_session.as_deref());
    let names = Names {
        caller: plane.caller.thread(),
        // Whoever may register another session may type into it, and so act with the other's rights.
        bound_to_itself: plane.caller.is_beyond_its_sandbox(),
        rollout: rollout.as_ref().map(|(id, _)| id.as_str()),
        process: named.thread(),
        session: in_session,
    };
    let meant = meant::thread(&names)?;
    let found = Found { plane, around: &around, claims, named: &named, seats: &session_seats };
    found.identity(meant, rollout.map(|(_, path)| path))
}

/// The rollout that was named, and its thread.
fn named_rollout(plane: &Plane, path: &str) -> Result<(String, PathBuf)> {
    let path = plane.environment.absolute(path)?;
    let meta = read_meta(&*plane.log, &path)?;
    let thread = meta.thread_id.unwrap_or_default();
    Ok((thread, path.canonicalize().unwrap_or(path)))
}

/// What a pid that was named leads to.
#[derive(Default)]
struct NamedProcess {
    id: Option<ProcessId>,
    belonging: Option<Belonging>,
    warning: Option<String>,
}

impl NamedProcess {
    /// The thread that it proves.
    fn thread(&self) -> Option<(&str, discover::Proof)> {
        match &self.belonging {
            Some(Belonging::Proved { thread_id, proof, .. }) => Some((thread_id, *proof)),
            Some(Belonging::Ambiguous { .. } | Belonging::Unproved { .. }) | None => None,
        }
    }

    fn codex(&self) -> Option<&Codex> {
        self.belonging.as_ref().and_then(codex_of)
    }
}

fn named_process(around: &Around, plane: &Plane, claims: &Claims) -> Result<NamedProcess> {
    let Some(pid) = claims.pid else { return Ok(NamedProcess::default()) };
    let Some(pid) = u32::try_from(pid).ok().filter(|pid| *pid > 0) else {
        return Err(Error::usage(format!("{pid} is no process id")).hint("a process id is a positive number"));
    };
    match process::named_pid(pid)? {
        NamedPid::Gone => Err(Error::refused(format!("no process has the id {pid}"))
            .hint("inside a Codex session leave out --pid: the session finds itself")),
        NamedPid::Claim { why } if plane.caller.thread().is_some() => Ok(NamedProcess {
            warning: Some(format!("--pid was passed over: {why}")),
            ..NamedProcess::default()
        }),
        NamedPid::Claim { why } => {
            Err(Error::refused(why).hint("name the session by --tmux-session or --codex-session"))
        }
        NamedPid::Here(id) => {
            let seat = around.seat_of(pid);
            let clues = Clues {
                root_pid: Some(pid),
                pane_title: seat.map(|seat| seat.info.title.as_str()),
                screen: seat.and_then(|seat| seat.screen.as_deref()),
                ..Clues::default()
            };
            let mut belonging = discover(&around.processes, &*plane.log, &clues)?;
            if let Some(screen) = clues.screen {
                belonging = seats::by_screen(plane, belonging, screen);
            }
            let warning =
                codex_of(&belonging).is_none().then(|| format!("no Codex runs under process {pid}"));
            Ok(NamedProcess { id: Some(id), belonging: Some(belonging), warning })
        }
    }
}

/// The program in what was discovered.
fn codex_of(belonging: &Belonging) -> Option<&Codex> {
    match belonging {
        Belonging::Proved { codex, .. }
        | Belonging::Ambiguous { codex, .. }
        | Belonging::Unproved { codex, .. } => codex.as_ref(),
    }
}

/// Everything from which an identity is put together.
struct Found<'a> {
    plane: &'a Plane,
    around: &'a Around,
    claims: &'a Claims,
    named: &'a NamedProcess,
    seats: &'a [&'a Seat],
}

impl Found<'_> {
    fn identity(&self, meant: Option<Meant>, path: Option<PathBuf>) -> Result<Identity> {
        let thread_id = meant.as_ref().map(|meant| meant.thread.as_str());
        let is_caller = thread_id.is_some() && thread_id == self.plane.caller.thread();
        let home = self.home(thread_id, path.as_deref(), is_caller)?;
        let rollout = self.rollout(thread_id, path, &home)?;
        let sitting = seats::Sitting {
            thread: thread_id,
            rollout: rollout.as_deref(),
            home: &home,
            is_caller,
            session: self.claims.tmux_session.as_deref(),
            seats: self.seats,
        };
        let (choice, candidates) = self.around.choose(self.plane, &sitting)?;
        let codex = self.codex(thread_id, choice.as_ref());
        let meta = rollout.as_deref().and_then(|path| read_meta(&*self.plane.log, path).ok());
        let cwd = meta.and_then(|meta| meta.cwd).map(PathBuf::from);
        let here = is_caller.then(|| self.plane.environment.cwd.clone());
        Ok(Identity {
            process_is_proved: codex.is_some(),
            process: codex.as_ref().map(|codex| codex.process).or(self.named.id),
            cwd: cwd.or_else(|| codex.as_ref().and_then(|codex| codex.cwd.clone())).or(here),
            owner: self.owner(codex.as_ref(), thread_id, &home),
            warnings: self.warnings(choice.as_ref(), codex.as_ref(), &candidates),
            pane: choice.map(|choice| ProvedPane { pin: choice.pin, proof: choice.proof }),
            thread: meant.map(|meant| Thread { id: meant.thread, proof: meant.proof, rollout }),
            codex_home: Some(home),
            candidates,
        })
    }

    /// CODEX_HOME: the program's own word, else where the rollout lies, else that of the Codex that called, else ours.
    fn home(&self, thread: Option<&str>, rollout: Option<&Path>, is_caller: bool) -> Result<PathBuf> {
        let proved = self.named.codex().filter(|_| self.named.thread().map(|(id, _)| id) == thread);
        let seat = self.around.seats.iter().find(|seat| thread.is_some() && seat.thread() == thread);
        let program = proved.or_else(|| seat.and_then(|seat| codex_of(&seat.belonging)));
        let above = self.around.above.as_ref().filter(|_| is_caller);
        let home = program
            .and_then(|codex| codex.home.clone())
            .or_else(|| rollout.and_then(home_of_rollout))
            .or_else(|| above.and_then(|above| above.home.clone()));
        home.map_or_else(|| self.plane.environment.codex_home(), Ok)
    }

    fn rollout(&self, thread: Option<&str>, path: Option<PathBuf>, home: &Path) -> Result<Option<PathBuf>> {
        match (path, thread) {
            (Some(path), _) => Ok(Some(path)),
            (None, Some(thread)) => discover::rollout_of(&*self.plane.log, home, thread),
            (None, None) => Ok(None),
        }
    }

    /// The program that has the thread: in the proved pane, under the pid that was named, or above the caller.
    fn codex(&self, thread: Option<&str>, choice: Option<&Choice>) -> Option<Codex> {
        if let Some(codex) = choice.and_then(|choice| choice.codex.clone()) {
            return Some(codex);
        }
        if thread.is_some() && self.named.thread().map(|(id, _)| id) == thread {
            return self.named.codex().cloned();
        }
        let above = self.around.above.as_ref().filter(|above| !above.is_daemon)?;
        let clues = Clues { root_pid: Some(above.process.pid), ..Clues::default() };
        match discover(&self.around.processes, &*self.plane.log, &clues).ok()? {
            Belonging::Proved { thread_id, codex, .. } if Some(thread_id.as_str()) == thread => codex,
            // The caller's own program, which holds its thread among others.
            Belonging::Ambiguous { candidates, codex }
                if thread.is_some_and(|thread| candidates.iter().any(|held| held == thread)) =>
            {
                codex
            }
            Belonging::Proved { .. } | Belonging::Ambiguous { .. } | Belonging::Unproved { .. } => None,
        }
    }

    fn owner(&self, codex: Option<&Codex>, thread: Option<&str>, home: &Path) -> OwnerKind {
        if let Some(codex) = codex {
            return if codex.daemon { OwnerKind::Daemon } else { OwnerKind::Embedded };
        }
        let daemon = discover::daemon(&self.around.processes, home);
        let has_it =
            thread.is_some_and(|thread| daemon.is_some_and(|daemon| daemon.threads.contains(thread)));
        if has_it { OwnerKind::Daemon } else { OwnerKind::Unknown }
    }

    fn warnings(&self, choice: Option<&Choice>, codex: Option<&Codex>, others: &[Candidate]) -> Vec<String> {
        let mut warnings = self.around.warnings.clone();
        warnings.extend(self.named.warning.clone());
        if let (Some(named), Some(codex)) = (self.named.codex(), codex)
            && named.process != codex.process
        {
            warnings
                .push(format!("--pid leads to another Codex than the session's own, {}", codex.process.pid));
        }
        if choice.is_none() && self.claims.tmux_session.is_some() {
            let why = others.first().map_or("no Codex runs in it", |candidate| candidate.why.as_str());
            warnings.push(format!("--tmux-session is not proved: {why}; messages wait in the inbox"));
        }
        warnings
    }
}

/// The CODEX_HOME above `sessions/YYYY/MM/DD/rollout-….jsonl`.
fn home_of_rollout(rollout: &Path) -> Option<PathBuf> {
    let mut folders = rollout.ancestors().skip(1);
    let sessions = folders.find(|folder| {
        let name = folder.file_name().and_then(|name| name.to_str());
        matches!(name, Some("sessions" | "archived_sessions"))
    });
    sessions.and_then(Path::parent).map(Path::to_owned)
}

/// Why there is no thread.
fn unknown(identity: &Identity, claims: &Claims) -> Error {
    let nothing_named = claims.pid.is_none() && claims.tmux_session.is_none() && claims.rollout.is_none();
    if nothing_named {
        return Error::usage("nothing says which session is meant")
            .hint("run it inside the Codex session, or name it: --tmux-session NAME, --pid PID or --codex-session PATH");
    }
    let why = identity.candidates.first().map_or_else(
        || identity.warnings.first().cloned().unwrap_or_else(|| "nothing names a thread".to_owned()),
        |candidate| candidate.why.clone(),
    );
    let panes: Vec<String> = identity.candidates.iter().map(|one| one.pane.to_string()).collect();
    let shown = if panes.is_empty() { String::new() } else { format!(" (panes: {})", panes.join(", ")) };
    Error::ambiguous(format!("the session's thread is not proved: {why}{shown}"))
        .hint("let the session register itself, or name its rollout: --codex-session PATH")
}
