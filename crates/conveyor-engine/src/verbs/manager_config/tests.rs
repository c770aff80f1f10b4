use conveyor_model::ErrorKind;
use conveyor_store::criteria;
use conveyor_store::sessions::Role;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;

async fn rows(world: &World) -> usize {
    world.told().await.len()
}

#[tokio::test]
async fn showing_and_asking_change_nothing_and_create_nothing() {
    let world = World::new();
    world.bound().await;
    let before = rows(&world).await;
    for request in [json!({ "task": "t" }), json!({ "task": "t", "show": true })] {
        assert_eq!(world.json::<ManagerConfig>(request).await, Value::Null);
    }
    let asked = world.json::<ManagerConfig>(json!({ "task": "t", "questions": true })).await;
    assert_eq!(asked["questions"].as_array().unwrap().len(), 10);
    assert_eq!(asked["recommended_collection"], "manager_codex_chat");
    assert_eq!(asked["questions"][0]["flag"], "--mode");
    assert_eq!(rows(&world).await, before);
}

#[tokio::test]
async fn each_setting_can_be_set_and_unset() {
    let world = World::new();
    world.bound().await;
    let set = json!({
        "task": "t", "mode": "strict", "objective": "o", "guideline": ["g"], "acceptance": ["a"],
        "reference": ["r"], "tool": ["x"], "epilogue": ["draft-pr"], "nudge_on_completion": "off",
        "require_acks": true, "permit": ["repo.open_pr"],
    });
    let first = world.json::<ManagerConfig>(set.clone()).await;
    assert_eq!((&first["revision"], &first["changed"]), (&json!(1), &json!(true)));
    assert_eq!(first["permissions"], json!({ "repo": ["open_pr"] }));
    let again = world.json::<ManagerConfig>(set).await;
    assert_eq!((&again["revision"], &again["changed"]), (&json!(1), &json!(false)), "nothing changed");
    let added = json!({ "task": "t", "add_guideline": ["h"], "revoke": ["repo.open_pr"] });
    let added = world.json::<ManagerConfig>(added).await;
    assert_eq!((&added["guidelines"], &added["permissions"]), (&json!(["g", "h"]), &json!({})));

    let cleared = world
        .json::<ManagerConfig>(json!({
            "task": "t", "mode": "guided", "clear_objective": true, "clear_guidelines": true,
            "clear_acceptance": true, "clear_references": true, "clear_tools": true, "clear_epilogues": true,
            "nudge_on_completion": "ask-operator", "no_require_acks": true, "clear_permissions": true,
        }))
        .await;
    assert_eq!(cleared["revision"], 3);
    let shown = world.json::<ManagerConfig>(json!({ "task": "t", "show": true })).await;
    for list in ["guidelines", "acceptance_criteria", "reference_paths", "tools", "epilogues"] {
        assert_eq!(shown[list], json!([]), "{list}");
    }
    assert_eq!((&shown["objective"], &shown["require_acks"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn acceptance_feeds_the_ledger_of_criteria_once() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let set = json!({ "task": "t", "acceptance": ["tests pass", "docs"] });
    let first = world.json::<ManagerConfig>(set.clone()).await;
    assert_eq!(first["criteria_added"], json!([1, 2]));
    assert_eq!(world.json::<ManagerConfig>(set).await["criteria_added"], json!([]));
    let less = world.json::<ManagerConfig>(json!({ "task": "t", "acceptance": ["docs"] })).await;
    assert!(less["warnings"][0].as_str().unwrap().contains("tests pass"));
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    assert_eq!(criteria::list(&mut reader, &task.id, &[]).await.unwrap().len(), 2, "a criterion is history");
}

#[tokio::test]
async fn answers_are_stored_in_one_call() {
    let world = World::new();
    world.bound().await;
    let answers = json!({
        "supervision_mode": "light", "objective": "o", "permissions": { "repo": ["push_branch"] },
        "require_acks": true,
    });
    let stored = world.json::<ManagerConfig>(json!({ "task": "t", "answers_json": answers })).await;
    assert_eq!((&stored["supervision_mode"], &stored["require_acks"]), (&json!("light"), &json!(true)));
    assert_eq!(stored["permissions"], json!({ "repo": ["push_branch"] }));
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nothing_is_stored() {
    let world = World::new();
    world.bound().await;
    for wrong in [
        json!({ "task": "t", "permit": ["repo.rewrite_history"] }),
        json!({ "task": "t", "revoke": ["nonsense"] }),
        json!({ "task": "t", "permissions_json": { "rights": ["all"] } }),
        json!({ "task": "t", "epilogue": ["party"] }),
        json!({ "task": "t", "mode": "lax" }),
        json!({ "task": "t", "show": true, "mode": "light" }),
        json!({ "task": "t", "questions": true, "answers_json": {} }),
        json!({ "task": "t", "require_acks": true, "no_require_acks": true }),
        json!({ "task": "t", "guideline": ["g"], "clear_guidelines": true }),
        json!({ "task": "t", "guideline": [" "] }),
        json!({ "task": "t", "answers_json": { "mood": "good" } }),
    ] {
        assert_eq!(world.error::<ManagerConfig>(wrong.clone()).await.kind, ErrorKind::Usage, "{wrong}");
    }
    assert_eq!(world.json::<ManagerConfig>(json!({ "task": "t" })).await, Value::Null);
}

#[tokio::test]
async fn a_worker_cannot_change_how_it_is_managed() {
    let world = World::new();
    world.bound().await;
    world.session("m2", Role::Manager).await;
    world.task("free").await;
    let set = |task: &str| json!({ "task": task, "allow_merge_green": true });
    for other in ["w", "m2", "nobody"] {
        let refused = testing::run::<ManagerConfig>(&world.agent(other), set("t")).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused, "{other}");
        assert!(testing::run::<ManagerConfig>(&world.agent(other), json!({ "task": "t" })).await.is_ok());
    }
    assert!(testing::run::<ManagerConfig>(&world.agent("m"), set("t")).await.is_ok());
    assert!(testing::run::<ManagerConfig>(&world.agent("m2"), set("free")).await.is_ok());
    assert!(testing::run::<ManagerConfig>(&world.agent("w"), set("free")).await.is_err());
    let asked = json!({ "task": "t", "interactive": true });
    let refused = testing::run::<ManagerConfig>(&world.agent("m"), asked).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused);
}
