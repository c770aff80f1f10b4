//! `request-worker-compact`: has a worker's agent compact or clear its context, on a decision that was recorded before.

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

/// Have a worker's agent compact its context
///
/// Types the agent's own command and waits for its effect: the compaction in the agent's record, or the new thread, which
/// the session then follows. It has to be granted (`worker_session.compact`, or `worker_session.clear` with --clear), the
/// worker's handoff has to be saved, and no turn may run. A worker without a terminal finds a prompt in its inbox.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct RequestWorkerCompactRequest {
    /// The task, by name or id
    pub task: String,
    /// The decision that it rests on
    #[arg(long, value_name = "N")]
    pub decision_id: Option<i64>,
    /// Refuse unless that decision is there, is this task's, was to nudge, and is at most 15 minutes old
    #[arg(long)]
    #[serde(default)]
    pub strict_decisions: bool,
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

impl Request for RequestWorkerCompactRequest {
    fn check(&self) -> Result<()> {
        if self.decision_id.is_some_and(|id| id < 1) {
            return Err(Error::usage("--decision-id counts from 1"));
        }
        self.message.as_deref().map_or(Ok(()), |message| statement::check_text("--message", message))
    }
}

/// The verb.
pub struct RequestWorkerCompact;

impl Verb for RequestWorkerCompact {
    const NAME: &'static str = "request-worker-compact";
    const GROUP: Group = Group::Act;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["task-1"];
    type Request = RequestWorkerCompactRequest;
    type Report = CompactReport;

    async fn run(plane: &Plane, request: RequestWorkerCompactRequest) -> Result<CompactReport> {
        let rests_on = RestsOn::Recorded { id: request.decision_id, strict: request.strict_decisions };
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
