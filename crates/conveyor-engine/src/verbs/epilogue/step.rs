//! The steps themselves.

use clap::ValueEnum;
use conveyor_model::Result;
use conveyor_model::continuation::Verdict;
use conveyor_store::Db;
use conveyor_store::audit;
use conveyor_store::continuations;
use conveyor_store::continuations::Review;
use conveyor_store::criteria;
use conveyor_store::deliveries;
use conveyor_store::handoffs;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::tools;
use crate::Plane;

/// A step. The words are those of the contract, whatever they promise; the doc comments say what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Each configured tool says its version.
    RunTools,
    /// What the ledger holds for the text of a pull request is counted; none is opened.
    DraftPr,
    /// A review of the latest proposals does not say stop.
    SubagentReview,
    /// A handoff is saved.
    RecordHandoff,
}

impl Step {
    /// The word that configurations use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunTools => "run-tools",
            Self::DraftPr => "draft-pr",
            Self::SubagentReview => "subagent-review",
            Self::RecordHandoff => "record-handoff",
        }
    }
}

/// What came of a step.
pub(super) struct Outcome {
    pub(super) result: Value,
    /// Why it failed; without it, it succeeded.
    pub(super) error: Option<String>,
}

impl Outcome {
    pub(super) fn found(result: Value) -> Self {
        Self { result, error: None }
    }

    pub(super) fn failed(result: Value, why: impl Into<String>) -> Self {
        Self { result, error: Some(why.into()) }
    }
}

/// Takes a step.
pub(super) async fn take(plane: &Plane, task: &Task, step: Step) -> Result<Outcome> {
    let mut reader = plane.ledger_that_exists().await?.read().await?;
    match step {
        Step::RunTools => {
            let wanted = tools::wanted(&mut reader, task).await?;
            drop(reader);
            tools::run(plane, wanted).await
        }
        Step::DraftPr => counted(&mut reader, task).await,
        Step::SubagentReview => reviewed(&mut reader, task).await,
        Step::RecordHandoff => handed_over(&mut reader, task).await,
    }
}

/// What the text of a pull request could be made of.
async fn counted(db: &mut Db, task: &Task) -> Result<Outcome> {
    let criteria: i64 = criteria::counts(db, Some(&task.id)).await?.iter().map(|(_, count)| count).sum();
    let commands: i64 = deliveries::counts(db, Some(&task.id)).await?.iter().map(|(_, count)| count).sum();
    let events = audit::count(db, &task.id).await?;
    Ok(Outcome::found(json!({
        "acceptance_criteria_count": criteria,
        "command_count": commands,
        "event_count": events,
        "pull_request_opened": false,
        "summary": format!(
            "{criteria} criteria, {commands} commands and {events} audit rows are on record; no pull request was opened"
        ),
    })))
}

/// The latest review speaks of the latest proposals, does not say stop, and leaves nothing to a person.
async fn reviewed(db: &mut Db, task: &Task) -> Result<Outcome> {
    let Some(review) = continuations::reviews(db, &task.id, 1).await?.pop() else {
        return Ok(Outcome::failed(
            json!({}),
            "no review is recorded: conveyor continuation-reviewer --help",
        ));
    };
    let result = json!({
        "agreement": review.agreement,
        "continuation_review_id": review.id,
        "operator_routing_required": review.operator_routing_required,
        "status": review.subagent_run_json["status"],
        "summary": review.rationale,
        "verdict": review.verdict,
    });
    let against = match (review.verdict, review.operator_routing_required) {
        (Verdict::Stop, _) => Some("the latest review says stop"),
        (Verdict::Proceed | Verdict::Amend, true) => Some("a person has to decide on the latest review"),
        (Verdict::Proceed | Verdict::Amend, false) if is_outdated(db, task, &review).await? => {
            Some("a side has proposed something else since the latest review")
        }
        (Verdict::Proceed | Verdict::Amend, false) => None,
    };
    Ok(match against {
        Some(why) => Outcome::failed(result, why),
        None => Outcome::found(result),
    })
}

/// Whether a side has replaced the proposal that a review is about.
async fn is_outdated(db: &mut Db, task: &Task, review: &Review) -> Result<bool> {
    for (role, reviewed) in
        [(Role::Worker, review.worker_continuation_id), (Role::Manager, review.manager_continuation_id)]
    {
        let latest = continuations::latest(db, &task.id, &review.correlation_id, role).await?;
        if latest.is_none_or(|latest| latest.id != reviewed) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn handed_over(db: &mut Db, task: &Task) -> Result<Outcome> {
    Ok(match handoffs::latest(db, &task.id).await? {
        Some(handoff) => Outcome::found(json!({ "handoff_id": handoff.id, "summary": handoff.summary })),
        None => {
            let hint = format!("no handoff is saved: conveyor handoff {} --summary \"...\"", task.name);
            Outcome::failed(json!({}), hint)
        }
    })
}
