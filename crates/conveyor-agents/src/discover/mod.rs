//! Which thread does a terminal, or a process, belong to? Answered with a proof or not at all.
//!
//! What proves it, measured on Codex 0.99 to 0.169: a writer's lock or a rollout that the TUI's own process holds open
//! (it runs embedded); the thread id in the pane's title or footer, if Codex is configured to show it; the
//! `CODEX_THREAD_ID` of a call that the session itself made. A TUI of 0.169's shared daemon holds neither lock nor
//! rollout, and the daemon holds those of all threads: nothing that the daemon has open says which pane it belongs to.
//! The command line names the thread with which a TUI began; `/clear`, `/new` and fork change it: a candidate, no proof.
//! The newest file is neither.

mod screen;

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;

pub use self::screen::title_thread;
use crate::log::AgentLog;
use crate::log::thread_id;
use crate::log::thread_of_rollout;
use crate::process::Belongings;
use crate::process::Process;
use crate::process::ProcessId;
use crate::process::ProcessTable;
use crate::process::Snapshot;

/// What is known of a session before its thread is proved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clues<'a> {
    /// A process whose descendants are searched for Codex: the pane's, or Codex's own. The caller has made sure that it
    /// is no mere claim ([`crate::process::named_pid`]) and that it belongs to the pane that is meant.
    pub root_pid: Option<u32>,
    /// The pane's title, as tmux's `#{pane_title}` gives it.
    pub pane_title: Option<&'a str>,
    /// The last lines of the pane's screen.
    pub screen: Option<&'a str>,
    /// The thread id that came with a call of the session's own: an MCP call's, or `CODEX_THREAD_ID` of a shell whose
    /// caller is authenticated by other means.
    pub caller: Option<&'a str>,
    /// CODEX_HOME, where the process does not tell.
    pub codex_home: Option<&'a Path>,
}

/// How it was proved which thread it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The process holds the thread's writer lock.
    WriterLock,
    /// The process holds the thread's rollout open.
    OpenRollout,
    /// The pane's title shows the id.
    PaneTitle,
    /// The TUI's footer shows the id.
    Footer,
    /// A call that the session made names it.
    Caller,
    /// The process holds it among others, and the screen shows its last message.
    LastMessage,
}

impl Proof {
    /// The word under which the ledger keeps it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WriterLock => "lock",
            Self::OpenRollout => "open_file",
            Self::PaneTitle => "title",
            Self::Footer => "footer",
            Self::Caller => "caller",
            Self::LastMessage => "last_message",
        }
    }

    /// Whether the process itself holds what proves it, so that neither a text nor a title can pretend it.
    pub const fn is_held(self) -> bool {
        match self {
            Self::WriterLock | Self::OpenRollout => true,
            Self::PaneTitle | Self::Footer | Self::Caller | Self::LastMessage => false,
        }
    }
}

/// The Codex that runs in a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codex {
    /// The native program, not the `node` around it.
    pub process: ProcessId,
    /// Its CODEX_HOME.
    pub home: Option<PathBuf>,
    /// The folder in which it works.
    pub cwd: Option<PathBuf>,
    /// Whether it leaves its threads to a shared daemon: it holds neither lock nor rollout, and the daemon's socket is
    /// there. Then environment and ancestry of its tool calls are another session's.
    pub daemon: bool,
}

/// Which thread it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// It is this one.
    Proved {
        /// The thread.
        thread_id: String,
        /// How that is known.
        proof: Proof,
        /// Its rollout; `None` before the first message.
        rollout: Option<PathBuf>,
        /// The program, if a process was given.
        codex: Option<Codex>,
    },
    /// Several are proved, as for a moment after `/new`, or proofs contradict each other. It may be looked at again.
    Ambiguous {
        /// The threads.
        candidates: Vec<String>,
        /// The program, if a process was given.
        codex: Option<Codex>,
    },
    /// None is proved.
    Unproved {
        /// Threads that it may be.
        candidates: Vec<String>,
        /// Why none is proved.
        why: String,
        /// The program, if one was found.
        codex: Option<Codex>,
    },
}

/// Which thread the clues prove.
///
/// Fails only if processes or files cannot be looked at; that nothing is proved is an answer.
pub fn discover(table: &dyn ProcessTable, log: &dyn AgentLog, clues: &Clues<'_>) -> Result<Belonging> {
    let found = clues.root_pid.map(|pid| find_codex(table, pid)).transpose()?.flatten();
    let home =
        found.as_ref().and_then(|found| found.codex.home.clone()).or(clues.codex_home.map(Path::to_owned));
    let evidence = Evidence::collect(log, clues, found.as_ref(), home.as_deref())?;
    let began_with = found.as_ref().and_then(|found| resumed_thread(&found.cmdline)).map(ToOwned::to_owned);
    let no_codex = clues.root_pid.is_some() && found.is_none();
    let codex = found.map(|found| found.codex);
    Ok(match evidence.verdict() {
        Verdict::One(thread_id, proof) => {
            let rollout = home.map(|home| rollout_of(log, &home, &thread_id)).transpose()?.flatten();
            Belonging::Proved { thread_id, proof, rollout, codex }
        }
        Verdict::Several(candidates) => Belonging::Ambiguous { candidates, codex },
        Verdict::None(mut candidates) => {
            candidates.extend(began_with);
            candidates.dedup();
            Belonging::Unproved { why: why_not(no_codex, codex.as_ref(), &candidates), candidates, codex }
        }
    })
}

/// The rollout of a thread: the one file whose name holds its id. `None` if there is none yet.
pub fn rollout_of(log: &dyn AgentLog, codex_home: &Path, thread_id: &str) -> Result<Option<PathBuf>> {
    let found = log.rollouts_of(codex_home, thread_id).map_err(|error| unreadable(codex_home, &error))?;
    match <[PathBuf; 1]>::try_from(found) {
        Ok([path]) => Ok(Some(path)),
        Err(found) if found.is_empty() => Ok(None),
        Err(found) => Err(Error::ambiguous(format!(
            "thread {thread_id} has {} rollouts: {}",
            found.len(),
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        ))
        .hint("move all but one of them out of CODEX_HOME")),
    }
}

fn unreadable(codex_home: &Path, error: &std::io::Error) -> Error {
    Error::environment(format!("{} cannot be searched for rollouts: {error}", codex_home.display()))
}

fn why_not(no_codex: bool, codex: Option<&Codex>, candidates: &[String]) -> String {
    if no_codex {
        return "no Codex runs under this process".to_owned();
    }
    let daemon = codex.is_some_and(|codex| codex.daemon);
    match (daemon, candidates.is_empty()) {
        (true, _) => {
            "this Codex leaves its threads to the shared daemon, and neither title nor footer shows the \
                      thread's id"
                .to_owned()
        }
        (false, true) => "nothing names a thread".to_owned(),
        (false, false) => {
            "the thread with which it began may have been left by /new, /clear or a fork".to_owned()
        }
    }
}

/// A Codex that was found, and what it holds.
struct Found {
    codex: Codex,
    cmdline: Vec<String>,
    belongings: Belongings,
}

/// The native Codex under a process: below `node` and other wrappers, and above whatever it runs itself, which may be
/// Codex again (its sandbox is the same program, and a tool call may start another session).
///
/// A shared daemon is a child of the first TUI; it is not meant, nor is anything below it.
fn find_codex(table: &dyn ProcessTable, root: u32) -> Result<Option<Found>> {
    let subtree = table.subtree(root)?;
    let beneath = [below(&subtree, is_server), strictly_below(&subtree, is_native)];
    let meant =
        |process: &Process| is_native(process) && !beneath.iter().any(|pids| pids.contains(&process.id.pid));
    let mut native = subtree.into_iter().filter(meant);
    let Some(process) = native.next() else { return Ok(None) };
    if let Some(other) = native.next() {
        return Err(Error::ambiguous(format!(
            "two Codexes run under process {root}: {} and {}",
            process.id.pid, other.id.pid
        ))
        .hint(format!("name the one that is meant: --pid {}", process.id.pid)));
    }
    let belongings = table.belongings(process.id)?;
    let home = home_of(&belongings);
    let daemon = held(&belongings, lock_thread).is_empty()
        && held(&belongings, thread_of_rollout).is_empty()
        && home.as_deref().is_some_and(has_daemon);
    let codex = Codex { process: process.id, home, cwd: belongings.cwd.clone(), daemon };
    Ok(Some(Found { codex, cmdline: process.cmdline, belongings }))
}

/// Pids of all processes below one that `matches`.
fn strictly_below(subtree: &[Process], matches: fn(&Process) -> bool) -> BTreeSet<u32> {
    let all = below(subtree, matches);
    let has_parent = |process: &&Process| all.contains(&process.parent);
    subtree.iter().filter(has_parent).map(|process| process.id.pid).collect()
}

/// Pids of all processes that `matches`, and of those below them; `subtree` lists parents first.
fn below(subtree: &[Process], matches: fn(&Process) -> bool) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for process in subtree {
        if matches(process) || found.contains(&process.parent) {
            found.insert(process.id.pid);
        }
    }
    found
}

fn is_native(process: &Process) -> bool {
    let name = process.exe.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    // An updated program runs on from a deleted file, which the kernel marks so.
    matches!(name, Some("codex" | "codex (deleted)"))
}

fn is_server(process: &Process) -> bool {
    process.cmdline.iter().skip(1).any(|word| word == "app-server")
}

/// Whether this CODEX_HOME has a shared daemon's socket.
pub fn has_daemon(codex_home: &Path) -> bool {
    codex_home.join("app-server-control/app-server-control.sock").symlink_metadata().is_ok()
}

/// The shared daemon of a CODEX_HOME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its process.
    pub process: ProcessId,
    /// The threads that it has loaded, also those whose TUI has ended.
    pub threads: BTreeSet<String>,
}

/// The shared daemon that serves this CODEX_HOME; `None` if none runs, or if nothing may be known of it.
pub fn daemon(all: &Snapshot, codex_home: &Path) -> Option<Daemon> {
    let servers = all.processes().iter().filter(|process| is_native(process) && is_server(process));
    let mut found = servers.filter_map(|process| {
        let belongings = all.belongings(process.id).ok()?;
        let threads = held_threads(&belongings);
        (home_of(&belongings)? == codex_home).then_some(Daemon { process: process.id, threads })
    });
    found.find(|daemon| !daemon.threads.is_empty())
}

/// What runs for a terminal alone: `subtree`, which lists parents first, without the shared daemon. That is a child of the
/// first TUI until that ends, and serves all the others (measured).
pub fn without_daemon(subtree: Vec<Process>) -> Vec<Process> {
    let daemons = below(&subtree, |process| is_native(process) && is_server(process));
    subtree.into_iter().filter(|process| !daemons.contains(&process.id.pid)).collect()
}

/// The commands that the shared daemon runs for these threads: each has its thread's id in its environment (measured).
pub fn commands_of(
    table: &dyn ProcessTable,
    daemon: ProcessId,
    threads: &BTreeSet<String>,
) -> Result<Vec<Process>> {
    let mut below = table.subtree(daemon.pid)?;
    below.retain(|process| {
        // One that ended while it was looked at runs no more.
        let thread = table.belongings(process.id).ok().and_then(|belongings| belongings.thread);
        process.id != daemon && thread.is_some_and(|thread| threads.contains(&thread))
    });
    Ok(below)
}

/// The Codex, TUI or daemon, that is nearest above a process: the one that started it as a tool or as an MCP server.
pub fn codex_above(all: &Snapshot, pid: u32) -> Option<Above> {
    let line = all.ancestors(pid);
    let process = line.into_iter().skip(1).find(|process| is_native(process) && !is_sandbox(process))?;
    let belongings = all.belongings(process.id).ok()?;
    Some(Above {
        process: process.id,
        is_daemon: is_server(process),
        home: home_of(&belongings),
        tmux: belongings.tmux,
    })
}

/// A Codex above a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Above {
    /// Its process.
    pub process: ProcessId,
    /// Whether it is the shared daemon: then what stands above it is the TUI that happened to start it.
    pub is_daemon: bool,
    /// Its CODEX_HOME.
    pub home: Option<PathBuf>,
    /// `TMUX` of its environment.
    pub tmux: Option<std::ffi::OsString>,
}

/// The sandbox around a tool call is the same program under another name.
fn is_sandbox(process: &Process) -> bool {
    process.cmdline.first().is_some_and(|word| word.ends_with("codex-linux-sandbox"))
}

fn home_of(belongings: &Belongings) -> Option<PathBuf> {
    belongings.codex_home.clone().or_else(|| belongings.home.as_ref().map(|home| home.join(".codex")))
}

/// The thread of `codex resume ID`.
fn resumed_thread(cmdline: &[String]) -> Option<&str> {
    let after = cmdline.iter().skip_while(|word| *word != "resume").nth(1)?;
    thread_id(after)
}

/// The thread of `thread-writer-locks/<id>.lock`.
pub(crate) fn lock_thread(path: &Path) -> Option<&str> {
    let folder = path.parent()?.file_name()?;
    let stem = path.file_name()?.to_str()?.strip_suffix(".lock")?;
    (folder == "thread-writer-locks").then(|| thread_id(stem)).flatten()
}

/// The threads that a process holds: their writers' locks and their rollouts.
pub fn held_threads(belongings: &Belongings) -> BTreeSet<String> {
    let mut all = held(belongings, lock_thread);
    all.extend(held(belongings, thread_of_rollout));
    all
}

/// The thread, or the beginning of its id, that title or footer of a Codex show.
pub fn shown_thread<'a>(title: &'a str, screen: &'a str) -> Option<&'a str> {
    screen::footer_thread(screen).or_else(|| screen::title_thread(title))
}

fn held(belongings: &Belongings, thread: fn(&Path) -> Option<&str>) -> BTreeSet<String> {
    belongings.open_files.iter().filter_map(|path| thread(path)).map(ToOwned::to_owned).collect()
}

/// All that names a thread, best first.
#[derive(Default)]
struct Evidence {
    named: Vec<(Proof, BTreeSet<String>)>,
}

enum Verdict {
    One(String, Proof),
    Several(Vec<String>),
    None(Vec<String>),
}

impl Evidence {
    fn collect(
        log: &dyn AgentLog,
        clues: &Clues<'_>,
        found: Option<&Found>,
        home: Option<&Path>,
    ) -> Result<Self> {
        let mut evidence = Self::default();
        evidence.add(Proof::Footer, clues.screen.and_then(screen::footer_thread).map(ToOwned::to_owned));
        let title = clues.pane_title.and_then(screen::title_thread);
        evidence.add(Proof::PaneTitle, title.map(|id| whole(log, home, id)).transpose()?.unwrap_or_default());
        evidence.add(Proof::Caller, clues.caller.and_then(thread_id).map(ToOwned::to_owned));
        if let Some(found) = found {
            let locks = held(&found.belongings, lock_thread);
            let rollouts = held(&found.belongings, thread_of_rollout);
            // After `/clear` a TUI goes on holding the old thread's lock and rollout, and the new one has only a lock
            // until its first message (measured on 0.169): then the rollouts must not speak for the old one.
            let speak = locks.is_subset(&rollouts);
            evidence.add(Proof::WriterLock, locks);
            if speak {
                evidence.add(Proof::OpenRollout, rollouts);
            }
        }
        Ok(evidence)
    }

    fn add(&mut self, proof: Proof, threads: impl IntoIterator<Item = String>) {
        let threads: BTreeSet<_> = threads.into_iter().collect();
        if !threads.is_empty() {
            self.named.push((proof, threads));
        }
    }

    /// The one thread that all evidence allows. A kind of evidence that names several (a TUI holds more than one
    /// rollout for a moment after `/new`, and those of its sub-agents) is narrowed by the others.
    fn verdict(self) -> Verdict {
        let Some((first, rest)) = self.named.split_first() else { return Verdict::None(Vec::new()) };
        let mut common = first.1.clone();
        for (_, threads) in rest {
            common.retain(|thread| threads.contains(thread));
        }
        let mut left = common.into_iter();
        if let (Some(thread), None) = (left.next(), left.next()) {
            let alone = self.named.iter().find(|(_, threads)| threads.len() == 1);
            return Verdict::One(thread, alone.map_or(first.0, |(proof, _)| *proof));
        }
        let all: BTreeSet<_> = self.named.into_iter().flat_map(|(_, threads)| threads).collect();
        Verdict::Several(all.into_iter().collect())
    }
}

/// A title shows the first 29 characters of an id: all known threads that begin so.
fn whole(log: &dyn AgentLog, home: Option<&Path>, shown: &str) -> Result<Vec<String>> {
    if let Some(id) = thread_id(shown) {
        return Ok(vec![id.to_owned()]);
    }
    let Some(home) = home else { return Ok(Vec::new()) };
    log.threads_like(home, shown).map_err(|error| unreadable(home, &error))
}

#[cfg(test)]
mod tests;
