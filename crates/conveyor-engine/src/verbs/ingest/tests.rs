use std::io::Write as _;

use conveyor_model::ErrorKind;
use conveyor_store::sessions::Role;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::run;

const TURN: &str = "01a203b3-bb85-70e0-b271-67688f575b07";

#[tokio::test]
async fn a_second_pass_finds_nothing_and_writes_nothing() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    world.turn_begins(&worker, TURN).await;
    world.turn_ends(&worker, TURN).await;
    let length = std::fs::metadata(world.rollout(&worker)).unwrap().len();
    let report = world.json::<Ingest>(json!({ "name": "w" })).await;
    let read = json!({
        "session": "w", "new_events": 2, "new_offset": length, "skipped_lines": 0, "turn_ends": 1
    });
    assert_eq!(report, read);
    let row = telemetry::latest(&mut *world.tx().await, "codex_events_ingested").await.unwrap().unwrap();
    assert_eq!(row.task_id, Some(task.id));

    let before = world.told().await;
    let again = world.json::<Ingest>(json!({ "name": "w" })).await;
    assert_eq!((&again["new_events"], &again["new_offset"]), (&json!(0), &json!(length)));
    assert_eq!(world.told().await, before);
}

#[tokio::test]
async fn two_readers_at_once_store_each_line_once() {
    let world = World::new();
    let worker = world.session("w", Role::Worker).await;
    world.turn_begins(&worker, TURN).await;
    let path = world.rollout(&worker);
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    for number in 0..500 {
        let line = json!({ "timestamp": "2026-11-22T14:00:00Z", "type": "event_msg",
            "payload": { "type": "agent_message", "message": format!("{number}") } });
        writeln!(file, "{line}").unwrap();
    }
    let planes = [(); 3].map(|()| world.seen_by(crate::Caller::Person));
    let [a, b, c] = &planes;
    let request = || json!({ "name": "w" });
    let (a, b, c) =
        tokio::join!(run::<Ingest>(a, request()), run::<Ingest>(b, request()), run::<Ingest>(c, request()));
    for answer in [a, b, c] {
        assert_eq!(answer.unwrap().exit_code, 0);
    }
    let stored = conveyor_store::events::count(&mut *world.tx().await, worker.number, 0).await.unwrap();
    assert_eq!(stored, 501);
}

#[tokio::test]
async fn whom_nothing_can_be_read_of_is_an_error_with_advice() {
    let world = World::new();
    let worker = world.session("w", Role::Worker).await;
    assert_eq!(world.error::<Ingest>(json!({ "name": "none" })).await.kind, ErrorKind::NotFound);
    let error = world.error::<Ingest>(json!({ "name": "w" })).await;
    assert_eq!((error.kind, error.hint.is_some()), (ErrorKind::Rollout, true));
    let mut tx = world.tx().await;
    sessions::mark_gone(&mut tx, &worker.id, crate::testing::told()).await.unwrap();
    tx.commit().await.unwrap();
    let error = world.error::<Ingest>(json!({ "name": "w" })).await;
    assert!(error.message.contains("gone") && error.hint.unwrap().contains("register-worker"));
    for wrong in [json!({}), json!({ "name": "w", "all": true })] {
        assert_eq!(world.error::<Ingest>(wrong).await.kind, ErrorKind::Usage);
    }
}

#[tokio::test]
async fn one_session_that_cannot_be_read_holds_up_no_other() {
    let world = World::new();
    let (lost, read) = (world.session("lost", Role::Worker).await, world.session("read", Role::Worker).await);
    world.session("fresh", Role::Worker).await;
    for session in [&lost, &read] {
        world.turn_begins(session, TURN).await;
    }
    std::fs::remove_file(world.rollout(&lost)).unwrap();
    let answer = world.run::<Ingest>(json!({ "all": true })).await.unwrap();
    assert_eq!(answer.exit_code, 1);
    assert_eq!((&answer.json["new_events"], &answer.json["failed"]), (&json!(1), &json!(1)));
    let sessions = answer.json["sessions"].as_array().unwrap();
    let told: Vec<(&Value, &Value)> =
        sessions.iter().map(|one| (&one["session"], &one["error"]["kind"])).collect();
    assert_eq!(
        told,
        [
            (&json!("lost"), &json!("rollout")),
            (&json!("read"), &Value::Null),
            (&json!("fresh"), &Value::Null)
        ]
    );
}
