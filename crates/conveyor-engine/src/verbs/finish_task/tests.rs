use conveyor_model::ErrorKind;
use conveyor_store::audit;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::criteria;
use conveyor_store::testing::plans;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;
use crate::verbs::criteria::Criteria;
use crate::verbs::loop_evidence::LoopEvidence;
use crate::verbs::stop_task::StopTask;

async fn criterion(world: &World, text: &str) {
    let add = json!({ "task": "t", "add": true, "criterion": text, "source": "user_requested", "status": ["accepted"] });
    world.json::<Criteria>(add).await;
}

fn all_gates() -> Value {
    json!({
        "task": "t", "require_criteria_audit": true, "require_acks": true, "require_epilogue": true,
        "require_adversarial_proof": true, "require_transcript_segment": true, "strict_decisions": true,
    })
}

async fn with_epilogue(world: &World, task: &Task) {
    let mut tx = world.tx().await;
    let config = ManagerConfig {
        epilogues_json: json!(["run-tools"]),
        ..ManagerConfig::new(task.id.clone(), tx.now())
    };
    conveyor_store::configs::put(&mut tx, config, told()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn every_closed_gate_is_reported_at_once_with_the_command_that_opens_it() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    with_epilogue(&world, &task).await;
    criterion(&world, "tests pass").await;
    let refusal = world.error::<FinishTask>(all_gates()).await;
    assert_eq!(refusal.kind, ErrorKind::Refused);
    let wanted = [
        ("#1: tests pass", "--satisfy 1"),
        ("acknowledgement of the worker and of the manager", "manager-ack t"),
        ("run-tools", "epilogue t --step run-tools"),
        ("disprove", "loop-evidence adversarial-check t"),
        ("what the worker and the manager said", "transcript-capture t"),
        ("missing_decision_id", "record-decision t stop"),
    ];
    let hint = refusal.hint.unwrap();
    for (message, command) in wanted {
        assert!(refusal.message.contains(message), "{message}: {}", refusal.message);
        assert!(hint.contains(command), "{command}: {hint}");
    }
    let dry = world.run::<FinishTask>({
        let mut request = all_gates();
        request["dry_run"] = json!(true);
        request
    });
    let dry = dry.await.unwrap();
    assert_eq!((dry.exit_code, dry.json["closed_gates"].as_array().unwrap().len()), (1, 6));
    assert_eq!((&dry.json["state"], &dry.json["dry_run"]), (&json!("managed"), &json!(true)));
}

#[tokio::test]
async fn a_refusal_leaves_one_row_and_that_row_names_the_task() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    for plane in [world.agent("m"), world.seen_by(crate::Caller::Person)] {
        let before = world.told().await.len();
        let refusal = run::<FinishTask>(&plane, all_gates()).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Refused);
        assert_eq!(world.told().await.len(), before + 1, "{:?}", plane.caller);
        let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
        let newest = audit::Wanted { newest_first: true, ..audit::Wanted::default() };
        let row = audit::list(&mut reader, &newest, 1).await.unwrap().remove(0);
        assert_eq!((row.kind.as_str(), row.task_id.as_ref()), ("call_refused", Some(&task.id)));
    }
}

#[tokio::test]
async fn a_rehearsal_changes_nothing() {
    let world = World::new();
    world.bound().await;
    let before = world.told().await;
    let dry =
        json!({ "task": "t", "dry_run": true, "capture_transcript_before_stop": true, "stop_worker": true });
    let dry = world.run::<FinishTask>(dry).await.unwrap();
    assert_eq!((dry.exit_code, dry.json.get("closed_gates")), (0, None));
    assert_eq!(world.told().await, before);
}

#[tokio::test]
async fn an_adversarial_check_counts_only_when_the_work_withstood_it() {
    let world = World::new();
    world.bound().await;
    let finish = json!({ "task": "t", "require_adversarial_proof": true, "dry_run": true });
    let closed = async || world.json::<FinishTask>(finish.clone()).await.get("closed_gates").is_some();
    let tried = |status: &str| {
        json!({
            "action": "adversarial-check", "task": "t", "failure_mode": "a", "check": "b", "result": "c", "status": status,
        })
    };
    assert!(closed().await);
    world.json::<LoopEvidence>(tried("fail")).await;
    assert!(closed().await);
    world.json::<LoopEvidence>(tried("pass")).await;
    assert!(!closed().await);
    let empty =
        json!({ "evidence_type": "adversarial_check", "failure_mode": "a", "check": " ", "result": "c" });
    let emptied = json!({ "task": "t", "satisfy": [1], "evidence_json": empty });
    world.json::<Criteria>(emptied).await;
    assert!(closed().await);
}

#[tokio::test]
async fn a_worker_does_not_finish_its_own_task() {
    let world = World::new();
    world.bound().await;
    for verb in ["finish", "stop"] {
        let worker = world.agent("w");
        let refused = match verb {
            "finish" => run::<FinishTask>(&worker, json!({ "task": "t" })).await,
            _ => run::<StopTask>(&worker, json!({ "task": "t" })).await,
        };
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused, "{verb}");
        assert!(world.told().await.last().unwrap().starts_with(&format!("`{verb}-task` was refused")));
    }
}

#[tokio::test]
async fn a_stopped_task_is_not_a_finished_one() {
    let world = World::new();
    world.task("t").await;
    criterion(&world, "a").await;
    let stopped = world.json::<StopTask>(json!({ "task": "t", "reason": "no longer wanted" })).await;
    assert_eq!((&stopped["state"], &stopped["outcome"]), (&json!("stopped"), &json!("stopped")));
    assert_eq!((&stopped["finish"], &stopped["stops"]), (&json!(false), &json!([])));
    assert_eq!(world.error::<StopTask>(json!({ "task": "t" })).await.kind, ErrorKind::Conflict);
    assert_eq!(
        world.error::<FinishTask>(json!({ "task": "t", "outcome": "stopped" })).await.kind,
        ErrorKind::Usage
    );
}

#[tokio::test]
async fn what_was_said_is_kept_before_the_end_and_only_once() {
    let world = World::new();
    let (_, worker, manager) = world.bound().await;
    for (session, text) in [(&worker, "I did it."), (&manager, "Show me.")] {
        let said = json!({ "type": "agent_message", "message": text });
        world.record(session, "event_msg", said).await;
    }
    let capture = json!({
        "task": "t", "capture_transcript_before_stop": true, "require_transcript_segment": true, "dry_run": true,
    });
    let mut capture = capture;
    assert!(world.json::<FinishTask>(capture.clone()).await.get("closed_gates").is_none());
    capture["dry_run"] = json!(false);
    let done = world.json::<FinishTask>(capture.clone()).await;
    let kept = done["pre_stop_transcript_captures"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[0]["role"], &kept[0]["line_count"]), (2, &json!("worker"), &json!(2)));
    // Again, for a task that is done: nothing is new, and what was kept is enough.
    let again = world.json::<FinishTask>(capture).await;
    assert_eq!(again["already_done_followup"], true);
    assert_eq!(again["pre_stop_transcript_captures"][0]["transcript_segment"], json!(null));
    let show = json!({ "task": "t", "include_content": true });
    let shown = world.json::<crate::verbs::transcript_show::TranscriptShow>(show).await;
    assert_eq!(shown["segments"].as_array().unwrap().len(), 2);
    assert!(shown["segments"][0]["segment_text"].as_str().unwrap().contains("I did it."));
    let bare = world.json::<crate::verbs::transcript_show::TranscriptShow>(json!({ "task": "t" })).await;
    assert_eq!(
        (&bare["segments"][0]["redacted"], bare["segments"][0].get("segment_text")),
        (&json!(true), None)
    );
}

#[tokio::test]
async fn the_number_of_queries_does_not_grow_with_the_criteria() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let request: FinishTaskRequest = serde_json::from_value(all_gates()).unwrap();
    let mut counts = Vec::new();
    for more in [10, 990] {
        let mut tx = world.tx().await;
        for number in 0..more {
            let new = criteria::Criterion {
                id: 0,
                task_id: task.id.clone(),
                criterion: format!("{more}/{number}"),
                status: criteria::CriterionStatus::Accepted,
                source: criteria::CriterionSource::UserRequested,
                proof: None,
                rationale: None,
                evidence_json: json!({}),
                created_at: tx.now(),
                updated_at: tx.now(),
            };
            criteria::insert(&mut tx, new, told()).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut tx = world.tx().await;
        let pair = Pair::of(&mut tx, "t").await.unwrap();
        plans(&mut tx).await.unwrap();
        assert!(checks::of(&mut tx, &pair.task).await.unwrap().is_empty());
        let audits = gates::look(&mut tx, &world.plane, &request, &pair, &[], &[]).await.unwrap();
        counts.push(plans(&mut tx).await.unwrap().len());
        assert_eq!(audits.criteria.total, if more == 10 { 10 } else { 1_000 });
        tx.roll_back().await;
    }
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0] < 20, "{counts:?}");
}
