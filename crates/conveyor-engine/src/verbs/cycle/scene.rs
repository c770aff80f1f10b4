//! Whom a cycle is about: task, binding, worker, manager, and what the manager has to know beside.

use conveyor_model::Result;
use conveyor_model::delivery::Holds;
use conveyor_model::observation::Marks;
use conveyor_store::bindings::Binding;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use serde_json::Value;
use serde_json::json;

use crate::Plane;
use crate::manager_context;
use crate::manager_context::AcceptanceCriteria;
use crate::manager_context::CriteriaNegotiation;
use crate::manager_context::HandoffView;
use crate::manager_context::Policy;
use crate::resolve;

/// The rows that a cycle is about.
pub(super) struct Scene {
    /// The task as the caller wrote it.
    pub(super) word: String,
    pub(super) task: Task,
    pub(super) binding: Binding,
    pub(super) worker: Session,
    pub(super) manager: Session,
    pub(super) policy: Policy,
}

/// What the manager has to know beside the worker's state.
pub(super) struct Context {
    pub(super) handoff: Option<HandoffView>,
    pub(super) criteria: AcceptanceCriteria,
    pub(super) negotiation: CriteriaNegotiation,
}

impl Scene {
    /// Errors: not found for an unknown task and for one that is not bound. Nothing is written then.
    pub(super) async fn resolve(plane: &Plane, word: &str) -> Result<Self> {
        let mut db = plane.ledger().await?.read().await?;
        let task = resolve::task(&mut db, word).await?;
        let binding = resolve::binding(&mut db, &task).await?;
        let worker = resolve::by_id(&mut db, &binding.worker_session_id).await?;
        let manager = resolve::by_id(&mut db, &binding.manager_session_id).await?;
        let policy = manager_context::policy(&mut db, &binding).await?;
        Ok(Self { word: word.to_owned(), task, binding, worker, manager, policy })
    }

    /// What keeps messages from the worker.
    pub(super) fn holds(&self) -> Holds {
        Holds {
            session_paused: self.worker.paused_at.is_some(),
            taken_over: self.worker.taken_over_at.is_some(),
            task_paused: self.task.paused_at.is_some(),
        }
    }

    /// Where the worker stood when the binding began.
    pub(super) fn marks(&self) -> Marks {
        Marks {
            event: self.binding.start_event_id,
            turn: self.binding.start_turn_id.clone(),
            at: self.binding.created_at,
        }
    }

    /// Reads handoff and criteria.
    pub(super) async fn context(&self, plane: &Plane, brief: bool) -> Result<Context> {
        let mut db = plane.ledger().await?.read().await?;
        let handoff = manager_context::handoff(&mut db, &self.task.id).await?;
        let criteria = manager_context::criteria(&mut db, &self.task.id, brief).await?;
        let worker = self.worker.name.as_str();
        let negotiation = manager_context::criteria_negotiation(plane, &self.task, worker, criteria.summary);
        Ok(Context { handoff, criteria, negotiation })
    }

    /// For the span.
    pub(super) fn attributes(&self) -> Value {
        json!({
            "binding_id": self.binding.id,
            "binding_state": self.binding.state,
            "manager_session": self.manager.name,
            "worker_session": self.worker.name,
            "manager_config_present": self.policy.config.is_some(),
            "require_acks": self.policy.config.as_ref().is_some_and(|config| config.require_acks),
            "manager_ack_present": self.policy.manager_ack.is_some(),
            "worker_ack_present": self.policy.worker_ack.is_some(),
        })
    }
}

impl Context {
    /// For the span.
    pub(super) fn attributes(&self) -> Value {
        json!({
            "accepted_criteria": self.criteria.summary.accepted,
            "worker_handoff_present": self.handoff.is_some(),
        })
    }
}
