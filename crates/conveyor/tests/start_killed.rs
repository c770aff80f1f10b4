//! A start that is killed between the terminal and the ledger.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use conveyor_sim::tmux::Server;
use serde_json::Value;

/// A home, a ledger and a tmux server of one test's own, with the simulated agent in place of Codex.
struct Place {
    folder: tempfile::TempDir,
    tmux: Server,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "deadly", "native", "codex", "work"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let sim = Path::new(env!("CARGO_BIN_EXE_conveyor")).with_file_name("conveyor-sim");
        let native = folder.path().join("native/codex");
        std::fs::hard_link(&sim, &native).or_else(|_| std::fs::copy(&sim, &native).map(drop)).unwrap();
        let place = Self { folder, tmux: Server::new().unwrap() };
        let help = "case $1 in --help) echo '      --no-daemon  Run without'; exit 0 ;; esac";
        place.script("bin/codex", &format!("{help}\nexec {} agent \"$@\"", native.display()));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A tmux that kills whoever calls it when it has made a session, or before it makes one.
    fn deadly_tmux(&self, makes_it: bool) {
        let found = Command::new("sh").args(["-c", "command -v tmux"]).output().unwrap();
        let tmux = String::from_utf8(found.stdout).unwrap();
        let tmux = tmux.trim();
        let first = if makes_it { format!("{tmux} \"$@\"") } else { String::new() };
        let deadly = format!("case \" $* \" in *' new-session '*) {first}\nkill -9 $PPID; exit 1 ;; esac");
        self.script("deadly/tmux", &format!("{deadly}\nexec {tmux} \"$@\""));
    }

    fn run(&self, words: &[&str], deadly: bool) -> Output {
        let path = std::env::var("PATH").unwrap();
        let path = if deadly { format!("{}:{path}", self.path("deadly").display()) } else { path };
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command
            .args(words)
            .arg("--json")
            .arg("--db")
            .arg(self.path("ledger.db"))
            .env_clear()
            .env("PATH", path);
        command.env("HOME", self.folder.path()).env("CODEX_HOME", self.path("codex"));
        command.env("TMUX_TMPDIR", self.tmux.tmpdir()).current_dir(self.path("work")).output().unwrap()
    }

    fn start(&self, deadly: bool) -> Output {
        let codex = self.path("bin/codex").display().to_string();
        self.run(&["start-worker", "--name", "w", "--codex-bin", &codex, "--timeout-seconds", "30"], deadly)
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(words, false);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[test]
fn a_start_that_is_killed_before_its_terminal_leaves_a_name_that_can_be_used() {
    let place = Place::new();
    place.deadly_tmux(false);
    assert_eq!(place.start(true).status.signal(), Some(9));
    assert_eq!(place.json(&["sessions", "--name", "w"])[0]["state"], "active", "it was cut off");
    let again = place.start(false);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(place.json(&["attention"]).to_string().contains("left nothing running"));
}

#[test]
fn a_start_that_is_killed_behind_its_terminal_is_found_by_its_mark() {
    let place = Place::new();
    place.deadly_tmux(true);
    assert_eq!(place.start(true).status.signal(), Some(9));
    let before = place.json(&["sessions", "--name", "w"]);
    assert_eq!((&before[0]["state"], &before[0]["pane"]), (&"active".into(), &Value::Null), "{before:#}");
    place.json(&["dispatch", "--once"]);
    let after = place.json(&["sessions", "--name", "w"]);
    assert_eq!((&after[0]["state"], &after[0]["tmux_live"]), (&"active".into(), &true.into()), "{after:#}");
    let attention = place.json(&["attention"]);
    assert!(attention.to_string().contains("The start of w was cut off"), "{attention:#}");
    let nudged = place.json(&["session-nudge", "w", "hello", "--wait-for", "recorded"]);
    assert_eq!(nudged["delivered"], true, "it is a session like any other: {nudged:#}");
    let again = place.start(false);
    assert!(!again.status.success(), "its name is taken");
}
