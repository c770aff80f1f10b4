//! The real Codex in each flavour: starts, takes one turn, records it, and leaves no process.

use std::time::Duration;

use anyhow::Context;
use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;

/// Starts, takes one turn, quits.
fn one_turn(flavour: Flavour) -> anyhow::Result<()> {
    let codex = Codex::start(flavour)?;
    codex.submit("hello there")?;
    let replied = |screen: &str| screen.contains("FAKE-REPLY to 11 chars");
    codex.wait_screen(Duration::from_secs(20), "the reply", replied)?;
    codex.wait_idle()?;
    assert_eq!(codex.user_texts()?, ["hello there"]);
    let asked = codex.provider.received();
    let turn = asked.iter().find(|one| !one.is_side_request()).context("nothing was asked of the model")?;
    let thread = turn.thread.as_deref().context("a request names its thread")?;
    let rollout = codex.rollouts()?[0].display().to_string();
    assert!(rollout.contains(thread), "{rollout} is not of {thread}");
    codex.quit()
}

#[test]
fn codex_0_169_embedded_starts_takes_a_turn_and_ends_clean() -> anyhow::Result<()> {
    one_turn(Flavour::Embedded)
}

#[test]
fn codex_0_169_daemon_starts_takes_a_turn_and_ends_clean() -> anyhow::Result<()> {
    one_turn(Flavour::Daemon)
}

#[test]
fn codex_0_144_starts_takes_a_turn_and_ends_clean() -> anyhow::Result<()> {
    one_turn(Flavour::V144)
}

#[test]
fn codex_0_99_starts_takes_a_turn_and_ends_clean() -> anyhow::Result<()> {
    one_turn(Flavour::V99)
}

#[test]
fn a_codex_that_is_dropped_in_the_middle_of_a_turn_leaves_no_process() -> anyhow::Result<()> {
    let codex = Codex::start(Flavour::Daemon)?;
    codex.submit("busy [[yield=60000]] [[sh=sleep 60]]")?;
    let home = codex.home.clone();
    assert!(!conveyor_sim::codex::processes_of(&home).is_empty());
    drop(codex);
    assert_eq!(conveyor_sim::codex::processes_of(&home), Vec::<i32>::new());
    Ok(())
}
