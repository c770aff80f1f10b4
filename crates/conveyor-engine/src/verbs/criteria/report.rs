//! What `criteria` answers.

use std::collections::BTreeMap;
use std::collections::HashMap;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use conveyor_store::Db;
use conveyor_store::audit;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::evidence;
use conveyor_store::evidence::Check;
use conveyor_store::evidence::Evidence;
use conveyor_store::evidence::EvidenceKind;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::CriteriaRequest;
use crate::Plane;
use crate::listing;
use crate::listing::one_line;
use crate::verb::Report;
use crate::verify::Verified;

/// Which task it is.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskRef {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
}

/// The command that shows whether a criterion holds.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CheckView {
    /// The command line.
    pub command: String,
    /// A revision on which it must fail.
    pub must_fail_on: Option<String>,
    /// Whether a person allowed it to run without confinement.
    pub unconfined: bool,
}

/// The latest evidence of a criterion.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ReceiptView {
    /// Its number.
    pub id: i64,
    /// `verified`: the plane ran it. `claimed`: somebody said so.
    pub kind: EvidenceKind,
    /// Whether it speaks for the criterion.
    pub passed: bool,
    /// The commit that was checked.
    pub commit: Option<String>,
    /// That commit's tree.
    pub tree: Option<String>,
    /// What was run and how it ended, or what was said.
    pub details: Value,
    /// When.
    pub created_at: Timestamp,
}

/// A criterion.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CriterionView {
    /// Its number.
    pub id: i64,
    /// The task.
    pub task_id: TaskId,
    /// Its text.
    pub criterion: String,
    /// Where it stands.
    pub status: CriterionStatus,
    /// Who brought it up.
    pub source: CriterionSource,
    /// What proves it, in words.
    pub proof: Option<String>,
    /// Why it stands there.
    pub rationale: Option<String>,
    /// What proves it, as an object.
    pub evidence: Value,
    /// The command that shows whether it holds.
    pub check: Option<CheckView>,
    /// The latest evidence, and whose word that is.
    pub receipt: Option<ReceiptView>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What the check of one criterion showed.
#[derive(Serialize, JsonSchema, Debug)]
pub struct VerifiedView {
    /// The criterion.
    pub id: i64,
    /// What came of it.
    #[serde(flatten)]
    pub result: Verified,
}

/// One change of a criterion.
#[derive(Serialize, JsonSchema, Debug)]
pub struct HistoryRow {
    /// Its place in the audit chain.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What sort of change.
    pub kind: String,
    /// The change in a sentence.
    pub sentence: String,
    /// The details, unless they were pruned.
    pub payload: Option<Value>,
}

/// How the criteria of a task stand.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CriteriaReport {
    /// The task.
    pub task: TaskRef,
    /// The criteria by number; with `--list --status` only those.
    pub criteria: Vec<CriterionView>,
    /// How many of all the task's criteria stand where.
    pub summary: BTreeMap<&'static str, u64>,
    /// The criterion that was added or judged; the last of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affected_criterion: Option<CriterionView>,
    /// All that were added or judged, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub affected_criteria: Vec<i64>,
    /// With `--add`: whether it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// With `--verify`: what each check showed, in the order of the ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<VerifiedView>,
    /// With `--history`: the changes, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<HistoryRow>>,
    /// What to look at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// There are more criteria than are listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The command that lists more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What an action did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) affected: Vec<i64>,
    pub(super) created: Option<bool>,
    pub(super) verified: Vec<VerifiedView>,
    pub(super) history: Option<Vec<HistoryRow>>,
    pub(super) warnings: Vec<String>,
}

/// How things stand after an action. The number of queries does not depend on the number of criteria.
pub(super) async fn make(
    plane: &Plane,
    db: &mut Db,
    request: &CriteriaRequest,
    task: Task,
    done: Done,
) -> Result<CriteriaReport> {
    let statuses: Vec<CriterionStatus> = match request.list {
        true => request.status.iter().map(|status| (*status).into()).collect(),
        false => Vec::new(),
    };
    let limit = listing::rows(plane, request.limit);
    let mut rows = criteria::last(db, &task.id, &statuses, limit.saturating_add(1)).await?;
    let truncated = rows.len() > limit as usize;
    if truncated {
        rows.remove(0);
    }
    let beside = Beside::of(db, &task.id).await?;
    let affected = match done.affected.last() {
        Some(id) => criteria::get(db, &task.id, *id).await?.map(|one| beside.view(one)),
        None => None,
    };
    let summary = summary(db, &task.id).await?;
    let total: u64 = summary.values().sum();
    let next = truncated
        .then(|| plane.command(&["criteria", task.name.as_str(), "--list", "--limit", &total.to_string()]));
    Ok(CriteriaReport {
        criteria: rows.into_iter().map(|one| beside.view(one)).collect(),
        task: TaskRef { id: task.id, name: task.name },
        summary,
        affected_criterion: affected,
        affected_criteria: done.affected,
        created: done.created,
        verified: done.verified,
        history: done.history,
        warnings: done.warnings,
        truncated,
        next,
    })
}

/// How many criteria of a task stand where; each status is named.
pub(crate) async fn summary(db: &mut Db, task: &TaskId) -> Result<BTreeMap<&'static str, u64>> {
    let mut summary: BTreeMap<&'static str, u64> =
        CriterionStatus::ALL.iter().map(|status| (status.as_str(), 0)).collect();
    for (status, count) in criteria::counts(db, Some(task)).await? {
        summary.insert(status.as_str(), u64::try_from(count).unwrap_or_default());
    }
    Ok(summary)
}

/// What stands beside the criteria of a task.
struct Beside {
    checks: HashMap<i64, Check>,
    latest: HashMap<i64, Evidence>,
}

impl Beside {
    async fn of(db: &mut Db, task: &TaskId) -> Result<Self> {
        let checks = evidence::checks(db, task).await?;
        let latest = evidence::latest(db, task).await?;
        Ok(Self {
            checks: checks.into_iter().map(|one| (one.criterion_id, one)).collect(),
            latest: latest.into_iter().map(|one| (one.criterion_id, one)).collect(),
        })
    }

    fn view(&self, one: Criterion) -> CriterionView {
        let check = self.checks.get(&one.id).map(|check| CheckView {
            command: check.command.clone(),
            must_fail_on: check.must_fail_on.clone(),
            unconfined: check.allowed_at.is_some(),
        });
        CriterionView {
            check,
            receipt: self.latest.get(&one.id).map(receipt),
            id: one.id,
            task_id: one.task_id,
            criterion: one.criterion,
            status: one.status,
            source: one.source,
            proof: one.proof,
            rationale: one.rationale,
            evidence: one.evidence_json,
            created_at: one.created_at,
            updated_at: one.updated_at,
        }
    }
}

fn receipt(latest: &Evidence) -> ReceiptView {
    ReceiptView {
        id: latest.id,
        kind: latest.kind,
        passed: latest.passed,
        commit: latest.commit_id.clone(),
        tree: latest.tree_id.clone(),
        details: latest.details_json.clone(),
        created_at: latest.created_at,
    }
}

/// The kinds of audit rows that tell of a criterion.
const TOLD: &[&str] = &[
    "acceptance_criterion_added",
    "acceptance_criterion_updated",
    "check_allowed",
    "check_stored",
    "evidence_claimed",
    "evidence_verified",
];

/// The changes of one criterion.
///
/// Errors: not found for a number that is not of this task.
pub(super) async fn history(db: &mut Db, task: &Task, id: i64) -> Result<Vec<HistoryRow>> {
    if criteria::get(db, &task.id, id).await?.is_none() {
        return Err(Error::not_found(format!("the task `{}` has no criterion #{id}", task.name))
            .hint(format!("list them: conveyor criteria {} --list", task.name)));
    }
    let wanted = audit::Wanted {
        task: Some(task.id.clone()),
        kinds: TOLD.iter().map(|kind| (*kind).to_owned()).collect(),
        ..audit::Wanted::default()
    };
    let rows = audit::list(db, &wanted, u32::MAX).await?.into_iter();
    let of_it =
        rows.filter(|row| row.payload_json.as_ref().is_some_and(|payload| payload["criterion_id"] == id));
    Ok(of_it
        .map(|row| HistoryRow {
            seq: row.seq,
            at: row.at,
            actor: row.actor,
            kind: row.kind,
            sentence: row.sentence,
            payload: row.payload_json,
        })
        .collect())
}

impl Report for CriteriaReport {
    fn text(&self) -> Option<String> {
        let mut text = String::new();
        if let Some(history) = &self.history {
            for row in history {
                text.extend([&row.at.to_string(), "  ", &row.actor, "  ", &one_line(&row.sentence), "\n"]);
            }
            return Some(text);
        }
        match (&self.affected_criterion, self.created) {
            (Some(one), Some(true)) => text.push_str(&format!("Added #{}.\n", one.id)),
            (Some(one), Some(false)) => text.push_str(&format!("#{} was there before.\n", one.id)),
            (Some(_), None) | (None, _) => {}
        }
        for one in &self.verified {
            let reason = one.result.reason.as_deref().unwrap_or("it holds");
            text.push_str(&format!("#{} on {}: {}\n", one.id, one.result.commit, one_line(reason)));
        }
        for one in &self.criteria {
            let receipt = one.receipt.as_ref().map_or("-", |receipt| receipt.kind.as_str());
            text.push_str(&format!(
                "{:>5}  {:<9}  {:<16}  {:<8}  {}\n",
                format!("#{}", one.id),
                one.status.as_str(),
                one.source.as_str(),
                receipt,
                one_line(&one.criterion)
            ));
        }
        let counts: Vec<String> =
            self.summary.iter().map(|(status, count)| format!("{count} {status}")).collect();
        text.push_str(&format!("{}: {}\n", self.task.name, counts.join(", ")));
        text.extend(self.warnings.iter().flat_map(|warning| ["warning: ", warning, "\n"]));
        text.extend(self.next.iter().flat_map(|next| ["there are more: ", next, "\n"]));
        Some(text)
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.verified.iter().any(|one| !one.result.passed))
    }
}
