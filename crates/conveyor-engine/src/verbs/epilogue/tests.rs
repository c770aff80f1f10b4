use conveyor_model::ErrorKind;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing;
use crate::testing::World;
use crate::verbs::continuation::Continuation;
use crate::verbs::handoff::Handoff;
use crate::verbs::manager_config::ManagerConfig;

/// A bound task whose end wants these steps.
async fn world(steps: &[&str]) -> World {
    let world = World::new();
    world.bound().await;
    let config = json!({ "task": "t", "epilogue": steps, "permit": ["context.spawn_reviewer"] });
    world.json::<ManagerConfig>(config).await;
    world
}

/// Runs a step: its run, and the exit code.
async fn step(world: &World, step: &str) -> (Value, u8) {
    let answer = world.run::<Epilogue>(json!({ "task": "t", "step": step })).await.unwrap();
    (answer.json["runs"][0].clone(), answer.exit_code)
}

async fn status(world: &World) -> Value {
    world.json::<Epilogue>(json!({ "task": "t", "status": true })).await
}

#[tokio::test]
async fn a_step_that_failed_exits_with_one_and_the_latest_run_counts() {
    let world = world(&["record-handoff", "draft-pr"]).await;
    assert_eq!(
        status(&world).await["status"]["missing_or_incomplete"],
        json!(["record-handoff", "draft-pr"])
    );
    let (run, code) = step(&world, "record-handoff").await;
    assert_eq!((code, &run["state"]), (1, &json!("failed")), "{run:#}");
    assert!(run["error"].as_str().unwrap().contains("conveyor handoff"));
    world.json::<Handoff>(json!({ "task": "t", "summary": "all is done" })).await;
    let (run, code) = step(&world, "record-handoff").await;
    assert_eq!(
        (code, &run["state"], &run["result"]["summary"]),
        (0, &json!("succeeded"), &json!("all is done"))
    );
    let (run, code) = step(&world, "draft-pr").await;
    assert_eq!((code, &run["result"]["pull_request_opened"]), (0, &json!(false)), "{run:#}");
    let now = status(&world).await;
    assert_eq!((&now["status"]["ok"], now["runs"].as_array().unwrap().len()), (&json!(true), 3), "{now:#}");
    let listed = world.json::<Epilogue>(json!({ "task": "t", "list": true })).await;
    assert_eq!(listed, now);
}

#[tokio::test]
async fn a_review_that_says_stop_is_no_success() {
    let world = world(&["subagent-review"]).await;
    assert_eq!(step(&world, "subagent-review").await.1, 1, "there is none yet");
    for role in ["worker", "manager"] {
        let request = json!({ "task": "t", "submit": role, "payload_json": {}, "correlation_id": "c" });
        world.json::<Continuation>(request).await;
    }
    for (agreement, verdict, code) in
        [("match", "stop", 1), ("divergent", "amend", 1), ("match", "proceed", 0), ("compatible", "amend", 0)]
    {
        let run =
            json!({ "reviewer_session_id": "r", "manager_session_id": "m", "manager_rollout_access": false });
        let payload =
            json!({ "agreement": agreement, "verdict": verdict, "rationale": "r", "subagent_run": run });
        let request = json!({ "task": "t", "review": true, "payload_json": payload, "correlation_id": "c" });
        world.json::<Continuation>(request).await;
        let (run, exit) = step(&world, "subagent-review").await;
        assert_eq!(exit, code, "{agreement}, {verdict}: {run:#}");
    }
    let again = json!({ "task": "t", "submit": "worker", "payload_json": {}, "correlation_id": "c" });
    world.json::<Continuation>(again).await;
    let (run, exit) = step(&world, "subagent-review").await;
    assert_eq!(exit, 1, "{run:#}");
    assert!(run["error"].as_str().unwrap().contains("proposed something else"), "{run:#}");
}

#[tokio::test]
async fn only_configured_steps_run_and_only_for_the_manager() {
    let world = world(&["draft-pr"]).await;
    let other = world.error::<Epilogue>(json!({ "task": "t", "step": "run-tools" })).await;
    assert_eq!(other.kind, ErrorKind::Refused, "{other}");
    for session in ["w", "nobody"] {
        let request = json!({ "task": "t", "step": "draft-pr" });
        let error = testing::run::<Epilogue>(&world.agent(session), request).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{session}");
    }
    let request = json!({ "task": "t", "step": "draft-pr" });
    assert!(testing::run::<Epilogue>(&world.agent("m"), request).await.is_ok());
    assert_eq!(status(&world).await["runs"].as_array().unwrap().len(), 1, "a refusal leaves no run");
    for wrong in [json!({ "task": "t" }), json!({ "task": "t", "step": "draft-pr", "list": true })] {
        assert_eq!(world.error::<Epilogue>(wrong).await.kind, ErrorKind::Usage);
    }
}
