//! `stop-task`: gives a task up, and stops its sessions.

use clap::Args;
use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::finish_task;
use super::finish_task::FinishTaskReport;
use super::finish_task::FinishTaskRequest;
use super::finish_task::Outcome;
use super::transcript_capture::lines;
use super::transcript_capture::mode;
use crate::Plane;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Stop a task that is not finished, and its manager
///
/// The task ends as `stopped`, which is not `done`: no gate is asked. Its manager's session is stopped with it, its
/// worker's when `--stop-worker` is given. Sessions that are gone count as stopped.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct StopTaskRequest {
    /// The task, by name or id
    pub task: String,
    /// Why it is stopped
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
    /// Stop the worker's session too
    #[arg(long)]
    #[serde(default)]
    pub stop_worker: bool,
    /// A last text for the worker before it is stopped
    #[arg(long, allow_hyphen_values = true)]
    pub message: Option<String>,
    /// The decision to stop that it rests on
    #[arg(long, value_name = "N")]
    pub decision_id: Option<i64>,
    /// Refuse unless that decision is this task's, recent, and says to stop
    #[arg(long)]
    #[serde(default)]
    pub strict_decisions: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
}

impl StopTaskRequest {
    fn as_finish(&self) -> FinishTaskRequest {
        FinishTaskRequest {
            task: self.task.clone(),
            reason: self.reason.clone(),
            outcome: Outcome::Stopped,
            stop_manager: true,
            stop_worker: self.stop_worker,
            message: self.message.clone(),
            decision_id: self.decision_id,
            strict_decisions: self.strict_decisions,
            capture_transcript_before_stop: false,
            capture_transcript_mode: mode(),
            capture_transcript_lines: lines(),
            require_transcript_segment: false,
            require_criteria_audit: false,
            require_acks: false,
            require_epilogue: false,
            require_adversarial_proof: false,
            dry_run: self.dry_run,
        }
    }
}

impl Request for StopTaskRequest {
    fn check(&self) -> Result<()> {
        self.as_finish().check()
    }
}

/// What was stopped.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(transparent)]
pub struct StopTaskReport(pub FinishTaskReport);

impl Report for StopTaskReport {
    fn text(&self) -> Option<String> {
        self.0.text()
    }

    fn exit_code(&self) -> u8 {
        self.0.exit_code()
    }
}

/// The verb.
pub struct StopTask;

impl Verb for StopTask {
    const NAME: &'static str = "stop-task";
    const GROUP: Group = Group::Start;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["foo"];
    type Request = StopTaskRequest;
    type Report = StopTaskReport;

    async fn run(plane: &Plane, request: StopTaskRequest) -> Result<StopTaskReport> {
        finish_task::end(plane, request.as_finish()).await.map(StopTaskReport)
    }
}
