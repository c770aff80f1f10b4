//! What is asked of the criteria, and what fits together.

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::listing;
use crate::object::JsonObject;
use crate::outbox::Letter;
use crate::outbox::Proposal;
use crate::verb::Request;

/// List, add and judge the acceptance criteria of a task
///
/// One action a call: `--list`, `--add`, `--accept`, `--satisfy`, `--defer`, `--reject`, `--verify` or `--history`. What judges takes
/// several ids (`--accept 3 --accept 4`), and changes all of them or none. Each answer counts all criteria of the task; one
/// that changed something holds the row as `affected_criterion`. Adding a text that is known changes nothing and says so
/// (`created: false`), unless `--upsert` is given. A worker may list, and propose; its manager judges. A text that starts
/// with a dash is given as `--criterion=-v`.
///
/// A criterion may carry a command (`--check`). `--verify` runs it in a clean working tree of a commit, without a terminal
/// and confined to that tree, and records how it ended: that evidence is `verified`, anything else is `claimed`.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct CriteriaRequest {
    /// The task, by name or id
    pub task: String,
    /// List the criteria
    #[arg(long)]
    #[serde(default)]
    pub list: bool,
    /// Add one: needs --criterion and --source
    #[arg(long)]
    #[serde(default)]
    pub add: bool,
    /// Number of a criterion that must be met; may be repeated
    #[arg(long, value_name = "ID")]
    #[serde(default)]
    pub accept: Vec<i64>,
    /// Number of a criterion that is met; may be repeated
    #[arg(long, value_name = "ID")]
    #[serde(default)]
    pub satisfy: Vec<i64>,
    /// Number of a criterion for later; may be repeated
    #[arg(long, value_name = "ID")]
    #[serde(default)]
    pub defer: Vec<i64>,
    /// Number of a criterion that will not be met; may be repeated
    #[arg(long, value_name = "ID")]
    #[serde(default)]
    pub reject: Vec<i64>,
    /// Number of a criterion whose check is run; may be repeated
    #[arg(long, value_name = "ID")]
    #[serde(default)]
    pub verify: Vec<i64>,
    /// Number of a criterion whose changes are shown
    #[arg(long, value_name = "ID")]
    pub history: Option<i64>,
    /// With --list only these, may be repeated; with --add where it stands at first, else `proposed`
    #[arg(long, value_enum)]
    #[serde(default)]
    pub status: Vec<Status>,
    /// The text of a new criterion
    #[arg(long, allow_hyphen_values = true)]
    pub criterion: Option<String>,
    /// Who brings a new criterion up
    #[arg(long, value_enum)]
    pub source: Option<Source>,
    /// What proves it, in words
    #[arg(long, allow_hyphen_values = true)]
    pub proof: Option<String>,
    /// Why it stands where it stands
    #[arg(long, allow_hyphen_values = true)]
    pub rationale: Option<String>,
    /// What proves it, as a JSON object such as '{"command":"cargo test","status":"pass"}'
    #[arg(long, value_name = "OBJECT")]
    pub evidence_json: Option<JsonObject>,
    /// With --add: a command, run by `sh -c`, that succeeds exactly when the criterion is met
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub check: Option<String>,
    /// With --check or --verify: an older revision on which the check has to fail, which shows that it can
    #[arg(long, value_name = "REV")]
    pub must_fail_on: Option<String>,
    /// With --verify: the commit that is claimed; the worker's HEAD otherwise
    #[arg(long, value_name = "REV")]
    pub commit: Option<String>,
    /// With --verify: how long each run may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = seconds())]
    #[serde(default = "seconds")]
    pub time_limit: u32,
    /// With --check or --verify: let the check reach everything; only a person on a terminal may allow that
    #[arg(long)]
    #[serde(default)]
    pub unconfined: bool,
    /// With --add: change the criterion when its text is known
    #[arg(long)]
    #[serde(default)]
    pub upsert: bool,
    /// Rows at most, the newest; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
}

const fn seconds() -> u32 {
    limits::CHECK_SECONDS
}

/// Where a criterion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It must be met.
    Accepted,
    /// Not in this task.
    Deferred,
    /// Somebody proposes it.
    Proposed,
    /// It will not be met.
    Rejected,
    /// It is met.
    Satisfied,
}

impl From<Status> for CriterionStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Accepted => Self::Accepted,
            Status::Deferred => Self::Deferred,
            Status::Proposed => Self::Proposed,
            Status::Rejected => Self::Rejected,
            Status::Satisfied => Self::Satisfied,
        }
    }
}

/// Who brings a criterion up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Source {
    /// The audit at the end.
    FinalAudit,
    /// The manager.
    ManagerInferred,
    /// The person.
    UserRequested,
    /// The worker.
    WorkerProposed,
}

impl From<Source> for CriterionSource {
    fn from(source: Source) -> Self {
        match source {
            Source::FinalAudit => Self::FinalAudit,
            Source::ManagerInferred => Self::ManagerInferred,
            Source::UserRequested => Self::UserRequested,
            Source::WorkerProposed => Self::WorkerProposed,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    List,
    Add,
    Move(CriterionStatus, Vec<i64>),
    Verify(Vec<i64>),
    History(i64),
}

impl CriteriaRequest {
    pub(super) fn action(&self) -> Result<Action> {
        let moves = [
            (CriterionStatus::Accepted, &self.accept),
            (CriterionStatus::Satisfied, &self.satisfy),
            (CriterionStatus::Deferred, &self.defer),
            (CriterionStatus::Rejected, &self.reject),
        ];
        let mut asked: Vec<Action> = Vec::new();
        asked.extend(self.list.then_some(Action::List));
        asked.extend(self.add.then_some(Action::Add));
        asked.extend(
            moves
                .into_iter()
                .filter(|(_, ids)| !ids.is_empty())
                .map(|(to, ids)| Action::Move(to, ids.clone())),
        );
        asked.extend((!self.verify.is_empty()).then(|| Action::Verify(self.verify.clone())));
        asked.extend(self.history.map(Action::History));
        match asked.pop() {
            Some(action) if asked.is_empty() => Ok(action),
            Some(_) | None => {
                Err(Error::usage(
                    "exactly one of --list, --add, --accept, --satisfy, --defer, --reject, --verify and --history is \
                     needed",
                )
                .hint(format!("conveyor criteria {} --list", self.task)))
            }
        }
    }

    /// The text of a new criterion, trimmed.
    pub(super) fn text(&self) -> &str {
        self.criterion.as_deref().unwrap_or_default().trim()
    }
}

impl Request for CriteriaRequest {
    fn only_reads(&self) -> bool {
        matches!(self.action(), Ok(Action::List | Action::History(_)))
    }

    fn letter(&self) -> Result<Option<Letter>> {
        let placed = !self.status.iter().all(|status| *status == Status::Proposed);
        let judged = self.proof.is_some() || self.evidence_json.is_some() || self.check.is_some();
        if !self.add || placed || judged || self.upsert || self.source != Some(Source::WorkerProposed) {
            return Ok(None);
        }
        Ok(Some(Letter::ProposeCriterion(Proposal {
            task: Some(self.task.clone()),
            criterion: self.text().to_owned(),
            rationale: self.rationale.clone(),
        })))
    }

    fn check(&self) -> Result<()> {
        listing::check(self.limit)?;
        let action = self.action()?;
        let texts = [
            ("--criterion", &self.criterion, limits::CRITERION_BYTES),
            ("--proof", &self.proof, limits::CRITERION_BYTES),
            ("--rationale", &self.rationale, limits::CRITERION_BYTES),
            ("--check", &self.check, limits::CHECK_BYTES),
        ];
        for (flag, text, limit) in texts {
            if text.as_ref().is_some_and(|text| text.len() > limit) {
                return Err(Error::usage(format!("{flag} is longer than {limit} bytes"))
                    .hint("put the long form into a file of the repository and name it"));
            }
        }
        self.check_run(&action)?;
        let judged = self.proof.is_some() || self.rationale.is_some() || self.evidence_json.is_some();
        match action {
            Action::Add => self.check_add(),
            _ if self.criterion.is_some() || self.source.is_some() || self.upsert => {
                Err(Error::usage("--criterion, --source and --upsert belong to --add"))
            }
            Action::Move(_, ids) => self.check_move(&ids),
            Action::List | Action::History(_) | Action::Verify(_) if judged => Err(Error::usage(
                "--proof, --rationale and --evidence-json belong to what adds or judges a criterion",
            )),
            Action::History(id) => is_number(id),
            Action::Verify(ids) => self.check_move(&ids),
            Action::List => Ok(()),
        }
    }
}

impl CriteriaRequest {
    /// What belongs to running a check, and to nothing else.
    fn check_run(&self, action: &Action) -> Result<()> {
        let verifies = matches!(action, Action::Verify(_));
        if self.check.is_some() && *action != Action::Add {
            return Err(Error::usage("--check belongs to --add")
                .hint("add --upsert to give a known criterion a check"));
        }
        if self.check.as_ref().is_some_and(|check| check.trim().is_empty()) {
            return Err(Error::usage("--check holds no command"));
        }
        if (self.must_fail_on.is_some() || self.unconfined) && !verifies && self.check.is_none() {
            return Err(Error::usage("--must-fail-on and --unconfined belong to --check or --verify"));
        }
        if (self.commit.is_some() || self.time_limit != seconds()) && !verifies {
            return Err(Error::usage("--commit and --time-limit belong to --verify"));
        }
        if !(1..=limits::CHECK_SECONDS_MAX).contains(&self.time_limit) {
            return Err(Error::usage(format!("--time-limit is 1 to {} seconds", limits::CHECK_SECONDS_MAX)));
        }
        Ok(())
    }

    fn check_add(&self) -> Result<()> {
        if self.text().is_empty() || self.source.is_none() {
            return Err(Error::usage("--add needs --criterion and --source").hint(format!(
                "conveyor criteria {} --add --criterion \"what must hold\" --source manager_inferred",
                self.task
            )));
        }
        if self.status.len() > 1 {
            return Err(Error::usage("--add takes one --status"));
        }
        Ok(())
    }

    fn check_move(&self, ids: &[i64]) -> Result<()> {
        if !self.status.is_empty() {
            return Err(Error::usage(
                "--status filters --list, or places what --add adds; the action itself says the rest",
            ));
        }
        ids.iter().try_for_each(|id| is_number(*id))
    }
}

fn is_number(id: i64) -> Result<()> {
    if id >= 1 { Ok(()) } else { Err(Error::usage(format!("{id} is no number of a criterion"))) }
}
