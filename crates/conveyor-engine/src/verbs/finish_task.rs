//! `finish-task`: ends a task, and on request the sessions that worked on it.

mod checks;
mod gates;
mod report;

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::bindings::BindingState;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::runs;
use conveyor_store::runs::RunStatus;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::tasks::TaskState;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

pub use self::report::FinishTaskReport;

use super::stop_task::StopTask;
use super::transcript_capture::CaptureView;
use super::transcript_capture::lines;
use super::transcript_capture::mode;
use crate::Plane;
use crate::binding;
use crate::binding::Dropped;
use crate::caller::judge;
use crate::caller::judge::Judge;
use crate::deliver;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::hold;
use crate::message;
use crate::resolve;
use crate::stop;
use crate::stop::StopReport;
use crate::transcript;
use crate::transcript::CaptureMode;
use crate::transcript::Gathered;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Finish a task, and stop its sessions if asked to
///
/// All gates are looked at first and reported together. Then the task, its binding and its run end in one step, and what
/// was still in the binding's queue is taken back. Only then sessions are stopped, each with a result of its own:
/// stopped means that the turn, what it ran, the program and its pane have ended. The caller's own session is stopped by
/// the dispatcher when its turn has ended. Both sessions go on by default.
///
/// A criterion that carries a check has to pass it on what is committed now: what was verified on another tree is verified
/// again, and a working tree with changes that are not committed keeps the task open.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct FinishTaskRequest {
    /// The task, by name or id
    pub task: String,
    /// Why it ends
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
    /// How it ends
    #[arg(long, value_enum, default_value_t = outcome())]
    #[serde(default = "outcome")]
    pub outcome: Outcome,
    /// Stop the manager's session
    #[arg(long)]
    #[serde(default)]
    pub stop_manager: bool,
    /// Stop the worker's session
    #[arg(long)]
    #[serde(default)]
    pub stop_worker: bool,
    /// A last text for the worker before it is stopped
    #[arg(long, requires = "stop_worker", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// The decision to stop that it rests on
    #[arg(long, value_name = "N")]
    pub decision_id: Option<i64>,
    /// Refuse unless that decision is this task's, recent, and says to stop
    #[arg(long)]
    #[serde(default)]
    pub strict_decisions: bool,
    /// Keep what both sessions said before they are stopped
    #[arg(long)]
    #[serde(default)]
    pub capture_transcript_before_stop: bool,
    /// How much of that is kept
    #[arg(long, value_enum, default_value_t = mode())]
    #[serde(default = "mode")]
    pub capture_transcript_mode: CaptureMode,
    /// Lines that are kept of each session at most
    #[arg(long, default_value_t = lines())]
    #[serde(default = "lines")]
    pub capture_transcript_lines: u32,
    /// Refuse unless both sessions have a transcript
    #[arg(long)]
    #[serde(default)]
    pub require_transcript_segment: bool,
    /// Refuse while an accepted criterion is not satisfied
    #[arg(long)]
    #[serde(default)]
    pub require_criteria_audit: bool,
    /// Refuse unless worker and manager have both acknowledged the task
    #[arg(long)]
    #[serde(default)]
    pub require_acks: bool,
    /// Refuse unless each step of the configured epilogue has succeeded
    #[arg(long)]
    #[serde(default)]
    pub require_epilogue: bool,
    /// Refuse unless somebody tried to disprove the work, and could not
    #[arg(long)]
    #[serde(default)]
    pub require_adversarial_proof: bool,
    /// Say which gates are closed and what would be done, and do nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
}

impl FinishTaskRequest {
    /// The verb that was called.
    fn verb(&self) -> &'static str {
        if self.outcome == Outcome::Stopped { StopTask::NAME } else { FinishTask::NAME }
    }
}

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is reached.
    Done,
    /// A person has to decide.
    Escalated,
    /// It is given up.
    Abandoned,
    /// It was stopped: what `stop-task` means.
    #[value(skip)]
    #[serde(skip_deserializing)]
    Stopped,
}

const fn outcome() -> Outcome {
    Outcome::Done
}

impl Outcome {
    /// The word that the ledger stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Escalated => "escalated",
            Self::Abandoned => "abandoned",
            Self::Stopped => "stopped",
        }
    }

    const fn task(self) -> TaskState {
        match self {
            Self::Done => TaskState::Done,
            Self::Escalated => TaskState::Failed,
            Self::Abandoned | Self::Stopped => TaskState::Stopped,
        }
    }

    const fn run(self) -> RunStatus {
        match self {
            Self::Done => RunStatus::Finished,
            Self::Escalated => RunStatus::Failed,
            Self::Abandoned | Self::Stopped => RunStatus::Abandoned,
        }
    }
}

impl Request for FinishTaskRequest {
    fn check(&self) -> Result<()> {
        if self.message.is_some() && !self.stop_worker {
            return Err(Error::usage("--message belongs to --stop-worker")
                .hint("say it without stopping: conveyor session-nudge <worker> \"<text>\""));
        }
        if self.decision_id.is_some_and(|id| id < 1) {
            return Err(Error::usage("--decision-id is a number from 1"));
        }
        transcript::check_lines(self.capture_transcript_lines)
    }
}

/// The verb.
pub struct FinishTask;

impl Verb for FinishTask {
    const NAME: &'static str = "finish-task";
    const GROUP: Group = Group::Start;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["foo"];
    type Request = FinishTaskRequest;
    type Report = FinishTaskReport;

    async fn run(plane: &Plane, request: FinishTaskRequest) -> Result<FinishTaskReport> {
        end(plane, request).await
    }
}

/// Ends a task: `finish-task` and `stop-task`.
pub(super) async fn end(plane: &Plane, request: FinishTaskRequest) -> Result<FinishTaskReport> {
    let verified = prepare(plane, &request).await?;
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let pair = Pair::of(&mut tx, &request.task).await?;
    let follow_up = is_follow_up(&request, &pair.task)?;
    stoppable(&mut tx, &request, &pair).await?;
    let gathered = gather(plane, &mut tx, &request, &pair).await?;
    let audits = gates::look(&mut tx, plane, &request, &pair, &verified, &gathered).await?;
    if request.dry_run {
        tx.roll_back().await;
        return Ok(FinishTaskReport::dry(plane, request, pair, audits, follow_up));
    }
    if let Some(refusal) = audits.refusal() {
        return Err(judge::refuse(plane, tx, request.verb(), &pair.task.id, refusal).await);
    }
    let captures = keep(&mut tx, &pair, gathered).await?;
    let finished = finish(plane, &mut tx, &request, &pair, follow_up).await?;
    tx.commit().await?;
    let stops = stop_sessions(plane, &finished).await?;
    Ok(FinishTaskReport::new(plane, request, pair, audits, finished, stops, follow_up, captures))
}

/// What takes long, done before the ledger is held: rights are looked at, checks run, records read to their end.
async fn prepare(plane: &Plane, request: &FinishTaskRequest) -> Result<Vec<checks::Standing>> {
    plane.ledger_that_exists().await?;
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let pair = Pair::of(&mut tx, &request.task).await?;
    if let Err(refusal) = may_finish(plane, &mut tx, &pair).await {
        return Err(judge::refuse(plane, tx, request.verb(), &pair.task.id, refusal).await);
    }
    let follow_up = is_follow_up(request, &pair.task)?;
    stoppable(&mut tx, request, &pair).await?;
    let wanted = match request.outcome {
        Outcome::Done if !follow_up => checks::of(&mut tx, &pair.task).await?,
        Outcome::Done | Outcome::Escalated | Outcome::Abandoned | Outcome::Stopped => Vec::new(),
    };
    tx.roll_back().await;
    if request.capture_transcript_before_stop {
        for session in pair.worker.iter().chain(&pair.manager) {
            transcript::refresh(plane, session).await;
        }
    }
    checks::bring_up_to_date(plane, &pair, wanted, request.dry_run).await
}

/// What a capture before the stop would add.
async fn gather(
    plane: &Plane,
    tx: &mut Tx,
    request: &FinishTaskRequest,
    pair: &Pair,
) -> Result<Vec<Gathered>> {
    let mut gathered = Vec::new();
    if request.capture_transcript_before_stop {
        let (mode, lines) = (request.capture_transcript_mode, request.capture_transcript_lines);
        for session in pair.worker.iter().chain(&pair.manager) {
            let binding = pair.binding.as_ref();
            gathered.push(transcript::gather(plane, tx, &pair.task, binding, session, mode, lines).await?);
        }
    }
    Ok(gathered)
}

async fn keep(tx: &mut Tx, pair: &Pair, gathered: Vec<Gathered>) -> Result<Vec<CaptureView>> {
    let mut captures = Vec::new();
    for one in gathered {
        let sessions = [&pair.worker, &pair.manager];
        let of_it = sessions.into_iter().flatten().find(|session| session.role == one.role);
        let name = of_it.map(|session| session.name.clone());
        let (capture, segment) = transcript::store(tx, one).await?;
        captures.extend(name.map(|name| CaptureView::of(name, capture, segment)));
    }
    Ok(captures)
}

/// A task with the sessions of its latest binding.
pub(crate) struct Pair {
    pub(crate) task: Task,
    pub(crate) binding: Option<Binding>,
    pub(crate) worker: Option<Session>,
    pub(crate) manager: Option<Session>,
}

impl Pair {
    async fn of(db: &mut Db, task: &str) -> Result<Self> {
        let task = resolve::task(db, task).await?;
        let binding = bindings::of_task(db, &task.id).await?.pop();
        let (worker, manager) = match &binding {
            Some(binding) => (
                Some(resolve::by_id(db, &binding.worker_session_id).await?),
                Some(resolve::by_id(db, &binding.manager_session_id).await?),
            ),
            None => (None, None),
        };
        Ok(Self { task, binding, worker, manager })
    }

    /// The sessions that are to be stopped; the manager last, for it may be the one who asks.
    fn to_stop<'a>(&'a self, request: &FinishTaskRequest) -> impl Iterator<Item = &'a Session> {
        let worker = self.worker.as_ref().filter(|_| request.stop_worker);
        let manager = self.manager.as_ref().filter(|_| request.stop_manager);
        worker.into_iter().chain(manager)
    }
}

/// A worker may not, and an agent over MCP must be the manager of this task. In a shell the thread is a claim, which may
/// only narrow.
async fn may_finish(plane: &Plane, db: &mut Db, pair: &Pair) -> Result<()> {
    match judge::judge(plane, db, &pair.task).await? {
        Judge::Full => Ok(()),
        Judge::Proposes => Err(Error::refused("a worker may not finish its own task")
            .hint("tell your manager what is proved, and end your turn")),
    }
}

/// Whether the task is finished and only sessions are to be stopped.
fn is_follow_up(request: &FinishTaskRequest, task: &Task) -> Result<bool> {
    if task.state.is_unfinished() {
        return Ok(false);
    }
    let asks_more = request.stop_manager || request.stop_worker || request.capture_transcript_before_stop;
    if asks_more && request.outcome != Outcome::Stopped {
        return Ok(true);
    }
    Err(Error::conflict(format!("the task `{}` is {} already", task.name, task.state))
        .hint(format!("stop its sessions: conveyor finish-task {} --stop-manager --stop-worker", task.name)))
}

/// Refuses to stop a session that works for another task.
async fn stoppable(db: &mut Db, request: &FinishTaskRequest, pair: &Pair) -> Result<()> {
    let insists = request.stop_worker || (request.stop_manager && request.outcome != Outcome::Stopped);
    if insists && pair.binding.is_none() {
        return Err(Error::conflict(format!("the task `{}` was never bound to sessions", pair.task.name))
            .hint("leave out --stop-manager and --stop-worker"));
    }
    for session in pair.to_stop(request) {
        let mut bound = bindings::active_of_manager(db, &session.id).await?;
        bound.extend(bindings::active_of_worker(db, &session.id).await?);
        if let Some(other) = bound.iter().find(|binding| binding.task_id != pair.task.id) {
            let other =
                tasks::get(db, &other.task_id).await?.map_or_else(String::new, |task| task.name.to_string());
            return Err(Error::conflict(format!("`{}` still works for the task `{other}`", session.name))
                .hint(format!("finish that first: conveyor finish-task {other}")));
        }
    }
    Ok(())
}

/// What the commit has done.
pub(crate) struct Finished {
    pub(crate) task: Task,
    pub(crate) dropped: Dropped,
    pub(crate) message: Option<Delivery>,
    pub(crate) stops: Vec<(Session, Option<Delivery>)>,
}

/// Ends task, binding and run, and accepts the stops.
async fn finish(
    plane: &Plane,
    tx: &mut Tx,
    request: &FinishTaskRequest,
    pair: &Pair,
    follow_up: bool,
) -> Result<Finished> {
    let mut finished =
        Finished { task: pair.task.clone(), dropped: Dropped::default(), message: None, stops: Vec::new() };
    if !follow_up {
        end_run(tx, request, &pair.task).await?;
        if let Some(binding) = &pair.binding {
            let sentence = format!("The binding of {} ended with its task.", pair.task.name);
            finished.dropped = binding::end(tx, binding, BindingState::Ended, sentence).await?;
        }
        finished.task = end_task(tx, request, &pair.task).await?;
    }
    if let (Some(text), Some(worker)) = (&request.message, &pair.worker) {
        let new = message::new(plane, Kind::SessionNudge, worker, text);
        let audit =
            AuditRow::new("delivery_accepted", format!("A last text for {} was accepted.", worker.name));
        finished.message = Some(deliveries::insert(tx, new, audit.task(&pair.task.id)).await?.delivery);
    }
    for session in pair.to_stop(request) {
        let delivery = stop::accept(plane, tx, session, Some(&pair.task.id)).await?;
        finished.stops.push((session.clone(), delivery));
    }
    Ok(finished)
}

async fn end_run(tx: &mut Tx, request: &FinishTaskRequest, task: &Task) -> Result<()> {
    telemetry::insert(tx, told(request, task)).await?;
    let Some(run) = runs::active(tx, &task.id).await? else { return Ok(()) };
    let audit = AuditRow::new("run_finished", format!("The run {} of {} ended.", run.name, task.name));
    runs::finish(tx, &run.id, request.outcome.run(), audit.task(&task.id)).await.map(drop)
}

fn told(request: &FinishTaskRequest, task: &Task) -> NewTelemetry {
    NewTelemetry {
        task: Some(task.id.clone()),
        run: None,
        actor: "workerctl".to_owned(),
        event_type: (if request.outcome == Outcome::Stopped { "task_stopped" } else { "task_finished" })
            .to_owned(),
        severity: Severity::Info,
        summary: format!("The task {} ended: {}.", task.name, request.outcome.as_str()),
        correlation: json!({}),
        attributes: json!({
            "outcome": request.outcome,
            "reason": request.reason,
            "stop_manager": request.stop_manager,
            "stop_worker": request.stop_worker,
        }),
    }
}

async fn end_task(tx: &mut Tx, request: &FinishTaskRequest, task: &Task) -> Result<Task> {
    let ended = Task {
        state: request.outcome.task(),
        outcome: Some(request.outcome.as_str().to_owned()),
        reason: request.reason.clone(),
        finished_at: Some(tx.now()),
        paused_at: None,
        updated_at: tx.now(),
        ..task.clone()
    };
    let why = request.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
    let sentence = format!("The task {} is finished as {}{why}.", task.name, request.outcome.as_str());
    tasks::update(tx, &ended, AuditRow::new("task_finished", sentence)).await?;
    hold::clear_task(tx, task).await?;
    Ok(ended)
}

/// Brings the last text, then stops. One that fails does not keep the other from being stopped.
async fn stop_sessions(plane: &Plane, finished: &Finished) -> Result<Vec<StopReport>> {
    if let Some(message) = &finished.message {
        let until = Until { stage: Stage::Answered, patience: limits::LAST_WORDS };
        deliver::see_through(plane, &message.id, &Holder::caller(plane), until).await?;
    }
    let mut stops = Vec::new();
    for (session, delivery) in &finished.stops {
        stops.push(stop::carry_out(plane, session, delivery.as_ref()).await?);
    }
    Ok(stops)
}

#[cfg(test)]
mod tests;
