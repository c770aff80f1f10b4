//! Putting a message for the other side of a binding into the queue: what the `enqueue-*` verbs share.

use std::fmt::Write as _;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::permission;
use conveyor_model::wire;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::configs;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use conveyor_store::threads;
use conveyor_store::turns;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::Caller;
use crate::Plane;
use crate::caller;
use crate::dispatch;
use crate::dispatch::PermissionCheck;
use crate::ingest;
use crate::message;
use crate::resolve;
use crate::speaker;
use crate::verb::Report;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) task: String,
    pub(crate) message: String,
    pub(crate) correlation_id: Option<String>,
    pub(crate) required_permission: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) available_at: Option<Timestamp>,
    pub(crate) max_attempts: Option<i64>,
}

impl Asked {
    /// What both faces check before anything is opened.
    pub(crate) fn check(&self) -> Result<()> {
        if wire::wire_text(&self.message).is_empty() {
            return Err(Error::usage("the message holds only blanks and control characters"));
        }
        if let Some(word) = &self.required_permission {
            permission::parse(word)?;
        }
        if self.max_attempts.is_some_and(|attempts| attempts < 1) {
            return Err(Error::usage("--max-attempts is at least 1"));
        }
        Ok(())
    }
}

/// What was accepted.
#[derive(Serialize, JsonSchema, Debug)]
pub struct EnqueueReport {
    /// The delivery.
    pub command_id: String,
    /// What it is.
    pub command_type: String,
    /// What ties it to others.
    pub correlation_id: String,
    /// The permission that it needs when it is carried out.
    pub required_permission: Option<String>,
    /// Whether that is granted now; it is asked again when it is carried out.
    pub permission_check: Option<PermissionCheck>,
    /// The task, as it was asked for.
    pub task: String,
    /// It was accepted before under the same key.
    pub deduplicated: bool,
    /// Where it stands.
    pub state: Stage,
    /// The binding; null when the task is not bound yet.
    pub binding_id: Option<String>,
    /// Whom it goes to.
    pub target_session: Option<String>,
    /// By which way; null when the task is not bound yet.
    pub delivery_mode: Option<Transport>,
    /// Not before.
    pub available_at: Timestamp,
    /// What stands against its delivery as things are now.
    pub warnings: Vec<String>,
    /// What to run next.
    pub next: String,
}

impl Report for EnqueueReport {
    fn text(&self) -> Option<String> {
        let again = if self.deduplicated { " (accepted before)" } else { "" };
        let mut text = format!("queued {} command {}{again}", self.command_type, self.command_id);
        for warning in &self.warnings {
            let _ = write!(text, "\nwarning: {warning}");
        }
        let _ = write!(text, "\nnext: {}", self.next);
        Some(text)
    }
}

/// The two sides of a binding, seen from a message.
struct Way {
    binding: Binding,
    source: Session,
    target: Session,
}

/// Accepts a message of this kind.
pub(crate) async fn accept(plane: &Plane, kind: Kind, asked: &Asked) -> Result<EnqueueReport> {
    let ledger = plane.ledger().await?;
    let actor = plane.actor().await?;
    let mut tx = ledger.write(&actor).await?;
    let task = resolve::task(&mut tx, &asked.task).await?;
    let way = way(&mut tx, kind, &task).await?;
    authorise(plane, &mut tx, kind, way.as_ref()).await?;
    let check = checked(&mut tx, &task, asked).await?;
    let mut new = wanted(plane, kind, asked, &task, way.as_ref());
    if kind == Kind::NotifyManager {
        own_words_only(plane, &mut tx, &task, &mut new).await?;
    }
    let sentence = format!("{} for {} on {} was accepted.", kind, addressee(way.as_ref()), task.name);
    let accepted = deliveries::insert(&mut tx, new, AuditRow::new("delivery_accepted", sentence)).await?;
    if !accepted.deduplicated {
        tell(&mut tx, &accepted.delivery).await?;
    }
    tx.commit().await?;
    let next = next(plane, &accepted.delivery).await?;
    Ok(EnqueueReport {
        command_id: accepted.delivery.id.to_string(),
        command_type: kind.to_string(),
        correlation_id: accepted.delivery.correlation_id.clone(),
        required_permission: asked.required_permission.clone(),
        warnings: warnings(&task, way.as_ref(), check.as_ref()),
        permission_check: check,
        task: asked.task.clone(),
        deduplicated: accepted.deduplicated,
        state: accepted.delivery.state,
        binding_id: accepted.delivery.binding_id.map(Into::into),
        target_session: way.as_ref().map(|way| way.target.name.to_string()),
        delivery_mode: way.as_ref().map(|_| accepted.delivery.transport),
        available_at: accepted.delivery.available_at,
        next,
    })
}

fn addressee(way: Option<&Way>) -> String {
    way.map_or_else(|| "whom the task will be bound to".to_owned(), |way| way.target.name.to_string())
}

/// From whom to whom it goes, when the task is bound.
async fn way(db: &mut Db, kind: Kind, task: &Task) -> Result<Option<Way>> {
    let Some(binding) = bindings::active_of_task(db, &task.id).await? else { return Ok(None) };
    let worker = resolve::by_id(db, &binding.worker_session_id).await?;
    let manager = resolve::by_id(db, &binding.manager_session_id).await?;
    let (source, target) = if kind == Kind::NotifyManager { (worker, manager) } else { (manager, worker) };
    Ok(Some(Way { binding, source, target }))
}

/// A person may send to anybody. An agent over MCP speaks only for a side of the task's binding.
async fn authorise(plane: &Plane, db: &mut Db, kind: Kind, way: Option<&Way>) -> Result<()> {
    if kind == Kind::NudgeWorker
        && let Some(way) = way
    {
        caller::may_reach(plane, db, &way.target).await?;
    }
    let session = match &plane.caller {
        Caller::Person | Caller::Shell { .. } => return Ok(()),
        Caller::Tool { thread: None, .. } => None,
        Caller::Tool { thread: Some(thread), .. } => threads::session_of(db, thread).await?,
    };
    let is_side = match (&session, way) {
        (Some(session), Some(way)) => session.id == way.source.id || session.id == way.target.id,
        (_, _) => false,
    };
    if is_side { Ok(()) } else { Err(Error::refused("this thread is neither side of the task's binding")) }
}

/// Whether what it needs is granted now.
async fn checked(db: &mut Db, task: &Task, asked: &Asked) -> Result<Option<PermissionCheck>> {
    let Some(wanted) = &asked.required_permission else { return Ok(None) };
    let config = configs::get(db, &task.id).await?;
    let allowed = config.is_some_and(|config| permission::grants(&config.permissions_json, wanted));
    Ok(Some(PermissionCheck { allowed, required_permission: wanted.clone() }))
}

fn wanted(plane: &Plane, kind: Kind, asked: &Asked, task: &Task, way: Option<&Way>) -> NewDelivery {
    let mut new = match way {
        Some(way) => message::new(plane, kind, &way.target, &asked.message),
        None => message::unaddressed(plane, kind, &asked.message),
    };
    new.task = Some(task.id.clone());
    new.binding = way.map(|way| way.binding.id.clone());
    new.source = way.map(|way| way.source.id.clone());
    new.payload = json!({ "message": new.body, "command_type": kind.as_str() });
    // An empty key or id is as good as none.
    new.correlation = asked.correlation_id.clone().filter(|id| !id.is_empty());
    new.idempotency_key = asked.idempotency_key.clone().filter(|key| !key.is_empty());
    new.required_permission.clone_from(&asked.required_permission);
    new.available_at = asked.available_at;
    new.max_attempts = asked.max_attempts.unwrap_or(new.max_attempts);
    new
}

/// What a worker says is never typed into its manager's pane: conveyor's own words name the command that reads it. A
/// person and a manager may have their words typed; who is not known to be one of them counts as a worker.
async fn own_words_only(plane: &Plane, db: &mut Db, task: &Task, new: &mut NewDelivery) -> Result<()> {
    let session = speaker::session(plane, db).await?;
    let who = match &session {
        Some(session) if session.role == Role::Manager => return Ok(()),
        None if plane.caller == Caller::Person => return Ok(()),
        Some(session) => format!("Worker {}", session.name),
        None => "An agent".to_owned(),
    };
    let turn = match &session {
        Some(session) => turns::get(db, &session.id).await?.and_then(|row| ingest::turn_of(&row).turn_id),
        None => None,
    };
    let turn = turn.map(|turn| format!(" (turn {turn})")).unwrap_or_default();
    let read = plane.command_line(&["commands", "--id", new.id.as_str()]);
    let text = format!("{who} has a message for you about task {}{turn}. Read it: {read}", task.name);
    new.said = Some(std::mem::replace(&mut new.body, wire::wire_text(&text)));
    new.wire_digest = Some(wire::digest(&new.body));
    Ok(())
}

async fn tell(tx: &mut Tx, delivery: &Delivery) -> Result<()> {
    let new = NewTelemetry {
        task: delivery.task_id.clone(),
        run: None,
        actor: "workerctl".to_owned(),
        event_type: "command_created".to_owned(),
        severity: Severity::Info,
        summary: format!("{} {} was accepted", delivery.kind, delivery.id),
        correlation: json!({
            "command_id": delivery.id,
            "command_type": delivery.kind,
            "correlation_id": delivery.correlation_id,
        }),
        attributes: json!({
            "idempotency_key": delivery.idempotency_key,
            "required_permission": delivery.required_permission,
            "state": delivery.state,
        }),
    };
    telemetry::insert(tx, new).await
}

fn warnings(task: &Task, way: Option<&Way>, check: Option<&PermissionCheck>) -> Vec<String> {
    let mut warnings = Vec::new();
    if way.is_none() {
        warnings.push(format!(
            "{} is not bound: the message fails unless it is bound before a dispatcher takes it",
            task.name
        ));
    }
    if let Some(check) = check.filter(|check| !check.allowed) {
        warnings.push(format!(
            "`{}` is not granted: the message fails unless it is by then",
            check.required_permission
        ));
    }
    warnings
}

/// A dispatcher that lives takes it by itself.
async fn next(plane: &Plane, delivery: &Delivery) -> Result<String> {
    Ok(match dispatch::alive(plane).await? {
        Some(_) => plane.command(&["commands", "--type", &delivery.kind]),
        None => plane.command(&["dispatch", "--once"]),
    })
}

#[cfg(test)]
mod tests;
