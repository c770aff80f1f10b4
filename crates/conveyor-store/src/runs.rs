//! Spans of work on a task, for telemetry and export.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::RunId;
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
    /// Where a run stands.
    RunStatus, "a run's status" {
        /// Given up.
        Abandoned = "abandoned",
        /// It runs; a task has one active run at most.
        Active = "active",
        /// It failed.
        Failed = "failed",
        /// It is finished.
        Finished = "finished",
    }
}

table! {
    /// A run.
    Run in "runs" {
        /// Its id.
        id: RunId,
        /// Small number, given by [`insert`].
        number: i64,
        /// The task.
        task_id: TaskId,
        /// Its name, not unique.
        name: String,
        /// What it is for.
        purpose: Option<String>,
        /// Where it stands.
        status: RunStatus,
        /// Details.
        metadata_json: Value,
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        ended_at: Option<Timestamp>,
    }
}

/// Begins a run and returns it with its number. The task has an active run: kind `conflict`.
pub async fn insert(tx: &mut Tx, mut run: Run, audit: AuditRow) -> Result<Run> {
    run.number = tx.next_number(Counter::Run).await?;
    tx.insert(&run).await?;
    tx.audit(audit.or_task(Some(&run.task_id))).await?;
    Ok(run)
}

/// Ends an active run. It has ended already, or there is none: kind `conflict`.
pub async fn finish(tx: &mut Tx, id: &RunId, status: RunStatus, audit: AuditRow) -> Result<Run> {
    let now = tx.now();
    let sql = "UPDATE runs SET status = $2, ended_at = $3 WHERE id = $1 AND status = 'active'";
    if status == RunStatus::Active || tx.change(sql, args![id, &status, &now]).await? == 0 {
        return Err(Error::conflict(format!("the run {id} is not active")));
    }
    tx.audit(audit).await?;
    get(tx, id).await?.ok_or_else(|| Error::not_found(format!("there is no run {id}")))
}

/// A run by its id.
pub async fn get(db: &mut Db, id: &RunId) -> Result<Option<Run>> {
    db.one(Run::select("WHERE id = $1"), args![id]).await
}

/// The newest run of that name, of one task or of any.
pub async fn by_name(db: &mut Db, name: &str, task: Option<&TaskId>) -> Result<Option<Run>> {
    let (rest, args) = Filter::new()
        .given("name = ?", Some(&name.to_owned()))
        .given("task_id = ?", task)
        .limited("ORDER BY number DESC", 1);
    db.one(Run::select(&rest), args).await
}

/// The active run of a task.
pub async fn active(db: &mut Db, task: &TaskId) -> Result<Option<Run>> {
    db.one(Run::select("WHERE task_id = $1 AND status = 'active'"), args![task]).await
}

/// Runs, newest first.
pub async fn list(
    db: &mut Db,
    task: Option<&TaskId>,
    status: Option<RunStatus>,
    limit: u32,
) -> Result<Vec<Run>> {
    let (rest, args) = Filter::new()
        .given("task_id = ?", task)
        .given("status = ?", status.as_ref())
        .limited("ORDER BY number DESC", limit);
    db.all(Run::select(&rest), args).await
}
