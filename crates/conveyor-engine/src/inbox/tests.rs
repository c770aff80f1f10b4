use conveyor_store::sessions::Role;

use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::run;
use crate::verbs;

type Dispatching = verbs::dispatch::Dispatch;
type Nudge = verbs::enqueue_nudge_worker::EnqueueNudgeWorker;
type Reading = verbs::worker_inbox::WorkerInbox;

/// A bound pair, and messages in the worker's inbox.
async fn inbox(texts: &[&str]) -> (World, Session) {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    for text in texts {
        world.json::<Nudge>(json!({ "task": "t", "message": text })).await;
    }
    world.json::<Dispatching>(json!({})).await;
    (world, worker)
}

fn take() -> Value {
    json!({ "task": "t", "consume_next": true })
}

/// What a call gave: the message, and whether it may have been read before.
fn got(report: &Value) -> (Option<&str>, bool) {
    (report["consumed"]["message"].as_str(), report["consumed"]["redelivered"].as_bool().unwrap_or(false))
}

#[tokio::test]
async fn a_reader_without_a_record_confirms_by_asking_for_the_next() {
    let (world, _) = inbox(&["a", "b"]).await;
    let first = world.json::<Reading>(take()).await;
    assert_eq!(got(&first), (Some("a"), false));
    assert_eq!(first["items"][0]["message"], "b");
    assert_eq!((&first["wait"]["timed_out"], &first["session"]["name"]), (&json!(false), &json!("w")));
    assert_eq!(got(&world.json::<Reading>(take()).await), (Some("b"), false));
    let last = world.json::<Reading>(take()).await;
    assert_eq!((got(&last), &last["items"]), ((None, false), &json!([])));
}

#[tokio::test]
async fn what_a_killed_reader_had_in_its_hands_is_offered_again() {
    let (world, worker) = inbox(&["a", "b"]).await;
    world.turn_begins(&worker, "turn-1").await;
    let agent = world.agent("w");
    let first = run::<Reading>(&agent, take()).await.unwrap().json;
    assert_eq!(got(&first), (Some("a"), false));
    // Its record does not show the answer: it was killed, or never got it.
    assert_eq!(got(&run::<Reading>(&agent, take()).await.unwrap().json), (Some("a"), true));
    let output = format!("{{\"consumed\": {}}}", first["consumed"]);
    let payload = json!({ "type": "function_call_output", "call_id": "c", "output": output });
    world.record(&worker, "response_item", payload).await;
    assert_eq!(got(&run::<Reading>(&agent, take()).await.unwrap().json), (Some("b"), false));
}

#[tokio::test]
async fn a_mere_listing_in_the_record_confirms_nothing() {
    let (world, worker) = inbox(&["a"]).await;
    world.turn_begins(&worker, "turn-1").await;
    let agent = world.agent("w");
    let listed = run::<Reading>(&agent, json!({ "task": "t" })).await.unwrap().json;
    run::<Reading>(&agent, take()).await.unwrap();
    let payload = json!({ "type": "function_call_output", "call_id": "c", "output": listed.to_string() });
    world.record(&worker, "response_item", payload).await;
    assert_eq!(got(&run::<Reading>(&agent, take()).await.unwrap().json), (Some("a"), true));
}

#[tokio::test]
async fn an_acknowledged_message_is_not_offered_again() {
    let (world, worker) = inbox(&["a", "b"]).await;
    world.turn_begins(&worker, "turn-1").await;
    let agent = world.agent("w");
    let first = run::<Reading>(&agent, take()).await.unwrap().json;
    let ack = json!({ "task": "t", "consume_next": true, "ack": [first["consumed"]["id"].to_string()] });
    let second = run::<Reading>(&agent, ack).await.unwrap().json;
    assert_eq!(got(&second), (Some("b"), false));
    assert_eq!(second["acknowledged"], json!([first["consumed"]["command_id"]]));
    assert!(run::<Reading>(&agent, json!({ "task": "t", "ack": ["777"] })).await.is_err());
}

#[tokio::test]
async fn an_agent_reads_but_does_not_take_from_anothers_inbox() {
    let (world, _) = inbox(&["a"]).await;
    let manager = world.agent("m");
    let seen = run::<Reading>(&manager, json!({ "task": "t" })).await.unwrap().json;
    assert_eq!(seen["items"][0]["message"], "a");
    let error = run::<Reading>(&manager, take()).await.unwrap_err();
    assert_eq!(error.kind, conveyor_model::ErrorKind::Refused);
}

#[tokio::test]
async fn a_time_out_is_no_error_and_a_poll_is_a_sign_of_life() {
    let (world, worker) = inbox(&[]).await;
    let report = world.run::<Reading>(json!({ "task": "t", "wait": true, "timeout": 0.05 })).await.unwrap();
    assert_eq!((report.exit_code, &report.json["wait"]["timed_out"]), (0, &json!(true)));
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let now = sessions::get(&mut reader, &worker.id).await.unwrap().unwrap();
    assert!(now.last_heartbeat_at.is_some());
}

#[tokio::test]
async fn a_wait_ends_with_its_binding() {
    let (world, _) = inbox(&[]).await;
    let reader = world.seen_by(Caller::Person);
    let waiting = run::<Reading>(&reader, json!({ "task": "t", "wait": true, "timeout": 20 }));
    let unbinding = async {
        tokio::task::yield_now().await;
        world.json::<verbs::unbind::Unbind>(json!({ "task": "t" })).await
    };
    let (report, _) = tokio::join!(waiting, unbinding);
    match report {
        Ok(report) => assert_eq!(
            (&report.json["ended"], &report.json["wait"]["timed_out"]),
            (&json!(true), &json!(false))
        ),
        Err(error) => assert_eq!(error.kind, conveyor_model::ErrorKind::NotFound, "it was unbound before"),
    }
}

#[tokio::test]
async fn a_managers_wait_sees_its_workers_turn_end_where_no_dispatcher_lives() {
    let (world, worker) = inbox(&[]).await;
    world.turn_begins(&worker, "turn-1").await;
    let reader = world.seen_by(Caller::Person);
    let request = json!({ "task": "t", "consume_next": true, "wait": true, "timeout": 20 });
    let waiting = run::<verbs::manager_inbox::ManagerInbox>(&reader, request);
    let working = async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        world.turn_ends(&worker, "turn-1").await;
    };
    let (report, ()) = tokio::join!(waiting, working);
    assert_eq!(report.unwrap().json["consumed"]["signal_type"], "worker_task_complete");
}

#[tokio::test]
async fn an_inbox_shows_only_what_belongs_to_its_task() {
    let (world, _) = inbox(&["a"]).await;
    world.task("t2").await;
    world.session("w2", Role::Worker).await;
    world.json::<verbs::bind::Bind>(json!({ "task": "t2", "worker": "w2", "manager": "m" })).await;
    for task in ["t", "t2"] {
        let request = json!({ "task": task, "message": format!("for {task}") });
        world.json::<verbs::enqueue_notify_manager::EnqueueNotifyManager>(request).await;
    }
    world.json::<Dispatching>(json!({})).await;
    let request = json!({ "task": "t2", "consume_next": true });
    let report = world.json::<verbs::manager_inbox::ManagerInbox>(request).await;
    assert_eq!((got(&report), &report["items"]), ((Some("for t2"), false), &json!([])));
    let all = world.json::<verbs::session_inbox::SessionInbox>(json!({ "session": "m" })).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "unconfirmed still counts");
}
