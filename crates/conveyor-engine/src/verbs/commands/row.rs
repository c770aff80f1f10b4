//! A delivery in the contract's keys.

use std::collections::HashMap;

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Coarse;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Attempt;
use conveyor_store::deliveries::AttemptState;
use conveyor_store::deliveries::Delivery;
use conveyor_store::tasks;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::glance::session_name;
use crate::glance::shown;
use crate::listing::one_line;
use crate::message;
use crate::waiting::waits_for;

/// One attempt to carry a command out.
#[derive(Serialize, JsonSchema, Debug)]
pub struct AttemptRow {
    /// Its number.
    pub id: i64,
    /// What ties it to others.
    pub correlation_id: String,
    /// Who made it.
    pub dispatcher_id: String,
    /// What came of it.
    pub state: AttemptState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// From some moment on the agent may have seen something.
    pub side_effect_started: bool,
    /// The submit key went out, or the inbox has it.
    pub side_effect_completed: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// Details.
    pub result: Option<Value>,
}

/// A command.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CommandRow {
    /// Its id.
    pub id: DeliveryId,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it stands, coarsely.
    pub state: Coarse,
    /// Where it stands, exactly.
    pub delivery_state: Stage,
    /// What holds it up.
    pub waits_for: Option<String>,
    /// By which way it goes.
    pub delivery_mode: Transport,
    /// The beginning of its text.
    pub message: String,
    /// What its label holds, and the record of the agent that got it.
    pub token: String,
    /// The task.
    pub task_id: Option<TaskId>,
    /// The task's name.
    pub task_name: Option<String>,
    /// The binding.
    pub binding_id: Option<BindingId>,
    /// The worker's session.
    pub worker_id: Option<SessionId>,
    /// The manager's session.
    pub manager_id: Option<SessionId>,
    /// Who sends it: the session's name.
    pub source_session: Option<String>,
    /// For whom it is: the session's name.
    pub target_session: Option<String>,
    /// Attempts so far.
    pub attempts: i64,
    /// Attempts at most.
    pub max_attempts: i64,
    /// Not before.
    pub available_at: Timestamp,
    /// Not after.
    pub expires_at: Option<Timestamp>,
    /// Who carries it out now.
    pub claimed_by: Option<String>,
    /// Since when.
    pub claimed_at: Option<Timestamp>,
    /// Until when, if nothing is heard of that one.
    pub claim_expires_at: Option<Timestamp>,
    /// What ties it to others.
    pub correlation_id: String,
    /// The caller's key.
    pub idempotency_key: Option<String>,
    /// The permission that it needs.
    pub required_permission: Option<String>,
    /// Details of the request.
    pub payload: Value,
    /// Details of the result.
    pub result: Option<Value>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Whether it may be sent again: `safe`, `unsafe`, `unknown`.
    pub retry: Option<String>,
    /// The recorded text differs from the one that was sent.
    pub altered: bool,
    /// When the submit key went out.
    pub submitted_at: Option<Timestamp>,
    /// When the agent's own record was found.
    pub recorded_at: Option<Timestamp>,
    /// When the turn that holds it ended.
    pub answered_at: Option<Timestamp>,
    /// Since when it lies in its target's inbox.
    pub inbox_at: Option<Timestamp>,
    /// When its reader confirmed it.
    pub consumed_at: Option<Timestamp>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Each attempt, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_history: Option<Vec<AttemptRow>>,
}

impl CommandRow {
    /// The row of a text listing.
    pub(super) fn line(&self) -> String {
        let task = self.task_name.as_deref().unwrap_or("-");
        let mut cells =
            vec![self.id.to_string(), self.state.as_str().to_owned(), self.kind.clone(), task.to_owned()];
        if let Some(history) = &self.attempt_history {
            let last = history.last().map_or("-", |attempt| attempt.state.as_str());
            cells.push(format!("attempt_history={}", history.len()));
            cells.push(format!("last_attempt={last}"));
        }
        if let Some(waits) = &self.waits_for {
            cells.push(format!("{}: waits for {}", self.delivery_state, one_line(waits)));
        }
        cells.join("\t") + "\n"
    }
}

/// Makes rows, and remembers the names that they share.
pub(super) struct Shelf {
    now: Timestamp,
    attempts: bool,
    tasks: HashMap<TaskId, Option<String>>,
    sessions: HashMap<SessionId, Option<String>>,
    bindings: HashMap<BindingId, Option<(SessionId, SessionId)>>,
}

impl Shelf {
    pub(super) fn new(now: Timestamp, attempts: bool) -> Self {
        Self { now, attempts, tasks: HashMap::new(), sessions: HashMap::new(), bindings: HashMap::new() }
    }

    /// The row of a delivery.
    pub(super) async fn row(&mut self, db: &mut Db, delivery: Delivery) -> Result<CommandRow> {
        let pair = self.pair(db, delivery.binding_id.as_ref()).await?;
        let needed = self.attempts || delivery.leased_by.is_some();
        let history = if needed { deliveries::attempts(db, &delivery.id).await? } else { Vec::new() };
        let claimed = delivery.leased_by.as_ref().and(history.last());
        Ok(CommandRow {
            waits_for: waits_for(db, &delivery, self.now).await?,
            task_name: self.task(db, delivery.task_id.as_ref()).await?,
            source_session: self.session(db, delivery.source_session_id.as_ref()).await?,
            target_session: self.session(db, delivery.target_session_id.as_ref()).await?,
            claimed_at: claimed.map(|attempt| attempt.started_at),
            worker_id: pair.as_ref().map(|(worker, _)| worker.clone()),
            manager_id: pair.map(|(_, manager)| manager),
            attempt_history: self.attempts.then(|| {
                history.into_iter().map(|attempt| attempt_row(attempt, &delivery.correlation_id)).collect()
            }),
            state: delivery.state.coarse(),
            message: shown(message::said(&delivery)),
            token: delivery.token,
            id: delivery.id,
            kind: delivery.kind,
            delivery_state: delivery.state,
            delivery_mode: delivery.transport,
            task_id: delivery.task_id,
            binding_id: delivery.binding_id,
            attempts: delivery.attempts,
            max_attempts: delivery.max_attempts,
            available_at: delivery.available_at,
            expires_at: delivery.expires_at,
            claimed_by: delivery.leased_by,
            claim_expires_at: delivery.leased_until,
            correlation_id: delivery.correlation_id,
            idempotency_key: delivery.idempotency_key,
            required_permission: delivery.required_permission,
            payload: delivery.payload_json,
            result: delivery.result_json,
            error: delivery.error,
            retry: delivery.retry,
            altered: delivery.altered,
            submitted_at: delivery.submitted_at,
            recorded_at: delivery.recorded_at,
            answered_at: delivery.answered_at,
            inbox_at: delivery.inbox_at,
            consumed_at: delivery.consumed_at,
            created_at: delivery.created_at,
            updated_at: delivery.updated_at,
        })
    }

    async fn task(&mut self, db: &mut Db, id: Option<&TaskId>) -> Result<Option<String>> {
        let Some(id) = id else { return Ok(None) };
        if let Some(known) = self.tasks.get(id) {
            return Ok(known.clone());
        }
        let name = tasks::get(db, id).await?.map(|task| task.name.to_string());
        self.tasks.insert(id.clone(), name.clone());
        Ok(name)
    }

    async fn session(&mut self, db: &mut Db, id: Option<&SessionId>) -> Result<Option<String>> {
        let Some(id) = id else { return Ok(None) };
        if let Some(known) = self.sessions.get(id) {
            return Ok(known.clone());
        }
        let name = session_name(db, Some(id)).await?;
        self.sessions.insert(id.clone(), name.clone());
        Ok(name)
    }

    /// The worker and the manager of a binding.
    async fn pair(&mut self, db: &mut Db, id: Option<&BindingId>) -> Result<Option<(SessionId, SessionId)>> {
        let Some(id) = id else { return Ok(None) };
        if let Some(known) = self.bindings.get(id) {
            return Ok(known.clone());
        }
        let binding = bindings::get(db, id).await?;
        let pair = binding.map(|binding| (binding.worker_session_id, binding.manager_session_id));
        self.bindings.insert(id.clone(), pair.clone());
        Ok(pair)
    }
}

fn attempt_row(attempt: Attempt, correlation_id: &str) -> AttemptRow {
    AttemptRow {
        id: attempt.id,
        correlation_id: correlation_id.to_owned(),
        dispatcher_id: attempt.dispatcher,
        state: attempt.state,
        started_at: attempt.started_at,
        finished_at: attempt.finished_at,
        side_effect_started: attempt.side_effect_started,
        side_effect_completed: attempt.side_effect_completed,
        error: attempt.error,
        result: attempt.result_json,
    }
}
