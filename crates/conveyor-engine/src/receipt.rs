//! Recording what an addressee says of a message: by `inbox-ack`, by an inbox's `--ack`, out of an outbox.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery::Stage;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::receipts;
use conveyor_store::receipts::Receipt;
use conveyor_store::receipts::ReceiptStatus;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use serde_json::json;

use crate::Plane;
use crate::object::JsonObject;

/// The sort of a receipt's audit row.
pub(crate) const EVENT: &str = "dispatch_inbox_ack_recorded";

/// The sort of attention that a blocked message raises.
const BLOCKED: &str = "message_blocked";

/// What an addressee says.
pub(crate) struct Said {
    pub(crate) role: Role,
    pub(crate) status: ReceiptStatus,
    pub(crate) payload: JsonObject,
    pub(crate) correlation: Option<String>,
}

/// Appends a receipt, and returns it with its place in the audit chain. A message that its addressee was offered is
/// confirmed by it.
///
/// Errors: refused, when the message is for the other side, was not delivered, or was not read.
pub(crate) async fn record(
    tx: &mut Tx,
    plane: &Plane,
    task: &Task,
    delivery: &Delivery,
    target: &Session,
    said: Said,
) -> Result<(Receipt, i64)> {
    let number = delivery.number;
    if target.role != said.role {
        return Err(Error::refused(format!(
            "the message #{number} was sent to the {} `{}`, not to the {}",
            target.role.as_str(),
            target.name,
            said.role.as_str()
        )));
    }
    let reached = reached(delivery);
    if reached < Reached::of(said.status) {
        let inbox = match target.role {
            Role::Manager => "manager-inbox",
            Role::Worker => "worker-inbox",
        };
        return Err(Error::refused(format!("the message #{number} {}", reached.words()))
            .hint(plane.command(&[inbox, task.name.as_str(), "--consume-next"])));
    }
    if delivery.inbox_at.is_some() && delivery.consumed_at.is_none() && delivery.offered_to.is_some() {
        let sentence = format!("{} acknowledged {}.", target.name, delivery.id);
        let reader = format!("session:{}", target.name);
        deliveries::acknowledge(tx, &delivery.id, &reader, AuditRow::new("inbox_consumed", sentence)).await?;
    }
    note_blocked(tx, task, delivery, target, said.status).await?;
    let sentence = format!("{} says that #{number} on {} is {}.", target.name, task.name, said.status);
    let mut audit = AuditRow::new(EVENT, sentence)
        .session(&target.id)
        .payload(json!({ "notification_id": number, "status": said.status, "role": said.role }));
    if let Some(correlation) = &said.correlation {
        audit = audit.correlation(correlation.as_str());
    }
    let row = Receipt {
        id: 0,
        delivery_id: delivery.id.clone(),
        notification_id: number,
        task_id: task.id.clone(),
        binding_id: delivery.binding_id.clone(),
        role: said.role,
        status: said.status,
        payload_json: said.payload.into_value(),
        correlation_id: said.correlation,
        created_at: tx.now(),
    };
    receipts::insert(tx, row, audit).await
}

/// A message that cannot be acted on wants attention until something else is said of it.
async fn note_blocked(
    tx: &mut Tx,
    task: &Task,
    delivery: &Delivery,
    target: &Session,
    status: ReceiptStatus,
) -> Result<()> {
    let number = delivery.number;
    match status {
        ReceiptStatus::Blocked => {
            let message = format!("{} cannot act on the message #{number}.", target.name);
            let audit = AuditRow::new("attention_raised", message.clone()).delivery(&delivery.id);
            let new = NewAttention {
                kind: BLOCKED.to_owned(),
                session: Some(target.id.clone()),
                task: Some(task.id.clone()),
                delivery: Some(delivery.id.clone()),
                message,
                evidence: json!({ "notification_id": number }),
            };
            attention::raise(tx, new, audit).await.map(drop)
        }
        ReceiptStatus::Accepted | ReceiptStatus::Received => {
            let sentence = format!("The message #{number} no longer blocks {}.", target.name);
            let audit = AuditRow::new("attention_cleared", sentence).delivery(&delivery.id);
            attention::clear(tx, delivery.id.as_str(), BLOCKED, audit).await.map(drop)
        }
    }
}

/// How far a message has come to its addressee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nowhere,
    Delivered,
    Read,
}

impl Reached {
    /// How far it must have come for this to be said of it.
    const fn of(status: ReceiptStatus) -> Self {
        match status {
            ReceiptStatus::Received => Self::Delivered,
            ReceiptStatus::Accepted | ReceiptStatus::Blocked => Self::Read,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Nowhere => "was not delivered",
            Self::Delivered | Self::Read => "was not read yet",
        }
    }
}

fn reached(delivery: &Delivery) -> Reached {
    let read = delivery.consumed_at.is_some() || delivery.offered_to.is_some();
    match (delivery.inbox_at.is_some(), delivery.state) {
        (true, _) if read => Reached::Read,
        (true, _) => Reached::Delivered,
        (false, Stage::Recorded | Stage::Answered) => Reached::Read,
        (false, Stage::Submitted) => Reached::Delivered,
        (
            false,
            Stage::Pending
            | Stage::Leased
            | Stage::EffectStarted
            | Stage::Blocked
            | Stage::Failed
            | Stage::Expired
            | Stage::Unproved
            | Stage::Cancelled,
        ) => Reached::Nowhere,
    }
}
