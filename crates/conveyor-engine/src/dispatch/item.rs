//! One thing that a dispatcher did, or would do, as its report shows it.

use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_store::deliveries::Delivery;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It cannot be delivered until a person does something.
    Blocked,
    /// It was taken back.
    Cancelled,
    /// The agent's own record holds it.
    Delivered,
    /// Its time was over before it was begun.
    Expired,
    /// It was not delivered and never will be.
    Failed,
    /// It would be carried out now (dry run).
    Planned,
    /// It lies in its target's inbox.
    PullRequired,
    /// It was given back, to be tried again.
    Requeued,
    /// It was typed and submitted; the agent's record is still to come.
    Submitted,
    /// It was routed before.
    Suppressed,
    /// It may have been delivered; nothing shows that it was.
    Unproved,
}

impl ItemState {
    /// The state of a delivery that a dispatcher has worked on.
    pub const fn of(delivery: &Delivery) -> Self {
        match delivery.state {
            Stage::Pending if delivery.inbox_at.is_some() => Self::PullRequired,
            Stage::Pending | Stage::Leased | Stage::EffectStarted => Self::Requeued,
            Stage::Submitted => Self::Submitted,
            Stage::Recorded | Stage::Answered => Self::Delivered,
            Stage::Blocked => Self::Blocked,
            Stage::Failed => Self::Failed,
            Stage::Expired => Self::Expired,
            Stage::Unproved => Self::Unproved,
            Stage::Cancelled => Self::Cancelled,
        }
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Planned => "planned",
            Self::PullRequired => "pull_required",
            Self::Requeued => "requeued",
            Self::Submitted => "submitted",
            Self::Suppressed => "suppressed",
            Self::Unproved => "unproved",
        }
    }
}

/// What was found of a delivery's required permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PermissionCheck {
    /// Whether it is granted.
    pub allowed: bool,
    /// The permission.
    pub required_permission: String,
}

/// One thing that a dispatcher did.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Item {
    /// What became of it.
    pub state: ItemState,
    /// Nothing was done.
    pub dry_run: bool,
    /// The dispatcher.
    pub dispatcher_id: String,
    /// The delivery.
    pub command_id: String,
    /// What it is; null for the end of a worker's turn.
    pub command_type: Option<String>,
    /// What it tells; null for a command.
    pub signal_type: Option<String>,
    /// What ties it to others.
    pub correlation_id: String,
    /// The task's id; its name for the end of a worker's turn.
    pub task: Option<String>,
    /// The binding.
    pub binding_id: Option<String>,
    /// Conveyor's own key of a turn's end.
    pub dedupe_key: Option<String>,
    /// The record that ended the turn.
    pub source_event_id: Option<i64>,
    /// Whom it is for.
    pub target_session: Option<String>,
    /// By which way it goes.
    pub delivery_mode: Transport,
    /// The attempt.
    pub attempt_id: Option<i64>,
    /// Its number, as inboxes show it.
    pub notification_id: i64,
    /// What was found of the required permission.
    pub permission_check: Option<PermissionCheck>,
    /// From here on the agent may have seen it.
    pub side_effect_started: bool,
    /// The submit key went out.
    pub side_effect_completed: bool,
    /// What was typed and where.
    pub send_result: Option<Value>,
    /// An earlier dispatcher had begun it and was lost.
    pub recovered: bool,
    /// What it waits for.
    pub waiting_for: Option<String>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Whether it may be sent again.
    pub retry: Option<String>,
}

impl Item {
    /// The item of a delivery as it stands now.
    pub(super) fn of(delivery: &Delivery, dispatcher: &str, target: Option<String>) -> Self {
        let is_signal = delivery.kind == Kind::WorkerTaskComplete.as_str();
        let kind = Some(delivery.kind.clone());
        let id = delivery.task_id.as_ref().map(ToString::to_string);
        Self {
            state: ItemState::of(delivery),
            dry_run: false,
            dispatcher_id: dispatcher.to_owned(),
            command_id: delivery.id.to_string(),
            command_type: kind.clone().filter(|_| !is_signal),
            signal_type: kind.filter(|_| is_signal),
            correlation_id: delivery.correlation_id.clone(),
            task: if is_signal { delivery.payload_json["task"].as_str().map(str::to_owned) } else { id },
            binding_id: delivery.binding_id.as_ref().map(ToString::to_string),
            dedupe_key: delivery.dedupe_key.clone(),
            source_event_id: delivery.payload_json["source_event_id"].as_i64(),
            send_result: sent(delivery, target.as_deref()),
            target_session: target,
            delivery_mode: delivery.transport,
            attempt_id: None,
            notification_id: delivery.number,
            permission_check: None,
            side_effect_started: delivery.effect_at.is_some(),
            side_effect_completed: delivery.submitted_at.is_some(),
            recovered: false,
            waiting_for: None,
            error: delivery.error.clone(),
            retry: delivery.retry.clone(),
        }
    }

    /// The item in a line.
    pub fn text(&self) -> String {
        let what = self.command_type.as_deref().or(self.signal_type.as_deref()).unwrap_or_default();
        let target = self.target_session.as_deref().unwrap_or("nobody");
        let why = self.error.as_ref().or(self.waiting_for.as_ref());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} {what} {} for {target}{why}", self.state.as_str(), self.command_id)
    }
}

/// What was typed and where, once it was.
fn sent(delivery: &Delivery, target: Option<&str>) -> Option<Value> {
    let pin = delivery.effect_pin_json.as_ref()?;
    Some(json!({
        "dry_run": false,
        "session": target,
        "side_effect_completed": delivery.submitted_at.is_some(),
        "side_effect_started": delivery.effect_at.is_some(),
        "target": format!("{}:{}", pin["session"].as_str().unwrap_or_default(), pin["pane"].as_str().unwrap_or_default()),
        "text": delivery.body,
        "time": delivery.effect_at,
    }))
}
