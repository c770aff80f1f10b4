//! `divergences`: where a worker's pane showed something that its rollout does not tell, or contradicts.

use std::cmp::Reverse;

use clap::Args;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use conveyor_store::Db;
use conveyor_store::cycles;
use conveyor_store::cycles::CycleState;
use conveyor_store::cycles::NotableCycle;
use conveyor_store::divergences;
use conveyor_store::divergences::Divergence;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::Plane;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// List what a task's pane showed that the rollout does not tell
///
/// Runs of cycles that saw the same notable pattern are one entry, with first, last and count; contradictions between pane
/// and rollout stand among them. Newest first.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct DivergencesRequest {
    /// The task's name or id
    pub task: String,
    /// How many entries at most
    #[arg(long, default_value_t = limit())]
    #[serde(default = "limit")]
    pub limit: u32,
    /// Only this pattern, or contradictions in which the pane shows this kind
    #[arg(long)]
    pub pattern: Option<String>,
    /// Only what was seen at or after this time (RFC 3339)
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Show the whole status of the newest cycle of each run
    #[arg(long)]
    #[serde(default)]
    pub full: bool,
}

const fn limit() -> u32 {
    50
}

impl Request for DivergencesRequest {}

/// The entries.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(transparent)]
pub struct DivergencesReport(pub Vec<Entry>);

impl Report for DivergencesReport {}

/// What sort of entry it is.
#[derive(Clone, Copy, Serialize, JsonSchema, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Cycles in a row that saw the same notable pattern; `id` is the newest one's.
    PanePattern,
    /// The pane contradicts the rollout.
    Contradiction,
}

/// A run of the same.
#[derive(Clone, Serialize, JsonSchema, Debug, PartialEq)]
pub struct Entry {
    /// What sort.
    pub kind: EntryKind,
    /// The newest cycle's number, or the contradiction's.
    pub id: i64,
    /// The task.
    pub task_id: TaskId,
    /// When the newest cycle began; of a contradiction, when it was last seen.
    pub started_at: Timestamp,
    /// When the newest cycle ended.
    pub completed_at: Option<Timestamp>,
    /// How the newest cycle went.
    pub state: Option<CycleState>,
    /// The pattern.
    pub notable_pane_pattern: Option<String>,
    /// The rollout's word in a contradiction.
    pub rollout_says: Option<String>,
    /// The pane's word in a contradiction.
    pub pane_says: Option<String>,
    /// What was seen of a contradiction the last time.
    pub evidence: Option<Value>,
    /// When it was first seen.
    pub first_at: Timestamp,
    /// When it was last seen.
    pub last_at: Timestamp,
    /// How often it was seen in a row.
    pub count: i64,
    /// The status of the newest cycle, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

/// The verb.
pub struct Divergences;

impl Verb for Divergences {
    const NAME: &'static str = "divergences";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Reads;
    const LEAST: &'static [&'static str] = &["task"];
    type Request = DivergencesRequest;
    type Report = DivergencesReport;

    async fn run(plane: &Plane, request: DivergencesRequest) -> Result<DivergencesReport> {
        let mut db = plane.ledger_that_exists().await?.read().await?;
        let task = resolve::task(&mut db, &request.task).await?.id;
        let mut entries = runs(&mut db, &task, &request).await?;
        entries.extend(contradictions(&mut db, &task, &request).await?);
        entries.sort_by_key(|entry| Reverse(entry.last_at));
        entries.truncate(request.limit as usize);
        if request.full {
            for entry in entries.iter_mut().filter(|entry| entry.kind == EntryKind::PanePattern) {
                entry.status = cycles::get(&mut db, entry.id).await?.and_then(|cycle| cycle.status_json);
            }
        }
        Ok(DivergencesReport(entries))
    }
}

/// Cycles that are read at a time: a run is seldom longer, and a page costs a millisecond.
const PAGE: u32 = 500;

/// The newest runs, as many as are asked for. What lies behind them is never read.
async fn runs(db: &mut Db, task: &TaskId, request: &DivergencesRequest) -> Result<Vec<Entry>> {
    let mut runs = Vec::new();
    let (mut before, mut open) = (None, None);
    loop {
        let page = cycles::notable(db, task, request.pattern.as_deref(), before, PAGE).await?;
        for cycle in &page {
            if open.is_none() && is_past(cycle.started_at, request.since) {
                return Ok(runs);
            }
            let run = joined(open.take(), cycle, task);
            if cycle.begins_run() {
                runs.push(run);
            } else {
                open = Some(run);
            }
            if runs.len() >= request.limit as usize {
                return Ok(runs);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => before = Some(last.id),
            Some(_) | None => break,
        }
    }
    runs.extend(open);
    Ok(runs)
}

/// Whether a run whose newest cycle began at `at` lies before what is asked for.
fn is_past(at: Timestamp, since: Option<Timestamp>) -> bool {
    since.is_some_and(|since| at < since)
}

/// A run with one older cycle more, or a new run of this cycle.
fn joined(open: Option<Entry>, cycle: &NotableCycle, task: &TaskId) -> Entry {
    match open {
        Some(run) => Entry { first_at: cycle.started_at, count: run.count + 1, ..run },
        None => Entry {
            kind: EntryKind::PanePattern,
            id: cycle.id,
            task_id: task.clone(),
            started_at: cycle.started_at,
            completed_at: cycle.completed_at,
            state: Some(CycleState::Succeeded),
            notable_pane_pattern: Some(cycle.pane_pattern.clone()),
            rollout_says: None,
            pane_says: None,
            evidence: None,
            first_at: cycle.started_at,
            last_at: cycle.started_at,
            count: 1,
            status: None,
        },
    }
}

async fn contradictions(db: &mut Db, task: &TaskId, request: &DivergencesRequest) -> Result<Vec<Entry>> {
    let is_wanted = |found: &Divergence| {
        request.pattern.as_ref().is_none_or(|pattern| *pattern == found.pane_says)
            && !is_past(found.last_at, request.since)
    };
    let filtered = request.pattern.is_some() || request.since.is_some();
    let limit = if filtered { u32::MAX } else { request.limit };
    let found = divergences::list(db, None, Some(task), limit).await?;
    Ok(found.into_iter().filter(is_wanted).map(|found| contradiction(found, task)).collect())
}

fn contradiction(found: Divergence, task: &TaskId) -> Entry {
    Entry {
        kind: EntryKind::Contradiction,
        id: found.id,
        task_id: task.clone(),
        started_at: found.last_at,
        completed_at: None,
        state: None,
        notable_pane_pattern: None,
        rollout_says: Some(found.rollout_says),
        pane_says: Some(found.pane_says),
        evidence: Some(found.evidence_json),
        first_at: found.first_at,
        last_at: found.last_at,
        count: found.count,
        status: None,
    }
}

#[cfg(test)]
mod tests;
