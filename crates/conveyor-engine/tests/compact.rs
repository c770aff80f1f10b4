//! Compacting and clearing a worker: a simulated agent in a real tmux pane, and who may ask for it.

mod support;

use conveyor_engine::Caller;
use conveyor_engine::Effects;
use conveyor_engine::Plane;
use conveyor_model::ErrorKind;
use conveyor_store::deliveries;
use conveyor_store::sessions::Role;
use conveyor_store::threads;
use serde_json::Value;
use serde_json::json;
use support::Agent;
use support::World;

type Done = anyhow::Result<()>;

/// A worker in a pane and its manager, bound on a task that grants both commands, with a saved handoff.
async fn ready(flags: &[&str]) -> anyhow::Result<(World, Agent)> {
    let world = World::new()?;
    let worker = world.agent_like_codex("foo", Role::Worker, flags).await?;
    world.agent("boss", Role::Manager, &[]).await?;
    world.run("tasks", json!({ "create": "t", "goal": "g" })).await?;
    world.run("bind", json!({ "task": "t", "worker": "foo", "manager": "boss" })).await?;
    grant(&world, &["compact", "clear"]).await?;
    world.run("handoff", json!({ "task": "t", "summary": "half of it is done" })).await?;
    world.until_idle(&worker)?;
    Ok((world, worker))
}

async fn grant(world: &World, actions: &[&str]) -> Done {
    let ledger = world.plane.ledger().await?;
    let mut tx = ledger.write(&conveyor_model::audit::Actor::Operator).await?;
    let task = conveyor_store::tasks::by_id_or_name(&mut tx, "t").await?.expect("the task");
    let now = tx.now();
    let config = conveyor_store::configs::ManagerConfig {
        permissions_json: json!({ "worker_session": actions }),
        ..conveyor_store::configs::ManagerConfig::new(task.id, now)
    };
    let audit = conveyor_store::AuditRow::new("manager_config_recorded", "A test grants.");
    conveyor_store::configs::put(&mut tx, config, audit).await?;
    Ok(tx.commit().await?)
}

async fn threads_of(world: &World, worker: &Agent) -> anyhow::Result<Vec<String>> {
    let mut reader = world.plane.ledger().await?.read().await?;
    let current = threads::current(&mut reader, &worker.session.id).await?;
    Ok(current.into_iter().map(|thread| thread.thread_id).collect())
}

/// How many deliveries and decisions the ledger holds.
async fn rows(world: &World) -> anyhow::Result<(usize, usize)> {
    let mut reader = world.plane.ledger().await?.read().await?;
    let task = conveyor_store::tasks::by_id_or_name(&mut reader, "t").await?.expect("the task");
    let sent = deliveries::list(&mut reader, &deliveries::Wanted::default(), 100).await?.len();
    let decided = conveyor_store::decisions::list(&mut reader, &task.id, 100).await?.len();
    Ok((sent, decided))
}

/// The refusal of a request.
async fn refusal(plane: &Plane, verb: &str, request: Value) -> conveyor_model::Error {
    support::run(plane, verb, request).await.expect_err("it is refused")
}

#[tokio::test]
async fn a_compaction_is_confirmed_by_the_agents_own_record() -> Done {
    let (world, worker) = ready(&[]).await?;
    world.run("session-nudge", json!({ "name": "foo", "text": "work", "wait_for": "answered" })).await?;
    let report = world.run("compact-worker", json!({ "task": "t", "reason": "its context is full" })).await?;
    assert_eq!(
        (&report["confirmed"], &report["slash_command"]),
        (&json!(true), &json!("/compact")),
        "{report:#}"
    );
    assert_eq!(report["send_result"]["state"], "recorded");
    assert_eq!(report["permission_check"]["action"], "worker_session.compact");
    assert!(report["manager_decision"]["decision_id"].is_i64(), "the decision was recorded with it");
    assert_eq!(support::recorded(&worker)?.len(), 1, "the command is no message");
    let listed = world.run("commands", json!({ "task": "t", "type": "request_worker_compact" })).await?;
    assert_eq!(listed[0]["state"], "succeeded", "{listed:#}");
    Ok(())
}

#[tokio::test]
async fn after_a_clear_the_session_follows_its_new_thread() -> Done {
    let (world, worker) = ready(&[]).await?;
    let say = |text: &str| json!({ "name": "foo", "text": text, "wait_for": "answered", "timeout": 20 });
    world.run("session-nudge", say("before")).await?;
    let before = threads_of(&world, &worker).await?;
    let report =
        world.run("compact-worker", json!({ "task": "t", "reason": "start anew", "clear": true })).await?;
    assert_eq!(
        (&report["confirmed"], &report["slash_command"]),
        (&json!(true), &json!("/clear")),
        "{report:#}"
    );
    let after = threads_of(&world, &worker).await?;
    assert!(after.len() == 2 && after[1] == before[0] && after[0] != before[0], "{before:?} {after:?}");
    let report = world.run("session-nudge", say("after")).await?;
    assert_eq!(report["state"], "answered", "{report:#}");
    assert_eq!(support::recorded(&worker)?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_refusal_names_everything_and_leaves_neither_decision_nor_command() -> Done {
    let (world, _worker) = ready(&[]).await?;
    grant(&world, &["clear"]).await?;
    world
        .run("session-nudge", json!({ "name": "foo", "text": "work [[delay=30]]", "wait_for": "recorded" }))
        .await?;
    let before = rows(&world).await?;
    let error = refusal(&world.plane, "compact-worker", json!({ "task": "t", "reason": "r" })).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(
        error.message.contains("permission_not_enabled, worker_busy (worker_session.compact)"),
        "{error}"
    );
    let strict = json!({ "task": "t", "clear": true, "strict_decisions": true, "force": true });
    let error = refusal(&world.plane, "request-worker-compact", strict).await;
    assert!(error.message.contains("decision_not_ok"), "{error}");
    assert_eq!(rows(&world).await?, before);
    world.run("session-interrupt", json!({ "name": "foo", "force": true })).await?;
    Ok(())
}

#[tokio::test]
async fn a_busy_worker_does_it_after_its_turn_where_that_is_forced() -> Done {
    let (world, worker) = ready(&[]).await?;
    world
        .run("session-nudge", json!({ "name": "foo", "text": "work [[delay=2]]", "wait_for": "recorded" }))
        .await?;
    let forced = json!({ "task": "t", "reason": "r", "force": true });
    let report = world.run("compact-worker", forced).await?;
    let id = report["command_id"].as_str().expect("an id").to_owned();
    world.until_idle(&worker)?;
    for _ in 0..100 {
        world.run("ingest", json!({ "name": "foo" })).await?;
        let listed = world.run("commands", json!({ "id": id })).await?;
        if listed[0]["delivery_state"] == "recorded" {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!(
        "it was never confirmed: {:#}",
        world.run("commands", json!({ "id": id, "attempts": true })).await?
    )
}

#[tokio::test]
async fn a_draft_of_a_person_is_not_touched() -> Done {
    let (world, worker) = ready(&[]).await?;
    world.tmux.type_then(&worker.pane, "my own words", &[])?;
    world
        .tmux
        .wait_screen(&worker.pane, support::SOON, "a draft", |screen| screen.contains("my own words"))?;
    let report = world.run("compact-worker", json!({ "task": "t", "reason": "r" })).await?;
    assert_eq!(
        (&report["send_result"]["state"], &report["send_result"]["retry"]),
        (&json!("failed"), &json!("safe"))
    );
    assert!(world.tmux.screen(&worker.pane)?.contains("› my own words"));
    Ok(())
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_records_nothing() -> Done {
    let (world, _worker) = ready(&[]).await?;
    let before = rows(&world).await?;
    let report = world.run("compact-worker", json!({ "task": "t", "reason": "r", "dry_run": true })).await?;
    assert_eq!((&report["send_text"], &report["command_id"]), (&json!("/compact"), &Value::Null));
    assert_eq!(report["permission_check"]["allowed"], true);
    grant(&world, &[]).await?;
    refusal(&world.plane, "compact-worker", json!({ "task": "t", "reason": "r", "dry_run": true })).await;
    assert_eq!(rows(&world).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_prompt_goes_as_a_message_also_to_a_busy_worker_and_a_decision_is_judged() -> Done {
    let (world, worker) = ready(&[]).await?;
    let decided = json!({ "task": "t", "decision": "wait", "reason": "r" });
    let decision = world.run("record-decision", decided).await?["id"].clone();
    let request = json!({ "task": "t", "prompt_only": true, "decision_id": decision });
    let report = world.run("request-worker-compact", request).await?;
    assert_eq!(report["manager_decision"]["warnings"], json!(["decision_mismatch"]), "{report:#}");
    assert_eq!((&report["slash_command"], &report["confirmed"]), (&Value::Null, &json!(true)), "{report:#}");
    let told = support::recorded(&worker)?.pop().expect("a message");
    assert!(told.contains("Your context for the task t should be made smaller."), "{told}");
    let own = json!({ "task": "t", "prompt_only": true, "message": "please compact" });
    world.run("request-worker-compact", own).await?;
    assert!(support::recorded(&worker)?.pop().expect("a message").ends_with("please compact"));
    Ok(())
}

#[tokio::test]
async fn neither_a_worker_nor_another_tasks_manager_may_ask_for_it() -> Done {
    let (world, worker) = ready(&[]).await?;
    let other = world.agent("other", Role::Manager, &[]).await?;
    let before = rows(&world).await?;
    for agent in [&worker, &other] {
        let thread = threads_of(&world, agent).await?.remove(0);
        let caller = Caller::Tool { thread: Some(thread), sandbox_mode: None };
        let plane = Plane::with(world.plane.environment.clone(), caller, None, Effects::real())?;
        let error = refusal(&plane, "compact-worker", json!({ "task": "t", "reason": "r" })).await;
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    }
    assert_eq!(rows(&world).await?, before);
    Ok(())
}
