//! `inbox-ack`: what an addressee says of a message that it was given.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Stage;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::TaskId;
use conveyor_store::Db;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::receipts;
use conveyor_store::receipts::ReceiptStatus;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::Plane;
use crate::object::JsonObject;
use crate::outbox::Letter;
use crate::receipt;
use crate::receipt::Said;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Say that a message was received, is accepted or cannot be acted on; or show what was said
///
/// That a message was read does not show that it was understood. With `--role` and `--status`, its addressee says so:
/// `received` needs a message that was delivered, `accepted` and `blocked` one that was read; `blocked` raises attention.
/// Without them, shows what was said of it.
#[derive(Args, Clone, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct InboxAckRequest {
    /// The task, by name or id
    pub task: String,
    /// The message's number, as the inbox shows it
    #[arg(long, value_name = "N")]
    pub notification_id: i64,
    /// As which side it is said: manager or worker
    #[arg(long)]
    pub role: Option<Role>,
    /// What is said: received, accepted or blocked
    #[arg(long)]
    pub status: Option<ReceiptStatus>,
    /// Details, from the JSON object on standard input (on a command line only)
    #[arg(long)]
    #[serde(default)]
    pub from_stdin: bool,
    /// Details, as a JSON object
    #[arg(long, value_name = "OBJECT")]
    pub payload_json: Option<JsonObject>,
    /// What ties it to other rows
    #[arg(long, value_name = "ID")]
    pub correlation_id: Option<String>,
}

impl InboxAckRequest {
    /// Who says what; nothing when it is only read.
    const fn said(&self) -> Option<(Role, ReceiptStatus)> {
        match (self.role, self.status) {
            (Some(role), Some(status)) => Some((role, status)),
            (_, _) => None,
        }
    }
}

impl Request for InboxAckRequest {
    fn only_reads(&self) -> bool {
        self.said().is_none()
    }

    fn letter(&self) -> Result<Option<Letter>> {
        let payload = JsonObject::typed(self.from_stdin, self.payload_json.clone())?;
        Ok(Some(Letter::InboxAck(Self { from_stdin: false, payload_json: payload, ..self.clone() })))
    }

    fn check(&self) -> Result<()> {
        if self.role.is_some() != self.status.is_some() {
            return Err(Error::usage("--role and --status belong together")
                .hint("leave out both to show what was said of the message"));
        }
        if self.from_stdin && self.payload_json.is_some() {
            return Err(Error::usage("--from-stdin and --payload-json exclude one another"));
        }
        let details = self.from_stdin || self.payload_json.is_some() || self.correlation_id.is_some();
        if self.said().is_none() && details {
            return Err(Error::usage(
                "--from-stdin, --payload-json and --correlation-id belong to --role and --status",
            ));
        }
        Ok(())
    }
}

/// A receipt.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct ReceiptView {
    /// Its number.
    pub id: i64,
    /// The message's number.
    pub notification_id: i64,
    /// Which side says it.
    pub role: Role,
    /// What it says.
    pub status: ReceiptStatus,
    /// Details.
    pub payload: Value,
    /// What ties it to others.
    pub correlation_id: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// The binding under which the message was sent.
    pub binding_id: Option<BindingId>,
    /// The task.
    pub task_id: TaskId,
}

impl From<receipts::Receipt> for ReceiptView {
    fn from(row: receipts::Receipt) -> Self {
        Self {
            id: row.id,
            notification_id: row.notification_id,
            role: row.role,
            status: row.status,
            payload: row.payload_json,
            correlation_id: row.correlation_id,
            created_at: row.created_at,
            binding_id: row.binding_id,
            task_id: row.task_id,
        }
    }
}

/// The message.
#[derive(Serialize, JsonSchema, Debug)]
pub struct NotificationView {
    /// Its number.
    pub id: i64,
    /// The command.
    pub command_id: DeliveryId,
    /// What it is.
    pub signal_type: String,
    /// Where it stands.
    pub delivery_state: Stage,
    /// For whom it is.
    pub target_session_name: Name,
    /// What that session does.
    pub target_session_role: Role,
    /// Since when it lies in the inbox; null for one that was typed.
    pub delivered_at: Option<Timestamp>,
    /// When it was read.
    pub consumed_at: Option<Timestamp>,
}

/// The task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskOfReceipt {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
}

/// Where a receipt stands in the audit chain.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ReceiptEvent {
    /// The audit row.
    pub event_id: i64,
    /// Its sort.
    pub event_type: &'static str,
    /// When.
    pub recorded_at: Timestamp,
}

/// What was said of a message.
#[derive(Serialize, JsonSchema, Debug)]
pub struct InboxAckReport {
    /// What was recorded now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<ReceiptView>,
    /// Where that stands in the audit chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptEvent>,
    /// All that was said, oldest first.
    pub acknowledgements: Vec<ReceiptView>,
    /// The newest of these.
    pub latest: Option<ReceiptView>,
    /// The message.
    pub notification: NotificationView,
    /// The task.
    pub task: TaskOfReceipt,
}

impl Report for InboxAckReport {
    fn text(&self) -> Option<String> {
        let number = self.notification.id;
        Some(match &self.latest {
            Some(latest) => format!("#{number} is {} by the {}\n", latest.status, latest.role.as_str()),
            None => format!("nothing was said of #{number}\n"),
        })
    }
}

/// The verb.
pub struct InboxAck;

impl Verb for InboxAck {
    const NAME: &'static str = "inbox-ack";
    const GROUP: Group = Group::Carry;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["task-1", "--notification-id", "7"];
    type Request = InboxAckRequest;
    type Report = InboxAckReport;

    async fn run(plane: &Plane, request: InboxAckRequest) -> Result<InboxAckReport> {
        plane.ledger_that_exists().await?;
        match request.said() {
            Some((role, status)) => record(plane, request, role, status).await,
            None => {
                let mut reader = plane.ledger_that_exists().await?.read().await?;
                let task = resolve::task(&mut reader, &request.task).await?;
                let (delivery, target) = message(&mut reader, &task, request.notification_id).await?;
                report(&mut reader, task, &delivery, &target, None).await
            }
        }
    }
}

async fn record(
    plane: &Plane,
    request: InboxAckRequest,
    role: Role,
    status: ReceiptStatus,
) -> Result<InboxAckReport> {
    let payload = JsonObject::given(&plane.caller, request.from_stdin, request.payload_json)?;
    let payload = payload.unwrap_or_default();
    let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
    speaker::may_speak(plane, &mut tx, &task, Speaks::For(role)).await?;
    let (delivery, target) = message(&mut tx, &task, request.notification_id).await?;
    let said = Said { role, status, payload, correlation: request.correlation_id };
    let (row, event_id) = receipt::record(&mut tx, plane, &task, &delivery, &target, said).await?;
    let delivery = deliveries::get(&mut tx, &delivery.id).await?.unwrap_or(delivery);
    let event = ReceiptEvent { event_id, event_type: receipt::EVENT, recorded_at: row.created_at };
    let report = report(&mut tx, task, &delivery, &target, Some((row.into(), event))).await?;
    tx.commit().await?;
    Ok(report)
}

/// A message of a task by its number, and whom it was sent to.
pub(crate) async fn message(db: &mut Db, task: &Task, number: i64) -> Result<(Delivery, Session)> {
    let found = deliveries::by_number(db, number).await?;
    let ours = found.filter(|one| one.task_id.as_ref() == Some(&task.id));
    let missing = || {
        Error::not_found(format!("the task `{}` has no message #{number}", task.name))
            .hint(format!("conveyor commands --task {}", task.name))
    };
    let delivery = ours.ok_or_else(missing)?;
    let target = delivery.target_session_id.clone().ok_or_else(missing)?;
    Ok((delivery, resolve::by_id(db, &target).await?))
}

async fn report(
    db: &mut Db,
    task: Task,
    delivery: &Delivery,
    target: &Session,
    recorded: Option<(ReceiptView, ReceiptEvent)>,
) -> Result<InboxAckReport> {
    let all = receipts::list(db, &delivery.id).await?;
    let acknowledgements: Vec<ReceiptView> = all.into_iter().map(ReceiptView::from).collect();
    let (acknowledgement, receipt) = recorded.unzip();
    Ok(InboxAckReport {
        acknowledgement,
        receipt,
        latest: acknowledgements.last().cloned(),
        acknowledgements,
        notification: NotificationView {
            id: delivery.number,
            command_id: delivery.id.clone(),
            signal_type: delivery.kind.clone(),
            delivery_state: delivery.state,
            target_session_name: target.name.clone(),
            target_session_role: target.role,
            delivered_at: delivery.inbox_at,
            consumed_at: delivery.consumed_at,
        },
        task: TaskOfReceipt { id: task.id, name: task.name },
    })
}

#[cfg(test)]
mod tests;
