use conveyor_model::ErrorKind;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;
use crate::verbs::cycle::Cycle;

#[tokio::test]
async fn a_decision_rests_on_the_tasks_latest_cycle_and_names_its_manager() {
    let world = World::new();
    let (_, _, manager) = world.bound().await;
    let decide = json!({ "task": "t", "decision": "wait", "reason": "it works" });
    let before = world.json::<RecordDecision>(decide.clone()).await;
    assert_eq!((&before["manager_cycle_id"], &before["manager_id"]), (&json!(null), &json!(manager.id)));
    let cycle = world.json::<Cycle>(json!({ "task": "t" })).await["cycle_id"].as_i64().unwrap();
    let row = world.json::<RecordDecision>(decide).await;
    assert_eq!((&row["manager_cycle_id"], &row["task"]["name"]), (&json!(cycle), &json!("t")));
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let spans = cycles::spans(&mut reader, cycle).await.unwrap();
    let span = spans.iter().find(|span| span.phase == "manager_decision").unwrap();
    assert_eq!(span.decision_id, row["id"].as_i64());
}

#[tokio::test]
async fn a_cycle_of_another_task_is_no_ground_for_a_decision() {
    let world = World::new();
    world.bound().await;
    let cycle = world.json::<Cycle>(json!({ "task": "t" })).await["cycle_id"].clone();
    world.task("u").await;
    let other = json!({ "task": "u", "decision": "wait", "reason": "r", "cycle_id": cycle });
    assert_eq!(world.error::<RecordDecision>(other).await.kind, ErrorKind::Conflict);
    for id in [0, -1, i64::MAX] {
        let missing = json!({ "task": "t", "decision": "wait", "reason": "r", "cycle_id": id });
        assert_eq!(world.error::<RecordDecision>(missing).await.kind, ErrorKind::NotFound, "{id}");
    }
}

#[tokio::test]
async fn only_the_tasks_own_manager_decides() {
    let world = World::new();
    world.bound().await;
    world.session("m2", Role::Manager).await;
    let decide = json!({ "task": "t", "decision": "stop", "reason": "r" });
    assert!(testing::run::<RecordDecision>(&world.agent("m"), decide.clone()).await.is_ok());
    for other in ["w", "m2", "nobody"] {
        let error = testing::run::<RecordDecision>(&world.agent(other), decide.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{other}");
    }
    let blank = json!({ "task": "t", "decision": "stop", "reason": " " });
    assert_eq!(world.error::<RecordDecision>(blank).await.kind, ErrorKind::Usage);
    let unknown = json!({ "task": "t", "decision": "dance", "reason": "r" });
    assert_eq!(world.error::<RecordDecision>(unknown).await.kind, ErrorKind::Usage);
}
