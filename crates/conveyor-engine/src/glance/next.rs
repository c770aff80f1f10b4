//! From what was seen of a task to the step that comes next.

use conveyor_model::delivery::Stage;
use conveyor_model::glance::Glance;
use conveyor_model::glance::Names;
use conveyor_model::glance::Standing;
use conveyor_model::glance::Viewer;
use conveyor_model::glance::next_step;
use conveyor_model::turn::Coarse;
use conveyor_store::attention::Attention;
use conveyor_store::cycles::Cycle;
use conveyor_store::cycles::CycleState;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks::Task;

use super::CriteriaGlance;
use super::Next;
use super::SessionGlance;
use crate::Plane;
use crate::dispatch;
use crate::dispatch::Known;

/// What the next step is decided from.
pub(super) struct Seen<'a> {
    pub(super) task: &'a Task,
    pub(super) worker: Option<SessionGlance>,
    pub(super) manager: Option<SessionGlance>,
    pub(super) criteria: CriteriaGlance,
    pub(super) unsettled: &'a [Delivery],
    pub(super) attention: &'a [Attention],
    pub(super) dismissed: &'a [Attention],
    pub(super) last_cycle: Option<&'a Cycle>,
    pub(super) viewer: Viewer,
    pub(super) dispatchers: &'a [Known],
}

/// The step that comes next.
pub(super) fn next(plane: &Plane, seen: &Seen<'_>) -> Next {
    let step = next_step(&glance(seen));
    let name = |session: Option<&SessionGlance>, role: &str| {
        session.map_or_else(|| format!("<{role}>"), |session| session.name.to_string())
    };
    let (worker, manager) = (name(seen.worker.as_ref(), "worker"), name(seen.manager.as_ref(), "manager"));
    let names = Names { task: seen.task.name.as_str(), worker: &worker, manager: &manager };
    Next { step, command: plane.command(&step.words(seen.viewer, names)), reason: step.reason() }
}

fn glance(seen: &Seen<'_>) -> Glance {
    let bound = seen.worker.is_some() && seen.manager.is_some();
    let gone = |session: Option<&SessionGlance>| {
        session.is_some_and(|one| one.registered == SessionState::Gone || one.alive == Some(false))
    };
    let unread = |session: Option<&SessionGlance>| session.is_some_and(|one| one.inbox_backlog > 0);
    let criteria = &seen.criteria;
    Glance {
        viewer: seen.viewer,
        standing: match (seen.task.state.is_unfinished(), bound) {
            (false, _) => Standing::Finished,
            (true, true) => Standing::Bound,
            (true, false) => Standing::Unbound,
        },
        worker_gone: gone(seen.worker.as_ref()),
        manager_gone: gone(seen.manager.as_ref()),
        attention: seen.attention.iter().any(|row| !is_about_an_end(row)),
        doubtful: seen.unsettled.iter().any(|delivery| is_doubtful(delivery, seen)),
        waiting: waiting(seen).next().is_some(),
        dispatcher: waiting(seen).all(|one| dispatch::serves(seen.dispatchers, &one.host)),
        worker_unread: unread(seen.worker.as_ref()),
        manager_unread: unread(seen.manager.as_ref()),
        worker: seen.worker.as_ref().map_or(Coarse::Unknown, |worker| worker.state),
        news: is_news(seen.worker.as_ref(), seen.last_cycle),
        has_criteria: criteria.open + criteria.satisfied + criteria.deferred + criteria.rejected > 0,
        open_criteria: criteria.open > 0,
    }
}

/// What somebody has to carry out, each on its target's host.
fn waiting<'a>(seen: &Seen<'a>) -> impl Iterator<Item = &'a Delivery> {
    seen.unsettled.iter().filter(|one| !one.state.is_settled() && one.inbox_at.is_none())
}

/// Attention to a delivery that ended without success: those are counted as doubtful deliveries.
pub(crate) fn is_about_an_end(row: &Attention) -> bool {
    matches!(row.kind.as_str(), "delivery_unproved" | "delivery_blocked" | "delivery_failed")
}

/// Whether a delivery ended without success since the manager last looked: what it has seen, it has decided on, and so
/// has whoever dismissed it.
fn is_doubtful(delivery: &Delivery, seen: &Seen<'_>) -> bool {
    let ended = matches!(delivery.state, Stage::Blocked | Stage::Failed | Stage::Unproved);
    let dismissed = seen.dismissed.iter().any(|row| row.delivery_id.as_ref() == Some(&delivery.id));
    ended && !dismissed && seen.last_cycle.is_none_or(|cycle| delivery.updated_at > cycle.started_at)
}

/// Whether the worker did something that no cycle has seen.
fn is_news(worker: Option<&SessionGlance>, last: Option<&Cycle>) -> bool {
    let Some(worker) = worker else { return false };
    let Some(last) = last.filter(|cycle| cycle.state == CycleState::Succeeded) else { return true };
    worker.unread_bytes.is_some_and(|bytes| bytes > 0)
        || worker.since.is_some_and(|since| since > last.started_at)
}
