//! A text into the running turn of each Codex that asks for no approvals. The main job proves it on the daemon, and that
//! a turn which may ask is refused.

use conveyor_sim::codex::Flavour;

use crate::pair::Pair;

fn is_steered(flavour: Flavour) {
    let pair = Pair::bound_with(flavour, &["-a", "never"]);
    pair.a_running_turn_is_steered_only_if_it_asks_nothing(true);
}

#[test]
fn a_text_goes_into_the_running_turn_of_codex_0_169() {
    is_steered(Flavour::Embedded);
}

#[test]
fn a_text_goes_into_the_running_turn_of_codex_0_144() {
    is_steered(Flavour::V144);
}

#[test]
fn a_text_goes_into_the_running_turn_of_codex_0_99() {
    is_steered(Flavour::V99);
}
