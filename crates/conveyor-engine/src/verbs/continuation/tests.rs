use conveyor_model::ErrorKind;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;
use crate::verbs::manager_config::ManagerConfig;

/// A bound task whose manager may have reviewers.
async fn world(granted: bool) -> World {
    let world = World::new();
    world.bound().await;
    if granted {
        let grant = json!({ "task": "t", "permit": ["context.spawn_reviewer"] });
        world.json::<ManagerConfig>(grant).await;
    }
    world
}

/// Records a proposal as one side's own session.
async fn submit(world: &World, as_session: &str, role: &str, id: &str) -> Result<Value> {
    let payload = json!({ "next": format!("what the {role} wants") });
    let request = json!({ "task": "t", "submit": role, "payload_json": payload, "correlation_id": id });
    testing::run::<Continuation>(&world.agent(as_session), request).await.map(|answer| answer.json)
}

async fn listed(world: &World, as_session: &str) -> Value {
    let request = json!({ "task": "t", "list": true, "include_payload": true });
    testing::run::<Continuation>(&world.agent(as_session), request).await.unwrap().json
}

fn opinion() -> Value {
    json!({
        "agreement": "divergent",
        "verdict": "amend",
        "rationale": "one wants tests, the other a release",
        "subagent_run": {
            "reviewer_session_id": "r",
            "manager_session_id": "m",
            "manager_rollout_access": false,
            "status": "succeeded",
        },
    })
}

#[tokio::test]
async fn a_manager_answers_a_worker_and_sees_its_proposal_only_then() {
    let world = world(true).await;
    let begun =
        world.json::<Continuation>(json!({ "task": "t", "submit": "worker", "payload_json": {} })).await;
    assert!(begun["correlation_id"].as_str().unwrap().starts_with("continuation-"));
    let early = submit(&world, "m", "manager", "c").await.unwrap_err();
    assert_eq!(early.kind, ErrorKind::NotFound, "there is nothing to answer yet");

    submit(&world, "w", "worker", "c").await.unwrap();
    let before = listed(&world, "m").await;
    assert_eq!(before["continuations"][0]["payload"], Value::Null, "{before:#}");
    let asked = json!({ "task": "t", "list": true, "include_payload": true, "correlation_id": "c" });
    let error = testing::run::<Continuation>(&world.agent("m"), asked).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);

    submit(&world, "m", "manager", "c").await.unwrap();
    let after = listed(&world, "m").await;
    assert_eq!(after["continuations"][1]["payload"]["next"], "what the worker wants", "{after:#}");
    let workers = listed(&world, "w").await;
    assert_eq!(workers["continuations"][0]["payload_redacted"], true, "a worker never sees the manager's");
    assert_eq!(workers["continuations"][1]["payload_redacted"], false);
    let again = submit(&world, "w", "worker", "c").await.unwrap();
    assert_eq!(again["revision"], 2);
}

#[tokio::test]
async fn an_agent_cannot_look_from_another_side() {
    let world = world(true).await;
    submit(&world, "w", "worker", "c").await.unwrap();
    for role in ["all", "worker", "reviewer"] {
        let request = json!({ "task": "t", "list": true, "include_payload": true, "as_role": role });
        let seen = testing::run::<Continuation>(&world.agent("m"), request).await.unwrap().json;
        assert_eq!(seen["continuations"][0]["payload_redacted"], true, "{role}");
    }
    let person =
        world.json::<Continuation>(json!({ "task": "t", "list": true, "include_payload": true })).await;
    assert_eq!(person["continuations"][0]["payload_redacted"], false);
    let bare = world.json::<Continuation>(json!({ "task": "t", "list": true })).await;
    assert_eq!(bare["continuations"][0]["payload_redacted"], true, "content is shown only when asked for");
}

#[tokio::test]
async fn each_side_speaks_only_for_itself_and_only_a_manager_brings_a_review() {
    let world = world(true).await;
    world.session("x", Role::Manager).await;
    for (session, role) in [("m", "worker"), ("w", "manager"), ("x", "manager"), ("nobody", "worker")] {
        let error = submit(&world, session, role, "c").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{session} as {role}: {error}");
    }
    submit(&world, "w", "worker", "c").await.unwrap();
    submit(&world, "m", "manager", "c").await.unwrap();
    let request = json!({ "task": "t", "review": true, "correlation_id": "c", "payload_json": opinion() });
    for session in ["w", "x", "nobody"] {
        let error = testing::run::<Continuation>(&world.agent(session), request.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{session}");
    }
    let review = testing::run::<Continuation>(&world.agent("m"), request).await.unwrap().json;
    assert_eq!(review["subagent_run"]["status"], "claimed", "nobody but its bringer vouches for it");
    assert_eq!(review["operator_routing_required"], true);
}

#[tokio::test]
async fn a_review_needs_the_permission_both_proposals_and_an_independent_reviewer() {
    let world = world(false).await;
    submit(&world, "w", "worker", "c").await.unwrap();
    let review = |payload: Value| json!({ "task": "t", "review": true, "correlation_id": "c", "payload_json": payload });
    let error = world.error::<Continuation>(review(opinion())).await;
    assert!(error.message.contains("context.spawn_reviewer"), "{error}");
    world.json::<ManagerConfig>(json!({ "task": "t", "permit": ["context.spawn_reviewer"] })).await;
    assert_eq!(world.error::<Continuation>(review(opinion())).await.kind, ErrorKind::NotFound);
    submit(&world, "m", "manager", "c").await.unwrap();
    for (key, value) in [
        ("reviewer_session_id", json!("m")),
        ("reviewer_session_id", json!(" ")),
        ("manager_session_id", Value::Null),
        ("manager_rollout_access", json!(true)),
    ] {
        let mut wrong = opinion();
        wrong["subagent_run"][key] = value;
        assert_eq!(world.error::<Continuation>(review(wrong)).await.kind, ErrorKind::Usage, "{key}");
    }
    for wrong in [json!({}), json!({ "subagent_run": {} }), json!({ "agreement": "yes" })] {
        assert_eq!(world.error::<Continuation>(review(wrong)).await.kind, ErrorKind::Usage);
    }
    let seen = world.json::<Continuation>(json!({ "task": "t", "list": true })).await;
    assert_eq!(seen["reviews"], json!([]), "nothing of all that was kept");
}

#[tokio::test]
async fn wrong_usage_is_told_before_anything_is_read() {
    let world = world(true).await;
    for wrong in [
        json!({ "task": "t" }),
        json!({ "task": "t", "list": true, "review": true }),
        json!({ "task": "t", "submit": "worker" }),
        json!({ "task": "t", "list": true, "payload_json": {} }),
        json!({ "task": "t", "submit": "worker", "payload_json": {}, "from_stdin": true }),
        json!({ "task": "t", "submit": "manager", "payload_json": {} }),
        json!({ "task": "t", "review": true, "payload_json": {} }),
        json!({ "task": "t", "submit": "worker", "payload_json": {}, "correlation_id": " " }),
    ] {
        assert_eq!(world.error::<Continuation>(wrong.clone()).await.kind, ErrorKind::Usage, "{wrong}");
    }
    let request = json!({ "task": "t", "submit": "worker", "from_stdin": true });
    let error = testing::run::<Continuation>(&world.agent("w"), request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage, "over MCP standard input is the protocol's");
}
