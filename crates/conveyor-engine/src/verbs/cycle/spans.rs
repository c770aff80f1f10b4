//! How long the parts of a cycle took, and which part it failed in.

use std::time::Instant;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_store::Tx;
use conveyor_store::cycles;
use conveyor_store::cycles::Cycle;
use conveyor_store::cycles::Span;
use conveyor_store::cycles::SpanState;
use serde_json::Value;
use serde_json::json;

use crate::Plane;
use crate::shadow::Seen;

/// A part of a cycle; the contract's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    ResolveActiveBinding,
    LoadManagerContext,
    IngestRollout,
    CapturePaneSignal,
    InferWorkerState,
    ClassifyPaneSignal,
    PersistCycleRow,
}

impl Phase {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ResolveActiveBinding => "resolve_active_binding",
            Self::LoadManagerContext => "load_manager_context",
            Self::IngestRollout => "ingest_rollout",
            Self::CapturePaneSignal => "capture_pane_signal",
            Self::InferWorkerState => "infer_worker_state",
            Self::ClassifyPaneSignal => "classify_pane_signal",
            Self::PersistCycleRow => "persist_cycle_row",
        }
    }
}

/// The parts so far. Durations are figures for telemetry, measured in real time; nothing is decided by them.
pub(super) struct Spans {
    clock: std::sync::Arc<dyn conveyor_store::Clock>,
    begun_at: Timestamp,
    done: Vec<Done>,
    phase: Phase,
    since: (Timestamp, Instant),
}

struct Done {
    phase: Phase,
    state: SpanState,
    started_at: Timestamp,
    completed_at: Timestamp,
    duration_ms: f64,
    attributes: Value,
}

impl Spans {
    /// Begins the first part.
    pub(super) fn begin(plane: &Plane, phase: Phase) -> Self {
        let now = plane.clock.now();
        let clock = std::sync::Arc::clone(&plane.clock);
        Self { clock, begun_at: now, done: Vec::new(), phase, since: (now, Instant::now()) }
    }

    /// When the cycle began.
    pub(super) fn begun_at(&self) -> Timestamp {
        self.begun_at
    }

    /// The part that runs, or failed.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Begins the next part.
    pub(super) fn next(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = (self.clock.now(), Instant::now());
    }

    /// The part that runs is done.
    pub(super) fn end(&mut self, attributes: Value) {
        self.close(SpanState::Succeeded, attributes);
    }

    /// The look at the pane is done.
    pub(super) fn end_look(&mut self, seen: &Seen) {
        let state = if seen.is_degraded() { SpanState::Degraded } else { SpanState::Succeeded };
        let attributes = json!({
            "captured": seen.screen().is_some(),
            "degraded": seen.is_degraded(),
            "reason": seen.reason(),
        });
        self.close(state, attributes);
    }

    fn close(&mut self, state: SpanState, attributes: Value) {
        self.done.push(self.measured(state, attributes));
    }

    fn measured(&self, state: SpanState, attributes: Value) -> Done {
        let (started_at, since) = self.since;
        Done {
            phase: self.phase,
            state,
            started_at,
            completed_at: self.clock.now(),
            duration_ms: since.elapsed().as_secs_f64() * 1_000.0,
            attributes,
        }
    }

    /// Stores the parts of a cycle, and the one that failed with its error.
    pub(super) async fn store(&self, tx: &mut Tx, cycle: &Cycle, error: Option<&Error>) -> Result<()> {
        let failed = error.map(|_| self.measured(SpanState::Failed, json!({})));
        let span = |done: &Done| {
            let error = error.filter(|_| done.state == SpanState::Failed);
            done.as_span(cycle, error)
        };
        let spans = self.done.iter().chain(&failed).map(span).collect();
        cycles::insert_spans(tx, spans).await.map(drop)
    }
}

impl Done {
    fn as_span(&self, cycle: &Cycle, error: Option<&Error>) -> Span {
        Span {
            id: 0,
            cycle_id: cycle.id,
            task_id: cycle.task_id.clone(),
            phase: self.phase.as_str().to_owned(),
            state: self.state,
            started_at: self.started_at,
            completed_at: self.completed_at,
            duration_ms: self.duration_ms,
            attributes_json: self.attributes.clone(),
            error: error.map(ToString::to_string),
            decision_id: None,
            delivery_id: None,
        }
    }
}
