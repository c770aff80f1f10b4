//! What a manager has to know beside the worker's state: configuration, acknowledgements, handoff, criteria.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_model::limits;
use conveyor_model::negotiation;
use conveyor_model::negotiation::CriteriaCounts;
use conveyor_model::negotiation::Reason;
use conveyor_store::Db;
use conveyor_store::acknowledgements;
use conveyor_store::acknowledgements::Acknowledgement;
use conveyor_store::bindings::Binding;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::configs::NudgeOnCompletion;
use conveyor_store::configs::SupervisionMode;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::handoffs;
use conveyor_store::handoffs::Handoff;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::Caller;
use crate::Plane;

/// How the manager is to work.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ConfigView {
    /// The task.
    pub task_id: TaskId,
    /// How closely the worker is supervised.
    pub supervision_mode: SupervisionMode,
    /// What the manager is after.
    pub objective: Option<String>,
    /// Guidelines.
    pub guidelines: Value,
    /// Acceptance criteria that were given with the configuration.
    pub acceptance_criteria: Value,
    /// Files to check against.
    pub reference_paths: Value,
    /// Granted actions by category.
    pub permissions: Value,
    /// Tools to use.
    pub tools: Value,
    /// Steps before the task is finished.
    pub epilogues: Value,
    /// What follows when the worker has completed.
    pub nudge_on_completion: NudgeOnCompletion,
    /// Both sides must have acknowledged this revision.
    pub require_acks: bool,
    /// Counts the changes.
    pub revision: i64,
    /// When it was first stored.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl From<ManagerConfig> for ConfigView {
    fn from(config: ManagerConfig) -> Self {
        Self {
            task_id: config.task_id,
            supervision_mode: config.supervision_mode,
            objective: config.objective,
            guidelines: config.guidelines_json,
            acceptance_criteria: config.acceptance_criteria_json,
            reference_paths: config.reference_paths_json,
            permissions: config.permissions_json,
            tools: config.tools_json,
            epilogues: config.epilogues_json,
            nudge_on_completion: config.nudge_on_completion,
            require_acks: config.require_acks,
            revision: config.revision,
            created_at: config.created_at,
            updated_at: config.updated_at,
        }
    }
}

/// What one side says it has understood.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AckView {
    /// Its number.
    pub id: i64,
    /// The task.
    pub task_id: TaskId,
    /// Which side.
    pub role: Role,
    /// The binding that was active.
    pub binding_id: Option<BindingId>,
    /// What it says.
    pub payload: Value,
    /// Counts the acknowledgements of this side.
    pub revision: i64,
    /// The configuration's revision that it was made for.
    pub manager_config_revision: Option<i64>,
    /// What ties it to others.
    pub correlation_id: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// Whether it was made for this binding and the configuration as it is now.
    pub current: bool,
}

impl AckView {
    /// The acknowledgement as it counts under the active binding, if there is one, and the configuration of now.
    pub(crate) fn of(
        ack: Acknowledgement,
        binding: Option<&BindingId>,
        config: Option<&ManagerConfig>,
    ) -> Self {
        let current = binding.is_some()
            && ack.binding_id.as_ref() == binding
            && ack.manager_config_revision == config.map(|config| config.revision);
        Self {
            id: ack.id,
            task_id: ack.task_id,
            role: ack.role,
            binding_id: ack.binding_id,
            payload: ack.payload_json,
            revision: ack.revision,
            manager_config_revision: ack.manager_config_revision,
            correlation_id: ack.correlation_id,
            created_at: ack.created_at,
            current,
        }
    }
}

/// What a worker left for whoever goes on.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct HandoffView {
    /// Its number.
    pub id: i64,
    /// The task.
    pub task_id: TaskId,
    /// The worker that left it.
    pub worker_session_id: Option<SessionId>,
    /// Where things stand.
    pub summary: String,
    /// What is to be done next.
    pub next_steps: Value,
    /// Details.
    pub payload: Value,
    /// When.
    pub created_at: Timestamp,
}

impl From<Handoff> for HandoffView {
    fn from(handoff: Handoff) -> Self {
        Self {
            id: handoff.id,
            task_id: handoff.task_id,
            worker_session_id: handoff.worker_session_id,
            summary: handoff.summary,
            next_steps: handoff.next_steps_json,
            payload: handoff.payload_json,
            created_at: handoff.created_at,
        }
    }
}

/// A criterion.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CriterionView {
    /// Its number.
    pub id: i64,
    /// Where it stands.
    pub status: CriterionStatus,
    /// Who brought it up.
    pub source: CriterionSource,
    /// The rest; left out of brief reports.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub body: Option<CriterionBody>,
}

/// What a brief report leaves out of a criterion.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CriterionBody {
    /// The task.
    pub task_id: TaskId,
    /// Its text.
    pub criterion: String,
    /// What proves it, in words.
    pub proof: Option<String>,
    /// Why it stands there.
    pub rationale: Option<String>,
    /// What proves it, as an object.
    pub evidence: Value,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl CriterionView {
    fn of(criterion: Criterion, brief: bool) -> Self {
        let Criterion { id, status, source, .. } = criterion;
        let body = (!brief).then_some(CriterionBody {
            task_id: criterion.task_id,
            criterion: criterion.criterion,
            proof: criterion.proof,
            rationale: criterion.rationale,
            evidence: criterion.evidence_json,
            created_at: criterion.created_at,
            updated_at: criterion.updated_at,
        });
        Self { id, status, source, body }
    }
}

/// The criteria of a task, the newest of each status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct AcceptanceCriteria {
    /// How many there are of each status, listed or not.
    pub summary: CriteriaCounts,
    /// Accepted, without proof yet.
    pub open: Vec<CriterionView>,
    /// Suggested.
    pub proposed: Vec<CriterionView>,
    /// Proved.
    pub satisfied: Vec<CriterionView>,
    /// Put off.
    pub deferred: Vec<CriterionView>,
    /// Refused.
    pub rejected: Vec<CriterionView>,
    /// Whether a list is shorter than its count.
    pub truncated: bool,
}

/// Whether criteria have to be agreed on, and how to ask.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CriteriaNegotiation {
    /// Whether to ask now.
    pub needed: bool,
    /// Why, or why not.
    pub reason: Reason,
    /// What may be sent to the worker.
    pub prompt: Option<&'static str>,
    /// Complete commands that do so and record the answer.
    pub suggested_actions: Vec<String>,
}

/// All of it, as it is read before the worker is observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The configuration.
    pub config: Option<ManagerConfig>,
    /// The worker's latest acknowledgement.
    pub worker_ack: Option<AckView>,
    /// The manager's latest acknowledgement.
    pub manager_ack: Option<AckView>,
}

/// Reads configuration and acknowledgements.
pub async fn policy(db: &mut Db, binding: &Binding) -> Result<Policy> {
    let task = &binding.task_id;
    let config = configs::get(db, task).await?;
    let worker = acknowledgements::latest(db, task, Role::Worker).await?;
    let manager = acknowledgements::latest(db, task, Role::Manager).await?;
    let view =
        |ack: Option<Acknowledgement>| ack.map(|ack| AckView::of(ack, Some(&binding.id), config.as_ref()));
    Ok(Policy { worker_ack: view(worker), manager_ack: view(manager), config })
}

impl Policy {
    /// Whether both sides have acknowledged what holds now, where that is required.
    ///
    /// Errors: refused, with the sides that have not.
    pub fn check_acks(&self, plane: &Plane, task: &Task) -> Result<()> {
        if !self.requires_acks() {
            return Ok(());
        }
        let lacking = self.lacking();
        if lacking.is_empty() {
            return Ok(());
        }
        let missing: Vec<&str> = lacking.iter().map(|role| role.as_str()).collect();
        let hints: Vec<String> = lacking.iter().map(|role| ack_command(plane, task, *role)).collect();
        Err(Error::refused(format!(
            "the task `{}` requires acknowledgements of this binding and configuration, and {} did not give any",
            task.name,
            missing.join(" and ")
        ))
        .hint(hints.join("\n")))
    }

    /// Whether the configuration wants both sides to acknowledge it.
    pub fn requires_acks(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.require_acks)
    }

    /// The sides that have not acknowledged this binding and configuration.
    pub fn lacking(&self) -> Vec<Role> {
        [(Role::Worker, &self.worker_ack), (Role::Manager, &self.manager_ack)]
            .into_iter()
            .filter(|(_, ack)| !ack.as_ref().is_some_and(|ack| ack.current))
            .map(|(role, _)| role)
            .collect()
    }
}

/// The command with which a side acknowledges.
pub(crate) fn ack_command(plane: &Plane, task: &Task, role: Role) -> String {
    let verb = format!("{}-ack", role.as_str());
    let command = plane.command(&[&verb, task.name.as_str(), "--from-stdin"]);
    match &plane.caller {
        Caller::Tool { .. } => command,
        Caller::Person | Caller::Shell { .. } => format!("{command} < ack.json"),
    }
}

/// The latest handoff of a task.
pub async fn handoff(db: &mut Db, task: &TaskId) -> Result<Option<HandoffView>> {
    Ok(handoffs::latest(db, task).await?.map(HandoffView::from))
}

/// The newest criteria of each status, at most [`limits::CYCLE_CRITERIA`] each.
pub async fn criteria(db: &mut Db, task: &TaskId, brief: bool) -> Result<AcceptanceCriteria> {
    let mut all = AcceptanceCriteria::default();
    for (status, count) in criteria::counts(db, Some(task)).await? {
        let count = u64::try_from(count).unwrap_or_default();
        let found = criteria::newest(db, task, status, limits::CYCLE_CRITERIA).await?;
        all.truncated |= (found.len() as u64) < count;
        let (number, list) = match status {
            CriterionStatus::Accepted => (&mut all.summary.accepted, &mut all.open),
            CriterionStatus::Proposed => (&mut all.summary.proposed, &mut all.proposed),
            CriterionStatus::Satisfied => (&mut all.summary.satisfied, &mut all.satisfied),
            CriterionStatus::Deferred => (&mut all.summary.deferred, &mut all.deferred),
            CriterionStatus::Rejected => (&mut all.summary.rejected, &mut all.rejected),
        };
        *number = count;
        *list = found.into_iter().map(|criterion| CriterionView::of(criterion, brief)).collect();
    }
    Ok(all)
}

/// Whether criteria have to be agreed on, with commands that ask the worker and record what it answers.
pub fn criteria_negotiation(
    plane: &Plane,
    task: &Task,
    worker: &str,
    counts: CriteriaCounts,
) -> CriteriaNegotiation {
    let reason = negotiation::reason(counts);
    let prompt = reason.prompt();
    let suggested_actions = prompt.map_or_else(Vec::new, |prompt| {
        let add = |status: CriterionStatus| {
            let task = task.name.as_str();
            let text = format!("<{status} criterion>");
            let words =
                ["criteria", task, "--add", "--criterion", &text, "--source", "worker_proposed", "--status"];
            plane.command(&[&words[..], &[status.as_str()]].concat())
        };
        vec![
            plane.command(&["session-nudge", worker, prompt]),
            add(CriterionStatus::Accepted),
            add(CriterionStatus::Proposed),
            add(CriterionStatus::Deferred),
        ]
    });
    CriteriaNegotiation { needed: reason.is_needed(), reason, prompt, suggested_actions }
}
