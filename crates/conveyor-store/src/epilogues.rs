//! Steps that belong to the end of a task, and how they ended.

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
    /// How a step ended.
    EpilogueState, "a state of an epilogue step" {
        /// It did not do what it is for.
        Failed = "failed",
        /// It did.
        Succeeded = "succeeded",
    }
}

table! {
    /// One run of a step.
    EpilogueRun in "epilogue_runs" {
        /// Small number, given by [`insert`].
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The step.
        step_name: String,
        /// How it ended.
        state: EpilogueState,
        /// What it found.
        result_json: Value,
        /// Why it failed.
        error: Option<String>,
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
        /// What ties it to others.
        correlation_id: Option<String>,
    }
}

/// Adds a run and returns it with its number.
pub async fn insert(tx: &mut Tx, mut run: EpilogueRun, audit: AuditRow) -> Result<EpilogueRun> {
    run.id = tx.next_number(Counter::Epilogue).await?;
    tx.insert(&run).await?;
    tx.audit(audit.or_task(Some(&run.task_id))).await?;
    Ok(run)
}

/// The latest run of each step of a task, by step.
pub async fn latest(db: &mut Db, task: &TaskId) -> Result<Vec<EpilogueRun>> {
    let rest = "WHERE id IN (SELECT max(id) FROM epilogue_runs WHERE task_id = $1 GROUP BY step_name) \
                ORDER BY step_name";
    db.all(EpilogueRun::select(rest), args![task]).await
}

/// All runs of a task, oldest first.
pub async fn list(db: &mut Db, task: &TaskId) -> Result<Vec<EpilogueRun>> {
    db.all(EpilogueRun::select("WHERE task_id = $1 ORDER BY id"), args![task]).await
}
