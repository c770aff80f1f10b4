use conveyor_model::ErrorKind;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;
use crate::verbs::attention::Attention;
use crate::verbs::dispatch::Dispatch;
use crate::verbs::enqueue_nudge_worker::EnqueueNudgeWorker;
use crate::verbs::worker_inbox::WorkerInbox;

/// A world in which a message waits to be carried to the worker; its number.
async fn sent() -> (World, i64) {
    let world = World::new();
    world.bound().await;
    let accepted = world.json::<EnqueueNudgeWorker>(json!({ "task": "t", "message": "go" })).await;
    let id: DeliveryId = accepted["command_id"].as_str().unwrap().parse().unwrap();
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let number = deliveries::get(&mut reader, &id).await.unwrap().unwrap().number;
    drop(reader);
    (world, number)
}

fn say(number: i64, status: &str) -> Value {
    json!({ "task": "t", "notification_id": number, "role": "worker", "status": status })
}

#[tokio::test]
async fn a_receipt_says_no_more_than_what_can_be_known() {
    let (world, number) = sent().await;
    let error = world.error::<InboxAck>(say(number, "received")).await;
    assert!(error.kind == ErrorKind::Refused && error.message.contains("not delivered"), "{error}");
    world.json::<Dispatch>(json!({ "once": true })).await;
    let received = world.json::<InboxAck>(say(number, "received")).await;
    assert_eq!(received["receipt"]["event_type"], "dispatch_inbox_ack_recorded");
    let inbox = world.json::<WorkerInbox>(json!({ "task": "t" })).await;
    assert_eq!(inbox["items"][0]["acknowledgement"]["status"], "received");
    assert_eq!(received["notification"]["consumed_at"], Value::Null);
    let error = world.error::<InboxAck>(say(number, "accepted")).await;
    assert!(error.hint.unwrap().contains("worker-inbox t --consume-next"));

    let worker = world.agent("w");
    testing::run::<WorkerInbox>(&worker, json!({ "task": "t", "consume_next": true })).await.unwrap();
    let accepted = testing::run::<InboxAck>(&worker, say(number, "accepted")).await.unwrap().json;
    assert_eq!(accepted["acknowledgement"]["status"], "accepted");
    assert!(accepted["notification"]["consumed_at"].is_string(), "what is accepted was read");
    let read = world.json::<InboxAck>(json!({ "task": "t", "notification_id": number })).await;
    assert_eq!(read["acknowledgements"].as_array().unwrap().len(), 2);
    assert_eq!(read["latest"]["status"], "accepted");
    assert!(read.get("acknowledgement").is_none());
}

#[tokio::test]
async fn a_blocked_message_wants_attention_until_it_is_accepted() {
    let (world, number) = sent().await;
    world.json::<Dispatch>(json!({ "once": true })).await;
    world.json::<WorkerInbox>(json!({ "task": "t", "consume_next": true })).await;
    world.json::<InboxAck>(say(number, "blocked")).await;
    let seen = world.run::<Attention>(json!({})).await.unwrap();
    assert_eq!((seen.exit_code, &seen.json["attention"][0]["kind"]), (1, &json!("message_blocked")));
    world.json::<InboxAck>(say(number, "accepted")).await;
    assert_eq!(world.run::<Attention>(json!({})).await.unwrap().exit_code, 0);
}

#[tokio::test]
async fn only_the_addressee_gives_a_receipt() {
    let (world, number) = sent().await;
    world.json::<Dispatch>(json!({ "once": true })).await;
    for other in ["m", "nobody"] {
        let refused = testing::run::<InboxAck>(&world.agent(other), say(number, "received")).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused, "{other}");
    }
    let as_manager =
        json!({ "task": "t", "notification_id": number, "role": "manager", "status": "received" });
    for plane in [world.agent("m"), world.agent("w")] {
        let refused = testing::run::<InboxAck>(&plane, as_manager.clone()).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused);
    }
    world.task("u").await;
    let elsewhere = json!({ "task": "u", "notification_id": number });
    assert_eq!(world.error::<InboxAck>(elsewhere).await.kind, ErrorKind::NotFound);
    let half = json!({ "task": "t", "notification_id": number, "role": "worker" });
    assert_eq!(world.error::<InboxAck>(half).await.kind, ErrorKind::Usage);
}
