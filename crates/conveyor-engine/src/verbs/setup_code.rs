//! `setup-code`: a code from which both sessions of a pair derive their names.

use clap::Args;
use conveyor_model::Result;
use conveyor_model::setup;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Print a setup code and the two prompts that pair sessions by it
///
/// Paste the first prompt into the session that is to be the worker and the second into the one that is to be the
/// manager. The names of the task and of both sessions follow from the code.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct SetupCodeRequest {
    /// The code to use instead of a fresh one
    #[arg(long)]
    pub code: Option<String>,
    /// What the manager is to reach; stands in its prompt
    #[arg(long)]
    pub goal: Option<String>,
}

impl Request for SetupCodeRequest {}

/// A code, the names that follow from it, and the prompts.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SetupCodeReport {
    /// The code.
    pub setup_code: String,
    /// Name of the task.
    pub task: String,
    /// Name of the worker's session.
    pub worker: String,
    /// Name of the manager's session.
    pub manager: String,
    /// For the session that is to be the worker.
    pub worker_prompt: String,
    /// For the session that is to be the manager.
    pub manager_prompt: String,
}

impl Report for SetupCodeReport {
    fn text(&self) -> Option<String> {
        Some(format!(
            "Setup code {}\n\nInto the worker's session:\n\n{}\n\nInto the manager's session:\n\n{}\n",
            self.setup_code, self.worker_prompt, self.manager_prompt
        ))
    }
}

/// The verb.
pub struct SetupCode;

impl Verb for SetupCode {
    const NAME: &'static str = "setup-code";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Reads;
    type Request = SetupCodeRequest;
    type Report = SetupCodeReport;

    async fn run(plane: &Plane, request: SetupCodeRequest) -> Result<SetupCodeReport> {
        let code = request.code.unwrap_or_else(|| setup::code(plane.clock.random()));
        let names = setup::names(&code)?;
        let goal = request.goal.as_deref().unwrap_or("<goal>");
        let folder = plane.environment.cwd.display();
        Ok(SetupCodeReport {
            worker_prompt: format!(
                "Use the manage-codex-workers skill.\n\
                 Register this current Codex session as the worker for this dashboard setup.\n\
                 Dashboard setup code: {code}\nWorking directory: {folder}\n\
                 Run: {}\n\
                 After registration, wait for the manager. Do not start work until you are bound and have criteria.",
                plane.command_line(&["register-worker", "--setup-code", &code])
            ),
            manager_prompt: format!(
                "Use the manage-codex-workers skill.\n\
                 Register this current Codex session as the manager for this dashboard setup.\n\
                 Dashboard setup code: {code}\nWorking directory: {folder}\nGoal: {goal}\n\
                 Run: {}\n\
                 Then run cycles, agree on criteria, nudge only when useful, require evidence, and finish the task.",
                plane.command_line(&register_manager(&code, request.goal.as_deref()))
            ),
            task: names.task.to_string(),
            worker: names.worker.to_string(),
            manager: names.manager.to_string(),
            setup_code: code,
        })
    }
}

/// The command of the manager's prompt.
fn register_manager<'a>(code: &'a str, goal: Option<&'a str>) -> Vec<&'a str> {
    let mut words = vec!["register-manager", "--setup-code", code];
    words.extend(goal.into_iter().flat_map(|goal| ["--goal", goal]));
    words
}
