//! One suite for both engines: what holds on one holds on the other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::cloned_ref_to_slice_refs, reason = "an array shows what is expected")]

mod chain;
mod deliveries;
mod evidence;
mod observation;
mod people;
mod world;

use conveyor_store::Engine;
use conveyor_store::testing::Place;

/// Runs each function of the suite on each engine.
macro_rules! suite {
    ($($module:ident :: $name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $name() { crate::$module::$name(&crate::place(crate::Engine::Sqlite).await).await })*
        }
        mod on_postgres {
            $(#[tokio::test] async fn $name() { crate::$module::$name(&crate::place(crate::Engine::Postgres).await).await })*
        }
    };
}

suite![
    chain::a_beginning_that_was_dropped_leaves_the_ledger_usable,
    chain::a_change_goes_in_wholly_or_not_at_all,
    chain::a_change_without_an_audit_row_is_refused,
    chain::a_crash_before_a_commit_leaves_nothing_and_after_it_everything,
    chain::a_dropped_change_leaves_nothing,
    chain::a_later_migration_runs_once,
    chain::a_lock_is_released_by_its_holders_death,
    chain::a_lone_commit_rings_the_bell,
    chain::a_reader_sees_one_snapshot,
    chain::a_transaction_without_changes_writes_nothing,
    chain::audit_rows_are_found_by_what_they_belong_to,
    chain::damage_to_the_chain_is_found,
    chain::four_writers_make_one_chain_in_commit_order,
    chain::heartbeats_and_telemetry_do_not_ring,
    chain::payloads_can_be_pruned_and_the_chain_stays_whole,
    chain::the_audit_chain_cannot_be_changed,
    chain::the_doctor_finds_nothing_in_a_sound_ledger_and_what_is_missing_in_another,
    chain::two_makers_of_one_ledger_make_one,
    chain::zero_characters_are_replaced,
    deliveries::a_batch_moves_what_still_stands_there,
    deliveries::a_blocked_head_holds_up_only_its_own_target,
    deliveries::a_key_with_other_content_is_a_conflict,
    deliveries::a_late_record_lifts_an_unproved_delivery,
    deliveries::a_lease_that_was_lost_can_change_nothing,
    deliveries::a_released_lease_waits_until_it_is_due,
    deliveries::a_resend_starts_anew,
    deliveries::a_token_finds_its_delivery,
    deliveries::an_attempt_remembers_how_far_it_went,
    deliveries::an_illegal_move_is_refused,
    deliveries::an_inbox_item_is_offered_again_until_it_is_confirmed,
    deliveries::an_interrupt_is_claimed_once_a_turn,
    deliveries::deliveries_are_leased_first_in_first_out,
    deliveries::four_dispatchers_lease_each_delivery_once,
    deliveries::looks_are_counted_in_a_row,
    deliveries::the_next_moment_is_known,
    deliveries::the_same_key_is_the_same_delivery,
    deliveries::what_a_cycle_shows_is_consumed_once,
    deliveries::what_a_holder_holds_is_known_until_it_is_given_back,
    evidence::a_config_counts_its_changes,
    evidence::a_letter_is_noted_once,
    evidence::acknowledgements_count_per_side,
    evidence::attention_is_raised_once_and_cleared,
    evidence::a_dismissed_row_comes_back_for_a_new_cause_only,
    evidence::criteria_are_one_for_each_text_and_source,
    evidence::cycles_keep_their_spans,
    evidence::continuations_count_for_each_side_and_correlation,
    evidence::dispatchers_are_replaced_by_id,
    evidence::divergences_are_counted_in_runs,
    evidence::handoffs_and_decisions_are_appended,
    evidence::receipts_are_kept_in_order,
    evidence::runs_end_once,
    evidence::what_is_held_is_not_leased_and_goes_in_order_afterwards,
    evidence::the_latest_evidence_of_each_criterion_counts,
    evidence::the_latest_run_of_each_step_counts,
    evidence::telemetry_is_searched_counted_and_pruned,
    observation::a_line_is_stored_once_by_two_ingesters,
    observation::a_rewritten_rollout_begins_a_generation,
    observation::a_turn_keeps_the_moment_of_its_change,
    observation::events_are_found_again,
    observation::events_with_odd_texts_survive,
    people::a_gone_sessions_name_can_be_used_again,
    people::a_session_is_found_by_its_thread,
    people::a_task_and_a_worker_are_bound_once,
    people::a_tasks_name_is_free_when_it_is_finished,
    people::sessions_are_stored_whole_and_listed,
];

/// A fresh place. A missing PostgreSQL fails the test: nothing is skipped.
async fn place(engine: Engine) -> Place {
    Place::new(engine).await.unwrap()
}
