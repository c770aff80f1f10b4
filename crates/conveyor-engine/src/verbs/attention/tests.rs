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
