//! Units of supervised work.

use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// Where a task stands.
    TaskState, "a task's state" {
        /// Made; nobody works on it.
        Candidate = "candidate",
        /// Bound to a worker and a manager.
        Managed = "managed",
        /// Unbound before it was finished.
        Paused = "paused",
        /// Finished.
        Done = "done",
        /// Finished without success.
        Failed = "failed",
        /// Stopped before it was finished.
        Stopped = "stopped",
    }
}

impl TaskState {
    /// Whether work on it may still go on. The name of an unfinished task is its own.
    pub const fn is_unfinished(self) -> bool {
        match self {
            Self::Candidate | Self::Managed | Self::Paused => true,
            Self::Done | Self::Failed | Self::Stopped => false,
        }
    }
}

table! {
    /// A task.
    Task in "tasks" {
        /// Its id.
        id: TaskId,
        /// Small number, given by [`insert`].
        number: i64,
        /// Its name, unique among unfinished tasks.
        name: Name,
        /// What is wanted.
        goal: String,
        /// A shorter word for it.
        summary: Option<String>,
        /// Where it stands.
        state: TaskState,
        /// How it ended, in a word.
        outcome: Option<String>,
        /// Why it ended.
        reason: Option<String>,
        /// When it was made.
        created_at: Timestamp,
        /// When it last changed.
        updated_at: Timestamp,
        /// When it ended.
        finished_at: Option<Timestamp>,
        /// Since when nothing is delivered for it.
        paused_at: Option<Timestamp>,
    }
}

impl Task {
    /// A candidate.
    pub fn new(id: TaskId, name: Name, goal: String, summary: Option<String>, now: Timestamp) -> Self {
        Self {
            id,
            number: 0,
            name,
            goal,
            summary,
            state: TaskState::Candidate,
            outcome: None,
            reason: None,
            created_at: now,
            updated_at: now,
            finished_at: None,
            paused_at: None,
        }
    }
}

/// Makes a task and returns it with its number. An unfinished task of that name: kind `conflict`.
pub async fn insert(tx: &mut Tx, mut task: Task, audit: AuditRow) -> Result<Task> {
    task.number = tx.next_number(Counter::Task).await?;
    tx.insert(&task).await?;
    tx.audit(audit.or_task(Some(&task.id))).await?;
    Ok(task)
}

/// Stores all fields of a task and sets `updated_at`.
pub async fn update(tx: &mut Tx, task: &Task, audit: AuditRow) -> Result<()> {
    tx.replace(&Task { updated_at: tx.now(), ..task.clone() }).await?;
    tx.audit(audit.or_task(Some(&task.id))).await.map(drop)
}

/// A task by its id.
pub async fn get(db: &mut Db, id: &TaskId) -> Result<Option<Task>> {
    db.one(Task::select("WHERE id = $1"), args![id]).await
}

/// The unfinished task of that name, else the newest one.
pub async fn by_name(db: &mut Db, name: &Name) -> Result<Option<Task>> {
    let rest = "WHERE name = $1 ORDER BY \
                CASE WHEN state IN ('candidate', 'managed', 'paused') THEN 0 ELSE 1 END, number DESC LIMIT 1";
    db.one(Task::select(rest), args![name]).await
}

/// A task by its id or its name, as a person gives it.
pub async fn by_id_or_name(db: &mut Db, text: &str) -> Result<Option<Task>> {
    match (text.parse::<TaskId>(), text.parse::<Name>()) {
        (Ok(id), _) => get(db, &id).await,
        (Err(_), Ok(name)) => by_name(db, &name).await,
        (Err(_), Err(_)) => Ok(None),
    }
}

/// Tasks in the order in which they were made; only unfinished ones when `unfinished`.
pub async fn list(db: &mut Db, unfinished: bool, limit: u32) -> Result<Vec<Task>> {
    let (rest, args) = Filter::new()
        .must_if(unfinished, "state IN ('candidate', 'managed', 'paused')")
        .limited("ORDER BY number", limit);
    db.all(Task::select(&rest), args).await
}
