use conveyor_model::ErrorKind;
use conveyor_store::configs::ManagerConfig;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;
use crate::verbs::manager_ack::ManagerAck;
use crate::verbs::worker_ack::WorkerAck;

fn whole() -> Value {
    json!({
        "goal_restatement": "g", "proposed_criteria": [], "expected_tools": [], "open_questions": [],
        "ready_to_start": true,
    })
}

#[tokio::test]
async fn nothing_acknowledged_is_null_and_not_an_error() {
    let world = World::new();
    world.bound().await;
    let seen = world.run::<WorkerAck>(json!({ "task": "t" })).await.unwrap();
    assert_eq!((seen.json, seen.exit_code), (Value::Null, 0));
}

#[tokio::test]
async fn revisions_count_for_each_side_and_go_stale_with_the_configuration() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let ack = json!({ "task": "t", "payload_json": whole(), "correlation_id": "c" });
    let first = world.json::<WorkerAck>(ack.clone()).await;
    assert_eq!(
        (&first["revision"], &first["current"], &first["warnings"]),
        (&json!(1), &json!(true), &json!([]))
    );
    assert_eq!(world.json::<WorkerAck>(ack.clone()).await["revision"], 2);
    assert_eq!(world.json::<ManagerAck>(ack).await["revision"], 1);

    let mut tx = world.tx().await;
    let config = ManagerConfig::new(task.id.clone(), tx.now());
    configs::put(&mut tx, config, testing::told()).await.unwrap();
    tx.commit().await.unwrap();
    let stale = world.json::<WorkerAck>(json!({ "task": "t" })).await;
    assert_eq!((&stale["revision"], &stale["current"]), (&json!(2), &json!(false)));
    let again = world.json::<WorkerAck>(json!({ "task": "t", "payload_json": "{}" })).await;
    assert_eq!((&again["manager_config_revision"], &again["current"]), (&json!(1), &json!(true)));
    assert_eq!(again["warnings"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn neither_side_answers_for_the_other() {
    let world = World::new();
    world.bound().await;
    world.session("stranger", Role::Worker).await;
    let ack = json!({ "task": "t", "payload_json": whole() });
    let (worker, manager) = (world.agent("w"), world.agent("m"));
    assert!(testing::run::<WorkerAck>(&worker, ack.clone()).await.is_ok());
    assert!(testing::run::<ManagerAck>(&manager, ack.clone()).await.is_ok());
    for refused in [
        testing::run::<ManagerAck>(&worker, ack.clone()).await,
        testing::run::<WorkerAck>(&manager, ack.clone()).await,
        testing::run::<WorkerAck>(&world.agent("stranger"), ack.clone()).await,
        testing::run::<WorkerAck>(&world.agent("nobody"), ack.clone()).await,
    ] {
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused);
    }
    assert_eq!(world.json::<ManagerAck>(json!({ "task": "t" })).await["revision"], 1);
}

#[tokio::test]
async fn a_worker_that_is_not_bound_yet_is_told_to_wait() {
    let world = World::new();
    world.task("t").await;
    world.session("w", Role::Worker).await;
    let ack = json!({ "task": "t", "payload_json": whole() });
    let error = testing::run::<WorkerAck>(&world.agent("w"), ack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert_eq!(error.hint.unwrap(), "end your turn and wait until you are bound");
}

#[tokio::test]
async fn what_would_mislead_a_reader_is_not_recorded() {
    let world = World::new();
    world.bound().await;
    for wrong in [json!({ "ready_to_start": "yes" }), json!([]), json!("nonsense"), json!(7)] {
        let error = world.error::<WorkerAck>(json!({ "task": "t", "payload_json": wrong })).await;
        assert_eq!(error.kind, ErrorKind::Usage, "{wrong}");
    }
    let both = json!({ "task": "t", "payload_json": {}, "from_stdin": true });
    assert_eq!(world.error::<WorkerAck>(both).await.kind, ErrorKind::Usage);
    assert_eq!(world.json::<WorkerAck>(json!({ "task": "t" })).await, Value::Null);
    let unready = json!({ "task": "t", "payload_json": { "ready_to_start": false } });
    let text = world.run::<WorkerAck>(unready).await.unwrap().text.unwrap();
    assert!(text.contains("warning: `ready_to_start` is false"), "{text}");
}
