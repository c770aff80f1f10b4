//! What a glance shows.

use conveyor_model::Name;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Stage;
use conveyor_model::glance::NextStep;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_model::turn::Coarse;
use conveyor_model::turn::TurnState;
use conveyor_store::cycles::CycleState;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks::TaskState;
use schemars::JsonSchema;
use serde::Serialize;

/// A session at a glance.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SessionGlance {
    /// Its id.
    pub session_id: SessionId,
    /// Its name.
    pub name: Name,
    /// Whether it is registered: `active` or `gone`.
    pub registered: SessionState,
    /// Whether its process lives; null where that cannot be known from here.
    pub alive: Option<bool>,
    /// `busy`, `idle` or `unknown`.
    pub state: Coarse,
    /// The same in fine words.
    pub turn_state: TurnState,
    /// Since when.
    pub since: Option<Timestamp>,
    /// For how long, in seconds.
    pub staleness_seconds: Option<f64>,
    /// Its newest thread.
    pub thread_id: Option<String>,
    /// `push` where its pane is proved, else `pull`: it reads its inbox itself.
    pub delivery: &'static str,
    /// Messages in its inbox that it has not confirmed.
    pub inbox_backlog: usize,
    /// Bytes of its rollout that nobody has read into the ledger: the state above may be older than that.
    pub unread_bytes: Option<u64>,
    /// When it was last heard of.
    pub last_heartbeat_at: Option<Timestamp>,
    /// Since when deliveries to it are held back.
    pub paused_at: Option<Timestamp>,
    /// Since when a person has taken it over.
    pub taken_over_at: Option<Timestamp>,
}

/// A delivery that is not through.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DeliveryGlance {
    /// The delivery.
    pub command_id: DeliveryId,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// For whom: the session's name.
    pub target_session: Option<String>,
    /// Where it stands.
    pub delivery_state: Stage,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// Something that wants attention.
#[derive(Serialize, JsonSchema, Debug)]
pub struct AttentionRow {
    /// Its number.
    pub id: i64,
    /// What sort.
    pub kind: String,
    /// What is the matter.
    pub message: String,
    /// The session's name.
    pub session: Option<String>,
    /// The task's name.
    pub task: Option<String>,
    /// The delivery.
    pub command_id: Option<DeliveryId>,
    /// Since when.
    pub since: Timestamp,
}

/// How many criteria stand where.
#[derive(Serialize, JsonSchema, Debug, Default)]
pub struct CriteriaGlance {
    /// To be met or to be decided on: accepted and proposed.
    pub open: i64,
    /// To be met.
    pub accepted: i64,
    /// To be decided on.
    pub proposed: i64,
    /// Met.
    pub satisfied: i64,
    /// Put off.
    pub deferred: i64,
    /// Not to be met.
    pub rejected: i64,
}

/// The last look of the manager.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CycleGlance {
    /// Its number.
    pub cycle_id: i64,
    /// How it went.
    pub state: CycleState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// How long ago it began, in seconds.
    pub age_seconds: f64,
}

/// The step that is recommended.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct Next {
    /// Which step.
    pub step: NextStep,
    /// The command.
    pub command: String,
    /// Why.
    pub reason: &'static str,
}

/// A task at a glance.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskGlance {
    /// The task's id.
    pub task_id: TaskId,
    /// Its name.
    pub task: Name,
    /// Where it stands.
    pub task_state: TaskState,
    /// Since when nothing is delivered for it.
    pub paused_at: Option<Timestamp>,
    /// The beginning of its goal.
    pub goal: String,
    /// Its binding.
    pub binding_id: Option<BindingId>,
    /// Since when it is bound.
    pub bound_at: Option<Timestamp>,
    /// Who works on it.
    pub worker: Option<SessionGlance>,
    /// Who supervises.
    pub manager: Option<SessionGlance>,
    /// What is not through, oldest first.
    pub deliveries: Vec<DeliveryGlance>,
    /// How many more of these there are.
    pub deliveries_more: usize,
    /// How many criteria stand where.
    pub criteria: CriteriaGlance,
    /// What wants attention.
    pub attention: Vec<AttentionRow>,
    /// How many more of these there are.
    pub attention_more: usize,
    /// The last look of the manager.
    pub last_cycle: Option<CycleGlance>,
    /// What to do next.
    pub next: Next,
}
