//! `compact-worker`: decides and requests in one step.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::compaction::SlashCommand;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::compaction;
use crate::compaction::Asked;
use crate::compaction::CompactReport;
use crate::compaction::RestsOn;
use crate::statement;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Decide that a worker's context is to be compacted, and have it done
///
/// The same as `record-decision` and `request-worker-compact` together: everything is checked first, then decision and
/// request are recorded at once, so that a refusal leaves neither.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct CompactWorkerRequest {
    /// The task, by name or id
    pub task: String,
    /// Why
    #[arg(long, allow_hyphen_values = true)]
    pub reason: String,
    /// The cycle that the decision rests on; the task's latest one when absent
    #[arg(long, value_name = "N")]
    pub cycle_id: Option<i64>,
    /// Clear the context instead of compacting it: the session goes on in a new thread
    #[arg(long)]
    #[serde(default)]
    pub clear: bool,
    /// Only ask the worker to do it, with a message
    #[arg(long)]
    #[serde(default)]
    pub prompt_only: bool,
    /// The text of that message; noted with the request otherwise
    #[arg(long, allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Type it although a turn runs: the agent does it when the turn has ended
    #[arg(long)]
    #[serde(default)]
    pub force: bool,
    /// Check everything and do nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
}

impl Request for CompactWorkerRequest {
    fn check(&self) -> Result<()> {
        if self.cycle_id.is_some_and(|id| id < 1) {
            return Err(Error::usage("--cycle-id counts from 1"));
        }
        statement::check_text("--reason", &self.reason)?;
        self.message.as_deref().map_or(Ok(()), |message| statement::check_text("--message", message))
    }
}

/// The verb.
pub struct CompactWorker;

impl Verb for CompactWorker {
    const NAME: &'static str = "compact-worker";
    const GROUP: Group = Group::Act;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["task-1", "--reason", "its context is full"];
    type Request = CompactWorkerRequest;
    type Report = CompactReport;

    async fn run(plane: &Plane, request: CompactWorkerRequest) -> Result<CompactReport> {
        let rests_on = RestsOn::New { reason: &request.reason, cycle: request.cycle_id };
        compaction::request(
            plane,
            &Asked {
                task: &request.task,
                command: if request.clear { SlashCommand::Clear } else { SlashCommand::Compact },
                prompt_only: request.prompt_only,
                message: request.message.as_deref(),
                rests_on,
                force: request.force,
                dry_run: request.dry_run,
            },
        )
        .await
    }
}
