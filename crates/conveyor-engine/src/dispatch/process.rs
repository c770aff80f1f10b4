//! A dispatcher in the background: started and proved alive, asked for, stopped.

use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::limits;
use conveyor_model::wire;
use conveyor_store::AuditRow;
use conveyor_store::Location;
use conveyor_store::deliveries;
use conveyor_store::dispatchers;
use conveyor_store::dispatchers::Dispatcher;
use schemars::JsonSchema;
use serde::Serialize;

use super::Standing;
use super::known;
use super::lock_name;
use crate::Plane;

/// Between two looks at whether a process has come up or has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A dispatcher, as far as it is known.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Process {
    /// Its name.
    pub dispatcher_id: String,
    /// It lives: it holds its lock.
    pub running: bool,
    /// How it stands; null when none of this name ever ran.
    pub state: Option<Standing>,
    /// This call started it.
    pub started: bool,
    /// This call stopped it.
    pub stopped: bool,
    /// Its process.
    pub pid: Option<i64>,
    /// Where it runs.
    pub host: Option<String>,
    /// When it began.
    pub since: Option<Timestamp>,
    /// When it was last heard of.
    pub heartbeat_at: Option<Timestamp>,
    /// When it ended by itself.
    pub stopped_at: Option<Timestamp>,
    /// Where it writes what it does.
    pub log_path: Option<String>,
    /// Its attempts since it began, by what came of them.
    pub counters: std::collections::BTreeMap<String, i64>,
    /// What to run next.
    pub next: Option<String>,
}

impl Process {
    /// In a few lines.
    pub fn text(&self) -> String {
        let id = &self.dispatcher_id;
        let mut text = match (self.running, self.started, self.stopped) {
            (_, _, true) => format!("dispatcher {id} is stopped"),
            (true, true, _) => format!("dispatcher {id} is started"),
            (true, false, _) => format!("dispatcher {id} is running"),
            (false, _, _) if self.state == Some(Standing::Unknown) => {
                let host = self.host.as_deref().unwrap_or("another host");
                format!("dispatcher {id} was started on {host}; whether it runs is not seen from here")
            }
            (false, _, _) => format!("dispatcher {id} is not running"),
        };
        if let Some(pid) = self.pid.filter(|_| self.running) {
            let _ = write!(text, ", process {pid}");
        }
        for (label, detail) in [("log", &self.log_path), ("next", &self.next)] {
            if let Some(detail) = detail {
                let _ = write!(text, "\n{label}: {detail}");
            }
        }
        text
    }
}

/// What is known of a dispatcher.
pub async fn status(plane: &Plane, id: &Name) -> Result<Process> {
    let id = id.as_str();
    let start = plane.command(&["dispatch", "--watch", "--detach", "--dispatcher-id", id]);
    let mut process = Process {
        dispatcher_id: id.to_owned(),
        running: false,
        state: None,
        started: false,
        stopped: false,
        pid: None,
        host: None,
        since: None,
        heartbeat_at: None,
        stopped_at: None,
        log_path: None,
        counters: std::collections::BTreeMap::new(),
        next: None,
    };
    if let Some(ledger) = plane.ledger_to_read().await? {
        // Before its row is written it holds its lock already.
        process.running = ledger.is_locked(&lock_name(id)).await?;
        let mut reader = ledger.read().await?;
        if let Some(row) = dispatchers::get(&mut reader, id).await? {
            let counted = deliveries::attempts_by(&mut reader, id, row.started_at).await?;
            process.counters = counted.into_iter().map(|(state, count)| (state.to_string(), count)).collect();
            drop(reader);
            let standing = known::standing(plane, ledger, &row).await?;
            (process.running, process.state) = (standing.lives(), Some(standing));
            process.fill(row);
        }
    }
    let is_over = !process.running && process.state != Some(Standing::Unknown);
    process.next = is_over.then_some(start);
    Ok(process)
}

impl Process {
    fn fill(&mut self, row: Dispatcher) {
        self.pid = Some(row.pid);
        self.host = Some(row.host);
        self.since = Some(row.started_at);
        self.heartbeat_at = Some(row.heartbeat_at);
        self.stopped_at = row.stopped_at;
        self.log_path = row.log_path;
    }
}

/// Starts a dispatcher of that name in a session of its own, unless it runs, and waits until it has proved that it lives.
///
/// `options` are words for its command line. Errors: environment, with the end of its log, when it does not come up.
pub async fn detach(plane: &Plane, id: &Name, options: &[String]) -> Result<Process> {
    let before = running(plane, id).await?;
    if before.running {
        return Ok(before);
    }
    let log = log_path(plane, id)?;
    let mut child = spawn(plane, id, options, &log)?;
    let deadline = plane.clock.now().plus(limits::DISPATCH_PROOF);
    loop {
        let now = running(plane, id).await?;
        if now.running && now.pid == Some(i64::from(child.id())) {
            return Ok(Process { started: true, ..now });
        }
        let ended = child.try_wait().is_ok_and(|status| status.is_some());
        if ended && now.running {
            // Another caller's was faster.
            return Ok(now);
        }
        if ended || plane.clock.now() >= deadline {
            return Err(did_not_start(&log));
        }
        plane.clock.sleep(LOOK).await;
    }
}

/// The same as [`status`], on the ledger that is there after it was made.
async fn running(plane: &Plane, id: &Name) -> Result<Process> {
    plane.ledger().await?;
    status(plane, id).await
}

fn did_not_start(log: &Path) -> Error {
    let written = fs::read_to_string(log).unwrap_or_default();
    let said = written.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it wrote nothing");
    Error::environment(format!("the dispatcher did not start: {}", said.trim()))
        .hint(format!("read its log: {}", log.display()))
}

/// The detached process leaves the caller's session by itself, as its first act.
fn spawn(plane: &Plane, id: &Name, options: &[String], log: &Path) -> Result<Child> {
    let told =
        |error: &std::io::Error| Error::environment(format!("the dispatcher cannot be started: {error}"));
    let out = open_log(log).map_err(|error| told(&error))?;
    let mut command = Command::new(&plane.environment.executable);
    command
        .args(["dispatch", "--watch", "--dispatcher-id", id.as_str(), "--json", "--detached-log"])
        .arg(log)
        .args(options)
        // Whoever starts it is not who it works for.
        .env_remove("CODEX_THREAD_ID")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(|error| told(&error))?)
        .stderr(out);
    match plane.location() {
        Location::Sqlite(path) => command.arg("--db").arg(path),
        // A command line can be read by every user, and the URL may hold a password.
        Location::Postgres(url) => command.env("CONVEYOR_DATABASE_URL", url),
    };
    command.spawn().map_err(|error| told(&error))
}

/// Leaves the session of whoever started it, so that the end of a terminal does not end it.
///
/// It fails for the leader of a process group, which needs no leaving.
pub fn leave_session() {
    let _ = rustix::process::setsid();
}

/// One log for each ledger and name, in a folder of ours alone.
fn log_path(plane: &Plane, id: &Name) -> Result<PathBuf> {
    let digest = wire::digest(&plane.location().to_string());
    Ok(plane.state_dir()?.join("logs").join(format!("dispatch-{id}-{}.log", &digest[..8])))
}

fn open_log(log: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(folder) = log.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if is_long(log) {
        set_aside(log)?;
    }
    append_to(log)
}

fn append_to(log: &Path) -> std::io::Result<File> {
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(log)
}

fn is_long(log: &Path) -> bool {
    fs::metadata(log).is_ok_and(|meta| meta.len() > limits::DISPATCH_LOG_BYTES)
}

/// The one before is kept as `.1`, in place of the one before that.
fn set_aside(log: &Path) -> std::io::Result<()> {
    fs::rename(log, log.with_extension("log.1"))
}

/// Keeps the log of this process short: what is too long is set aside, and standard output and error go on in a new file.
///
/// Each line is in one of the two files, whoever writes at that moment: what was opened before goes on in the old one.
pub(super) fn turn_over(log: &Path) {
    if is_long(log)
        && let Err(error) = begin_anew(log)
    {
        tracing::warn!(%error, "the log cannot be cut");
    }
}

fn begin_anew(log: &Path) -> std::io::Result<()> {
    set_aside(log)?;
    let fresh = append_to(log)?;
    rustix::stdio::dup2_stdout(&fresh)?;
    rustix::stdio::dup2_stderr(&fresh)?;
    Ok(())
}

/// Asks a dispatcher to end, and waits until it has.
///
/// Errors: timeout, when it does not end in time.
pub async fn stop(plane: &Plane, id: &Name) -> Result<Process> {
    let before = status(plane, id).await?;
    if !before.running {
        return Ok(before);
    }
    let actor = plane.actor().await?;
    let ledger = plane.ledger().await?;
    let mut tx = ledger.write(&actor).await?;
    let audit = AuditRow::new("dispatcher_stop_requested", format!("Dispatcher {id} is asked to stop."));
    dispatchers::request_stop(&mut tx, id.as_str(), audit).await?;
    tx.commit().await?;
    // It finishes the step that it is in.
    let deadline = plane.clock.now().plus(limits::DISPATCH_PROOF + limits::TARGET_TIME);
    while ledger.is_locked(&lock_name(id.as_str())).await? {
        if plane.clock.now() >= deadline {
            return Err(Error::timeout(format!("the dispatcher {id} has not ended yet"))
                .hint(plane.command(&["dispatch", "--status", "--dispatcher-id", id.as_str()])));
        }
        plane.clock.sleep(LOOK).await;
    }
    Ok(Process { stopped: true, ..status(plane, id).await? })
}

/// Whether the ledger's file is gone: then there is nothing to watch any more.
pub(super) fn is_lost(plane: &Plane) -> bool {
    plane.location().path().is_some_and(|path| !path.exists())
}
