//! What a worker leaves for whoever goes on.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

table! {
    /// A handoff.
    Handoff in "handoffs" {
        /// Small number.
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The worker that left it.
        worker_session_id: Option<SessionId>,
        /// Where things stand.
        summary: String,
        /// List of texts.
        next_steps_json: Value,
        /// Details.
        payload_json: Value,
        /// When.
        created_at: Timestamp,
    }
}

/// Appends a handoff; `id` and `created_at` are set. The latest one counts.
pub async fn insert(tx: &mut Tx, mut handoff: Handoff, audit: AuditRow) -> Result<Handoff> {
    handoff.id = tx.next_number(Counter::Handoff).await?;
    handoff.created_at = tx.now();
    tx.insert(&handoff).await?;
    tx.audit(audit.or_task(Some(&handoff.task_id)).or_session(handoff.worker_session_id.as_ref())).await?;
    Ok(handoff)
}

/// The latest handoff of a task.
pub async fn latest(db: &mut Db, task: &TaskId) -> Result<Option<Handoff>> {
    db.one(Handoff::select("WHERE task_id = $1 ORDER BY id DESC LIMIT 1"), args![task]).await
}

/// The handoffs of a task, newest first.
pub async fn list(db: &mut Db, task: &TaskId, limit: u32) -> Result<Vec<Handoff>> {
    db.all(Handoff::select("WHERE task_id = $1 ORDER BY id DESC LIMIT $2"), args![task, &i64::from(limit)])
        .await
}
