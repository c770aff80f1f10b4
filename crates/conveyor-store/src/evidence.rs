//! What shows that a criterion holds: the command that can tell, what it told, and what somebody said.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// Whose word a piece of evidence is.
    EvidenceKind, "a kind of evidence" {
        /// Somebody said so.
        Claimed = "claimed",
        /// The plane ran it.
        Verified = "verified",
    }
}

table! {
    /// The command that shows whether a criterion holds.
    Check in "criterion_checks" {
        /// The criterion.
        criterion_id: i64,
        /// The command line, run by `sh -c`.
        command: String,
        /// A revision on which it must fail, so that it is known to be able to.
        must_fail_on: Option<String>,
        /// Who brought it, as audit rows name them.
        brought_by: String,
        /// When a person allowed it, on a terminal, to run without confinement.
        allowed_at: Option<Timestamp>,
        /// When it was first stored.
        created_at: Timestamp,
        /// When it last changed.
        updated_at: Timestamp,
    }
}

table! {
    /// One piece of evidence for or against a criterion. It is never changed; the latest counts.
    Evidence in "evidence" {
        /// Small number, given by [`insert`].
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The criterion.
        criterion_id: i64,
        /// Whose word it is.
        kind: EvidenceKind,
        /// Whether it speaks for the criterion.
        passed: bool,
        /// The repository that was checked.
        repository: Option<String>,
        /// The commit that was checked.
        commit_id: Option<String>,
        /// The tree of that commit.
        tree_id: Option<String>,
        /// What was run and how it ended, or what was said.
        details_json: Value,
        /// When.
        created_at: Timestamp,
    }
}

/// Stores a criterion's check in place of the one before.
pub async fn put_check(tx: &mut Tx, check: Check, audit: AuditRow) -> Result<Check> {
    let now = tx.now();
    let check = match self::check(tx, check.criterion_id).await? {
        Some(before) => {
            let check = Check { created_at: before.created_at, updated_at: now, ..check };
            tx.replace(&check).await?;
            check
        }
        None => {
            let check = Check { created_at: now, updated_at: now, ..check };
            tx.insert(&check).await?;
            check
        }
    };
    tx.audit(audit).await?;
    Ok(check)
}

/// The check of a criterion.
pub async fn check(db: &mut Db, criterion: i64) -> Result<Option<Check>> {
    db.one(Check::select("WHERE criterion_id = $1"), args![&criterion]).await
}

/// The checks of a task's criteria, by criterion.
pub async fn checks(db: &mut Db, task: &TaskId) -> Result<Vec<Check>> {
    let rest = "WHERE criterion_id IN (SELECT id FROM criteria WHERE task_id = $1) ORDER BY criterion_id";
    db.all(Check::select(rest), args![task]).await
}

/// Adds a piece of evidence, with the output of what was run.
pub async fn insert(
    tx: &mut Tx,
    mut evidence: Evidence,
    output: Option<&str>,
    audit: AuditRow,
) -> Result<Evidence> {
    evidence.id = tx.next_number(Counter::Evidence).await?;
    evidence.created_at = tx.now();
    tx.insert(&evidence).await?;
    if let Some(output) = output {
        let sql = "INSERT INTO evidence_outputs (evidence_id, output) VALUES ($1, $2)";
        tx.change(sql, args![&evidence.id, &output.to_owned()]).await?;
    }
    tx.audit(audit.or_task(Some(&evidence.task_id))).await?;
    Ok(evidence)
}

/// The latest evidence of each criterion of a task, by criterion.
pub async fn latest(db: &mut Db, task: &TaskId) -> Result<Vec<Evidence>> {
    let rest = "WHERE id IN (SELECT max(id) FROM evidence WHERE task_id = $1 GROUP BY criterion_id) \
                ORDER BY criterion_id";
    db.all(Evidence::select(rest), args![task]).await
}

/// All evidence of a criterion, oldest first.
pub async fn of_criterion(db: &mut Db, task: &TaskId, criterion: i64) -> Result<Vec<Evidence>> {
    let rest = "WHERE task_id = $1 AND criterion_id = $2 ORDER BY id";
    db.all(Evidence::select(rest), args![task, &criterion]).await
}

/// What a command printed, as far as it was kept.
pub async fn output(db: &mut Db, evidence: i64) -> Result<Option<String>> {
    db.value("SELECT output FROM evidence_outputs WHERE evidence_id = $1", args![&evidence]).await
}
