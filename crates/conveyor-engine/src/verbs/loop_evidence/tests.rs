use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::run;

fn tried(status: &str) -> Value {
    json!({
        "action": "adversarial-check", "task": "t", "failure_mode": "a crash loses a row",
        "check": "kill -9 in a loop", "result": "none lost", "status": status,
    })
}

#[tokio::test]
async fn a_failing_check_revokes_an_earlier_pass_and_both_stay_in_the_history() {
    let world = World::new();
    world.task("t").await;
    let first = world.json::<LoopEvidence>(tried("pass")).await;
    assert_eq!(
        (&first["criterion"]["status"], &first["evidence"]["status"]),
        (&json!("satisfied"), &json!("pass"))
    );
    let second = world.json::<LoopEvidence>(tried("fail")).await;
    assert_eq!((&second["criterion"]["id"], &second["criterion"]["status"]), (&json!(1), &json!("rejected")));
    let list = json!({ "task": "t", "list": true });
    let listed = world.json::<super::super::criteria::Criteria>(list).await;
    assert_eq!(listed["criteria"].as_array().unwrap().len(), 1);
    assert_eq!(listed["criteria"][0]["receipt"]["passed"], false);
    let history = world.json::<super::super::criteria::Criteria>(json!({ "task": "t", "history": 1 })).await;
    assert_eq!(history["history"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn blank_words_unknown_runs_and_workers_are_refused() {
    let world = World::new();
    world.bound().await;
    for (key, value) in [("failure_mode", json!(" ")), ("result", json!("")), ("status", json!("merged"))] {
        let mut request = tried("pass");
        request[key] = value;
        assert_eq!(world.error::<LoopEvidence>(request).await.kind, ErrorKind::Usage);
    }
    let mut run_alone = tried("pass");
    run_alone["loop_run"] = json!("r");
    assert_eq!(world.error::<LoopEvidence>(run_alone.clone()).await.kind, ErrorKind::Usage);
    run_alone["iteration"] = json!(1);
    assert_eq!(world.error::<LoopEvidence>(run_alone).await.kind, ErrorKind::NotFound);
    let refusal = run::<LoopEvidence>(&world.agent("w"), tried("pass")).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Refused);
    assert!(world.told().await.last().unwrap().starts_with("`loop-evidence` was refused"));
    assert!(run::<LoopEvidence>(&world.agent("m"), tried("pass")).await.is_ok());
}
