//! A dispatcher as a process: in the background, asked for, stopped, killed.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

/// Far above what anything here takes: only what never happens reaches it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A home and a ledger of one test's own. Dropping it ends the dispatcher that it knows of.
struct Home {
    folder: tempfile::TempDir,
    detached: Option<i64>,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), detached: None }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command
            .args(words)
            .arg("--db")
            .arg(self.folder.path().join("ledger/ledger.db"))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null());
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.output(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn detach(&mut self) -> Value {
        let report = self.json(&["dispatch", "--watch", "--detach"]);
        self.detached = report["pid"].as_i64();
        report
    }

    fn watch(&self, flags: &[&str]) -> Child {
        let words = [&["dispatch", "--watch", "--json"], flags].concat();
        let mut child = self.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("the watch lives", || {
            assert_eq!(child.try_wait().unwrap(), None, "it ended at once");
            self.json(&["dispatch", "--status"])["running"] == true
        });
        child
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(pid) = self.detached {
            signal("KILL", pid);
        }
    }
}

fn signal(name: &str, pid: i64) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_detached_dispatcher_is_proved_alive_and_stops_when_it_is_asked_to() {
    let mut home = Home::new();
    assert_eq!(home.json(&["dispatch", "--status"])["running"], false);
    let started = home.detach();
    assert_eq!((&started["running"], &started["started"]), (&json!(true), &json!(true)), "{started:#}");
    let log = started["log_path"].as_str().unwrap();
    assert_eq!(mode(Path::new(log)), 0o600);

    let again = home.json(&["dispatch", "--watch", "--detach"]);
    assert_eq!(
        (&again["started"], &again["pid"]),
        (&json!(false), &started["pid"]),
        "one of a name is enough"
    );
    let second = home.output(&["dispatch", "--watch"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("watches this ledger already"));
    assert!(home.output(&["dispatch", "--once"]).status.success(), "a single pass runs beside it");

    let stopped = home.json(&["dispatch", "--stop"]);
    assert_eq!((&stopped["stopped"], &stopped["running"]), (&json!(true), &json!(false)));
    home.detached = None;
    let written = std::fs::read_to_string(log).unwrap();
    let summary: Value = serde_json::from_str(written.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["watch"], &summary["dispatcher_id"]), (&json!(true), &json!("dispatch-local")));
}

#[test]
fn a_killed_dispatcher_is_known_to_be_dead_at_once_and_can_be_followed_by_another() {
    let mut home = Home::new();
    let first = home.detach();
    signal("KILL", first["pid"].as_i64().unwrap());
    until("it is known to be dead", || home.json(&["dispatch", "--status"])["running"] == false);
    let second = home.detach();
    assert_eq!(second["started"], true);
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(home.json(&["dispatch", "--stop"])["stopped"], true);
}

#[test]
fn a_signal_ends_a_watch_with_its_summary_and_exit_code_0() {
    for name in ["INT", "TERM"] {
        let home = Home::new();
        let child = home.watch(&[]);
        signal(name, i64::from(child.id()));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["watch"], &summary["processed_count"]), (&json!(true), &json!(0)));
        let status = home.json(&["dispatch", "--status"]);
        assert!(status["running"] == false && status["stopped_at"].is_string(), "{status:#}");
    }
}

#[test]
fn a_bounded_watch_ends_by_itself_and_prints_one_document() {
    let home = Home::new();
    let report = home.json(&["dispatch", "--watch", "--watch-iterations", "2", "--interval", "0.05"]);
    assert_eq!((&report["iterations"], &report["watch"]), (&json!(2), &json!(true)));
    let dry =
        home.json(&["dispatch", "--watch", "--watch-iterations", "2", "--interval", "0.05", "--dry-run"]);
    assert_eq!((&dry["iterations"], &dry["dry_run"]), (&json!(2), &json!(true)));
    assert_eq!(home.output(&["dispatch", "--once", "--watch"]).status.code(), Some(2));
}

#[test]
fn a_watch_whose_ledger_vanishes_says_so_in_its_log_and_fails() {
    let home = Home::new();
    let child = home.watch(&[]);
    std::fs::remove_dir_all(home.folder.path().join("ledger")).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is gone"), "{said}");
    assert!(!home.folder.path().join("ledger").exists(), "no new one is made in its place");
}

#[test]
fn a_detached_dispatcher_tells_what_it_does_in_its_log() {
    let mut home = Home::new();
    let mut start = home.command(&["dispatch", "--watch", "--detach", "--json"]);
    let started: Value =
        serde_json::from_slice(&start.env("CONVEYOR_LOG", "info").output().unwrap().stdout).unwrap();
    home.detached = started["pid"].as_i64();
    let log = started["log_path"].as_str().unwrap().to_owned();
    let written = || std::fs::read_to_string(&log).unwrap();
    until("it is told", || written().contains("INFO") && written().contains("watches"));
    std::fs::remove_dir_all(home.folder.path().join("ledger")).unwrap();
    until("the end is told", || written().contains("is gone"));
    assert_eq!(mode(Path::new(&log)), 0o600);
}

#[test]
fn a_long_log_is_set_aside_at_once_and_no_line_of_it_is_lost() {
    let mut home = Home::new();
    let started = home.detach();
    let log = started["log_path"].as_str().unwrap().to_owned();
    let before = format!("{log}.1");
    // What somebody else writes into it, at the moment of the cut too, and what the dispatcher itself tells.
    let line = format!("{}\n", "x".repeat(99));
    let most = usize::try_from(conveyor_model::limits::DISPATCH_LOG_BYTES).unwrap();
    for round in 1..=3 {
        let filler = line.repeat(most / line.len() + 1);
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, filler.as_bytes()).unwrap();
        std::io::Write::write_all(&mut file, format!("end of round {round}\n").as_bytes()).unwrap();
        home.json(&["tasks", "--create", &format!("t{round}"), "--goal", "g"]);
        until("it is cut", || {
            std::fs::metadata(&log).is_ok_and(|meta| meta.len() < most as u64)
                && std::fs::read_to_string(&before)
                    .is_ok_and(|old| old.contains(&format!("end of round {round}")))
        });
        std::io::Write::write_all(&mut file, b"late\n").unwrap();
        assert!(std::fs::read_to_string(&before).unwrap().ends_with("late\n"), "its writer's end is kept");
    }
    assert_eq!((mode(Path::new(&log)), mode(Path::new(&before))), (0o600, 0o600));
    // It writes into the new one.
    std::fs::remove_dir_all(home.folder.path().join("ledger")).unwrap();
    until("the end is told", || std::fs::read_to_string(&log).unwrap().contains("is gone"));
}
