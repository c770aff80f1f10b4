//! The two programs, each with a home, a ledger and sessions of its own.

use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;

use crate::rollout::Rollout;

/// The build folder, where results and the peer lie.
pub(crate) fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_conveyor"));
    program.ancestors().nth(2).map_or_else(PathBuf::new, Path::to_owned)
}

/// `conveyor` on one ledger.
#[derive(Clone)]
pub(crate) struct Conveyor {
    /// Its `HOME`.
    pub(crate) home: PathBuf,
    /// Its ledger.
    pub(crate) ledger: PathBuf,
    /// Where its tmux server is.
    pub(crate) tmux: PathBuf,
}

impl Conveyor {
    /// On a new ledger in this folder.
    pub(crate) fn new(folder: &Path, tmux: &Path) -> Self {
        Self { home: folder.to_owned(), ledger: folder.join("ledger/ledger.db"), tmux: tmux.to_owned() }
    }

    /// The same on a copy of its ledger, which nobody may be using now.
    pub(crate) fn copied(&self, name: &str) -> anyhow::Result<Self> {
        let ledger = self.home.join(name).join("ledger.db");
        std::fs::create_dir_all(self.home.join(name))?;
        std::fs::copy(&self.ledger, &ledger)?;
        Ok(Self { ledger, ..self.clone() })
    }

    /// The program with these words, and nothing of the caller's environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command.args(words).arg("--db").arg(&self.ledger);
        clean(&mut command, &self.home, &self.tmux);
        command
    }

    /// Its report.
    pub(crate) fn report(&self, words: &[&str]) -> anyhow::Result<Value> {
        let output = self.command(&[words, &["--json"]].concat()).stdin(Stdio::null()).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "conveyor {words:?}: {told}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Registers a session by its rollout.
    pub(crate) fn register(&self, role: &str, name: &str, rollout: &Rollout) -> anyhow::Result<()> {
        let path = rollout.path.display().to_string();
        let verb = format!("register-{role}");
        self.report(&[&verb, "--name", name, "--codex-session", &path, "--no-tmux"]).map(drop)
    }

    /// Binds a new task.
    pub(crate) fn bind(&self, task: &str, worker: &str, manager: &str) -> anyhow::Result<()> {
        self.report(&["tasks", "--create", task, "--goal", "to be measured"])?;
        self.report(&["bind", "--task", task, "--worker", worker, "--manager", manager]).map(drop)
    }
}

/// The peer on one state folder.
#[derive(Clone)]
pub(crate) struct Peer {
    home: PathBuf,
    state: PathBuf,
    tmux: PathBuf,
}

/// Runs many of the peer's commands in one interpreter: to prepare, never to measure.
const MANY: &str = "
import contextlib, io, json, sys
from workerctl.cli import main
for words in json.load(sys.stdin):
    sys.argv = ['conveyor', *words]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        code = main()
    if code:
        sys.exit(f'{words}: {code}: {told.getvalue()}')
";

impl Peer {
    /// On a new state folder.
    pub(crate) fn new(folder: &Path, tmux: &Path) -> Self {
        Self { home: folder.to_owned(), state: folder.join("state"), tmux: tmux.to_owned() }
    }

    /// The same on a copy of its state.
    pub(crate) fn copied(&self, name: &str) -> anyhow::Result<Self> {
        let state = self.home.join(name);
        std::fs::create_dir_all(&state)?;
        for entry in std::fs::read_dir(&self.state)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), state.join(entry.file_name()))?;
            }
        }
        Ok(Self { state, ..self.clone() })
    }

    /// The program with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(target().join("peer/bin/conveyor"));
        command.args(words);
        self.environment(&mut command);
        command
    }

    fn environment(&self, command: &mut Command) {
        clean(command, &self.home, &self.tmux);
        command.env("WORKERCTL_STATE_ROOT", &self.state);
    }

    /// Runs commands that prepare something.
    pub(crate) fn run_all(&self, lines: &[Vec<String>]) -> anyhow::Result<()> {
        let mut command = Command::new(target().join("peer/bin/python"));
        command.args(["-c", MANY]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.environment(&mut command);
        let mut child = command.spawn()?;
        let text = serde_json::to_string(lines)?;
        child.stdin.take().context("stdin is piped")?.write_all(text.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "the peer: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Registers a session by its rollout.
    pub(crate) fn register(role: &str, name: &str, rollout: &Path) -> Vec<String> {
        let pid = std::process::id().to_string();
        let verb = format!("register-{role}");
        let path = rollout.display().to_string();
        words(&[&verb, "--name", name, "--pid", &pid, "--codex-session", &path])
    }

    /// Binds a new task.
    pub(crate) fn bind(task: &str, worker: &str, manager: &str) -> [Vec<String>; 2] {
        [
            words(&["tasks", "--create", task, "--goal", "to be measured"]),
            words(&["bind", "--task", task, "--worker", worker, "--manager", manager]),
        ]
    }
}

/// Words of the peer's command line.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn clean(command: &mut Command, home: &Path, tmux: &Path) {
    command
        .env_clear()
        .env("HOME", home)
        .env("CODEX_HOME", home.join("codex"))
        .env("TMUX_TMPDIR", tmux)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(home);
}
