//! The world of a demo: one folder with a home, a Codex folder, a ledger and a tmux server, and what runs in it.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use conveyor_engine::plane::quote;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;

use super::cast::Agent;
use super::cast::Cast;
use super::narrator::Narrator;
use super::sweep;

/// How long anything that has to happen may take. A start of Codex takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks at something that tells of no change by itself. A look is a process of some milliseconds.
const LOOK: Duration = Duration::from_millis(200);

/// The longest path that a Unix socket can have on each system that we know.
const SOCKET_PATH: usize = 100;

/// The world of one demo.
pub(super) struct Stage {
    pub(super) cast: Cast,
    folder: tempfile::TempDir,
    model: Mutex<Option<Child>>,
}

impl Stage {
    /// A folder for everything. Nothing runs yet.
    pub(super) fn new(cast: Cast) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("conveyor-demo-").tempdir_in(base(&cast)?)?;
        let stage = Self { cast, folder, model: Mutex::new(None) };
        for name in ["home", "codex", "codex-sim", "state", "tmux", "work"] {
            std::fs::create_dir(stage.path(name))?;
        }
        if stage.cast.agent == Agent::Sim {
            // A process is taken for Codex by the name of its program.
            std::fs::copy(&stage.cast.sim, stage.path("codex-sim/codex"))?;
        }
        Ok(stage)
    }

    /// A place in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program in this world: with its places in the environment, and nothing of the caller's own agents.
    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.path("work")).stdin(Stdio::null()).kill_on_drop(true);
        for (name, folder) in
            [("HOME", "home"), ("CODEX_HOME", "codex"), ("XDG_STATE_HOME", "state"), ("TMUX_TMPDIR", "tmux")]
        {
            command.env(name, self.path(folder));
        }
        command.env("PATH", self.search_path()).env("SHELL", "/bin/bash").env("FAKE_KEY", "fake");
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
        command
    }

    /// PATH with this program and Codex in front.
    fn search_path(&self) -> std::ffi::OsString {
        let own = [Some(&self.cast.conveyor), self.cast.codex.as_ref()];
        let own = own.into_iter().flatten().filter_map(|path| path.parent()).map(Path::to_owned);
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let all: Vec<PathBuf> = own.chain(std::env::split_paths(&inherited)).collect();
        std::env::join_paths(all).unwrap_or(inherited)
    }

    /// Runs a command line of this program, shows it as a user would type it, and gives its answer.
    ///
    /// Errors: it failed; then with what it said.
    pub(super) async fn conveyor(&self, words: &[&str]) -> Result<Value> {
        let line: Vec<&str> = std::iter::once("conveyor").chain(words.iter().copied()).collect();
        Narrator::command(&quote(&line));
        self.ask(words).await
    }

    /// The same without showing it.
    pub(super) async fn ask(&self, words: &[&str]) -> Result<Value> {
        let done = self.program(&self.cast.conveyor).args(words).arg("--json").output().await?;
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if !done.status.success() {
            bail!("`conveyor {}` failed: {} {}", quote(words), err.trim(), out.trim());
        }
        serde_json::from_str(&out).with_context(|| format!("`conveyor {}` printed {out}", quote(words)))
    }

    /// Opens a tmux session with an agent in it.
    pub(super) async fn open(&self, session: &str) -> Result<()> {
        let argv = self.cast.argv(self.folder.path())?;
        let mut command = self.program(Path::new("tmux"));
        command.args(["-u", "-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "-s", session]);
        let done = command.arg("--").args(argv).output().await?;
        anyhow::ensure!(done.status.success(), "tmux: {}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(())
    }

    /// What a session's pane shows, for an error's text.
    pub(super) async fn screen(&self, session: &str) -> String {
        let mut command = self.program(Path::new("tmux"));
        let done = command.args(["capture-pane", "-p", "-t", session]).output().await;
        done.map(|done| String::from_utf8_lossy(&done.stdout).trim_end().to_owned()).unwrap_or_default()
    }

    /// Writes the model's rules; for Codex starts the model and tells Codex of it.
    pub(super) async fn model(&self) -> Result<()> {
        let script = self.path("model.toml");
        std::fs::write(&script, self.cast.script())?;
        match self.cast.agent {
            Agent::Sim => Ok(()),
            Agent::Codex => {
                let url = self.provider(&script).await?;
                Ok(std::fs::write(self.path("codex/config.toml"), self.codex_config(&url))?)
            }
        }
    }

    /// Starts the model as a process on loopback, and gives its address.
    async fn provider(&self, script: &Path) -> Result<String> {
        let mut command = self.program(&self.cast.sim);
        let mut child = command.arg("provider").arg("--script").arg(script).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("its output is piped")?;
        *self.model.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let line = BufReader::new(out).lines().next_line().await?;
        line.context("the built-in model did not start")
    }

    fn codex_config(&self, url: &str) -> String {
        let work = self.path("work");
        format!(
            "model = \"fake-1\"\nmodel_provider = \"fake\"\ncheck_for_update_on_startup = false\n\n\
             [model_providers.fake]\nname = \"fake\"\nbase_url = \"{url}\"\nwire_api = \"responses\"\n\
             env_key = \"FAKE_KEY\"\nrequires_openai_auth = false\n\n\
             [projects.\"{}\"]\ntrust_level = \"trusted\"\n",
            work.display()
        )
    }

    /// Looks until something is so.
    ///
    /// Errors: it never was; then with the last reason.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = match look().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            if Instant::now() >= deadline {
                let never = format!("within {} seconds it never came that {what}", PATIENCE.as_secs());
                return Err(match last {
                    Some(error) => error.context(never),
                    None => anyhow::anyhow!(never),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends everything that runs in this world and removes the folder, or tells where it is.
    pub(super) async fn clear(self, keep: bool) -> Result<()> {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut model) = model {
            model.kill().await?;
        }
        let _ = self.program(Path::new("tmux")).arg("kill-server").output().await;
        let mark = format!("HOME={}", self.path("home").display());
        let left = sweep::end(&mark).await;
        if keep {
            Narrator::say(&format!("\nThe folder is kept: {}", self.folder.keep().display()));
        } else {
            let path = self.folder.path().to_owned();
            self.folder.close().with_context(|| format!("removing {}", path.display()))?;
        }
        anyhow::ensure!(left.is_empty(), "processes are left: {left:?}");
        Ok(())
    }
}

/// Where the folder lies. Codex refuses to put its helper programs below `/tmp`; a simulated agent needs no better place.
fn base(cast: &Cast) -> Result<PathBuf> {
    let temp = std::env::temp_dir().canonicalize()?;
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    match (cast.agent, cache) {
        (Agent::Codex, Some(cache)) if cache.as_os_str().len() + 50 < SOCKET_PATH => {
            std::fs::create_dir_all(&cache)?;
            Ok(cache.canonicalize()?)
        }
        (Agent::Codex | Agent::Sim, _) => Ok(temp),
    }
}
