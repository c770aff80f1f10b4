//! `handoff`: where a worker leaves off, for whoever goes on.

use std::fmt::Write as _;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::bindings::Binding;
use conveyor_store::handoffs;
use conveyor_store::handoffs::Handoff as HandoffRow;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::Plane;
use crate::listing;
use crate::manager_context::HandoffView;
use crate::object::JsonObject;
use crate::outbox::Letter;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::statement;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Record or show where a task's work stands
///
/// With `--summary`, appends a handoff; the latest one counts, and `cycle` shows it to the manager. `--latest` shows that,
/// or null; `--list` shows all of them, newest first.
#[derive(Args, Clone, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct HandoffRequest {
    /// The task, by name or id
    pub task: String,
    /// Where things stand: what was done, how it was checked, what is not known
    #[arg(long, allow_hyphen_values = true)]
    pub summary: Option<String>,
    /// What is to be done next; can be repeated
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    #[serde(default)]
    pub next_step: Vec<String>,
    /// Details, as a JSON object
    #[arg(long, value_name = "OBJECT")]
    pub payload_json: Option<JsonObject>,
    /// Show the latest one
    #[arg(long)]
    #[serde(default)]
    pub latest: bool,
    /// Show all of them
    #[arg(long)]
    #[serde(default)]
    pub list: bool,
    /// Rows at most, the newest; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
}

impl Request for HandoffRequest {
    fn only_reads(&self) -> bool {
        self.summary.is_none()
    }

    fn letter(&self) -> Result<Option<Letter>> {
        Ok(Some(Letter::Handoff(self.clone())))
    }

    fn check(&self) -> Result<()> {
        listing::check(self.limit)?;
        let asked = [self.summary.is_some(), self.latest, self.list].iter().filter(|asked| **asked).count();
        if asked != 1 {
            return Err(Error::usage("one of --summary, --latest and --list is needed").hint(format!(
                "conveyor handoff {} --summary \"<where things stand>\" --next-step \"<what is next>\"",
                self.task.escape_debug()
            )));
        }
        if self.summary.is_none() && (!self.next_step.is_empty() || self.payload_json.is_some()) {
            return Err(Error::usage("--next-step and --payload-json belong to --summary"));
        }
        if self.limit.is_some() && !self.list {
            return Err(Error::usage("--limit belongs to --list"));
        }
        if let Some(summary) = &self.summary {
            statement::check_text("--summary", summary)?;
        }
        statement::check_lines("--next-step", &self.next_step)
    }
}

/// All handoffs of a task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Handoffs {
    /// The task.
    pub task: Name,
    /// The handoffs, newest first.
    pub handoffs: Vec<HandoffView>,
    /// There are more than these.
    pub truncated: bool,
    /// The command that shows more.
    pub more: Option<String>,
}

/// The handoff that was recorded or is the latest (null when there is none), or all of them.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum HandoffReport {
    /// One.
    One(Option<Box<HandoffView>>),
    /// All.
    All(Handoffs),
}

impl Report for HandoffReport {
    fn text(&self) -> Option<String> {
        match self {
            Self::One(None) => Some("there is no handoff yet\n".to_owned()),
            Self::One(Some(one)) => Some(text(one)),
            Self::All(all) => {
                let mut lines: String = all.handoffs.iter().map(text).collect();
                if all.handoffs.is_empty() {
                    lines.push_str("there is no handoff yet\n");
                }
                lines.extend(all.more.iter().map(|command| format!("there are more: {command}\n")));
                Some(lines)
            }
        }
    }
}

fn text(one: &HandoffView) -> String {
    let mut text =
        format!("handoff {} of {}\n  {}\n", one.id, one.created_at, one.summary.replace('\n', "\n  "));
    for step in one.next_steps.as_array().into_iter().flatten().filter_map(|step| step.as_str()) {
        let _ = writeln!(text, "  next: {}", step.replace('\n', "\n        "));
    }
    text
}

/// The verb.
pub struct Handoff;

impl Verb for Handoff {
    const NAME: &'static str = "handoff";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["task-1", "--latest"];
    type Request = HandoffRequest;
    type Report = HandoffReport;

    async fn run(plane: &Plane, request: HandoffRequest) -> Result<HandoffReport> {
        plane.ledger_that_exists().await?;
        if request.summary.is_some() {
            return record(plane, request).await;
        }
        let mut reader = plane.ledger_that_exists().await?.read().await?;
        let task = resolve::task(&mut reader, &request.task).await?;
        if request.latest {
            let latest = handoffs::latest(&mut reader, &task.id).await?;
            return Ok(HandoffReport::One(latest.map(|one| Box::new(one.into()))));
        }
        let limit = listing::rows(plane, request.limit);
        let mut found = handoffs::list(&mut reader, &task.id, limit.saturating_add(1)).await?;
        let truncated = found.len() > limit as usize;
        found.truncate(limit as usize);
        let more = limit.saturating_mul(10).to_string();
        Ok(HandoffReport::All(Handoffs {
            more: truncated
                .then(|| plane.command(&["handoff", task.name.as_str(), "--list", "--limit", &more])),
            task: task.name,
            handoffs: found.into_iter().map(HandoffView::from).collect(),
            truncated,
        }))
    }
}

async fn record(plane: &Plane, request: HandoffRequest) -> Result<HandoffReport> {
    let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
    let binding = speaker::may_speak(plane, &mut tx, &task, Speaks::ForEither).await?;
    let said = Said {
        summary: request.summary.unwrap_or_default(),
        next_steps: request.next_step,
        payload: request.payload_json.unwrap_or_default(),
    };
    let handoff = insert(&mut tx, &task, binding.as_ref(), said).await?;
    tx.commit().await?;
    Ok(HandoffReport::One(Some(Box::new(handoff.into()))))
}

/// What a handoff says.
pub(crate) struct Said {
    pub(crate) summary: String,
    pub(crate) next_steps: Vec<String>,
    pub(crate) payload: JsonObject,
}

/// Appends a handoff of the task's worker.
pub(crate) async fn insert(
    tx: &mut Tx,
    task: &Task,
    binding: Option<&Binding>,
    said: Said,
) -> Result<HandoffRow> {
    let steps = said.next_steps.len();
    let row = HandoffRow {
        id: 0,
        task_id: task.id.clone(),
        worker_session_id: binding.map(|binding| binding.side(Role::Worker).clone()),
        summary: said.summary,
        next_steps_json: json!(said.next_steps),
        payload_json: said.payload.into_value(),
        created_at: tx.now(),
    };
    let shown: String = listing::one_line(&row.summary).chars().take(limits::TOLD_CHARS).collect();
    let audit =
        AuditRow::new("worker_handoff_recorded", format!("Where {} stands was recorded: {shown}", task.name));
    let audit = audit.payload(json!({ "next_steps": said.next_steps.len() }));
    let row = handoffs::insert(tx, row, audit).await?;
    let told = NewTelemetry {
        task: Some(task.id.clone()),
        run: None,
        actor: "worker".to_owned(),
        event_type: "worker_handoff_recorded".to_owned(),
        severity: Severity::Info,
        summary: format!("handoff {} of {}", row.id, task.name),
        correlation: json!({ "handoff_id": row.id, "worker_session_id": row.worker_session_id }),
        attributes: json!({ "next_steps": steps, "summary_chars": row.summary.chars().count() }),
    };
    telemetry::insert(tx, told).await?;
    Ok(row)
}

#[cfg(test)]
mod tests;
