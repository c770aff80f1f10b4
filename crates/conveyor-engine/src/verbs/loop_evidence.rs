//! `loop-evidence`: receipts for what was tried against the work.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::evidence;
use conveyor_store::evidence::Evidence;
use conveyor_store::evidence::EvidenceKind;
use conveyor_store::runs;
use conveyor_store::runs::Run;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::criteria::Source;
use crate::Plane;
use crate::artifact;
use crate::artifact::Artifact;
use crate::caller::judge;
use crate::caller::judge::Judge;
use crate::resolve;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Record what was tried to disprove the work
///
/// `adversarial-check` names the strongest realistic failure, how it was looked for, and what came of it. The receipt
/// stands as a criterion of the task: satisfied with `--status pass`, rejected with `--status fail`; each receipt stays in
/// its history. `finish-task --require-adversarial-proof` asks for one that passed.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct LoopEvidenceRequest {
    /// What is recorded
    #[arg(value_enum)]
    pub action: Action,
    /// The task, by name or id
    pub task: String,
    /// How the work could fail
    #[arg(long, allow_hyphen_values = true)]
    pub failure_mode: String,
    /// How that was looked for: a command, a test, a trace, an inspection
    #[arg(long, allow_hyphen_values = true)]
    pub check: String,
    /// What came of it
    #[arg(long, allow_hyphen_values = true)]
    pub result: String,
    /// Whether the work withstood it
    #[arg(long, value_enum, default_value_t = status())]
    #[serde(default = "status")]
    pub status: Passed,
    /// The run of the loop, by name or id
    #[arg(long, value_name = "RUN")]
    pub loop_run: Option<String>,
    /// The iteration of that run
    #[arg(long, value_name = "N")]
    pub iteration: Option<u32>,
    /// Who brings it
    #[arg(long, value_enum, default_value_t = source())]
    #[serde(default = "source")]
    pub source: Source,
    /// A file that shows it; its size and SHA-256 are kept with the evidence
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    pub artifact_path: Option<String>,
    /// What ties it to other records
    #[arg(long)]
    pub correlation_id: Option<String>,
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// That somebody tried to disprove the work.
    AdversarialCheck,
}

/// Whether the work withstood it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// It did.
    Pass,
    /// It did not.
    Fail,
}

const fn status() -> Passed {
    Passed::Pass
}

const fn source() -> Source {
    Source::ManagerInferred
}

/// The type of the evidence.
const ADVERSARIAL: &str = "adversarial_check";

impl Request for LoopEvidenceRequest {
    fn check(&self) -> Result<()> {
        let texts =
            [("--failure-mode", &self.failure_mode), ("--check", &self.check), ("--result", &self.result)];
        for (flag, text) in texts {
            if text.trim().is_empty() {
                return Err(Error::usage(format!("{flag} is blank")));
            }
            if text.len() > limits::CRITERION_BYTES {
                return Err(Error::usage(format!("{flag} is longer than {} bytes", limits::CRITERION_BYTES))
                    .hint("put the long form into a file and name it with --artifact-path"));
            }
        }
        if self.iteration == Some(0) {
            return Err(Error::usage("--iteration counts from 1"));
        }
        if self.iteration.is_some() != self.loop_run.is_some() {
            return Err(Error::usage("--loop-run and --iteration belong together"));
        }
        Ok(())
    }
}

/// The criterion that holds the receipt.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ReceiptCriterion {
    /// Its number.
    pub id: i64,
    /// Its text.
    pub criterion: String,
    /// Where it stands.
    pub status: CriterionStatus,
    /// Who brought it.
    pub source: CriterionSource,
}

/// What was recorded.
#[derive(Serialize, JsonSchema, Debug)]
pub struct LoopEvidenceReport {
    /// The task.
    pub task: Name,
    /// The criterion that holds it.
    pub criterion: ReceiptCriterion,
    /// The receipt.
    pub evidence: Value,
    /// The receipt's number.
    pub receipt_id: i64,
    /// The run's name.
    pub run: Option<String>,
}

impl Report for LoopEvidenceReport {
    fn text(&self) -> Option<String> {
        Some(format!("#{} is {}: {}\n", self.criterion.id, self.criterion.status, self.criterion.criterion))
    }
}

/// The verb.
pub struct LoopEvidence;

impl Verb for LoopEvidence {
    const NAME: &'static str = "loop-evidence";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] =
        &["adversarial-check", "foo", "--failure-mode", "a", "--check", "b", "--result", "c"];
    type Request = LoopEvidenceRequest;
    type Report = LoopEvidenceReport;

    async fn run(plane: &Plane, request: LoopEvidenceRequest) -> Result<LoopEvidenceReport> {
        let artifact = artifact(plane, &request).await?;
        let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
        let allowed = match judge::judge(plane, &mut tx, &task).await {
            Ok(Judge::Full) => Ok(()),
            Ok(Judge::Proposes) => Err(Error::refused("a worker does not vouch for its own work")
                .hint("tell your manager what you tried, and what came of it")),
            Err(error) => Err(error),
        };
        match allowed {
            Ok(()) => {}
            Err(refusal) if refusal.kind == ErrorKind::Refused => {
                return Err(judge::refuse(plane, tx, "loop-evidence", &task.id, refusal).await);
            }
            Err(error) => return Err(error),
        }
        let run = run_of(&mut tx, &request, &task).await?;
        let said = said(&request, run.as_ref(), artifact.as_ref());
        let criterion = criterion(&mut tx, &request, &task, run.as_ref(), &said).await?;
        let receipt = receipt(&mut tx, &request, &criterion, &said).await?;
        tx.commit().await?;
        Ok(LoopEvidenceReport {
            task: task.name,
            criterion: ReceiptCriterion {
                id: criterion.id,
                criterion: criterion.criterion,
                status: criterion.status,
                source: criterion.source,
            },
            evidence: said,
            receipt_id: receipt.id,
            run: run.map(|run| run.name),
        })
    }
}

/// The file that is named, as it is now. It is looked at before anything is locked, and only for who may vouch: everybody
/// else is refused later.
async fn artifact(plane: &Plane, request: &LoopEvidenceRequest) -> Result<Option<Artifact>> {
    let mut reader = plane.ledger_that_exists().await?.read().await?;
    let Some(given) = &request.artifact_path else { return Ok(None) };
    let task = resolve::task(&mut reader, &request.task).await?;
    if !matches!(judge::judge(plane, &mut reader, &task).await, Ok(Judge::Full)) {
        return Ok(None);
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(binding) = bindings::of_task(&mut reader, &task.id).await?.pop() {
        for role in [Role::Worker, Role::Manager] {
            let session = resolve::by_id(&mut reader, binding.side(role)).await?;
            folders.push(session.cwd.into());
        }
    }
    drop(reader);
    artifact::fix(plane, &folders, given).map(Some)
}

/// The run that is named; names are looked up within the task.
async fn run_of(tx: &mut Tx, request: &LoopEvidenceRequest, task: &Task) -> Result<Option<Run>> {
    let Some(wanted) = &request.loop_run else { return Ok(None) };
    let by_id = match wanted.parse() {
        Ok(id) => runs::get(tx, &id).await?.filter(|run| run.task_id == task.id),
        Err(_) => None,
    };
    let found = match by_id {
        Some(run) => Some(run),
        None => runs::by_name(tx, wanted, Some(&task.id)).await?,
    };
    found.map(Some).ok_or_else(|| {
        Error::not_found(format!("the task `{}` has no run `{}`", task.name, wanted.escape_debug()))
            .hint("leave out --loop-run and --iteration for a check of the task as a whole")
    })
}

fn said(request: &LoopEvidenceRequest, run: Option<&Run>, artifact: Option<&Artifact>) -> Value {
    let mut said = json!({
        "evidence_type": ADVERSARIAL,
        "failure_mode": request.failure_mode.trim(),
        "check": request.check.trim(),
        "result": request.result.trim(),
        "status": request.status,
    });
    let more = [
        ("ralph_loop_run_id", run.map(|run| json!(run.id))),
        ("iteration", request.iteration.map(|number| json!(number))),
        ("artifact_path", request.artifact_path.as_ref().map(|path| json!(path))),
        ("artifact", artifact.map(|artifact| json!(artifact))),
        ("correlation_id", request.correlation_id.as_ref().map(|id| json!(id))),
    ];
    for (key, value) in more {
        if let Some(value) = value {
            said[key] = value;
        }
    }
    said
}

/// The criterion that stands for the check: one for each run and iteration, else one for each failure.
async fn criterion(
    tx: &mut Tx,
    request: &LoopEvidenceRequest,
    task: &Task,
    run: Option<&Run>,
    said: &Value,
) -> Result<Criterion> {
    let text = match (run, request.iteration) {
        (Some(run), Some(iteration)) => {
            format!("Ralph loop {} iteration {iteration} {ADVERSARIAL} evidence", run.id)
        }
        (Some(_), None) | (None, _) => format!("Withstands: {}", request.failure_mode.trim()),
    };
    let status = match request.status {
        Passed::Pass => CriterionStatus::Satisfied,
        Passed::Fail => CriterionStatus::Rejected,
    };
    let proof = Some(format!("{}: {}", request.check.trim(), request.result.trim()));
    let source = request.source.into();
    if let Some(known) = criteria::with_text(tx, &task.id, &text).await?.into_iter().next() {
        let sentence = format!("Criterion #{} is {status}, as an adversarial check showed.", known.id);
        let payload = json!({ "criterion_id": known.id, "previous_status": known.status, "status": status });
        let audit = AuditRow::new("acceptance_criterion_updated", sentence).payload(payload);
        let next = Criterion { status, source, proof, evidence_json: said.clone(), ..known };
        return criteria::update(tx, &next, audit).await;
    }
    let new = Criterion {
        id: 0,
        task_id: task.id.clone(),
        criterion: text,
        status,
        source,
        proof,
        rationale: None,
        evidence_json: said.clone(),
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    let sentence = format!("An adversarial check of {} was recorded: {status}.", task.name);
    let audit = AuditRow::new("acceptance_criterion_added", sentence).payload(json!({ "status": status }));
    Ok(criteria::insert(tx, new, audit).await?.0)
}

async fn receipt(
    tx: &mut Tx,
    request: &LoopEvidenceRequest,
    criterion: &Criterion,
    said: &Value,
) -> Result<Evidence> {
    let new = Evidence {
        id: 0,
        task_id: criterion.task_id.clone(),
        criterion_id: criterion.id,
        kind: EvidenceKind::Claimed,
        passed: request.status == Passed::Pass,
        repository: None,
        commit_id: None,
        tree_id: None,
        details_json: said.clone(),
        created_at: tx.now(),
    };
    let sentence = format!("Evidence for criterion #{} was given.", criterion.id);
    let mut audit = AuditRow::new("evidence_claimed", sentence);
    if let Some(id) = &request.correlation_id {
        audit = audit.correlation(id.clone());
    }
    evidence::insert(tx, new, None, audit.payload(json!({ "criterion_id": criterion.id }))).await
}

/// Whether evidence is that of an adversarial check that says something.
pub(crate) fn is_adversarial(evidence: &Value) -> bool {
    let says = |key: &str| evidence[key].as_str().is_some_and(|text| !text.trim().is_empty());
    evidence["evidence_type"] == ADVERSARIAL && says("failure_mode") && says("check") && says("result")
}

#[cfg(test)]
mod tests;
