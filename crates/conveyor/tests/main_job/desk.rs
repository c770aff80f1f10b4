//! A ledger of one test's own, and the real `conveyor` on it as a person runs it.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt as _;
use serde_json::Value;

/// Far above what anything here takes: only what never happens reaches it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Where one test's conveyor lives.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The ledger, for who does not run at this desk.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger/ledger.db")
    }

    /// Where conveyor keeps what is not in the ledger.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A file of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these words on this desk's ledger, and nothing of the caller's own environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.bare(words);
        command.arg("--db").arg(self.ledger());
        command
    }

    /// The same without a word about the ledger.
    pub(crate) fn bare(&self, words: &[&str]) -> Command {
        let mut command = Command::cargo_bin("conveyor").unwrap();
        command
            .args(words)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.state())
            .env("CODEX_HOME", self.folder.path().join("no-codex"))
            .env("TMUX_TMPDIR", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it and reads its report, whatever its exit code.
    pub(crate) fn report(&self, words: &[&str]) -> Value {
        read(self.command(&[words, &["--json"]].concat()), words)
    }

    /// The same, where a tmux server is to be found.
    pub(crate) fn report_beside(&self, tmux: &Path, words: &[&str]) -> Value {
        let mut command = self.command(&[words, &["--json"]].concat());
        command.env("TMUX_TMPDIR", tmux);
        read(command, words)
    }
}

fn read(mut command: Command, words: &[&str]) -> Value {
    let output = command.output().unwrap();
    let told = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    serde_json::from_slice(told)
        .unwrap_or_else(|error| panic!("{words:?}: {error}: {}", String::from_utf8_lossy(told)))
}
