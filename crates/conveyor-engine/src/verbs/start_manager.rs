//! `start-manager`: a new Codex in a tmux session of its own, registered as a manager.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::prompt;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::configs;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::tasks;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::start;
use crate::start::LaunchFlags;
use crate::start::Spec;
use crate::start::StartReport;
use crate::start::Wanted;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Start a Codex session as a manager
///
/// Starts Codex in a new tmux session `codex-<name>`, registers it when its own process proves its thread, and brings it
/// its first message: what it supervises, how it configures and observes, what counts as proof. What is not known yet of
/// task and worker stands there as a placeholder.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct StartManagerRequest {
    /// Name of the session
    #[arg(long)]
    pub name: Name,
    /// The task that it is to manage, which need not be recorded yet
    #[arg(long)]
    pub task: Option<Name>,
    /// The goal; that of the recorded task if left out
    #[arg(long, allow_hyphen_values = true)]
    pub task_goal: Option<String>,
    /// The worker that it is to supervise
    #[arg(long)]
    pub worker: Option<Name>,
    /// Name of the tmux session; `codex-<name>` if left out
    #[arg(long)]
    pub tmux_session: Option<Name>,
    #[expect(missing_docs, reason = "its doc comment would be taken for a heading of the help")]
    #[command(flatten)]
    #[serde(flatten)]
    pub launch: LaunchFlags,
}

impl Request for StartManagerRequest {
    fn check(&self) -> Result<()> {
        self.launch.check()
    }
}

/// The verb.
pub struct StartManager;

impl Verb for StartManager {
    const NAME: &'static str = "start-manager";
    const GROUP: Group = Group::Start;
    const EFFECT: Effect = Effect::Acts;
    const LEAST: &'static [&'static str] = &["--name", "foo"];
    type Request = StartManagerRequest;
    type Report = StartReport;

    async fn run(plane: &Plane, request: StartManagerRequest) -> Result<StartReport> {
        let wanted = Wanted {
            name: &request.name,
            role: Role::Manager,
            tmux_session: request.tmux_session.as_ref(),
            flags: &request.launch,
        };
        let spec = start::plan_one(plane, wanted).await?;
        let text = prompt::manager(&facts(plane, &spec, &request).await?);
        let session = start::one(plane, &spec, &text).await?;
        let task = request.task.as_ref().map_or("<task>", Name::as_str);
        let worker = request.worker.as_ref().map_or("<worker>", Name::as_str);
        let words = ["bind", "--task", task, "--worker", worker, "--manager", request.name.as_str()];
        Ok(StartReport { session, next: plane.command(&words) })
    }
}

/// What the manager is told of task and worker: what the ledger knows, else what the caller says.
async fn facts(plane: &Plane, spec: &Spec, request: &StartManagerRequest) -> Result<prompt::Manager> {
    let mut facts = prompt::Manager {
        name: spec.name.clone(),
        cwd: spec.cwd.clone(),
        job: request.task.clone().map(|task| prompt::Job { task, goal: request.task_goal.clone() }),
        worker: request.worker.clone(),
        bound: false,
        config: None,
        way: start::way(plane, spec.sandbox),
    };
    if let Some(ledger) = plane.ledger_to_read().await? {
        look_up(&mut *ledger.read().await?, &mut facts).await?;
    }
    Ok(facts)
}

async fn look_up(db: &mut Db, facts: &mut prompt::Manager) -> Result<()> {
    let Some(job) = &mut facts.job else { return Ok(()) };
    let Some(task) = tasks::by_name(db, &job.task).await? else { return Ok(()) };
    job.goal = job.goal.take().or(Some(task.goal));
    facts.config = configs::get(db, &task.id).await?.map(|config| start::policy(&config));
    if facts.worker.is_none()
        && let Some(binding) = bindings::active_of_task(db, &task.id).await?
    {
        facts.worker = sessions::get(db, &binding.worker_session_id).await?.map(|worker| worker.name);
    }
    Ok(())
}
