//! What lies in an inbox, as its reader sees it.

use std::fmt::Write as _;

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Hold;
use conveyor_model::delivery::Transport;
use conveyor_store::Db;
use conveyor_store::deliveries::Delivery;
use conveyor_store::receipts;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::message;
use crate::verb::Report;
use crate::verbs::inbox_ack::ReceiptView;

/// What lies in the inbox.
#[derive(Serialize, JsonSchema, Debug)]
pub struct InboxReport {
    /// What was taken.
    pub consumed: Option<InboxItem>,
    /// What else waits, oldest first.
    pub items: Vec<InboxItem>,
    /// What was confirmed by `--ack`.
    pub acknowledged: Vec<String>,
    /// Whose inbox it is.
    pub session: SessionRef,
    /// The task, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// How it was waited.
    pub wait: Waited,
    /// The binding, or the session, has ended: nothing more will come.
    pub ended: bool,
    /// Why nothing is handed over now: a person has paused the task or taken the session over.
    pub held: Option<Hold>,
    /// What to run next.
    pub next: Option<String>,
}

/// A session.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SessionRef {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: Role,
}

/// A task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskRef {
    /// Its id.
    pub id: String,
    /// As it was asked for.
    pub name: String,
}

/// How it was waited.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Waited {
    /// It was asked to wait.
    pub enabled: bool,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
    /// As it was asked.
    pub interval_seconds: f64,
    /// Looks into the inbox.
    pub poll_count: u32,
    /// Nothing came in time.
    pub timed_out: bool,
    /// As it was asked.
    pub timeout_seconds: f64,
}

/// A message in an inbox.
#[derive(Serialize, JsonSchema, Debug)]
pub struct InboxItem {
    /// The binding.
    pub binding_id: Option<String>,
    /// Until when its reader may confirm it.
    pub claim_expires_at: Option<Timestamp>,
    /// When it was offered last; null before.
    pub claimed_at: Option<Timestamp>,
    /// The reader that it was offered to.
    pub claimed_by: Option<String>,
    /// The command.
    pub command_id: String,
    /// Stands in the reader's record when the reader has read this: that confirms the item. Only of what is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<String>,
    /// When it was confirmed.
    pub consumed_at: Option<Timestamp>,
    /// The session that confirmed it.
    pub consumed_by_session_id: Option<String>,
    /// The cycle that took it.
    pub consumed_manager_cycle_id: Option<i64>,
    /// What ties it to others.
    pub correlation_id: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Conveyor's own key.
    pub dedupe_key: Option<String>,
    /// Since when it lies here.
    pub delivered_at: Option<Timestamp>,
    /// By which way it goes.
    pub delivery_mode: Transport,
    /// Nothing went wrong with what lies here.
    pub error: Option<String>,
    /// Its number, for `--ack`.
    pub id: i64,
    /// What it says.
    pub message: String,
    /// What its addressee said of it last: see `inbox-ack`.
    pub acknowledgement: Option<ReceiptView>,
    /// How often it was offered.
    pub offers: i64,
    /// Details.
    pub payload: Value,
    /// It was offered before and not confirmed: it may have been read.
    pub redelivered: bool,
    /// The contract's key: nothing was typed.
    pub side_effect_completed: bool,
    /// The contract's key: nothing was typed.
    pub side_effect_started: bool,
    /// What it is.
    pub signal_type: String,
    /// The record that ended the turn.
    pub source_event_id: Option<i64>,
    /// When that was written.
    pub source_event_timestamp: Option<String>,
    /// Who sent it.
    pub source_session_id: Option<String>,
    /// Its name.
    pub source_session_name: Option<String>,
    /// What it does.
    pub source_session_role: Option<Role>,
    /// The contract's word for what lies in an inbox.
    pub state: &'static str,
    /// Whom it is for.
    pub target_session_id: String,
    /// Its name.
    pub target_session_name: String,
    /// What it does.
    pub target_session_role: Role,
    /// The task.
    pub task_id: Option<String>,
    /// Its name.
    pub task_name: Option<String>,
}

impl Report for InboxReport {
    fn text(&self) -> Option<String> {
        let on = self.task.as_ref().map(|task| format!(" on {}", task.name)).unwrap_or_default();
        let mut text = format!("inbox of {}{on}\n", self.session.name);
        for id in &self.acknowledged {
            let _ = writeln!(text, "acknowledged {id}");
        }
        if let Some(item) = &self.consumed {
            text.push_str(&item.text("consumed"));
        }
        match (self.items.len(), self.wait.timed_out) {
            (0, true) => text.push_str("pending: none (timed out)\n"),
            (0, false) => text.push_str("pending: none\n"),
            (count, _) => {
                let _ = writeln!(text, "pending: {count}");
            }
        }
        text.extend(self.items.iter().map(|item| item.text(" ")));
        if let Some(hold) = self.held {
            let _ = writeln!(text, "held: {}", hold.words());
        }
        if self.ended {
            text.push_str("ended: nothing more will come\n");
        }
        if let Some(next) = &self.next {
            let _ = writeln!(text, "next: {next}");
        }
        Some(text)
    }
}

impl InboxItem {
    /// An item as its target sees it; with its confirmation where it is handed over.
    pub(super) async fn of(
        db: &mut Db,
        target: &Session,
        delivery: &Delivery,
        confirmation: Option<String>,
    ) -> Result<Self> {
        let source = match &delivery.source_session_id {
            Some(id) => sessions::get(db, id).await?,
            None => None,
        };
        let task = match &delivery.task_id {
            Some(id) => conveyor_store::tasks::get(db, id).await?,
            None => None,
        };
        // What was offered now counts itself.
        let offered_before = delivery.offers - i64::from(confirmation.is_some());
        Ok(Self {
            binding_id: delivery.binding_id.as_ref().map(ToString::to_string),
            claim_expires_at: delivery.offered_until,
            claimed_at: confirmation.is_some().then_some(delivery.updated_at),
            claimed_by: delivery.offered_to.clone(),
            command_id: delivery.id.to_string(),
            confirmation,
            consumed_at: delivery.consumed_at,
            consumed_by_session_id: delivery.consumed_at.map(|_| target.id.to_string()),
            consumed_manager_cycle_id: delivery.consumed_cycle,
            correlation_id: delivery.correlation_id.clone(),
            created_at: delivery.created_at,
            dedupe_key: delivery.dedupe_key.clone(),
            delivered_at: delivery.inbox_at,
            delivery_mode: delivery.transport,
            error: delivery.error.clone(),
            id: delivery.number,
            message: message::said(delivery).to_owned(),
            acknowledgement: receipts::latest(db, &delivery.id).await?.map(ReceiptView::from),
            offers: delivery.offers,
            payload: payload(delivery, source.as_ref(), target),
            redelivered: offered_before > 0,
            side_effect_completed: false,
            side_effect_started: false,
            signal_type: delivery.kind.clone(),
            source_event_id: delivery.payload_json["source_event_id"].as_i64(),
            source_event_timestamp: delivery.payload_json["worker_receipt"]["at"].as_str().map(str::to_owned),
            source_session_id: delivery.source_session_id.as_ref().map(ToString::to_string),
            source_session_name: source.as_ref().map(|source| source.name.to_string()),
            source_session_role: source.as_ref().map(|source| source.role),
            state: "delivered",
            target_session_id: target.id.to_string(),
            target_session_name: target.name.to_string(),
            target_session_role: target.role,
            task_id: delivery.task_id.as_ref().map(ToString::to_string),
            task_name: task.map(|task| task.name.to_string()),
        })
    }

    /// A line about it, and what it says, indented.
    fn text(&self, lead: &str) -> String {
        let from = self.source_session_name.as_deref().unwrap_or("the operator");
        let (again, key) = (
            if self.redelivered { " (redelivered)" } else { "" },
            self.confirmation.as_deref().unwrap_or(""),
        );
        let message = self.message.replace('\n', "\n    ");
        let head = [lead, &format!("#{}", self.id), &self.command_id, key, &self.signal_type, "from", from];
        let head: Vec<&str> = head.into_iter().filter(|word| !word.is_empty()).collect();
        format!("{}{again}\n    {message}\n", head.join(" "))
    }
}

/// The contract's payload: what was stored, and what it names.
fn payload(delivery: &Delivery, source: Option<&Session>, target: &Session) -> Value {
    let mut payload = delivery.payload_json.clone();
    let extra = json!({
        "command_id": delivery.id,
        "command_type": delivery.kind,
        "delivery_mode": delivery.transport,
        "message": message::said(delivery),
        "source_session": source.map(|source| &source.name),
        "target_session": target.name,
        "task_id": delivery.task_id,
    });
    if let (Value::Object(payload), Value::Object(extra)) = (&mut payload, extra) {
        for (key, value) in extra {
            payload.entry(key).or_insert(value);
        }
    }
    payload
}
