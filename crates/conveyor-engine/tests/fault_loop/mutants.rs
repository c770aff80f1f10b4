//! The fault loop finds what is wrong: with each kept fault it fails.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use conveyor_engine::mutant;
use conveyor_engine::mutant::Mutant;
use conveyor_model::compaction::SlashCommand;
use conveyor_store::Engine;

use crate::Scene;
use crate::fault_loop;
use crate::slashes;
use crate::stalled::stalls;

/// What the loop says when a fault is switched on for its thread.
fn failure(mutant: Mutant, run: impl Future<Output = ()>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    mutant::switch(Some(mutant));
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)));
    mutant::switch(None);
    let panic = done.expect_err("the loop found nothing");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

#[test]
fn the_loop_finds_a_successor_that_submits_twice() {
    let told = failure(Mutant::SubmitTwice, async {
        fault_loop(Engine::Sqlite, Scene::Busy).await;
    });
    assert!(told.contains("was delivered 2 times"), "{told}");
}

#[test]
fn the_loop_finds_a_successor_that_types_a_command_twice() {
    let told = failure(Mutant::SubmitTwice, async {
        slashes::fault_loop(Engine::Sqlite, Scene::Busy, SlashCommand::Compact).await;
    });
    assert!(told.contains("it was done twice"), "{told}");
}

#[test]
fn the_loop_finds_a_holder_that_does_not_look_at_its_epoch() {
    let told = failure(Mutant::NoEpochCheck, async {
        stalls(Engine::Sqlite, Scene::Idle).await;
    });
    assert!(told.contains("who had lost the lease typed"), "{told}");
}
