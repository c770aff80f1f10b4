//! The real Codex calls our tools.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::Options;
use conveyor_sim::directive::Call;
use conveyor_sim::directive::Step;
use conveyor_sim::provider::Received;
use conveyor_sim::provider::Rule;
use serde_json::Value;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

/// A session that never asks a person, with our server in its configuration.
fn session(flavour: Flavour) -> Codex {
    let conveyor = env!("CARGO_BIN_EXE_conveyor");
    let tables = format!("[mcp_servers.conveyor]\ncommand = \"{conveyor}\"\nargs = [\"mcp\"]\n");
    let args = ["-a", "never", "-s", "read-only"].map(str::to_owned).to_vec();
    let codex = Codex::launch(flavour, &Options { args, tables, ..Options::default() }).unwrap();
    codex.wait_idle().unwrap();
    codex
}

fn call(tool: &str, arguments: Value) -> Step {
    Step::Call(Call::Mcp { server: "conveyor".to_owned(), tool: tool.to_owned(), arguments })
}

/// The request that holds the first output of a turn.
fn answered(codex: &Codex) -> Received {
    let found = codex.provider.wait_for(LIMIT, |one| !one.is_side_request() && !one.outputs.is_empty());
    found.unwrap_or_else(|| panic!("no tool call ended; the screen is\n{}", codex.screen()))
}

/// The namespace of our tools, as Codex shows it to its model.
fn namespace(request: &Received) -> Value {
    let tools = request.body["tools"].as_array().unwrap();
    tools.iter().find(|tool| tool["name"] == "mcp__conveyor").expect("our tools").clone()
}

/// A sandboxed session that may ask nobody calls a tool, which finds the ledger of the session's thread.
fn calls_by_thread(flavour: Flavour) {
    let codex = session(flavour);
    let notes = codex.user_home().join(".local/state/conveyor/threads");
    codex.provider.rule(Rule::ask("pair up", move |request| {
        let thread = request.thread.as_deref().expect("a request names its thread");
        std::fs::create_dir_all(&notes).unwrap();
        std::fs::write(notes.join(thread), format!("/of/{thread}.db")).unwrap();
        vec![call("setup_code", json!({ "code": "ABC234" }))]
    }));
    codex.submit("pair up").unwrap();
    let request = answered(&codex);
    let thread = request.thread.clone().unwrap();
    assert!(request.outputs[0].contains(&format!("--db /of/{thread}.db")), "{}", request.outputs[0]);
    assert!(request.outputs[0].contains("\"setup_code\":\"ABC234\""), "{}", request.outputs[0]);
    codex.quit().unwrap();
}

#[test]
fn an_embedded_session_calls_a_tool_as_its_thread() {
    calls_by_thread(Flavour::Embedded);
}

#[test]
fn a_session_of_the_daemon_calls_a_tool_as_its_thread() {
    calls_by_thread(Flavour::Daemon);
}

#[test]
fn the_model_sees_each_argument_and_is_told_of_a_failure() {
    let codex = session(Flavour::Embedded);
    codex.provider.rule(Rule::new("go wrong", vec![call("setup_code", json!({ "code": "!" }))]));
    codex.submit("go wrong").unwrap();
    let request = answered(&codex);
    assert!(
        request.outputs[0].contains("\"error\":{\"") && request.outputs[0].contains("\"kind\":\"usage\"")
    );
    let namespace = namespace(&request);
    assert!(namespace["description"].as_str().unwrap().contains("data"), "the instructions are shown");
    let tools = namespace["tools"].as_array().unwrap();
    let classify = tools.iter().find(|tool| tool["name"] == "classify").unwrap();
    let shown = &classify["parameters"]["properties"]["busy_wait_seconds"];
    assert_eq!(shown["type"], "integer");
    assert!(shown["description"].as_str().unwrap().ends_with("(default: 90)"), "{shown}");
    codex.quit().unwrap();
}
