//! Evidence that the plane gathers itself: a criterion's check runs in a clean working tree of the commit that is claimed.

mod checkout;
mod repository;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::evidence;
use conveyor_store::evidence::Check;
use conveyor_store::evidence::Evidence;
use conveyor_store::evidence::EvidenceKind;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use self::checkout::Checkout;
pub(crate) use self::repository::Commit;
pub(crate) use self::repository::Repository;

use crate::Plane;
use crate::confine;
use crate::confine::Ran;
use crate::confine::Reach;
use crate::confine::Spec;

/// Folders of toolchains below the home directory that a check may read. None of them holds a credential by its purpose,
/// except cargo's own folder, of which only these parts are given.
const TOOLCHAINS: &[&str] = &[
    ".bun/bin",
    ".cargo/bin",
    ".cargo/config.toml",
    ".cargo/env",
    ".cargo/git",
    ".cargo/registry",
    ".deno/bin",
    ".local/bin",
    ".local/share/uv",
    ".nvm/versions",
    ".pyenv",
    ".rbenv",
    ".rustup",
    "go",
];

/// What a check showed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verified {
    /// It passed, and, where that was asked for, it failed on the older tree.
    pub passed: bool,
    /// Why it did not.
    pub reason: Option<String>,
    /// The command line.
    pub command: String,
    /// The repository.
    pub repository: PathBuf,
    /// The commit.
    pub commit: String,
    /// That commit's tree.
    pub tree: String,
    /// How it ended and what it printed.
    pub run: Value,
    /// The same on the older tree.
    pub must_fail_on: Option<Value>,
    #[serde(skip)]
    output: String,
}

/// How a check is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long.
    pub(crate) limit: Duration,
}

/// Runs a check, first on the older tree where it names one.
///
/// Errors: whatever keeps it from being run at all: no repository, an unknown revision, no Landlock.
pub(crate) async fn run(
    plane: &Plane,
    repository: &Repository,
    commit: &Commit,
    check: &Check,
    bounds: Bounds,
) -> Result<Verified> {
    let mut verified = Verified {
        passed: false,
        reason: None,
        command: check.command.clone(),
        repository: repository.top.clone(),
        commit: commit.id.clone(),
        tree: commit.tree.clone(),
        run: Value::Null,
        must_fail_on: None,
        output: String::new(),
    };
    if let Some(revision) = &check.must_fail_on {
        let older = repository.commit(plane, revision).await?;
        let ran = on(plane, repository, &older, check, bounds).await?;
        let failed = ran.ended.code().is_some_and(|code| code != 0);
        verified.must_fail_on = Some(json!({
            "revision": revision, "commit": older.id, "tree": older.tree, "failed": failed, "run": facts(&ran),
        }));
        if !failed {
            verified.reason =
                Some(format!("it did not fail on {revision}, so that it passes would prove nothing"));
            return Ok(verified);
        }
    }
    let ran = on(plane, repository, commit, check, bounds).await?;
    verified.passed = ran.ended.is_success();
    verified.reason = reason(&ran, bounds);
    verified.run = facts(&ran);
    verified.output = ran.stdout.text;
    Ok(verified)
}

fn reason(ran: &Ran, bounds: Bounds) -> Option<String> {
    match ran.ended {
        confine::Ended::Exited { code: 0 } => None,
        confine::Ended::Exited { code } => Some(format!("it ended with exit code {code}")),
        confine::Ended::Signalled { signal } => Some(format!("it was ended by signal {signal}")),
        confine::Ended::TimedOut => Some(format!("it did not end within {} s", bounds.limit.as_secs())),
    }
}

fn facts(ran: &Ran) -> Value {
    json!({
        "ended": ran.ended,
        "exit_code": ran.ended.code(),
        "duration_ms": ran.duration_ms,
        "output_sha256": ran.stdout.sha256,
        "output_bytes": ran.stdout.bytes,
        "output_cut": ran.stdout.cut,
        "held": ran.held,
        "left_behind": ran.left_behind,
    })
}

/// Runs a check in a clean working tree of a commit, which is gone afterwards.
async fn on(
    plane: &Plane,
    repository: &Repository,
    commit: &Commit,
    check: &Check,
    bounds: Bounds,
) -> Result<Ran> {
    let checkout = Checkout::of(plane, repository, commit).await?;
    let ran =
        confine::run(&plane.environment.executable, spec(plane, repository, &checkout, check, bounds)).await;
    checkout.remove(plane, repository).await;
    ran
}

/// The folders in which programs are looked for.
pub(crate) fn path(plane: &Plane) -> &str {
    plane.environment.variable("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin")
}

/// Where programs and toolchains lie that a confined command may use.
pub(crate) fn tools(plane: &Plane) -> Vec<PathBuf> {
    let home = plane.environment.home().ok();
    let programs = std::env::split_paths(path(plane)).filter(|dir| dir.is_absolute());
    programs.chain(TOOLCHAINS.iter().filter_map(|below| Some(home.as_ref()?.join(below)))).collect()
}

/// The whole environment of a command that uses toolchains, with folders of its own.
pub(crate) fn environment(plane: &Plane, home: &Path, temporary: &Path) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), path(plane).to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("HOME".to_owned(), home.display().to_string()),
        ("TMPDIR".to_owned(), temporary.display().to_string()),
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
    ]);
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let folder = plane.environment.home().map(|home| home.join(folder));
        if let Some(folder) = folder.ok().filter(|folder| folder.is_dir()) {
            env.insert(name.to_owned(), folder.display().to_string());
        }
    }
    env
}

fn spec(plane: &Plane, repository: &Repository, checkout: &Checkout, check: &Check, bounds: Bounds) -> Spec {
    let allowed = check.allowed_at.is_some();
    let home = plane.environment.home().ok().filter(|_| allowed);
    let env = environment(plane, home.as_deref().unwrap_or(&checkout.home), &checkout.temporary);
    let reach = Reach::system().reading(tools(plane)).reading([repository.git_dir.clone()]).writing([
        checkout.tree.clone(),
        checkout.temporary.clone(),
        checkout.home.clone(),
    ]);
    Spec {
        // One stream, so that what was printed keeps its order.
        argv: ["/bin/sh", "-c", &format!("exec 2>&1\n{}", check.command)].map(ToOwned::to_owned).to_vec(),
        cwd: checkout.tree.clone(),
        env,
        stdin: None,
        limit_ms: u64::try_from(bounds.limit.as_millis()).unwrap_or(u64::MAX),
        output_bytes: limits::CHECK_OUTPUT_BYTES,
        reach: (!allowed).then_some(reach),
    }
}

/// Stores what a check showed, and moves its criterion: satisfied when it passed, and no longer satisfied when it failed.
pub(crate) async fn store(tx: &mut Tx, criterion: &Criterion, verified: &Verified) -> Result<Criterion> {
    let (id, outcome) = (criterion.id, if verified.passed { "passed" } else { "failed" });
    let details = json!({
        "command": verified.command,
        "reason": verified.reason,
        "run": verified.run,
        "must_fail_on": verified.must_fail_on,
    });
    let new = Evidence {
        id: 0,
        task_id: criterion.task_id.clone(),
        criterion_id: id,
        kind: EvidenceKind::Verified,
        passed: verified.passed,
        repository: Some(verified.repository.display().to_string()),
        commit_id: Some(verified.commit.clone()),
        tree_id: Some(verified.tree.clone()),
        details_json: details.clone(),
        created_at: tx.now(),
    };
    let sentence = format!("The check of criterion #{id} {outcome} on {}.", verified.commit);
    let audit = AuditRow::new("evidence_verified", sentence)
        .payload(json!({ "criterion_id": id, "passed": verified.passed, "details": details }));
    let stored = evidence::insert(tx, new, Some(&verified.output), audit).await?;
    let next = match (verified.passed, criterion.status) {
        (true, _) => CriterionStatus::Satisfied,
        (false, CriterionStatus::Satisfied) => CriterionStatus::Accepted,
        (false, other) => other,
    };
    let evidence_json = json!({
        "command": verified.command,
        "status": if verified.passed { "pass" } else { "fail" },
        "verified": true,
        "receipt_id": stored.id,
        "commit": verified.commit,
        "tree": verified.tree,
    });
    let moved = Criterion { status: next, evidence_json, ..criterion.clone() };
    let sentence = format!("Criterion #{id} is {next}, as its check {outcome}.");
    let payload = json!({ "criterion_id": id, "previous_status": criterion.status, "status": next });
    let audit = AuditRow::new("acceptance_criterion_updated", sentence).payload(payload);
    criteria::update(tx, &moved, audit).await
}

/// The folder in which a task's work lies: its worker's, else the caller's.
pub(crate) fn folder<'a>(
    plane: &'a Plane,
    worker: Option<&'a conveyor_store::sessions::Session>,
) -> &'a Path {
    worker.map_or(plane.environment.cwd.as_path(), |worker| Path::new(&worker.cwd))
}

/// The error of a criterion that carries no check.
pub(crate) fn no_check(task: &str, id: i64) -> Error {
    Error::conflict(format!("criterion #{id} has no check")).hint(format!(
        "conveyor criteria {task} --add --upsert --criterion \"<its text>\" --source <its source> --check '<command>'"
    ))
}
