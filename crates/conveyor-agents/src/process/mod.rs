//! Processes, as far as they prove who an agent is.
//!
//! A bare pid proves nothing: the system uses it again, and inside Codex's sandbox it is a number of another PID
//! namespace (measured: a sandboxed shell's `$PPID` is 2, which outside is a thread of the kernel). A [`ProcessId`]
//! names one process for ever.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
use other as platform;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use serde::Deserialize;
use serde::Serialize;

/// One process, told apart from any later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid in conveyor's own PID namespace.
    pub pid: u32,
    /// When it started, in the kernel's clock ticks since boot.
    pub start_ticks: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (started at tick {})", self.pid, self.start_ticks)
    }
}

impl ProcessId {
    /// The process that has this pid now; `None` if none has.
    pub fn of(pid: u32) -> Result<Option<Self>> {
        let start_ticks = platform::start_ticks(pid).map_err(|error| failed(pid, &error))?;
        Ok(start_ticks.map(|start_ticks| Self { pid, start_ticks }))
    }

    /// Whether this very process still runs. A zombie doesn't.
    pub fn is_alive(self) -> bool {
        matches!(Self::of(self.pid), Ok(Some(now)) if now == self)
    }
}

/// A pid that somebody named, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedPid {
    /// A process of this PID namespace.
    Here(ProcessId),
    /// No process has this pid.
    Gone,
    /// The pid says nothing, because it does not come from where conveyor runs, or is no program's.
    Claim {
        /// Why, for the report.
        why: String,
    },
}

/// What `pid` is worth, whoever named it.
pub fn named_pid(pid: u32) -> Result<NamedPid> {
    if let Some(why) = platform::inside_sandbox() {
        return Ok(NamedPid::Claim { why });
    }
    let Some(id) = ProcessId::of(pid)? else { return Ok(NamedPid::Gone) };
    Ok(match platform::foreign(pid) {
        Some(why) => NamedPid::Claim { why },
        None => NamedPid::Here(id),
    })
}

/// Why this process runs inside Codex's sandbox, if that can be seen without asking its environment.
pub fn inside_sandbox() -> Option<String> {
    platform::inside_sandbox()
}

/// What is known of a running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Which one it is.
    pub id: ProcessId,
    /// Its parent's pid.
    pub parent: u32,
    /// The program's file; `None` if it may not be known.
    pub exe: Option<PathBuf>,
    /// The command line, word by word.
    pub cmdline: Vec<String>,
}

/// What a process has to say about the files it uses and the environment it was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belongings {
    /// Files that it holds open.
    pub open_files: Vec<PathBuf>,
    /// `CODEX_HOME` of its environment.
    pub codex_home: Option<PathBuf>,
    /// `HOME` of its environment.
    pub home: Option<PathBuf>,
    /// The folder in which it works.
    pub cwd: Option<PathBuf>,
    /// `TMUX` of its environment: the server in which it was started.
    pub tmux: Option<OsString>,
    /// [`STARTED_AS`] of its environment.
    pub started_as: Option<String>,
    /// `CODEX_THREAD_ID` of its environment: the thread whose command it is, or is below.
    pub thread: Option<String>,
}

/// The variable in which a program that conveyor starts carries its session's id. It proves where a program came from to
/// whoever started it, and says nothing about the programs below it.
pub const STARTED_AS: &str = "CONVEYOR_STARTED_AS";

/// Where processes are looked up: the real system, or a table that a test made.
pub trait ProcessTable {
    /// The process with this pid and all that descend from it, parents first.
    fn subtree(&self, pid: u32) -> Result<Vec<Process>>;

    /// Files and environment of a process; what may not be known is left out.
    fn belongings(&self, id: ProcessId) -> Result<Belongings>;
}

/// The processes of this system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl ProcessTable for System {
    fn subtree(&self, pid: u32) -> Result<Vec<Process>> {
        platform::subtree(pid).map_err(|error| failed(pid, &error))
    }

    fn belongings(&self, id: ProcessId) -> Result<Belongings> {
        let belongings = platform::belongings(id.pid);
        if id.is_alive() {
            return Ok(belongings);
        }
        Err(Error::environment(format!("process {id} ended while it was looked at")).hint("try again"))
    }
}

/// All processes of one moment, looked up once: for whoever asks about many panes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    processes: Vec<Process>,
}

impl Snapshot {
    /// Looks at all processes.
    pub fn take() -> Result<Self> {
        let processes = platform::all().map_err(|error| failed(0, &error))?;
        Ok(Self { processes })
    }

    /// Every process, in no order.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The process with this pid and those above it, nearest first.
    pub fn ancestors(&self, pid: u32) -> Vec<&Process> {
        let mut line: Vec<&Process> = Vec::new();
        let mut next = pid;
        while let Some(process) = self.processes.iter().find(|process| process.id.pid == next) {
            if line.iter().any(|seen| seen.id == process.id) {
                break;
            }
            next = process.parent;
            line.push(process);
        }
        line
    }
}

impl ProcessTable for Snapshot {
    fn subtree(&self, pid: u32) -> Result<Vec<Process>> {
        let mut found: Vec<Process> =
            self.processes.iter().filter(|one| one.id.pid == pid).cloned().collect();
        let mut known = BTreeSet::from([pid]);
        let mut next = 0;
        while let Some(parent) = found.get(next).map(|process| process.id.pid) {
            let children = self.processes.iter().filter(|one| one.parent == parent);
            let fresh: Vec<Process> = children.filter(|one| known.insert(one.id.pid)).cloned().collect();
            found.extend(fresh);
            next += 1;
        }
        Ok(found)
    }

    fn belongings(&self, id: ProcessId) -> Result<Belongings> {
        System.belongings(id)
    }
}

fn failed(pid: u32, error: &std::io::Error) -> Error {
    let failed = Error::environment(format!("process {pid} cannot be looked up: {error}"));
    if error.kind() == std::io::ErrorKind::Unsupported {
        return failed.hint("register the session with its thread id instead of a pid");
    }
    failed
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
