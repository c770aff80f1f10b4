//! What an addressee says of a message that it was given: received, accepted, or blocked by it.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::sessions::Role;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// What an addressee says of a message.
    ReceiptStatus, "a status of a receipt" {
        /// It will be acted on.
        Accepted = "accepted",
        /// It cannot be acted on.
        Blocked = "blocked",
        /// It was read.
        Received = "received",
    }
}

table! {
    /// A receipt.
    Receipt in "receipts" {
        /// Small number.
        id: i64,
        /// The message.
        delivery_id: DeliveryId,
        /// The message's number, as inboxes show it.
        notification_id: i64,
        /// The task.
        task_id: TaskId,
        /// The binding under which it was sent.
        binding_id: Option<BindingId>,
        /// Which side says it.
        role: Role,
        /// What it says.
        status: ReceiptStatus,
        /// Details.
        payload_json: Value,
        /// What ties it to others.
        correlation_id: Option<String>,
        /// When.
        created_at: Timestamp,
    }
}

/// Appends a receipt; `id` and `created_at` are set. Returns it with the number of its audit row.
pub async fn insert(tx: &mut Tx, mut receipt: Receipt, audit: AuditRow) -> Result<(Receipt, i64)> {
    receipt.id = tx.next_number(Counter::Receipt).await?;
    receipt.created_at = tx.now();
    tx.insert(&receipt).await?;
    let audit = audit
        .or_task(Some(&receipt.task_id))
        .or_binding(receipt.binding_id.as_ref())
        .or_delivery(&receipt.delivery_id);
    let seq = tx.audit(audit).await?;
    Ok((receipt, seq))
}

/// The receipts of a message, oldest first.
pub async fn list(db: &mut Db, delivery: &DeliveryId) -> Result<Vec<Receipt>> {
    db.all(Receipt::select("WHERE delivery_id = $1 ORDER BY id"), args![delivery]).await
}

/// The latest receipt of a message.
pub async fn latest(db: &mut Db, delivery: &DeliveryId) -> Result<Option<Receipt>> {
    db.one(Receipt::select("WHERE delivery_id = $1 ORDER BY id DESC LIMIT 1"), args![delivery]).await
}
