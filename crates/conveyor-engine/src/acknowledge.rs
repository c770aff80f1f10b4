//! Recording and reading what one side of a task says it has understood: what `worker-ack` and `manager-ack` share.

use std::fmt::Write as _;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::acknowledgement;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::acknowledgements;
use conveyor_store::acknowledgements::Acknowledgement;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::configs;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::Plane;
use crate::manager_context::AckView;
use crate::object::JsonObject;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::verb::Report;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) task: String,
    pub(crate) from_stdin: bool,
    pub(crate) payload: Option<JsonObject>,
    pub(crate) correlation_id: Option<String>,
}

impl Asked {
    /// What both faces check before anything is opened.
    pub(crate) fn check(&self) -> Result<()> {
        match (&self.payload, self.from_stdin, &self.correlation_id) {
            (Some(_), true, _) => Err(Error::usage("--from-stdin and --payload-json exclude one another")),
            (Some(payload), false, _) => acknowledgement::remarks(payload.map()).map(drop),
            (None, false, Some(_)) => Err(Error::usage("--correlation-id belongs to what is recorded")
                .hint("add --from-stdin or --payload-json")),
            (None, _, _) => Ok(()),
        }
    }
}

/// The latest acknowledgement of a side, or the one that was recorded; null when there is none.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(transparent)]
pub struct AckReport(Option<AckAnswer>);

/// An acknowledgement and what its reader should notice.
#[derive(Serialize, JsonSchema, Debug)]
pub struct AckAnswer {
    /// The acknowledgement.
    #[serde(flatten)]
    pub ack: AckView,
    /// What in it wants attention: missing and unknown keys, open questions, that its writer is not ready.
    pub warnings: Vec<String>,
    /// What to run next.
    pub next: String,
}

impl Report for AckReport {
    fn text(&self) -> Option<String> {
        let Some(answer) = &self.0 else { return Some("nothing is acknowledged yet\n".to_owned()) };
        let AckAnswer { ack, warnings, next } = answer;
        let current = if ack.current { "current" } else { "made for another binding or configuration" };
        let mut text = format!("acknowledgement {} of the {} ({current})\n", ack.revision, ack.role.as_str());
        for (key, value) in ack.payload.as_object().into_iter().flatten() {
            let _ = writeln!(text, "  {key}: {value}");
        }
        text.extend(warnings.iter().map(|warning| format!("warning: {warning}\n")));
        let _ = writeln!(text, "next: {next}");
        Some(text)
    }
}

/// Records an acknowledgement when there is one to record, else reads the latest.
pub(crate) async fn run(plane: &Plane, role: Role, asked: Asked) -> Result<AckReport> {
    let payload = JsonObject::given(&plane.caller, asked.from_stdin, asked.payload)?;
    plane.ledger_that_exists().await?;
    match payload {
        Some(payload) => record(plane, role, &asked.task, payload, asked.correlation_id).await,
        None => latest(plane, role, &asked.task).await,
    }
}

async fn latest(plane: &Plane, role: Role, task: &str) -> Result<AckReport> {
    let mut reader = plane.ledger_that_exists().await?.read().await?;
    let task = resolve::task(&mut reader, task).await?;
    let binding = bindings::active_of_task(&mut reader, &task.id).await?;
    match acknowledgements::latest(&mut reader, &task.id, role).await? {
        Some(ack) => answer(plane, &mut reader, &task, ack, binding.as_ref()).await,
        None => Ok(AckReport(None)),
    }
}

async fn record(
    plane: &Plane,
    role: Role,
    task: &str,
    payload: JsonObject,
    correlation: Option<String>,
) -> Result<AckReport> {
    let (mut tx, task) = resolve::task_to_change(plane, task).await?;
    let binding = speaker::may_speak(plane, &mut tx, &task, Speaks::For(role)).await?;
    let ack = insert(&mut tx, role, &task, binding.as_ref(), payload, correlation).await?;
    let report = answer(plane, &mut tx, &task, ack, binding.as_ref()).await?;
    tx.commit().await?;
    Ok(report)
}

/// Appends an acknowledgement of what holds now: this binding and this configuration.
pub(crate) async fn insert(
    tx: &mut Tx,
    role: Role,
    task: &Task,
    binding: Option<&Binding>,
    payload: JsonObject,
    correlation: Option<String>,
) -> Result<Acknowledgement> {
    acknowledgement::remarks(payload.map())?;
    let config = configs::get(tx, &task.id).await?;
    let keys: Vec<String> = payload.map().keys().cloned().collect();
    let ack = Acknowledgement {
        id: 0,
        task_id: task.id.clone(),
        binding_id: binding.map(|binding| binding.id.clone()),
        role,
        payload_json: payload.into_value(),
        revision: 0,
        manager_config_revision: config.map(|config| config.revision),
        correlation_id: correlation.clone(),
        created_at: tx.now(),
    };
    let who = role.as_str();
    let details = json!({
        "role": who,
        "payload_keys": keys,
        "binding_id": ack.binding_id,
        "manager_config_revision": ack.manager_config_revision,
    });
    let sentence = format!("The {who} acknowledged the task {}.", task.name);
    let mut audit = AuditRow::new(format!("{who}_ack_recorded"), sentence).payload(details);
    if let Some(binding) = binding {
        audit = audit.session(binding.side(role));
    }
    if let Some(correlation) = correlation {
        audit = audit.correlation(correlation);
    }
    acknowledgements::insert(tx, ack, audit).await
}

async fn answer(
    plane: &Plane,
    db: &mut Db,
    task: &Task,
    ack: Acknowledgement,
    binding: Option<&Binding>,
) -> Result<AckReport> {
    let config = configs::get(db, &task.id).await?;
    let role = ack.role;
    // What was stored before a key became known may hold anything.
    let warnings = ack.payload_json.as_object().map(acknowledgement::remarks);
    let warnings = warnings.transpose().unwrap_or_else(|error| Some(vec![error.message])).unwrap_or_default();
    let ack = AckView::of(ack, binding.map(|binding| &binding.id), config.as_ref());
    let next = next(plane, task, role, &ack);
    Ok(AckReport(Some(AckAnswer { ack, warnings, next })))
}

/// What follows: again where it does not count any more, else the other side, or a look at the worker.
fn next(plane: &Plane, task: &Task, role: Role, ack: &AckView) -> String {
    let task = task.name.as_str();
    match (ack.current, role) {
        (false, Role::Worker) => plane.command(&["worker-ack", task, "--from-stdin"]),
        (false, Role::Manager) => plane.command(&["manager-ack", task, "--from-stdin"]),
        (true, Role::Worker) => plane.command(&["criteria", task, "--list"]),
        (true, Role::Manager) => plane.command(&["cycle", task]),
    }
}

#[cfg(test)]
mod tests;
