//! `manager-permission`: whether a task's configuration allows an action.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::ids::TaskId;
use conveyor_model::permission;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::configs;
use conveyor_store::handoffs;
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
use crate::manager_context::ConfigView;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Check whether a task's configuration allows an action
///
/// Without a configuration nothing is allowed. `--require` exits with 1 when it is not; `--require-handoff` wants a saved
/// handoff too. With `--list`, the action is a category, whose granted actions are listed. Each check is told in the audit
/// chain.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ManagerPermissionRequest {
    /// The task, by name or id
    pub task: String,
    /// The action, as `category.action` or an older word; with `--list` a category
    pub action: String,
    /// List the granted actions of a category
    #[arg(long)]
    #[serde(default)]
    pub list: bool,
    /// Only with a saved handoff
    #[arg(long)]
    #[serde(default)]
    pub require_handoff: bool,
    /// Exit with 1 when it is not allowed
    #[arg(long)]
    #[serde(default)]
    pub require: bool,
}

impl Request for ManagerPermissionRequest {
    fn check(&self) -> Result<()> {
        if self.list {
            return permission::granted_in(&json!({}), &self.action).map(drop);
        }
        permission::parse(&self.action).map(drop)
    }
}

/// Why an action is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The task has no configuration.
    MissingManagerConfig,
    /// The configuration does not grant it.
    PermissionNotEnabled,
    /// No handoff is saved.
    MissingWorkerHandoff,
}

/// What was found.
struct Found {
    config: Option<configs::ManagerConfig>,
    handoff_id: Option<i64>,
    listed: Option<Vec<&'static str>>,
    missing: Vec<String>,
    reasons: Vec<Refusal>,
}

/// Looks at configuration and handoff. A category of which nothing is granted is not allowed: `--require` fails closed.
async fn look(db: &mut Db, task: &Task, request: &ManagerPermissionRequest) -> Result<Found> {
    let config = configs::get(db, &task.id).await?;
    let handoff_id = handoffs::latest(db, &task.id).await?.map(|handoff| handoff.id);
    let granted = config.as_ref().map_or_else(|| json!({}), |config| config.permissions_json.clone());
    let (listed, missing) = if request.list {
        (Some(permission::granted_in(&granted, &request.action)?), Vec::new())
    } else {
        let missing = permission::missing(&granted, &request.action)?;
        (None, missing.iter().map(ToString::to_string).collect())
    };
    let nothing = !missing.is_empty() || listed.as_ref().is_some_and(Vec::is_empty);
    let reasons = [
        (config.is_none(), Refusal::MissingManagerConfig),
        (config.is_some() && nothing, Refusal::PermissionNotEnabled),
        (request.require_handoff && handoff_id.is_none(), Refusal::MissingWorkerHandoff),
    ];
    let reasons = reasons.into_iter().filter(|(stands, _)| *stands).map(|(_, reason)| reason).collect();
    Ok(Found { config, handoff_id, listed, missing, reasons })
}

/// The task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskOfPermission {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
}

/// Whether it is allowed.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ManagerPermissionReport {
    /// As it was asked.
    pub action: String,
    /// Whether it is allowed; of a category, whether anything of it is.
    pub allowed: bool,
    /// The task's configuration.
    pub config: Option<ConfigView>,
    /// The saved handoff.
    pub handoff_id: Option<i64>,
    /// The granted actions of a category.
    pub listed_permissions: Option<Vec<&'static str>>,
    /// Permissions that would have to be granted.
    pub missing_permissions: Vec<String>,
    /// As it was asked.
    pub require_handoff: bool,
    /// Why it is not allowed.
    pub reasons: Vec<Refusal>,
    /// The task.
    pub task: TaskOfPermission,
    /// What a person would run to allow it.
    pub next: Vec<String>,
    /// Whether the exit code tells.
    #[serde(skip)]
    require: bool,
}

impl Report for ManagerPermissionReport {
    fn text(&self) -> Option<String> {
        let words = if self.allowed { "allowed" } else { "not allowed" };
        let mut text = format!("{} on {}: {words}\n", self.action, self.task.name);
        text.extend(self.listed_permissions.iter().flatten().map(|action| format!("  {action}\n")));
        text.extend(self.next.iter().map(|command| format!("next: {command}\n")));
        Some(text)
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.require && !self.allowed)
    }
}

/// The verb.
pub struct ManagerPermission;

impl Verb for ManagerPermission {
    const NAME: &'static str = "manager-permission";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["task-1", "repo.open_pr"];
    type Request = ManagerPermissionRequest;
    type Report = ManagerPermissionReport;

    async fn run(plane: &Plane, request: ManagerPermissionRequest) -> Result<ManagerPermissionReport> {
        let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
        speaker::may_speak(plane, &mut tx, &task, Speaks::ToPrepare).await?;
        let found = look(&mut tx, &task, &request).await?;
        let report = report(plane, task, request, found);
        let told = told(&report);
        let audit = AuditRow::new("manager_permission_checked", told.summary.clone());
        tx.audit(audit.task(&report.task.id).payload(told.attributes.clone())).await?;
        telemetry::insert(&mut tx, told).await?;
        tx.commit().await?;
        Ok(report)
    }
}

fn report(
    plane: &Plane,
    task: Task,
    request: ManagerPermissionRequest,
    found: Found,
) -> ManagerPermissionReport {
    let mut next: Vec<String> = Vec::new();
    if !found.missing.is_empty() {
        let mut words = vec!["manager-config", task.name.as_str()];
        words.extend(found.missing.iter().flat_map(|one| ["--permit", one.as_str()]));
        next.push(plane.command(&words));
    }
    if found.reasons.contains(&Refusal::MissingWorkerHandoff) {
        next.push(plane.command(&["handoff", task.name.as_str(), "--summary", "<where things stand>"]));
    }
    ManagerPermissionReport {
        allowed: found.reasons.is_empty(),
        action: request.action,
        config: found.config.map(ConfigView::from),
        handoff_id: found.handoff_id,
        listed_permissions: found.listed,
        missing_permissions: found.missing,
        require_handoff: request.require_handoff,
        reasons: found.reasons,
        task: TaskOfPermission { id: task.id, name: task.name },
        next,
        require: request.require,
    }
}

/// What is told of a check: what was asked and found, not the configuration, which has a row of its own.
fn told(report: &ManagerPermissionReport) -> NewTelemetry {
    let words = if report.allowed { "is allowed" } else { "is not allowed" };
    NewTelemetry {
        task: Some(report.task.id.clone()),
        run: None,
        actor: Role::Manager.as_str().to_owned(),
        event_type: "manager_permission_checked".to_owned(),
        severity: if report.allowed { Severity::Info } else { Severity::Warning },
        summary: format!("{} {words} on {}", report.action, report.task.name),
        correlation: json!({ "handoff_id": report.handoff_id }),
        attributes: json!({
            "action": report.action,
            "allowed": report.allowed,
            "config_revision": report.config.as_ref().map(|config| config.revision),
            "listed_permissions": report.listed_permissions,
            "missing_permissions": report.missing_permissions,
            "reasons": report.reasons,
            "require_handoff": report.require_handoff,
        }),
    }
}

#[cfg(test)]
mod tests;
