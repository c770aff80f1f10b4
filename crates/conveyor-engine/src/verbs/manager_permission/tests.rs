use conveyor_model::ErrorKind;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;
use crate::verbs::handoff::Handoff;
use crate::verbs::manager_config::ManagerConfig;

#[tokio::test]
async fn nothing_is_allowed_without_a_configuration() {
    let world = World::new();
    world.bound().await;
    let ask =
        json!({ "task": "t", "action": "worker_compact_clear", "require_handoff": true, "require": true });
    let seen = world.run::<ManagerPermission>(ask.clone()).await.unwrap();
    assert_eq!((seen.exit_code, &seen.json["allowed"]), (1, &json!(false)));
    assert_eq!(seen.json["reasons"], json!(["missing_manager_config", "missing_worker_handoff"]));

    world.json::<ManagerConfig>(json!({ "task": "t", "permit": ["worker_session.compact"] })).await;
    let seen = world.json::<ManagerPermission>(ask.clone()).await;
    assert_eq!(seen["missing_permissions"], json!(["worker_session.clear"]));
    world.json::<ManagerConfig>(json!({ "task": "t", "allow_worker_compact_clear": true })).await;
    world.json::<Handoff>(json!({ "task": "t", "summary": "s" })).await;
    let seen = world.run::<ManagerPermission>(ask).await.unwrap();
    assert_eq!(
        (seen.exit_code, &seen.json["allowed"], &seen.json["handoff_id"]),
        (0, &json!(true), &json!(1))
    );
}

#[tokio::test]
async fn an_unknown_action_is_an_error_even_without_a_configuration() {
    let world = World::new();
    world.bound().await;
    for wrong in [
        json!({ "task": "t", "action": "repo" }),
        json!({ "task": "t", "action": "repo.rewrite" }),
        json!({ "task": "t", "action": "repo.open_pr", "list": true }),
    ] {
        assert_eq!(world.error::<ManagerPermission>(wrong.clone()).await.kind, ErrorKind::Usage, "{wrong}");
    }
}

#[tokio::test]
async fn an_empty_category_is_not_allowed_and_the_check_is_told_without_the_configuration() {
    let world = World::new();
    world.bound().await;
    world.json::<ManagerConfig>(json!({ "task": "t", "allow_pr": true, "objective": "a long story" })).await;
    let list = |category: &str| json!({ "task": "t", "action": category, "list": true, "require": true });
    let empty = world.run::<ManagerPermission>(list("context")).await.unwrap();
    assert_eq!((empty.exit_code, &empty.json["listed_permissions"]), (1, &json!([])));
    let some = world.run::<ManagerPermission>(list("repo")).await.unwrap();
    assert_eq!((some.exit_code, &some.json["listed_permissions"]), (0, &json!(["open_pr"])));
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let wanted = conveyor_store::audit::Wanted::default();
    let rows = conveyor_store::audit::list(&mut reader, &wanted, 100).await.unwrap();
    let checks: Vec<_> = rows.iter().filter(|row| row.kind == "manager_permission_checked").collect();
    assert_eq!(checks.len(), 2);
    assert!(checks.iter().all(|row| !format!("{:?}", row.payload_json).contains("a long story")));
}

#[tokio::test]
async fn only_the_tasks_manager_checks() {
    let world = World::new();
    world.bound().await;
    world.session("m2", Role::Manager).await;
    let ask = json!({ "task": "t", "action": "repo.open_pr" });
    assert!(testing::run::<ManagerPermission>(&world.agent("m"), ask.clone()).await.is_ok());
    for other in ["w", "m2", "nobody"] {
        let refused = testing::run::<ManagerPermission>(&world.agent(other), ask.clone()).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused, "{other}");
    }
}
