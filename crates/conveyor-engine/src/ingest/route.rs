//! Telling the bound manager that its worker's turn has ended.

use conveyor_model::Result;
use conveyor_model::delivery::Kind;
use conveyor_model::turn::TurnEnd;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use serde_json::json;

use crate::Plane;
use crate::message;

/// Puts a notification for the bound manager into the queue, once for each turn's end.
///
/// A turn that was running when the binding began belongs to what was before: it is not told.
pub(super) async fn turn_end(
    plane: &Plane,
    tx: &mut Tx,
    worker: &Session,
    event: i64,
    end: &TurnEnd,
) -> Result<()> {
    let Some(binding) = bindings::active_of_worker(tx, &worker.id).await? else { return Ok(()) };
    let before = binding.start_event_id.is_some_and(|start| event <= start);
    let foreign = end.turn_id.is_some() && end.turn_id == binding.start_turn_id;
    if before || foreign {
        return Ok(());
    }
    let (Some(task), Some(manager)) =
        (tasks::get(tx, &binding.task_id).await?, sessions::get(tx, &binding.manager_session_id).await?)
    else {
        return Ok(());
    };
    // Never the agent's own words: what it said is read by the command.
    let text = format!(
        "Worker {} ended a turn ({}) on task {}. See it: {} Decide whether to wait, nudge, ask for proof, or finish.",
        worker.name,
        end.outcome.as_str(),
        task.name,
        plane.command_line(&["cycle", task.name.as_str()]),
    );
    let mut new = message::new(plane, Kind::WorkerTaskComplete, &manager, &text);
    new.task = Some(task.id.clone());
    new.binding = Some(binding.id.clone());
    new.source = Some(worker.id.clone());
    new.dedupe_key = Some(format!("{}:worker_task_complete:{}:{event}", binding.id, worker.id));
    new.payload = json!({
        "signal": "worker_task_complete",
        "message": text,
        "task": task.name,
        "source_session": worker.name,
        "target_session": manager.name,
        "source_event_id": event,
        "worker_receipt": end,
    });
    let sentence =
        format!("{} ended a turn ({}); {} is told.", worker.name, end.outcome.as_str(), manager.name);
    deliveries::insert(tx, new, AuditRow::new("worker_turn_end_routed", sentence)).await?;
    Ok(())
}
