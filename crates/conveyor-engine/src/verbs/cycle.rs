//! `cycle`: one observation of a task's worker, for its manager.
//!
//! What may take long or fail (reading the rollout, looking at the pane) happens first; then one transaction notes all
//! that was found: the cycle with its parts, the contradiction, attention, the notifications that the manager now has.
//! A process that is killed before it leaves nothing half done.

mod advice;
mod notifications;
mod record;
mod report;
mod scene;
mod spans;

use clap::Args;
use conveyor_model::Result;
use conveyor_model::observation;
use conveyor_model::pane;
use conveyor_model::pane::Notable;
use conveyor_model::turn::Turn;
use conveyor_store::Tx;
use conveyor_store::turns;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use std::time::Duration;

use self::report::CycleReport;
use self::scene::Scene;
use self::spans::Phase;
use self::spans::Spans;
use crate::Plane;
use crate::identify;
use crate::ingest;
use crate::ingest::Ingested;
use crate::shadow;
use crate::shadow::Noted;
use crate::shadow::Seen;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Observe a task's worker once
///
/// Reads what the worker newly recorded, looks at its pane, and reports its state, what wants attention, the criteria and
/// what may be done next. Nothing of the time before the binding counts. Notifications for the manager are handed over
/// with the report and are not delivered a second time.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct CycleRequest {
    /// The task's name or id
    pub task: String,
    /// Seconds after which a running turn without news is notable
    #[arg(long, default_value_t = busy_wait())]
    #[serde(default = "busy_wait")]
    pub busy_wait_seconds: u64,
    /// Leave the manager's notifications in its inbox
    #[arg(long)]
    #[serde(default)]
    pub no_consume: bool,
    /// Leave out the texts of criteria
    #[arg(long)]
    #[serde(default)]
    pub brief: bool,
}

const fn busy_wait() -> u64 {
    90
}

impl Request for CycleRequest {}

/// The verb.
pub struct Cycle;

impl Verb for Cycle {
    const NAME: &'static str = "cycle";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["task"];
    type Request = CycleRequest;
    type Report = CycleReport;

    async fn run(plane: &Plane, request: CycleRequest) -> Result<CycleReport> {
        let mut spans = Spans::begin(plane, Phase::ResolveActiveBinding);
        let scene = Scene::resolve(plane, &request.task).await?;
        spans.end(scene.attributes());
        match observe(plane, &request, &scene, &mut spans).await {
            Ok(report) => Ok(report),
            Err(error) => {
                // The first error is the one to tell; that it could not be noted is only logged.
                if let Err(second) = record::failed(plane, &scene, &spans, &error).await {
                    tracing::warn!(%second, "a failed cycle could not be noted");
                }
                Err(error)
            }
        }
    }
}

/// What was found before anything is written.
struct Findings {
    ingested: Ingested,
    seen: Seen,
    worker_alive: Option<bool>,
    manager_alive: Option<bool>,
}

async fn observe(
    plane: &Plane,
    request: &CycleRequest,
    scene: &Scene,
    spans: &mut Spans,
) -> Result<CycleReport> {
    spans.next(Phase::LoadManagerContext);
    scene.policy.check_acks(plane, &scene.task)?;
    let context = scene.context(plane, request.brief).await?;
    spans.end(context.attributes());

    spans.next(Phase::IngestRollout);
    let ingested = read_rollout(plane, scene).await?;
    spans.end(record::ingest_attributes(scene, &ingested));

    spans.next(Phase::CapturePaneSignal);
    let seen = shadow::look(plane, &scene.worker).await;
    spans.end_look(&seen);
    let findings = Findings {
        ingested,
        seen,
        worker_alive: shadow::process_alive(plane, &scene.worker),
        manager_alive: shadow::process_alive(plane, &scene.manager),
    };

    spans.next(Phase::InferWorkerState);
    let actor = plane.actor().await?;
    let mut tx = plane.ledger().await?.write(&actor).await?;
    let turn =
        turns::get(&mut tx, &scene.worker.id).await?.map(|row| ingest::turn_of(&row)).unwrap_or_default();
    let judged = judge(&mut tx, request, scene, &findings, &turn, spans).await?;

    spans.next(Phase::PersistCycleRow);
    let taken = notifications::waiting(&mut tx, scene).await?;
    let takes = !request.no_consume && notifications::are_for(&actor, &scene.manager);
    let mut report = report::of(plane, request, scene, context, &findings, &turn, &judged, tx.now());
    report.hand_over(if takes { &taken } else { &[] }, taken.len());
    report.cycle_started_at = spans.begun_at();
    record::succeeded(
        &mut tx,
        scene,
        spans,
        request,
        &findings,
        &mut report,
        if takes { &taken } else { &[] },
    )
    .await?;
    tx.commit().await?;
    Ok(report)
}

/// Reads what the worker newly recorded. A worker on another host is read by that host's dispatcher.
async fn read_rollout(plane: &Plane, scene: &Scene) -> Result<Ingested> {
    if scene.worker.host == plane.environment.host {
        // A person may have begun another thread: what it records is the worker's too.
        identify::standing(plane, &scene.worker).await?;
        ingest::session(plane, &scene.worker).await
    } else {
        Ok(Ingested::default())
    }
}

/// What follows from the turn and the look.
struct Judged {
    notable: Option<Notable>,
    noted: Noted,
    message_open: bool,
}

async fn judge(
    tx: &mut Tx,
    request: &CycleRequest,
    scene: &Scene,
    findings: &Findings,
    turn: &Turn,
    spans: &mut Spans,
) -> Result<Judged> {
    let observed = observation::of_binding(turn, &scene.marks(), tx.now());
    spans.end(record::state_attributes(&observed));
    spans.next(Phase::ClassifyPaneSignal);
    let busy_wait = Duration::from_secs(request.busy_wait_seconds);
    let notable = findings.seen.screen().and_then(|screen| {
        pane::notable_pattern(screen, observed.staleness, busy_wait, findings.ingested.new_events)
    });
    let task = Some(&scene.task.id);
    let noted = shadow::note(tx, &scene.worker, task, turn, &findings.seen, findings.worker_alive).await?;
    let message_open = notifications::message_open(tx, &scene.worker).await?;
    spans.end(record::pane_attributes(&findings.seen, notable.as_ref()));
    Ok(Judged { notable, noted, message_open })
}

#[cfg(test)]
mod tests;
