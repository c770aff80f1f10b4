//! The real Codex registers itself over MCP: which thread it is, and which pane shows it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::Options;
use conveyor_sim::codex::is_idle;
use conveyor_sim::directive::Call;
use conveyor_sim::directive::Step;
use conveyor_sim::provider::Rule;
use conveyor_sim::tmux::PaneId;
use conveyor_sim::tmux::Program;
use serde_json::Value;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(40);

/// Shows each terminal's thread in its title.
const TITLE: &str = "[tui]\nterminal_title = [\"activity\", \"thread-id\"]\n";

fn args(flavour: Flavour) -> Vec<String> {
    let mut args = ["-a", "never", "-s", "read-only"].map(str::to_owned).to_vec();
    if flavour == Flavour::Embedded {
        args.insert(0, "--no-daemon".to_owned());
    }
    args
}

/// A session with our server in its configuration, which registers itself under the last word that it is told.
fn session(flavour: Flavour, more: &str) -> Codex {
    let conveyor = env!("CARGO_BIN_EXE_conveyor");
    let tables = format!(
        "[mcp_servers.conveyor]\ncommand = \"{conveyor}\"\nargs = [\"mcp\"]\ndefault_tools_approval_mode = \"approve\"\n{more}"
    );
    let args = ["-a", "never", "-s", "read-only"].map(str::to_owned).to_vec();
    let codex = Codex::launch(flavour, &Options { args, tables, ..Options::default() }).unwrap();
    codex.wait_idle().unwrap();
    codex.provider.rule(Rule::ask("register", |request| {
        let last = request.user_text.split_whitespace().last().unwrap_or_default();
        // Who is told nothing but "yourself" takes its thread's name.
        let thread = request.thread.clone().unwrap_or_default();
        let name = if last == "yourself" { &thread } else { last };
        let arguments = json!({ "name": name });
        let tool = if name.starts_with('m') { "register_manager" } else { "register_worker" }.to_owned();
        vec![Step::Call(Call::Mcp { server: "conveyor".to_owned(), tool, arguments })]
    }));
    codex
}

/// Another terminal on the same home, in the same folder.
fn another(codex: &Codex) -> PaneId {
    let program = Program {
        argv: [vec![codex.flavour().program().unwrap().display().to_string()], args(codex.flavour())]
            .concat(),
        env: [
            ("HOME", codex.user_home().display().to_string()),
            ("CODEX_HOME", codex.home.display().to_string()),
            ("SHELL", "/bin/bash".to_owned()),
            ("FAKE_KEY", "fake".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec(),
        folder: codex.work.clone(),
    };
    let pane = codex.tmux.open("another", &program).unwrap();
    let ready = |screen: &str| is_idle(screen) && screen.contains("← for agents");
    codex.tmux.wait_screen(&pane, LIMIT, "an empty composer", ready).unwrap();
    pane
}

/// What the tool answered to the session in this pane.
struct Told {
    thread: String,
    report: Value,
}

/// Lets the session in a pane register itself, and returns the tool's answer.
fn register(codex: &Codex, pane: &PaneId, text: &str) -> Told {
    let before = codex.provider.received().len();
    codex.tmux.paste_then(pane, &[&format!("{text} ")], &["Tab"]).unwrap();
    let deadline = std::time::Instant::now() + LIMIT;
    let found = loop {
        let fresh: Vec<_> = codex.provider.received().into_iter().skip(before).collect();
        if let Some(found) = fresh.into_iter().find(|one| !one.is_side_request() && !one.outputs.is_empty()) {
            break found;
        }
        let screen = codex.tmux.screen(pane).unwrap();
        assert!(std::time::Instant::now() < deadline, "no tool call ended; the screen is\n{screen}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let output = found.outputs.last().unwrap();
    let start = output.find('{').unwrap_or_else(|| panic!("no JSON in {output}"));
    let mut reports = serde_json::Deserializer::from_str(&output[start..]).into_iter::<Value>();
    Told { thread: found.thread.unwrap(), report: reports.next().unwrap().unwrap() }
}

fn is_of(told: &Told, pane: &PaneId, proof: &str, owner: &str) {
    let report = &told.report;
    assert_eq!(report["codex_session_id"], told.thread, "{report:#}");
    assert_eq!(report["pane"], pane.0, "{report:#}");
    assert_eq!((&report["pane_proof"], &report["owner"]), (&json!(proof), &json!(owner)), "{report:#}");
    assert_eq!(report["delivery"], "push", "{report:#}");
}

#[test]
fn two_embedded_sessions_in_one_folder_are_told_apart_by_their_locks() {
    let codex = session(Flavour::Embedded, "");
    let other = another(&codex);
    is_of(&register(&codex, &other, "please register w2"), &other, "lock", "embedded");
    is_of(&register(&codex, &codex.pane, "please register w1"), &codex.pane, "lock", "embedded");
    let again = register(&codex, &other, "again please register w2");
    is_of(&again, &other, "lock", "embedded");
    assert_eq!(again.report["re_registered"], true, "{:#}", again.report);
    codex.quit().unwrap();
}

#[test]
fn two_sessions_of_the_daemon_in_one_folder_are_told_apart_by_their_titles() {
    let codex = session(Flavour::Daemon, TITLE);
    let other = another(&codex);
    is_of(&register(&codex, &other, "please register yourself as w2"), &other, "title", "daemon");
    is_of(&register(&codex, &codex.pane, "please register yourself as w1"), &codex.pane, "title", "daemon");
    codex.quit().unwrap();
}

#[test]
fn two_sessions_of_the_daemon_in_one_folder_are_told_apart_by_what_they_were_told() {
    let codex = session(Flavour::Daemon, "");
    let other = another(&codex);
    is_of(&register(&codex, &other, "please register yourself as w2"), &other, "last_message", "daemon");
    let first = register(&codex, &codex.pane, "please register yourself as w1");
    is_of(&first, &codex.pane, "last_message", "daemon");
    codex.quit().unwrap();
}

#[test]
fn two_sessions_of_the_daemon_that_were_told_the_same_are_never_confused() {
    let codex = session(Flavour::Daemon, "");
    let other = another(&codex);
    let first = register(&codex, &codex.pane, "please register yourself");
    is_of(&first, &codex.pane, "last_message", "daemon");
    // Both terminals show the same words now: neither is taken for the one that calls.
    let second = register(&codex, &other, "please register yourself");
    let report = &second.report;
    assert_ne!(second.thread, first.thread);
    assert_eq!(report["codex_session_id"], second.thread, "{report:#}");
    assert_eq!((&report["pane"], &report["delivery"]), (&Value::Null, &json!("pull")), "{report:#}");
    assert_eq!(report["candidates"].as_array().unwrap().len(), 2, "{report:#}");
    // What was proved before stays proved as long as that terminal lives.
    let again = register(&codex, &codex.pane, "please register yourself");
    assert_eq!((&again.report["pane"], &again.report["re_registered"]), (&json!(codex.pane.0), &json!(true)));
    codex.quit().unwrap();
}

/// After `/clear` the same terminal has another thread: it is the same session, proved anew.
fn goes_on_after_clear(flavour: Flavour, more: &str) {
    let codex = session(flavour, more);
    let first = register(&codex, &codex.pane, "please register w1");
    // While the turn runs, Codex refuses to clear; the line that ends a turn comes last.
    codex
        .wait_screen(LIMIT, "a turn's end", |screen| is_idle(screen) && screen.contains("Worked for"))
        .unwrap();
    codex.tmux.paste_then(&codex.pane, &["/clear"], &["Enter"]).unwrap();
    codex
        .wait_screen(LIMIT, "a cleared screen", |screen| is_idle(screen) && !screen.contains("register w1"))
        .unwrap();
    let second = register(&codex, &codex.pane, "please register w1");
    assert_ne!(second.thread, first.thread);
    let report = &second.report;
    assert_eq!(report["codex_session_id"], second.thread, "{report:#}");
    assert_eq!(report["session_id"], first.report["session_id"], "{report:#}");
    assert_eq!(
        (&report["pane"], &report["re_registered"]),
        (&json!(codex.pane.0), &json!(true)),
        "{report:#}"
    );
    codex.quit().unwrap();
}

#[test]
fn an_embedded_session_is_the_same_after_clear() {
    goes_on_after_clear(Flavour::Embedded, "");
}

#[test]
fn a_session_of_the_daemon_is_the_same_after_clear() {
    goes_on_after_clear(Flavour::Daemon, TITLE);
}
