//! What a session leaves running when it is stopped.

use conveyor_sim::codex::Flavour;
use serde_json::Value;
use serde_json::json;

use crate::pair::Pair;
use crate::pair::TASK;

/// Stops a worker in a turn whose command would run on, beside this draft of a person's. The exit code, what is told of
/// it, and whether the command still runs.
fn stopped_beside_its_command(flavour: Flavour, draft: &str) -> (Option<i32>, Value, bool) {
    let pair = Pair::bound_with(flavour, &["-s", "danger-full-access", "-a", "never"]);
    let file = pair.desk.file("pid");
    let pid = || std::fs::read_to_string(&file).ok().filter(|pid| pid.ends_with('\n'));
    pair.worker.say(&format!("work on [[sh=echo $$ > {}; exec sleep 120]]", file.display()));
    pair.worker.until("the command", || pid().is_some());
    if !draft.is_empty() {
        pair.worker.codex.tmux.type_then(&pair.worker.pane, draft, &[]).unwrap();
        pair.worker.until_shown("the draft", |screen| screen.contains(draft));
    }
    let output = pair.desk.command(&["finish-task", TASK, "--stop-worker", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A zombie has no command line any more.
    let command_line = format!("/proc/{}/cmdline", pid().unwrap().trim());
    let runs = std::fs::read(command_line).is_ok_and(|words| !words.is_empty());
    (output.status.code(), report["stops"][0].clone(), runs)
}

fn its_command_ends_with_it(flavour: Flavour) {
    let (code, stop, runs) = stopped_beside_its_command(flavour, "");
    assert_eq!((code, &stop["state"], runs), (Some(0), &json!("stopped"), false), "{stop:#}");
    assert_eq!(stop["interrupted"], true, "{stop:#}");
}

#[test]
fn the_command_of_a_session_of_the_daemon_ends_with_it() {
    its_command_ends_with_it(Flavour::Daemon);
}

#[test]
fn the_command_of_an_embedded_session_ends_with_it() {
    its_command_ends_with_it(Flavour::Embedded);
}

#[test]
fn the_command_of_an_older_codex_ends_with_it() {
    its_command_ends_with_it(Flavour::V144);
    its_command_ends_with_it(Flavour::V99);
}

/// Nothing is typed beside a draft, so Codex cannot be told to end what its daemon runs.
#[test]
fn a_command_that_goes_on_without_its_terminal_is_told() {
    let (code, stop, runs) = stopped_beside_its_command(Flavour::Daemon, "my own words");
    assert!(runs);
    assert_eq!(
        (code, &stop["state"], &stop["how"]),
        (Some(1), &json!("still_running"), &json!("killed")),
        "{stop:#}"
    );
    assert!(stop["reason"].as_str().unwrap().starts_with("processes "), "{stop:#}");
}
