//! The pair that a setup code stands for: whoever comes second finds the other side and binds.

use conveyor_agents::ProcessId;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::TaskId;
use conveyor_model::setup::SetupNames;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Serialize;

use super::Wanted;
use crate::Plane;
use crate::binding;

/// What became of a setup.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Pairing {
    /// The code.
    pub setup_code: String,
    /// The task's name.
    pub task: Name,
    /// The task, once the manager has come.
    pub task_id: Option<TaskId>,
    /// The worker's name, as it is or is expected.
    pub worker: Name,
    /// The manager's name, as it is or is expected.
    pub manager: Name,
    /// The binding, once both are there.
    pub binding: Option<BindingId>,
}

/// The name that a code gives to a role.
pub(super) fn own(names: &SetupNames, role: Role) -> &Name {
    match role {
        Role::Worker => &names.worker,
        Role::Manager => &names.manager,
    }
}

/// Whether a name is that of a setup code, with or without a number behind it.
pub(super) fn is_derived(base: &Name, name: &Name) -> bool {
    let rest = name.as_str().strip_prefix(base.as_str());
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok())
    })
}

const fn other(role: Role) -> Role {
    match role {
        Role::Worker => Role::Manager,
        Role::Manager => Role::Worker,
    }
}

/// Makes the task if the manager comes, and binds if the other side is there.
pub(super) async fn pair(
    plane: &Plane,
    wanted: &Wanted,
    names: &SetupNames,
    session: &Session,
    warnings: &mut Vec<String>,
) -> Result<Pairing> {
    let ledger = plane.ledger().await?;
    let others = others(plane, &mut *ledger.read().await?, names, session.role).await?;
    let side = match others.as_slice() {
        [] => None,
        [side] => Some(side.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
            warnings
                .push(format!("several could be the other side, so none was bound: {}", names.join(", ")));
            None
        }
    };
    let (worker, manager) = match session.role {
        Role::Worker => (Some(session), side.as_ref()),
        Role::Manager => (side.as_ref(), Some(session)),
    };
    if let Some(worker) = worker
        && let Err(error) = binding::catch_up(plane, worker).await
    {
        warnings.push(error.message);
    }
    let mut tx = ledger.write(&plane.actor().await?).await?;
    let task = task(plane, &mut tx, wanted, names, warnings).await?;
    let bound = match (&task, worker, manager) {
        (Some(task), Some(worker), Some(manager)) => {
            Some(binding::bind(&mut tx, task, worker, manager).await?)
        }
        (Some(_) | None, Some(_) | None, Some(_) | None) => None,
    };
    tx.commit().await?;
    Ok(Pairing {
        setup_code: wanted.setup_code.clone().unwrap_or_default(),
        task: names.task.clone(),
        task_id: task.map(|task| task.id),
        worker: worker.map_or(&names.worker, |worker| &worker.name).clone(),
        manager: manager.map_or(&names.manager, |manager| &manager.name).clone(),
        binding: bound.map(|bound| bound.binding.id),
    })
}

/// The task of the setup: the one that is there, else a new one if it is the manager who comes.
async fn task(
    plane: &Plane,
    tx: &mut Tx,
    wanted: &Wanted,
    names: &SetupNames,
    warnings: &mut Vec<String>,
) -> Result<Option<Task>> {
    let there = tasks::by_name(tx, &names.task).await?.filter(|task| task.state.is_unfinished());
    if there.is_some() || wanted.role == Role::Worker {
        return Ok(there);
    }
    let goal = wanted.goal.clone().unwrap_or_else(|| {
        warnings
            .push("the task has no goal yet: ask the user, then record it with manager-config".to_owned());
        "to be agreed on with the user".to_owned()
    });
    let id = TaskId::new(plane.clock.uuid_v7());
    let task = Task::new(id, names.task.clone(), goal, None, tx.now());
    let audit = AuditRow::new("task_created", format!("The task {} was made by a setup code.", task.name));
    tasks::insert(tx, task, audit).await.map(Some)
}

/// Sessions that may be the other side: of that name, not known to be dead, and not at work for another task.
async fn others(plane: &Plane, db: &mut Db, names: &SetupNames, role: Role) -> Result<Vec<Session>> {
    let (role, base) = (other(role), own(names, other(role)));
    let wanted = sessions::Wanted {
        role: Some(role),
        state: Some(SessionState::Active),
        ..sessions::Wanted::default()
    };
    let mut found = Vec::new();
    for session in sessions::list(db, &wanted, u32::MAX).await? {
        if is_derived(base, &session.name)
            && !is_known_dead(plane, &session)
            && !is_at_work_elsewhere(db, &session, &names.task).await?
        {
            found.push(session);
        }
    }
    Ok(found)
}

/// Whether its process was seen and has ended.
fn is_known_dead(plane: &Plane, session: &Session) -> bool {
    let (Some(pid), Some(ticks)) = (session.pid, session.pid_start_ticks) else { return false };
    let process = ProcessId { pid: pid as u32, start_ticks: ticks as u64 };
    session.host == plane.environment.host && !process.is_alive()
}

async fn is_at_work_elsewhere(db: &mut Db, session: &Session, task: &Name) -> Result<bool> {
    let binding = match session.role {
        Role::Worker => bindings::active_of_worker(db, &session.id).await?,
        Role::Manager => None,
    };
    let Some(binding) = binding else { return Ok(false) };
    let bound = tasks::get(db, &binding.task_id).await?;
    Ok(bound.is_some_and(|bound| bound.name != *task))
}
