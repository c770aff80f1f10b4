//! What a cycle reports. The keys are the contract's; more were added.

use std::fmt::Write as _;
use std::time::Duration;

use conveyor_model::Timestamp;
use conveyor_model::delivery::Hold;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::observation;
use conveyor_model::observation::Observed;
use conveyor_model::pane::Composer;
use conveyor_model::pane::Kind;
use conveyor_model::pane::Notable;
use conveyor_model::pane::NotablePattern;
use conveyor_model::recommend;
use conveyor_model::recommend::Action;
use conveyor_model::recommend::Situation;
use conveyor_model::recommend::Why;
use conveyor_model::turn::Coarse;
use conveyor_model::turn::Outcome;
use conveyor_model::turn::Turn;
use conveyor_model::turn::TurnState;
use conveyor_store::deliveries::Delivery;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::CycleRequest;
use super::Findings;
use super::Judged;
use super::advice;
use super::scene::Context;
use super::scene::Scene;
use crate::Plane;
use crate::manager_context::AcceptanceCriteria;
use crate::manager_context::AckView;
use crate::manager_context::ConfigView;
use crate::manager_context::CriteriaNegotiation;
use crate::manager_context::HandoffView;
use crate::message;
use crate::shadow::Seen;
use crate::verb::Report;

/// One observation.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CycleReport {
    /// Always `session_cycle`.
    pub kind: &'static str,
    /// The task, as it was asked for.
    pub task: String,
    /// The binding.
    pub binding_id: BindingId,
    /// The worker's name.
    pub worker_session: String,
    /// The manager's name.
    pub manager_session: String,
    /// Why nothing is delivered now: the task is paused, or a person drives the worker.
    pub held: Option<Hold>,
    /// The cycle's number.
    pub cycle_id: i64,
    /// When it began.
    pub cycle_started_at: Timestamp,
    /// When it ended.
    pub cycle_completed_at: Timestamp,
    /// What was newly read.
    pub ingest: IngestView,
    /// `busy`, `idle` or `unknown`; an interrupted or failed turn is idle.
    pub state: Coarse,
    /// The finer word.
    pub turn_state: TurnState,
    /// How the last turn of this binding ended.
    pub last_turn_outcome: Option<Outcome>,
    /// When the state began, by a record of this binding.
    pub last_state_event_at: Option<Timestamp>,
    /// How long the state has lasted, within this binding.
    pub staleness_seconds: Option<f64>,
    /// Whether the state's time is the time of reading, because its record has none that can be understood.
    pub staleness_degraded: bool,
    /// When anything was last recorded in this binding.
    pub last_event_at: Option<Timestamp>,
    /// How long nothing was recorded, within this binding.
    pub activity_staleness_seconds: Option<f64>,
    /// The subtype of this binding's last record.
    pub last_event_subtype: Option<String>,
    /// Whether the worker finished a turn of this binding and began none since.
    pub task_completed: bool,
    /// What the pane shows.
    pub pane_signal: PaneSignal,
    /// What is notable on it.
    pub notable_pane_pattern: Option<NotablePattern>,
    /// Where pane and rollout contradict each other.
    pub divergence: Option<DivergenceView>,
    /// What wants attention now, in words.
    pub attention: Vec<&'static str>,
    /// Whether the worker's very process runs; false also when none is known.
    pub worker_alive: bool,
    /// The same of the manager.
    pub manager_alive: bool,
    /// How many notifications were handed over with this report.
    pub consumed_dispatch_notifications: usize,
    /// These notifications.
    pub consumed_notifications: Vec<Notification>,
    /// How many are left where they are.
    pub waiting_notifications: usize,
    /// Advice; the manager decides.
    pub recommended: Recommended,
    /// Complete commands for what is recommended.
    pub next: Vec<String>,
    /// What the manager has to know beside.
    pub manager_context: ManagerContext,
}

/// What was newly read of the rollout.
#[derive(Serialize, JsonSchema, Debug)]
pub struct IngestView {
    /// Records.
    pub new_events: u64,
    /// Where reading goes on, in bytes.
    pub new_offset: u64,
    /// Lines that are no records.
    pub skipped_lines: u64,
}

/// What the pane shows, or why nothing was seen of it.
#[derive(Serialize, JsonSchema, Debug)]
pub struct PaneSignal {
    /// Whether the screen was read.
    pub captured: bool,
    /// Whether there is a pane that could not be read.
    pub degraded: bool,
    /// Why it was not read.
    pub reason: Option<String>,
    /// Whole seconds that the state has lasted.
    pub status_age_seconds: Option<u64>,
    /// What is notable, and why.
    pub classifier: Option<Notable>,
    /// Its pattern.
    pub notable_pattern: Option<NotablePattern>,
    /// The kind of screen.
    pub kind: Option<Kind>,
    /// `empty`, `draft` or `none`. A person's draft is nobody else's to read.
    pub composer: Option<&'static str>,
    /// The rule that decided.
    pub rule: Option<&'static str>,
    /// The row that it matched, from 1.
    pub line: Option<usize>,
    /// That row's text.
    pub evidence: Option<String>,
}

/// A contradiction between rollout and pane.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DivergenceView {
    /// Its number.
    pub id: i64,
    /// The rollout's word.
    pub rollout_says: String,
    /// The pane's word.
    pub pane_says: String,
    /// Since when.
    pub first_at: Timestamp,
    /// How often it was seen.
    pub count: i64,
}

/// A notification that was handed over.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct Notification {
    /// Its number, as inboxes show it.
    pub id: i64,
    /// The command that it is.
    pub command_id: DeliveryId,
    /// What it tells of.
    pub signal_type: String,
    /// How it would have been delivered.
    pub delivery_mode: &'static str,
    /// Ties it to others.
    pub correlation_id: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Its text.
    pub message: String,
    /// Details.
    pub payload: Value,
}

impl From<&Delivery> for Notification {
    fn from(delivery: &Delivery) -> Self {
        let signal = delivery.payload_json.get("signal").and_then(Value::as_str);
        Self {
            id: delivery.number,
            command_id: delivery.id.clone(),
            signal_type: signal.unwrap_or(&delivery.kind).to_owned(),
            delivery_mode: delivery.transport.as_str(),
            correlation_id: delivery.correlation_id.clone(),
            created_at: delivery.created_at,
            message: message::said(delivery).to_owned(),
            payload: delivery.payload_json.clone(),
        }
    }
}

/// What may be done next, and why.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Recommended {
    /// The move.
    pub action: Action,
    /// Why, in a word.
    pub reason: Why,
    /// Why, in a sentence.
    pub because: &'static str,
}

/// What the manager has to know beside the worker's state.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ManagerContext {
    /// How it is to work.
    pub manager_config: Option<ConfigView>,
    /// What the worker acknowledged.
    pub worker_ack: Option<AckView>,
    /// What the manager acknowledged.
    pub manager_ack: Option<AckView>,
    /// What was handed over.
    pub worker_handoff: Option<HandoffView>,
    /// The newest turn of this binding that ended by itself.
    pub worker_receipt: Option<WorkerReceipt>,
    /// The criteria.
    pub acceptance_criteria: AcceptanceCriteria,
    /// Whether criteria have to be agreed on.
    pub criteria_negotiation: CriteriaNegotiation,
}

/// The end of a turn.
#[derive(Serialize, JsonSchema, Debug)]
pub struct WorkerReceipt {
    /// The binding to which it belongs.
    pub binding_id: BindingId,
    /// The turn.
    pub turn_id: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub completed_at: Option<Timestamp>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// How long the model took to its first token.
    pub time_to_first_token_ms: Option<u64>,
    /// The agent's last words.
    pub last_agent_message: Option<String>,
    /// The error, in Codex's words.
    pub error: Option<String>,
    /// The record that ended it.
    pub source_event_id: Option<i64>,
    /// That record's time.
    pub source_event_timestamp: Option<Timestamp>,
    /// The worker.
    pub source_session_id: SessionId,
    /// Its name.
    pub source_session_name: String,
}

impl Report for CycleReport {
    fn text(&self) -> Option<String> {
        let mut text = format!("{} is {}", self.worker_session, self.turn_state.as_str());
        if let Some(seconds) = self.activity_staleness_seconds {
            // Infallible: a String takes everything.
            let _ = write!(text, ", last active {seconds:.0} s ago");
        }
        let _ = writeln!(text, " (task {}, cycle {})", self.task, self.cycle_id);
        if let Some(kind) = self.pane_signal.kind {
            let _ = writeln!(text, "Pane: {}", kind.as_str());
        }
        for word in &self.attention {
            let _ = writeln!(text, "Attention: {word}");
        }
        if let Some(divergence) = &self.divergence {
            let (rollout, pane) = (&divergence.rollout_says, &divergence.pane_says);
            let _ = writeln!(text, "Contradiction: the rollout says {rollout}, the pane shows {pane}");
        }
        let criteria = &self.manager_context.acceptance_criteria.summary;
        let _ = writeln!(
            text,
            "Criteria: {} accepted, {} proposed, {} satisfied",
            criteria.accepted, criteria.proposed, criteria.satisfied
        );
        let _ = writeln!(text, "Advice: {:?}, for {}", self.recommended.action, self.recommended.because);
        for command in &self.next {
            let _ = writeln!(text, "  {command}");
        }
        Some(text)
    }
}

impl CycleReport {
    /// Notes which notifications the report hands over, of how many that waited.
    pub(super) fn hand_over(&mut self, taken: &[Delivery], waiting: usize) {
        self.consumed_notifications = taken.iter().map(Notification::from).collect();
        self.consumed_dispatch_notifications = taken.len();
        self.waiting_notifications = waiting - taken.len();
    }
}

/// The report without what only the stored row knows: number, beginning, notifications.
#[expect(clippy::too_many_arguments, reason = "each is one finding of the observation")]
pub(super) fn of(
    plane: &Plane,
    request: &CycleRequest,
    scene: &Scene,
    context: Context,
    findings: &Findings,
    turn: &Turn,
    judged: &Judged,
    now: Timestamp,
) -> CycleReport {
    let observed = observation::of_binding(turn, &scene.marks(), now);
    let situation = situation(request, scene, &context, findings, turn, judged, &observed);
    let (action, why) = recommend::recommend(&situation);
    let divergence = judged.noted.divergence.as_ref().map(|noted| DivergenceView {
        id: noted.id,
        rollout_says: noted.rollout_says.clone(),
        pane_says: noted.pane_says.clone(),
        first_at: noted.first_at,
        count: noted.count,
    });
    CycleReport {
        kind: "session_cycle",
        task: scene.word.clone(),
        binding_id: scene.binding.id.clone(),
        worker_session: scene.worker.name.to_string(),
        manager_session: scene.manager.name.to_string(),
        held: scene.holds().strongest(),
        cycle_id: 0,
        cycle_started_at: now,
        cycle_completed_at: now,
        ingest: IngestView {
            new_events: findings.ingested.new_events,
            new_offset: findings.ingested.new_offset,
            skipped_lines: findings.ingested.skipped_lines,
        },
        state: observed.turn_state.coarse(),
        turn_state: observed.turn_state,
        last_turn_outcome: observed.outcome,
        last_state_event_at: observed.last_state_event_at,
        staleness_seconds: observed.staleness.map(|age| age.as_secs_f64()),
        staleness_degraded: observed.state_time_is_read,
        last_event_at: observed.last_event_at,
        activity_staleness_seconds: observed.silence.map(|age| age.as_secs_f64()),
        last_event_subtype: observed.last_event_subtype.map(ToOwned::to_owned),
        task_completed: observed.task_completed,
        pane_signal: pane_signal(&findings.seen, judged.notable.as_ref(), observed.staleness),
        notable_pane_pattern: judged.notable.as_ref().map(|notable| notable.pattern),
        divergence,
        attention: judged.noted.troubles.iter().map(|trouble| trouble.as_str()).collect(),
        worker_alive: findings.worker_alive.unwrap_or(false),
        manager_alive: findings.manager_alive.unwrap_or(false),
        consumed_dispatch_notifications: 0,
        consumed_notifications: Vec::new(),
        waiting_notifications: 0,
        recommended: Recommended { action, reason: why, because: why.sentence() },
        next: advice::next(plane, scene, action, why),
        manager_context: manager_context(scene, context, &observed),
    }
}

fn situation(
    request: &CycleRequest,
    scene: &Scene,
    context: &Context,
    findings: &Findings,
    turn: &Turn,
    judged: &Judged,
    observed: &Observed<'_>,
) -> Situation {
    let screen = findings.seen.screen().map(|screen| screen.kind);
    Situation {
        turn_state: observed.turn_state,
        task_completed: observed.task_completed,
        // Without a screen the rollout's last error tells of a quota.
        screen: screen.or_else(|| conveyor_model::shadow::of_error(turn)),
        pane_gone: matches!(findings.seen, Seen::Gone(_)),
        contradicted: judged.noted.divergence.is_some(),
        process_alive: findings.worker_alive,
        held: scene.worker.paused_at.is_some() || scene.worker.taken_over_at.is_some(),
        silence: observed.silence.unwrap_or_default(),
        busy_wait: Duration::from_secs(request.busy_wait_seconds),
        call_open: !turn.open_calls.is_empty() || turn.open_calls_more > 0,
        message_open: judged.message_open,
        criteria: context.criteria.summary,
    }
}

fn pane_signal(seen: &Seen, notable: Option<&Notable>, age: Option<Duration>) -> PaneSignal {
    let screen = seen.screen();
    PaneSignal {
        captured: screen.is_some(),
        degraded: seen.is_degraded(),
        reason: seen.reason(),
        status_age_seconds: screen.and(age).map(|age| age.as_secs()),
        classifier: notable.cloned(),
        notable_pattern: notable.map(|notable| notable.pattern),
        kind: screen.map(|screen| screen.kind),
        composer: screen.map(|screen| match screen.composer {
            Composer::Empty => "empty",
            Composer::Draft(_) => "draft",
            Composer::None => "none",
        }),
        rule: screen.and_then(|screen| screen.rule),
        line: screen.and_then(|screen| screen.line),
        evidence: screen.and_then(|screen| screen.evidence.clone()),
    }
}

fn manager_context(scene: &Scene, context: Context, observed: &Observed<'_>) -> ManagerContext {
    let worker_receipt = observed.receipt.map(|end| WorkerReceipt {
        binding_id: scene.binding.id.clone(),
        turn_id: end.turn_id.clone(),
        outcome: end.outcome,
        completed_at: end.completed_at,
        duration_ms: end.duration_ms,
        time_to_first_token_ms: end.time_to_first_token_ms,
        last_agent_message: end.last_agent_message.clone(),
        error: end.error.as_ref().map(|error| error.message.clone()),
        source_event_id: observed.receipt_event,
        source_event_timestamp: end.at,
        source_session_id: scene.worker.id.clone(),
        source_session_name: scene.worker.name.to_string(),
    });
    ManagerContext {
        manager_config: scene.policy.config.clone().map(ConfigView::from),
        worker_ack: scene.policy.worker_ack.clone(),
        manager_ack: scene.policy.manager_ack.clone(),
        worker_handoff: context.handoff,
        worker_receipt,
        acceptance_criteria: context.criteria,
        criteria_negotiation: context.negotiation,
    }
}
