use conveyor_model::ErrorKind;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::sessions::Role;
use conveyor_store::tasks;
use serde_json::json;

use super::*;
use crate::message;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;

#[tokio::test]
async fn the_task_is_paused_and_what_waited_is_taken_back() {
    let world = World::new();
    let (task, worker, manager) = world.bound().await;
    let binding = bindings::active_of_task(&mut *world.tx().await, &task.id).await.unwrap().unwrap();
    let mut tx = world.tx().await;
    let mut ids = Vec::new();
    for bound in [true, false] {
        let mut new = message::new(&world.plane, Kind::NudgeWorker, &worker, "go on");
        new.task = Some(task.id.clone());
        new.binding = bound.then(|| binding.id.clone());
        ids.push(deliveries::insert(&mut tx, new, told()).await.unwrap().delivery.id);
    }
    tx.commit().await.unwrap();

    let report = world.json::<Unbind>(json!({ "task": "t" })).await;
    assert_eq!(report["task"], "t");
    assert_eq!(report["state"], "ended");
    assert_eq!(report["task_state"], "paused");
    assert_eq!(report["binding_id"], binding.id.as_str());
    assert_eq!((&report["worker"], &report["manager"]), (&json!(worker.name), &json!(manager.name)));
    assert_eq!(report["already_ended"], false);
    assert_eq!(report["cancelled"], json!([ids[0]]));
    assert!(report["next"].as_str().unwrap().contains("bind --task t --worker w --manager m"));

    let mut tx = world.tx().await;
    let states = [
        deliveries::get(&mut tx, &ids[0]).await.unwrap().unwrap().state,
        deliveries::get(&mut tx, &ids[1]).await.unwrap().unwrap().state,
    ];
    assert_eq!(states, [Stage::Cancelled, Stage::Pending]);
    drop(tx);
    let sentences = world.told().await;
    assert!(sentences.contains(&format!("{} was taken back: its binding ended.", ids[0])), "{sentences:?}");
    assert!(sentences.contains(&"w no longer works on t under m.".to_owned()), "{sentences:?}");
}

#[tokio::test]
async fn what_a_reader_was_given_is_not_offered_for_ever_and_has_arrived_when_it_is_confirmed() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    for text in ["a", "b"] {
        let nudge = json!({ "task": "t", "message": text });
        world.json::<crate::verbs::enqueue_nudge_worker::EnqueueNudgeWorker>(nudge).await;
    }
    world.json::<crate::verbs::dispatch::Dispatch>(json!({})).await;
    let read = json!({ "session": "w", "consume_next": true });
    let given =
        world.json::<crate::verbs::session_inbox::SessionInbox>(read.clone()).await["consumed"].clone();

    let ended = world.run::<Unbind>(json!({ "task": "t" })).await.unwrap();
    assert_eq!(ended.json["expired"], json!([given["command_id"]]));
    assert_eq!(ended.json["cancelled"].as_array().unwrap().len(), 1, "the one that nobody was given");
    assert!(ended.text.unwrap().contains("1 messages may have been read"));
    let told = world.told().await;
    let why = "its binding ended before its reader confirmed it";
    assert!(told.iter().any(|told| told.contains(why)), "{told:?}");
    let id = given["command_id"].as_str().unwrap().parse().unwrap();
    let now = async || deliveries::get(&mut *world.tx().await, &id).await.unwrap().unwrap();
    assert_eq!((now().await.state, now().await.error.as_deref()), (Stage::Expired, Some(why)));
    let later = crate::testing::run::<crate::verbs::session_inbox::SessionInbox>(
        &world.plane,
        json!({ "session": "w" }),
    );
    assert_eq!(later.await.unwrap().json["items"], json!([]), "nothing is offered to {}", worker.name);

    let ack = json!({ "session": "w", "ack": [given["command_id"]] });
    world.json::<crate::verbs::session_inbox::SessionInbox>(ack).await;
    assert_eq!(now().await.state, Stage::Recorded);
}

#[tokio::test]
async fn a_repetition_says_so_and_a_task_without_binding_is_an_error() {
    let world = World::new();
    world.bound().await;
    let first = world.json::<Unbind>(json!({ "task": "t" })).await;
    let before = world.told().await;
    let again = world.json::<Unbind>(json!({ "task": "t" })).await;
    assert_eq!(again["already_ended"], true);
    assert_eq!(again["binding_id"], first["binding_id"]);
    assert_eq!(world.told().await, before);

    world.task("lone").await;
    assert_eq!(world.error::<Unbind>(json!({ "task": "lone" })).await.kind, ErrorKind::NotFound);
    assert_eq!(world.error::<Unbind>(json!({ "task": "none" })).await.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_finished_task_stays_finished() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let mut tx = world.tx().await;
    let task = tasks::get(&mut tx, &task.id).await.unwrap().unwrap();
    tasks::update(&mut tx, &tasks::Task { state: TaskState::Done, ..task }, told()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.json::<Unbind>(json!({ "task": "t" })).await["task_state"], "done");
}

#[tokio::test]
async fn another_manager_cannot_end_a_binding() {
    let world = World::new();
    world.bound().await;
    world.session("other", Role::Manager).await;
    let refused = run::<Unbind>(&world.agent("other"), json!({ "task": "t" })).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Refused);
    assert!(run::<Unbind>(&world.agent("m"), json!({ "task": "t" })).await.is_ok());
}
