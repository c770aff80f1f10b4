//! What `finish-task` answers.

use conveyor_model::Name;
use conveyor_model::ids::DeliveryId;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::TaskState;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::transcript_capture::CaptureView;
use super::FinishTaskRequest;
use super::Finished;
use super::Outcome;
use super::Pair;
use super::gates::AckAudit;
use super::gates::Audits;
use super::gates::ClosedGate;
use super::gates::CriteriaAudit;
use super::gates::DecisionAudit;
use super::gates::EpilogueAudit;
use crate::Plane;
use crate::binding::Dropped;
use crate::stop::StopReport;
use crate::stop::StopState;
use crate::verb::Report;

/// What was finished, and what became of the sessions.
#[derive(Serialize, JsonSchema, Debug)]
pub struct FinishTaskReport {
    /// The task.
    pub task: Name,
    /// Where it stands now.
    pub state: TaskState,
    /// How it ended; as it was asked now, which changes nothing of a task that had ended before.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<String>,
    /// It had ended before, and only sessions were stopped.
    pub already_done_followup: bool,
    /// The contract's word for this verb.
    pub finish: bool,
    /// The audit of criteria.
    pub final_audit: CriteriaAudit,
    /// The audit of acknowledgements.
    pub final_ack_audit: AckAudit,
    /// The audit of the configured steps.
    pub final_epilogue_audit: EpilogueAudit,
    /// The decision that the end rests on.
    pub manager_decision: DecisionAudit,
    /// What was kept of what the sessions said.
    pub pre_stop_transcript_captures: Vec<CaptureView>,
    /// With `--dry-run`: nothing was done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// With `--dry-run`: the gates that are closed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed_gates: Vec<ClosedGate>,
    /// Commands of the binding that were taken back.
    pub cancelled_commands: Vec<DeliveryId>,
    /// Commands of the binding that a reader was given and did not confirm: they may have been read.
    pub expired_commands: Vec<DeliveryId>,
    /// As it was asked.
    pub stop_manager: bool,
    /// As it was asked.
    pub stop_worker: bool,
    /// The manager's session was stopped now.
    pub killed_manager: bool,
    /// The worker's session was stopped now.
    pub killed_worker: bool,
    /// The manager's session.
    pub manager_session: Option<Name>,
    /// The worker's session.
    pub worker_session: Option<Name>,
    /// What became of each session that was to be stopped.
    pub stops: Vec<StopReport>,
    /// What to run next.
    pub next: Option<String>,
}

impl FinishTaskReport {
    /// What would be done.
    pub(super) fn dry(
        plane: &Plane,
        request: FinishTaskRequest,
        pair: Pair,
        audits: Audits,
        already_done_followup: bool,
    ) -> Self {
        let finished = Finished {
            task: pair.task.clone(),
            dropped: Dropped::default(),
            message: None,
            stops: Vec::new(),
        };
        Self::new(plane, request, pair, audits, finished, Vec::new(), already_done_followup, Vec::new())
    }

    #[allow(clippy::too_many_arguments, reason = "each part of the answer comes from a step of its own")]
    pub(super) fn new(
        plane: &Plane,
        request: FinishTaskRequest,
        pair: Pair,
        audits: Audits,
        finished: Finished,
        stops: Vec<StopReport>,
        already_done_followup: bool,
        captures: Vec<CaptureView>,
    ) -> Self {
        let killed =
            |role| stops.iter().any(|stop| stop.role == role && stop.stopped.state == StopState::Stopped);
        let next = next(plane, &request, &stops);
        Self {
            task: finished.task.name,
            state: finished.task.state,
            outcome: request.outcome,
            reason: request.reason,
            already_done_followup,
            finish: request.outcome != Outcome::Stopped,
            final_audit: audits.criteria,
            final_ack_audit: audits.acks,
            final_epilogue_audit: audits.epilogue,
            manager_decision: audits.decision,
            pre_stop_transcript_captures: captures,
            dry_run: request.dry_run,
            closed_gates: audits.closed,
            cancelled_commands: finished.dropped.cancelled.into_iter().map(|delivery| delivery.id).collect(),
            expired_commands: finished.dropped.expired.into_iter().map(|delivery| delivery.id).collect(),
            stop_manager: request.stop_manager,
            stop_worker: request.stop_worker,
            killed_manager: killed(Role::Manager),
            killed_worker: killed(Role::Worker),
            manager_session: pair.manager.map(|session| session.name),
            worker_session: pair.worker.map(|session| session.name),
            stops,
            next,
        }
    }
}

/// What is still open, as a command.
fn next(plane: &Plane, request: &FinishTaskRequest, stops: &[StopReport]) -> Option<String> {
    let has = |state| stops.iter().any(|stop| stop.stopped.state == state);
    if has(StopState::StillRunning) {
        let mut words = vec!["finish-task", request.task.as_str()];
        words.extend(request.stop_manager.then_some("--stop-manager"));
        words.extend(request.stop_worker.then_some("--stop-worker"));
        return Some(plane.command(&words));
    }
    has(StopState::Pending).then(|| plane.command(&["dispatch", "--once"]))
}

impl Report for FinishTaskReport {
    fn text(&self) -> Option<String> {
        let mut text = format!("The task {} is {}.\n", self.task, self.state);
        if self.dry_run {
            text = format!("Nothing was done; the task {} is {}.\n", self.task, self.state);
            if self.closed_gates.is_empty() {
                text.push_str("All gates are open.\n");
            }
        }
        for gate in &self.closed_gates {
            text.extend(["closed: ", &gate.message, "\n"]);
            text.extend(gate.commands.iter().flat_map(|command| ["  ", command, "\n"]));
        }
        for stop in &self.stops {
            let state = match stop.stopped.state {
                StopState::Stopped => "is stopped",
                StopState::AlreadyStopped => "had stopped before",
                StopState::StillRunning => "still runs",
                StopState::Pending => "will be stopped",
            };
            let reason = stop.stopped.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
            text.extend(["The ", stop.role.as_str(), " ", stop.session.as_str(), " ", state, &reason, ".\n"]);
        }
        text.extend(self.next.iter().flat_map(|next| ["Next: ", next, "\n"]));
        Some(text)
    }

    fn exit_code(&self) -> u8 {
        u8::from(
            !self.closed_gates.is_empty()
                || self.stops.iter().any(|stop| stop.stopped.state == StopState::StillRunning),
        )
    }
}
