use conveyor_model::ErrorKind;
use serde_json::Value;
use serde_json::json;

use crate::testing;
use crate::testing::World;
use crate::verbs::compact_worker::CompactWorker;
use crate::verbs::handoff::Handoff;
use crate::verbs::manager_config::ManagerConfig;
use crate::verbs::worker_inbox::WorkerInbox;

/// A worker without a terminal, whose manager may have it compacted.
async fn world() -> World {
    let world = World::new();
    world.bound().await;
    let granted = json!({ "task": "t", "permit": ["worker_session.compact", "worker_session.clear"] });
    world.json::<ManagerConfig>(granted).await;
    world.json::<Handoff>(json!({ "task": "t", "summary": "half of it is done" })).await;
    world
}

#[tokio::test]
async fn a_worker_without_a_terminal_reads_the_request_in_its_inbox() {
    let world = world().await;
    for (clear, words) in [(false, "should be made smaller"), (true, "should be emptied")] {
        let request = json!({ "task": "t", "reason": "its context is full", "clear": clear });
        let report = world.json::<CompactWorker>(request).await;
        let sent = &report["send_result"];
        assert_eq!(
            (&report["slash_command"], &sent["target"]),
            (&Value::Null, &json!("inbox")),
            "{report:#}"
        );
        assert_eq!((&report["confirmed"], &sent["error"]), (&json!(false), &Value::Null), "{report:#}");
        let worker = world.agent("w");
        let read = testing::run::<WorkerInbox>(&worker, json!({ "task": "t", "consume_next": true })).await;
        let read = read.unwrap().json.to_string();
        assert!(read.contains(words), "{read}");
        assert!(world.told().await.iter().any(|told| told.starts_with("the prompt for w was accepted")));
    }
}

#[tokio::test]
async fn a_refusal_leaves_one_row() {
    let world = world().await;
    let revoked = json!({ "task": "t", "clear_permissions": true });
    world.json::<ManagerConfig>(revoked).await;
    for plane in [world.agent("m"), world.seen_by(crate::Caller::Person)] {
        let before = world.told().await.len();
        let request = json!({ "task": "t", "reason": "r" });
        let refusal = testing::run::<CompactWorker>(&plane, request).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Refused);
        assert_eq!(world.told().await.len(), before + 1, "{:?}", plane.caller);
    }
}
