//! `conveyor mcp` as a process, spoken to in raw lines.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use conveyor_engine::VERBS;
use conveyor_engine::verb::Agents;
use conveyor_engine::verb::Effect;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;
use serde_json::json;

/// A server and its client's ends.
struct Talk {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Talk {
    /// Starts a server that has nothing but a home.
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_conveyor"))
            .arg("mcp")
            .env_clear()
            .env("HOME", folder.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from, folder }
    }

    /// Starts a server and shakes hands.
    fn greeted() -> Self {
        Self::start().greet()
    }

    fn greet(mut self) -> Self {
        let talk = &mut self;
        let client = json!({ "name": "test", "version": "0" });
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        let answer = talk.ask("initialize", &hello);
        assert_eq!(answer["result"]["serverInfo"]["name"], "conveyor");
        assert!(answer["result"]["instructions"].as_str().unwrap().contains("`status`"));
        talk.line(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
        self
    }

    fn line(&mut self, line: &str) {
        writeln!(self.to.as_mut().unwrap(), "{line}").unwrap();
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "the server closed its output");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Asks and waits for the answer to it.
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.line(&json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params }).to_string());
        let answer = self.next();
        assert_eq!(answer["id"], method);
        answer
    }

    /// Calls a tool as a thread.
    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "threadId": "thread-1" } });
        self.ask("tools/call", &params)["result"].clone()
    }

    /// Closes the client's end; the server has to end well.
    fn leave(mut self) {
        drop(self.to.take());
        self.ended();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    fn ended(&mut self) {
        let status = self.status();
        assert!(status.success(), "{status}");
    }

    fn status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the server does not end");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn warnings_go_to_stderr_as_the_dispatchers_do_and_never_into_the_protocol() {
    let warned = |variables: &[(&str, &str)]| {
        let mut talk = Talk::start_with(variables).greet();
        let mut stderr = talk.child.stderr.take().unwrap();
        talk.call("tasks", &json!({ "create": "t", "goal": "g" }));
        talk.leave();
        let mut told = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut told).unwrap();
        told
    };
    assert_eq!(warned(&[]), "", "nothing is wrong");
    let told = warned(&[("CONVEYOR_LOG", "debug")]);
    assert!(told.contains(" DEBUG ") || told.contains(" INFO "), "{told}");
}

#[test]
fn each_tool_is_a_row_of_the_table_of_verbs() {
    let mut talk = Talk::greeted();
    let tools = talk.ask("tools/list", &json!({}))["result"]["tools"].clone();
    let tools = tools.as_array().unwrap();
    let offered: Vec<_> = VERBS.iter().filter(|verb| verb.agents != Agents::No).collect();
    assert_eq!(tools.len(), offered.len());
    for (tool, verb) in tools.iter().zip(offered) {
        let (shown, schema) = (&tool["inputSchema"], (verb.schema)().to_value());
        assert_eq!(tool["name"], verb.name.replace('-', "_"));
        assert_eq!(tool["annotations"]["readOnlyHint"], verb.effect == Effect::Reads, "{}", verb.name);
        assert!(tool["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", verb.name);
        assert_eq!(shown["type"], "object");
        assert_eq!(shown["required"], schema["required"], "{}", verb.name);
        assert_eq!(shown["additionalProperties"], false, "{}: deny unknown fields", verb.name);
        let names = |schema: &Value| -> Vec<String> {
            schema["properties"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
        };
        assert_eq!(names(shown), names(&schema), "{}", verb.name);
        for word in ["$ref", "$defs", "$schema", "null"] {
            assert!(!shown.to_string().contains(&format!("\"{word}\"")), "{}: {word} in {shown}", verb.name);
        }
        for (name, property) in shown["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{}.{name} is not described", verb.name);
        }
    }
    talk.leave();
}

#[test]
fn a_call_is_answered_as_data_and_as_text() {
    let mut talk = Talk::greeted();
    let result = talk.call("setup_code", &json!({ "code": "ABC234", "goal": "ship" }));
    assert_eq!(result["isError"], false);
    assert_eq!(result["structuredContent"]["setup_code"], "ABC234");
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, result["structuredContent"]);
    talk.leave();
}

#[test]
fn a_call_works_on_the_ledger_in_which_its_thread_is_registered() {
    let mut talk = Talk::greeted();
    let notes = talk.folder.path().join(".local/state/conveyor/threads");
    std::fs::create_dir_all(&notes).unwrap();
    std::fs::write(notes.join("thread-1"), "/noted/ledger.db").unwrap();
    let prompt = talk.call("setup_code", &json!({}))["structuredContent"]["worker_prompt"].to_string();
    assert!(prompt.contains("--db /noted/ledger.db"), "{prompt}");
    talk.leave();
}

#[test]
fn wrong_arguments_and_unknown_tools_are_told_apart_from_failures_of_the_protocol() {
    let mut talk = Talk::greeted();
    let wrong = [
        ("setup_code", json!({ "code": 7 })),
        ("setup_code", json!({ "thread": "thread-2" })),
        ("setup_code", json!({ "_meta": { "threadId": "thread-2" } })),
        ("setup-code", json!({})),
        ("rm", json!({})),
    ];
    for (tool, arguments) in wrong {
        let result = talk.call(tool, &arguments);
        assert_eq!(result["isError"], true, "{tool} {arguments}");
        assert_eq!(result["structuredContent"]["error"]["kind"], "usage", "{tool} {arguments}");
    }
    for params in [json!({}), json!({ "name": 1 }), json!({ "name": "setup_code", "arguments": [1] })] {
        assert_eq!(talk.ask("tools/call", &params)["error"]["code"], -32602, "{params}");
    }
    assert_eq!(talk.ask("no/such", &json!({}))["error"]["code"], -32601);
    talk.leave();
}

#[test]
fn nonsense_does_not_end_the_talk() {
    let mut talk = Talk::greeted();
    for line in ["", "not json", "{", "\u{1b}[2J\u{7}", "\"\"", "[]", "{\"jsonrpc\":\"2.0\"}", "{\"id\":9}"] {
        talk.line(line);
    }
    let unasked = json!({ "jsonrpc": "2.0", "id": 77, "result": {} }).to_string();
    let unknown =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } });
    talk.line(&unasked);
    talk.line(&unknown.to_string());
    talk.line(&json!({ "jsonrpc": "2.0", "id": "last", "method": "ping" }).to_string());
    // What is JSON and no message is answered without an id; the rest is passed over.
    let answers = std::iter::repeat_with(|| talk.next()).find(|answer| answer["id"] == "last");
    assert_eq!(answers.unwrap()["result"], json!({}));
    talk.leave();
}

#[test]
fn a_verb_that_reads_standard_input_never_eats_a_message() {
    let mut talk = Talk::greeted();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "classify" } });
    let ping = json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" });
    talk.line(&format!("{call}\n{ping}"));
    let mut ids = [talk.next()["id"].clone(), talk.next()["id"].clone()];
    ids.sort_by_key(Value::as_i64);
    assert_eq!(ids, [json!(1), json!(2)]);
    talk.leave();
}

#[test]
fn it_ends_well_when_the_client_leaves_before_or_during_a_call() {
    Talk::start().leave();
    let mut talk = Talk::greeted();
    talk.line(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string());
    talk.leave();
}

#[test]
fn a_signal_ends_it_well_as_soon_as_it_has_answered() {
    for signal in [Signal::TERM, Signal::INT].into_iter().cycle().take(10) {
        let mut talk = Talk::greeted();
        talk.signal(signal);
        talk.ended();
    }
}

/// Before it listens, the system ends it, as quietly.
#[test]
fn a_signal_ends_it_quietly_whenever_it_comes() {
    for millis in [0, 1, 2, 3, 5, 8, 12, 20] {
        let mut talk = Talk::start();
        std::thread::sleep(Duration::from_millis(millis));
        talk.signal(Signal::TERM);
        let status = talk.status();
        assert!(status.success() || status.signal() == Some(Signal::TERM.as_raw()), "{status}");
        assert_eq!(std::io::read_to_string(talk.child.stderr.take().unwrap()).unwrap(), "");
    }
}
