use conveyor_model::ErrorKind;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::sessions::Role;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::Caller;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;
use conveyor_model::limits;

fn new(text: &str) -> Value {
    json!({ "task": "t", "add": true, "criterion": text, "source": "manager_inferred" })
}

async fn strict(world: &World, task: &Task) {
    let mut tx = world.tx().await;
    let config = ManagerConfig {
        supervision_mode: configs::SupervisionMode::Strict,
        ..ManagerConfig::new(task.id.clone(), tx.now())
    };
    configs::put(&mut tx, config, told()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_criterion_goes_from_proposed_to_satisfied_with_a_receipt_each_time() {
    let world = World::new();
    world.task("t").await;
    let added = world.json::<Criteria>(new("  tests pass \n")).await;
    assert_eq!(added["created"], true);
    assert_eq!(added["affected_criterion"]["criterion"], "tests pass");
    assert_eq!(added["affected_criterion"]["status"], "proposed");
    assert_eq!(added["affected_criterion"]["evidence"], json!({}));
    let id = added["affected_criterion"]["id"].clone();

    let accept = json!({ "task": "t", "accept": [id], "rationale": "Must-have" });
    let accepted = world.json::<Criteria>(accept).await;
    assert_eq!(accepted["affected_criterion"]["status"], "accepted");
    assert_eq!(accepted.get("created"), None);
    let evidence = json!({ "command": "pytest", "status": "pass" });
    let satisfy = json!({ "task": "t", "satisfy": [id], "evidence_json": evidence });
    let satisfied = world.json::<Criteria>(satisfy).await;
    let row = &satisfied["affected_criterion"];
    assert_eq!((&row["status"], &row["rationale"]), (&json!("satisfied"), &json!("Must-have")));
    assert_eq!((&row["evidence"], &row["receipt"]["kind"]), (&evidence, &json!("claimed")));
    assert_eq!(satisfied["criteria"].as_array().unwrap().len(), 1);
    let counts = json!({ "accepted": 0, "deferred": 0, "proposed": 0, "rejected": 0, "satisfied": 1 });
    assert_eq!(satisfied["summary"], counts);

    let history = world.json::<Criteria>(json!({ "task": "t", "history": id })).await;
    let kinds: Vec<&str> =
        history["history"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    let updated = "acceptance_criterion_updated";
    assert_eq!(kinds, ["acceptance_criterion_added", updated, updated, "evidence_claimed"]);
}

#[tokio::test]
async fn a_known_text_is_not_silently_dropped() {
    let world = World::new();
    world.task("t").await;
    world.json::<Criteria>(new("a")).await;
    let mut again = new(" a ");
    let same = world.json::<Criteria>(again.clone()).await;
    assert_eq!((&same["created"], &same["summary"]["proposed"]), (&json!(false), &json!(1)));
    again["status"] = json!(["accepted"]);
    let differs = world.json::<Criteria>(again.clone()).await;
    assert!(differs["warnings"][0].as_str().unwrap().contains("--upsert"), "{differs}");
    assert_eq!(differs["affected_criterion"]["status"], "proposed");
    again["upsert"] = json!(true);
    let changed = world.json::<Criteria>(again.clone()).await;
    assert_eq!(
        (&changed["created"], &changed["affected_criterion"]["status"]),
        (&json!(false), &json!("accepted"))
    );
    again["source"] = json!("user_requested");
    let second = world.json::<Criteria>(again).await;
    assert_eq!(second["created"], true);
    assert!(second["warnings"][0].as_str().unwrap().contains("#1"));
}

#[tokio::test]
async fn several_are_judged_together_or_not_at_all() {
    let world = World::new();
    world.task("t").await;
    for text in ["a", "b"] {
        world.json::<Criteria>(new(text)).await;
    }
    let error = world.error::<Criteria>(json!({ "task": "t", "accept": [1, 2, 99] })).await;
    assert_eq!(error.kind, ErrorKind::NotFound);
    let both = world.json::<Criteria>(json!({ "task": "t", "accept": [1, 2] })).await;
    assert_eq!((&both["affected_criteria"], &both["summary"]["accepted"]), (&json!([1, 2]), &json!(2)));
    let again = world.json::<Criteria>(json!({ "task": "t", "accept": [1] })).await;
    assert!(again["warnings"][0].as_str().unwrap().contains("nothing was changed"));
    let only = world.json::<Criteria>(json!({ "task": "t", "list": true, "status": ["deferred"] })).await;
    assert_eq!((&only["criteria"], &only["summary"]["accepted"]), (&json!([]), &json!(2)));
}

#[tokio::test]
async fn another_tasks_criterion_is_not_judged() {
    let world = World::new();
    world.task("t").await;
    world.task("other").await;
    world.json::<Criteria>(new("a")).await;
    for request in [json!({ "task": "other", "accept": [1] }), json!({ "task": "other", "history": 1 })] {
        assert_eq!(world.error::<Criteria>(request).await.kind, ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn satisfied_without_evidence_is_refused_where_supervision_is_strict() {
    let world = World::new();
    let task = world.task("t").await;
    world.json::<Criteria>(new("a")).await;
    let bare = json!({ "task": "t", "satisfy": [1] });
    let warned = world.json::<Criteria>(bare.clone()).await;
    assert!(warned["warnings"][0].as_str().unwrap().contains("without evidence"));
    strict(&world, &task).await;
    for empty in [json!({}), json!({ "evidence_json": {} }), json!({ "proof": " " })] {
        let mut request = bare.clone();
        request.as_object_mut().unwrap().extend(empty.as_object().unwrap().clone());
        let refusal = world.error::<Criteria>(request).await;
        assert_eq!(refusal.kind, ErrorKind::Refused);
    }
    assert!(world.told().await.last().unwrap().starts_with("`criteria` was refused"));
    let proved = json!({ "task": "t", "satisfy": [1], "proof": "seen" });
    assert_eq!(world.json::<Criteria>(proved).await["affected_criterion"]["proof"], "seen");
}

#[tokio::test]
async fn wrong_usage_changes_nothing() {
    let world = World::new();
    world.task("t").await;
    let wrong = [
        json!({ "task": "t" }),
        json!({ "task": "t", "list": true, "accept": [1] }),
        json!({ "task": "t", "accept": [1], "reject": [2] }),
        json!({ "task": "t", "accept": [-1] }),
        json!({ "task": "t", "accept": [0] }),
        json!({ "task": "t", "accept": [1e30] }),
        json!({ "task": "t", "history": -4 }),
        json!({ "task": "t", "add": true, "criterion": "a" }),
        json!({ "task": "t", "add": true, "criterion": "  ", "source": "final_audit" }),
        json!({ "task": "t", "add": true, "criterion": "a", "source": "somebody" }),
        json!({ "task": "t", "add": true, "criterion": "a", "source": "final_audit", "status": ["accepted", "deferred"] }),
        json!({ "task": "t", "accept": [1], "status": ["accepted"] }),
        json!({ "task": "t", "accept": [1], "criterion": "a" }),
        json!({ "task": "t", "list": true, "proof": "a" }),
        json!({ "task": "t", "satisfy": [1], "evidence_json": [] }),
        json!({ "task": "t", "satisfy": [1], "evidence_json": "no json" }),
        json!({ "task": "t", "add": true, "source": "final_audit", "criterion": "x".repeat(limits::CRITERION_BYTES + 1) }),
        json!({ "task": "t", "list": true, "limit": 0 }),
    ];
    let before = world.told().await;
    for request in wrong {
        let error = world.error::<Criteria>(request.clone()).await;
        assert_eq!(error.kind, ErrorKind::Usage, "{request}: {error}");
    }
    assert_eq!(world.told().await, before);
    assert_eq!(
        world.error::<Criteria>(json!({ "task": "none", "list": true })).await.kind,
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_worker_proposes_and_never_judges() {
    let world = World::new();
    world.bound().await;
    let worker = world.agent("w");
    let proposes = json!({ "task": "t", "add": true, "criterion": "a", "source": "worker_proposed" });
    let added = run::<Criteria>(&worker, proposes.clone()).await.unwrap().json;
    assert_eq!(added["affected_criterion"]["status"], "proposed");
    assert!(run::<Criteria>(&worker, json!({ "task": "t", "list": true })).await.is_ok());
    let mut accepted = proposes.clone();
    accepted["status"] = json!(["accepted"]);
    let mut as_the_user = proposes.clone();
    as_the_user["source"] = json!("user_requested");
    let mut over = proposes;
    over["upsert"] = json!(true);
    let evidence = json!({ "status": "pass" });
    let refused = [
        accepted,
        as_the_user,
        over,
        json!({ "task": "t", "satisfy": [1], "evidence_json": evidence }),
        json!({ "task": "t", "accept": [1] }),
        json!({ "task": "t", "reject": [1] }),
        json!({ "task": "t", "defer": [1] }),
    ];
    let in_a_shell = world.seen_by(Caller::Shell { thread: Some("thread-w".to_owned()), sandboxed: false });
    for request in &refused {
        for plane in [&worker, &in_a_shell] {
            let error = run::<Criteria>(plane, request.clone()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused, "{request}");
        }
    }
    let told = world.told().await;
    let noted = told.iter().filter(|sentence| sentence.starts_with("`criteria` was refused")).count();
    assert_eq!(noted, 2 * refused.len());
    let list = world.json::<Criteria>(json!({ "task": "t", "list": true })).await;
    assert_eq!(
        (&list["criteria"][0]["status"], list["criteria"].as_array().unwrap().len()),
        (&json!("proposed"), 1)
    );
}

#[tokio::test]
async fn nobody_judges_anothers_task_over_mcp() {
    let world = World::new();
    world.bound().await;
    world.session("m2", Role::Manager).await;
    world.session("w2", Role::Worker).await;
    world.json::<Criteria>(new("a")).await;
    for stranger in ["m2", "w2", "unregistered"] {
        let error = run::<Criteria>(&world.agent(stranger), json!({ "task": "t", "accept": [1] })).await;
        assert_eq!(error.unwrap_err().kind, ErrorKind::Refused, "{stranger}");
    }
    assert!(run::<Criteria>(&world.agent("m"), json!({ "task": "t", "accept": [1] })).await.is_ok());
}

#[tokio::test]
async fn an_agent_gets_a_bounded_listing_and_counts_over_all() {
    let world = World::new();
    world.bound().await;
    for number in 0..limits::LIST_ROWS + 3 {
        world.json::<Criteria>(new(&format!("c{number}"))).await;
    }
    let seen = run::<Criteria>(&world.agent("m"), json!({ "task": "t", "list": true })).await.unwrap().json;
    assert_eq!(seen["criteria"].as_array().unwrap().len(), limits::LIST_ROWS as usize);
    assert_eq!((&seen["truncated"], &seen["summary"]["proposed"]), (&json!(true), &json!(103)));
    assert_eq!(seen["criteria"][0]["criterion"], "c3");
    assert!(seen["next"].as_str().unwrap().contains("\"limit\":103"));
    let all = world.json::<Criteria>(json!({ "task": "t", "list": true })).await;
    assert_eq!(all["criteria"].as_array().unwrap().len(), 103);
}

#[tokio::test]
async fn the_table_shows_one_line_a_criterion() {
    let world = World::new();
    world.task("t").await;
    world.json::<Criteria>(new("two\nlines")).await;
    let shown = world.run::<Criteria>(json!({ "task": "t", "list": true })).await.unwrap().text.unwrap();
    insta::assert_snapshot!(shown, @r"
       #1  proposed   manager_inferred  -         two lines
    t: 0 accepted, 0 deferred, 1 proposed, 0 rejected, 0 satisfied
    ");
}
