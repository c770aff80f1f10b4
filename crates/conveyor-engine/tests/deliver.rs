//! Deliveries to a simulated agent in a real tmux pane.

mod support;

use conveyor_store::sessions::Role;
use serde_json::json;
use support::World;

type Done = anyhow::Result<()>;

#[tokio::test]
async fn a_nudge_to_an_idle_agent_is_recorded() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &[]).await?;
    world.until_idle(&agent)?;
    let report = world.run("session-nudge", json!({ "name": "foo", "text": "hello\nthere @x" })).await?;
    assert_eq!(report["delivered"], true, "{report:#}");
    assert_eq!(report["altered"], false);
    let label = format!("[conveyor {}] ", report["token"].as_str().unwrap());
    assert_eq!(support::recorded(&agent)?, [format!("{label}hello\nthere @x")]);
    Ok(())
}

#[tokio::test]
async fn a_nudge_to_a_busy_agent_becomes_its_next_turn_and_is_answered() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &[]).await?;
    world.until_idle(&agent)?;
    let first = json!({ "name": "foo", "text": "work [[delay=2]]", "wait_for": "recorded" });
    assert_eq!(world.run("session-nudge", first).await?["delivered"], true);
    let second = json!({ "name": "foo", "text": "and then this" });
    let report = world.run("session-nudge", second).await?;
    // On a slow machine the first turn has ended by now, and perhaps the second.
    let state = report["state"].as_str().unwrap();
    assert!(["submitted", "recorded", "answered"].contains(&state), "{report:#}");
    let third = json!({ "name": "foo", "text": "last", "wait_for": "answered", "timeout": 20 });
    let report = world.run("session-nudge", third).await?;
    assert_eq!(report["state"], "answered", "{report:#}");
    let texts = support::recorded(&agent)?;
    assert_eq!(texts.len(), 3, "{texts:#?}");
    assert!(texts[1].ends_with("and then this") && texts[2].ends_with("last"), "order is kept: {texts:#?}");
    Ok(())
}

#[tokio::test]
async fn a_dialog_on_the_screen_keeps_a_nudge_back_and_nothing_is_approved() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &[]).await?;
    world.until_idle(&agent)?;
    let touched = world.folder.path().join("approved");
    let ask = format!("[[esc=touch {}]]", touched.display());
    world.run("session-nudge", json!({ "name": "foo", "text": ask })).await?;
    world
        .tmux
        .wait_screen(&agent.pane, support::SOON, "a dialog", |screen| screen.contains("Yes, proceed"))?;
    let report = world.run("session-nudge", json!({ "name": "foo", "text": "ok so yes" })).await?;
    assert_eq!(report["state"], "pending", "{report:#}");
    assert_eq!(report["waiting_for"], "the screen shows approval_prompt");
    assert!(!touched.exists());
    let refused = world.run("session-nudge", json!({ "name": "foo", "text": "" })).await?;
    assert_eq!(refused["state"], "failed", "{refused:#}");
    assert!(!touched.exists(), "Enter without --approve approves nothing");
    let approved = world.run("session-nudge", json!({ "name": "foo", "text": "", "approve": true })).await?;
    assert_eq!(approved["delivered"], true, "{approved:#}");
    Ok(())
}

#[tokio::test]
async fn a_dialog_that_opens_between_paste_and_key_is_not_approved() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &["--dialog-after-paste", "1"]).await?;
    world.until_idle(&agent)?;
    let report = world.run("session-nudge", json!({ "name": "foo", "text": "hello" })).await?;
    assert_ne!(report["delivered"], true, "{report:#}");
    let screen = world.tmux.screen(&agent.pane)?;
    assert!(screen.contains("Yes, proceed"), "the dialog stays open:\n{screen}");
    assert_eq!(support::recorded(&agent)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_interrupt_of_a_running_turn_is_proved_and_an_idle_agent_is_left_alone() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &[]).await?;
    world.until_idle(&agent)?;
    world.run("session-nudge", json!({ "name": "foo", "text": "work [[delay=30]]" })).await?;
    let report = world.run("session-interrupt", json!({ "name": "foo" })).await?;
    assert_eq!(report["interrupted"], true, "{report:#}");
    assert_eq!((&report["key_requested"], &report["key_sent"]), (&json!("C-c"), &json!("Escape")));
    world.until_idle(&agent)?;
    let report = world.run("session-interrupt", json!({ "name": "foo", "followup": "go on" })).await?;
    assert_eq!(report["interrupted"], false, "{report:#}");
    assert_eq!(report["key_sent"], json!(null));
    assert_eq!(report["followup_sent"], true);
    Ok(())
}

#[tokio::test]
async fn a_text_that_the_agent_took_back_is_not_claimed_and_is_proved_when_it_is_submitted_again() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &["--shape", "0.144"]).await?;
    world.until_idle(&agent)?;
    let first = json!({ "name": "foo", "text": "work [[delay=4]]", "wait_for": "recorded" });
    let sent = world.run("session-nudge", first).await?;
    assert_eq!(sent["delivered"], true, "{sent:#}");
    assert_eq!(world.run("session-interrupt", json!({ "name": "foo" })).await?["interrupted"], true);
    world
        .tmux
        .wait_screen(&agent.pane, support::SOON, "the text", |screen| screen.contains("› [conveyor "))?;
    world.run("ingest", json!({ "name": "foo" })).await?;
    let row = json!({ "id": sent["command_id"] });
    let taken_back = world.run("commands", row.clone()).await?[0].clone();
    assert_eq!(taken_back["delivery_state"], "unproved", "{taken_back:#}");
    assert_eq!(taken_back["state"], "failed", "{taken_back:#}");
    let open = world.run("attention", json!({})).await?;
    assert!(open.to_string().contains("the agent took it back"), "{open:#}");
    let again = world.run("session-nudge", json!({ "name": "foo", "text": "" })).await?;
    assert_eq!(again["delivered"], true, "{again:#}");
    let twice = || Ok((support::recorded(&agent)?.len() == 3).then_some(()));
    assert!(conveyor_sim::tmux::poll(support::SOON, twice)?.is_some(), "{:#?}", support::recorded(&agent)?);
    world.run("ingest", json!({ "name": "foo" })).await?;
    let proved = world.run("commands", row).await?[0].clone();
    assert!(["recorded", "answered"].contains(&proved["delivery_state"].as_str().unwrap()), "{proved:#}");
    assert_eq!(world.run("attention", json!({})).await?["attention"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_draft_that_a_person_typed_is_neither_cleared_nor_joined() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &[]).await?;
    world.until_idle(&agent)?;
    world.tmux.type_then(&agent.pane, "my own words", &[])?;
    world
        .tmux
        .wait_screen(&agent.pane, support::SOON, "a draft", |screen| screen.contains("my own words"))?;
    let report = world.run("session-nudge", json!({ "name": "foo", "text": "hello" })).await?;
    assert_eq!(report["state"], "pending", "{report:#}");
    let screen = world.tmux.screen(&agent.pane)?;
    assert!(screen.contains("› my own words") && !screen.contains("[conveyor"), "{screen}");
    Ok(())
}

#[tokio::test]
async fn a_steered_text_goes_into_the_running_turn_and_not_into_the_next() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &["-a", "never"]).await?;
    world.until_idle(&agent)?;
    let first = json!({ "name": "foo", "text": "work [[sh=sleep 3]]", "wait_for": "recorded" });
    assert_eq!(world.run("session-nudge", first).await?["delivered"], true);
    world
        .tmux
        .wait_screen(&agent.pane, support::SOON, "a turn", |screen| screen.contains("esc to interrupt"))?;
    let steered =
        json!({ "name": "foo", "text": "turn left", "steer": true, "wait_for": "answered", "timeout": 20 });
    let report = world.run("session-nudge", steered).await?;
    assert_eq!(report["state"], "answered", "{report:#}");
    let texts = support::recorded(&agent)?;
    assert!(texts.len() == 2 && texts[1].ends_with("turn left"), "{texts:#?}");
    assert_eq!(support::turns(&agent)?, 1, "it is the same turn");
    Ok(())
}

#[tokio::test]
async fn a_turn_that_may_ask_for_approvals_is_not_steered() -> Done {
    let world = World::new()?;
    let agent = world.agent("foo", Role::Worker, &[]).await?;
    world.until_idle(&agent)?;
    let first = json!({ "name": "foo", "text": "work [[delay=4]]", "wait_for": "recorded" });
    assert_eq!(world.run("session-nudge", first).await?["delivered"], true);
    let refused =
        world.run("session-nudge", json!({ "name": "foo", "text": "turn left", "steer": true })).await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind, conveyor_model::ErrorKind::Refused);
    assert!(error.message.contains("on-request"), "{}", error.message);
    let queued = world.run("session-nudge", json!({ "name": "foo", "text": "turn left" })).await?;
    assert_eq!(queued["error"], json!(null), "without the flag it becomes the next turn: {queued:#}");
    Ok(())
}
