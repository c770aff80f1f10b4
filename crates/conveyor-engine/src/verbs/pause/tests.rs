use conveyor_model::ErrorKind;
use conveyor_store::sessions::Role;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;
use crate::verb::Verb;
use crate::verbs::attention::Attention;
use crate::verbs::cycle::Cycle;
use crate::verbs::dispatch::Dispatch;
use crate::verbs::enqueue_notify_manager::EnqueueNotifyManager;
use crate::verbs::enqueue_nudge_worker::EnqueueNudgeWorker;
use crate::verbs::finish_task::FinishTask;
use crate::verbs::manager_inbox::ManagerInbox;
use crate::verbs::resume::Resume;
use crate::verbs::session_nudge::SessionNudge;
use crate::verbs::status::Status;
use crate::verbs::takeover::Takeover;
use crate::verbs::worker_inbox::WorkerInbox;

async fn ends(world: &World) -> Value {
    world.json::<Dispatch>(json!({ "once": true })).await
}

async fn read<V: Verb>(world: &World) -> Value {
    world.json::<V>(json!({ "task": "t", "consume_next": true })).await
}

#[tokio::test]
async fn nothing_is_delivered_for_a_paused_task_and_all_of_it_in_order_afterwards() {
    let world = World::new();
    world.bound().await;
    world.json::<EnqueueNudgeWorker>(json!({ "task": "t", "message": "lies there" })).await;
    ends(&world).await;
    let paused = world.json::<Pause>(json!({ "task": "t", "reason": "lunch" })).await;
    assert_eq!((&paused["changed"], paused["paused_at"].is_string()), (&json!(true), true));
    world.json::<EnqueueNudgeWorker>(json!({ "task": "t", "message": "second" })).await;
    world.json::<EnqueueNotifyManager>(json!({ "task": "t", "message": "to the manager" })).await;
    for _ in 0..20 {
        ends(&world).await;
    }
    let nudge = world.json::<SessionNudge>(json!({ "name": "w", "text": "third" })).await;
    assert_eq!((&nudge["state"], &nudge["waiting_for"]), (&json!("pending"), &json!("the task is paused")));
    for inbox in [read::<WorkerInbox>(&world).await, read::<ManagerInbox>(&world).await] {
        assert_eq!((&inbox["held"], &inbox["consumed"]), (&json!("task_paused"), &Value::Null));
        assert_eq!(inbox["items"], json!([]));
    }
    let cycle = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!((&cycle["held"], &cycle["consumed_notifications"]), (&json!("task_paused"), &json!([])));

    let resumed = world.json::<Resume>(json!({ "task": "t" })).await;
    assert_eq!((&resumed["changed"], &resumed["paused_at"]), (&json!(true), &Value::Null));
    ends(&world).await;
    for expected in ["lies there", "second", "third"] {
        assert_eq!(read::<WorkerInbox>(&world).await["consumed"]["message"], expected);
    }
    assert_eq!(read::<ManagerInbox>(&world).await["consumed"]["message"], "to the manager");
}

#[tokio::test]
async fn a_pause_is_told_shown_and_done_once() {
    let world = World::new();
    world.bound().await;
    world.json::<Pause>(json!({ "task": "t" })).await;
    assert_eq!(world.json::<Pause>(json!({ "task": "t" })).await["changed"], false);
    let status = world.run::<Status>(json!({ "task": "t" })).await.unwrap();
    assert!(status.json["tasks"][0]["paused_at"].is_string());
    assert!(status.text.unwrap().contains("t (managed, paused)"));
    let attention = world.run::<Attention>(json!({})).await.unwrap();
    assert_eq!((attention.exit_code, &attention.json["attention"][0]["kind"]), (1, &json!("task_paused")));
    assert!(attention.json["next"].as_str().unwrap().contains("resume t"));
    world.json::<Resume>(json!({ "task": "t" })).await;
    assert_eq!(world.json::<Resume>(json!({ "task": "t" })).await["changed"], false);
    assert_eq!(world.run::<Attention>(json!({})).await.unwrap().exit_code, 0);
    let told = world.told().await;
    let count = |sentence: &str| told.iter().filter(|told| *told == sentence).count();
    assert_eq!((count("The task t was paused."), count("The task t goes on.")), (1, 1));
}

#[tokio::test]
async fn a_finished_task_is_not_paused_any_more() {
    let world = World::new();
    world.bound().await;
    world.json::<Pause>(json!({ "task": "t" })).await;
    world.json::<FinishTask>(json!({ "task": "t" })).await;
    assert_eq!(world.run::<Attention>(json!({})).await.unwrap().exit_code, 0);
    assert_eq!(world.error::<Pause>(json!({ "task": "t" })).await.kind, ErrorKind::Conflict);
}

#[tokio::test]
async fn a_pause_of_one_task_keeps_nothing_from_its_managers_other_tasks() {
    let world = World::new();
    world.bound().await;
    world.task("u").await;
    world.session("w2", Role::Worker).await;
    world.json::<crate::verbs::bind::Bind>(json!({ "task": "u", "worker": "w2", "manager": "m" })).await;
    world.json::<Pause>(json!({ "task": "t" })).await;
    for task in ["t", "u"] {
        world.json::<EnqueueNotifyManager>(json!({ "task": task, "message": task })).await;
    }
    ends(&world).await;
    let inbox = world.json::<ManagerInbox>(json!({ "task": "u", "consume_next": true })).await;
    assert_eq!(inbox["consumed"]["message"], "u");
}

#[tokio::test]
async fn a_session_that_a_person_drives_gets_nothing_until_it_is_given_back() {
    let world = World::new();
    world.bound().await;
    let taken = world.json::<Takeover>(json!({ "name": "w" })).await;
    assert_eq!((&taken["changed"], taken["taken_over_at"].is_string()), (&json!(true), true));
    let nudge = world.json::<SessionNudge>(json!({ "name": "w", "text": "hello" })).await;
    assert_eq!(nudge["waiting_for"], "a person has taken the session over");
    ends(&world).await;
    assert_eq!(read::<WorkerInbox>(&world).await["held"], "taken_over");
    let status = world.run::<Status>(json!({ "task": "t" })).await.unwrap();
    assert!(status.text.unwrap().contains("driven by a person"));
    let given = world.json::<Takeover>(json!({ "name": "w", "release": true })).await;
    assert_eq!((&given["changed"], &given["taken_over_at"]), (&json!(true), &Value::Null));
    ends(&world).await;
    assert_eq!(read::<WorkerInbox>(&world).await["consumed"]["message"], "hello");
    assert_eq!(world.run::<Attention>(json!({})).await.unwrap().exit_code, 0);
}

#[tokio::test]
async fn no_agent_lets_go_of_what_a_person_holds() {
    let world = World::new();
    world.bound().await;
    world.json::<Pause>(json!({ "task": "t" })).await;
    let thread = Some("thread-m".to_owned());
    let shell = world.seen_by(crate::Caller::Shell { thread, sandboxed: false });
    for plane in [shell, world.agent("m"), world.agent("w")] {
        let resumed = testing::run::<Resume>(&plane, json!({ "task": "t" })).await;
        assert_eq!(resumed.unwrap_err().kind, ErrorKind::Refused);
        let given = testing::run::<Takeover>(&plane, json!({ "name": "w", "release": true })).await;
        assert_eq!(given.unwrap_err().kind, ErrorKind::Refused);
    }
}
