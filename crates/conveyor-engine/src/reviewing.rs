//! A program that nobody trusts compares two proposals: what it is given, and what is made of its answer.

mod diff;
mod reach;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::continuation::Opinion;
use conveyor_model::limits;
use conveyor_store::continuations::Continuation;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use self::reach::Secrets;
use crate::Plane;
use crate::caller;
use crate::confine;
use crate::confine::Ended;
use crate::confine::Ran;
use crate::confine::Reach;
use crate::confine::Spec;
use crate::continuing;
use crate::continuing::Pair;
use crate::resolve;
use crate::verbs::continuation::ReviewView;
use crate::verbs::continuation_reviewer::ContinuationReviewerRequest;
use crate::verify;

/// What a reviewer is told of.
const ALLOWED: [&str; 9] = [
    "task",
    "worker_continuation",
    "manager_continuation",
    "acceptance_criteria",
    "manager_config_summary",
    "diff",
    "constraints",
    "correlation_id",
    "recent_pull_requests",
];

/// A review that may be made: everything is looked up and allowed.
pub(crate) struct Scene {
    pair: Pair,
    /// What the reviewer is given.
    pub(crate) context: Value,
    argv: Vec<String>,
    reach: Reach,
}

/// Looks everything up, and refuses what has to be refused, before anything is run.
pub(crate) async fn scene(plane: &Plane, request: &ContinuationReviewerRequest) -> Result<Scene> {
    let mut reader = plane.ledger_that_exists().await?.read().await?;
    let pair = continuing::pair(plane, &mut reader, &request.task, &request.correlation_id).await?;
    if request.network {
        caller::may_widen(plane, "give a reviewer the network", "--network")?;
    }
    let criteria = criteria::list(&mut reader, &pair.task.id, &[]).await?;
    let binding = resolve::binding(&mut reader, &pair.task).await?;
    let worker = resolve::by_id(&mut reader, binding.side(Role::Worker)).await?;
    let manager = resolve::by_id(&mut reader, binding.side(Role::Manager)).await?;
    independent(request, [&worker, &manager])?;
    let mut records = Vec::new();
    for side in [&worker, &manager] {
        records.extend(side.codex_home.as_ref().map(PathBuf::from));
        let threads = threads::of_session(&mut reader, &side.id).await?;
        records.extend(threads.into_iter().filter_map(|thread| thread.rollout_path).map(PathBuf::from));
    }
    drop(reader);
    let secrets = Secrets::of(plane, records)?;
    let (argv, reach) = reach::of(plane, request, &secrets, [&worker, &manager])?;
    let diff = diff::of(plane, Path::new(&worker.cwd)).await;
    let context = context(request, &pair, &criteria, diff);
    Ok(Scene { pair, context, argv, reach })
}

/// Neither side reviews itself.
fn independent(request: &ContinuationReviewerRequest, sides: [&Session; 2]) -> Result<()> {
    let who = request.reviewer_session_id.trim();
    let own = sides.iter().find(|side| side.name.as_str() == who || side.id.as_str() == who);
    own.map_or(Ok(()), |side| {
        Err(Error::refused(format!("`{}` does not review its own task", side.name))
            .hint("--reviewer-session-id names somebody who is no side of the task"))
    })
}

fn context(request: &ContinuationReviewerRequest, pair: &Pair, criteria: &[Criterion], diff: Value) -> Value {
    let shown: Vec<Value> = criteria
        .iter()
        .take(limits::REVIEW_CRITERIA)
        .map(|one| json!({ "id": one.id, "criterion": one.criterion, "status": one.status, "source": one.source }))
        .collect();
    let config = &pair.config;
    json!({
        "task": { "id": pair.task.id, "name": pair.task.name, "goal": pair.task.goal, "state": pair.task.state },
        "correlation_id": request.correlation_id,
        "worker_continuation": proposal(&pair.worker),
        "manager_continuation": proposal(&pair.manager),
        "acceptance_criteria_left_out": criteria.len() - shown.len(),
        "acceptance_criteria": shown,
        "manager_config_summary": {
            "acceptance_criteria": config.acceptance_criteria_json,
            "epilogues": config.epilogues_json,
            "nudge_on_completion": config.nudge_on_completion,
            "permissions": config.permissions_json,
            "tools": config.tools_json,
        },
        "diff": diff,
        // Conveyor asks nobody outside of this machine.
        "recent_pull_requests": null,
        "allowed_context": ALLOWED,
        "constraints": {
            "read_only": true,
            "manager_rollout_access": false,
            "return_json_schema": {
                "agreement": "match | compatible | divergent",
                "verdict": "proceed | amend | stop",
                "rationale": "text",
                "addendum": "text, if any",
            },
        },
    })
}

fn proposal(one: &Continuation) -> Value {
    json!({ "id": one.id, "revision": one.revision, "created_at": one.created_at, "payload": one.payload_json })
}

/// Runs the reviewer and stores what it says, or that it failed. The ledger is not held meanwhile.
pub(crate) async fn run(
    plane: &Plane,
    request: &ContinuationReviewerRequest,
    scene: Scene,
) -> Result<ReviewView> {
    let Scene { pair, context, argv, reach } = scene;
    let folder = tempfile::Builder::new().prefix("conveyor-review").tempdir();
    let folder = folder.map_err(|error| Error::environment(format!("no temporary folder: {error}")))?;
    let spec = Spec {
        argv,
        cwd: folder.path().to_owned(),
        env: environment(plane, folder.path()),
        stdin: Some(format!("{context}\n")),
        limit_ms: millis(request.timeout)?,
        output_bytes: limits::REVIEW_OUTPUT_BYTES,
        reach: Some(reach.writing([folder.path().to_owned()])),
    };
    let ran = confine::run(&plane.environment.executable, spec).await;
    let (opinion, failure) = judge(&ran);
    let run = told(request, &ran, failure.as_deref());
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let review = continuing::record(&mut tx, &pair, opinion, run, failure.is_some()).await?;
    tx.commit().await?;
    Ok(review)
}

/// Nothing of the caller's but where programs are.
fn environment(plane: &Plane, folder: &Path) -> BTreeMap<String, String> {
    let folder = folder.to_string_lossy();
    let all = [
        ("PATH", verify::path(plane)),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("PYTHONIOENCODING", "utf-8"),
        ("HOME", &folder),
        ("TMPDIR", &folder),
    ];
    BTreeMap::from(all.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn millis(seconds: f64) -> Result<u64> {
    let limit =
        Duration::try_from_secs_f64(seconds).map_err(|error| Error::usage(format!("--timeout: {error}")))?;
    Ok(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// What it said, or why that is no opinion.
fn judge(ran: &Result<Ran>) -> (Opinion, Option<String>) {
    let said = ran.as_ref().map_err(|error| error.message.clone()).and_then(opinion);
    match said {
        Ok(opinion) => (opinion, None),
        Err(why) => (Opinion::of_failure(&why), Some(why)),
    }
}

fn opinion(ran: &Ran) -> std::result::Result<Opinion, String> {
    match ran.ended {
        Ended::TimedOut => Err("the reviewer took too long and was ended".to_owned()),
        Ended::Signalled { signal } => Err(format!("the reviewer died of signal {signal}")),
        Ended::Exited { code: 0 } if ran.stdout.cut => {
            Err(format!("the reviewer printed more than {} bytes", limits::REVIEW_OUTPUT_BYTES))
        }
        Ended::Exited { code: 0 } => serde_json::from_str::<Value>(&ran.stdout.text)
            .map_err(|_| "the reviewer did not answer with one JSON object".to_owned())
            .and_then(|json| {
                Opinion::of(&json).map_err(|error| format!("the reviewer's answer: {}", error.message))
            }),
        Ended::Exited { code } => Err(format!("the reviewer ended with exit code {code}")),
    }
}

/// How it went, as the ledger keeps it. What it printed besides an opinion is kept by nobody: it may be anything.
fn told(
    request: &ContinuationReviewerRequest,
    ran: &Result<Ran>,
    failure: Option<&str>,
) -> Map<String, Value> {
    let (runner, arguments) = request.reviewer_command.split_first().unwrap_or((&request.task, &[]));
    let held = ran.as_ref().ok();
    let sandbox = match ran {
        Ok(ran) => json!({
            "enabled": true,
            "engine": ran.held.engine,
            "complete": ran.held.complete,
            "network": ran.held.network,
            "left_behind": ran.left_behind,
        }),
        Err(error) => json!({ "enabled": false, "setup_error": error.message }),
    };
    let told = json!({
        "allowed_context": ALLOWED,
        "duration_ms": held.map(|ran| ran.duration_ms),
        "error": failure,
        "manager_rollout_access": false,
        "manager_session_id": request.manager_session_id,
        "returncode": held.and_then(|ran| ran.ended.code()),
        "reviewer_session_id": request.reviewer_session_id,
        "runner": crate::plane::quote(&[runner]),
        "runner_arg_count": arguments.len(),
        "sandbox": sandbox,
        "status": if failure.is_none() { "succeeded" } else { "failed" },
        "stderr_redacted": true,
        "stdout_redacted": true,
    });
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
