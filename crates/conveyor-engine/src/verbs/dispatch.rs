//! `dispatch`: reads what agents recorded and carries out what is queued, once or for as long as it runs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::delivery::Kind;
use conveyor_model::limits;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Caller;
use crate::Plane;
use crate::dispatch;
use crate::dispatch::Dispatch as Dispatcher;
use crate::dispatch::Ends;
use crate::dispatch::Item;
use crate::dispatch::Process;
use crate::dispatch::Settings;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Form;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Carry out what is queued, and tell managers of ended turns
///
/// One pass reads what all sessions of this host newly recorded, puts messages for sessions without a pane into their
/// inboxes, and types the others into their panes, each target by itself. With `--watch` it goes on: it waits for the
/// ledger's bell and for rollouts to grow, so that it uses no time while nothing happens. Any number of single passes may
/// run beside it.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct DispatchRequest {
    /// Make one pass; this is also what is done without a word
    #[arg(long, conflicts_with = "watch")]
    #[serde(default)]
    pub once: bool,
    /// Go on until it is stopped
    #[arg(long)]
    #[serde(default)]
    pub watch: bool,
    /// Watch for so many passes
    #[arg(long, value_name = "N", requires = "watch")]
    pub watch_iterations: Option<u32>,
    /// Seconds between the passes of `--watch-iterations`; a watch wakes by itself in between
    #[arg(long, default_value_t = interval())]
    #[serde(default = "interval")]
    pub interval: f64,
    /// Seconds after which another dispatcher may take over what this one has begun
    #[arg(long, default_value_t = lease_seconds())]
    #[serde(default = "lease_seconds")]
    pub lease_seconds: u64,
    /// Commands, and ended turns, that one pass takes; all when absent or 0
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// The dispatcher's name; one of a name watches a ledger
    #[arg(long, default_value_t = dispatcher_id())]
    #[serde(default = "dispatcher_id")]
    pub dispatcher_id: Name,
    /// Only this type of command, or `worker_task_complete`
    #[arg(long = "type", value_name = "TYPE")]
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// Say what would be carried out and write nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
    /// Watch in the background, and return when that is proved to run
    #[arg(long, conflicts_with_all = ["once", "dry_run", "watch_iterations"])]
    #[serde(default)]
    pub detach: bool,
    /// Say whether the dispatcher of this name runs
    #[arg(long, conflicts_with_all = ["once", "watch", "detach", "stop"])]
    #[serde(default)]
    pub status: bool,
    /// Stop the dispatcher of this name, and return when it has ended
    #[arg(long, conflicts_with_all = ["once", "watch", "detach"])]
    #[serde(default)]
    pub stop: bool,
    /// End when no binding holds any more
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub until_unbound: bool,
    /// It was started in the background and writes there
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub detached_log: Option<PathBuf>,
}

const fn interval() -> f64 {
    2.0
}

const fn lease_seconds() -> u64 {
    limits::LEASE.as_secs()
}

fn dispatcher_id() -> Name {
    "dispatch-local".parse().expect("it is a name: letters and a hyphen")
}

impl Request for DispatchRequest {
    fn only_reads(&self) -> bool {
        self.status
    }

    fn check(&self) -> Result<()> {
        if self.once && self.watch {
            return Err(Error::usage("--once and --watch exclude each other"));
        }
        if [self.detach, self.status, self.stop, self.once].iter().filter(|&&chosen| chosen).count() > 1 {
            return Err(Error::usage("choose one of --once, --detach, --status, --stop"));
        }
        if self.detach && (self.dry_run || self.watch_iterations.is_some()) {
            return Err(Error::usage(
                "--detach runs until it is stopped: neither --dry-run nor --watch-iterations fit",
            ));
        }
        if self.watch_iterations.is_some() && !self.watch {
            return Err(Error::usage("--watch-iterations belongs to --watch"));
        }
        if !(0.0..=MOST_SECONDS).contains(&self.interval) {
            return Err(Error::usage(format!("--interval is 0 to {MOST_SECONDS} seconds")));
        }
        if self.lease_seconds > MOST_SECONDS as u64 {
            return Err(Error::usage(format!("--lease-seconds is at most {MOST_SECONDS}")));
        }
        Ok(())
    }
}

/// A day: more is a mistyped number.
const MOST_SECONDS: f64 = 86_400.0;

/// What was done, or what is known of a dispatcher in the background.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum DispatchReport {
    /// What was done.
    Passes(PassReport),
    /// A dispatcher in the background.
    Process(Process),
}

/// What was done.
#[derive(Serialize, JsonSchema, Debug)]
pub struct PassReport {
    /// The dispatcher's name.
    pub dispatcher_id: String,
    /// Nothing was written.
    pub dry_run: bool,
    /// Passes.
    pub iterations: u32,
    /// What became of each delivery, in order; the first of them where there were many.
    pub processed: Vec<Item>,
    /// How many there were.
    pub processed_count: u64,
    /// Some of them are left out here.
    pub truncated: bool,
    /// It watched.
    pub watch: bool,
    /// How often only the sweep found something: its writer died before it rang.
    pub found_by_sweep: u64,
    /// What to run next.
    pub next: Option<String>,
}

impl Report for DispatchReport {
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Process(process) => process.text(),
            Self::Passes(report) => {
                let mut text: String = report.processed.iter().map(|item| item.text() + "\n").collect();
                let verb = if report.dry_run { "would be carried out" } else { "processed" };
                let _ = write!(text, "{} {verb} by {}", report.processed_count, report.dispatcher_id);
                if let Some(next) = &report.next {
                    let _ = write!(text, "\nnext: {next}");
                }
                text
            }
        })
    }
}

/// The verb.
pub struct Dispatch;

impl Verb for Dispatch {
    const NAME: &'static str = "dispatch";
    const GROUP: Group = Group::Carry;
    const EFFECT: Effect = Effect::Acts;
    const FORM: Form = Form::Narrative;
    const AGENTS: Agents = Agents::Managers;
    type Request = DispatchRequest;
    type Report = DispatchReport;

    async fn run(plane: &Plane, request: DispatchRequest) -> Result<DispatchReport> {
        let id = &request.dispatcher_id;
        if request.status {
            return dispatch::status(plane, id).await.map(DispatchReport::Process);
        }
        if request.stop {
            return dispatch::stop(plane, id).await.map(DispatchReport::Process);
        }
        if request.detach {
            return dispatch::detach(plane, id, &options(&request)).await.map(DispatchReport::Process);
        }
        ends_by_itself(plane, &request)?;
        let settings = settings(&request);
        if settings.streams {
            plane.tell_by_line();
        }
        let dispatcher = Dispatcher::new(plane, settings);
        let iterations = match (request.dry_run, request.watch) {
            (true, _) => rehearse(plane, &dispatcher, &request).await?,
            (false, true) => watch(&dispatcher, &request).await?,
            (false, false) => dispatch::once(&dispatcher).await.map(|()| 1)?,
        };
        Ok(report(plane, &request, dispatcher, iterations))
    }
}

/// A tool call must return; a watch without an end does not.
fn ends_by_itself(plane: &Plane, request: &DispatchRequest) -> Result<()> {
    match (&plane.caller, request.watch && request.watch_iterations.is_none()) {
        (Caller::Tool { .. }, true) => {
            Err(Error::usage("a watch without an end would keep this call for ever")
                .hint("pass `detach`, or `watch_iterations`"))
        }
        (Caller::Tool { .. } | Caller::Person | Caller::Shell { .. }, _) => Ok(()),
    }
}

fn settings(request: &DispatchRequest) -> Settings {
    let lease = if request.lease_seconds == 0 { lease_seconds() } else { request.lease_seconds };
    Settings {
        id: request.dispatcher_id.clone(),
        lease: Duration::from_secs(lease),
        limit: request.limit.filter(|&limit| limit > 0),
        kind: request.kind,
        patience: if request.watch { Duration::ZERO } else { limits::RECORD_EXPECTED },
        streams: request.watch && request.watch_iterations.is_none(),
    }
}

/// What a detached dispatcher is told beside its name and its ledger.
fn options(request: &DispatchRequest) -> Vec<String> {
    let mut options = vec!["--lease-seconds".to_owned(), request.lease_seconds.to_string()];
    if let Some(kind) = request.kind {
        options.extend(["--type".to_owned(), kind.to_string()]);
    }
    if request.until_unbound {
        options.push("--until-unbound".to_owned());
    }
    options
}

async fn watch(dispatcher: &Dispatcher<'_>, request: &DispatchRequest) -> Result<u32> {
    if request.detached_log.is_some() {
        dispatch::leave_session();
    }
    let ends = Ends {
        after: request.watch_iterations.map(|passes| (passes, Duration::from_secs_f64(request.interval))),
        until_unbound: request.until_unbound,
        log: request.detached_log.clone(),
    };
    dispatch::watch(dispatcher, &ends).await
}

/// Looks as often as a watch would, and writes nothing.
async fn rehearse(plane: &Plane, dispatcher: &Dispatcher<'_>, request: &DispatchRequest) -> Result<u32> {
    let passes = if request.watch { request.watch_iterations.unwrap_or(u32::MAX).max(1) } else { 1 };
    // Without an end it is a person who looks on: once a second is enough.
    let least = if request.watch_iterations.is_some() { 0.0 } else { 1.0 };
    let apart = Duration::from_secs_f64(request.interval.max(least));
    let mut stop = plane.end_gracefully();
    for pass in 1..=passes {
        dispatch::plan(dispatcher).await?;
        if pass == passes {
            break;
        }
        tokio::select! {
            _ = stop.wait_for(|asked| *asked) => return Ok(pass),
            () = plane.clock.sleep(apart) => {}
        }
    }
    Ok(passes)
}

fn report(
    plane: &Plane,
    request: &DispatchRequest,
    dispatcher: Dispatcher<'_>,
    iterations: u32,
) -> DispatchReport {
    let streamed = request.watch && request.watch_iterations.is_none();
    let found_by_sweep = dispatcher.swept();
    let (processed, processed_count, cut) = dispatcher.results();
    DispatchReport::Passes(PassReport {
        dispatcher_id: request.dispatcher_id.to_string(),
        dry_run: request.dry_run,
        iterations,
        // What was told already is not told twice.
        processed: if streamed { Vec::new() } else { processed },
        processed_count,
        truncated: cut && !streamed,
        watch: request.watch,
        found_by_sweep,
        next: cut.then(|| plane.command(&["commands"])),
    })
}
