//! `record-decision`: what a manager decided, and why.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings::Binding;
use conveyor_store::cycles;
use conveyor_store::cycles::Span;
use conveyor_store::cycles::SpanState;
use conveyor_store::decisions;
use conveyor_store::decisions::Decision;
use conveyor_store::decisions::DecisionKind;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::Plane;
use crate::listing;
use crate::object::JsonObject;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::statement;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Record what the manager decided, and why
///
/// Nothing is done by it: it says for later readers what was seen and chosen, and a verb that acts can be asked to require
/// it. It rests on the task's latest cycle unless another one is named.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct RecordDecisionRequest {
    /// The task, by name or id
    pub task: String,
    /// What was decided: wait, nudge, interrupt, escalate, stop or inspect
    pub decision: DecisionKind,
    /// Why
    #[arg(long, allow_hyphen_values = true)]
    pub reason: String,
    /// The cycle that it rests on; the task's latest one when absent
    #[arg(long, value_name = "N")]
    pub cycle_id: Option<i64>,
    /// Details, as a JSON object
    #[arg(long, value_name = "OBJECT")]
    pub payload_json: Option<JsonObject>,
}

impl Request for RecordDecisionRequest {
    fn check(&self) -> Result<()> {
        statement::check_text("--reason", &self.reason)
    }
}

/// The task of a decision.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskOfDecision {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
}

/// The decision that was recorded.
#[derive(Serialize, JsonSchema, Debug)]
pub struct RecordDecisionReport {
    /// Its number.
    pub id: i64,
    /// The task.
    pub task: TaskOfDecision,
    /// The task's id.
    pub task_id: TaskId,
    /// What was decided.
    pub decision: DecisionKind,
    /// Why.
    pub reason: String,
    /// The cycle that it rests on; null when the task was never observed.
    pub manager_cycle_id: Option<i64>,
    /// The manager that is bound to the task.
    pub manager_id: Option<SessionId>,
    /// Details.
    pub payload: Value,
    /// When.
    pub created_at: Timestamp,
}

impl Report for RecordDecisionReport {
    fn text(&self) -> Option<String> {
        let reason = listing::one_line(&self.reason);
        Some(format!("decision {} on {}: {} ({reason})\n", self.id, self.task.name, self.decision))
    }
}

/// The verb.
pub struct RecordDecision;

impl Verb for RecordDecision {
    const NAME: &'static str = "record-decision";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["task-1", "wait", "--reason", "it works"];
    type Request = RecordDecisionRequest;
    type Report = RecordDecisionReport;

    async fn run(plane: &Plane, request: RecordDecisionRequest) -> Result<RecordDecisionReport> {
        let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
        let binding = speaker::may_speak(plane, &mut tx, &task, Speaks::For(Role::Manager)).await?;
        let cycle = cycle_of(&mut tx, &task, request.cycle_id).await?;
        let made = Made {
            decision: request.decision,
            reason: request.reason,
            cycle,
            payload: request.payload_json.unwrap_or_default(),
        };
        let row = insert(&mut tx, &task, binding.as_ref(), made).await?;
        tx.commit().await?;
        Ok(RecordDecisionReport {
            id: row.id,
            task: TaskOfDecision { id: task.id, name: task.name },
            task_id: row.task_id,
            decision: row.decision,
            reason: row.reason,
            manager_cycle_id: row.cycle_id,
            manager_id: row.manager_session_id,
            payload: row.payload_json,
            created_at: row.created_at,
        })
    }
}

/// The cycle that a decision rests on: the one that was named, which must be the task's, or its latest.
pub(crate) async fn cycle_of(db: &mut Db, task: &Task, named: Option<i64>) -> Result<Option<i64>> {
    let Some(id) = named else { return Ok(cycles::latest(db, &task.id).await?.map(|cycle| cycle.id)) };
    match cycles::get(db, id).await? {
        Some(cycle) if cycle.task_id == task.id => Ok(Some(id)),
        Some(_) => Err(Error::conflict(format!("cycle {id} observed another task than `{}`", task.name))
            .hint("leave out --cycle-id to take the task's latest")),
        None => Err(Error::not_found(format!("there is no cycle {id}"))
            .hint("leave out --cycle-id to take the task's latest")),
    }
}

/// What was decided.
pub(crate) struct Made {
    pub(crate) decision: DecisionKind,
    pub(crate) reason: String,
    pub(crate) cycle: Option<i64>,
    pub(crate) payload: JsonObject,
}

/// Appends a decision of the task's manager, with its place in the cycle that it rests on.
pub(crate) async fn insert(
    tx: &mut Tx,
    task: &Task,
    binding: Option<&Binding>,
    made: Made,
) -> Result<Decision> {
    let row = Decision {
        id: 0,
        task_id: task.id.clone(),
        manager_session_id: binding.map(|binding| binding.side(Role::Manager).clone()),
        cycle_id: made.cycle,
        decision: made.decision,
        reason: made.reason,
        payload_json: made.payload.into_value(),
        created_at: tx.now(),
    };
    let why: String = listing::one_line(&row.reason).chars().take(limits::TOLD_CHARS).collect();
    let sentence = format!("The manager of {} decided to {}: {why}", task.name, row.decision);
    let audit =
        AuditRow::new("manager_decision_recorded", sentence).payload(json!({ "cycle_id": row.cycle_id }));
    let row = decisions::insert(tx, row, audit).await?;
    if let Some(cycle) = row.cycle_id {
        cycles::insert_spans(tx, vec![span(&row, cycle)]).await?;
    }
    telemetry::insert(tx, told(task, &row)).await?;
    Ok(row)
}

fn span(row: &Decision, cycle: i64) -> Span {
    Span {
        id: 0,
        cycle_id: cycle,
        task_id: row.task_id.clone(),
        phase: "manager_decision".to_owned(),
        state: SpanState::Succeeded,
        started_at: row.created_at,
        completed_at: row.created_at,
        duration_ms: 0.0,
        attributes_json: json!({ "decision": row.decision }),
        error: None,
        decision_id: Some(row.id),
        delivery_id: None,
    }
}

fn told(task: &Task, row: &Decision) -> NewTelemetry {
    NewTelemetry {
        task: Some(task.id.clone()),
        run: None,
        actor: "manager".to_owned(),
        event_type: "manager_decision_recorded".to_owned(),
        severity: Severity::Info,
        summary: format!("decision {} on {}: {}", row.id, task.name, row.decision),
        correlation: json!({
            "decision_id": row.id,
            "cycle_id": row.cycle_id,
            "manager_session_id": row.manager_session_id,
        }),
        attributes: json!({ "decision": row.decision }),
    }
}

#[cfg(test)]
mod tests;
