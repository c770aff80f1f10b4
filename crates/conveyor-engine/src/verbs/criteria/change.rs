//! Adding and judging criteria.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::configs;
use conveyor_store::configs::SupervisionMode;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::evidence;
use conveyor_store::evidence::Check;
use conveyor_store::evidence::Evidence;
use conveyor_store::evidence::EvidenceKind;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use serde_json::Value;
use serde_json::json;

use super::CriteriaRequest;
use super::report::Done;
use crate::Plane;
use crate::caller;
use crate::caller::judge::Judge;
use crate::object::JsonObject;

/// Adds a criterion, or says what became of one that was known.
pub(super) async fn add(
    plane: &Plane,
    tx: &mut Tx,
    request: &CriteriaRequest,
    task: &Task,
    judge: Judge,
) -> Result<Done> {
    let wanted = wanted(tx, request, task);
    if judge == Judge::Proposes {
        only_proposes(request, &wanted)?;
    }
    let known = criteria::with_text(tx, &task.id, &wanted.criterion).await?;
    let mut done = Done::default();
    if let Some(same) = known.iter().find(|one| one.source == wanted.source) {
        known_before(plane, tx, request, same, &mut done).await?;
        return Ok(done);
    }
    if let Some(other) = known.first() {
        done.warnings.push(format!(
            "the same text stands as #{}, {} by {}; this is a second one",
            other.id, other.status, other.source
        ));
    }
    let sentence = format!("A criterion was {}: {}", wanted.status, wanted.criterion);
    let audit = AuditRow::new("acceptance_criterion_added", sentence);
    let payload = json!({ "created": true, "criterion": facts(&wanted) });
    let (added, _) = criteria::insert(tx, wanted, audit.payload(payload)).await?;
    tell(tx, "acceptance_criterion_added", &added, None).await?;
    claim(tx, request, &added).await?;
    carry(plane, tx, request, &added).await?;
    done.created = Some(true);
    done.affected.push(added.id);
    Ok(done)
}

fn wanted(tx: &Tx, request: &CriteriaRequest, task: &Task) -> Criterion {
    Criterion {
        id: 0,
        task_id: task.id.clone(),
        criterion: request.text().to_owned(),
        status: request.status.first().map_or(CriterionStatus::Proposed, |status| (*status).into()),
        source: request.source.map_or(CriterionSource::ManagerInferred, Into::into),
        proof: request.proof.clone(),
        rationale: request.rationale.clone(),
        evidence_json: object(request.evidence_json.as_ref()),
        created_at: tx.now(),
        updated_at: tx.now(),
    }
}

fn object(given: Option<&JsonObject>) -> Value {
    given.cloned().unwrap_or_default().into_value()
}

/// A worker's word is a proposal in its own name.
fn only_proposes(request: &CriteriaRequest, wanted: &Criterion) -> Result<()> {
    let proposes =
        wanted.status == CriterionStatus::Proposed && wanted.source == CriterionSource::WorkerProposed;
    if proposes && !request.upsert {
        return Ok(());
    }
    Err(Error::refused("a worker may only propose a criterion, as `worker_proposed`").hint(format!(
        "conveyor criteria {} --add --criterion \"...\" --source worker_proposed --status proposed",
        request.task
    )))
}

/// What differs is applied with `--upsert`, and told without.
async fn known_before(
    plane: &Plane,
    tx: &mut Tx,
    request: &CriteriaRequest,
    same: &Criterion,
    done: &mut Done,
) -> Result<()> {
    done.created = Some(false);
    done.affected.push(same.id);
    let to = request.status.first().map_or(same.status, |status| (*status).into());
    let next = changed(same, request, to);
    let check = evidence::check(tx, same.id).await?;
    let same_check =
        request.check.is_none() || check.is_some_and(|check| request.check == Some(check.command));
    if next == *same && same_check && !request.unconfined && request.must_fail_on.is_none() {
        done.warnings.push(format!("#{} had this text before; nothing was changed", same.id));
    } else if request.upsert {
        if next != *same {
            store(tx, request, same, next).await?;
        }
        carry(plane, tx, request, same).await?;
    } else {
        done.warnings.push(format!(
            "#{} had this text before, and it was not changed although what was given differs; add --upsert to change it",
            same.id
        ));
    }
    Ok(())
}

/// Stores the command that a criterion is to carry. Another command has to be allowed anew.
async fn carry(plane: &Plane, tx: &mut Tx, request: &CriteriaRequest, criterion: &Criterion) -> Result<()> {
    let Some(command) = &request.check else { return Ok(()) };
    if request.unconfined {
        caller::may_widen(plane, "let a check reach everything", "--unconfined")?;
    }
    let check = Check {
        criterion_id: criterion.id,
        command: command.trim().to_owned(),
        must_fail_on: request.must_fail_on.clone(),
        brought_by: tx.actor().to_owned(),
        allowed_at: request.unconfined.then(|| tx.now()),
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    let held = if request.unconfined { ", and may reach everything" } else { "" };
    let sentence = format!("Criterion #{} is checked by a command{held}.", criterion.id);
    let payload =
        json!({ "criterion_id": criterion.id, "command": check.command, "unconfined": request.unconfined });
    let audit = AuditRow::new("check_stored", sentence).payload(payload);
    evidence::put_check(tx, check, audit.task(&criterion.task_id)).await.map(drop)
}

/// Moves all these criteria, or none of them.
pub(super) async fn judge(
    tx: &mut Tx,
    request: &CriteriaRequest,
    task: &Task,
    to: CriterionStatus,
    ids: &[i64],
) -> Result<Done> {
    let found = criteria::these(tx, &task.id, ids).await?;
    if let Some(missing) = ids.iter().find(|id| found.iter().all(|one| one.id != **id)) {
        return Err(Error::not_found(format!("the task `{}` has no criterion #{missing}", task.name))
            .hint(format!("list them: conveyor criteria {} --list", task.name)));
    }
    let mut done = Done::default();
    for before in &found {
        let next = changed(before, request, to);
        if to == CriterionStatus::Satisfied {
            done.warnings.extend(unproved(tx, task, &next).await?);
        }
        done.affected.push(before.id);
        if next == *before && request.evidence_json.is_none() {
            done.warnings.push(format!("#{} was {to} before; nothing was changed", before.id));
        } else {
            store(tx, request, before, next).await?;
        }
    }
    Ok(done)
}

/// The criterion as the request would have it. What is not given is kept.
fn changed(before: &Criterion, request: &CriteriaRequest, to: CriterionStatus) -> Criterion {
    Criterion {
        status: to,
        proof: request.proof.clone().or_else(|| before.proof.clone()),
        rationale: request.rationale.clone().or_else(|| before.rationale.clone()),
        evidence_json: match &request.evidence_json {
            Some(given) => object(Some(given)),
            None => before.evidence_json.clone(),
        },
        ..before.clone()
    }
}

/// Complains of a criterion that is to be satisfied with nothing that shows it.
///
/// Errors: refused under the mode `strict`.
async fn unproved(tx: &mut Tx, task: &Task, next: &Criterion) -> Result<Option<String>> {
    let says_something = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let has_evidence = next.evidence_json.as_object().is_some_and(|object| !object.is_empty());
    if has_evidence || says_something(&next.proof) {
        return Ok(None);
    }
    let message = format!("#{} is satisfied without evidence or proof", next.id);
    let config = configs::get(tx, &task.id).await?;
    if config.is_some_and(|config| config.supervision_mode == SupervisionMode::Strict) {
        return Err(Error::refused(format!("the task is managed strictly, and {message}")).hint(format!(
            "conveyor criteria {} --satisfy {} --evidence-json '{{\"command\":\"...\",\"status\":\"pass\"}}'",
            task.name, next.id
        )));
    }
    Ok(Some(message))
}

async fn store(tx: &mut Tx, request: &CriteriaRequest, before: &Criterion, next: Criterion) -> Result<()> {
    let sentence = match before.status == next.status {
        true => format!("Criterion #{} was changed and is still {}.", next.id, next.status),
        false => format!("Criterion #{} was {} and is {} now.", next.id, before.status, next.status),
    };
    let payload = json!({
        "criterion": facts(&next),
        "criterion_id": next.id,
        "previous_status": before.status,
        "previous_proof": before.proof,
        "previous_rationale": before.rationale,
        "previous_evidence": before.evidence_json,
    });
    let audit = AuditRow::new("acceptance_criterion_updated", sentence).payload(payload);
    let stored = criteria::update(tx, &next, audit).await?;
    tell(tx, "acceptance_criterion_updated", &stored, Some(before.status)).await?;
    claim(tx, request, &stored).await
}

/// Evidence that comes with a criterion is somebody's word.
async fn claim(tx: &mut Tx, request: &CriteriaRequest, criterion: &Criterion) -> Result<()> {
    let Some(said) = &request.evidence_json else { return Ok(()) };
    let claimed = Evidence {
        id: 0,
        task_id: criterion.task_id.clone(),
        criterion_id: criterion.id,
        kind: EvidenceKind::Claimed,
        passed: criterion.status == CriterionStatus::Satisfied,
        repository: None,
        commit_id: None,
        tree_id: None,
        details_json: object(Some(said)),
        created_at: tx.now(),
    };
    let audit =
        AuditRow::new("evidence_claimed", format!("Evidence for criterion #{} was given.", criterion.id));
    let audit = audit.payload(json!({ "criterion_id": criterion.id }));
    evidence::insert(tx, claimed, None, audit).await.map(drop)
}

fn facts(criterion: &Criterion) -> Value {
    json!({
        "criterion": criterion.criterion,
        "status": criterion.status,
        "source": criterion.source,
        "proof": criterion.proof,
        "rationale": criterion.rationale,
        "evidence": criterion.evidence_json,
    })
}

async fn tell(
    tx: &mut Tx,
    event: &str,
    criterion: &Criterion,
    before: Option<CriterionStatus>,
) -> Result<()> {
    let new = NewTelemetry {
        task: Some(criterion.task_id.clone()),
        run: None,
        actor: "workerctl".to_owned(),
        event_type: event.to_owned(),
        severity: Severity::Info,
        summary: format!("Criterion #{} is {}.", criterion.id, criterion.status),
        correlation: json!({ "criterion_id": criterion.id, "source": criterion.source }),
        attributes: json!({
            "criterion": criterion.criterion,
            "has_evidence": criterion.evidence_json.as_object().is_some_and(|object| !object.is_empty()),
            "has_proof": criterion.proof.is_some(),
            "status": criterion.status,
            "previous_status": before,
        }),
    };
    telemetry::insert(tx, new).await
}
