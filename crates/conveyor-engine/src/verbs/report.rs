//! `report`: a worker's one command to tell its manager how it stands.

mod answer;

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::audit::Hash;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::Role;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::turns;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

pub use self::answer::ReportAnswer;
use super::handoff;
use super::handoff::Said;
use crate::Plane;
use crate::deliver;
use crate::deliver::Carried;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::ingest;
use crate::message;
use crate::object::JsonObject;
use crate::outbox::Letter;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::statement;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Tell the task's manager how it stands
///
/// Stores the message as a handoff and queues a notification in one step, then delivers it; the answer says what became of
/// it. The manager is told where to read the message, never its words. The same report again in the same turn is the same
/// report.
#[derive(Args, Clone, Serialize, Deserialize, JsonSchema, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// The task, by name or id; the caller's own when absent
    pub task: Option<String>,
    /// How it stands: done, blocked or progress
    #[arg(long, value_enum)]
    pub status: Status,
    /// What was done and how it was checked, or what stands in the way
    #[arg(long, allow_hyphen_values = true)]
    pub message: String,
    /// What is to be done next; can be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    #[serde(default)]
    pub next_step: Vec<String>,
    /// Details, as a JSON object
    #[arg(long, value_name = "OBJECT")]
    pub payload_json: Option<JsonObject>,
}

/// How a task stands, as its worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The work is done; the manager judges it.
    Done,
    /// Something stands in the way.
    Blocked,
    /// It goes on.
    Progress,
}

impl Status {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Blocked => "blocked",
            Self::Progress => "progress",
        }
    }
}

impl Request for ReportRequest {
    fn letter(&self) -> Result<Option<Letter>> {
        Ok(Some(Letter::Report(self.clone())))
    }

    fn check(&self) -> Result<()> {
        statement::check_text("--message", &self.message)?;
        statement::check_lines("--next-step", &self.next_step)
    }
}

/// The verb.
pub struct ReportToManager;

impl Verb for ReportToManager {
    const NAME: &'static str = "report";
    const GROUP: Group = Group::Carry;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Workers;
    const LEAST: &'static [&'static str] = &["--status", "done", "--message", "it is done"];
    type Request = ReportRequest;
    type Report = ReportAnswer;

    async fn run(plane: &Plane, request: ReportRequest) -> Result<ReportAnswer> {
        let mut reader = plane.ledger_that_exists().await?.read().await?;
        let task = task_of(plane, &mut reader, request.task.as_deref()).await?;
        drop(reader);
        catch_up(plane, &task).await?;
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        let binding = speaker::may_speak(plane, &mut tx, &task, Speaks::For(Role::Worker)).await?;
        let Some(binding) = binding else {
            return Err(Error::refused(format!("the task `{}` has no manager to tell", task.name))
                .hint(plane.command(&["handoff", task.name.as_str(), "--summary", "<where things stand>"])));
        };
        let told = tell(plane, &mut tx, &task, &binding, request).await?;
        tx.commit().await?;
        let carried = bring(plane, &told.delivery).await;
        ReportAnswer::of(plane, &task, told, carried).await
    }
}

/// The task that was named, or the one on which the caller works.
async fn task_of(plane: &Plane, db: &mut Db, named: Option<&str>) -> Result<Task> {
    if let Some(named) = named {
        return resolve::task(db, named).await;
    }
    let Some(session) = speaker::session(plane, db).await? else {
        return Err(
            Error::usage("which task is meant?").hint("conveyor report <task> --status ... --message ...")
        );
    };
    let binding = bindings::active_of_worker(db, &session.id).await?;
    let task = match binding {
        Some(binding) => tasks::get(db, &binding.task_id).await?,
        None => None,
    };
    task.ok_or_else(|| {
        Error::refused(format!("`{}` works on no task", session.name))
            .hint("end your turn and wait until you are bound")
    })
}

/// Reads what the worker recorded, so that the turn in which it reports is known. It may not be readable from here.
async fn catch_up(plane: &Plane, task: &Task) -> Result<()> {
    let mut reader = plane.ledger_that_exists().await?.read().await?;
    let Some(binding) = bindings::active_of_task(&mut reader, &task.id).await? else { return Ok(()) };
    let worker = resolve::by_id(&mut reader, &binding.worker_session_id).await?;
    drop(reader);
    if worker.host == plane.environment.host
        && let Err(error) = ingest::session(plane, &worker).await
    {
        tracing::debug!(%error, "the worker's record cannot be read");
    }
    Ok(())
}

/// What was accepted.
pub(crate) struct Told {
    pub(crate) status: Status,
    pub(crate) delivery: Delivery,
    pub(crate) handoff_id: Option<i64>,
    pub(crate) deduplicated: bool,
}

/// Stores the handoff and accepts the notification, both or neither.
pub(crate) async fn tell(
    plane: &Plane,
    tx: &mut Tx,
    task: &Task,
    binding: &Binding,
    request: ReportRequest,
) -> Result<Told> {
    let status = request.status;
    let key = key(tx, binding, &request).await?;
    if let Some(first) = deliveries::by_idempotency_key(tx, &key).await? {
        let handoff_id = first.payload_json["report"]["handoff_id"].as_i64();
        return Ok(Told { status, delivery: first, handoff_id, deduplicated: true });
    }
    let mut payload = request.payload_json.unwrap_or_default();
    payload.insert("status", json!(status));
    let said = Said { summary: request.message, next_steps: request.next_step, payload };
    let handoff = handoff::insert(tx, task, Some(binding), said).await?;
    note_blocked(tx, task, binding, status).await?;
    let delivery = accept(plane, tx, task, binding, status, handoff.id, key).await?;
    Ok(Told { status, delivery, handoff_id: Some(handoff.id), deduplicated: false })
}

/// The same words in the same turn of the same binding are the same report.
async fn key(db: &mut Db, binding: &Binding, request: &ReportRequest) -> Result<String> {
    let turn = turns::get(db, &binding.worker_session_id).await?.map(|row| ingest::turn_of(&row));
    let turn = turn.and_then(|turn| turn.turn_id).unwrap_or_else(|| "unknown".to_owned());
    let said = json!([request.status, request.message, request.next_step, request.payload_json]);
    let digest = Hash::of(said.to_string().as_bytes());
    Ok(format!("report:{}:{turn}:{digest}", binding.id))
}

/// A worker that is blocked wants attention until it reports something else.
async fn note_blocked(tx: &mut Tx, task: &Task, binding: &Binding, status: Status) -> Result<()> {
    const KIND: &str = "worker_blocked";
    let worker = binding.side(Role::Worker);
    match status {
        Status::Blocked => {
            let message = format!("The worker of {} reports that it is blocked.", task.name);
            let audit = AuditRow::new("attention_raised", message.clone()).task(&task.id);
            let new = NewAttention {
                kind: KIND.to_owned(),
                session: Some(worker.clone()),
                task: Some(task.id.clone()),
                delivery: None,
                message,
                evidence: json!({ "status": status }),
            };
            attention::raise(tx, new, audit).await.map(drop)
        }
        Status::Done | Status::Progress => {
            let audit = AuditRow::new("attention_cleared", format!("The worker of {} goes on.", task.name));
            attention::clear(tx, worker.as_str(), KIND, audit.task(&task.id)).await.map(drop)
        }
    }
}

/// Accepts the notification. It holds names and numbers of conveyor's own, never a word of the worker's.
async fn accept(
    plane: &Plane,
    tx: &mut Tx,
    task: &Task,
    binding: &Binding,
    status: Status,
    handoff: i64,
    key: String,
) -> Result<Delivery> {
    let worker = resolve::by_id(tx, binding.side(Role::Worker)).await?;
    let manager = resolve::by_id(tx, binding.side(Role::Manager)).await?;
    let (word, name) = (status.as_str(), task.name.as_str());
    let text = format!(
        "Worker {} reports `{word}` on task {name}. Read handoff {handoff}: {} Then look yourself: {}",
        worker.name,
        plane.command_line(&["handoff", name, "--latest"]),
        plane.command_line(&["cycle", name]),
    );
    let mut new = message::new(plane, Kind::NotifyManager, &manager, &text);
    new.task = Some(task.id.clone());
    new.binding = Some(binding.id.clone());
    new.source = Some(worker.id.clone());
    new.idempotency_key = Some(key);
    new.payload = json!({
        "command_type": Kind::NotifyManager,
        "message": new.body,
        "report": { "status": status, "handoff_id": handoff },
    });
    let sentence = format!("{} reports `{word}` on {name}; {} is told.", worker.name, manager.name);
    let audit = AuditRow::new("worker_reported", sentence).session(&worker.id);
    Ok(deliveries::insert(tx, new, audit).await?.delivery)
}

/// Brings it to the manager as far as it goes now. What it comes to is in the ledger, also where this process cannot
/// reach the manager: then a dispatcher carries it.
async fn bring(plane: &Plane, delivery: &Delivery) -> Result<Option<Carried>> {
    if delivery.host != plane.environment.host || delivery.state.is_settled() {
        return Ok(None);
    }
    let until = Until { stage: Stage::Recorded, patience: limits::RECORD_EXPECTED };
    deliver::carry_out(plane, &delivery.id, &Holder::caller(plane), until).await.map(Some)
}

#[cfg(test)]
mod tests;
