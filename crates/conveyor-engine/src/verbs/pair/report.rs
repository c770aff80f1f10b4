//! What `pair` answers.

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Name;
use conveyor_model::Retry;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::RunId;
use conveyor_model::ids::TaskId;
use schemars::JsonSchema;
use serde::Serialize;

use super::Done;
use super::Plan;
use super::dispatcher;
use super::dispatcher::Dispatching;
use crate::Plane;
use crate::start::Failure;
use crate::start::SessionReport;
use crate::verb::Report;

/// What was done, would be done, or was undone.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum PairReport {
    /// It was done.
    Done(Box<DoneReport>),
    /// It would be done.
    Planned(PlanReport),
    /// It failed.
    Failed(FailureReport),
}

/// A pair that was started.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DoneReport {
    /// The binding.
    pub binding_id: BindingId,
    /// The run.
    pub run_id: RunId,
    /// The task.
    pub task: TaskReport,
    /// The worker's session.
    pub worker: SessionReport,
    /// The manager's session.
    pub manager: SessionReport,
    /// The task has a recorded configuration.
    pub manager_config_seeded: bool,
    /// This call recorded or changed it.
    pub manager_config_seeded_by_pair: bool,
    /// Criteria that this call added.
    pub manager_acceptance_criteria_seeded: usize,
    /// The dispatcher.
    pub dispatch: Dispatching,
    /// Its command line.
    pub dispatch_command: Option<Vec<String>>,
    /// Whether one was wanted.
    pub ensure_dispatch: bool,
    /// What to run next.
    pub next: String,
}

/// The task of a pair.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskReport {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
    /// This call made it.
    pub created: bool,
}

/// What would be done.
#[derive(Serialize, JsonSchema, Debug)]
pub struct PlanReport {
    /// Nothing was touched.
    pub dry_run: bool,
    /// The dispatcher's command line.
    pub dispatch_command: Option<Vec<String>>,
    /// Whether one would be started.
    pub ensure_dispatch: bool,
    /// The manager's session.
    pub manager: Name,
    /// The task.
    pub task: Name,
    /// The worker's session.
    pub worker: Name,
    /// The steps, in their order.
    pub steps: Vec<String>,
}

/// A pair that could not be started.
#[derive(Serialize, JsonSchema, Debug)]
pub struct FailureReport {
    /// The failure.
    pub error: FailureError,
    /// What was undone.
    pub rolled_back: Vec<String>,
    /// What was not.
    pub left_behind: Vec<String>,
}

/// An error as it stands in JSON.
#[derive(Serialize, JsonSchema, Debug)]
pub struct FailureError {
    /// What sort of failure it is.
    pub kind: ErrorKind,
    /// What failed and why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether the same call may be made again.
    pub retry: Retry,
}

impl From<Error> for FailureError {
    fn from(error: Error) -> Self {
        Self { kind: error.kind, message: error.message, hint: error.hint, retry: error.retry }
    }
}

impl PairReport {
    pub(super) fn done(plane: &Plane, plan: &Plan, done: Done) -> Self {
        let Done { recorded, worker, manager, dispatch } = done;
        let name = recorded.task.name;
        Self::Done(Box::new(DoneReport {
            binding_id: recorded.binding.id,
            run_id: recorded.run.id,
            next: plane.command(&["cycle", name.as_str()]),
            task: TaskReport { id: recorded.task.id, name, created: recorded.created },
            worker,
            manager,
            manager_config_seeded: true,
            manager_config_seeded_by_pair: recorded.config_is_new,
            manager_acceptance_criteria_seeded: recorded.criteria.len(),
            dispatch_command: dispatch.command.clone(),
            ensure_dispatch: !plan.request.no_dispatch,
            dispatch,
        }))
    }

    pub(super) fn planned(plane: &Plane, plan: &Plan) -> Self {
        let Plan { request, found, worker, manager, .. } = plan;
        let start = |spec: &crate::start::Spec| {
            let (sandbox, approval) = (spec.sandbox.as_str(), spec.approval.as_str());
            format!(
                "start {} in tmux session {}, sandbox {sandbox}, approval {approval}",
                spec.name, spec.tmux_session
            )
        };
        let made = if found.task.is_some() { "use" } else { "make" };
        let dispatch_command = dispatcher::command(plane, request);
        let mut steps = vec![
            start(worker),
            start(manager),
            format!(
                "{made} the task {}, record its configuration and criteria, bind, begin a run",
                found.name
            ),
            "bring both sessions their first message".to_owned(),
        ];
        steps.extend(
            dispatch_command.as_ref().map(|_| format!("start the dispatcher {}", request.dispatcher_id)),
        );
        Self::Planned(PlanReport {
            dry_run: true,
            dispatch_command,
            ensure_dispatch: !request.no_dispatch,
            manager: manager.name.clone(),
            task: found.name.clone(),
            worker: worker.name.clone(),
            steps,
        })
    }

    pub(super) fn failed(_: &Plane, _: &Plan, failure: Failure) -> Self {
        Self::Failed(FailureReport {
            error: failure.error.into(),
            rolled_back: failure.undone.rolled_back,
            left_behind: failure.undone.left_behind,
        })
    }
}

impl Report for PairReport {
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Done(done) => {
                let mut text = format!("The task {} has its pair.\n", done.task.name);
                text.push_str(&done.worker.line());
                text.push_str(&done.manager.line());
                text.push_str(&match (&done.dispatch.reason, done.dispatch.running) {
                    (Some(reason), _) => ["No dispatcher runs: ", reason, ".\n"].concat(),
                    (None, true) => "A dispatcher runs.\n".to_owned(),
                    (None, false) => "No dispatcher was wanted.\n".to_owned(),
                });
                text.extend(["Next: ", &done.next, "\n"]);
                text
            }
            Self::Planned(plan) => plan.steps.iter().flat_map(|step| ["would ", step, "\n"]).collect(),
            Self::Failed(failed) => {
                let mut text = format!("The pair was not started: {}.\n", failed.error.message);
                text.extend(failed.rolled_back.iter().flat_map(|what| ["rolled back: ", what, "\n"]));
                text.extend(failed.left_behind.iter().flat_map(|what| ["left behind: ", what, "\n"]));
                text.extend(failed.error.hint.iter().flat_map(|hint| ["hint: ", hint, "\n"]));
                text
            }
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Done(done) => u8::from(!(done.worker.ready && done.manager.ready)),
            Self::Planned(_) => 0,
            Self::Failed(_) => 1,
        }
    }
}
