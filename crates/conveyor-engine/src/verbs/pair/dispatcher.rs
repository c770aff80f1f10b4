//! The dispatcher of a pair: the same program, on the same ledger, in the background.

use schemars::JsonSchema;
use serde::Serialize;

use super::PairRequest;
use crate::Plane;
use crate::dispatch;

/// It ends with the last binding.
const UNTIL: &str = "--until-unbound";

/// What became of the dispatcher.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct Dispatching {
    /// The command line; null when none was wanted.
    pub command: Option<Vec<String>>,
    /// Whether one was wanted.
    pub ensure: bool,
    /// Its process.
    pub pid: Option<i64>,
    /// This call started it, and it was proved to run.
    pub started: bool,
    /// One of this name runs, whoever started it.
    pub running: bool,
    /// Why none runs.
    pub reason: Option<String>,
    /// Where it writes what it does.
    pub log_path: Option<String>,
}

/// The command line of the dispatcher; nothing when none is wanted.
pub(super) fn command(plane: &Plane, request: &PairRequest) -> Option<Vec<String>> {
    let executable = plane.environment.executable.to_string_lossy().into_owned();
    let id = request.dispatcher_id.to_string();
    let ledger = plane.location().to_string();
    let words = ["dispatch", "--detach", UNTIL, "--dispatcher-id", &id, "--db", &ledger];
    let line = std::iter::once(executable).chain(words.iter().map(|&word| word.to_owned()));
    (!request.no_dispatch).then(|| line.collect())
}

/// Starts it, or finds that it runs. That it does not start is told, and is no failure of the pair.
pub(super) async fn ensure(plane: &Plane, request: &PairRequest) -> Dispatching {
    let mut told = Dispatching {
        command: command(plane, request),
        ensure: !request.no_dispatch,
        pid: None,
        started: false,
        running: false,
        reason: None,
        log_path: None,
    };
    if request.no_dispatch {
        return told;
    }
    match dispatch::detach(plane, &request.dispatcher_id, &[UNTIL.to_owned()]).await {
        Ok(process) => {
            told.pid = process.pid;
            told.started = process.started;
            told.running = process.running;
            told.log_path = process.log_path;
        }
        Err(error) => told.reason = Some(error.message),
    }
    told
}
