//! `criteria-plan`: commands that would record what a worker proposed. Nothing is recorded.

use std::io::Read;
use std::path::Path;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_model::proposal;
use conveyor_model::proposal::Proposed;
use conveyor_model::proposal::Section;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Caller;
use crate::Plane;
use crate::plane::quote;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Form;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Draft criteria from a worker's answer
///
/// Reads the lists under headings such as "Must-have" and "Follow-up" out of a worker's answer, and prints for each item
/// the command that would record it: `accepted` for this task, `deferred` for later. What the task has already is named.
/// Nothing is recorded: look at the commands first.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
#[group(skip)]
pub struct CriteriaPlanRequest {
    /// The task, by name or id
    pub task: String,
    /// File that holds the answer; not over MCP
    #[arg(long, value_name = "FILE")]
    pub from_worker_response: Option<String>,
    /// The answer itself
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub from_text: Option<String>,
    /// Read the answer from standard input; not over MCP
    #[arg(long)]
    #[serde(default)]
    pub from_stdin: bool,
}

impl Request for CriteriaPlanRequest {
    fn check(&self) -> Result<()> {
        let given = [self.from_worker_response.is_some(), self.from_text.is_some(), self.from_stdin];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(Error::usage(
                "exactly one of --from-worker-response, --from-text and --from-stdin is needed",
            ));
        }
        if self.from_text.as_ref().is_some_and(|text| text.len() > limits::PLAN_BYTES) {
            return Err(too_long());
        }
        Ok(())
    }
}

/// A criterion that the task has already.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Existing {
    /// Its number.
    pub id: i64,
    /// Where it stands.
    pub status: CriterionStatus,
}

/// A criterion that could be recorded.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Suggestion {
    /// Its text.
    pub criterion: String,
    /// Always `worker_proposed`.
    pub source: CriterionSource,
    /// `accepted` or `deferred`.
    pub status: CriterionStatus,
    /// Why, for what is put off.
    pub rationale: Option<String>,
    /// The task has a criterion with this text.
    pub existing: Option<Existing>,
    /// The command as its words.
    pub command: Vec<String>,
    /// The command as one line for a shell.
    pub shell: String,
}

/// What could be recorded.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CriteriaPlanReport {
    /// The task.
    pub task: Name,
    /// The criteria in the order of the answer.
    pub suggestions: Vec<Suggestion>,
    /// What to look at before they are recorded.
    pub warnings: Vec<String>,
}

/// The verb.
pub struct CriteriaPlan;

impl Verb for CriteriaPlan {
    const NAME: &'static str = "criteria-plan";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Reads;
    const FORM: Form = Form::Narrative;
    const LEAST: &'static [&'static str] = &["foo", "--from-text", "Must-have: it works"];
    type Request = CriteriaPlanRequest;
    type Report = CriteriaPlanReport;

    async fn run(plane: &Plane, request: CriteriaPlanRequest) -> Result<CriteriaPlanReport> {
        let mut reader = plane.ledger_that_exists().await?.read().await?;
        let task = resolve::task(&mut reader, &request.task).await?;
        let known = criteria::list(&mut reader, &task.id, &[]).await?;
        let found = proposal::read(&answer(plane, request)?);
        let suggestions = found.criteria.into_iter().map(|one| suggest(plane, &task, &known, one)).collect();
        Ok(CriteriaPlanReport { task: task.name, suggestions, warnings: found.warnings })
    }
}

/// The worker's answer, from wherever it is.
///
/// Over MCP standard input carries the protocol, and a path would be read with rights that the caller may not have.
fn answer(plane: &Plane, request: CriteriaPlanRequest) -> Result<String> {
    match (request.from_text, request.from_worker_response, &plane.caller) {
        (Some(text), _, _) => Ok(text),
        (None, _, Caller::Tool { .. }) => {
            Err(Error::refused("over MCP the answer is given as text").hint("use `from_text`"))
        }
        (None, Some(path), _) => file(&plane.environment.absolute(&path)?),
        (None, None, _) => text(std::io::stdin().lock(), "standard input"),
    }
}

fn file(path: &Path) -> Result<String> {
    let what = path.display().to_string();
    let failed = |error: std::io::Error| Error::not_found(format!("{what} cannot be read: {error}"));
    let is_file = path.metadata().map_err(failed)?.is_file();
    if !is_file {
        return Err(Error::usage(format!("{what} is no file")));
    }
    text(std::fs::File::open(path).map_err(failed)?, &what)
}

fn text(source: impl Read, what: &str) -> Result<String> {
    let mut bytes = Vec::new();
    source
        .take(limits::PLAN_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::environment(format!("{what} cannot be read: {error}")))?;
    if bytes.len() > limits::PLAN_BYTES {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|_| Error::usage(format!("{what} is no UTF-8 text")))
}

fn too_long() -> Error {
    Error::usage(format!("the answer is longer than {} bytes", limits::PLAN_BYTES))
        .hint("give only the part that holds the criteria")
}

fn suggest(plane: &Plane, task: &Task, known: &[Criterion], one: Proposed) -> Suggestion {
    let (status, rationale) = match one.section {
        Section::MustHave => (CriterionStatus::Accepted, None),
        Section::FollowUp => {
            (CriterionStatus::Deferred, Some("The worker proposes it as a follow-up.".to_owned()))
        }
    };
    let same = known.iter().find(|known| known.criterion == one.criterion);
    let command = command(plane, task, &one.criterion, status, rationale.as_deref());
    Suggestion {
        shell: quote(&command.iter().map(String::as_str).collect::<Vec<_>>()),
        criterion: one.criterion,
        source: CriterionSource::WorkerProposed,
        status,
        rationale,
        existing: same.map(|known| Existing { id: known.id, status: known.status }),
        command,
    }
}

fn command(
    plane: &Plane,
    task: &Task,
    criterion: &str,
    status: CriterionStatus,
    rationale: Option<&str>,
) -> Vec<String> {
    let mut words = vec![
        plane.environment.executable.display().to_string(),
        "criteria".to_owned(),
        task.name.to_string(),
        "--add".to_owned(),
        format!("--criterion={criterion}"),
        "--source".to_owned(),
        CriterionSource::WorkerProposed.to_string(),
        "--status".to_owned(),
        status.to_string(),
    ];
    words.extend(rationale.map(|rationale| format!("--rationale={rationale}")));
    words.extend(["--db".to_owned(), plane.location().to_string()]);
    words
}

impl Report for CriteriaPlanReport {
    fn text(&self) -> Option<String> {
        let mut text = format!("Criteria that could be recorded for {}\n", self.task);
        let sections =
            [("For this task", CriterionStatus::Accepted), ("For later", CriterionStatus::Deferred)];
        for (title, status) in sections {
            text.push_str(&format!("\n{title}:\n"));
            let mut number = 0;
            for one in self.suggestions.iter().filter(|one| one.status == status) {
                number += 1;
                match &one.existing {
                    Some(known) => text.push_str(&format!(
                        "{number}. known as #{}, {}: {}\n",
                        known.id, known.status, one.criterion
                    )),
                    None => text.push_str(&format!("{number}. {}\n", one.shell)),
                }
            }
            if number == 0 {
                text.push_str("None.\n");
            }
        }
        text.extend(self.warnings.iter().flat_map(|warning| ["\nwarning: ", warning, "\n"]));
        text.push_str("\nNothing was recorded. Look at each command before you run it.\n");
        Some(text)
    }
}

#[cfg(test)]
mod tests;
