use conveyor_model::ErrorKind;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::run;
use crate::verbs::criteria::Criteria;

#[tokio::test]
async fn what_is_known_is_named_and_nothing_is_recorded() {
    let world = World::new();
    world.task("t").await;
    let known = json!({ "task": "t", "add": true, "criterion": "tests pass", "source": "user_requested" });
    world.json::<Criteria>(known).await;
    let before = world.told().await;
    let answer = "Must-have:\n- [ ] tests pass\n- -v is taken\nFollow-up:\n- it's quick\n";
    let plan = world.json::<CriteriaPlan>(json!({ "task": "t", "from_text": answer })).await;
    assert_eq!(world.told().await, before);
    let rows = plan["suggestions"].as_array().unwrap();
    assert_eq!(rows[0]["existing"], json!({ "id": 1, "status": "proposed" }));
    assert_eq!((&rows[1]["existing"], &rows[1]["status"]), (&json!(null), &json!("accepted")));
    assert_eq!(rows[1]["command"][4], "--criterion=-v is taken");
    assert_eq!((&rows[2]["status"], &rows[2]["source"]), (&json!("deferred"), &json!("worker_proposed")));
    let words = shlex::split(rows[2]["shell"].as_str().unwrap()).unwrap();
    assert_eq!(json!(words), rows[2]["command"], "a shell reads back the same words");
    let text =
        world.run::<CriteriaPlan>(json!({ "task": "t", "from_text": "" })).await.unwrap().text.unwrap();
    assert!(text.contains("None.") && text.contains("warning: no heading"), "{text}");
}

#[tokio::test]
async fn an_answer_comes_from_one_place_that_the_caller_may_read() {
    let world = World::new();
    world.bound().await;
    for wrong in [json!({ "task": "t" }), json!({ "task": "t", "from_text": "a", "from_stdin": true })] {
        assert_eq!(world.error::<CriteriaPlan>(wrong).await.kind, ErrorKind::Usage);
    }
    for elsewhere in [json!({ "from_worker_response": "/etc/passwd" }), json!({ "from_stdin": true })] {
        let mut request = elsewhere;
        request["task"] = json!("t");
        let error = run::<CriteriaPlan>(&world.agent("m"), request).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
    }
    let missing = json!({ "task": "t", "from_worker_response": "not-there.md" });
    assert_eq!(world.error::<CriteriaPlan>(missing).await.kind, ErrorKind::NotFound);
    let folder = json!({ "task": "t", "from_worker_response": "." });
    assert_eq!(world.error::<CriteriaPlan>(folder).await.kind, ErrorKind::Usage);
    let unknown = json!({ "task": "none", "from_text": "Must-have: a" });
    assert_eq!(world.error::<CriteriaPlan>(unknown).await.kind, ErrorKind::NotFound);
}
