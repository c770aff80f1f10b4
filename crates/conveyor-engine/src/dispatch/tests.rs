use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use conveyor_model::delivery::Stage;
use conveyor_store::Db;
use conveyor_store::Engine;
use conveyor_store::Location;
use conveyor_store::audit;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::deliveries::list;
use conveyor_store::testing::Killer;
use conveyor_store::testing::Moment;
use conveyor_store::testing::Place;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::Effects;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;
use crate::verbs;

type Dispatching = verbs::dispatch::Dispatch;
type Nudge = verbs::enqueue_nudge_worker::EnqueueNudgeWorker;
type Notify = verbs::enqueue_notify_manager::EnqueueNotifyManager;
type WorkerInbox = verbs::worker_inbox::WorkerInbox;
type ManagerInbox = verbs::manager_inbox::ManagerInbox;

async fn nudge(world: &World, text: &str) -> Value {
    world.json::<Nudge>(json!({ "task": "t", "message": text })).await
}

/// The texts in a report's list of inbox items.
fn texts(items: &Value) -> Vec<String> {
    items.as_array().unwrap().iter().map(|item| item["message"].as_str().unwrap().to_owned()).collect()
}

async fn head(world: &World) -> i64 {
    audit::head(&mut world.plane.ledger().await.unwrap().read().await.unwrap()).await.unwrap().seq
}

async fn states(db: &mut Db) -> Vec<Stage> {
    let all = list(db, &conveyor_store::deliveries::Wanted::default(), 10_000).await.unwrap();
    all.into_iter().map(|delivery| delivery.state).collect()
}

#[tokio::test]
async fn messages_lie_in_the_inbox_in_the_order_in_which_they_were_accepted() {
    let world = World::new();
    world.bound().await;
    let sent: Vec<String> = (0..12).map(|n| format!("message {n}")).collect();
    for text in &sent {
        nudge(&world, text).await;
    }
    let report = world.json::<Dispatching>(json!({})).await;
    assert_eq!((&report["processed_count"], &report["iterations"]), (&json!(12), &json!(1)));
    let first = &report["processed"][0];
    assert_eq!(
        (&first["state"], &first["command_type"], &first["target_session"], &first["delivery_mode"]),
        (&json!("pull_required"), &json!("nudge_worker"), &json!("w"), &json!("pull_required"))
    );
    assert!(first["attempt_id"].is_i64() && first["side_effect_started"] == false);
    let inbox = world.json::<WorkerInbox>(json!({ "task": "t", "limit": 20 })).await;
    assert_eq!(texts(&inbox["items"]), sent);
    let again = world.json::<Dispatching>(json!({})).await;
    assert_eq!(again["processed_count"], 0, "what lies in an inbox is not dispatched again");
}

#[tokio::test]
async fn a_dry_run_writes_nothing_at_all() {
    let world = World::new();
    world.bound().await;
    nudge(&world, "hello").await;
    let before = head(&world).await;
    let report = world.json::<Dispatching>(json!({ "dry_run": true })).await;
    assert_eq!((&report["dry_run"], &report["processed"][0]["state"]), (&json!(true), &json!("planned")));
    let request = json!({ "dry_run": true, "watch": true, "watch_iterations": 2, "interval": 0.01 });
    let report = world.json::<Dispatching>(request).await;
    assert_eq!((&report["iterations"], &report["watch"]), (&json!(2), &json!(true)));
    assert_eq!(head(&world).await, before);
    assert_eq!(world.json::<Dispatching>(json!({})).await["processed_count"], 1, "it was not taken");
}

#[tokio::test]
async fn a_dry_run_makes_no_ledger() {
    let world = World::new();
    let report = world.json::<Dispatching>(json!({ "dry_run": true })).await;
    assert_eq!(report["processed_count"], 0);
    assert!(!world.plane.location().path().unwrap().exists());
}

#[tokio::test]
async fn a_permission_that_nothing_grants_is_denied() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let request = json!({ "task": "t", "message": "x", "required_permission": "allow_pr" });
    let receipt = world.json::<Nudge>(request.clone()).await;
    assert_eq!(receipt["permission_check"]["allowed"], false, "{receipt:#}");
    let report = world.json::<Dispatching>(json!({})).await;
    let item = &report["processed"][0];
    assert_eq!((&item["state"], &item["retry"]), (&json!("failed"), &json!("safe")), "{item:#}");
    assert!(item["error"].as_str().unwrap().starts_with("permission_not_enabled"));

    let mut tx = world.tx().await;
    let config = ManagerConfig {
        permissions_json: json!({ "repo": ["open_pr"] }),
        ..ManagerConfig::new(task.id.clone(), tx.now())
    };
    configs::put(&mut tx, config, told()).await.unwrap();
    tx.commit().await.unwrap();
    world.json::<Nudge>(request).await;
    let report = world.json::<Dispatching>(json!({})).await;
    assert_eq!(report["processed"][0]["state"], "pull_required");
    assert_eq!(report["processed"][0]["permission_check"]["allowed"], true);
}

#[tokio::test]
async fn a_message_for_an_unbound_task_fails_visibly_or_goes_to_whom_it_is_bound_to_by_then() {
    let world = World::new();
    world.task("t").await;
    let receipt = nudge(&world, "too early").await;
    assert_eq!(receipt["binding_id"], json!(null));
    assert_eq!(receipt["warnings"].as_array().unwrap().len(), 1, "{receipt:#}");
    let report = world.json::<Dispatching>(json!({})).await;
    assert_eq!(report["processed"][0]["state"], "failed");
    nudge(&world, "in time").await;
    for (name, role) in [("w", sessions_role("worker")), ("m", sessions_role("manager"))] {
        world.session(name, role).await;
    }
    world.json::<verbs::bind::Bind>(json!({ "task": "t", "worker": "w", "manager": "m" })).await;
    let report = world.json::<Dispatching>(json!({})).await;
    assert_eq!(report["processed"][0]["target_session"], "w", "{report:#}");
    assert_eq!(texts(&world.json::<WorkerInbox>(json!({ "task": "t" })).await["items"]), ["in time"]);
}

fn sessions_role(word: &str) -> conveyor_store::sessions::Role {
    word.parse().unwrap()
}

#[tokio::test]
async fn the_same_key_is_the_same_command_and_another_content_a_conflict() {
    let world = World::new();
    world.bound().await;
    let ask = |text: &str| json!({ "task": "t", "message": text, "idempotency_key": "k" });
    let first = world.json::<Notify>(ask("a")).await;
    let second = world.json::<Notify>(ask("a")).await;
    assert_eq!((&first["deduplicated"], &second["deduplicated"]), (&json!(false), &json!(true)));
    assert_eq!(first["command_id"], second["command_id"]);
    let error = world.error::<Notify>(ask("b")).await;
    assert_eq!(error.kind, conveyor_model::ErrorKind::Conflict);
    for bad in [json!({ "message": " \u{7}" }), json!({ "message": "x", "required_permission": "fly" })] {
        let mut request = bad;
        request["task"] = json!("t");
        assert_eq!(world.error::<Notify>(request).await.kind, conveyor_model::ErrorKind::Usage);
    }
}

#[tokio::test]
async fn a_turn_end_in_a_rollout_reaches_the_managers_inbox_in_one_pass() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.turn_begins(&worker, "turn-1").await;
    world.turn_ends(&worker, "turn-1").await;
    let report = world.json::<Dispatching>(json!({})).await;
    let item = &report["processed"][0];
    assert_eq!(
        (&item["signal_type"], &item["task"]),
        (&json!("worker_task_complete"), &json!("t")),
        "{report:#}"
    );
    assert_eq!(item["command_type"], json!(null));
    let inbox = world.json::<ManagerInbox>(json!({ "task": "t", "consume_next": true })).await;
    assert_eq!(inbox["consumed"]["signal_type"], "worker_task_complete");
    assert!(inbox["consumed"]["payload"]["worker_receipt"]["turn_id"] == "turn-1", "{inbox:#}");
}

#[tokio::test]
async fn an_unreadable_rollout_is_noted_and_stops_nothing() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.turn_begins(&worker, "turn-1").await;
    world.json::<Dispatching>(json!({})).await;
    std::fs::remove_file(world.rollout(&worker)).unwrap();
    nudge(&world, "hello").await;
    let report = world.json::<Dispatching>(json!({})).await;
    assert_eq!(report["processed"][0]["state"], "pull_required");
    let ledger = world.plane.ledger().await.unwrap();
    let open =
        conveyor_store::attention::open(&mut ledger.read().await.unwrap(), None, None, 10).await.unwrap();
    assert_eq!(open.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), ["rollout_unreadable"]);
    world.turn_begins(&worker, "turn-2").await;
    world.json::<Dispatching>(json!({})).await;
    let open =
        conveyor_store::attention::open(&mut ledger.read().await.unwrap(), None, None, 10).await.unwrap();
    assert_eq!(open, []);
}

#[tokio::test]
async fn a_message_that_was_put_off_does_not_hold_up_the_others() {
    let world = World::new();
    world.bound().await;
    let late = json!({ "task": "t", "message": "late", "available_at": "2999-01-01T00:00:00Z" });
    world.json::<Nudge>(late).await;
    nudge(&world, "now").await;
    assert_eq!(world.json::<Dispatching>(json!({})).await["processed_count"], 1);
    assert_eq!(texts(&world.json::<WorkerInbox>(json!({ "task": "t" })).await["items"]), ["now"]);
}

#[tokio::test]
async fn commands_cannot_use_up_the_limit_of_turn_ends() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    for n in 0..5 {
        nudge(&world, &n.to_string()).await;
    }
    world.turn_begins(&worker, "turn-1").await;
    world.turn_ends(&worker, "turn-1").await;
    let report = world.json::<Dispatching>(json!({ "limit": 2 })).await;
    assert_eq!(report["processed_count"], 3, "{report:#}");
    let report = world.json::<Dispatching>(json!({ "type": "worker_task_complete" })).await;
    assert_eq!(report["processed_count"], 0, "only that kind is taken");
}

/// A PostgreSQL database of its own, and how the command line names it.
async fn database() -> (Place, String) {
    let place = Place::new(Engine::Postgres).await.unwrap();
    let Location::Postgres(url) = place.location() else { panic!("it is a database") };
    let url = url.clone();
    (place, url)
}

#[tokio::test]
async fn two_dispatchers_lose_and_double_nothing() {
    two_dispatchers(World::new()).await;
}

#[tokio::test]
async fn two_dispatchers_lose_and_double_nothing_on_postgres() {
    let (_place, url) = database().await;
    two_dispatchers(World::at(&url)).await;
}

async fn two_dispatchers(world: World) {
    let (_, worker, _) = world.bound().await;
    for n in 0..40 {
        nudge(&world, &n.to_string()).await;
    }
    for n in 0..30 {
        world.turn_begins(&worker, &format!("turn-{n}")).await;
        world.turn_ends(&worker, &format!("turn-{n}")).await;
    }
    let other = world.seen_by(crate::Caller::Person);
    let (one, two) = tokio::join!(
        run::<Dispatching>(&world.plane, json!({ "dispatcher_id": "one" })),
        run::<Dispatching>(&other, json!({ "dispatcher_id": "two" })),
    );
    let reports = [one.unwrap().json, two.unwrap().json];
    let mut done: Vec<String> = Vec::new();
    for report in &reports {
        for item in report["processed"].as_array().unwrap() {
            done.push(item["command_id"].as_str().unwrap().to_owned());
        }
    }
    let distinct: BTreeSet<&String> = done.iter().collect();
    assert_eq!((done.len(), distinct.len()), (70, 70));
    let inbox = world.json::<WorkerInbox>(json!({ "task": "t", "limit": 100 })).await;
    assert_eq!(texts(&inbox["items"]), (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_thousand_messages_are_carried_out_in_batches() {
    let world = World::new();
    let (task, worker, manager) = world.bound().await;
    let mut tx = world.tx().await;
    for n in 0..1_000 {
        let mut new = crate::message::new(&world.plane, Kind::NudgeWorker, &worker, &n.to_string());
        let binding = conveyor_store::bindings::active_of_task(&mut tx, &task.id).await.unwrap().unwrap();
        (new.task, new.source) = (Some(task.id.clone()), Some(manager.id.clone()));
        new.binding = Some(binding.id);
        conveyor_store::deliveries::insert(&mut tx, new, told()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let report = world.json::<Dispatching>(json!({})).await;
    assert_eq!((&report["processed_count"], &report["truncated"]), (&json!(1_000), &json!(true)));
    assert_eq!(report["processed"].as_array().unwrap().len(), 100);
    assert!(report["next"].as_str().unwrap().contains("commands"));
}

/// Kills a dispatcher at each of its writes in turn, and lets another one finish: everything arrives, once.
#[tokio::test]
async fn a_dispatcher_that_is_killed_at_any_write_leaves_nothing_lost_or_doubled() {
    for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
        for write in 1..10 {
            let world = World::new();
            let (_, worker, _) = world.bound().await;
            nudge(&world, "one").await;
            world.turn_begins(&worker, "turn-1").await;
            world.turn_ends(&worker, "turn-1").await;
            let killer = Arc::new(Killer::new(write, moment));
            let effects =
                Effects { gate: Arc::clone(&killer) as Arc<dyn conveyor_store::Gate>, ..Effects::real() };
            let db = world.plane.location().to_string();
            let environment = world.plane.environment.clone();
            let doomed = Plane::with(environment, crate::Caller::Person, Some(&db), effects).unwrap();
            let survived = run::<Dispatching>(&doomed, json!({ "dispatcher_id": "doomed" })).await.is_ok();
            drop(doomed);
            assert_eq!(survived, !killer.has_killed());
            world.json::<Dispatching>(json!({})).await;
            let worker = world.json::<WorkerInbox>(json!({ "task": "t" })).await;
            let manager = world.json::<ManagerInbox>(json!({ "task": "t" })).await;
            assert_eq!(texts(&worker["items"]), ["one"], "{moment:?} {write}");
            assert_eq!(manager["items"].as_array().unwrap().len(), 1, "{moment:?} {write}");
            let states = states(&mut world.plane.ledger().await.unwrap().read().await.unwrap()).await;
            assert_eq!(states, [Stage::Pending, Stage::Pending]);
            if survived {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_second_watch_of_the_same_name_says_so() {
    let world = World::new();
    world.bound().await;
    let ledger = world.plane.ledger().await.unwrap();
    let held = ledger.try_lock(&lock_name("dispatch-local")).await.unwrap();
    let error = world.error::<Dispatching>(json!({ "watch": true, "watch_iterations": 1 })).await;
    assert_eq!(error.kind, conveyor_model::ErrorKind::Conflict);
    nudge(&world, "x").await;
    let once = world.json::<Dispatching>(json!({})).await;
    assert_eq!(once["processed_count"], 1, "a single pass runs beside a watch");
    drop(held);
    assert_eq!(
        world.json::<Dispatching>(json!({ "watch": true, "watch_iterations": 1 })).await["iterations"],
        1
    );
}

/// Far above what a wake takes, far below what a sweep takes.
const WAKE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn the_bell_and_a_growing_rollout_wake_a_watch_without_its_sweep() {
    wakes(World::new()).await;
}

#[tokio::test]
async fn the_bell_and_a_growing_rollout_wake_a_watch_without_its_sweep_on_postgres() {
    let (_place, url) = database().await;
    wakes(World::at(&url)).await;
}

async fn wakes(world: World) {
    let (_, worker, _) = world.bound().await;
    world.turn_begins(&worker, "turn-0").await;
    let watcher = world.seen_by(crate::Caller::Person);
    let reader = world.seen_by(crate::Caller::Person);
    let watch = run::<Dispatching>(&watcher, json!({ "watch": true }));
    let script = async {
        while alive(&world.plane).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        for n in 0..20 {
            nudge(&world, &n.to_string()).await;
            let request = json!({ "task": "t", "consume_next": true, "wait": true, "timeout": 20 });
            let got =
                tokio::time::timeout(WAKE, run::<WorkerInbox>(&reader, request)).await.expect("no wake came");
            assert_eq!(got.unwrap().json["consumed"]["message"], n.to_string());
            world.turn_begins(&worker, &format!("turn-{n}")).await;
            world.turn_ends(&worker, &format!("turn-{n}")).await;
            let request = json!({ "task": "t", "consume_next": true, "wait": true, "timeout": 20 });
            let got = tokio::time::timeout(WAKE, run::<ManagerInbox>(&reader, request))
                .await
                .expect("no wake came");
            assert_eq!(
                got.unwrap().json["consumed"]["payload"]["worker_receipt"]["turn_id"],
                format!("turn-{n}")
            );
        }
        watcher.ask_to_stop();
    };
    let (report, ()) = tokio::join!(watch, script);
    let report = report.unwrap().json;
    assert_eq!(
        (&report["processed_count"], &report["found_by_sweep"]),
        (&json!(40), &json!(0)),
        "{report:#}"
    );
    assert_eq!(alive(&world.plane).await.unwrap(), None);
}

#[tokio::test]
async fn a_stop_asked_for_over_the_ledger_ends_a_watch() {
    let world = World::new();
    world.bound().await;
    let watcher = world.seen_by(crate::Caller::Person);
    let watch = run::<Dispatching>(&watcher, json!({ "watch": true }));
    let script = async {
        while alive(&world.plane).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let status = world.json::<Dispatching>(json!({ "status": true })).await;
        assert_eq!((&status["running"], &status["pid"]), (&json!(true), &json!(std::process::id())));
        world.json::<Dispatching>(json!({ "stop": true })).await
    };
    let (report, stopped) = tokio::join!(watch, script);
    assert!(report.is_ok());
    assert_eq!((&stopped["stopped"], &stopped["running"]), (&json!(true), &json!(false)));
    assert_eq!(world.json::<Dispatching>(json!({ "stop": true })).await["running"], false);
}
