//! Compacting and clearing the real Codex: the real `conveyor` process, the real tmux, a fake model.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "main_job/desk.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod desk;

use std::time::Duration;

use conveyor_model::audit::Actor;
use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::Options;
use conveyor_sim::tmux::poll;
use conveyor_store::AuditRow;
use conveyor_store::Ledger;
use conveyor_store::Location;
use conveyor_store::Mode;
use conveyor_store::OpenGate;
use conveyor_store::SystemClock;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use desk::Desk;
use serde_json::Value;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(40);

/// A worker in its pane, bound on a task that grants both commands, with a saved handoff and one turn behind it.
struct Job {
    desk: Desk,
    codex: Codex,
}

impl Job {
    fn begin(flavour: Flavour) -> Self {
        // An embedded 0.169 holds its new thread's lock. Of the others, only the title shows a thread without any message.
        let tables = match flavour {
            Flavour::Embedded => String::new(),
            Flavour::Daemon | Flavour::V144 | Flavour::V99 => {
                "[tui]\nterminal_title = [\"activity\", \"thread-id\"]\n".to_owned()
            }
        };
        let codex = Codex::launch(flavour, &Options { tables, ..Options::default() }).unwrap();
        codex.wait_idle().unwrap();
        codex.submit("the first words").unwrap();
        codex.wait_idle().unwrap();
        let job = Self { desk: Desk::new(), codex };
        job.run(&["register-worker", "--name", "w", "--tmux-session", "codex"]);
        job.run(&[
            "register-manager",
            "--name",
            "m",
            "--no-tmux",
            "--codex-session",
            &job.managers_rollout(),
        ]);
        job.run(&["tasks", "--create", "t", "--goal", "g"]);
        job.run(&["bind", "--task", "t", "--worker", "w", "--manager", "m"]);
        job.run(&["handoff", "t", "--summary", "half of it is done"]);
        job.grant();
        job
    }

    fn run(&self, words: &[&str]) -> Value {
        let report = self.desk.report_beside(self.codex.tmux.tmpdir(), words);
        assert!(report.get("error").is_none_or(Value::is_null), "{words:?}: {report:#}");
        report
    }

    /// The record of a manager without a terminal.
    fn managers_rollout(&self) -> String {
        let id = "01a20000-0000-7000-8000-000000000001";
        let path = self.desk.file(&format!("rollout-2026-11-23T00-00-00-{id}.jsonl"));
        let payload = json!({ "id": id, "cwd": "/", "originator": "test", "cli_version": "0.169.0" });
        let line =
            json!({ "timestamp": "2026-11-23T00:00:00.000Z", "type": "session_meta", "payload": payload });
        std::fs::write(&path, format!("{line}\n")).unwrap();
        path.display().to_string()
    }

    /// A person grants both commands.
    fn grant(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let location: Location = self.desk.ledger().display().to_string().parse().unwrap();
            let (clock, gate) = (std::sync::Arc::new(SystemClock), std::sync::Arc::new(OpenGate));
            let ledger = Ledger::open(&location, Mode::Write, clock, gate).await.unwrap().unwrap();
            let mut tx = ledger.write(&Actor::Operator).await.unwrap();
            let task = conveyor_store::tasks::by_id_or_name(&mut tx, "t").await.unwrap().unwrap();
            let now = tx.now();
            let granted = json!({ "worker_session": ["compact", "clear"] });
            let config = ManagerConfig { permissions_json: granted, ..ManagerConfig::new(task.id, now) };
            let audit = AuditRow::new("manager_config_recorded", "A test grants.");
            configs::put(&mut tx, config, audit).await.unwrap();
            tx.commit().await.unwrap();
            ledger.close().await;
        });
    }

    /// Waits until a command was confirmed, whoever confirms it.
    fn until_confirmed(&self, report: &Value) {
        let id = report["command_id"].as_str().unwrap_or_else(|| panic!("{report:#}"));
        let confirmed = poll(LIMIT, || {
            self.run(&["ingest", "w"]);
            let row = self.run(&["commands", "--id", id])[0].clone();
            Ok((row["delivery_state"] == "recorded").then_some(()))
        });
        let row = self.run(&["commands", "--id", id]);
        assert!(confirmed.unwrap().is_some(), "{row:#}\n{}", self.codex.screen());
    }

    fn compacted(&self) -> usize {
        let rollouts = self.codex.rollouts().unwrap();
        let texts = rollouts.iter().map(|path| std::fs::read_to_string(path).unwrap());
        texts.map(|text| text.matches("\"type\":\"compacted\"").count()).sum()
    }

    fn end(self) {
        self.codex.quit().unwrap();
    }
}

/// Compacts, then clears, then goes on in the new thread.
fn compacts_and_clears(flavour: Flavour) {
    let job = Job::begin(flavour);
    let report = job.run(&["compact-worker", "t", "--reason", "its context is full"]);
    assert_eq!(report["slash_command"], "/compact", "{report:#}");
    job.until_confirmed(&report);
    assert_eq!(job.compacted(), 1, "once and not twice");
    job.codex.wait_idle().unwrap();

    let report = job.run(&["compact-worker", "t", "--reason", "start anew", "--clear"]);
    assert_eq!(
        (&report["slash_command"], &report["confirmed"]),
        (&json!("/clear"), &json!(true)),
        "{report:#}"
    );
    assert_eq!(job.compacted(), 1);
    job.codex.wait_idle().unwrap();
    let words = ["session-nudge", "w", "the second words", "--wait-for", "answered", "--timeout", "30"];
    let report = job.run(&words);
    assert_eq!(report["state"], "answered", "{report:#}\n{}", job.codex.screen());
    assert_eq!(job.codex.rollouts().unwrap().len(), 2, "the new thread has a rollout of its own");
    job.end();
}

#[test]
fn codex_0_169_is_compacted_and_cleared_and_followed_into_its_new_thread() {
    compacts_and_clears(Flavour::Embedded);
}

#[test]
fn codex_0_169_with_its_daemon_is_too() {
    compacts_and_clears(Flavour::Daemon);
}

#[test]
fn codex_0_144_is_too() {
    compacts_and_clears(Flavour::V144);
}

#[test]
fn a_codex_that_knows_no_clear_is_left_as_it_was() {
    let job = Job::begin(Flavour::V99);
    let report = job.run(&["compact-worker", "t", "--reason", "its context is full"]);
    job.until_confirmed(&report);
    job.codex.wait_idle().unwrap();
    let report = job.run(&["compact-worker", "t", "--reason", "start anew", "--clear"]);
    let sent = &report["send_result"];
    assert_eq!((&sent["state"], &report["confirmed"]), (&json!("failed"), &json!(false)), "{report:#}");
    assert!(sent["error"].as_str().unwrap().contains("does not know /clear"), "{report:#}");
    job.codex.wait_idle().unwrap();
    assert_eq!(job.codex.user_texts().unwrap(), ["the first words"]);
    job.end();
}

#[test]
fn a_busy_codex_is_refused_and_with_force_does_it_after_its_turn() {
    let job = Job::begin(Flavour::Embedded);
    job.run(&["session-nudge", "w", "work [[delay=4]]", "--wait-for", "recorded"]);
    let refused = job
        .desk
        .report_beside(job.codex.tmux.tmpdir(), &["compact-worker", "t", "--reason", "its context is full"]);
    assert!(refused["error"]["message"].as_str().unwrap().contains("worker_busy"), "{refused:#}");
    assert_eq!(job.compacted(), 0);
    let report = job.run(&["compact-worker", "t", "--reason", "its context is full", "--force"]);
    job.until_confirmed(&report);
    assert_eq!(job.compacted(), 1);
    job.end();
}
