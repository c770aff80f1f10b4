use std::path::Path;

use conveyor_model::ErrorKind;
use conveyor_store::events;
use conveyor_store::follows;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::Caller;
use crate::ingest;
use crate::testing;
use crate::testing::World;
use crate::verbs::deregister::Deregister;
use crate::verbs::register_manager::RegisterManager;
use crate::verbs::register_worker::RegisterWorker;
use crate::verbs::sessions::Sessions;

const THREAD: &str = "01a203b1-5a77-7b02-adb4-ea3209f7045a";
const OTHER: &str = "01a203b7-5c3e-7f71-8c28-0c5e1b209c48";

/// A rollout of a thread, with so many turns.
fn rollout(folder: &Path, thread: &str, turns: usize) -> String {
    let path = folder.join(format!("rollout-2026-11-22T14-34-25-{thread}.jsonl"));
    let begun =
        |turn| line("event_msg", &json!({ "type": "task_started", "turn_id": format!("turn-{turn}") }));
    let meta = line("session_meta", &json!({ "id": thread, "cwd": "/srv/project" }));
    let lines = std::iter::once(meta).chain((0..turns).map(begun));
    let text: String = lines.map(|line| line.to_string() + "\n").collect();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn line(kind: &str, payload: &Value) -> Value {
    json!({ "timestamp": "2026-11-22T14:34:25.000Z", "type": kind, "payload": payload })
}

fn kind(result: Result<crate::verb::Answer>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

#[tokio::test]
async fn a_person_registers_a_rollout_and_gets_a_session_that_reads_its_inbox() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = rollout(folder.path(), THREAD, 1);
    let report =
        world.json::<RegisterWorker>(json!({ "name": "w", "codex_session": path, "no_tmux": true })).await;
    assert_eq!((&report["codex_session_id"], &report["proof"]), (&json!(THREAD), &json!("named")));
    assert_eq!((&report["cwd"], &report["delivery"]), (&json!("/srv/project"), &json!("pull")));
    assert_eq!((&report["pane"], &report["re_registered"]), (&json!(null), &json!(false)));
    assert_eq!(report["communication"]["session_kind"], "no_tmux");
    assert!(report["next"].as_str().unwrap().contains("session-inbox w --consume-next --wait --db"));
}

#[tokio::test]
async fn registering_again_keeps_the_position_and_stores_no_event_twice() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let request = json!({ "name": "w", "codex_session": rollout(folder.path(), THREAD, 4), "no_tmux": true });
    world.json::<RegisterWorker>(request.clone()).await;
    let session = only(&world).await;
    ingest::session(&world.plane, &session).await.unwrap();
    let again = world.json::<RegisterWorker>(request).await;
    assert_eq!((&again["re_registered"], &again["session_id"]), (&json!(true), &json!(session.id)));
    ingest::session(&world.plane, &only(&world).await).await.unwrap();
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    assert_eq!(events::count(&mut reader, session.number, 0).await.unwrap(), 5);
    assert!(follows::get(&mut reader, THREAD).await.unwrap().unwrap().position > 0);
}

async fn only(world: &World) -> Session {
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let mut all = sessions::list(&mut reader, &sessions::Wanted::default(), 9).await.unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test]
async fn a_file_that_is_no_rollout_is_told_what_it_is_instead() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("empty.jsonl", Vec::new(), "still empty"),
        ("array.jsonl", b"[1]\n".to_vec(), "no object"),
        ("foreign.jsonl", b"{\"type\":\"event_msg\",\"payload\":{}}\n".to_vec(), "not `session_meta`"),
        ("zst.jsonl", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0], "compressed"),
    ];
    for (name, bytes, why) in cases {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let path = folder.path().join(name);
        let error = world.error::<RegisterWorker>(json!({ "name": "w", "codex_session": path })).await;
        assert_eq!(error.kind, ErrorKind::Rollout, "{name}: {error}");
        assert!(error.message.contains(why), "{name}: {error}");
    }
    for path in [folder.path().join("missing.jsonl"), folder.path().to_owned()] {
        let error = world.error::<RegisterWorker>(json!({ "name": "w", "codex_session": path })).await;
        assert_eq!(error.kind, ErrorKind::Rollout, "{error}");
    }
    assert_eq!(world.json::<Sessions>(json!({})).await, json!([]));
}

#[tokio::test]
async fn an_active_name_is_never_given_to_another_thread() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (rollout(folder.path(), THREAD, 0), rollout(folder.path(), OTHER, 0));
    let request = |name, path: &str| json!({ "name": name, "codex_session": path, "no_tmux": true });
    world.json::<RegisterWorker>(request("w", &first)).await;
    // The same process is named, but nothing proves that it has either thread.
    let mut taken = request("w", &second);
    taken["pid"] = json!(std::process::id());
    assert_eq!(kind(world.run::<RegisterWorker>(taken).await), Some(ErrorKind::Conflict));
    let renamed = world.error::<RegisterWorker>(request("x", &first)).await;
    assert!(renamed.message.contains("registered as `w` already"), "{renamed}");
    assert_eq!(kind(world.run::<RegisterManager>(request("w", &first)).await), Some(ErrorKind::Conflict));
    assert_eq!(kind(world.run::<RegisterManager>(request("w", &second)).await), Some(ErrorKind::Conflict));
    world.json::<Deregister>(json!({ "name": "w" })).await;
    let fresh = world.json::<RegisterManager>(request("w", &second)).await;
    assert_eq!(fresh["re_registered"], false, "a gone session's name is free");
}

#[tokio::test]
async fn wrong_usage_is_refused_before_anything_is_looked_at() {
    let world = World::new();
    let wrong = [
        json!({}),
        json!({ "name": "w", "setup_code": "7F2K" }),
        json!({ "name": "w", "no_tmux": true, "tmux_session": "x" }),
        json!({ "name": "w" }),
    ];
    for request in wrong {
        assert_eq!(
            kind(world.run::<RegisterWorker>(request.clone()).await),
            Some(ErrorKind::Usage),
            "{request}"
        );
    }
    let goal = json!({ "name": "m", "goal": "g" });
    assert_eq!(kind(world.run::<RegisterManager>(goal).await), Some(ErrorKind::Usage));
}

/// Registers a thread by a setup code.
async fn set_up(world: &World, role: Role, thread: &str, goal: Option<&str>) -> Value {
    let plane = world.agent(thread);
    let mut request = json!({ "setup_code": "7F2K", "no_tmux": true });
    let answer = match role {
        Role::Worker => testing::run::<RegisterWorker>(&plane, request).await,
        Role::Manager => {
            request["goal"] = json!(goal);
            testing::run::<RegisterManager>(&plane, request).await
        }
    };
    answer.unwrap().json
}

#[tokio::test]
async fn a_setup_code_pairs_whoever_comes_first() {
    for worker_first in [true, false] {
        let world = World::new();
        let order = if worker_first { [Role::Worker, Role::Manager] } else { [Role::Manager, Role::Worker] };
        let first = set_up(&world, order[0], "a", Some("ship it")).await;
        assert_eq!(first["binding"], Value::Null, "{first:#}");
        let second = set_up(&world, order[1], "b", Some("ship it")).await;
        assert!(second["binding"].is_string(), "{second:#}");
        assert_eq!(second["task"], "dashboard-7F2K");
        let names = (&second["worker"], &second["manager"]);
        assert_eq!(names, (&json!("dashboard-7F2K-worker"), &json!("dashboard-7F2K-manager")));
        let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
        let task = tasks::by_name(&mut reader, &"dashboard-7F2K".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((task.goal.as_str(), task.state), ("ship it", tasks::TaskState::Managed));
        drop(reader);
        // Once more changes nothing.
        let again = set_up(&world, order[1], "b", Some("ship it")).await;
        assert_eq!((&again["re_registered"], &again["binding"]), (&json!(true), &second["binding"]));
    }
}

#[tokio::test]
async fn an_unrelated_session_with_the_derived_name_leads_to_a_suffix() {
    let world = World::new();
    world.session("dashboard-7F2K-worker", Role::Manager).await;
    let worker = set_up(&world, Role::Worker, "a", None).await;
    assert_eq!(worker["name"], "dashboard-7F2K-worker-2");
    let manager = set_up(&world, Role::Manager, "b", Some("g")).await;
    assert_eq!(manager["worker"], "dashboard-7F2K-worker-2", "it is found by its suffix too");
    assert!(manager["binding"].is_string());
}

#[tokio::test]
async fn two_possible_workers_are_left_to_the_user() {
    let world = World::new();
    set_up(&world, Role::Worker, "a", None).await;
    set_up(&world, Role::Worker, "b", None).await;
    let manager = set_up(&world, Role::Manager, "c", Some("g")).await;
    assert_eq!(manager["binding"], Value::Null, "{manager:#}");
    let warning =
        manager["warnings"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains("several"));
    assert!(warning, "{manager:#}");
}

#[tokio::test]
async fn a_session_that_has_another_name_takes_that_of_the_setup_while_it_is_unbound() {
    let world = World::new();
    let session = world.session("w", Role::Worker).await;
    let report = set_up(&world, Role::Worker, "w", None).await;
    assert_eq!((&report["session_id"], &report["re_registered"]), (&json!(session.id), &json!(true)));
    assert_eq!(report["name"], "dashboard-7F2K-worker");
    let bound = World::new();
    bound.bound().await;
    let (agent, request) = (bound.agent("w"), json!({ "setup_code": "7F2K", "no_tmux": true }));
    let refused = testing::run::<RegisterWorker>(&agent, request).await;
    assert_eq!(kind(refused), Some(ErrorKind::Conflict));
}

#[tokio::test]
async fn the_calls_of_a_registered_thread_find_its_ledger() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = rollout(folder.path(), THREAD, 0);
    world.json::<RegisterWorker>(json!({ "name": "w", "codex_session": path, "no_tmux": true })).await;
    let located = locate::ledger(&world.plane.environment, Some(THREAD), None).unwrap();
    assert_eq!((located.why, &located.location), (locate::Why::Thread, world.plane.location()));
}

#[tokio::test]
async fn an_agent_over_mcp_registers_nobody_but_itself() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = rollout(folder.path(), THREAD, 0);
    let request = json!({ "name": "w", "codex_session": path, "no_tmux": true });
    let refused = testing::run::<RegisterWorker>(&world.agent("a"), request.clone()).await;
    assert_eq!(kind(refused), Some(ErrorKind::Refused));
    let free = Caller::Tool {
        thread: Some("thread-a".to_owned()),
        sandbox_mode: Some("danger-full-access".to_owned()),
    };
    assert!(testing::run::<RegisterWorker>(&world.seen_by(free), request).await.is_ok());
    assert_eq!(only(&world).await.state, SessionState::Active);
}
