//! `pair`: from nothing to a supervised pair in one call, or back to nothing.

mod config;
mod dispatcher;
mod records;
mod report;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::prompt;
use conveyor_store::configs::NudgeOnCompletion;
use conveyor_store::configs::SupervisionMode;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

pub(crate) use self::records::seed_criteria;
pub use self::report::PairReport;

use self::records::Found;
use self::records::Recorded;
use crate::Plane;
use crate::policy::Settings;
use crate::start;
use crate::start::Failure;
use crate::start::LaunchFlags;
use crate::start::Made;
use crate::start::Prompted;
use crate::start::SessionReport;
use crate::start::Spec;
use crate::start::Undone;
use crate::start::Up;
use crate::start::Wanted;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Start a worker and a manager, bind them to a task, and start a dispatcher
///
/// Everything is checked first: names, folder, programs, permissions, the task. Then both sessions are started; task,
/// configuration, criteria, binding and run are recorded in one step; both sessions get their first message, proved by
/// their own records; and a dispatcher is started that ends with the last binding. If anything fails, what this call has
/// made is undone, and the report says what was and what was not. Only a dispatcher that does not start is no failure.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct PairRequest {
    /// The task, by name or id; made when there is none of that name
    #[arg(long)]
    pub task: String,
    /// Name of the worker's session
    #[arg(long)]
    pub worker_name: Name,
    /// Name of the manager's session
    #[arg(long)]
    pub manager_name: Name,
    /// What is wanted; needed for a new task
    #[arg(long, allow_hyphen_values = true)]
    pub task_goal: Option<String>,
    /// A shorter word for it, for a new task
    #[arg(long, allow_hyphen_values = true)]
    pub task_summary: Option<String>,
    /// More for the worker's first message
    #[arg(long, allow_hyphen_values = true)]
    pub task_prompt: Option<String>,
    /// How closely the worker is supervised: `light`, `guided` or `strict`
    #[arg(long)]
    pub manager_mode: Option<SupervisionMode>,
    /// What the manager is after
    #[arg(long, allow_hyphen_values = true)]
    pub manager_objective: Option<String>,
    /// How the manager is to work; may be repeated, and replaces what was recorded
    #[arg(long, allow_hyphen_values = true)]
    #[serde(default)]
    pub manager_guideline: Vec<String>,
    /// What must be so in the end; may be repeated, and becomes an accepted criterion
    #[arg(long, allow_hyphen_values = true)]
    #[serde(default)]
    pub manager_acceptance: Vec<String>,
    /// What the manager checks against; may be repeated
    #[arg(long, allow_hyphen_values = true)]
    #[serde(default)]
    pub manager_reference: Vec<String>,
    /// A tool that the manager is expected to use; may be repeated
    #[arg(long, allow_hyphen_values = true)]
    #[serde(default)]
    pub manager_tool: Vec<String>,
    /// What the manager may instruct, as `CATEGORY.ACTION`; may be repeated
    #[arg(long)]
    #[serde(default)]
    pub manager_permit: Vec<String>,
    /// A step at the end: `run-tools`, `draft-pr`, `subagent-review`, `record-handoff`; may be repeated
    #[arg(long)]
    #[serde(default)]
    pub manager_epilogue: Vec<String>,
    /// What follows a completed turn: `off`, `ask-operator`, `auto-review` or `auto-proceed`
    #[arg(long)]
    pub manager_nudge_on_completion: Option<NudgeOnCompletion>,
    /// Both sides must acknowledge the task
    #[arg(long)]
    #[serde(default)]
    pub manager_require_acks: bool,
    /// Grant `repo.open_pr`
    #[arg(long)]
    #[serde(default)]
    pub manager_allow_pr: bool,
    /// Grant `repo.merge_green_pr`
    #[arg(long)]
    #[serde(default)]
    pub manager_allow_merge_green: bool,
    /// Grant `worker_session.compact` and `worker_session.clear`
    #[arg(long)]
    #[serde(default)]
    pub manager_allow_worker_compact_clear: bool,
    /// Permissions as an object: a category with a list replaces it, an action with a truth value grants or revokes it
    #[arg(long, value_name = "OBJECT")]
    pub manager_permissions_json: Option<String>,
    /// Start no dispatcher
    #[arg(long)]
    #[serde(default)]
    pub no_dispatch: bool,
    /// Name of the dispatcher
    #[arg(long, default_value_t = dispatcher_id())]
    #[serde(default = "dispatcher_id")]
    pub dispatcher_id: Name,
    /// Check everything, say what would be done, and touch nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
    #[expect(missing_docs, reason = "its doc comment would be taken for a heading of the help")]
    #[command(flatten)]
    #[serde(flatten)]
    pub launch: LaunchFlags,
}

fn dispatcher_id() -> Name {
    "dispatch-pair".parse().expect("it is a name: letters and a hyphen")
}

impl Request for PairRequest {
    fn check(&self) -> Result<()> {
        self.launch.check()?;
        if self.worker_name == self.manager_name {
            return Err(Error::usage("worker and manager need different names"));
        }
        config::settings(self).map(drop)
    }
}

/// The verb.
pub struct Pair;

impl Verb for Pair {
    const NAME: &'static str = "pair";
    const GROUP: Group = Group::Start;
    const EFFECT: Effect = Effect::Acts;
    const LEAST: &'static [&'static str] =
        &["--task", "foo", "--worker-name", "foo-worker", "--manager-name", "foo-manager"];
    type Request = PairRequest;
    type Report = PairReport;

    async fn run(plane: &Plane, request: PairRequest) -> Result<PairReport> {
        let plan = Plan::of(plane, request).await?;
        if plan.request.dry_run {
            return Ok(PairReport::planned(plane, &plan));
        }
        match Box::pin(carry_out(plane, &plan)).await {
            Ok(done) => Ok(PairReport::done(plane, &plan, done)),
            Err(failure) => {
                records::note_failure(plane, &plan, &failure.error).await;
                Ok(PairReport::failed(plane, &plan, failure))
            }
        }
    }
}

/// What is to be done; everything in it was checked.
struct Plan {
    request: PairRequest,
    found: Found,
    seed: Settings,
    worker: Spec,
    manager: Spec,
    worker_text: String,
    manager_text: String,
}

impl Plan {
    async fn of(plane: &Plane, request: PairRequest) -> Result<Self> {
        let seed = config::settings(&request)?;
        let found = Found::of(plane, &request).await?;
        let wanted = |name, role| Wanted { name, role, tmux_session: None, flags: &request.launch };
        let wanted =
            [wanted(&request.worker_name, Role::Worker), wanted(&request.manager_name, Role::Manager)];
        let specs = start::plan(plane, &wanted).await?;
        let [worker, manager] =
            <[Spec; 2]>::try_from(specs).map_err(|_| Error::usage("a pair has two sessions"))?;
        let worker_text = prompt::worker(&worker_facts(plane, &request, &found, &worker));
        let manager_text = prompt::manager(&manager_facts(plane, &request, &found, &seed, &manager));
        start::check_length(&worker_text)?;
        start::check_length(&manager_text)?;
        Ok(Self { request, found, seed, worker, manager, worker_text, manager_text })
    }
}

fn worker_facts(plane: &Plane, request: &PairRequest, found: &Found, spec: &Spec) -> prompt::Worker {
    prompt::Worker {
        name: spec.name.clone(),
        cwd: spec.cwd.clone(),
        job: Some(prompt::Job { task: found.name.clone(), goal: Some(found.goal.clone()) }),
        manager: Some(request.manager_name.clone()),
        instructions: request.task_prompt.clone(),
        way: start::way(plane, spec.sandbox),
    }
}

fn manager_facts(
    plane: &Plane,
    request: &PairRequest,
    found: &Found,
    seed: &Settings,
    spec: &Spec,
) -> prompt::Manager {
    prompt::Manager {
        name: spec.name.clone(),
        cwd: spec.cwd.clone(),
        job: Some(prompt::Job { task: found.name.clone(), goal: Some(found.goal.clone()) }),
        worker: Some(request.worker_name.clone()),
        bound: true,
        config: Some(config::told(seed, found.config.as_ref())),
        way: start::way(plane, spec.sandbox),
    }
}

/// What was done.
struct Done {
    recorded: Recorded,
    worker: SessionReport,
    manager: SessionReport,
    dispatch: dispatcher::Dispatching,
}

/// What was made so far, in the order in which it was made.
#[derive(Default)]
struct Ledgered {
    sessions: Vec<Made>,
    recorded: Option<Recorded>,
}

async fn carry_out(plane: &Plane, plan: &Plan) -> Result<Done, Failure> {
    let mut made = Ledgered::default();
    match bring_up(plane, plan, &mut made).await {
        Ok(done) => Ok(done),
        Err(Failure { error, undone }) => {
            let earlier = undo(plane, plan, &made).await;
            Err(Failure { error, undone: undone.and(earlier) })
        }
    }
}

async fn bring_up(plane: &Plane, plan: &Plan, made: &mut Ledgered) -> Result<Done, Failure> {
    let worker = start::up(plane, &plan.worker).await?;
    made.sessions.push(worker.made(plan.worker.keep_on_failure));
    let manager = start::up(plane, &plan.manager).await?;
    made.sessions.push(manager.made(plan.manager.keep_on_failure));
    let recorded = records::record(plane, plan, &worker.session, &manager.session).await.map_err(plain)?;
    made.recorded = Some(recorded.clone());
    // Both at once: the end of a short first turn of the worker's must not reach the manager before its instructions.
    let to_worker = accept(plane, &worker, &plan.worker_text, &recorded).await.map_err(plain)?;
    let to_manager = accept(plane, &manager, &plan.manager_text, &recorded).await.map_err(plain)?;
    let worker = prompted(plane, &worker, to_worker).await.map_err(plain)?;
    let manager = prompted(plane, &manager, to_manager).await.map_err(plain)?;
    let dispatch = dispatcher::ensure(plane, &plan.request).await;
    Ok(Done { recorded, worker, manager, dispatch })
}

async fn accept(plane: &Plane, up: &Up, text: &str, recorded: &Recorded) -> Result<Delivery> {
    start::accept_first(plane, up, text, Some(&recorded.binding)).await
}

async fn prompted(plane: &Plane, up: &Up, first: Delivery) -> Result<SessionReport> {
    // Each session has its own time: the other's start does not count.
    let up = Up { deadline: plane.clock.now().plus(up.patience), ..up.clone() };
    let prompted: Prompted = start::bring_first(plane, &up, first).await?;
    SessionReport::of(plane, &up, Some(&prompted)).await
}

fn plain(error: Error) -> Failure {
    Failure { error, undone: Undone::default() }
}

/// Undoes what this call has made, the last first.
async fn undo(plane: &Plane, plan: &Plan, made: &Ledgered) -> Undone {
    let mut undone = Undone::default();
    if let Some(recorded) = &made.recorded {
        undone = undone.and(records::undo(plane, plan, recorded).await);
    }
    for session in made.sessions.iter().rev() {
        undone = undone.and(start::undo(plane, session).await);
    }
    undone
}
