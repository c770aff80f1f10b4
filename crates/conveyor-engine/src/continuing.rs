//! Proposals of both sides of a task and their reviews: who may make, see and compare them.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::continuation;
use conveyor_model::continuation::Opinion;
use conveyor_model::continuation::Viewer;
use conveyor_model::limits;
use conveyor_model::permission;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::configs::NudgeOnCompletion;
use conveyor_store::continuations;
use conveyor_store::continuations::Continuation;
use conveyor_store::continuations::Review;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::Plane;
use crate::object::JsonObject;
use crate::resolve;
use crate::speaker;
use crate::speaker::Speaks;
use crate::verbs::continuation::ContinuationReport;
use crate::verbs::continuation::ContinuationRequest;
use crate::verbs::continuation::ContinuationView;
use crate::verbs::continuation::ReviewView;
use crate::verbs::continuation::TaskOfContinuation;

/// The permission that a comparison by somebody independent needs.
pub(crate) const SPAWN_REVIEWER: &str = "context.spawn_reviewer";

/// Records a proposal of one side. A manager answers a worker's.
pub(crate) async fn submit(
    plane: &Plane,
    task: &str,
    role: Role,
    payload: JsonObject,
    correlation: Option<&str>,
) -> Result<ContinuationView> {
    let (mut tx, task) = resolve::task_to_change(plane, task).await?;
    let binding = speaker::may_speak(plane, &mut tx, &task, Speaks::For(role)).await?;
    let correlation =
        correlation.map_or_else(|| format!("continuation-{}", plane.clock.uuid_v7()), str::to_owned);
    if role == Role::Manager {
        proposal(&mut tx, &task, &correlation, Role::Worker).await?;
    }
    let keys: Vec<String> = payload.map().keys().cloned().collect();
    let sentence = format!("The {} of {} proposed what comes next.", role.as_str(), task.name);
    let audit = AuditRow::new("task_continuation_recorded", sentence)
        .payload(json!({ "payload_keys": keys, "correlation_id": correlation }));
    let new = Continuation {
        id: 0,
        task_id: task.id.clone(),
        binding_id: binding.map(|binding| binding.id),
        proposer: role,
        revision: 0,
        payload_json: payload.into_value(),
        correlation_id: correlation,
        created_at: tx.now(),
    };
    let made = continuations::insert(&mut tx, new, audit).await?;
    tx.commit().await?;
    Ok(view(made, true))
}

/// The latest proposal of one side.
async fn proposal(db: &mut Db, task: &Task, correlation: &str, role: Role) -> Result<Continuation> {
    continuations::latest(db, &task.id, correlation, role).await?.ok_or_else(|| {
        Error::not_found(format!(
            "the {} has proposed nothing under `{}`",
            role.as_str(),
            correlation.escape_debug()
        ))
        .hint(format!("conveyor continuation {} --list", task.name))
    })
}

/// The proposals of both sides, once both are there.
pub(crate) struct Pair {
    pub(crate) task: Task,
    pub(crate) config: ManagerConfig,
    pub(crate) worker: Continuation,
    pub(crate) manager: Continuation,
}

/// What a comparison is about: the caller speaks for the manager, the task grants reviewers, both sides have proposed.
pub(crate) async fn pair(plane: &Plane, db: &mut Db, task: &str, correlation: &str) -> Result<Pair> {
    let task = resolve::task(db, task).await?;
    speaker::may_speak(plane, db, &task, Speaks::For(Role::Manager)).await?;
    let config = configs::get(db, &task.id).await?;
    let granted = config.filter(|config| permission::grants(&config.permissions_json, SPAWN_REVIEWER));
    let Some(config) = granted else {
        return Err(Error::refused(format!("permission_not_enabled: `{SPAWN_REVIEWER}` is not granted"))
            .hint(format!(
                "a person grants it: conveyor manager-config {} --permit {SPAWN_REVIEWER}",
                task.name
            )));
    };
    let worker = proposal(db, &task, correlation, Role::Worker).await?;
    let manager = proposal(db, &task, correlation, Role::Manager).await?;
    Ok(Pair { task, config, worker, manager })
}

/// Records a review that somebody brought.
pub(crate) async fn review(
    plane: &Plane,
    task: &str,
    correlation: &str,
    payload: &JsonObject,
) -> Result<ReviewView> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let pair = pair(plane, &mut tx, task, correlation).await?;
    let opinion = Opinion::of(&payload.clone().into_value())?;
    let mut run = claimed_run(payload)?;
    // Whatever it says of itself: nobody but its bringer vouches for it.
    run.insert("status".to_owned(), json!("claimed"));
    let made = record(&mut tx, &pair, opinion, run, false).await?;
    tx.commit().await?;
    Ok(made)
}

/// Who reviewed, as its bringer says.
fn claimed_run(payload: &JsonObject) -> Result<Map<String, Value>> {
    let Some(run) = payload.map().get("subagent_run").and_then(Value::as_object) else {
        return Err(Error::usage("`subagent_run` has to be an object that says who reviewed"));
    };
    let id = |key: &str| run.get(key).and_then(Value::as_str).filter(|id| !id.trim().is_empty());
    match (id("reviewer_session_id"), id("manager_session_id")) {
        (Some(reviewer), Some(manager)) if reviewer != manager => {}
        _ => {
            return Err(Error::usage(
                "`subagent_run` needs `reviewer_session_id` and `manager_session_id`, and they have to differ",
            ));
        }
    }
    if run.get("manager_rollout_access") != Some(&Value::Bool(false)) {
        return Err(Error::usage("`subagent_run.manager_rollout_access` has to be false"));
    }
    Ok(run.clone())
}

/// Appends a review.
pub(crate) async fn record(
    tx: &mut Tx,
    pair: &Pair,
    opinion: Opinion,
    mut run: Map<String, Value>,
    failed: bool,
) -> Result<ReviewView> {
    let proceeds = pair.config.nudge_on_completion == NudgeOnCompletion::AutoProceed;
    let person = continuation::needs_person(&opinion, failed, proceeds);
    run.insert("operator_routing_required".to_owned(), json!(person));
    run.insert("nudge_on_completion".to_owned(), json!(pair.config.nudge_on_completion));
    let sentence = format!(
        "A reviewer found the proposals of {} {}: {}.",
        pair.task.name, opinion.agreement, opinion.verdict
    );
    let audit = AuditRow::new("continuation_review_recorded", sentence)
        .payload(json!({ "correlation_id": pair.worker.correlation_id, "status": run.get("status") }));
    let new = Review {
        id: 0,
        task_id: pair.task.id.clone(),
        correlation_id: pair.worker.correlation_id.clone(),
        worker_continuation_id: pair.worker.id,
        manager_continuation_id: pair.manager.id,
        agreement: opinion.agreement,
        verdict: opinion.verdict,
        rationale: opinion.rationale,
        addendum: opinion.addendum,
        subagent_run_json: Value::Object(run),
        operator_routing_required: person,
        created_at: tx.now(),
    };
    let made = continuations::insert_review(tx, new, audit).await?;
    telemetry::insert(tx, tell(pair, &made)).await?;
    Ok(seen(made))
}

/// Without the words of anybody.
fn tell(pair: &Pair, made: &Review) -> NewTelemetry {
    let warns = made.operator_routing_required || made.verdict == continuation::Verdict::Stop;
    NewTelemetry {
        task: Some(pair.task.id.clone()),
        run: None,
        actor: "reviewer".to_owned(),
        event_type: "continuation_review_recorded".to_owned(),
        severity: if warns { Severity::Warning } else { Severity::Info },
        summary: format!("review {} on {}: {}, {}", made.id, pair.task.name, made.agreement, made.verdict),
        correlation: json!({ "correlation_id": made.correlation_id }),
        attributes: json!({ "operator_routing_required": made.operator_routing_required }),
    }
}

/// Lists proposals and reviews, as far as the caller's side may see them.
pub(crate) async fn list(plane: &Plane, request: &ContinuationRequest) -> Result<ContinuationReport> {
    let mut reader = plane.ledger_that_exists().await?.read().await?;
    let task = resolve::task(&mut reader, &request.task).await?;
    let viewer = viewer(plane, &mut reader, &task, request.as_role.viewer()).await?;
    let wanted = |id: &str| request.correlation_id.as_deref().is_none_or(|wanted| wanted == id);
    let all: Vec<Continuation> = continuations::list(&mut reader, &task.id, limits::LIST_ROWS)
        .await?
        .into_iter()
        .filter(|one| wanted(&one.correlation_id))
        .collect();
    let has_proposed =
        |id: &str| all.iter().any(|one| one.proposer == Role::Manager && one.correlation_id == id);
    let open = |one: &Continuation| {
        let of_worker = one.proposer == Role::Worker;
        continuation::is_open(viewer, of_worker, has_proposed(&one.correlation_id))
    };
    if request.include_payload
        && request.correlation_id.is_some()
        && !all.iter().all(open)
        && viewer == Viewer::Manager
    {
        return Err(Error::refused("the worker's proposal is not shown before the manager has made its own")
            .hint(format!("conveyor continuation {} --submit manager --from-stdin", task.name)));
    }
    let shown: Vec<bool> = all.iter().map(|one| request.include_payload && open(one)).collect();
    let continuations = all.into_iter().zip(shown).map(|(one, shown)| view(one, shown)).collect();
    let reviews = continuations::reviews(&mut reader, &task.id, limits::LIST_ROWS)
        .await?
        .into_iter()
        .filter(|review| wanted(&review.correlation_id))
        .map(seen)
        .collect();
    let task = TaskOfContinuation { id: task.id, name: task.name };
    Ok(ContinuationReport::Listed { continuations, reviews, task })
}

/// The side from which the caller looks: a session's own, whatever it asks for.
async fn viewer(plane: &Plane, db: &mut Db, task: &Task, asked: Viewer) -> Result<Viewer> {
    speaker::may_speak(plane, db, task, Speaks::ForEither).await?;
    Ok(match speaker::session(plane, db).await?.map(|session| session.role) {
        Some(Role::Worker) => Viewer::Worker,
        Some(Role::Manager) => Viewer::Manager,
        None => asked,
    })
}

fn view(one: Continuation, shown: bool) -> ContinuationView {
    ContinuationView {
        id: one.id,
        task_id: one.task_id,
        proposer: one.proposer,
        revision: one.revision,
        correlation_id: one.correlation_id,
        payload: shown.then_some(one.payload_json),
        payload_redacted: !shown,
        created_at: one.created_at,
    }
}

fn seen(review: Review) -> ReviewView {
    ReviewView {
        id: review.id,
        task_id: review.task_id,
        correlation_id: review.correlation_id,
        worker_continuation_id: review.worker_continuation_id,
        manager_continuation_id: review.manager_continuation_id,
        agreement: review.agreement,
        verdict: review.verdict,
        rationale: review.rationale,
        addendum: review.addendum,
        subagent_run: review.subagent_run_json,
        operator_routing_required: review.operator_routing_required,
        created_at: review.created_at,
    }
}
