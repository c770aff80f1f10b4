//! `discover`: what there is, and what could be tied together.

mod found;
mod suggest;

use std::collections::HashMap;

use clap::Args;
use conveyor_model::Result;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::Telemetry;
use conveyor_store::threads;
use conveyor_store::threads::SessionThread;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

pub use self::found::FoundBinding;
pub use self::found::FoundSession;
pub use self::found::FoundTelemetry;
pub use self::suggest::Suggestion;
use crate::Plane;
use crate::glance::receive_style;
use crate::listing;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;
use crate::verbs::tasks::TaskRow;

/// Find tasks, sessions, bindings and telemetry, and what could be tied together
///
/// Matches the words anywhere in names, goals, states and folders, in any case. Suggestions are made from all live sessions
/// that are not bound, not only from those that match, the fitting ones first.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct DiscoverRequest {
    /// What to look for; everything without it
    #[arg(default_value_t)]
    #[serde(default)]
    pub query: String,
    /// Also finished tasks and sessions that are gone
    #[arg(long)]
    #[serde(default)]
    pub all: bool,
    /// Rows of each sort at most
    #[arg(long, default_value_t = limit())]
    #[serde(default = "limit")]
    pub limit: u32,
}

const fn limit() -> u32 {
    10
}

impl Request for DiscoverRequest {
    fn check(&self) -> Result<()> {
        listing::check(Some(self.limit))
    }
}

/// What was found.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DiscoverReport {
    /// As it was asked, trimmed.
    pub query: String,
    /// Tasks, oldest first.
    pub tasks: Vec<TaskRow>,
    /// Sessions, oldest first.
    pub sessions: Vec<FoundSession>,
    /// Active bindings, newest first.
    pub bindings: Vec<FoundBinding>,
    /// Telemetry, newest first; only with a query.
    pub telemetry: Vec<FoundTelemetry>,
    /// What could be done next, the most fitting first.
    pub suggestions: Vec<Suggestion>,
    /// Some sort has more rows than these.
    pub truncated: bool,
    /// The command that shows more.
    pub more: Option<String>,
}

impl Report for DiscoverReport {
    fn text(&self) -> Option<String> {
        let mut lines: Vec<String> = self.tasks.iter().map(task_line).collect();
        lines.extend(self.sessions.iter().map(session_line));
        lines.extend(self.bindings.iter().map(binding_line));
        lines.extend(self.telemetry.iter().map(telemetry_line));
        lines.extend(self.more.iter().map(|more| format!("there are more: {more}\n")));
        lines.extend(self.suggestions.iter().map(suggestion_line));
        if lines.is_empty() {
            lines.push("nothing was found\n".to_owned());
        }
        Some(lines.concat())
    }
}

fn task_line(task: &TaskRow) -> String {
    format!("task\t{}\t{}\t{}\n", task.name, task.state, listing::one_line(&task.goal))
}

fn session_line(session: &FoundSession) -> String {
    let bound = session.bound_task.as_deref().unwrap_or("-");
    format!("{}\t{}\t{}\t{bound}\t{}\n", session.role, session.name, session.state, session.cwd)
}

fn binding_line(binding: &FoundBinding) -> String {
    let FoundBinding { task_name, worker_name, manager_name, state, .. } = binding;
    format!("binding\t{task_name}\t{state}\t{worker_name} under {manager_name}\n")
}

fn telemetry_line(row: &FoundTelemetry) -> String {
    format!("telemetry\t{}\t{}\t{}\n", row.timestamp, row.event_type, listing::one_line(&row.summary))
}

fn suggestion_line(suggestion: &Suggestion) -> String {
    format!("suggestion: {}\n            {}\n", suggestion.command, suggestion.reason)
}

/// The verb.
pub struct Discover;

impl Verb for Discover {
    const NAME: &'static str = "discover";
    const ALIASES: &'static [&'static str] = &["search"];
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Reads;
    type Request = DiscoverRequest;
    type Report = DiscoverReport;

    async fn run(plane: &Plane, request: DiscoverRequest) -> Result<DiscoverReport> {
        let query = request.query.trim().to_owned();
        let whole = match plane.ledger_to_read().await? {
            Some(ledger) => Whole::read(&mut *ledger.read().await?).await?,
            None => Whole::default(),
        };
        let needle = query.to_lowercase();
        let (tasks, sessions) =
            (whole.found_tasks(&needle, request.all), whole.found_sessions(&needle, request.all));
        let limit = request.limit as usize;
        let mut report = DiscoverReport {
            tasks: Vec::new(),
            sessions: last(&sessions, limit).iter().map(|session| whole.row(session)).collect(),
            bindings: whole.found_bindings(&needle),
            telemetry: Vec::new(),
            suggestions: suggest::suggestions(plane, &whole),
            truncated: false,
            more: None,
            query,
        };
        report.truncated =
            [tasks.len(), sessions.len(), report.bindings.len()].iter().any(|&count| count > limit);
        report.bindings.truncate(limit);
        if let Some(ledger) = plane.ledger_to_read().await? {
            let mut reader = ledger.read().await?;
            report.tasks = super::tasks::rows(&mut reader, last(&tasks, limit)).await?;
            report.telemetry = found_telemetry(&mut reader, &report.query, request.limit).await?;
        }
        report.truncated |= report.telemetry.len() > limit;
        report.telemetry.truncate(limit);
        report.more = report.truncated.then(|| more(plane, &request));
        Ok(report)
    }
}

/// The newest rows, in their order.
fn last<T>(rows: &[T], limit: usize) -> &[T] {
    &rows[rows.len().saturating_sub(limit)..]
}

fn more(plane: &Plane, request: &DiscoverRequest) -> String {
    let limit = request.limit.saturating_mul(10).to_string();
    let query = request.query.trim();
    let mut words = vec!["discover"];
    words.extend((!query.is_empty()).then_some(query));
    words.extend(["--limit", &limit]);
    words.extend(request.all.then_some("--all"));
    plane.command(&words)
}

/// The whole control plane, from which matches and suggestions are taken.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) tasks: Vec<Task>,
    pub(super) sessions: Vec<Session>,
    pub(super) bindings: Vec<Binding>,
    /// The newest thread of each session that has one.
    threads: HashMap<SessionId, SessionThread>,
}

impl Whole {
    async fn read(db: &mut Db) -> Result<Self> {
        let sessions = sessions::list(db, &sessions::Wanted::default(), u32::MAX).await?;
        let mut current = HashMap::new();
        for session in &sessions {
            let newest = threads::current(db, &session.id).await?.into_iter().next();
            current.extend(newest.map(|thread| (session.id.clone(), thread)));
        }
        Ok(Self {
            tasks: tasks::list(db, false, u32::MAX).await?,
            sessions,
            bindings: bindings::list(db, true, u32::MAX).await?,
            threads: current,
        })
    }

    pub(super) fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == *id)
    }

    fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == *id)
    }

    fn found_tasks(&self, needle: &str, all: bool) -> Vec<Task> {
        let matches = |task: &&Task| {
            let summary = task.summary.as_deref().unwrap_or_default();
            holds(needle, &[task.name.as_str(), &task.goal, summary, task.state.as_str()])
        };
        self.tasks.iter().filter(|task| all || task.state.is_unfinished()).filter(matches).cloned().collect()
    }

    fn found_sessions(&self, needle: &str, all: bool) -> Vec<Session> {
        let matches = |session: &&Session| {
            let tmux = session.tmux_session.as_deref().unwrap_or_default();
            let (role, state) = (session.role.as_str(), session.state.as_str());
            let thread = self.threads.get(&session.id).map_or("", |thread| &thread.thread_id);
            holds(needle, &[session.name.as_str(), role, state, &session.cwd, tmux, thread])
        };
        let counts = |session: &&Session| all || session.state == SessionState::Active;
        self.sessions.iter().filter(counts).filter(matches).cloned().collect()
    }

    fn found_bindings(&self, needle: &str) -> Vec<FoundBinding> {
        let found = self.bindings.iter().rev().map(|binding| self.named(binding));
        found
            .filter(|one| {
                let state = one.state.as_str();
                holds(needle, &[&one.task_name, &one.task_goal, &one.worker_name, &one.manager_name, state])
            })
            .collect()
    }

    fn named(&self, binding: &Binding) -> FoundBinding {
        let (worker, manager) =
            (self.session(&binding.worker_session_id), self.session(&binding.manager_session_id));
        let task = self.task(&binding.task_id);
        let name = |session: Option<&Session>| session.map(|one| one.name.to_string()).unwrap_or_default();
        let tmux = |session: Option<&Session>| session.and_then(|one| one.tmux_session.clone());
        FoundBinding {
            id: binding.id.clone(),
            state: binding.state,
            created_at: binding.created_at,
            task_name: task.map(|task| task.name.to_string()).unwrap_or_default(),
            task_goal: task.map(|task| task.goal.clone()).unwrap_or_default(),
            worker_name: name(worker),
            worker_state: worker.map(|one| one.state),
            worker_tmux_session: tmux(worker),
            manager_name: name(manager),
            manager_state: manager.map(|one| one.state),
            manager_tmux_session: tmux(manager),
        }
    }

    /// The task that a session is bound to; the first where a manager has several.
    fn bound_task(&self, id: &SessionId) -> Option<String> {
        let binding = self
            .bindings
            .iter()
            .find(|binding| binding.worker_session_id == *id || binding.manager_session_id == *id)?;
        self.task(&binding.task_id).map(|task| task.name.to_string())
    }

    fn row(&self, session: &Session) -> FoundSession {
        let thread = self.threads.get(&session.id);
        FoundSession {
            id: session.id.clone(),
            name: session.name.clone(),
            role: session.role,
            state: session.state,
            host: session.host.clone(),
            cwd: session.cwd.clone(),
            pid: session.pid,
            tmux_session: session.tmux_session.clone(),
            tmux_pane_id: session.tmux_pane_id.clone(),
            codex_session_id: thread.map(|thread| thread.thread_id.clone()),
            codex_session_path: thread.and_then(|thread| thread.rollout_path.clone()),
            delivery: receive_style(session),
            bound_task: self.bound_task(&session.id),
            registered_at: session.registered_at,
            last_heartbeat_at: session.last_heartbeat_at,
        }
    }
}

/// Whether any of the texts holds the needle, which is in lower case.
fn holds(needle: &str, texts: &[&str]) -> bool {
    needle.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(needle))
}

/// The newest rows that hold all words of the query; one more than the limit shows that there are more.
async fn found_telemetry(db: &mut Db, query: &str, limit: u32) -> Result<Vec<FoundTelemetry>> {
    let terms: Vec<String> = query.split_whitespace().map(str::to_owned).collect();
    if terms.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = telemetry::Wanted { terms, newest_first: true, ..telemetry::Wanted::default() };
    let found = telemetry::list(db, &wanted, limit.saturating_add(1)).await?;
    Ok(found.into_iter().map(telemetry_row).collect())
}

fn telemetry_row(row: Telemetry) -> FoundTelemetry {
    FoundTelemetry {
        id: row.id,
        run_id: row.run_id,
        task_id: row.task_id,
        timestamp: row.at,
        actor: row.actor,
        event_type: row.event_type,
        severity: row.severity,
        summary: row.summary,
        correlation: row.correlation_json,
        attributes: row.attributes_json,
    }
}

#[cfg(test)]
mod tests;
