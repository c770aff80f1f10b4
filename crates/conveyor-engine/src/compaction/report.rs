//! What is told of a compaction.

use conveyor_model::Name;
use conveyor_model::Timestamp;
use conveyor_model::compaction::DecisionWarning;
use conveyor_model::compaction::Refusal;
use conveyor_model::compaction::SlashCommand;
use conveyor_model::delivery::Stage;
use conveyor_store::decisions::DecisionKind;
use conveyor_store::deliveries::Delivery;
use schemars::JsonSchema;
use serde::Serialize;

use super::Asked;
use super::Found;
use super::Scene;
use super::types_command;
use crate::Plane;
use crate::message;
use crate::verb::Report;

/// How the decision was judged.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DecisionCheck {
    /// Its number.
    pub decision_id: Option<i64>,
    /// What was decided, and why.
    pub decision: Option<DecisionSeen>,
    /// What lets a compaction go.
    pub allowed_decisions: [&'static str; 1],
    /// Nothing speaks against it.
    pub ok: bool,
    /// What does.
    pub warnings: Vec<DecisionWarning>,
    /// How old it is, in seconds.
    pub age_seconds: Option<u64>,
    /// How old it may be, in seconds.
    pub max_age_seconds: u64,
}

/// A decision.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DecisionSeen {
    /// What was decided.
    pub decision: DecisionKind,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at: Timestamp,
}

/// Whether it is allowed.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Permitted {
    /// The one permission that is used.
    pub action: &'static str,
    /// It is granted, and nothing else stands against it.
    pub allowed: bool,
    /// The saved handoff.
    pub handoff_id: Option<i64>,
    /// What stands against it.
    pub reasons: Vec<Refusal>,
}

/// What became of the text.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SendResult {
    /// Nothing was done.
    pub dry_run: bool,
    /// The worker.
    pub session: Name,
    /// Where it is typed: pane or `inbox`.
    pub target: String,
    /// What is typed, or read from the inbox.
    pub text: String,
    /// Where it stands.
    pub state: Option<Stage>,
    /// From here on the agent may have seen it.
    pub side_effect_started: bool,
    /// The submit key went out, or it lies in the inbox.
    pub side_effect_completed: bool,
    /// What it waits for.
    pub waiting_for: Option<String>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Whether it may be sent again.
    pub retry: Option<String>,
    /// When.
    pub time: Timestamp,
}

/// What became of it.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CompactReport {
    /// The task.
    pub task: Name,
    /// The worker.
    pub worker_session: Name,
    /// The delivery, to be asked for later.
    pub command_id: Option<String>,
    /// What is asked of the agent: `/compact` or `/clear`; null where only a prompt goes out.
    pub slash_command: Option<SlashCommand>,
    /// The text that goes out.
    pub send_text: String,
    /// The caller's own words.
    pub message: Option<String>,
    /// The agent's own record shows the compaction, the new thread is proved, or its record holds the prompt.
    pub confirmed: bool,
    /// How the decision was judged.
    pub manager_decision: DecisionCheck,
    /// Whether it is allowed.
    pub permission_check: Permitted,
    /// What became of the text.
    pub send_result: SendResult,
    /// What to run next.
    pub next: Option<String>,
}

impl Report for CompactReport {
    fn text(&self) -> Option<String> {
        let sent = &self.send_result;
        let state = sent.state.map_or("not sent (dry run)", Stage::as_str);
        let what = self.slash_command.map_or("prompt", SlashCommand::as_str);
        let mut text = format!("{} to {}: {state}", what, self.worker_session);
        for (label, detail) in [("waits", &sent.waiting_for), ("error", &sent.error), ("next", &self.next)] {
            if let Some(detail) = detail {
                text.push_str(&format!("\n{label}: {detail}"));
            }
        }
        Some(text)
    }

    fn exit_code(&self) -> u8 {
        let state = self.send_result.state;
        u8::from(state.is_some_and(|state| {
            matches!(state, Stage::Failed | Stage::Blocked | Stage::Unproved | Stage::Expired)
        }))
    }
}

/// What became of it, or would.
pub(super) fn report(
    plane: &Plane,
    scene: &Scene,
    asked: &Asked<'_>,
    found: Found,
    text: String,
    carried: Option<(Delivery, Option<String>)>,
) -> CompactReport {
    let (delivery, wait) = carried.map_or((None, None), |(delivery, wait)| (Some(delivery), wait));
    let state = delivery.as_ref().map(|delivery| delivery.state);
    let confirmed = matches!(state, Some(Stage::Recorded | Stage::Answered));
    let id = delivery.as_ref().map(|delivery| delivery.id.to_string());
    let next =
        (!confirmed).then(|| id.as_deref().map(|id| plane.command(&["commands", "--id", id]))).flatten();
    let inbox = delivery.as_ref().is_some_and(|delivery| delivery.inbox_at.is_some());
    let target = match message::pin(&scene.worker) {
        Some(pin) => format!("{}:{}", pin.session, pin.pane),
        None => "inbox".to_owned(),
    };
    CompactReport {
        task: scene.task.name.clone(),
        worker_session: scene.worker.name.clone(),
        command_id: id,
        slash_command: types_command(&scene.worker, asked).then_some(asked.command),
        send_text: text.clone(),
        message: asked.message.map(str::to_owned),
        confirmed,
        permission_check: Permitted {
            action: asked.command.permission(),
            allowed: found.refusals.is_empty(),
            handoff_id: found.handoff,
            reasons: found.refusals,
        },
        manager_decision: found.decision,
        send_result: SendResult {
            dry_run: asked.dry_run,
            session: scene.worker.name.clone(),
            target,
            text,
            state,
            side_effect_started: inbox || delivery.as_ref().is_some_and(|one| one.effect_at.is_some()),
            side_effect_completed: inbox || delivery.as_ref().is_some_and(|one| one.submitted_at.is_some()),
            waiting_for: wait,
            error: delivery.as_ref().and_then(|one| one.error.clone()),
            retry: delivery.as_ref().and_then(|one| one.retry.clone()),
            time: delivery.map_or_else(|| plane.clock.now(), |one| one.updated_at),
        },
        next,
    }
}
