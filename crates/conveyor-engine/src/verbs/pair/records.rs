//! What a pair leaves in the ledger: found before, written in one transaction, and undone.

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::ids::RunId;
use conveyor_model::ids::TaskId;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::runs;
use conveyor_store::runs::Run;
use conveyor_store::runs::RunStatus;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::tasks::TaskState;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use serde_json::Value;
use serde_json::json;

use super::PairRequest;
use super::Plan;
use crate::Plane;
use crate::binding;
use crate::start::Undone;

/// The task as it was found, or as it is to be made.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) goal: String,
    pub(super) task: Option<Task>,
    pub(super) config: Option<ManagerConfig>,
}

impl Found {
    /// Looks the task up. One that is finished gives its name back; one that is bound cannot be bound again.
    pub(super) async fn of(plane: &Plane, request: &PairRequest) -> Result<Self> {
        let Some(ledger) = plane.ledger_to_read().await? else { return Self::new_task(request) };
        let mut reader = ledger.read().await?;
        let task = tasks::by_id_or_name(&mut reader, &request.task).await?;
        let is_id = request.task.parse::<TaskId>().is_ok();
        match task {
            Some(task) if task.state.is_unfinished() => {
                if bindings::active_of_task(&mut reader, &task.id).await?.is_some() {
                    return Err(Error::conflict(format!("the task `{}` is bound already", task.name))
                        .hint(format!("end that first: conveyor unbind --task {}", task.name)));
                }
                let config = configs::get(&mut reader, &task.id).await?;
                Ok(Self { name: task.name.clone(), goal: task.goal.clone(), task: Some(task), config })
            }
            Some(task) if is_id => {
                Err(Error::conflict(format!("the task `{}` is {}", task.name, task.state))
                    .hint("name a new task, with --task-goal"))
            }
            Some(_) | None => Self::new_task(request),
        }
    }

    fn new_task(request: &PairRequest) -> Result<Self> {
        let name = request.task.parse::<Name>()?;
        let goal = request.task_goal.clone().filter(|goal| !goal.trim().is_empty()).ok_or_else(|| {
            Error::not_found(format!("there is no unfinished task `{name}`, and a new one needs a goal"))
                .hint("add --task-goal \"<what is wanted>\"")
        })?;
        Ok(Self { name, goal, task: None, config: None })
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) task: Task,
    pub(super) created: bool,
    pub(super) binding: Binding,
    pub(super) run: Run,
    run_is_new: bool,
    pub(super) config_is_new: bool,
    pub(super) criteria: Vec<Criterion>,
}

/// Writes task, configuration, criteria, binding and run, all or nothing.
pub(super) async fn record(
    plane: &Plane,
    plan: &Plan,
    worker: &Session,
    manager: &Session,
) -> Result<Recorded> {
    binding::catch_up(plane, worker).await?;
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let (task, created) = task(plane, &mut tx, plan).await?;
    tell(&mut tx, &task, "pair_task_resolved", json!({ "created": created })).await?;
    let (config, config_recorded) = config(&mut tx, plan, &task).await?;
    tell(&mut tx, &task, "pair_manager_config_seeded", json!({ "seeded": config_recorded })).await?;
    let criteria = seed_criteria(&mut tx, &task, &config).await?;
    let current = (session(&mut tx, worker).await?, session(&mut tx, manager).await?);
    let bound = binding::bind(&mut tx, &task, &current.0, &current.1).await?;
    tell(&mut tx, &task, "pair_binding_created", json!({ "binding_id": bound.binding.id })).await?;
    let (run, run_is_new) = run(plane, &mut tx, plan, &task, &bound.binding, config_recorded).await?;
    tell(&mut tx, &task, "pair_run_created", json!({ "run_id": run.id })).await?;
    tx.commit().await?;
    Ok(Recorded {
        task: bound.task,
        created,
        binding: bound.binding,
        run,
        run_is_new,
        config_is_new: config_recorded,
        criteria,
    })
}

async fn session(tx: &mut Tx, known: &Session) -> Result<Session> {
    let found = sessions::get(tx, &known.id).await?;
    found.ok_or_else(|| {
        Error::ledger(format!("the session {} is missing", known.id)).hint("conveyor db-doctor")
    })
}

async fn task(plane: &Plane, tx: &mut Tx, plan: &Plan) -> Result<(Task, bool)> {
    if let Some(found) = &plan.found.task {
        let now = tasks::get(tx, &found.id).await?.filter(|task| task.state.is_unfinished());
        return now.map(|task| (task, false)).ok_or_else(|| {
            Error::conflict(format!("the task `{}` was finished while its sessions started", found.name))
        });
    }
    let id = TaskId::new(plane.clock.uuid_v7());
    let Found { name, goal, .. } = &plan.found;
    let new = Task::new(id, name.clone(), goal.clone(), plan.request.task_summary.clone(), tx.now());
    let audit = AuditRow::new("task_created", format!("The task {name} was made by pair."));
    Ok((tasks::insert(tx, new, audit).await?, true))
}

/// Records the configuration when a flag changes it or none was recorded. Whether it was written.
async fn config(tx: &mut Tx, plan: &Plan, task: &Task) -> Result<(ManagerConfig, bool)> {
    let before = configs::get(tx, &task.id).await?;
    if let Some(before) = before.as_ref().filter(|_| !plan.seed.is_given()) {
        return Ok((before.clone(), false));
    }
    let now = tx.now();
    let base = before.clone().unwrap_or_else(|| ManagerConfig::new(task.id.clone(), now));
    let next = plan.seed.over(base);
    let sentence = format!("How {} is managed was recorded by pair.", task.name);
    let audit = AuditRow::new("manager_config_recorded", sentence).payload(json!({ "source": "pair" }));
    let stored = configs::put(tx, next, audit).await?;
    let changed = before.is_none_or(|before| before.revision != stored.revision);
    Ok((stored, changed))
}

/// Each acceptance text that is not a criterion yet becomes an accepted one. Those that are new.
pub(crate) async fn seed_criteria(
    tx: &mut Tx,
    task: &Task,
    config: &ManagerConfig,
) -> Result<Vec<Criterion>> {
    let known = criteria::list(tx, &task.id, &[]).await?;
    let mut new = Vec::new();
    for text in config.acceptance_criteria_json.as_array().into_iter().flatten().filter_map(Value::as_str) {
        if known.iter().any(|one| one.criterion == text) {
            continue;
        }
        let criterion = Criterion {
            id: 0,
            task_id: task.id.clone(),
            criterion: text.to_owned(),
            status: CriterionStatus::Accepted,
            source: CriterionSource::ManagerInferred,
            proof: None,
            rationale: None,
            evidence_json: json!({}),
            created_at: tx.now(),
            updated_at: tx.now(),
        };
        let audit =
            AuditRow::new("manager_acceptance_criteria_seeded", format!("{} must meet: {text}", task.name));
        let (criterion, is_new) = criteria::insert(tx, criterion, audit).await?;
        if is_new {
            new.push(criterion);
        }
    }
    Ok(new)
}

/// The task's active run, or a new one.
async fn run(
    plane: &Plane,
    tx: &mut Tx,
    plan: &Plan,
    task: &Task,
    binding: &Binding,
    seeded: bool,
) -> Result<(Run, bool)> {
    if let Some(run) = runs::active(tx, &task.id).await? {
        return Ok((run, false));
    }
    let stamp: String = tx.now().to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let run = Run {
        id: RunId::new(plane.clock.uuid_v7()),
        number: 0,
        task_id: task.id.clone(),
        name: format!("{}-{stamp}", task.name),
        purpose: Some(task.goal.clone()),
        status: RunStatus::Active,
        metadata_json: json!({
            "binding_id": binding.id,
            "manager": plan.request.manager_name,
            "worker": plan.request.worker_name,
            "manager_config_seeded_by_pair": seeded,
            "source": "pair",
        }),
        started_at: tx.now(),
        ended_at: None,
    };
    let audit = AuditRow::new("run_created", format!("A run of {} began with its pair.", task.name));
    Ok((runs::insert(tx, run, audit).await?, true))
}

async fn tell(tx: &mut Tx, task: &Task, event: &str, attributes: Value) -> Result<()> {
    telemetry::insert(tx, told(Some(task), event, Severity::Info, attributes)).await
}

fn told(task: Option<&Task>, event: &str, severity: Severity, attributes: Value) -> NewTelemetry {
    NewTelemetry {
        task: task.map(|task| task.id.clone()),
        run: None,
        actor: "workerctl".to_owned(),
        event_type: event.to_owned(),
        severity,
        summary: event.replace('_', " "),
        correlation: json!({}),
        attributes,
    }
}

/// Notes that a pair failed. When even that fails there is nobody left to tell but the caller, who is told anyway.
pub(super) async fn note_failure(plane: &Plane, plan: &Plan, error: &Error) {
    let attributes = json!({ "error": error.message, "error_type": error.kind, "task": plan.found.name });
    let noted = async {
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        telemetry::insert(
            &mut tx,
            told(plan.found.task.as_ref(), "pair_failed", Severity::Error, attributes),
        )
        .await?;
        tx.commit().await
    };
    if let Err(error) = noted.await {
        tracing::warn!(%error, "the failure of a pair could not be noted");
    }
}

/// Undoes what was written: the binding and the run end; a task that was made is given up; one that was found is as it
/// was. Its configuration and criteria are left: they are what was wanted, and a history of their own.
pub(super) async fn undo(plane: &Plane, plan: &Plan, recorded: &Recorded) -> Undone {
    let name = &recorded.task.name;
    let mut all = vec![format!("binding {}", recorded.binding.id)];
    all.extend(recorded.run_is_new.then(|| format!("run {}", recorded.run.name)));
    all.push(if recorded.created { format!("task {name}") } else { format!("state of task {name}") });
    let mut undone = Undone::default();
    match take_back(plane, plan, recorded).await {
        Ok(()) => undone.rolled_back = all,
        Err(error) => undone.left_behind = all.into_iter().map(|what| format!("{what} ({error})")).collect(),
    }
    if !recorded.created {
        undone.left_behind.extend(recorded.config_is_new.then(|| format!("configuration of task {name}")));
        undone.left_behind.extend(recorded.criteria.iter().map(|one| format!("criterion #{}", one.id)));
    }
    undone
}

async fn take_back(plane: &Plane, plan: &Plan, recorded: &Recorded) -> Result<()> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let name = &recorded.task.name;
    let sentence = format!("The pair of {name} was undone.");
    binding::end(&mut tx, &recorded.binding, bindings::BindingState::Ended, sentence).await?;
    if recorded.run_is_new {
        let audit = AuditRow::new("run_finished", format!("The run of {name} was given up with its pair."));
        runs::finish(&mut tx, &recorded.run.id, RunStatus::Abandoned, audit.task(&recorded.task.id)).await?;
    }
    let before = plan.found.task.as_ref().map_or(TaskState::Stopped, |task| task.state);
    let ended = (before == TaskState::Stopped).then(|| tx.now());
    let reason = ended.map(|_| "its pair could not be started".to_owned());
    let task = Task {
        state: before,
        outcome: ended.map(|_| "abandoned".to_owned()),
        reason,
        finished_at: ended,
        ..recorded.task.clone()
    };
    let audit = AuditRow::new("task_start_undone", format!("The task {name} is as it was before its pair."));
    tasks::update(&mut tx, &task, audit).await?;
    tx.commit().await
}
