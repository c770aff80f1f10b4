//! The main job end to end: the real `conveyor` process, the real tmux, the real Codex of each version, a fake model.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod desk;
mod job;
mod killed;
mod left;
mod once;
mod over_mcp;
mod pair;
mod race;
mod seat;
mod steer;
mod taken_back;

use conveyor_sim::codex::Flavour;
use pair::Pair;

fn whole_job(flavour: Flavour) {
    let pair = Pair::bound(flavour);
    pair.a_first_cycle_shows_no_receipt();
    pair.a_turns_end_is_told();
    pair.a_cycle_shows_the_receipt();
    pair.an_idle_worker_gets_each_text_whole();
    pair.a_busy_worker_gets_texts_in_order();
    pair.an_interrupt_ends_a_turn_and_no_session();
    pair.a_running_turn_is_steered_only_if_it_asks_nothing(flavour == Flavour::Daemon);
    match flavour {
        // Its sessions have no sandbox here, so that they can register themselves, and ask nobody.
        Flavour::Daemon => {}
        Flavour::Embedded | Flavour::V144 | Flavour::V99 => {
            pair.a_dialog_keeps_a_text_back();
            pair.a_dialog_is_approved_when_that_is_said();
        }
    }
    pair.both_are_stopped();
}

#[test]
fn the_main_job_with_codex_0_169() {
    whole_job(Flavour::Embedded);
}

#[test]
fn the_main_job_with_codex_0_144() {
    whole_job(Flavour::V144);
}

#[test]
fn the_main_job_with_codex_0_99() {
    whole_job(Flavour::V99);
}

#[test]
fn the_main_job_with_two_sessions_of_one_daemon_in_one_folder() {
    whole_job(Flavour::Daemon);
}

#[test]
fn a_dialog_of_one_of_two_sessions_of_a_daemon_is_approved_only_when_that_is_said() {
    let pair = Pair::of_one_daemon_that_ask();
    pair.a_dialog_keeps_a_text_back();
    pair.a_dialog_is_approved_when_that_is_said();
    pair.both_are_stopped();
}
