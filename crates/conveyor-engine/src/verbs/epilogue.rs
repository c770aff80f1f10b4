//! `epilogue`: the steps that a task's configuration wants at its end, run one by one, each with its result.

mod step;
mod tools;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::configs;
use conveyor_store::epilogues;
use conveyor_store::epilogues::EpilogueRun;
use conveyor_store::epilogues::EpilogueState;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

pub use self::step::Step;
use crate::Plane;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::statement;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Run or show the steps that belong to the end of a task
///
/// Only steps that the task's configuration names can be run, and the latest run of each counts. `run-tools` asks each
/// configured tool for its version, confined, in the worker's folder. `draft-pr` opens no pull request: it counts what the
/// ledger holds for the text of one. `subagent-review` wants a review of the latest proposals that does not say stop.
/// `record-handoff` wants a saved handoff. The exit code is 1 when the step failed.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct EpilogueRequest {
    /// The task, by name or id
    pub task: String,
    /// Run this step
    #[arg(long, value_enum)]
    pub step: Option<Step>,
    /// Show all runs and what is still missing
    #[arg(long)]
    #[serde(default)]
    pub list: bool,
    /// The same
    #[arg(long)]
    #[serde(default)]
    pub status: bool,
    /// What ties the run to other rows
    #[arg(long, value_name = "ID")]
    pub correlation_id: Option<String>,
}

impl Request for EpilogueRequest {
    fn check(&self) -> Result<()> {
        if self.step.is_some() == (self.list || self.status) {
            return Err(Error::usage("either --step or --status says what to do")
                .hint(format!("conveyor epilogue {} --status", self.task)));
        }
        self.correlation_id.as_deref().map_or(Ok(()), |id| statement::check_text("--correlation-id", id))
    }

    fn only_reads(&self) -> bool {
        self.step.is_none()
    }
}

/// A run of a step.
#[derive(Serialize, JsonSchema, Debug)]
pub struct RunView {
    /// Its number.
    pub id: i64,
    /// The task's id.
    pub task_id: TaskId,
    /// The step.
    pub step_name: String,
    /// `succeeded` or `failed`.
    pub state: EpilogueState,
    /// What it found.
    pub result: Value,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What ties it to others.
    pub correlation_id: Option<String>,
}

impl From<EpilogueRun> for RunView {
    fn from(run: EpilogueRun) -> Self {
        Self {
            id: run.id,
            task_id: run.task_id,
            step_name: run.step_name,
            state: run.state,
            result: run.result_json,
            error: run.error,
            started_at: run.started_at,
            finished_at: run.finished_at,
            correlation_id: run.correlation_id,
        }
    }
}

/// Where one configured step stands.
#[derive(Serialize, JsonSchema, Debug)]
pub struct StepView {
    /// The step.
    pub step_name: String,
    /// Its latest run.
    pub latest_run: Option<RunView>,
    /// That succeeded.
    pub ok: bool,
    /// `succeeded`, `failed` or `missing`.
    pub state: &'static str,
}

/// Where all configured steps stand.
#[derive(Serialize, JsonSchema, Debug)]
pub struct StatusView {
    /// Steps whose latest run did not succeed, or that never ran.
    pub missing_or_incomplete: Vec<String>,
    /// None is missing.
    pub ok: bool,
    /// The steps that the task's configuration names.
    pub required_steps: Vec<String>,
    /// Each of them.
    pub steps: Vec<StepView>,
}

/// The task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskOfEpilogue {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
}

/// What the task's end wants, and what was done.
#[derive(Serialize, JsonSchema, Debug)]
pub struct EpilogueReport {
    /// The task.
    pub task: TaskOfEpilogue,
    /// The steps that the task's configuration names.
    pub configured_steps: Vec<String>,
    /// The run that was asked for, or all of them, oldest first.
    pub runs: Vec<RunView>,
    /// Where all steps stand now.
    pub status: StatusView,
    /// A step was run.
    #[serde(skip)]
    has_run: bool,
}

impl Report for EpilogueReport {
    fn text(&self) -> Option<String> {
        if self.has_run {
            return Some(self.runs.iter().map(told).collect());
        }
        if self.status.steps.is_empty() {
            return Some("the task's configuration names no step\n".to_owned());
        }
        let line = |step: &StepView| match &step.latest_run {
            Some(run) => told(run),
            None => format!("{}: missing\n", step.step_name),
        };
        Some(self.status.steps.iter().map(line).collect())
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.has_run && self.runs.iter().any(|run| run.state == EpilogueState::Failed))
    }
}

fn told(run: &RunView) -> String {
    let said =
        run.error.as_deref().or_else(|| run.result["summary"].as_str()).map(|said| format!(": {said}"));
    format!("{}: {}{}\n", run.step_name, run.state, said.unwrap_or_default())
}

/// The verb.
pub struct Epilogue;

impl Verb for Epilogue {
    const NAME: &'static str = "epilogue";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Acts;
    const LEAST: &'static [&'static str] = &["task-1", "--status"];
    type Request = EpilogueRequest;
    type Report = EpilogueReport;

    async fn run(plane: &Plane, request: EpilogueRequest) -> Result<EpilogueReport> {
        let mut reader = plane.ledger_that_exists().await?.read().await?;
        let task = resolve::task(&mut reader, &request.task).await?;
        let runs = match request.step {
            None => epilogues::list(&mut reader, &task.id).await?,
            Some(step) => {
                speaker::may_speak(plane, &mut reader, &task, Speaks::For(Role::Manager)).await?;
                configured(&mut reader, &task, step).await?;
                drop(reader);
                let run = run(plane, &task, step, request.correlation_id).await?;
                reader = plane.ledger().await?.read().await?;
                vec![run]
            }
        };
        let status = status(&mut reader, &task.id).await?;
        Ok(EpilogueReport {
            task: TaskOfEpilogue { id: task.id, name: task.name },
            configured_steps: status.required_steps.clone(),
            runs: runs.into_iter().map(RunView::from).collect(),
            status,
            has_run: request.step.is_some(),
        })
    }
}

/// Refuses a step that the configuration does not name.
async fn configured(db: &mut Db, task: &Task, step: Step) -> Result<()> {
    if names(db, &task.id).await?.iter().any(|name| name == step.as_str()) {
        return Ok(());
    }
    let (name, step) = (&task.name, step.as_str());
    Err(Error::refused(format!("the configuration of `{name}` does not name the step {step}"))
        .hint(format!("conveyor manager-config {name} --epilogue {step}")))
}

/// The steps that a task's configuration names.
async fn names(db: &mut Db, task: &TaskId) -> Result<Vec<String>> {
    let config = configs::get(db, task).await?;
    let all = config.iter().filter_map(|config| config.epilogues_json.as_array()).flatten();
    Ok(all.filter_map(|step| step.as_str().map(ToOwned::to_owned)).collect())
}

/// Where the configured steps of a task stand.
pub(crate) async fn status(db: &mut Db, task: &TaskId) -> Result<StatusView> {
    let required_steps = names(db, task).await?;
    let mut latest = epilogues::latest(db, task).await?;
    let steps: Vec<StepView> = required_steps
        .iter()
        .map(|step| {
            let place = latest.iter().position(|run| run.step_name == *step);
            let run = place.map(|place| RunView::from(latest.swap_remove(place)));
            let state = run.as_ref().map_or("missing", |run| run.state.as_str());
            let ok = run.as_ref().is_some_and(|run| run.state == EpilogueState::Succeeded);
            StepView { step_name: step.clone(), latest_run: run, ok, state }
        })
        .collect();
    let missing: Vec<String> =
        steps.iter().filter(|step| !step.ok).map(|step| step.step_name.clone()).collect();
    Ok(StatusView { ok: missing.is_empty(), missing_or_incomplete: missing, required_steps, steps })
}

/// Runs a step and keeps what came of it. The ledger is not held meanwhile.
async fn run(plane: &Plane, task: &Task, step: Step, correlation: Option<String>) -> Result<EpilogueRun> {
    let started_at = plane.clock.now();
    let outcome = step::take(plane, task, step).await?;
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let state = if outcome.error.is_none() { EpilogueState::Succeeded } else { EpilogueState::Failed };
    let sentence = format!("The step {} of {} {state}.", step.as_str(), task.name);
    let audit = AuditRow::new("epilogue_step_recorded", sentence)
        .payload(json!({ "step": step.as_str(), "state": state, "error": outcome.error }));
    let new = EpilogueRun {
        id: 0,
        task_id: task.id.clone(),
        step_name: step.as_str().to_owned(),
        state,
        result_json: outcome.result,
        error: outcome.error,
        started_at,
        finished_at: tx.now(),
        correlation_id: correlation,
    };
    let made = epilogues::insert(&mut tx, new, audit).await?;
    tx.commit().await?;
    Ok(made)
}

#[cfg(test)]
mod tests;
