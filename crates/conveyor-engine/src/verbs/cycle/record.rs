//! Noting a cycle: its row, its parts, its telemetry, in one transaction.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_model::observation::Observed;
use conveyor_model::pane::Notable;
use conveyor_model::redact;
use conveyor_model::rollout;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::cycles;
use conveyor_store::cycles::Cycle;
use conveyor_store::cycles::CycleState;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use serde_json::Value;
use serde_json::json;

use super::CycleRequest;
use super::Findings;
use super::notifications;
use super::report::CycleReport;
use super::scene::Scene;
use super::spans::Spans;
use crate::Plane;
use crate::ingest::Ingested;
use crate::shadow::Seen;

/// Notes a cycle that succeeded, and what it hands over; completes the report with its number and times.
pub(super) async fn succeeded(
    tx: &mut Tx,
    scene: &Scene,
    spans: &mut Spans,
    request: &CycleRequest,
    findings: &Findings,
    report: &mut CycleReport,
    taken: &[Delivery],
) -> Result<()> {
    cycles::fail_unfinished(tx, &scene.task.id, KILLED).await?;
    let row = Cycle {
        state: CycleState::Succeeded,
        pane_pattern: pattern(report),
        status_json: Some(status(report)?),
        ..begun(tx, scene, spans)
    };
    let sentence =
        format!("{} observed {}: {}.", scene.manager.name, scene.worker.name, report.turn_state.as_str());
    let cycle = cycles::insert(tx, row, AuditRow::new("cycle_succeeded", sentence)).await?;
    if !taken.is_empty() {
        notifications::consume(tx, scene, cycle.id, taken).await?;
    }
    if findings.ingested.new_events > 0 || findings.worker_alive == Some(true) {
        sessions::heartbeat(tx, &scene.worker.id).await?;
    }
    spans.end(json!({
        "manager_alive": report.manager_alive,
        "state": report.state,
        "task_completed": report.task_completed,
        "worker_alive": report.worker_alive,
        "consumed_dispatch_notifications": taken.len(),
    }));
    spans.store(tx, &cycle, None).await?;
    tell(tx, scene, &cycle, request, &findings.ingested).await?;
    report.cycle_id = cycle.id;
    report.cycle_completed_at = tx.now();
    Ok(())
}

/// Why a cycle that a killed process left is failed.
const KILLED: &str = "the process that ran it was ended before it was done";

/// Notes a cycle that failed, with the part that it failed in.
pub(super) async fn failed(plane: &Plane, scene: &Scene, spans: &Spans, error: &Error) -> Result<()> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    cycles::fail_unfinished(&mut tx, &scene.task.id, KILLED).await?;
    let phase = spans.phase().as_str();
    let status = json!({
        "kind": "session_cycle",
        "task": scene.word,
        "binding_id": scene.binding.id,
        "worker_session": scene.worker.name,
        "manager_session": scene.manager.name,
        "error_type": error.kind,
        "failure_phase": phase,
    });
    let row = Cycle {
        state: CycleState::Failed,
        status_json: Some(status),
        error: Some(error.to_string()),
        ..begun(&tx, scene, spans)
    };
    let sentence = format!("Observing {} failed at {phase}: {error}.", scene.worker.name);
    let cycle = cycles::insert(&mut tx, row, AuditRow::new("cycle_failed", sentence)).await?;
    spans.store(&mut tx, &cycle, Some(error)).await?;
    let attributes = json!({ "cycle_id": cycle.id, "failure_phase": phase, "error_type": error.kind });
    let summary = format!("A cycle failed: {error}.");
    let new = told(scene, &cycle, "manager_cycle_failed", Severity::Error, summary, attributes);
    telemetry::insert(&mut tx, new).await?;
    tx.commit().await
}

/// A row that ends now.
fn begun(tx: &Tx, scene: &Scene, spans: &Spans) -> Cycle {
    Cycle {
        id: 0,
        task_id: scene.task.id.clone(),
        binding_id: Some(scene.binding.id.clone()),
        state: CycleState::Started,
        started_at: spans.begun_at(),
        completed_at: Some(tx.now()),
        pane_pattern: None,
        status_json: None,
        error: None,
    }
}

/// The notable pattern as the word that the ledger stores.
fn pattern(report: &CycleReport) -> Option<String> {
    let word = serde_json::to_value(report.notable_pane_pattern).ok()?;
    word.as_str().map(ToOwned::to_owned)
}

/// What the row keeps of a report: no texts of criteria, configuration or acknowledgements, which have rows of their own,
/// and the agent's words cut. So its size is bounded whatever the task holds.
fn status(report: &CycleReport) -> Result<Value> {
    let mut status = serde_json::to_value(report)
        .map_err(|error| Error::environment(format!("the report cannot be written: {error}")))?;
    if let Some(map) = status.as_object_mut() {
        for key in ["cycle_id", "cycle_started_at", "cycle_completed_at", "next"] {
            map.remove(key);
        }
        let ids: Vec<i64> = report.consumed_notifications.iter().map(|one| one.id).collect();
        map.insert("consumed_notifications".to_owned(), json!(ids));
        map.insert("manager_context".to_owned(), kept_context(report));
    }
    redact::redact(&mut status);
    Ok(status)
}

fn kept_context(report: &CycleReport) -> Value {
    let context = &report.manager_context;
    let receipt = context.worker_receipt.as_ref().map(|receipt| {
        json!({
            "turn_id": receipt.turn_id,
            "outcome": receipt.outcome,
            "completed_at": receipt.completed_at,
            "duration_ms": receipt.duration_ms,
            "source_event_id": receipt.source_event_id,
            "last_agent_message": receipt.last_agent_message.as_deref().map(kept_words),
        })
    });
    json!({
        "manager_config_revision": context.manager_config.as_ref().map(|config| config.revision),
        "worker_ack_id": context.worker_ack.as_ref().map(|ack| ack.id),
        "manager_ack_id": context.manager_ack.as_ref().map(|ack| ack.id),
        "worker_handoff_id": context.worker_handoff.as_ref().map(|handoff| handoff.id),
        "worker_receipt": receipt,
        "acceptance_criteria": { "summary": context.acceptance_criteria.summary },
        "criteria_negotiation": {
            "needed": context.criteria_negotiation.needed,
            "reason": context.criteria_negotiation.reason,
        },
    })
}

/// The beginning of an agent's words. Secrets go first: half of one has no shape by which it would be known.
fn kept_words(text: &str) -> String {
    let clean = redact::redact_text(text);
    rollout::cut(clean.as_deref().unwrap_or(text), limits::CYCLE_WORDS_BYTES).0.to_owned()
}

/// The telemetry of a cycle that succeeded.
async fn tell(
    tx: &mut Tx,
    scene: &Scene,
    cycle: &Cycle,
    request: &CycleRequest,
    ingested: &Ingested,
) -> Result<()> {
    let started = json!({ "busy_wait_seconds": request.busy_wait_seconds, "cycle_id": cycle.id });
    let summary = format!("A cycle of {} began.", scene.task.name);
    let new = told(scene, cycle, "manager_cycle_started", Severity::Info, summary, started);
    telemetry::insert(tx, new).await?;
    if ingested.new_events > 0 {
        telemetry::insert(tx, super::super::ingest::told(&scene.worker, Some(&scene.task.id), ingested))
            .await?;
    }
    let status = json!({ "cycle_id": cycle.id, "notable_pane_pattern": cycle.pane_pattern });
    let summary = format!("A cycle of {} succeeded.", scene.task.name);
    telemetry::insert(tx, told(scene, cycle, "manager_cycle_succeeded", Severity::Info, summary, status))
        .await
}

fn told(
    scene: &Scene,
    cycle: &Cycle,
    event_type: &str,
    severity: Severity,
    summary: String,
    attributes: Value,
) -> NewTelemetry {
    NewTelemetry {
        task: Some(scene.task.id.clone()),
        run: None,
        actor: "manager".to_owned(),
        event_type: event_type.to_owned(),
        severity,
        summary,
        correlation: json!({
            "cycle_id": cycle.id,
            "binding_id": scene.binding.id,
            "worker_session_id": scene.worker.id,
            "manager_session_id": scene.manager.id,
        }),
        attributes,
    }
}

/// For the span.
pub(super) fn ingest_attributes(scene: &Scene, ingested: &Ingested) -> Value {
    json!({
        "new_events": ingested.new_events,
        "new_offset": ingested.new_offset,
        "worker_session": scene.worker.name,
    })
}

/// For the span.
pub(super) fn state_attributes(observed: &Observed<'_>) -> Value {
    json!({
        "last_state_event_present": observed.last_state_event_at.is_some(),
        "staleness_seconds": observed.staleness.map(|age| age.as_secs_f64()),
        "state": observed.turn_state.coarse(),
    })
}

/// For the span.
pub(super) fn pane_attributes(seen: &Seen, notable: Option<&Notable>) -> Value {
    json!({
        "captured": seen.screen().is_some(),
        "kind": seen.screen().map(|screen| screen.kind),
        "notable_pattern": notable.map(|notable| notable.pattern),
    })
}
