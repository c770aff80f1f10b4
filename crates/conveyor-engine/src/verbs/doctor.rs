//! `doctor`: is everything there that conveyor needs?

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::rollout::BadLines;
use conveyor_store::Db;
use conveyor_store::doctor;
use conveyor_store::follows;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use tokio::process::Command;

use crate::Plane;
use crate::dispatch;
use crate::dispatch::Known;
use crate::dispatch::Standing;
use crate::ingest::Counted;
use crate::locate::Why;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// How long a program may take to say its version. `codex --version` starts node: 0.3 s measured, seconds under load.
const VERSION: Duration = Duration::from_secs(20);

/// Audit rows that are checked: a doctor is asked often, and `db-doctor` checks them all.
const CHAIN_ROWS: i64 = 1_000;

/// Check what conveyor needs
///
/// Checks tmux, Codex, the state folder, the ledger, whether a dispatcher runs, and what of the rollouts was not
/// understood. Each failed check says what mends it.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct DoctorRequest {
    /// The folder in which sessions are to work
    #[arg(long)]
    pub cwd: Option<String>,
}

impl Request for DoctorRequest {}

/// One thing that was looked at.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DoctorCheck {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Whether a failure counts against the whole.
    pub decides: bool,
}

/// Where the ledger is.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DoctorLedger {
    /// Where it lies.
    pub path: String,
    /// Why there.
    pub why: Why,
    /// Whether it exists.
    pub exists: bool,
    /// Version of its schema.
    pub schema_version: Option<i64>,
}

/// A dispatcher that runs or ran.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DoctorDispatcher {
    /// Its name.
    pub id: String,
    /// Whether it runs now: its lock is held.
    pub alive: bool,
    /// How it stands.
    pub state: Standing,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: i64,
    /// When it was last heard of.
    pub last_heartbeat_at: Timestamp,
}

/// What of the rollouts was not understood.
#[derive(Serialize, JsonSchema, Debug, Default)]
pub struct DoctorRollouts {
    /// Rollouts that are followed.
    pub followed: usize,
    /// Records of unknown shape, by Codex's version.
    pub unknown_records: BTreeMap<String, u64>,
    /// Lines that are no records, by reason.
    pub bad_lines: BadLines,
    /// Leaps in the ordinals.
    pub gaps: u64,
}

/// What was found.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DoctorReport {
    /// Whether all that decides is as it should be.
    pub ok: bool,
    /// What was looked at, in order.
    pub checks: Vec<DoctorCheck>,
    /// Names of the checks that count against it.
    pub failed: Vec<&'static str>,
    /// Where the ledger is.
    pub ledger: DoctorLedger,
    /// Dispatchers of this ledger that did not stop by themselves.
    pub dispatchers: Vec<DoctorDispatcher>,
    /// What of the rollouts was not understood.
    pub rollouts: DoctorRollouts,
    /// The folder in which sessions are to work.
    pub project_root: PathBuf,
    /// This program.
    pub executable: PathBuf,
    /// Its version.
    pub version: &'static str,
    /// The contract's key for file-backed workers, of which there are none.
    pub workers: Vec<()>,
}

impl Report for DoctorReport {
    fn text(&self) -> Option<String> {
        Some(self.checks.iter().flat_map(lines).map(|line| line + "\n").collect())
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.ok)
    }
}

/// A check for a person: what was found, and what mends it.
fn lines(check: &DoctorCheck) -> Vec<String> {
    let mark = match (check.ok, check.decides) {
        (true, _) => "ok  ",
        (false, true) => "FAIL",
        (false, false) => "note",
    };
    let path = check.path.as_ref().map(|path| path.display().to_string());
    let value =
        check.value.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let found = path.or(value).unwrap_or_default();
    let mut lines = vec![format!("{mark} {:<20} {found}", check.name)];
    lines.extend(check.fix.as_ref().map(|fix| format!("     fix: {fix}")));
    lines
}

/// The verb.
pub struct Doctor;

impl Verb for Doctor {
    const NAME: &'static str = "doctor";
    const GROUP: Group = Group::Diagnose;
    const EFFECT: Effect = Effect::Reads;
    type Request = DoctorRequest;
    type Report = DoctorReport;

    async fn run(plane: &Plane, request: DoctorRequest) -> Result<DoctorReport> {
        let root = match &request.cwd {
            Some(cwd) => plane.environment.absolute(cwd)?,
            None => plane.environment.cwd.clone(),
        };
        let mut checks = programs(plane).await;
        checks.push(target_cwd(&root));
        checks.push(state_dir(&plane.state_dir()?));
        let mut found = Read::nothing(plane);
        checks.push(found.read(plane).await);
        checks.push(carries(plane, &found.dispatchers));
        let failed: Vec<&'static str> =
            checks.iter().filter(|check| check.decides && !check.ok).map(|check| check.name).collect();
        Ok(DoctorReport {
            ok: failed.is_empty(),
            checks,
            failed,
            ledger: found.place,
            dispatchers: found.dispatchers,
            rollouts: found.rollouts,
            project_root: root,
            executable: plane.environment.executable.clone(),
            version: env!("CARGO_PKG_VERSION"),
            workers: Vec::new(),
        })
    }
}

async fn programs(plane: &Plane) -> Vec<DoctorCheck> {
    let found = |name| plane.environment.find_program(name);
    let (tmux, codex) = (found("tmux"), found("codex"));
    let (tmux_version, codex_version) =
        tokio::join!(version(tmux.as_deref(), "-V"), version(codex.as_deref(), "--version"));
    vec![
        program("tmux", tmux, "install tmux 3.2 or later, and put it into PATH"),
        program("codex", codex, "npm install -g @openai/codex"),
        said("tmux_version", tmux_version, "run `tmux -V` to see why it fails"),
        said("codex_version", codex_version, "run `codex --version` to see why it fails"),
    ]
}

fn program(name: &'static str, path: Option<PathBuf>, fix: &str) -> DoctorCheck {
    let ok = path.is_some();
    DoctorCheck { name, ok, path, value: None, fix: (!ok).then(|| fix.to_owned()), decides: true }
}

fn said(name: &'static str, version: Option<String>, fix: &str) -> DoctorCheck {
    let ok = version.is_some();
    let value = version.map(Value::String);
    DoctorCheck { name, ok, path: None, value, fix: (!ok).then(|| fix.to_owned()), decides: true }
}

/// The first line that a program prints of its version.
pub(crate) async fn version(program: Option<&Path>, flag: &str) -> Option<String> {
    let mut command = Command::new(program?);
    command.arg(flag).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty())?;
    output.status.success().then(|| line.to_owned())
}

fn target_cwd(root: &Path) -> DoctorCheck {
    let ok = root.is_dir();
    DoctorCheck {
        name: "target_cwd_exists",
        ok,
        path: Some(root.to_owned()),
        value: None,
        fix: (!ok).then(|| format!("mkdir -p {}", crate::plane::quote(&[&root.to_string_lossy()]))),
        decides: true,
    }
}

/// Whether the state folder, or the nearest folder above it that exists, can be written to.
fn state_dir(folder: &Path) -> DoctorCheck {
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(folder);
    let ok = rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok();
    let fix = format!("make {} writable; inside Codex's sandbox use the MCP tools instead", there.display());
    DoctorCheck {
        name: "state_root_writable",
        ok,
        path: Some(folder.to_owned()),
        value: Some(json!({ "exists": folder.exists() })),
        fix: (!ok).then_some(fix),
        decides: true,
    }
}

/// Without a dispatcher, messages that nobody could deliver at once wait. That is no failure of the installation.
fn carries(plane: &Plane, dispatchers: &[DoctorDispatcher]) -> DoctorCheck {
    let ok = dispatchers.iter().any(|dispatcher| dispatcher.alive);
    let fix = plane.command(&["dispatch", "--watch", "--dispatcher-id", "dispatch-local"]);
    let value = Some(json!({ "alive": ok }));
    DoctorCheck { name: "dispatch", ok, path: None, value, fix: (!ok).then_some(fix), decides: false }
}

/// What is read from the ledger.
struct Read {
    place: DoctorLedger,
    dispatchers: Vec<DoctorDispatcher>,
    rollouts: DoctorRollouts,
}

impl Read {
    fn nothing(plane: &Plane) -> Self {
        let place = DoctorLedger {
            path: plane.location().to_string(),
            why: plane.located().why,
            exists: false,
            schema_version: None,
        };
        Self { place, dispatchers: Vec::new(), rollouts: DoctorRollouts::default() }
    }

    /// Reads it; what is wrong with it is the check's finding. A ledger that is not there yet is nothing wrong.
    async fn read(&mut self, plane: &Plane) -> DoctorCheck {
        let trouble = match self.try_read(plane).await {
            Ok(failed) if failed.is_empty() => None,
            Ok(failed) => Some(json!({ "failed": failed })),
            Err(error) => Some(json!({ "error": error.message })),
        };
        DoctorCheck {
            name: "ledger",
            ok: trouble.is_none(),
            path: plane.location().path().map(Path::to_owned),
            fix: trouble.is_some().then(|| plane.command(&["db-doctor"])),
            value: trouble,
            decides: true,
        }
    }

    async fn try_read(&mut self, plane: &Plane) -> Result<Vec<String>> {
        let found = doctor::examine(plane.location(), Arc::clone(&plane.clock), Some(CHAIN_ROWS)).await?;
        self.place.exists = found.exists;
        self.place.schema_version = found.schema_version;
        if let Some(ledger) = plane.ledger_to_read().await? {
            let known = dispatch::known(plane, ledger).await?;
            let known = known.into_iter().filter(|one| one.standing != Standing::Stopped);
            self.dispatchers.extend(known.map(|Known { row, standing }| DoctorDispatcher {
                id: row.id,
                alive: standing.lives(),
                state: standing,
                host: row.host,
                pid: row.pid,
                last_heartbeat_at: row.heartbeat_at,
            }));
            self.rollouts = rollouts(&mut *ledger.read().await?).await?;
        }
        Ok(found.checks.into_iter().filter(|check| !check.ok).map(|check| check.name).collect())
    }
}

async fn rollouts(db: &mut Db) -> Result<DoctorRollouts> {
    let mut sum = DoctorRollouts::default();
    for follow in follows::list(db, u32::MAX).await? {
        let counted = Counted::of(&follow);
        sum.followed += 1;
        sum.gaps += counted.gaps;
        sum.bad_lines.merge(&counted.bad);
        for (version, count) in counted.unknown {
            *sum.unknown_records.entry(version).or_default() += count;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::World;
    use crate::verbs::sessions::Sessions;

    fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
    }

    #[tokio::test]
    async fn what_is_missing_says_what_mends_it() {
        let world = World::new();
        let answer = world.run::<Doctor>(json!({ "cwd": "/not there" })).await.unwrap();
        let report = &answer.json;
        assert_eq!((answer.exit_code, &report["ok"]), (1, &json!(false)));
        // A test's environment has no PATH, hence no program.
        assert_eq!(
            report["failed"],
            json!(["tmux", "codex", "tmux_version", "codex_version", "target_cwd_exists"])
        );
        assert_eq!(check(report, "target_cwd_exists")["fix"], "mkdir -p '/not there'");
        assert_eq!(check(report, "dispatch")["decides"], false);
        assert_eq!((&report["ledger"]["exists"], &report["ledger"]["why"]), (&json!(false), &json!("named")));
        assert!(world.plane.ledger_to_read().await.unwrap().is_none(), "a doctor makes no ledger");
    }

    #[tokio::test]
    async fn what_was_not_understood_is_counted_by_version_over_all_rollouts() {
        use std::io::Write as _;
        let world = World::new();
        for (name, version, unknown, bad, leap) in
            [("w", "0.169.0", 2, 1, 7), ("w2", "0.144.0", 1, 2, 2), ("w3", "0.169.0", 1, 0, 3)]
        {
            let worker = world.session(name, conveyor_store::sessions::Role::Worker).await;
            let meta = json!({ "id": format!("thread-{name}"), "cli_version": version });
            world.record(&worker, "session_meta", meta).await;
            let mut file = std::fs::OpenOptions::new().append(true).open(world.rollout(&worker)).unwrap();
            let mut line = |ordinal: u64, kind: &str| {
                let at = world.plane.clock.now();
                let payload = json!({ "type": kind });
                let line = json!({
                    "timestamp": at, "ordinal": ordinal, "type": "event_msg", "payload": payload,
                });
                writeln!(file, "{line}").unwrap();
            };
            line(1, "task_started");
            line(leap, "task_complete");
            for number in 1..=unknown {
                line(leap + number, "never_seen_before");
            }
            for _ in 0..bad {
                writeln!(file, "not json").unwrap();
            }
            crate::ingest::session(&world.plane, &worker).await.unwrap();
        }
        let rollouts = world.json::<Doctor>(json!({})).await["rollouts"].clone();
        assert_eq!(rollouts["followed"], 3);
        assert_eq!(rollouts["unknown_records"], json!({ "0.144.0": 1, "0.169.0": 3 }));
        assert_eq!(rollouts["bad_lines"]["not_json"], 3);
        assert_eq!(rollouts["gaps"], 2, "from 1 to 2 nothing is missing");
    }

    #[tokio::test]
    async fn what_of_a_rollout_was_not_understood_is_counted() {
        let world = World::new();
        let worker = world.session("w", conveyor_store::sessions::Role::Worker).await;
        world.record(&worker, "event_msg", json!({ "type": "never_seen_before" })).await;
        let path = world.rollout(&worker);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("not json\n");
        std::fs::write(&path, text).unwrap();
        crate::ingest::session(&world.plane, &worker).await.unwrap();
        let report = world.json::<Doctor>(json!({})).await;
        assert_eq!(check(&report, "ledger")["ok"], true, "{report:#}");
        assert_eq!(
            (&report["rollouts"]["followed"], &report["rollouts"]["bad_lines"]["not_json"]),
            (&json!(1), &json!(1))
        );
        let unknown = report["rollouts"]["unknown_records"].as_object().unwrap();
        assert_eq!(unknown.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 1, "{report:#}");
        drop(world.json::<Sessions>(json!({})).await);
    }
}
