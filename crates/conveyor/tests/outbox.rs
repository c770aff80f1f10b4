//! The command line from inside a sandbox: what a worker has to say is left in its outbox, and no ledger is touched.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;

/// Runs the program as a sandboxed shell of an agent would.
fn run(workspace: &Path, words: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_conveyor"))
        .args(words)
        .arg("--db")
        .arg(workspace.join("no/ledger.db"))
        .current_dir(workspace)
        .env_clear()
        .env("HOME", workspace)
        .env("CODEX_THREAD_ID", "01a203b1-5a77-7b02-adb4-ea3209f7045a")
        .env("CODEX_SANDBOX_NETWORK_DISABLED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn letters(workspace: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(workspace.join(".conveyor/outbox")) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

#[test]
fn a_worker_in_a_sandbox_just_reports() {
    let workspace = tempfile::tempdir().unwrap();
    let said = run(workspace.path(), &["report", "--status", "done", "--message", "it works"], "");
    let (out, error) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.contains("queued in outbox"), "{out}{error}");
    let ack = run(workspace.path(), &["worker-ack", "t", "--from-stdin"], "{\"ready_to_start\":true}");
    assert!(ack.status.success(), "{}", String::from_utf8_lossy(&ack.stderr));
    let letters = letters(workspace.path());
    assert_eq!(letters.len(), 2);
    assert_eq!(
        (&letters[0]["verb"], &letters[0]["request"]["message"]),
        (&"report".into(), &"it works".into())
    );
    assert_eq!(letters[1]["request"]["payload_json"]["ready_to_start"], true);
    assert!(!workspace.path().join("no").exists(), "no ledger is made");
}

#[test]
fn what_cannot_be_said_by_letter_names_the_tool() {
    let workspace = tempfile::tempdir().unwrap();
    let bind = run(workspace.path(), &["bind", "--task", "t", "--worker", "w", "--manager", "m"], "");
    let error = String::from_utf8_lossy(&bind.stderr);
    assert_eq!(bind.status.code(), Some(1));
    assert!(error.contains("inside this sandbox") && error.contains("MCP tool `bind`"), "{error}");
    let blank = run(workspace.path(), &["report", "--status", "done", "--message", " "], "");
    assert_eq!(blank.status.code(), Some(2), "what the verb refuses is refused at once");
    let read = run(workspace.path(), &["tasks"], "");
    assert!(read.status.success(), "what only reads works: {}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(letters(workspace.path()), Vec::<Value>::new());
}
