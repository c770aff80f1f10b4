//! `continuation`: what each side of a task proposes to do next, and what a reviewer says of the two proposals.

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::continuation::Agreement;
use conveyor_model::continuation::Verdict;
use conveyor_model::continuation::Viewer;
use conveyor_model::ids::TaskId;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::Plane;
use crate::continuing;
use crate::object::JsonObject;
use crate::statement;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Propose what comes next on a task, or compare what both sides propose
///
/// `--submit` records a proposal, any JSON object, for the caller's own side: the worker first, then the manager under the
/// same correlation id, without having seen the worker's. `--review` records what somebody independent says of both;
/// `continuation-reviewer` runs such a reviewer itself. `--list` shows proposals without their content unless
/// --include-payload is given.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ContinuationRequest {
    /// The task, by name or id
    pub task: String,
    /// Record a proposal of this side
    #[arg(long)]
    pub submit: Option<Role>,
    /// Record a review
    #[arg(long)]
    #[serde(default)]
    pub review: bool,
    /// List proposals and reviews
    #[arg(long)]
    #[serde(default)]
    pub list: bool,
    /// Read the JSON object from standard input (on a command line only)
    #[arg(long)]
    #[serde(default)]
    pub from_stdin: bool,
    /// The JSON object
    #[arg(long, value_name = "OBJECT")]
    pub payload_json: Option<JsonObject>,
    /// What ties proposals and reviews together; a worker's proposal without one begins a new one
    #[arg(long, value_name = "ID")]
    pub correlation_id: Option<String>,
    /// From whose side to look; a session always looks from its own
    #[arg(long, value_enum, default_value_t = as_role())]
    #[serde(default = "as_role")]
    pub as_role: AsRole,
    /// Show the content of proposals too, as far as that side may see it
    #[arg(long)]
    #[serde(default)]
    pub include_payload: bool,
}

const fn as_role() -> AsRole {
    AsRole::All
}

/// From whose side proposals are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AsRole {
    /// A person: everything.
    All,
    /// The worker.
    Worker,
    /// The manager.
    Manager,
    /// Whoever reviews.
    Reviewer,
}

impl AsRole {
    /// The same for the model.
    pub(crate) const fn viewer(self) -> Viewer {
        match self {
            Self::All => Viewer::All,
            Self::Worker => Viewer::Worker,
            Self::Manager => Viewer::Manager,
            Self::Reviewer => Viewer::Reviewer,
        }
    }
}

/// What is to be done.
enum Act {
    Submit(Role),
    Review,
    List,
}

impl ContinuationRequest {
    fn act(&self) -> Result<Act> {
        match (self.submit, self.review, self.list) {
            (Some(role), false, false) => Ok(Act::Submit(role)),
            (None, true, false) => Ok(Act::Review),
            (None, false, true) => Ok(Act::List),
            _ => Err(Error::usage("one of --submit, --review and --list says what to do")
                .hint(format!("conveyor continuation {} --list", self.task))),
        }
    }
}

impl Request for ContinuationRequest {
    fn check(&self) -> Result<()> {
        let act = self.act()?;
        let given = usize::from(self.from_stdin) + usize::from(self.payload_json.is_some());
        if matches!(act, Act::List) != (given == 0) || given > 1 {
            return Err(Error::usage(
                "--submit and --review take one JSON object: --from-stdin or --payload-json",
            ));
        }
        let needs_id = matches!(act, Act::Review | Act::Submit(Role::Manager));
        if needs_id && self.correlation_id.is_none() {
            return Err(Error::usage("--correlation-id is missing: it names the worker's proposal")
                .hint(format!("conveyor continuation {} --list", self.task)));
        }
        self.correlation_id.as_deref().map_or(Ok(()), |id| statement::check_text("--correlation-id", id))
    }
}

/// The task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskOfContinuation {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
}

/// A proposal.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ContinuationView {
    /// Its number.
    pub id: i64,
    /// The task's id.
    pub task_id: TaskId,
    /// Which side proposes it.
    pub proposer: Role,
    /// Counts the proposals of this side under this correlation id.
    pub revision: i64,
    /// What ties it to others.
    pub correlation_id: String,
    /// What is proposed; null when it is not shown.
    pub payload: Option<Value>,
    /// It is not shown.
    pub payload_redacted: bool,
    /// When.
    pub created_at: Timestamp,
}

/// A review.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ReviewView {
    /// Its number.
    pub id: i64,
    /// The task's id.
    pub task_id: TaskId,
    /// What ties it to the proposals.
    pub correlation_id: String,
    /// The worker's proposal.
    pub worker_continuation_id: i64,
    /// The manager's proposal.
    pub manager_continuation_id: i64,
    /// How far they agree.
    pub agreement: Agreement,
    /// What is to follow.
    pub verdict: Verdict,
    /// Why.
    pub rationale: String,
    /// What is to be added.
    pub addendum: Option<String>,
    /// Who reviewed, and how that went. `status` is `claimed` where somebody only said so.
    pub subagent_run: Value,
    /// A person has to decide.
    pub operator_routing_required: bool,
    /// When.
    pub created_at: Timestamp,
}

/// What was recorded, or what there is.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum ContinuationReport {
    /// The proposal that was recorded.
    Submitted(ContinuationView),
    /// The review that was recorded.
    Reviewed(Box<ReviewView>),
    /// What there is, newest first.
    Listed {
        /// The proposals.
        continuations: Vec<ContinuationView>,
        /// The reviews.
        reviews: Vec<ReviewView>,
        /// The task.
        task: TaskOfContinuation,
    },
}

impl Report for ContinuationReport {
    fn text(&self) -> Option<String> {
        let proposal = |one: &ContinuationView| {
            let content = one.payload.as_ref().map_or_else(|| "(not shown)".to_owned(), ToString::to_string);
            format!("proposal {} of the {} ({}): {content}\n", one.id, one.proposer, one.correlation_id)
        };
        Some(match self {
            Self::Submitted(one) => proposal(one),
            Self::Reviewed(review) => told(review),
            Self::Listed { continuations, reviews, .. } if continuations.is_empty() && reviews.is_empty() => {
                "nothing is proposed yet\n".to_owned()
            }
            Self::Listed { continuations, reviews, .. } => {
                continuations.iter().map(proposal).chain(reviews.iter().map(told)).collect()
            }
        })
    }
}

/// A review for a person.
pub(crate) fn told(review: &ReviewView) -> String {
    let person = if review.operator_routing_required { "; a person has to decide" } else { "" };
    format!(
        "review {} ({}): {}, {}{person}: {}\n",
        review.id, review.correlation_id, review.agreement, review.verdict, review.rationale
    )
}

/// The verb.
pub struct Continuation;

impl Verb for Continuation {
    const NAME: &'static str = "continuation";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["task-1", "--list"];
    type Request = ContinuationRequest;
    type Report = ContinuationReport;

    async fn run(plane: &Plane, request: ContinuationRequest) -> Result<ContinuationReport> {
        let payload = JsonObject::given(&plane.caller, request.from_stdin, request.payload_json.clone())?;
        match (request.act()?, payload) {
            (Act::Submit(role), Some(payload)) => {
                let correlation = request.correlation_id.as_deref();
                continuing::submit(plane, &request.task, role, payload, correlation)
                    .await
                    .map(ContinuationReport::Submitted)
            }
            (Act::Review, Some(payload)) => {
                let correlation = request.correlation_id.as_deref().unwrap_or_default();
                let review = continuing::review(plane, &request.task, correlation, &payload).await?;
                Ok(ContinuationReport::Reviewed(Box::new(review)))
            }
            (Act::List, _) => continuing::list(plane, &request).await,
            (Act::Submit(_) | Act::Review, None) => Err(Error::usage("the JSON object is missing")),
        }
    }
}

#[cfg(test)]
mod tests;
