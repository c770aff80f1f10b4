//! `criteria --verify`: runs the checks of criteria, and stores what they showed.

use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::evidence;
use conveyor_store::evidence::Check;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use serde_json::json;

use super::CriteriaReport;
use super::CriteriaRequest;
use super::report;
use super::report::Done;
use super::report::VerifiedView;
use crate::Plane;
use crate::caller;
use crate::caller::judge;
use crate::caller::judge::Judge;
use crate::resolve;
use crate::verify;
use crate::verify::Bounds;
use crate::verify::Repository;

/// What is to be run.
struct Plan {
    task: Task,
    worker: Option<Session>,
    checks: Vec<(Criterion, Check)>,
}

/// Runs the checks one after the other. Each result is stored when it is there; the ledger is not held meanwhile.
pub(super) async fn verify(plane: &Plane, request: &CriteriaRequest, ids: &[i64]) -> Result<CriteriaReport> {
    let Plan { task, worker, checks } = plan(plane, request, ids).await?;
    let repository = Repository::of(verify::folder(plane, worker.as_ref()))?;
    let commit = repository.commit(plane, request.commit.as_deref().unwrap_or("HEAD")).await?;
    let bounds = Bounds { limit: Duration::from_secs(u64::from(request.time_limit)) };
    let mut done = Done::default();
    if request.commit.is_none() && repository.is_dirty(plane).await? {
        done.warnings
            .push("the working tree differs from HEAD; only what is committed was checked".to_owned());
    }
    for (criterion, check) in checks {
        let result = verify::run(plane, &repository, &commit, &check, bounds).await?;
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        if let Some(now) = criteria::get(&mut tx, &task.id, criterion.id).await? {
            verify::store(&mut tx, &now, &result).await?;
        }
        tx.commit().await?;
        done.affected.push(criterion.id);
        done.verified.push(VerifiedView { id: criterion.id, result });
    }
    let mut reader = plane.ledger_that_exists().await?.read().await?;
    report::make(plane, &mut reader, request, task, done).await
}

/// Everything is looked up, and refused where it has to be, before anything is run.
async fn plan(plane: &Plane, request: &CriteriaRequest, ids: &[i64]) -> Result<Plan> {
    let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
    let found = async {
        match judge::judge(plane, &mut tx, &task).await? {
            Judge::Full => {}
            Judge::Proposes => {
                return Err(Error::refused("a worker does not verify the criteria of its own task")
                    .hint("commit the work, and tell your manager which commit it is"));
            }
        }
        if request.unconfined {
            caller::may_widen(plane, "let a check reach everything", "--unconfined")?;
        }
        checks(&mut tx, request, &task, ids).await
    };
    let checks = match found.await {
        Ok(checks) => checks,
        Err(refusal) if refusal.kind == ErrorKind::Refused => {
            return Err(judge::refuse(plane, tx, "criteria", &task.id, refusal).await);
        }
        Err(error) => return Err(error),
    };
    let mut allowed = Vec::new();
    for (criterion, check) in checks {
        let check = if request.unconfined { allow(&mut tx, &task, check).await? } else { check };
        let must_fail_on = request.must_fail_on.clone().or(check.must_fail_on);
        allowed.push((criterion, Check { must_fail_on, ..check }));
    }
    let worker = match bindings::of_task(&mut tx, &task.id).await?.pop() {
        Some(binding) => Some(resolve::by_id(&mut tx, &binding.worker_session_id).await?),
        None => None,
    };
    tx.commit().await?;
    Ok(Plan { task, worker, checks: allowed })
}

async fn checks(
    db: &mut Db,
    request: &CriteriaRequest,
    task: &Task,
    ids: &[i64],
) -> Result<Vec<(Criterion, Check)>> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let criterion = criteria::get(db, &task.id, *id).await?.ok_or_else(|| {
            Error::not_found(format!("the task `{}` has no criterion #{id}", task.name))
                .hint(format!("list them: conveyor criteria {} --list", task.name))
        })?;
        let check = evidence::check(db, *id).await?;
        found.push((criterion, check.ok_or_else(|| verify::no_check(&request.task, *id))?));
    }
    Ok(found)
}

async fn allow(tx: &mut conveyor_store::Tx, task: &Task, check: Check) -> Result<Check> {
    let allowed = Check { allowed_at: Some(tx.now()), ..check };
    let sentence = format!("A person let the check of criterion #{} reach everything.", allowed.criterion_id);
    let payload = json!({ "criterion_id": allowed.criterion_id, "command": allowed.command });
    let audit = AuditRow::new("check_allowed", sentence).payload(payload).task(&task.id);
    evidence::put_check(tx, allowed, audit).await
}
