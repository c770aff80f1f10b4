//! Rows that `discover` finds.

use conveyor_model::Name;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::RunId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_store::bindings::BindingState;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::SessionState;
use conveyor_store::telemetry::Severity;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A session, without its secret.
#[derive(Serialize, JsonSchema, Debug)]
pub struct FoundSession {
    /// Its id.
    pub id: SessionId,
    /// Its name.
    pub name: Name,
    /// What it does.
    pub role: Role,
    /// Whether it counts.
    pub state: SessionState,
    /// The machine on which it runs.
    pub host: String,
    /// Where it works.
    pub cwd: String,
    /// The agent's process.
    pub pid: Option<i64>,
    /// The tmux session that was named.
    pub tmux_session: Option<String>,
    /// The pane that was named.
    pub tmux_pane_id: Option<String>,
    /// The newest thread.
    pub codex_session_id: Option<String>,
    /// That thread's rollout.
    pub codex_session_path: Option<String>,
    /// `push` where its pane is proved, else `pull`: it reads its inbox itself.
    pub delivery: &'static str,
    /// The task on which it works, or the first that it supervises.
    pub bound_task: Option<String>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was last heard of.
    pub last_heartbeat_at: Option<Timestamp>,
}

/// A binding with names for ids.
#[derive(Serialize, JsonSchema, Debug)]
pub struct FoundBinding {
    /// Its id.
    pub id: BindingId,
    /// Whether it holds.
    pub state: BindingState,
    /// When it began.
    pub created_at: Timestamp,
    /// The task.
    pub task_name: String,
    /// What is wanted.
    pub task_goal: String,
    /// The worker.
    pub worker_name: String,
    /// Whether the worker counts.
    pub worker_state: Option<SessionState>,
    /// The worker's tmux session.
    pub worker_tmux_session: Option<String>,
    /// The manager.
    pub manager_name: String,
    /// Whether the manager counts.
    pub manager_state: Option<SessionState>,
    /// The manager's tmux session.
    pub manager_tmux_session: Option<String>,
}

/// A row of telemetry.
#[derive(Serialize, JsonSchema, Debug)]
pub struct FoundTelemetry {
    /// Its id.
    pub id: String,
    /// The run.
    pub run_id: Option<RunId>,
    /// The task.
    pub task_id: Option<TaskId>,
    /// When.
    pub timestamp: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub event_type: String,
    /// How much it matters.
    pub severity: Severity,
    /// In a sentence.
    pub summary: String,
    /// Ids that it belongs to.
    pub correlation: Value,
    /// Details.
    pub attributes: Value,
}
