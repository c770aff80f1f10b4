//! What happened, for figures and for looking back. It may be thinned out; the audit chain may not.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::RunId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::filter::Filter;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// How much a row of telemetry matters.
    Severity, "a severity" {
        /// Hardly.
        Debug = "debug",
        /// Something failed.
        Error = "error",
        /// As usual.
        Info = "info",
        /// Something is odd.
        Warning = "warning",
    }
}

table! {
    /// A row of telemetry.
    Telemetry in "telemetry" {
        /// Small number; the order.
        number: i64,
        /// Its id.
        id: String,
        /// The task's run that was active.
        run_id: Option<RunId>,
        /// The task.
        task_id: Option<TaskId>,
        /// When.
        at: Timestamp,
        /// Who, in the contract's words.
        actor: String,
        /// What.
        event_type: String,
        /// How much it matters.
        severity: Severity,
        /// In a sentence.
        summary: String,
        /// Ids that it belongs to.
        correlation_json: Value,
        /// Details.
        attributes_json: Value,
    }
}

/// What is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTelemetry {
    /// The task; its active run is attached unless one is given.
    pub task: Option<TaskId>,
    /// The run.
    pub run: Option<RunId>,
    /// Who, in the contract's words.
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

/// Stores a row of telemetry. Rings nobody and needs no audit row.
pub async fn insert(tx: &mut Tx, new: NewTelemetry) -> Result<()> {
    let run = match (&new.run, &new.task) {
        (Some(run), _) => Some(run.clone()),
        (None, Some(task)) => crate::runs::active(tx, task).await?.map(|run| run.id),
        (None, None) => None,
    };
    let row = Telemetry {
        number: tx.next_number(Counter::Telemetry).await?,
        id: format!("telemetry-{}", tx.clock().uuid_v7()),
        run_id: run,
        task_id: new.task,
        at: tx.now(),
        actor: new.actor,
        event_type: new.event_type,
        severity: new.severity,
        summary: new.summary,
        correlation_json: new.correlation,
        attributes_json: new.attributes,
    };
    tx.whisper(Telemetry::insert(), row.args()).await.map(drop)
}

/// Which rows are wanted. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only of this type.
    pub event_type: Option<String>,
    /// Only of this severity.
    pub severity: Option<Severity>,
    /// Only at or after this time.
    pub since: Option<Timestamp>,
    /// Only rows that hold all of these terms in summary or attributes, in any case. This is the search that both engines
    /// have in common.
    pub terms: Vec<String>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

impl Wanted {
    fn filter(&self) -> Filter {
        let filter = Filter::new()
            .given("task_id = ?", self.task.as_ref())
            .given("run_id = ?", self.run.as_ref())
            .given("actor = ?", self.actor.as_ref())
            .given("event_type = ?", self.event_type.as_ref())
            .given("severity = ?", self.severity.as_ref())
            .given("at >= ?", self.since.as_ref());
        self.terms.iter().fold(filter, |filter, term| {
            let pattern = like(term);
            filter.given(
                "lower(summary || ' ' || attributes_json || ' ' || event_type) LIKE ? ESCAPE '\\'",
                Some(&pattern),
            )
        })
    }
}

/// A pattern that finds the term anywhere, its own wildcards taken literally. Both engines fold ASCII letters alike.
fn like(term: &str) -> String {
    let literal = term.to_ascii_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{literal}%")
}

/// Rows in their order.
pub async fn list(db: &mut Db, wanted: &Wanted, limit: u32) -> Result<Vec<Telemetry>> {
    let order = if wanted.newest_first { "ORDER BY number DESC" } else { "ORDER BY number" };
    let (rest, args) = wanted.filter().limited(order, limit);
    db.all(Telemetry::select(&rest), args).await
}

/// How many rows there are of each word in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// By who.
    Actor,
    /// By what.
    EventType,
    /// By how much it matters.
    Severity,
}

/// Counts over all rows that are wanted, never over a page of them.
pub async fn counts(db: &mut Db, wanted: &Wanted, by: GroupBy) -> Result<Vec<(String, i64)>> {
    let column = match by {
        GroupBy::Actor => "actor",
        GroupBy::EventType => "event_type",
        GroupBy::Severity => "severity",
    };
    let (rest, args) = wanted.filter().build();
    db.all(
        format!("SELECT {column}, count(*) FROM telemetry {rest} GROUP BY {column} ORDER BY {column}"),
        args,
    )
    .await
}

/// The newest row of a type.
pub async fn latest(db: &mut Db, event_type: &str) -> Result<Option<Telemetry>> {
    let rest = "WHERE event_type = $1 ORDER BY number DESC LIMIT 1";
    db.one(Telemetry::select(rest), args![&event_type.to_owned()]).await
}

/// Keeps the newest `keep` rows and deletes the others. Returns how many were deleted.
pub async fn prune(tx: &mut Tx, keep: i64) -> Result<u64> {
    let sql = "DELETE FROM telemetry WHERE number <= (SELECT max(number) FROM telemetry) - $1";
    tx.whisper(sql, args![&keep]).await
}
