//! `db-doctor`: is the ledger sound? Looks before anything is repaired, and makes none.

use std::sync::Arc;

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::ids::BindingId;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::doctor;
use conveyor_store::doctor::Check;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use super::sessions::is_alive;
use crate::Plane;
use crate::locate::Why;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Check the ledger
///
/// Checks file modes, schema, integrity, foreign keys and the audit chain, changes nothing and makes no ledger. With
/// `--live` also what the ledger says of processes and bindings.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct DbDoctorRequest {
    /// Also look for sessions whose process has ended and for bindings of sessions that are gone
    #[arg(long)]
    #[serde(default)]
    pub live: bool,
    /// Check only so many of the last audit rows instead of all
    #[arg(long, value_name = "ROWS")]
    pub chain: Option<u32>,
    /// Accepted for old scripts: liveness is the process's, not an age
    #[arg(long, hide = true)]
    pub manager_stale_seconds: Option<u64>,
}

impl Request for DbDoctorRequest {}

/// A session whose process has ended.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DeadSession {
    /// Its name.
    pub name: Name,
    /// What it does.
    pub role: Role,
    /// The process that was registered.
    pub pid: Option<i64>,
}

/// A binding of which one side is gone.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DanglingBinding {
    /// The binding.
    pub binding_id: BindingId,
    /// Its task.
    pub task: Option<Name>,
    /// The sessions that are gone.
    pub gone: Vec<Name>,
}

/// What the ledger says of things outside that is not so.
#[derive(Serialize, JsonSchema, Debug, Default)]
pub struct Live {
    /// Whether nothing was found.
    pub ok: bool,
    /// Active sessions of this host whose process has ended.
    pub dead_pid_sessions: Vec<DeadSession>,
    /// Active bindings of which one side is gone.
    pub dangling_bindings: Vec<DanglingBinding>,
}

/// What was found.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DbDoctorReport {
    /// Whether all is as it should be. A ledger that does not exist yet is.
    pub ok: bool,
    /// Where it was looked.
    pub path: String,
    /// Why there.
    pub why: Why,
    /// Whether a ledger is there.
    pub exists: bool,
    /// Version of its schema.
    pub schema_version: Option<i64>,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
    /// Names of the checks that failed.
    pub failed: Vec<String>,
    /// What was repaired: nothing, for this only looks.
    pub repaired: Vec<String>,
    /// What is not so outside, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_reconcile: Option<Live>,
    /// What to run next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Report for DbDoctorReport {
    fn exit_code(&self) -> u8 {
        u8::from(!self.ok)
    }
}

/// The verb.
pub struct DbDoctor;

impl Verb for DbDoctor {
    const NAME: &'static str = "db-doctor";
    const GROUP: Group = Group::Diagnose;
    const EFFECT: Effect = Effect::Reads;
    type Request = DbDoctorRequest;
    type Report = DbDoctorReport;

    async fn run(plane: &Plane, request: DbDoctorRequest) -> Result<DbDoctorReport> {
        let chain = request.chain.map(i64::from);
        let findings = doctor::examine(plane.location(), Arc::clone(&plane.clock), chain).await?;
        let sound = findings.ok();
        let mut checks = findings.checks;
        let look = request.live && sound && findings.exists;
        let live = if look { Some(live(plane).await?) } else { None };
        if let Some(live) = &live {
            let drift = live.dead_pid_sessions.len() + live.dangling_bindings.len();
            let found = json!({ "drift_count": drift });
            checks.push(Check { name: "live_reconcile".to_owned(), ok: live.ok, found });
        }
        let drifts = live.as_ref().is_some_and(|live| !live.ok);
        let failed: Vec<String> =
            checks.iter().filter(|check| !check.ok).map(|check| check.name.clone()).collect();
        Ok(DbDoctorReport {
            ok: failed.is_empty(),
            path: findings.location,
            why: plane.located().why,
            exists: findings.exists,
            schema_version: findings.schema_version,
            failed,
            checks,
            repaired: Vec::new(),
            live_reconcile: live,
            next: drifts.then(|| plane.command(&["reconcile"])),
        })
    }
}

async fn live(plane: &Plane) -> Result<Live> {
    let Some(ledger) = plane.ledger_to_read().await? else { return Ok(Live { ok: true, ..Live::default() }) };
    let mut reader = ledger.read().await?;
    let dead_pid_sessions = dead(plane, &mut reader).await?;
    let dangling_bindings = dangling(&mut reader).await?;
    let ok = dead_pid_sessions.is_empty() && dangling_bindings.is_empty();
    Ok(Live { ok, dead_pid_sessions, dangling_bindings })
}

async fn dead(plane: &Plane, db: &mut Db) -> Result<Vec<DeadSession>> {
    let wanted = sessions::Wanted {
        state: Some(SessionState::Active),
        host: Some(plane.environment.host.clone()),
        ..sessions::Wanted::default()
    };
    let all = sessions::list(db, &wanted, u32::MAX).await?;
    let dead = all.into_iter().filter(|session| is_alive(session) == Some(false));
    let row = |session: Session| DeadSession { name: session.name, role: session.role, pid: session.pid };
    Ok(dead.map(row).collect())
}

async fn dangling(db: &mut Db) -> Result<Vec<DanglingBinding>> {
    let mut found = Vec::new();
    for binding in bindings::list(db, true, u32::MAX).await? {
        let mut gone = Vec::new();
        for id in [&binding.worker_session_id, &binding.manager_session_id] {
            let session = resolve::by_id(db, id).await?;
            if session.state == SessionState::Gone {
                gone.push(session.name);
            }
        }
        if !gone.is_empty() {
            let task = tasks::get(db, &binding.task_id).await?.map(|task| task.name);
            found.push(DanglingBinding { binding_id: binding.id, task, gone });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_look_makes_no_ledger_and_succeeds() {
        let world = World::new();
        let answer = world.run::<DbDoctor>(json!({ "live": true })).await.unwrap();
        assert_eq!(
            (answer.exit_code, &answer.json["exists"], &answer.json["ok"]),
            (0, &json!(false), &json!(true))
        );
        assert!(world.plane.ledger_to_read().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_sound_ledger_passes_every_check() {
        let world = World::new();
        world.bound().await;
        let answer = world.run::<DbDoctor>(json!({ "live": true })).await.unwrap();
        assert_eq!(answer.exit_code, 0, "{:#}", answer.json);
        let checks: Vec<&str> = answer.json["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|check| check["name"].as_str())
            .collect();
        for name in
            ["schema_version", "integrity_check", "foreign_key_check", "required_triggers", "audit_chain"]
        {
            assert!(checks.contains(&name), "{name} is not among {checks:?}");
        }
    }

    #[tokio::test]
    async fn a_dead_process_and_a_dangling_binding_are_told_and_left_as_they_are() {
        let world = World::new();
        let (_, worker, manager) = world.bound().await;
        let mut tx = world.tx().await;
        let dead = Session { pid: Some(1), pid_start_ticks: Some(7), ..worker.clone() };
        sessions::update(&mut tx, &dead, crate::testing::told()).await.unwrap();
        sessions::mark_gone(&mut tx, &manager.id, crate::testing::told()).await.unwrap();
        tx.commit().await.unwrap();
        let told = world.told().await.len();
        let answer = world.run::<DbDoctor>(json!({ "live": true })).await.unwrap();
        assert_eq!(answer.exit_code, 1);
        let live = &answer.json["live_reconcile"];
        assert_eq!(live["dead_pid_sessions"], json!([{ "name": "w", "role": "worker", "pid": 1 }]));
        assert_eq!(
            (&live["dangling_bindings"][0]["task"], &live["dangling_bindings"][0]["gone"]),
            (&json!("t"), &json!(["m"]))
        );
        assert_eq!(answer.json["failed"], json!(["live_reconcile"]));
        assert_eq!(world.told().await.len(), told);
    }
}
