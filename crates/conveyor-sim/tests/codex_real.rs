//! The real Codex in each flavour: starts, takes one turn, records it, and leaves no process.

use std::time::Duration;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;

fn one_turn(flavour: Flavour) {
    let codex = Codex::start(flavour).unwrap();
    codex.submit("hello there").unwrap();
    let replied = |screen: &str| screen.contains("FAKE-REPLY to 11 chars");
    codex.wait_screen(Duration::from_secs(20), "the reply", replied).unwrap();
    codex.wait_idle().unwrap();
    assert_eq!(codex.user_texts().unwrap(), ["hello there"]);
    let asked = codex.provider.received();
    let turn = asked.iter().find(|one| !one.is_side_request()).expect("the turn's request");
    let rollout = &codex.rollouts().unwrap()[0];
    let thread = turn.thread.as_deref().expect("a request names its thread");
    assert!(rollout.to_str().unwrap().contains(thread), "{rollout:?} is not of {thread}");
    codex.quit().unwrap();
}

#[test]
fn codex_0_169_embedded_starts_takes_a_turn_and_ends_clean() {
    one_turn(Flavour::Embedded);
}

#[test]
fn codex_0_169_daemon_starts_takes_a_turn_and_ends_clean() {
    one_turn(Flavour::Daemon);
}

#[test]
fn codex_0_144_starts_takes_a_turn_and_ends_clean() {
    one_turn(Flavour::V144);
}

#[test]
fn codex_0_99_starts_takes_a_turn_and_ends_clean() {
    one_turn(Flavour::V99);
}
