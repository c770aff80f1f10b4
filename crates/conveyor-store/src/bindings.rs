//! Who supervises whom on which task.

use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::filter::Filter;
use crate::sessions::Role;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// Whether a binding holds.
    BindingState, "a binding's state" {
        /// It holds.
        Active = "active",
        /// It was ended.
        Ended = "ended",
        /// One of its sessions is gone.
        Invalid = "invalid",
    }
}

table! {
    /// A worker and a manager tied to a task.
    Binding in "bindings" {
        /// Its id.
        id: BindingId,
        /// Small number, given by [`insert`].
        number: i64,
        /// The task. It has one active binding at most.
        task_id: TaskId,
        /// The worker. It has one active binding at most.
        worker_session_id: SessionId,
        /// The manager, which may have several.
        manager_session_id: SessionId,
        /// Whether it holds.
        state: BindingState,
        /// The worker's last event when the binding began: what came before belongs to another task.
        start_event_id: Option<i64>,
        /// The worker's thread when it began.
        start_thread_id: Option<String>,
        /// How far that thread's rollout was read.
        start_offset: Option<i64>,
        /// The turn that was running, whose end does not belong to this task.
        start_turn_id: Option<String>,
        /// When it began.
        created_at: Timestamp,
        /// When it ended.
        ended_at: Option<Timestamp>,
    }
}

impl Binding {
    /// An active binding that begins now, without marks of where the worker stands.
    pub fn new(id: BindingId, task: TaskId, worker: SessionId, manager: SessionId, now: Timestamp) -> Self {
        Self {
            id,
            number: 0,
            task_id: task,
            worker_session_id: worker,
            manager_session_id: manager,
            state: BindingState::Active,
            start_event_id: None,
            start_thread_id: None,
            start_offset: None,
            start_turn_id: None,
            created_at: now,
            ended_at: None,
        }
    }

    /// The session of one side.
    pub const fn side(&self, role: Role) -> &SessionId {
        match role {
            Role::Manager => &self.manager_session_id,
            Role::Worker => &self.worker_session_id,
        }
    }
}

/// Binds. The task or the worker is bound already: kind `conflict`.
pub async fn insert(tx: &mut Tx, mut binding: Binding, audit: AuditRow) -> Result<Binding> {
    binding.number = tx.next_number(Counter::Binding).await?;
    tx.insert(&binding).await?;
    let audit = audit.or_binding(Some(&binding.id)).or_task(Some(&binding.task_id));
    tx.audit(audit).await?;
    Ok(binding)
}

/// Ends an active binding as `ended` or `invalid`. Whether it was active.
pub async fn end(tx: &mut Tx, id: &BindingId, how: BindingState, audit: AuditRow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE bindings SET state = $2, ended_at = $3 WHERE id = $1 AND state = 'active'";
    let ended = tx.change(sql, args![id, &how, &now]).await? > 0;
    if ended {
        tx.audit(audit.or_binding(Some(id))).await?;
    }
    Ok(ended)
}

/// A binding by its id.
pub async fn get(db: &mut Db, id: &BindingId) -> Result<Option<Binding>> {
    db.one(Binding::select("WHERE id = $1"), args![id]).await
}

/// The active binding of a task.
pub async fn active_of_task(db: &mut Db, task: &TaskId) -> Result<Option<Binding>> {
    db.one(Binding::select("WHERE task_id = $1 AND state = 'active'"), args![task]).await
}

/// The active binding of a worker.
pub async fn active_of_worker(db: &mut Db, worker: &SessionId) -> Result<Option<Binding>> {
    db.one(Binding::select("WHERE worker_session_id = $1 AND state = 'active'"), args![worker]).await
}

/// The active bindings of a manager.
pub async fn active_of_manager(db: &mut Db, manager: &SessionId) -> Result<Vec<Binding>> {
    let rest = "WHERE manager_session_id = $1 AND state = 'active' ORDER BY number";
    db.all(Binding::select(rest), args![manager]).await
}

/// All bindings that a task ever had, oldest first.
pub async fn of_task(db: &mut Db, task: &TaskId) -> Result<Vec<Binding>> {
    db.all(Binding::select("WHERE task_id = $1 ORDER BY number"), args![task]).await
}

/// Bindings in the order in which they began; only active ones when `active`.
pub async fn list(db: &mut Db, active: bool, limit: u32) -> Result<Vec<Binding>> {
    let (rest, args) = Filter::new().must_if(active, "state = 'active'").limited("ORDER BY number", limit);
    db.all(Binding::select(&rest), args).await
}

/// Worker, manager and the task's name of each active binding, in the order in which they began.
pub async fn active_pairs(db: &mut Db) -> Result<Vec<(SessionId, SessionId, Name)>> {
    let sql = "SELECT b.worker_session_id, b.manager_session_id, t.name FROM bindings b \
               JOIN tasks t ON t.id = b.task_id WHERE b.state = 'active' ORDER BY b.number";
    db.all(sql, args![]).await
}

/// Task, binding, worker's name and manager's name of each active binding.
pub async fn active_names(db: &mut Db) -> Result<Vec<(TaskId, BindingId, Name, Name)>> {
    let sql = "SELECT b.task_id, b.id, w.name, m.name FROM bindings b JOIN sessions w ON w.id = b.worker_session_id \
               JOIN sessions m ON m.id = b.manager_session_id WHERE b.state = 'active' ORDER BY b.number";
    db.all(sql, args![]).await
}
