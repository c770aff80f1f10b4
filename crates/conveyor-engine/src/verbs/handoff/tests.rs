use conveyor_model::ErrorKind;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;

#[tokio::test]
async fn the_latest_handoff_counts_and_all_can_be_read() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    assert_eq!(world.json::<Handoff>(json!({ "task": "t", "latest": true })).await, Value::Null);
    let said = json!({ "task": "t", "summary": "half", "next_step": ["a", "b"], "payload_json": { "k": 1 } });
    let first = world.json::<Handoff>(said).await;
    assert_eq!(first["worker_session_id"], worker.id.as_str());
    assert_eq!((&first["next_steps"], &first["payload"]), (&json!(["a", "b"]), &json!({ "k": 1 })));
    let second = world.json::<Handoff>(json!({ "task": "t", "summary": "more" })).await;
    assert_eq!(world.json::<Handoff>(json!({ "task": "t", "latest": true })).await, second);
    let all = world.json::<Handoff>(json!({ "task": "t", "list": true })).await;
    assert_eq!((&all["handoffs"], &all["truncated"]), (&json!([second, first]), &json!(false)));
    let one = world.json::<Handoff>(json!({ "task": "t", "list": true, "limit": 1 })).await;
    assert_eq!((one["handoffs"].as_array().unwrap().len(), &one["truncated"]), (1, &json!(true)));
}

#[tokio::test]
async fn a_handoff_that_says_nothing_is_refused() {
    let world = World::new();
    world.bound().await;
    let long = "x".repeat(limits::STATEMENT_BYTES + 1);
    for wrong in [
        json!({ "task": "t" }),
        json!({ "task": "t", "summary": " \n" }),
        json!({ "task": "t", "summary": long }),
        json!({ "task": "t", "summary": "s", "next_step": [""] }),
        json!({ "task": "t", "summary": "s", "latest": true }),
        json!({ "task": "t", "latest": true, "next_step": ["a"] }),
    ] {
        assert_eq!(world.error::<Handoff>(wrong.clone()).await.kind, ErrorKind::Usage, "{wrong}");
    }
    assert_eq!(
        world.error::<Handoff>(json!({ "task": "u", "summary": "s" })).await.kind,
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn only_the_sides_of_a_task_say_where_it_stands() {
    let world = World::new();
    world.bound().await;
    world.session("x", Role::Worker).await;
    let said = json!({ "task": "t", "summary": "s" });
    for side in ["w", "m"] {
        assert!(testing::run::<Handoff>(&world.agent(side), said.clone()).await.is_ok(), "{side}");
    }
    for other in ["x", "nobody"] {
        let error = testing::run::<Handoff>(&world.agent(other), said.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{other}");
    }
    world.task("later").await;
    let early = json!({ "task": "later", "summary": "before it is bound" });
    assert!(testing::run::<Handoff>(&world.agent("x"), early).await.is_ok());
}
