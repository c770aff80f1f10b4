//! What a watching dispatcher learns by itself, on simulated agents in a real tmux.

mod support;

use std::time::Duration;
use std::time::Instant;

use conveyor_store::sessions::Role;
use conveyor_store::threads;
use serde_json::Value;
use serde_json::json;
use support::Agent;
use support::World;

type Done = anyhow::Result<()>;

/// Runs a dispatcher on a plane of its own beside `body`. What it reports at its end.
async fn while_watching(world: &World, body: impl Future<Output = Done>) -> anyhow::Result<Value> {
    let plane = support::plane(world.folder.path())?;
    let request = json!({ "watch": true, "watch_iterations": 1_000, "interval": 1.0 });
    let body = async {
        let done = body.await;
        plane.ask_to_stop();
        done
    };
    let (report, done) = tokio::join!(support::run(&plane, "dispatch", request), body);
    done?;
    Ok(report?)
}

/// Waits until a question has an answer.
async fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        anyhow::ensure!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A worker in a pane and a manager that reads its inbox, bound.
async fn bound(world: &World) -> anyhow::Result<Agent> {
    let worker = world.agent_like_codex("w", Role::Worker, &[]).await?;
    world.until_idle(&worker)?;
    let rollout = world.folder.path().join(format!("rollout-2026-01-01T00-00-00-{MANAGER}.jsonl"));
    let meta = json!({ "timestamp": "2026-01-01T00:00:00.000Z", "type": "session_meta",
        "payload": { "id": MANAGER, "cwd": world.folder.path() } });
    std::fs::write(&rollout, format!("{meta}\n"))?;
    world.run("register-manager", json!({ "name": "m", "codex_session": rollout, "no_tmux": true })).await?;
    world.run("tasks", json!({ "create": "t", "goal": "Make it right." })).await?;
    world.run("bind", json!({ "task": "t", "worker": "w", "manager": "m" })).await?;
    Ok(worker)
}

/// A person has a turn, and then begins another thread.
async fn says_hello_and_clears(world: &World, worker: &Agent) -> Done {
    world.tmux.paste_then(&worker.pane, &["hello"], &["Enter"])?;
    world
        .tmux
        .wait_screen(&worker.pane, support::SOON, "an answer", |screen| screen.contains("FAKE-REPLY"))?;
    world.until_idle(worker)?;
    world.tmux.paste_then(&worker.pane, &["/clear"], &["Enter"])?;
    Ok(())
}

const MANAGER: &str = "01a203b1-5a77-7b02-adb4-ea3209f7045a";

async fn attention(world: &World, kind: &str) -> anyhow::Result<Option<Value>> {
    let report = world.run("attention", json!({})).await?;
    let rows = report["attention"].as_array().or(report.as_array()).cloned().unwrap_or_default();
    Ok(rows.into_iter().find(|row| row["kind"] == kind))
}

#[tokio::test]
async fn an_approval_that_no_record_shows_wakes_the_manager() -> Done {
    let world = World::new()?;
    let worker = bound(&world).await?;
    while_watching(&world, async {
        world.tmux.paste_then(&worker.pane, &["do it [[esc=touch x]]"], &["Enter"])?;
        until("attention", support::SOON, async || attention(&world, "approval_prompt").await).await?;
        let told = until("the manager is told", support::SOON, async || {
            let inbox = world.run("manager-inbox", json!({ "task": "t" })).await?;
            let rows = inbox["items"].as_array().or(inbox.as_array()).cloned().unwrap_or_default();
            Ok(rows.into_iter().find(|row| row.to_string().contains("waits for an approval")))
        })
        .await?;
        assert!(told.to_string().contains("cycle t"), "{told:#}");
        Ok(())
    })
    .await
    .map(drop)
}

#[tokio::test]
async fn a_session_that_only_works_wants_no_attention() -> Done {
    let world = World::new()?;
    let worker = bound(&world).await?;
    while_watching(&world, async {
        world.tmux.paste_then(&worker.pane, &["do it [[sh=sleep 4]]"], &["Enter"])?;
        until("the turn ends", support::SOON, async || {
            let inbox = world.run("manager-inbox", json!({ "task": "t" })).await?;
            Ok(inbox.to_string().contains("ended a turn").then_some(()))
        })
        .await?;
        let open = world.run("attention", json!({})).await?;
        assert!(!open.to_string().contains("_prompt"), "{open:#}");
        Ok(())
    })
    .await
    .map(drop)
}

#[tokio::test]
async fn the_rollout_that_a_first_message_makes_is_read_at_once() -> Done {
    let world = World::new()?;
    let worker = bound(&world).await?;
    let report = while_watching(&world, async {
        world.tmux.paste_then(&worker.pane, &["hello"], &["Enter"])?;
        until("the turn's end is told", support::SOON, async || {
            let inbox = world.run("manager-inbox", json!({ "task": "t" })).await?;
            Ok(inbox.to_string().contains("ended a turn").then_some(()))
        })
        .await?;
        Ok(())
    })
    .await?;
    assert_eq!(report["found_by_sweep"], 0, "it was told: {report:#}");
    Ok(())
}

#[tokio::test]
async fn a_thread_that_a_person_begins_by_clear_is_followed_without_being_asked_for() -> Done {
    let world = World::new()?;
    let worker = bound(&world).await?;
    let ledger = world.plane.ledger().await?;
    while_watching(&world, async {
        world.tmux.paste_then(&worker.pane, &["first"], &["Enter"])?;
        until("the dispatcher watches", support::SOON, async || {
            let inbox = world.run("manager-inbox", json!({ "task": "t" })).await?;
            Ok(inbox.to_string().contains("ended a turn").then_some(()))
        })
        .await?;
        world.until_idle(&worker)?;
        world.tmux.paste_then(&worker.pane, &["/clear"], &["Enter"])?;
        until("the new thread is adopted", support::SOON, async || {
            let all = threads::of_session(&mut *ledger.read().await?, &worker.session.id).await?;
            Ok((all.len() == 2).then_some(()))
        })
        .await?;
        Ok(())
    })
    .await
    .map(drop)
}

#[tokio::test]
async fn a_thread_that_began_before_the_dispatcher_is_adopted_when_it_begins() -> Done {
    let world = World::new()?;
    let worker = bound(&world).await?;
    says_hello_and_clears(&world, &worker).await?;
    world
        .tmux
        .wait_screen(&worker.pane, support::SOON, "an empty screen", |screen| !screen.contains("hello"))?;
    world.run("dispatch", json!({ "once": true })).await?;
    let ledger = world.plane.ledger().await?;
    let all = threads::of_session(&mut *ledger.read().await?, &worker.session.id).await?;
    assert_eq!(all.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_nudge_after_a_persons_clear_is_proved_in_the_new_thread() -> Done {
    let world = World::new()?;
    let worker = world.agent_like_codex("w", Role::Worker, &[]).await?;
    world.until_idle(&worker)?;
    says_hello_and_clears(&world, &worker).await?;
    world.tmux.wait_screen(&worker.pane, support::SOON, "an empty screen", |screen| {
        !screen.contains("hello") && screen.contains("› Ask Codex")
    })?;
    let nudged =
        world.run("session-nudge", json!({ "name": "w", "text": "go on", "wait_for": "recorded" })).await?;
    assert_eq!(nudged["delivered"], true, "{nudged:#}");
    let ledger = world.plane.ledger().await?;
    let all = threads::of_session(&mut *ledger.read().await?, &worker.session.id).await?;
    assert_eq!(all.len(), 2, "the thread of /clear is the session's");
    Ok(())
}
