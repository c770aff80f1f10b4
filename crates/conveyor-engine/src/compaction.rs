//! Asking a worker's agent to make room in its context: what both `request-worker-compact` and `compact-worker` do.

mod report;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::compaction;
use conveyor_model::compaction::DECISION_AGE;
use conveyor_model::compaction::Decided;
use conveyor_model::compaction::DecisionWarning;
use conveyor_model::compaction::Facts;
use conveyor_model::compaction::Refusal;
use conveyor_model::compaction::SlashCommand;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_model::permission;
use conveyor_model::turn::Coarse;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings::Binding;
use conveyor_store::configs;
use conveyor_store::decisions;
use conveyor_store::decisions::Decision;
use conveyor_store::decisions::DecisionKind;
use conveyor_store::deliveries;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::handoffs;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use conveyor_store::turns;
use serde_json::json;

pub use self::report::CompactReport;
pub use self::report::DecisionCheck;
pub use self::report::DecisionSeen;
pub use self::report::Permitted;
pub use self::report::SendResult;
use self::report::report;
use crate::Caller;
use crate::Plane;
use crate::caller;
use crate::deliver;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::ingest;
use crate::message;
use crate::object::JsonObject;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::verbs::record_decision;

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) task: &'a str,
    pub(crate) command: SlashCommand,
    pub(crate) prompt_only: bool,
    pub(crate) message: Option<&'a str>,
    pub(crate) rests_on: RestsOn<'a>,
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
}

/// The decision behind it.
pub(crate) enum RestsOn<'a> {
    /// One that was recorded, or none; it has to hold where `strict`.
    Recorded { id: Option<i64>, strict: bool },
    /// One that is recorded with it.
    New { reason: &'a str, cycle: Option<i64> },
}

/// What it is about.
struct Scene {
    task: Task,
    binding: Binding,
    worker: Session,
}

/// What was found.
struct Found {
    refusals: Vec<Refusal>,
    decision: DecisionCheck,
    handoff: Option<i64>,
}

/// Checks everything, records decision and command in one transaction, then types it.
///
/// Errors: refused, with all that stands against it, and then an audit row says so.
pub(crate) async fn request(plane: &Plane, asked: &Asked<'_>) -> Result<CompactReport> {
    let ledger = plane.ledger_that_exists().await?;
    let scene = scene(plane, &mut *ledger.read().await?, asked.task).await?;
    if asked.dry_run {
        let mut reader = ledger.read().await?;
        let now = reader.now();
        let found = found(&mut reader, now, &scene, asked).await?;
        drop(reader);
        let (_, text) = sent(&scene, asked, found.handoff);
        return match refusal(plane, &scene, asked, &found) {
            Some(error) => Err(error),
            None => Ok(report(plane, &scene, asked, found, text, None)),
        };
    }
    ingest::session(plane, &scene.worker).await?;
    let actor = plane.actor().await?;
    let mut tx = plane.ledger().await?.write(&actor).await?;
    let now = tx.now();
    let mut found = found(&mut tx, now, &scene, asked).await?;
    if let Some(error) = refusal(plane, &scene, asked, &found) {
        match &plane.caller {
            // What an agent was refused is noted for all verbs in one place.
            Caller::Shell { .. } | Caller::Tool { .. } => tx.roll_back().await,
            Caller::Person => {
                tx.audit(refused(&scene, asked, &found)).await?;
                tx.commit().await?;
            }
        }
        return Err(error);
    }
    if let RestsOn::New { reason, cycle } = asked.rests_on {
        found.decision = decide(&mut tx, &scene, asked, reason, cycle).await?;
    }
    let new = wanted(plane, &scene, asked, &found);
    let text = new.body.clone();
    let sentence = format!("{} for {} was accepted ({}).", text_of(&scene, asked), scene.worker.name, new.id);
    let audit = AuditRow::new("worker_compact_requested", sentence)
        .payload(json!({ "decision_id": found.decision.decision_id, "handoff_id": found.handoff }));
    let accepted = deliveries::insert(&mut tx, new, audit).await?.delivery;
    tx.commit().await?;
    let until = Until { stage: Stage::Recorded, patience: limits::RECORD_EXPECTED };
    let carried = deliver::carry_out(plane, &accepted.id, &Holder::caller(plane), until).await?;
    let wait = carried.wait.map(deliver::words);
    Ok(report(plane, &scene, asked, found, text, Some((carried.delivery, wait))))
}

async fn scene(plane: &Plane, db: &mut Db, task: &str) -> Result<Scene> {
    let task = resolve::task(db, task).await?;
    let binding = resolve::binding(db, &task).await?;
    speaker::may_speak(plane, db, &task, Speaks::For(Role::Manager)).await?;
    let worker = resolve::by_id(db, &binding.worker_session_id).await?;
    caller::may_reach(plane, db, &worker).await?;
    Ok(Scene { task, binding, worker })
}

/// Whether one of the agent's own commands is typed; else a prompt goes out.
fn types_command(worker: &Session, asked: &Asked<'_>) -> bool {
    !asked.prompt_only && message::pin(worker).is_some()
}

async fn found(db: &mut Db, now: Timestamp, scene: &Scene, asked: &Asked<'_>) -> Result<Found> {
    let config = configs::get(db, &scene.task.id).await?;
    let handoff = handoffs::latest(db, &scene.task.id).await?.map(|handoff| handoff.id);
    let decision = judged(db, now, &scene.task, &asked.rests_on).await?;
    let turn = turns::get(db, &scene.worker.id).await?.map(|row| ingest::turn_of(&row)).unwrap_or_default();
    let open = deliveries::open_for(db, &scene.worker.id, limits::LIST_ROWS).await?;
    let facts = Facts {
        configured: config.is_some(),
        granted: config
            .is_some_and(|config| permission::grants(&config.permissions_json, asked.command.permission())),
        handoff: handoff.is_some(),
        decision_ok: decision.ok,
        strict: matches!(asked.rests_on, RestsOn::Recorded { strict: true, .. }),
        types_command: types_command(&scene.worker, asked),
        busy: turn.coarse() == Coarse::Busy,
        under_way: open.iter().any(|open| open.state.is_open_effect()),
        force: asked.force,
    };
    Ok(Found { refusals: compaction::refusals(&facts), decision, handoff })
}

/// How the decision holds that was recorded before. One that is recorded with it holds.
async fn judged(db: &mut Db, now: Timestamp, task: &Task, rests_on: &RestsOn<'_>) -> Result<DecisionCheck> {
    let id = match rests_on {
        RestsOn::Recorded { id, .. } => *id,
        RestsOn::New { cycle, .. } => {
            record_decision::cycle_of(db, task, *cycle).await?;
            return Ok(check(None, None, Vec::new(), None));
        }
    };
    let row = match id {
        Some(id) => decisions::get(db, id).await?,
        None => None,
    };
    let age = row.as_ref().map(|row| now.since(row.created_at));
    let decided = row.as_ref().zip(age).map(|(row, age)| Decided {
        of_this_task: row.task_id == task.id,
        to_nudge: row.decision == DecisionKind::Nudge,
        age,
    });
    let warnings = compaction::warnings(id.is_some(), decided);
    Ok(check(id, row, warnings, age.map(|age| age.as_secs())))
}

fn check(
    id: Option<i64>,
    row: Option<Decision>,
    warnings: Vec<DecisionWarning>,
    age: Option<u64>,
) -> DecisionCheck {
    DecisionCheck {
        decision_id: id,
        decision: row.map(|row| DecisionSeen {
            decision: row.decision,
            reason: row.reason,
            created_at: row.created_at,
        }),
        allowed_decisions: ["nudge"],
        ok: warnings.is_empty(),
        warnings,
        age_seconds: age,
        max_age_seconds: DECISION_AGE.as_secs(),
    }
}

/// Records the decision that goes with it.
async fn decide(
    tx: &mut Tx,
    scene: &Scene,
    asked: &Asked<'_>,
    reason: &str,
    cycle: Option<i64>,
) -> Result<DecisionCheck> {
    let slash = types_command(&scene.worker, asked).then(|| asked.command.as_str());
    let details = [("source", json!("compact-worker")), ("slash_command", json!(slash))];
    let made = record_decision::Made {
        decision: DecisionKind::Nudge,
        reason: reason.to_owned(),
        cycle: record_decision::cycle_of(tx, &scene.task, cycle).await?,
        payload: JsonObject::from_iter(details.map(|(key, value)| (key.to_owned(), value))),
    };
    let row = record_decision::insert(tx, &scene.task, Some(&scene.binding), made).await?;
    Ok(check(Some(row.id), Some(row), Vec::new(), Some(0)))
}

/// All that stands against it, with a command for each thing that a command mends.
fn refusal(plane: &Plane, scene: &Scene, asked: &Asked<'_>, found: &Found) -> Option<Error> {
    let first = found.refusals.first()?;
    let task = scene.task.name.as_str();
    let reasons: Vec<&str> = found.refusals.iter().map(|refusal| refusal.as_str()).collect();
    let hint = match first {
        Refusal::MissingManagerConfig | Refusal::PermissionNotEnabled => {
            format!(
                "a person grants it: {}",
                plane.command(&["manager-config", task, "--permit", asked.command.permission()])
            )
        }
        Refusal::MissingWorkerHandoff => {
            format!(
                "the worker saves its progress: {}",
                plane.command(&["handoff", task, "--summary", "..."])
            )
        }
        Refusal::DecisionNotOk => plane.command(&["record-decision", task, "nudge", "--reason", "..."]),
        Refusal::WorkerBusy | Refusal::MessageUnderWay => {
            "wait for the end of its turn, or add --force: then it is queued behind the turn".to_owned()
        }
    };
    let what = text_of(scene, asked);
    Some(
        Error::refused(format!(
            "{what} for `{}` is not sent: {} ({})",
            scene.worker.name,
            reasons.join(", "),
            asked.command.permission()
        ))
        .hint(hint),
    )
}

fn text_of(scene: &Scene, asked: &Asked<'_>) -> &'static str {
    if types_command(&scene.worker, asked) { asked.command.as_str() } else { "the prompt" }
}

/// The audit row of a refusal.
fn refused(scene: &Scene, asked: &Asked<'_>, found: &Found) -> AuditRow {
    let sentence = format!("{} for {} was refused.", text_of(scene, asked), scene.worker.name);
    AuditRow::new("worker_compact_request_failed", sentence)
        .task(&scene.task.id)
        .session(&scene.worker.id)
        .payload(json!({ "reasons": found.refusals, "warnings": found.decision.warnings }))
}

/// The delivery that carries it.
fn wanted(plane: &Plane, scene: &Scene, asked: &Asked<'_>, found: &Found) -> NewDelivery {
    let (kind, text) = sent(scene, asked, found.handoff);
    let mut new = message::new(plane, kind, &scene.worker, &text);
    new.task = Some(scene.task.id.clone());
    new.binding = Some(scene.binding.id.clone());
    new.source = Some(scene.binding.manager_session_id.clone());
    new.required_permission = Some(asked.command.permission().to_owned());
    new.payload = json!({
        "message": new.body,
        "slash_command": asked.command,
        "decision_id": found.decision.decision_id,
        "force": asked.force,
    });
    new
}

/// What goes out, and as what.
fn sent(scene: &Scene, asked: &Asked<'_>, handoff: Option<i64>) -> (Kind, String) {
    if types_command(&scene.worker, asked) {
        return (Kind::Slash, asked.command.as_str().to_owned());
    }
    let text = asked.message.map_or_else(|| prompt(scene, asked.command, handoff), str::to_owned);
    (Kind::NudgeWorker, text)
}

/// What a worker is told that has to do it by itself. It holds none of its own words.
fn prompt(scene: &Scene, command: SlashCommand, handoff: Option<i64>) -> String {
    let task = &scene.task.name;
    let saved = handoff.map(|id| format!(" (number {id})")).unwrap_or_default();
    let (what, how) = match command {
        SlashCommand::Compact => ("made smaller", "compact"),
        SlashCommand::Clear => ("emptied", "clear"),
    };
    format!(
        "Your context for the task {task} should be {what}.\n\
         1. See whether your saved handoff{saved} still says where the work stands and what comes next. If not, save it \
         anew: conveyor handoff {task} --summary \"...\" --next-step \"...\"\n\
         2. Then {how} your context, if your program lets you. Change no file meanwhile.\n\
         3. Answer whether it was done, and what your next step is."
    )
}

#[cfg(test)]
mod tests;
