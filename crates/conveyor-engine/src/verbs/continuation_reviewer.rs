//! `continuation-reviewer`: lets an independent program compare two proposals, confined so that it sees only what it is
//! given.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::Plane;
use crate::reviewing;
use crate::statement;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;
use crate::verbs::continuation::ReviewView;
use crate::verbs::continuation::told;

/// Let an independent program compare what both sides of a task propose
///
/// The program gets both proposals, the task and the state of its repository as JSON on standard input, and answers with
/// one JSON object: `agreement` (match, compatible, divergent), `verdict` (proceed, amend, stop), `rationale`, and
/// `addendum` if it likes. It runs confined, in an empty folder, with an environment of its own: it reads programs and the
/// files that its command line names, and neither the ledger nor any session's record. A reviewer that fails is stored as
/// a review that says stop, and the exit code is 1.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ContinuationReviewerRequest {
    /// The task, by name or id
    pub task: String,
    /// What ties the two proposals together
    #[arg(long, value_name = "ID")]
    pub correlation_id: String,
    /// Who reviews, by any name
    #[arg(long, value_name = "ID")]
    pub reviewer_session_id: String,
    /// Whose work is reviewed, by any other name
    #[arg(long, value_name = "ID")]
    pub manager_session_id: String,
    /// Seconds that it may take
    #[arg(long, default_value_t = timeout())]
    #[serde(default = "timeout")]
    pub timeout: f64,
    /// Let it use the network; only a person on a terminal may
    #[arg(long)]
    #[serde(default)]
    pub network: bool,
    /// Show what it would be given, and run nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
    /// The program and its arguments; everything behind this flag
    #[arg(long, num_args = 1.., allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    pub reviewer_command: Vec<String>,
}

const fn timeout() -> f64 {
    120.0
}

impl Request for ContinuationReviewerRequest {
    fn only_reads(&self) -> bool {
        self.dry_run
    }

    fn check(&self) -> Result<()> {
        for (flag, text) in [
            ("--correlation-id", &self.correlation_id),
            ("--reviewer-session-id", &self.reviewer_session_id),
            ("--manager-session-id", &self.manager_session_id),
        ] {
            statement::check_text(flag, text)?;
        }
        if self.reviewer_session_id.trim() == self.manager_session_id.trim() {
            return Err(Error::usage("nobody reviews its own work: the two session ids have to differ"));
        }
        let longest = limits::REVIEW_SECONDS_MAX;
        if !(self.timeout > 0.0 && self.timeout <= longest) {
            return Err(Error::usage(format!("--timeout is more than 0 and at most {longest} seconds")));
        }
        if self.reviewer_command.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(Error::usage("--reviewer-command names no program"));
        }
        Ok(())
    }
}

/// The review, or what a reviewer would be given.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum ContinuationReviewerReport {
    /// The review that was recorded.
    Reviewed(Box<ReviewView>),
    /// What a reviewer would be given.
    Planned {
        /// On its standard input.
        context: Value,
        /// The program and its arguments.
        reviewer_command: Vec<String>,
    },
}

impl Report for ContinuationReviewerReport {
    fn text(&self) -> Option<String> {
        match self {
            Self::Reviewed(review) => Some(told(review)),
            Self::Planned { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Reviewed(review) => u8::from(review.subagent_run["status"] != "succeeded"),
            Self::Planned { .. } => 0,
        }
    }
}

/// The verb.
pub struct ContinuationReviewer;

impl Verb for ContinuationReviewer {
    const NAME: &'static str = "continuation-reviewer";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &[
        "task-1",
        "--correlation-id",
        "c-1",
        "--reviewer-session-id",
        "r",
        "--manager-session-id",
        "m",
        "--reviewer-command",
        "review",
    ];
    type Request = ContinuationReviewerRequest;
    type Report = ContinuationReviewerReport;

    async fn run(plane: &Plane, request: ContinuationReviewerRequest) -> Result<ContinuationReviewerReport> {
        let scene = reviewing::scene(plane, &request).await?;
        if request.dry_run {
            let reviewer_command = request.reviewer_command;
            return Ok(ContinuationReviewerReport::Planned { context: scene.context, reviewer_command });
        }
        let review = reviewing::run(plane, &request, scene).await?;
        Ok(ContinuationReviewerReport::Reviewed(Box::new(review)))
    }
}
