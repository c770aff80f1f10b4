use conveyor_model::ErrorKind;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::run;

#[tokio::test]
async fn a_task_is_made_and_listed() {
    let world = World::new();
    let made = world.run::<Tasks>(json!({ "create": "t", "goal": "one\ntwo\tthree" })).await.unwrap();
    assert_eq!(made.json["created"], true);
    assert_eq!(made.json["name"], "t");
    assert!(made.json["id"].as_str().unwrap().starts_with("task-"));
    assert!(made.text.unwrap().starts_with('{'), "the answer to --create is always JSON");
    assert_eq!(world.told().await, ["The task t was made."]);

    let listed = world.run::<Tasks>(json!({})).await.unwrap();
    assert_eq!(listed.text.unwrap(), "t\tcandidate\tone two three\n");
    let row = &listed.json[0];
    assert_eq!(row["goal"], "one\ntwo\tthree");
    assert_eq!(row["state"], "candidate");
    for key in ["summary", "binding", "last_cycle_at", "budget"] {
        assert!(row.get(key).unwrap().is_null(), "{key}");
    }
    assert_eq!(row["created_at"], row["updated_at"]);
}

#[tokio::test]
async fn a_row_says_who_works_on_it() {
    let world = World::new();
    world.bound().await;
    let listed = world.json::<Tasks>(json!({ "active": true })).await;
    assert_eq!(listed[0]["state"], "managed");
    assert_eq!(listed[0]["binding"]["worker"], "w");
    assert_eq!(listed[0]["binding"]["manager"], "m");
}

#[tokio::test]
async fn a_name_is_unique_among_unfinished_tasks() {
    let world = World::new();
    let first = world.json::<Tasks>(json!({ "create": "t", "goal": "g" })).await;
    let error = world.error::<Tasks>(json!({ "create": "t", "goal": "g2" })).await;
    assert_eq!(error.kind, ErrorKind::Conflict);
    let reused = world.json::<Tasks>(json!({ "create": "t", "goal": "g2", "reuse": true })).await;
    assert_eq!((&reused["created"], &reused["id"]), (&json!(false), &first["id"]));

    let mut tx = world.tx().await;
    let task = tasks::by_name(&mut tx, &"t".parse().unwrap()).await.unwrap().unwrap();
    let done = Task { state: TaskState::Done, ..task };
    tasks::update(&mut tx, &done, crate::testing::told()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.json::<Tasks>(json!({ "create": "t", "goal": "g3" })).await["created"], true);
    assert_eq!(world.json::<Tasks>(json!({ "active": true })).await.as_array().unwrap().len(), 1);
    assert_eq!(world.json::<Tasks>(json!({})).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn wrong_usage_is_told_apart_from_a_listing() {
    let world = World::new();
    for wrong in [
        json!({ "create": "" , "goal": "g" }),
        json!({ "create": "a b" , "goal": "g" }),
        json!({ "create": "t" }),
        json!({ "create": "t", "goal": " " }),
        json!({ "goal": "g" }),
        json!({ "summary": "s" }),
        json!({ "reuse": true }),
        json!({ "create": "t", "goal": "g", "active": true }),
        json!({ "limit": 0 }),
        json!({ "limit": -1 }),
        json!({ "nonsense": 1 }),
    ] {
        assert_eq!(world.error::<Tasks>(wrong.clone()).await.kind, ErrorKind::Usage, "{wrong}");
    }
}

#[tokio::test]
async fn a_listing_makes_no_ledger() {
    let world = World::new();
    assert_eq!(world.json::<Tasks>(json!({})).await, json!([]));
    assert!(world.plane.ledger_to_read().await.unwrap().is_none());
}

#[tokio::test]
async fn an_agent_gets_the_newest_rows_and_the_command_for_more() {
    let world = World::new();
    for number in 0..103 {
        world.task(&format!("t{number}")).await;
    }
    let listed = run::<Tasks>(&world.agent("nobody"), json!({})).await.unwrap().json;
    let rows = listed.as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["name"], &rows[99]["name"]), (101, &json!("t3"), &json!("t102")));
    assert_eq!(rows[100]["truncated"], true);
    assert_eq!(rows[100]["next"], "call the tool tasks with {\"limit\":103}");
    assert_eq!(world.json::<Tasks>(json!({})).await.as_array().unwrap().len(), 103);
}
