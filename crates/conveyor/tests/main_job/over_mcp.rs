//! A manager inside a sandbox does its work through the MCP server that `mcp install` told Codex of.

use std::rc::Rc;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::Options;
use serde_json::Value;

use crate::desk::Desk;
use crate::pair::TASK;
use crate::seat::Seat;

/// The last output of a tool that the manager's model saw in the turn with these words.
fn output(codex: &Codex, words: &str, calls: usize) -> String {
    let fits = |one: &conveyor_sim::provider::Received| {
        !one.is_side_request() && one.user_text.contains(words) && one.outputs.len() == calls
    };
    let found = codex.provider.wait_for(crate::desk::LIMIT, fits);
    found.unwrap_or_else(|| panic!("no answer to {words:?}\n{}", codex.screen())).outputs.pop().unwrap()
}

#[test]
fn a_sandboxed_manager_registers_looks_and_nudges_through_mcp() {
    let desk = Desk::new();
    let codex = Rc::new(Codex::start(Flavour::Embedded).unwrap());
    let home = codex.home.display().to_string();
    let program = Flavour::Embedded.program().unwrap();
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut install = desk.command(&["mcp", "install", "--yes", "--approve-tools", "--codex-home", &home]);
    let installed = install.env("PATH", path).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");

    let options =
        Options { args: ["-s", "workspace-write"].map(str::to_owned).to_vec(), ..Options::default() };
    let worker = Seat::new(&codex, codex.pane.clone(), "codex", "wren");
    let mut manager = Seat::new(&codex, codex.open_beside("boss", &options).unwrap(), "boss", "mona");
    let tmux = codex.tmux.tmpdir();
    let words = ["register-worker", "--name", "wren", "--tmux-session", worker.tmux_session];
    let registered = desk.report_beside(tmux, &words);
    assert_eq!(registered["pane"], worker.pane.0, "{registered:#}");

    manager.say(r#"sit down [[mcp=conveyor.register_manager {"name":"mona"}]]"#);
    let told = output(&codex, "sit down", 1);
    assert!(told.contains(&format!("\"pane\":\"{}\"", manager.pane.0)), "{told}\n{}", manager.screen());
    let sessions = desk.report(&["sessions", "--name", "mona"]);
    assert_eq!(sessions["error"], Value::Null, "{sessions:#}");
    manager.until_idle();
    manager.thread = manager_thread(&sessions);

    desk.report(&["tasks", "--create", TASK, "--goal", "it is built"]);
    let bound = desk.report(&["bind", "--task", TASK, "--worker", "wren", "--manager", "mona"]);
    assert_eq!(bound["error"], Value::Null, "{bound:#}");
    manager.say(r#"look round [[mcp=conveyor.cycle {"task":"ship"}]]"#);
    let cycle = output(&codex, "look round", 1);
    assert!(cycle.contains("session_cycle") && cycle.contains("\"worker_session\":\"wren\""), "{cycle}");
    manager.say(r#"push [[mcp=conveyor.session_nudge {"name":"wren","text":"words from mona"}]]"#);
    let nudge = output(&codex, "push [[", 1);
    assert!(nudge.contains("\"side_effect_completed\":true"), "{nudge}");
    worker.until_recorded("] words from mona");
    assert_eq!(
        codex.user_texts().unwrap().iter().filter(|text| text.ends_with("] words from mona")).count(),
        1
    );
}

fn manager_thread(sessions: &Value) -> String {
    let row = sessions.as_array().map_or(sessions, |rows| &rows[0]);
    row["codex_session_id"].as_str().unwrap_or_default().to_owned()
}
