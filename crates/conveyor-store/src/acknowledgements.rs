//! What worker and manager say they have understood.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::sessions::Role;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

table! {
    /// An acknowledgement.
    Acknowledgement in "acknowledgements" {
        /// Small number.
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The binding that was active.
        binding_id: Option<BindingId>,
        /// Which side.
        role: Role,
        /// What it says.
        payload_json: Value,
        /// Counts the acknowledgements of this side, from 1.
        revision: i64,
        /// The configuration's revision that it was made for.
        manager_config_revision: Option<i64>,
        /// What ties it to others.
        correlation_id: Option<String>,
        /// When.
        created_at: Timestamp,
    }
}

/// Appends an acknowledgement; `id`, `revision` and `created_at` are set.
pub async fn insert(tx: &mut Tx, mut ack: Acknowledgement, audit: AuditRow) -> Result<Acknowledgement> {
    let before = latest(tx, &ack.task_id, ack.role).await?;
    ack.revision = before.map_or(0, |before| before.revision) + 1;
    ack.id = tx.next_number(Counter::Acknowledgement).await?;
    ack.created_at = tx.now();
    tx.insert(&ack).await?;
    tx.audit(audit.or_task(Some(&ack.task_id)).or_binding(ack.binding_id.as_ref())).await?;
    Ok(ack)
}

/// The latest acknowledgement of one side.
pub async fn latest(db: &mut Db, task: &TaskId, role: Role) -> Result<Option<Acknowledgement>> {
    let rest = "WHERE task_id = $1 AND role = $2 ORDER BY revision DESC LIMIT 1";
    db.one(Acknowledgement::select(rest), args![task, &role]).await
}

/// All acknowledgements of a task, oldest first.
pub async fn list(db: &mut Db, task: &TaskId) -> Result<Vec<Acknowledgement>> {
    db.all(Acknowledgement::select("WHERE task_id = $1 ORDER BY id"), args![task]).await
}
