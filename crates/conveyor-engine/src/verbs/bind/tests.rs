use conveyor_model::ErrorKind;
use conveyor_store::Engine;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::sessions;
use conveyor_store::tasks;
use conveyor_store::testing::Place;
use serde_json::json;

use super::*;
use crate::ingest;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;

fn three(task: &str, worker: &str, manager: &str) -> serde_json::Value {
    json!({ "task": task, "worker": worker, "manager": manager })
}

#[tokio::test]
async fn a_task_becomes_managed_and_a_repetition_changes_nothing() {
    let world = World::new();
    let task = world.task("t").await;
    world.session("w", Role::Worker).await;
    world.session("m", Role::Manager).await;
    let first = world.json::<Bind>(three("t", "w", "m")).await;
    assert_eq!(first["task"], "t");
    assert_eq!(first["worker"], "w");
    assert_eq!(first["manager"], "m");
    assert_eq!(first["already_bound"], false);
    assert_eq!(first["task_state"], "managed");
    assert!(first["next"].as_str().unwrap().contains(" cycle t --db "), "{first}");
    let before = world.told().await;
    assert_eq!(before[before.len() - 2..], ["w works on t under m.", "The task t is managed."]);

    let again = world.json::<Bind>(three(task.id.as_str(), "w", "m")).await;
    assert_eq!(again["already_bound"], true);
    assert_eq!(again["binding_id"], first["binding_id"]);
    assert_eq!(world.told().await, before);
}

#[tokio::test]
async fn each_refusal_names_what_stands_against_it_and_writes_nothing() {
    let world = World::new();
    for name in ["t", "t2", "done"] {
        world.task(name).await;
    }
    for (name, role) in [("w", Role::Worker), ("w2", Role::Worker), ("gone", Role::Worker)] {
        world.session(name, role).await;
    }
    world.session("m", Role::Manager).await;
    let mut tx = world.tx().await;
    let gone = sessions::by_name(&mut tx, &"gone".parse().unwrap()).await.unwrap().unwrap();
    sessions::mark_gone(&mut tx, &gone.id, told()).await.unwrap();
    let done = tasks::by_name(&mut tx, &"done".parse().unwrap()).await.unwrap().unwrap();
    tasks::update(&mut tx, &tasks::Task { state: TaskState::Done, ..done }, told()).await.unwrap();
    tx.commit().await.unwrap();
    world.json::<Bind>(three("t", "w", "m")).await;

    let before = world.told().await;
    let cases = [
        (three("none", "w", "m"), ErrorKind::NotFound, "no task `none`"),
        (three("t2", "none", "m"), ErrorKind::NotFound, "no session `none`"),
        (three("t2", "m", "m"), ErrorKind::Conflict, "`m` is a manager, not a worker"),
        (three("t2", "w2", "none"), ErrorKind::NotFound, "no session `none`"),
        (three("t2", "w2", "w"), ErrorKind::Conflict, "`w` is a worker, not a manager"),
        (three("t2", "gone", "m"), ErrorKind::NotFound, "`gone` is gone"),
        (three("done", "w2", "m"), ErrorKind::Conflict, "the task `done` is done"),
        (three("t", "w2", "m"), ErrorKind::Conflict, "`t` is bound already: w works on it under m"),
        (three("t2", "w", "m"), ErrorKind::Conflict, "`w` works on the task `t` already"),
    ];
    for (request, kind, message) in cases {
        let error = world.error::<Bind>(request.clone()).await;
        assert_eq!(error.kind, kind, "{request}: {error}");
        assert!(error.message.contains(message), "{request}: {error}");
        assert!(error.hint.is_some(), "{request}");
    }
    assert_eq!(world.told().await, before);
    // A manager may have several.
    assert_eq!(world.json::<Bind>(three("t2", "w2", "m")).await["already_bound"], false);
}

#[tokio::test]
async fn what_the_worker_did_before_is_told_to_nobody() {
    let world = World::new();
    world.task("t").await;
    let worker = world.session("w", Role::Worker).await;
    let manager = world.session("m", Role::Manager).await;
    world.turn_begins(&worker, "turn-1").await;
    world.turn_ends(&worker, "turn-1").await;
    world.turn_begins(&worker, "turn-2").await;
    world.json::<Bind>(three("t", "w", "m")).await;

    let task = resolve::task(&mut *world.tx().await, "t").await.unwrap();
    let binding = bindings::active_of_task(&mut *world.tx().await, &task.id).await.unwrap().unwrap();
    assert_eq!(binding.start_turn_id.as_deref(), Some("turn-2"));
    assert_eq!(binding.start_thread_id.as_deref(), Some("thread-w"));
    let length = std::fs::metadata(world.rollout(&worker)).unwrap().len();
    assert_eq!(binding.start_offset, Some(length as i64));
    assert_eq!(binding.start_event_id, Some(3));

    world.turn_ends(&worker, "turn-2").await;
    ingest::session(&world.plane, &worker).await.unwrap();
    assert_eq!(deliveries::open_for(&mut *world.tx().await, &manager.id, 10).await.unwrap(), []);
    world.turn_begins(&worker, "turn-3").await;
    world.turn_ends(&worker, "turn-3").await;
    ingest::session(&world.plane, &worker).await.unwrap();
    assert_eq!(deliveries::open_for(&mut *world.tx().await, &manager.id, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_manager_binds_only_itself() {
    let world = World::new();
    world.task("t").await;
    world.session("w", Role::Worker).await;
    world.session("m", Role::Manager).await;
    world.session("other", Role::Manager).await;
    let refused = run::<Bind>(&world.agent("other"), three("t", "w", "m")).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Refused);
    let bound = run::<Bind>(&world.agent("m"), three("t", "w", "m")).await.unwrap();
    assert_eq!(bound.json["already_bound"], false);
}

#[tokio::test]
async fn of_four_at_once_one_wins_on_sqlite() {
    of_four_at_once_one_wins(&World::new()).await;
}

#[tokio::test]
async fn of_four_at_once_one_wins_on_postgres() {
    let place = Place::new(Engine::Postgres).await.unwrap();
    let conveyor_store::Location::Postgres(url) = place.location() else { unreachable!() };
    of_four_at_once_one_wins(&World::at(url)).await;
}

/// Four processes bind the same task, each to another worker.
async fn of_four_at_once_one_wins(world: &World) {
    world.task("t").await;
    world.session("m", Role::Manager).await;
    for number in 0..4 {
        world.session(&format!("w{number}"), Role::Worker).await;
    }
    let calls = (0..4).map(|number| {
        let plane = world.seen_by(crate::Caller::Person);
        async move { run::<Bind>(&plane, three("t", &format!("w{number}"), "m")).await }
    });
    let (won, lost): (Vec<_>, Vec<_>) =
        futures::future::join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for error in lost.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert!(error.message.contains("is bound already"), "{error}");
    }
    let active = bindings::list(&mut *world.tx().await, true, 10).await.unwrap();
    assert_eq!(active.len(), 1);
}
