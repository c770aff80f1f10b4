//! Everything about a task at a glance: who works on it and what they do, what is on its way, what is still to be met,
//! and the one step that comes next.

mod next;
mod report;

use conveyor_agents::ProcessId;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::glance::Viewer;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_model::limits;
use conveyor_store::Db;
use conveyor_store::attention;
use conveyor_store::attention::Attention;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::criteria;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::cycles;
use conveyor_store::cycles::Cycle;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::follows;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use conveyor_store::threads;
use conveyor_store::threads::SessionThread;
use conveyor_store::turns;

use self::next::Seen;
pub(crate) use self::next::is_about_an_end;
use self::next::next;
pub use self::report::AttentionRow;
pub use self::report::CriteriaGlance;
pub use self::report::CycleGlance;
pub use self::report::DeliveryGlance;
pub use self::report::Next;
pub use self::report::SessionGlance;
pub use self::report::TaskGlance;
use crate::Caller;
use crate::Plane;
use crate::dispatch::Known;
use crate::ingest;
use crate::listing::one_line;
use crate::message;
use crate::waiting::waits_for;

/// Longest part of a text that a glance shows, in characters.
const SHOWN_CHARS: usize = 200;

/// Deliveries and attention rows that a glance lists of one task.
const SHOWN_ROWS: usize = 10;

/// What a glance is taken with: who looks, when, and which dispatchers there are.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The plane.
    pub plane: &'a Plane,
    /// The ledger's time.
    pub now: Timestamp,
    /// The dispatchers.
    pub dispatchers: &'a [Known],
    /// The session of the calling agent, where it is known.
    pub caller: Option<&'a Session>,
}

impl Look<'_> {
    /// Looks at a task.
    pub async fn at(self, db: &mut Db, task: &Task) -> Result<TaskGlance> {
        let binding = bindings::active_of_task(db, &task.id).await?;
        let (worker, manager) = match &binding {
            Some(binding) => (
                sessions::get(db, &binding.worker_session_id).await?,
                sessions::get(db, &binding.manager_session_id).await?,
            ),
            None => (None, None),
        };
        let unsettled = unsettled(db, task).await?;
        let open = attention::open(db, None, Some(&task.id), limits::LIST_ROWS).await?;
        let (dismissed, attention): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|row| row.dismissed_at.is_some());
        let attention = with_sessions(db, attention, [worker.as_ref(), manager.as_ref()]).await?;
        let last_cycle = cycles::latest(db, &task.id).await?;
        let seen = Seen {
            task,
            worker: self.session(db, worker.as_ref()).await?,
            manager: self.session(db, manager.as_ref()).await?,
            criteria: criteria_of(db, &task.id).await?,
            unsettled: &unsettled,
            attention: &attention,
            dismissed: &dismissed,
            last_cycle: last_cycle.as_ref(),
            viewer: self.viewer(binding.as_ref()),
            dispatchers: self.dispatchers,
        };
        let next = next(self.plane, &seen);
        Ok(TaskGlance {
            task_id: task.id.clone(),
            task: task.name.clone(),
            task_state: task.state,
            paused_at: task.paused_at,
            goal: shown(&task.goal),
            binding_id: binding.as_ref().map(|binding| binding.id.clone()),
            bound_at: binding.map(|binding| binding.created_at),
            deliveries: self.deliveries(db, &unsettled).await?,
            deliveries_more: unsettled.len().saturating_sub(SHOWN_ROWS),
            attention: rows(db, &attention[..attention.len().min(SHOWN_ROWS)]).await?,
            attention_more: attention.len().saturating_sub(SHOWN_ROWS),
            last_cycle: last_cycle.as_ref().map(|cycle| self.cycle(cycle)),
            worker: seen.worker,
            manager: seen.manager,
            criteria: seen.criteria,
            next,
        })
    }

    fn viewer(self, binding: Option<&Binding>) -> Viewer {
        match (&self.plane.caller, self.caller, binding) {
            (Caller::Person, _, _) => Viewer::Person,
            (_, Some(caller), Some(binding)) if caller.id == binding.worker_session_id => Viewer::Worker,
            (Caller::Shell { .. } | Caller::Tool { .. }, _, _) => Viewer::Manager,
        }
    }

    async fn session(self, db: &mut Db, session: Option<&Session>) -> Result<Option<SessionGlance>> {
        let Some(session) = session else { return Ok(None) };
        let turn = turns::get(db, &session.id).await?.map(|row| ingest::turn_of(&row)).unwrap_or_default();
        let thread = threads::current(db, &session.id).await?.into_iter().next();
        let inbox = deliveries::inbox(db, &session.id, u32::MAX).await?;
        let unread_bytes = match &thread {
            Some(thread) => self.unread_bytes(db, session, thread).await?,
            None => None,
        };
        Ok(Some(SessionGlance {
            session_id: session.id.clone(),
            name: session.name.clone(),
            registered: session.state,
            alive: self.alive(session),
            state: turn.coarse(),
            turn_state: turn.state,
            since: turn.since,
            staleness_seconds: turn.since.map(|since| self.now.since(since).as_secs_f64()),
            thread_id: thread.map(|thread| thread.thread_id),
            delivery: receive_style(session),
            inbox_backlog: inbox.len(),
            unread_bytes,
            last_heartbeat_at: session.last_heartbeat_at,
            paused_at: session.paused_at,
            taken_over_at: session.taken_over_at,
        }))
    }

    fn is_here(self, session: &Session) -> bool {
        session.host == self.plane.environment.host
    }

    /// Whether the session's process lives. From inside a sandbox other processes cannot be seen.
    fn alive(self, session: &Session) -> Option<bool> {
        let hidden = matches!(self.plane.caller, Caller::Shell { sandboxed: true, .. });
        if !self.is_here(session) || hidden {
            return None;
        }
        let (pid, ticks) = (session.pid?, session.pid_start_ticks?);
        let process = ProcessId { pid: u32::try_from(pid).ok()?, start_ticks: u64::try_from(ticks).ok()? };
        Some(process.is_alive())
    }

    /// How much of the thread's rollout the ledger has not read, where the rollout can be seen from here.
    async fn unread_bytes(
        self,
        db: &mut Db,
        session: &Session,
        thread: &SessionThread,
    ) -> Result<Option<u64>> {
        if !self.is_here(session) {
            return Ok(None);
        }
        let read = follows::get(db, &thread.thread_id).await?.map_or(0, |follow| follow.position);
        let path = ingest::rollout_path(self.plane, session, thread).ok().flatten();
        let length = path.and_then(|path| Some(self.plane.log.open(&path).ok()?.stat().ok()?.len));
        Ok(length.map(|length| length.saturating_sub(u64::try_from(read).unwrap_or(0))))
    }

    async fn deliveries(self, db: &mut Db, unsettled: &[Delivery]) -> Result<Vec<DeliveryGlance>> {
        let mut shown = Vec::new();
        for delivery in unsettled.iter().take(SHOWN_ROWS) {
            shown.push(DeliveryGlance {
                command_id: delivery.id.clone(),
                kind: delivery.kind.clone(),
                target_session: session_name(db, delivery.target_session_id.as_ref()).await?,
                delivery_state: delivery.state,
                waits_for: waits_for(db, delivery, self.now).await?,
                created_at: delivery.created_at,
            });
        }
        Ok(shown)
    }

    fn cycle(self, cycle: &Cycle) -> CycleGlance {
        CycleGlance {
            cycle_id: cycle.id,
            state: cycle.state,
            started_at: cycle.started_at,
            completed_at: cycle.completed_at,
            age_seconds: self.now.since(cycle.started_at).as_secs_f64(),
        }
    }
}

/// What of a task is not through, oldest first.
async fn unsettled(db: &mut Db, task: &Task) -> Result<Vec<Delivery>> {
    let wanted = deliveries::Wanted {
        task: Some(task.id.clone()),
        states: vec![
            Stage::Pending,
            Stage::Leased,
            Stage::EffectStarted,
            Stage::Submitted,
            Stage::Blocked,
            Stage::Failed,
            Stage::Unproved,
        ],
        newest_first: true,
        ..deliveries::Wanted::default()
    };
    let mut newest = deliveries::list(db, &wanted, limits::LIST_ROWS).await?;
    newest.reverse();
    Ok(newest)
}

/// A task's own attention rows, and those of its sessions that belong to no task.
async fn with_sessions(
    db: &mut Db,
    mut rows: Vec<Attention>,
    bound: [Option<&Session>; 2],
) -> Result<Vec<Attention>> {
    for session in bound.into_iter().flatten() {
        let own = attention::shown(db, Some(&session.id), None, limits::LIST_ROWS).await?;
        rows.extend(own.into_iter().filter(|row| row.task_id.is_none()));
    }
    Ok(rows)
}

async fn criteria_of(db: &mut Db, task: &TaskId) -> Result<CriteriaGlance> {
    let mut glance = CriteriaGlance::default();
    for (status, count) in criteria::counts(db, Some(task)).await? {
        match status {
            CriterionStatus::Accepted => glance.accepted = count,
            CriterionStatus::Deferred => glance.deferred = count,
            CriterionStatus::Proposed => glance.proposed = count,
            CriterionStatus::Rejected => glance.rejected = count,
            CriterionStatus::Satisfied => glance.satisfied = count,
        }
    }
    glance.open = glance.accepted + glance.proposed;
    Ok(glance)
}

/// Attention rows with names for ids.
pub(crate) async fn rows(db: &mut Db, attention: &[Attention]) -> Result<Vec<AttentionRow>> {
    let mut rows = Vec::with_capacity(attention.len());
    for row in attention {
        let task = match &row.task_id {
            Some(id) => conveyor_store::tasks::get(db, id).await?.map(|task| task.name.to_string()),
            None => None,
        };
        rows.push(AttentionRow {
            id: row.id,
            kind: row.kind.clone(),
            message: row.message.clone(),
            session: session_name(db, row.session_id.as_ref()).await?,
            task,
            command_id: row.delivery_id.clone(),
            since: row.since_at,
        });
    }
    Ok(rows)
}

/// A session's name by its id.
pub(crate) async fn session_name(db: &mut Db, id: Option<&SessionId>) -> Result<Option<String>> {
    match id {
        Some(id) => Ok(sessions::get(db, id).await?.map(|session| session.name.to_string())),
        None => Ok(None),
    }
}

/// The beginning of a text, on one line.
pub(crate) fn shown(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The active bindings that a calling agent takes part in; all of them for anybody else.
pub(crate) async fn bindings_of(db: &mut Db, caller: Option<&Session>) -> Result<Vec<Binding>> {
    match caller {
        Some(caller) if caller.role == Role::Worker => {
            Ok(bindings::active_of_worker(db, &caller.id).await?.into_iter().collect())
        }
        Some(caller) => bindings::active_of_manager(db, &caller.id).await,
        None => bindings::list(db, true, u32::MAX).await,
    }
}

/// `push` where a session's pane is proved, else `pull`: it reads its inbox itself.
pub(crate) fn receive_style(session: &Session) -> &'static str {
    match message::transport(session) {
        Transport::Push => "push",
        Transport::Pull => "pull",
    }
}
