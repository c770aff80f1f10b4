//! Each scenario file against the simulated agent in a real pane and against the real Codex 0.169, embedded.

use std::path::Path;
use std::path::PathBuf;

use conveyor_sim::scenario;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn file(name: &str) -> PathBuf {
    folder().join(format!("{name}.toml"))
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_conveyor-sim"))
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod sim {
            $(#[test] fn $name() -> anyhow::Result<()> {
                let scenario = super::scenario::read(&super::file(stringify!($name)))?;
                super::scenario::run_on_sim(&scenario, super::program())
            })*
        }

        mod codex {
            $(#[test] fn $name() -> anyhow::Result<()> {
                let scenario = super::scenario::read(&super::file(stringify!($name)))?;
                super::scenario::run_on_codex(&scenario, super::program())
            })*
        }

        #[test]
        fn no_scenario_file_is_forgotten() {
            let mut files: Vec<String> = std::fs::read_dir(folder())
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            files.sort();
            let mut listed = [$(stringify!($name)),*];
            listed.sort_unstable();
            assert_eq!(files, listed);
        }
    };
}

scenarios! {
    a_leading_bang_is_a_shell_command,
    a_long_paste_is_a_placeholder_and_is_recorded_whole,
    a_long_paste_right_behind_another_is_not_drawn_before_the_next_key,
    a_slash_command_needs_a_blank_or_enter,
    a_text_ending_in_at_x_needs_a_trailing_blank,
    a_text_ending_in_dollar_x_needs_a_trailing_blank,
    a_typed_y_approves_a_command,
    an_end_of_paste_inside_a_paste_presses_keys,
    an_unknown_slash_command_stays_as_a_draft,
    ctrl_c_clears_a_draft,
    ctrl_c_quits_an_idle_agent_at_once,
    ctrl_u_clears_a_draft_and_never_quits,
    enter_approves_a_command,
    enter_when_busy_steers_the_running_turn,
    paste_and_tab_when_idle_is_recorded_exactly,
    tab_and_paste_are_inert_in_a_command_approval,
    tab_and_paste_are_inert_in_an_mcp_approval,
    tab_and_paste_are_inert_in_the_hooks_review,
    tab_and_paste_are_inert_in_the_login_prompt,
    tab_and_paste_are_inert_in_the_picker,
    tab_and_paste_are_inert_in_the_trust_prompt,
    tab_and_paste_are_inert_in_the_update_prompt,
    tab_leaves_the_rewind_browser_and_does_not_rewind,
    tab_when_busy_queues_for_the_next_turn,
    two_queued_texts_and_escape_become_one_draft,
    two_steers_and_escape_become_one_record,
    typed_text_and_enter_at_once_is_swallowed,
    typed_text_and_tab_at_once_is_swallowed,
}
