//! What a manager decided, and why.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
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
    /// What was decided.
    DecisionKind, "a decision" {
        /// Call a person.
        Escalate = "escalate",
        /// Look closer.
        Inspect = "inspect",
        /// Interrupt the worker.
        Interrupt = "interrupt",
        /// Send the worker a message.
        Nudge = "nudge",
        /// Stop the task.
        Stop = "stop",
        /// Do nothing yet.
        Wait = "wait",
    }
}

table! {
    /// A decision.
    Decision in "decisions" {
        /// Small number.
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The manager.
        manager_session_id: Option<SessionId>,
        /// The cycle that it rests on.
        cycle_id: Option<i64>,
        /// What was decided.
        decision: DecisionKind,
        /// Why.
        reason: String,
        /// Details.
        payload_json: Value,
        /// When.
        created_at: Timestamp,
    }
}

/// Appends a decision; `id` and `created_at` are set.
pub async fn insert(tx: &mut Tx, mut decision: Decision, audit: AuditRow) -> Result<Decision> {
    decision.id = tx.next_number(Counter::Decision).await?;
    decision.created_at = tx.now();
    tx.insert(&decision).await?;
    tx.audit(audit.or_task(Some(&decision.task_id)).or_session(decision.manager_session_id.as_ref())).await?;
    Ok(decision)
}

/// A decision by its number.
pub async fn get(db: &mut Db, id: i64) -> Result<Option<Decision>> {
    db.one(Decision::select("WHERE id = $1"), args![&id]).await
}

/// The decisions on a task, newest first.
pub async fn list(db: &mut Db, task: &TaskId, limit: u32) -> Result<Vec<Decision>> {
    db.all(Decision::select("WHERE task_id = $1 ORDER BY id DESC LIMIT $2"), args![task, &i64::from(limit)])
        .await
}
