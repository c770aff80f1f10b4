//! Who plays: the real Codex or simulated agents, and what their built-in model does.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use clap::ValueEnum;

/// Which agents play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Agent {
    /// The real Codex, on a fake model
    Codex,
    /// Agents that behave like Codex in a terminal
    Sim,
}

/// What the person asks of the worker.
pub(super) const FIRST_WISH: &str = "Run the tests and tell what fails.";

/// What the manager asks of the worker by itself.
pub(super) const SECOND_WISH: &str = "Fix parser::empty_input and run the tests again.";

/// A key that makes the manager's wish one wish, however often it is woken.
pub(super) const WISH_KEY: &str = "fix-empty-input";

/// The agents and the programs that they need.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) agent: Agent,
    /// This program.
    pub(super) conveyor: PathBuf,
    /// The built-in model, and the simulated agents.
    pub(super) sim: PathBuf,
    /// The real Codex.
    pub(super) codex: Option<PathBuf>,
}

impl Cast {
    /// The agents that were asked for, else Codex where it is found.
    ///
    /// Errors: a program is missing.
    pub(super) fn choose(asked: Option<Agent>) -> Result<Self> {
        let conveyor = std::env::current_exe()?.canonicalize()?;
        let sim = conveyor.with_file_name("conveyor-sim");
        ensure!(
            sim.exists(),
            "{} is missing, which holds the built-in model; scripts/demo builds all that is needed",
            sim.display()
        );
        ensure!(on_path("tmux").is_some(), "tmux is missing; scripts/install-tools demo installs it");
        let found = if asked == Some(Agent::Sim) { None } else { find_codex(&conveyor) };
        ensure!(
            asked != Some(Agent::Codex) || found.is_some(),
            "Codex is missing; install it with scripts/install-codex 0.169.0, or use --agent sim"
        );
        let agent = if found.is_some() { Agent::Codex } else { Agent::Sim };
        Ok(Self { agent, conveyor, sim, codex: found })
    }

    /// What the narration calls them.
    pub(super) fn title(&self) -> &'static str {
        match self.agent {
            Agent::Codex => "two real Codex sessions on a built-in model",
            Agent::Sim => "two simulated agents, which behave in their panes as Codex does",
        }
    }

    /// The command line of an agent.
    pub(super) fn argv(&self, folder: &Path) -> Result<Vec<String>> {
        let text = |path: &Path| path.display().to_string();
        match &self.codex {
            Some(codex) => {
                let mut argv = vec![text(codex)];
                argv.extend(knows_no_daemon(codex)?.then(|| "--no-daemon".to_owned()));
                argv.extend(["-a", "never", "-s", "read-only"].map(str::to_owned));
                Ok(argv)
            }
            None => {
                let script = text(&folder.join("model.toml"));
                Ok(vec![
                    text(&folder.join("codex-sim/codex")),
                    "agent".to_owned(),
                    "--script".to_owned(),
                    script,
                ])
            }
        }
    }

    /// What the built-in model does, as rules: the first whose words the message holds decides.
    ///
    /// The worker's two wishes come first, so that what remains is the message that wakes the manager.
    pub(super) fn script(&self) -> String {
        let worker = |when: &str, says: &str| {
            format!("[[rule]]\nwhen = {}\nthen = '[[delay=1]] [[say={says}]]'\n\n", quoted(when))
        };
        let first = worker(FIRST_WISH, "3 tests pass, 1 fails: parser::empty_input.");
        let second = worker(SECOND_WISH, "Fixed. All 4 tests pass.");
        let manager = match self.agent {
            Agent::Codex => self.manager_by_tools(),
            Agent::Sim => self.manager_by_shell(),
        };
        format!("{first}{second}[[rule]]\nwhen = \"[conveyor \"\n{manager}")
    }

    /// Codex's shell is sandboxed: its manager looks and acts through the MCP tools.
    fn manager_by_tools(&self) -> String {
        let cycle = r#"[[mcp=conveyor.cycle {"task":"demo","brief":true}]]"#;
        let nudge = serde_json::json!({ "name": "build", "text": SECOND_WISH, "idempotency_key": WISH_KEY });
        format!(
            "then = '''{cycle} [[mcp=conveyor.session_nudge {nudge}]] [[say=I looked, and asked for the fix.]]'''\n"
        )
    }

    fn manager_by_shell(&self) -> String {
        let conveyor = self.conveyor.display().to_string();
        let cycle = conveyor_engine::plane::quote(&[&conveyor, "cycle", "demo", "--brief"]);
        let words = [&conveyor, "session-nudge", "build", SECOND_WISH, "--idempotency-key", WISH_KEY];
        let nudge = conveyor_engine::plane::quote(&words);
        format!(
            "run = [{}, {}]\nthen = '[[say=I looked, and asked for the fix.]]'\n",
            quoted(&cycle),
            quoted(&nudge)
        )
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string().trim().to_owned()
}

/// Codex: the version that the tests run against, beside this build, else the one on PATH.
fn find_codex(conveyor: &Path) -> Option<PathBuf> {
    let beside = conveyor.ancestors().nth(2).map(|target| target.join("codex/node_modules/.bin/codex"));
    beside.filter(|path| path.exists()).or_else(|| on_path("codex"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether this version can keep its turns in its own process: only then nothing goes on after the pane has ended.
fn knows_no_daemon(codex: &Path) -> Result<bool> {
    let help = Command::new(codex).arg("--help").stdin(Stdio::null()).output();
    let help = help.with_context(|| format!("{} does not run", codex.display()))?;
    Ok(String::from_utf8_lossy(&help.stdout).contains("--no-daemon"))
}
