//! The real Codex in a private home, on the fake provider, in a private tmux server.
//!
//! Everything that a session starts is ended when its [`Codex`] is dropped: the pane, the programs below it and the
//! shared daemon, each by its process id, found by the private `CODEX_HOME` in its environment.

mod config;
mod processes;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
pub use config::Options;
use serde_json::Value;

use crate::provider::Provider;
use crate::tmux::PaneId;
use crate::tmux::Program;
use crate::tmux::Server;
use crate::tmux::poll;

/// How long a start may take on two busy cores; measured: 0.6 to 3 s.
const START: Duration = Duration::from_secs(40);

/// How long a quitting TUI is given before it is killed.
const QUIT: Duration = Duration::from_secs(5);

/// A way to run Codex that behaves differently from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// 0.169 with the app server inside of the TUI (`--no-daemon`).
    Embedded,
    /// 0.169 with the shared daemon, its default.
    Daemon,
    /// 0.144, the last version before the daemon that was measured.
    V144,
    /// 0.99, whose rollouts know no turns.
    V99,
}

impl Flavour {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Embedded, Self::Daemon, Self::V144, Self::V99];

    /// The prefix below `target` in which `scripts/install-codex` puts it.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Embedded | Self::Daemon => "codex",
            Self::V144 => "codex-0.144.0",
            Self::V99 => "codex-0.99.0",
        }
    }

    /// What the screen shows below the composer once the session has started.
    const fn ready_footer(self) -> &'static str {
        match self {
            Self::Embedded | Self::Daemon => "← for agents",
            Self::V144 => " default · ",
            Self::V99 => "context left",
        }
    }

    /// The program.
    ///
    /// # Errors
    ///
    /// When it is not installed.
    pub fn program(self) -> anyhow::Result<PathBuf> {
        let program = target().join(self.prefix()).join("node_modules/.bin/codex");
        ensure!(program.exists(), "{} is missing; run scripts/install-codex", program.display());
        Ok(program)
    }
}

/// The workspace's target folder. Codex refuses to put its helper programs into a home below `/tmp`, so homes lie here.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}

/// A Codex in a pane.
pub struct Codex {
    /// The server of its pane.
    pub tmux: Server,
    /// Its pane.
    pub pane: PaneId,
    /// The model that it talks to.
    pub provider: Provider,
    /// Its `CODEX_HOME`.
    pub home: PathBuf,
    /// Its working folder.
    pub work: PathBuf,
    flavour: Flavour,
    folder: tempfile::TempDir,
}

impl Codex {
    /// Starts with the default options and waits for the composer.
    pub fn start(flavour: Flavour) -> anyhow::Result<Self> {
        let codex = Self::launch(flavour, &Options::default())?;
        codex.wait_idle()?;
        Ok(codex)
    }

    /// Starts and waits for nothing, for screens that come before the composer.
    pub fn launch(flavour: Flavour, options: &Options) -> anyhow::Result<Self> {
        std::fs::create_dir_all(target().join("sim"))?;
        let folder =
            tempfile::Builder::new().prefix("cx").tempdir_in(target().join("sim").canonicalize()?)?;
        let (home, work) = (folder.path().join("home"), folder.path().join("work"));
        let provider = Provider::start()?;
        config::write(&home, &work, &provider.base_url(), options)?;
        let tmux = Server::new()?;
        let program = Program {
            argv: argv(flavour, options)?,
            env: environment(&folder, &home, options),
            folder: work.clone(),
        };
        let pane = tmux.open("codex", &program)?;
        Ok(Self { tmux, pane, provider, home, work, flavour, folder })
    }

    /// Opens one more session of the same home and folder, in a pane of its own. The options for files are passed over.
    pub fn open_beside(&self, name: &str, options: &Options) -> anyhow::Result<PaneId> {
        let env = environment(&self.folder, &self.home, options);
        let program = Program { argv: argv(self.flavour, options)?, env, folder: self.work.clone() };
        self.tmux.open(name, &program)
    }

    /// Whether a screen of this flavour shows an empty composer of a session that takes a submit key.
    pub fn is_ready(&self, screen: &str) -> bool {
        is_idle(screen) && screen.contains(self.flavour.ready_footer())
    }

    /// How it runs.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The `HOME` that its programs see.
    pub fn user_home(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for an empty composer without a running turn, in a session that takes a submit key.
    ///
    /// While a session still starts, the composer is there already, but the submit key is swallowed and the draft
    /// stays (measured on 0.169 embedded and daemon). What is missing then is the footer's line about the session.
    pub fn wait_idle(&self) -> anyhow::Result<String> {
        self.wait_screen(START, "an empty composer", |screen| self.is_ready(screen))
    }

    /// Waits for a screen.
    pub fn wait_screen(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        self.tmux.wait_screen(&self.pane, limit, what, wanted)
    }

    /// Pastes a text and presses Tab, and waits until the rollout holds it as a user's message.
    pub fn submit(&self, text: &str) -> anyhow::Result<()> {
        self.tmux.paste_then(&self.pane, &[&format!("{text} ")], &["Tab"])?;
        self.wait_user_text(Duration::from_secs(10), text)
    }

    /// Waits until a rollout holds this text as a user's message.
    pub fn wait_user_text(&self, limit: Duration, text: &str) -> anyhow::Result<()> {
        let found =
            poll(limit, || Ok(self.user_texts()?.iter().any(|one| one == text.trim()).then_some(())))?;
        found.with_context(|| format!("{text:?} is not in a rollout; the screen is\n{}", self.screen()))
    }

    /// What the pane shows now; an error is shown as text.
    pub fn screen(&self) -> String {
        self.tmux.screen(&self.pane).unwrap_or_else(|error| format!("({error})"))
    }

    /// The rollouts of this home, oldest first.
    pub fn rollouts(&self) -> anyhow::Result<Vec<PathBuf>> {
        rollouts(&self.home)
    }

    /// All user messages of all rollouts, in order, without Codex's synthetic ones.
    pub fn user_texts(&self) -> anyhow::Result<Vec<String>> {
        let mut texts = Vec::new();
        for rollout in self.rollouts()? {
            texts.extend(user_texts(&std::fs::read_to_string(rollout)?));
        }
        Ok(texts)
    }

    /// Quits the TUI with `/quit`, waits for its end, and ends what remains.
    ///
    /// # Errors
    ///
    /// When a process of this home is still there afterwards.
    pub fn quit(self) -> anyhow::Result<()> {
        self.tmux.press(&self.pane, &["C-u", "C-u"])?;
        self.tmux.paste_then(&self.pane, &["/quit"], &["Enter"])?;
        let dead = poll(QUIT, || Ok(self.tmux.is_dead(&self.pane)?.then_some(())))?;
        ensure!(dead.is_some(), "it did not quit; the screen is\n{}", self.screen());
        self.end();
        ensure!(processes::with_home(&self.home).is_empty(), "a process is left over");
        Ok(())
    }

    /// Ends every process of this home, by id.
    fn end(&self) {
        drop(self.tmux.run(["kill-server"]));
        processes::end(&self.home);
    }
}

impl Drop for Codex {
    fn drop(&mut self) {
        self.end();
    }
}

/// The ids of the processes whose environment names this `CODEX_HOME`.
pub fn processes_of(home: &Path) -> Vec<i32> {
    processes::with_home(home)
        .into_iter()
        .map(rustix::process::Pid::as_raw_nonzero)
        .map(std::num::NonZero::get)
        .collect()
}

/// The command line.
fn argv(flavour: Flavour, options: &Options) -> anyhow::Result<Vec<String>> {
    let mut argv = vec![flavour.program()?.display().to_string()];
    if flavour == Flavour::Embedded {
        argv.push("--no-daemon".to_owned());
    }
    argv.extend(options.args.iter().cloned());
    Ok(argv)
}

/// The environment: nothing of the caller's own Codex, which may well be the one that runs the tests.
fn environment(folder: &tempfile::TempDir, home: &Path, options: &Options) -> Vec<(String, String)> {
    let mut env = vec![
        ("HOME".to_owned(), folder.path().display().to_string()),
        ("CODEX_HOME".to_owned(), home.display().to_string()),
        ("SHELL".to_owned(), "/bin/bash".to_owned()),
    ];
    if !options.without_key {
        env.push(("FAKE_KEY".to_owned(), "fake".to_owned()));
    }
    env
}

/// Whether the screen shows an empty composer and neither a turn nor a dialog.
pub fn is_idle(screen: &str) -> bool {
    const PLACEHOLDERS: [&str; 9] = [
        "Ask Codex to do anything",
        "Run /review on my current changes",
        "Explain this codebase",
        "Summarize recent commits",
        "Find and fix a bug in @filename",
        "Write tests for @filename",
        "Improve documentation in @filename",
        "Implement {feature}",
        "Use /skills to list available skills",
    ];
    let composer = screen.lines().rev().find_map(|line| line.strip_prefix("› "));
    composer.is_some_and(|line| PLACEHOLDERS.contains(&line.trim_end()))
        && !screen.contains("esc to interrupt")
}

/// The rollouts below a home, by name, which begins with their time.
pub fn rollouts(home: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![home.join("sessions")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The user's own messages in a rollout. A line that is not whole yet is left out.
pub fn user_texts(rollout: &str) -> Vec<String> {
    let records = rollout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let users =
        records.filter(|record| record["type"] == "response_item" && record["payload"]["role"] == "user");
    let texts =
        users.filter_map(|record| record["payload"]["content"][0]["text"].as_str().map(str::to_owned));
    texts.filter(|text| !text.starts_with('<') && !text.starts_with("# AGENTS.md")).collect()
}
