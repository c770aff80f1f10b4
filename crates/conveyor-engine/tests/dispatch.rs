//! Dispatching to simulated agents in real tmux panes.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

mod support;

use conveyor_model::audit::Actor;
use conveyor_model::ids::TaskId;
use conveyor_store::AuditRow;
use conveyor_store::sessions::Role;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use serde_json::Value;
use serde_json::json;
use support::Agent;
use support::World;

type Done = anyhow::Result<()>;

/// A task, bound to a worker in a pane and to the manager `boss`.
async fn bound(world: &World, task: &str, worker: &str, flags: &[&str]) -> anyhow::Result<Agent> {
    let agent = world.agent(worker, Role::Worker, flags).await?;
    let mut tx = world.plane.ledger().await?.write(&Actor::Operator).await?;
    let id = TaskId::new(world.plane.clock.uuid_v7());
    let new = Task::new(id, task.parse()?, "goal".to_owned(), None, tx.now());
    tasks::insert(&mut tx, new, AuditRow::new("task_created", "A test makes a task.")).await?;
    tx.commit().await?;
    world.run("bind", json!({ "task": task, "worker": worker, "manager": "boss" })).await?;
    world.until_idle(&agent)?;
    Ok(agent)
}

/// The items of a report that are for one session, as state and reason.
fn states(report: &Value, session: &str) -> Vec<(String, Option<String>)> {
    let items =
        report["processed"].as_array().into_iter().flatten().filter(|item| item["target_session"] == session);
    let word = |value: &Value| value.as_str().map(ToOwned::to_owned);
    items.map(|item| (word(&item["state"]).unwrap_or_default(), word(&item["waiting_for"]))).collect()
}

#[tokio::test]
async fn a_target_behind_a_dialog_holds_up_no_other() -> Done {
    let world = World::new()?;
    world.agent("boss", Role::Manager, &[]).await?;
    let stuck = bound(&world, "t1", "stuck", &[]).await?;
    let free = bound(&world, "t2", "free", &[]).await?;
    let ask = json!({ "name": "stuck", "text": "[[esc=true]]" });
    world.run("session-nudge", ask).await?;
    let dialog = |screen: &str| screen.contains("Yes, proceed");
    world.tmux.wait_screen(&stuck.pane, support::SOON, "a dialog", dialog)?;
    for (task, text) in [("t1", "waits"), ("t1", "waits too"), ("t2", "one"), ("t2", "two")] {
        world.run("enqueue-nudge-worker", json!({ "task": task, "message": text })).await?;
    }
    let report = world.run("dispatch", json!({})).await?;
    let reason = Some("the screen shows approval_prompt".to_owned());
    assert_eq!(states(&report, "stuck"), [("requeued".to_owned(), reason)], "{report:#}");
    assert_eq!(states(&report, "free").len(), 2, "{report:#}");
    let texts = support::recorded(&free)?;
    assert!(texts[0].ends_with("one"), "order is kept: {texts:#?}");
    let screen = world.tmux.screen(&stuck.pane)?;
    assert!(dialog(&screen), "nothing was approved:\n{screen}");
    Ok(())
}

#[tokio::test]
async fn a_pushed_message_is_delivered_when_the_record_holds_it_and_lies_in_no_inbox() -> Done {
    let world = World::new()?;
    world.agent("boss", Role::Manager, &[]).await?;
    let worker = bound(&world, "t", "w", &[]).await?;
    world.run("enqueue-nudge-worker", json!({ "task": "t", "message": "hello" })).await?;
    let report = world.run("dispatch", json!({})).await?;
    let item =
        report["processed"].as_array().unwrap().iter().find(|item| item["target_session"] == "w").unwrap();
    assert_eq!((&item["state"], &item["delivery_mode"]), (&json!("delivered"), &json!("push")), "{report:#}");
    assert!(item["side_effect_started"] == true && item["side_effect_completed"] == true);
    assert_eq!(item["send_result"]["text"], "hello");
    assert!(support::recorded(&worker)?[0].ends_with("] hello"));
    let inbox = world.run("worker-inbox", json!({ "task": "t" })).await?;
    assert_eq!(inbox["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_permission_that_is_not_granted_keeps_a_message_from_being_typed_by_whatever_way() -> Done {
    let world = World::new()?;
    world.agent("boss", Role::Manager, &[]).await?;
    let worker = bound(&world, "t", "w", &[]).await?;
    let denied = json!({ "task": "t", "message": "open it", "required_permission": "repo.open_pr" });
    world.run("enqueue-nudge-worker", denied).await?;
    // A nudge to the same target carries out what stands before it.
    world.run("session-nudge", json!({ "name": "w", "text": "hello", "wait_for": "recorded" })).await?;
    let texts = support::recorded(&worker)?;
    assert!(texts.len() == 1 && texts[0].ends_with("hello"), "{texts:#?}");
    Ok(())
}

#[tokio::test]
async fn a_manager_in_a_pane_is_told_of_the_end_of_the_turn_that_a_nudge_began() -> Done {
    let world = World::new()?;
    let boss = world.agent("boss", Role::Manager, &[]).await?;
    world.until_idle(&boss)?;
    bound(&world, "t", "w", &[]).await?;
    world.run("enqueue-nudge-worker", json!({ "task": "t", "message": "work" })).await?;
    let other = support::plane(world.folder.path())?;
    let watch = support::run(&other, "dispatch", json!({ "watch": true }));
    let told = async {
        while support::recorded(&boss)?.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        other.ask_to_stop();
        support::recorded(&boss)
    };
    let (report, told) = tokio::time::timeout(support::SOON, async { tokio::join!(watch, told) }).await?;
    let (report, told) = (report?, told?);
    assert!(told.len() == 1 && told[0].contains("ended a turn (completed) on task t"), "{told:#?}");
    assert_eq!(report["found_by_sweep"], 0, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_pass_that_is_asked_to_stop_does_not_wait_for_its_patience() -> Done {
    let world = World::new()?;
    world.agent("boss", Role::Manager, &[]).await?;
    let worker = bound(&world, "t", "w", &[]).await?;
    world.until_idle(&worker)?;
    let busy = json!({ "name": "w", "text": "work [[delay=8]]", "wait_for": "recorded" });
    world.run("session-nudge", busy).await?;
    world.run("enqueue-nudge-worker", json!({ "task": "t", "message": "hello" })).await?;
    // It would wait three seconds for the record of what the busy worker only queues.
    let submitted = || anyhow::Ok(world.tmux.screen(&worker.pane)?.contains("Queued follow-up"));
    let pass = support::run(&world.plane, "dispatch", json!({ "once": true }));
    let stopped = async {
        while !submitted()? {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let asked = std::time::Instant::now();
        world.plane.ask_to_stop();
        anyhow::Ok(asked)
    };
    let (report, asked) = tokio::join!(pass, stopped);
    assert!(asked?.elapsed() < conveyor_model::limits::RECORD_EXPECTED, "it ends before its patience does");
    assert!(world.plane.ends_gracefully(), "a signal does not drop it in the middle");
    assert_eq!(report?["processed"][0]["target_session"], "w");
    Ok(())
}
