//! Acceptance criteria and the evidence for them.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// Where a criterion stands.
    CriterionStatus, "a criterion's status" {
        /// It must be met.
        Accepted = "accepted",
        /// Not now.
        Deferred = "deferred",
        /// Somebody proposes it.
        Proposed = "proposed",
        /// It will not be met.
        Rejected = "rejected",
        /// It is met.
        Satisfied = "satisfied",
    }
}

words! {
    /// Who brought a criterion up.
    CriterionSource, "a criterion's source" {
        /// The audit at the end.
        FinalAudit = "final_audit",
        /// The manager.
        ManagerInferred = "manager_inferred",
        /// The person.
        UserRequested = "user_requested",
        /// The worker.
        WorkerProposed = "worker_proposed",
    }
}

table! {
    /// A criterion.
    Criterion in "criteria" {
        /// Small number, given by [`insert`].
        id: i64,
        /// The task.
        task_id: TaskId,
        /// Its text.
        criterion: String,
        /// Where it stands.
        status: CriterionStatus,
        /// Who brought it up.
        source: CriterionSource,
        /// What proves it, in words.
        proof: Option<String>,
        /// Why it stands there.
        rationale: Option<String>,
        /// What proves it, as an object.
        evidence_json: Value,
        /// When it was added.
        created_at: Timestamp,
        /// When it last changed.
        updated_at: Timestamp,
    }
}

/// Adds a criterion, or returns the one of the same task, source and text. The flag says whether it is new. The audit
/// row's payload gets the number as `criterion_id`.
pub async fn insert(tx: &mut Tx, mut criterion: Criterion, audit: AuditRow) -> Result<(Criterion, bool)> {
    let rest = "WHERE task_id = $1 AND source = $2 AND criterion = $3 ORDER BY id LIMIT 1";
    let same = args![&criterion.task_id, &criterion.source, &criterion.criterion];
    if let Some(first) = tx.one(Criterion::select(rest), same).await? {
        return Ok((first, false));
    }
    criterion.id = tx.next_number(Counter::Criterion).await?;
    tx.insert(&criterion).await?;
    let audit = audit.noting("criterion_id", criterion.id.into());
    tx.audit(audit.or_task(Some(&criterion.task_id))).await?;
    Ok((criterion, true))
}

/// Stores all fields of a criterion and sets `updated_at`.
pub async fn update(tx: &mut Tx, criterion: &Criterion, audit: AuditRow) -> Result<Criterion> {
    let criterion = Criterion { updated_at: tx.now(), ..criterion.clone() };
    tx.replace(&criterion).await?;
    tx.audit(audit.or_task(Some(&criterion.task_id))).await?;
    Ok(criterion)
}

/// A criterion of a task by its number.
pub async fn get(db: &mut Db, task: &TaskId, id: i64) -> Result<Option<Criterion>> {
    db.one(Criterion::select("WHERE id = $1 AND task_id = $2"), args![&id, task]).await
}

/// Of these numbers, the criteria of a task, by number.
pub async fn these(db: &mut Db, task: &TaskId, ids: &[i64]) -> Result<Vec<Criterion>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (rest, args) = Filter::new().given("task_id = ?", Some(task)).one_of("id", ids).build();
    db.all(Criterion::select(&format!("{rest} ORDER BY id")), args).await
}

/// The criteria of a task with this text, whoever brought them up, by number.
pub async fn with_text(db: &mut Db, task: &TaskId, text: &str) -> Result<Vec<Criterion>> {
    let rest = "WHERE task_id = $1 AND criterion = $2 ORDER BY id";
    db.all(Criterion::select(rest), args![task, &text.to_owned()]).await
}

/// The newest criteria of a task in any of these states, in all when none is given, by number.
pub async fn last(
    db: &mut Db,
    task: &TaskId,
    statuses: &[CriterionStatus],
    limit: u32,
) -> Result<Vec<Criterion>> {
    let (rest, args) = Filter::new()
        .given("task_id = ?", Some(task))
        .one_of("status", statuses)
        .limited("ORDER BY id DESC", limit);
    let mut last: Vec<Criterion> = db.all(Criterion::select(&rest), args).await?;
    last.reverse();
    Ok(last)
}

/// The criteria of a task by number; only in these states when any are given.
pub async fn list(db: &mut Db, task: &TaskId, statuses: &[CriterionStatus]) -> Result<Vec<Criterion>> {
    let (rest, args) = Filter::new().given("task_id = ?", Some(task)).one_of("status", statuses).build();
    db.all(Criterion::select(&format!("{rest} ORDER BY id")), args).await
}

/// The newest criteria of a task in one status, by number.
pub async fn newest(
    db: &mut Db,
    task: &TaskId,
    status: CriterionStatus,
    limit: u32,
) -> Result<Vec<Criterion>> {
    let (rest, args) = Filter::new()
        .given("task_id = ?", Some(task))
        .given("status = ?", Some(&status))
        .limited("ORDER BY id DESC", limit);
    let mut newest: Vec<Criterion> = db.all(Criterion::select(&rest), args).await?;
    newest.reverse();
    Ok(newest)
}

/// How many criteria stand in each status, of one task or of all.
pub async fn counts(db: &mut Db, task: Option<&TaskId>) -> Result<Vec<(CriterionStatus, i64)>> {
    let (rest, args) = Filter::new().given("task_id = ?", task).build();
    db.all(format!("SELECT status, count(*) FROM criteria {rest} GROUP BY status ORDER BY status"), args)
        .await
}
