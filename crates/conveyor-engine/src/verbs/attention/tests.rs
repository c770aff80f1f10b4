use conveyor_model::ErrorKind;
use conveyor_store::attention::NewAttention;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::told;

async fn raise(world: &World, kind: &str, session: Option<&Session>, task: Option<&Task>) {
    let mut tx = world.tx().await;
    let new = NewAttention {
        kind: kind.to_owned(),
        session: session.map(|session| session.id.clone()),
        task: task.map(|task| task.id.clone()),
        message: format!("{kind}\nis here"),
        ..NewAttention::default()
    };
    attention::raise(&mut tx, new, told()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_is_open_is_listed_and_tells_by_the_exit_code() {
    let world = World::new();
    let (task, worker, manager) = world.bound().await;
    let none = world.run::<Attention>(json!({})).await.unwrap();
    assert_eq!((none.exit_code, none.json["attention"].clone()), (0, json!([])));

    raise(&world, "approval_prompt", Some(&worker), Some(&task)).await;
    raise(&world, "usage_limited", Some(&manager), None).await;
    let open = world.run::<Attention>(json!({})).await.unwrap();
    assert_eq!(open.exit_code, 1);
    let rows = open.json["attention"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["kind"], &rows[0]["session"], &rows[0]["task"]),
        (&json!("approval_prompt"), &json!("w"), &json!("t"))
    );
    assert_eq!(open.text.unwrap().lines().count(), 3, "one line each, and what to run next");
    assert!(open.json["next"].as_str().unwrap().contains("tail w --limit 20 --db"));

    let kinds = |json: serde_json::Value| json["attention"][0]["kind"].clone();
    assert_eq!(kinds(world.json::<Attention>(json!({ "session": "m" })).await), "usage_limited");
    assert_eq!(kinds(world.json::<Attention>(json!({ "task": "t" })).await), "approval_prompt");
    let cut = world.json::<Attention>(json!({ "limit": 1 })).await;
    assert_eq!((cut["attention"].as_array().unwrap().len(), &cut["truncated"]), (1, &json!(true)));
    assert!(cut["more"].as_str().unwrap().contains("attention --limit 10 --db"));
}

#[tokio::test]
async fn an_unknown_name_is_an_error_and_no_ledger_is_made() {
    let world = World::new();
    assert_eq!(world.run::<Attention>(json!({})).await.unwrap().exit_code, 0);
    assert_eq!(world.error::<Attention>(json!({ "task": "t" })).await.kind, ErrorKind::NotFound);
    assert!(world.plane.ledger_to_read().await.unwrap().is_none());
    world.task("t").await;
    assert_eq!(world.error::<Attention>(json!({ "task": "none" })).await.kind, ErrorKind::NotFound);
    assert_eq!(world.error::<Attention>(json!({ "session": "none" })).await.kind, ErrorKind::NotFound);
}

async fn failed(world: &World) -> i64 {
    let nudge = json!({ "task": "t", "message": "go" });
    let sent = world.json::<crate::verbs::enqueue_nudge_worker::EnqueueNudgeWorker>(nudge).await;
    let mut tx = world.tx().await;
    let id = sent["command_id"].as_str().unwrap().parse().unwrap();
    let delivery = conveyor_store::deliveries::get(&mut tx, &id).await.unwrap().unwrap();
    let error = Error::environment("no such pane");
    crate::gate::refuse(&mut tx, &delivery, None, &error).await.unwrap().unwrap();
    let row = attention::open(&mut tx, None, None, 10).await.unwrap().pop().unwrap();
    tx.commit().await.unwrap();
    row.id
}

#[tokio::test]
async fn a_failed_delivery_is_dismissed_and_comes_back_when_it_fails_again() {
    let world = World::new();
    world.bound().await;
    let id = failed(&world).await;
    let row = world.json::<Attention>(json!({})).await["attention"][0].clone();
    let status = async || world.json::<crate::verbs::status::Status>(json!({ "task": "t" })).await;
    assert_eq!(status().await["tasks"][0]["next"]["step"], "settle_deliveries");

    let done = world.run::<Attention>(json!({ "dismiss": id })).await.unwrap();
    assert_eq!((done.exit_code, &done.json["dismissed"]["command_id"]), (0, &row["command_id"]));
    assert_eq!(done.json["already_dismissed"], false);
    let left = world.run::<Attention>(json!({})).await.unwrap();
    assert_eq!((left.exit_code, &left.json["attention"]), (0, &json!([])));
    assert_ne!(status().await["tasks"][0]["next"]["step"], "settle_deliveries");
    assert!(world.told().await.pop().unwrap().starts_with(&format!("Attention {id} was dismissed: ")));
    let again = world.json::<Attention>(json!({ "dismiss": id })).await;
    assert_eq!(again["already_dismissed"], true);
    assert_eq!(world.told().await.iter().filter(|told| told.contains("was dismissed")).count(), 1);

    let command = row["command_id"].as_str().unwrap();
    world.json::<crate::verbs::commands::Commands>(json!({ "resend": command })).await;
    let mut tx = world.tx().await;
    let delivery =
        conveyor_store::deliveries::get(&mut tx, &command.parse().unwrap()).await.unwrap().unwrap();
    crate::gate::refuse(&mut tx, &delivery, None, &Error::environment("no such pane"))
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    let back = world.json::<Attention>(json!({})).await;
    assert_eq!(back["attention"][0]["command_id"], command, "the same words, and a new failure");
    let gone = world.error::<Attention>(json!({ "dismiss": id })).await;
    assert_eq!(gone.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_manager_dismisses_what_became_of_its_deliveries_and_a_person_anything() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    world.session("o", conveyor_store::sessions::Role::Manager).await;
    let id = failed(&world).await;
    raise(&world, "approval_prompt", Some(&worker), Some(&task)).await;
    for agent in ["o", "w", "nobody"] {
        let refused = crate::testing::run::<Attention>(&world.agent(agent), json!({ "dismiss": id })).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused, "{agent}");
    }
    let manager = world.agent("m");
    crate::testing::run::<Attention>(&manager, json!({ "dismiss": id })).await.unwrap();
    let dialog = crate::testing::run::<Attention>(&manager, json!({ "dismiss": id + 1 })).await;
    assert_eq!(dialog.unwrap_err().kind, ErrorKind::Refused, "a dialog is a person's to see");
    world.json::<Attention>(json!({ "dismiss": id + 1 })).await;
    assert_eq!(world.error::<Attention>(json!({ "dismiss": 1, "task": "t" })).await.kind, ErrorKind::Usage);
}
