use conveyor_model::ErrorKind;
use conveyor_store::sessions;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::told;
use crate::verbs::ingest::Ingest;

const TURN: &str = "01a203b3-bb85-70e0-b271-67688f575b07";

/// A worker `w` that said two things and ran a command.
async fn world() -> World {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.turn_begins(&worker, TURN).await;
    world.record(&worker, "event_msg", json!({ "type": "agent_message", "message": "hi\nthere" })).await;
    let item = json!({ "type": "AgentMessage", "id": "i", "content": [{ "type": "Text", "text": "newer" }] });
    world
        .record(&worker, "event_msg", json!({ "type": "item_completed", "turn_id": TURN, "item": item }))
        .await;
    let output = json!({ "type": "function_call_output", "call_id": "c1", "output": "password: 1" });
    world.record(&worker, "response_item", output).await;
    world.json::<Ingest>(json!({ "name": "w" })).await;
    world
}

fn subtypes(records: &Value) -> Vec<&str> {
    records.as_array().unwrap().iter().map(|one| one["payload"]["type"].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn texts_are_replaced_by_their_length_unless_asked_for() {
    let world = world().await;
    let records = world.json::<Tail>(json!({ "name": "w" })).await;
    assert_eq!(
        subtypes(&records),
        ["function_call_output", "item_completed", "agent_message", "task_started"]
    );
    let said = &records[2];
    let expected = json!({
        "type": "agent_message", "message_redacted": true, "message_byte_count": 8, "message_line_count": 2
    });
    assert_eq!(said["payload"], expected);
    assert_eq!((&said["type"], &said["subtype"]), (&json!("event_msg"), &json!("agent_message")));
    assert!(said["byte_offset"].is_i64() && said["id"].is_i64() && said["timestamp"].is_string());
    assert_eq!((&records[0]["subtype"], &records[0]["payload"]["call_id"]), (&Value::Null, &json!("c1")));
    assert!(!records.to_string().contains("password") && !records.to_string().contains("there"));

    let open = world.json::<Tail>(json!({ "name": "w", "include_content": true })).await;
    assert_eq!(open[2]["payload"]["message"], "hi\nthere");
    assert_eq!(open[0]["payload"]["message"], "password: 1");
}

#[tokio::test]
async fn a_subtype_is_found_under_the_name_of_older_versions() {
    let world = world().await;
    let all = world.json::<Tail>(json!({ "name": "w", "subtype": "agent_message" })).await;
    assert_eq!(subtypes(&all), ["item_completed", "agent_message"]);
    let one = world.json::<Tail>(json!({ "name": "w", "type": "response_item" })).await;
    assert_eq!(subtypes(&one), ["function_call_output"]);
    let oldest = world.json::<Tail>(json!({ "name": "w", "oldest_first": true, "limit": 2 })).await;
    assert_eq!(subtypes(&oldest), ["task_started", "agent_message"]);
    let behind = json!({ "name": "w", "after_id": oldest[1]["id"], "oldest_first": true });
    assert_eq!(subtypes(&world.json::<Tail>(behind).await), ["item_completed", "function_call_output"]);
    assert_eq!(world.json::<Tail>(json!({ "name": "w", "limit": 0 })).await, json!([]));
    let later = json!({ "name": "w", "since": "2999-01-01T00:00:00Z" });
    assert_eq!(world.json::<Tail>(later).await, json!([]));
}

#[tokio::test]
async fn a_read_neither_reads_the_rollout_nor_writes() {
    let world = world().await;
    let mut tx = world.tx().await;
    let worker = sessions::active_by_name(&mut tx, &"w".parse().unwrap()).await.unwrap().unwrap();
    drop(tx);
    world.turn_ends(&worker, TURN).await;
    let before = world.told().await;
    assert_eq!(world.json::<Tail>(json!({ "name": "w" })).await.as_array().unwrap().len(), 4);
    assert_eq!(world.told().await, before);
    let mut tx = world.tx().await;
    sessions::mark_gone(&mut tx, &worker.id, told()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.json::<Tail>(json!({ "name": "w" })).await.as_array().unwrap().len(), 4);
    assert_eq!(world.error::<Tail>(json!({ "name": "none" })).await.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn for_a_person_a_record_is_one_line() {
    let world = world().await;
    let answer = world.run::<Tail>(json!({ "name": "w", "include_content": true })).await.unwrap();
    let text = answer.text.unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("event_msg/agent_message  hi\\nthere"), "{text}");
}
