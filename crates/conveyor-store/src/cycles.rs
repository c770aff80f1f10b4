//! Observations that a manager made with `cycle`, and how long their parts took.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

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
    /// How a cycle went.
    CycleState, "a cycle's state" {
        /// It failed.
        Failed = "failed",
        /// It runs, or its process died.
        Started = "started",
        /// It succeeded.
        Succeeded = "succeeded",
    }
}

words! {
    /// How a part of a cycle went.
    SpanState, "a span's state" {
        /// It answered, but not with everything.
        Degraded = "degraded",
        /// It failed.
        Failed = "failed",
        /// It succeeded.
        Succeeded = "succeeded",
    }
}

table! {
    /// An observation.
    Cycle in "cycles" {
        /// Small number, given by [`insert`].
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The binding.
        binding_id: Option<BindingId>,
        /// How it went.
        state: CycleState,
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        completed_at: Option<Timestamp>,
        /// The notable pattern of the pane.
        pane_pattern: Option<String>,
        /// The whole report.
        status_json: Option<Value>,
        /// Why it failed.
        error: Option<String>,
    }
}

table! {
    /// A part of a cycle.
    Span in "cycle_spans" {
        /// Small number, given by [`insert_spans`].
        id: i64,
        /// The cycle.
        cycle_id: i64,
        /// The task.
        task_id: TaskId,
        /// Which part.
        phase: String,
        /// How it went.
        state: SpanState,
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        completed_at: Timestamp,
        /// How long it took, in milliseconds.
        duration_ms: f64,
        /// Details.
        attributes_json: Value,
        /// Why it failed.
        error: Option<String>,
        /// The decision that it belongs to.
        decision_id: Option<i64>,
        /// The delivery that it belongs to.
        delivery_id: Option<DeliveryId>,
    }
}

/// Stores a cycle and returns it with its number.
pub async fn insert(tx: &mut Tx, mut cycle: Cycle, audit: AuditRow) -> Result<Cycle> {
    cycle.id = tx.next_number(Counter::Cycle).await?;
    tx.insert(&cycle).await?;
    tx.audit(audit.or_task(Some(&cycle.task_id)).or_binding(cycle.binding_id.as_ref())).await?;
    Ok(cycle)
}

/// Stores all fields of a cycle.
pub async fn update(tx: &mut Tx, cycle: &Cycle, audit: AuditRow) -> Result<()> {
    tx.replace(cycle).await?;
    tx.audit(audit.or_task(Some(&cycle.task_id)).or_binding(cycle.binding_id.as_ref())).await.map(drop)
}

/// Stores parts of a cycle, numbered in their order. Leaves no audit row.
pub async fn insert_spans(tx: &mut Tx, mut spans: Vec<Span>) -> Result<Vec<Span>> {
    let first = tx.next_numbers(Counter::Span, spans.len() as i64).await?;
    for (span, id) in spans.iter_mut().zip(first..) {
        span.id = id;
        tx.whisper(Span::insert(), span.args()).await?;
    }
    Ok(spans)
}

/// A cycle by its number.
pub async fn get(db: &mut Db, id: i64) -> Result<Option<Cycle>> {
    db.one(Cycle::select("WHERE id = $1"), args![&id]).await
}

/// The latest cycle of a task.
pub async fn latest(db: &mut Db, task: &TaskId) -> Result<Option<Cycle>> {
    db.one(Cycle::select("WHERE task_id = $1 ORDER BY id DESC LIMIT 1"), args![task]).await
}

/// When each task that was ever looked at was looked at last: the end of its latest cycle, or its begin while it runs.
pub async fn last_looks(db: &mut Db) -> Result<Vec<(TaskId, Timestamp)>> {
    let sql = "SELECT t.id, COALESCE(c.completed_at, c.started_at) FROM tasks t JOIN cycles c ON c.id = \
               (SELECT l.id FROM cycles l WHERE l.task_id = t.id ORDER BY l.id DESC LIMIT 1)";
    db.all(sql, args![]).await
}

/// Cycles of a task, newest first; only those with a notable pattern when `notable`.
pub async fn list(db: &mut Db, task: &TaskId, notable: bool, limit: u32) -> Result<Vec<Cycle>> {
    let (rest, args) = Filter::new()
        .given("task_id = ?", Some(task))
        .must_if(notable, "pane_pattern IS NOT NULL")
        .limited("ORDER BY id DESC", limit);
    db.all(Cycle::select(&rest), args).await
}

table! {
    /// A cycle that saw a notable pattern, and what the one before it saw.
    NotableCycle in "cycles" {
        /// The cycle.
        id: i64,
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        completed_at: Option<Timestamp>,
        /// The pattern.
        pane_pattern: String,
        /// The pattern of the succeeded cycle of the task before it; absent when it saw none or there is none.
        pattern_before: Option<String>,
    }
}

impl NotableCycle {
    /// Whether the pattern was not seen by the cycle before.
    pub fn begins_run(&self) -> bool {
        self.pattern_before.as_ref() != Some(&self.pane_pattern)
    }
}

/// Cycles of a task with a notable pattern, newest first; only with numbers below `before` when given. Failed cycles saw
/// nothing: they neither stand here nor break a run.
pub async fn notable(
    db: &mut Db,
    task: &TaskId,
    pattern: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<NotableCycle>> {
    let pattern = pattern.map(str::to_owned);
    let (rest, args) = Filter::new()
        .given("c.task_id = ?", Some(task))
        .must("c.pane_pattern IS NOT NULL")
        .must("c.state = 'succeeded'")
        .given("c.pane_pattern = ?", pattern.as_ref())
        .given("c.id < ?", before.as_ref())
        .limited("ORDER BY c.id DESC", limit);
    let sql = format!(
        "SELECT c.id, c.started_at, c.completed_at, c.pane_pattern, \
         (SELECT p.pane_pattern FROM cycles p WHERE p.task_id = c.task_id AND p.id < c.id \
          AND p.state = 'succeeded' ORDER BY p.id DESC LIMIT 1) FROM cycles c {rest}"
    );
    db.all(sql, args).await
}

/// Marks cycles of a task that were begun and never ended as failed. Returns their numbers.
pub async fn fail_unfinished(tx: &mut Tx, task: &TaskId, error: &str) -> Result<Vec<i64>> {
    let rest = "WHERE task_id = $1 AND state = 'started' ORDER BY id";
    let unfinished: Vec<Cycle> = tx.all(Cycle::select(rest), args![task]).await?;
    let now = tx.now();
    for cycle in &unfinished {
        let failed = Cycle {
            state: CycleState::Failed,
            completed_at: Some(now),
            error: Some(error.to_owned()),
            ..cycle.clone()
        };
        let audit = AuditRow::new("cycle_failed", format!("Cycle {} was never ended: {error}.", cycle.id));
        update(tx, &failed, audit).await?;
    }
    Ok(unfinished.iter().map(|cycle| cycle.id).collect())
}

/// How many cycles a task has in each state.
pub async fn counts(db: &mut Db, task: Option<&TaskId>) -> Result<Vec<(CycleState, i64)>> {
    let (rest, args) = Filter::new().given("task_id = ?", task).build();
    db.all(format!("SELECT state, count(*) FROM cycles {rest} GROUP BY state ORDER BY state"), args).await
}

/// The parts of a cycle, in order.
pub async fn spans(db: &mut Db, cycle: i64) -> Result<Vec<Span>> {
    db.all(Span::select("WHERE cycle_id = $1 ORDER BY id"), args![&cycle]).await
}
