//! One measured trap each, as steps of raw tmux commands and what must be seen: run against the simulated agent and
//! against the real Codex, so that a difference fails.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use serde::Deserialize;

use crate::codex;
use crate::codex::Codex;
use crate::codex::Flavour;
use crate::codex::Options;
use crate::tmux::PaneId;
use crate::tmux::Program;
use crate::tmux::Server;
use crate::tmux::poll;

/// How long anything that has to happen may take.
const SOON: Duration = Duration::from_secs(20);

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What would go wrong if nobody knew this.
    pub trap: String,
    /// What stands before the composer, or is configured.
    #[serde(default)]
    pub setup: Setup,
    /// A trap that depends on the machine's load has to be seen once in so many tries, each with a fresh agent.
    #[serde(default = "one")]
    pub tries: u32,
    /// In order.
    pub steps: Vec<Step>,
}

const fn one() -> u32 {
    1
}

/// How the agent is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setup {
    /// With an empty composer.
    #[default]
    Plain,
    /// In a git repository.
    Git,
    /// With hooks that nobody has reviewed.
    Hooks,
    /// Without a login.
    Login,
    /// With an MCP server named `sim`.
    Mcp,
    /// In a folder whose trust is asked about.
    Trust,
    /// With a newer version known.
    Update,
}

/// One step: something is done, or something must be seen. `{work}` stands for the working folder.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Bracketed pastes, in the same tmux call as `keys`.
    pub paste: Vec<String>,
    /// Typed text, in the same tmux call as `keys`.
    pub typed: String,
    /// Keys by tmux's names.
    pub keys: Vec<String>,
    /// Waits until the screen holds this.
    pub until_shows: String,
    /// Waits until the screen no longer holds this.
    pub until_hides: String,
    /// Waits until the composer is empty and no turn runs.
    pub until_idle: bool,
    /// Waits until the pane's program has ended.
    pub until_ended: bool,
    /// Waits until exactly these user texts are in the rollouts, in this order.
    pub until_recorded: Option<Vec<String>>,
    /// For this long neither the recorded texts nor the composer with what is below it may change, and the program runs.
    pub unchanged_ms: u64,
    /// The screen's last line that begins like a composer holds exactly this behind its mark.
    pub composer: String,
    /// A file that must exist.
    pub exists: String,
    /// A file that must not exist.
    pub absent: String,
}

/// An agent on a stage: a pane and the home in which it records.
pub struct Stage<'a> {
    /// The server of its pane.
    pub tmux: &'a Server,
    /// Its pane.
    pub pane: &'a PaneId,
    /// Its `CODEX_HOME`.
    pub home: &'a Path,
    /// Its working folder.
    pub work: &'a Path,
}

/// The scenario in a file.
pub fn read(path: &Path) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

/// Runs a scenario against the real Codex 0.169, embedded. `sim` is the `conveyor-sim` program, for its MCP server.
pub fn run_on_codex(scenario: &Scenario, sim: &Path) -> anyhow::Result<()> {
    scenario.until_seen(|| try_codex(scenario, sim))
}

fn try_codex(scenario: &Scenario, sim: &Path) -> anyhow::Result<()> {
    let codex = Codex::launch(Flavour::Embedded, &options(scenario.setup, sim))?;
    if !scenario.setup.has_start_dialog() {
        codex.wait_idle()?;
    }
    run(scenario, &Stage { tmux: &codex.tmux, pane: &codex.pane, home: &codex.home, work: &codex.work })
}

/// Runs a scenario against the simulated agent, the program `sim`, in a real pane.
pub fn run_on_sim(scenario: &Scenario, sim: &Path) -> anyhow::Result<()> {
    scenario.until_seen(|| try_sim(scenario, sim))
}

fn try_sim(scenario: &Scenario, sim: &Path) -> anyhow::Result<()> {
    let agent = SimAgent::start(sim, scenario.setup.sim_args(), scenario.setup == Setup::Git)?;
    if !scenario.setup.has_start_dialog() {
        agent.tmux.wait_screen(&agent.pane, SOON, "an empty composer", codex::is_idle)?;
    }
    run(scenario, &agent.stage())
}

/// The simulated agent in a private tmux server.
pub struct SimAgent {
    /// The server of its pane.
    pub tmux: Server,
    /// Its pane.
    pub pane: PaneId,
    /// Its `CODEX_HOME`.
    pub home: PathBuf,
    /// Its working folder.
    pub work: PathBuf,
    _folder: tempfile::TempDir,
}

impl SimAgent {
    /// Starts the program `sim` with these arguments behind `agent`.
    pub fn start(sim: &Path, args: &[&str], git: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("simagent").tempdir()?;
        let (home, work) = (folder.path().join("home"), folder.path().join("work"));
        std::fs::create_dir_all(&home)?;
        std::fs::create_dir_all(if git { work.join(".git") } else { work.clone() })?;
        let mut argv = vec![sim.display().to_string(), "agent".to_owned()];
        argv.extend(args.iter().map(|&arg| arg.to_owned()));
        let env = vec![("CODEX_HOME".to_owned(), home.display().to_string())];
        let tmux = Server::new()?;
        let pane = tmux.open("agent", &Program { argv, env, folder: work.clone() })?;
        Ok(Self { tmux, pane, home, work, _folder: folder })
    }

    /// The stage that it is on.
    pub fn stage(&self) -> Stage<'_> {
        Stage { tmux: &self.tmux, pane: &self.pane, home: &self.home, work: &self.work }
    }
}

impl Scenario {
    /// Tries until it is seen or the tries are used up.
    fn until_seen(&self, mut attempt: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut done = attempt();
        for _ in 1..self.tries {
            if done.is_ok() {
                break;
            }
            done = attempt();
        }
        done
    }
}

impl Setup {
    /// Whether a dialog stands before the composer.
    const fn has_start_dialog(self) -> bool {
        match self {
            Self::Hooks | Self::Login | Self::Trust | Self::Update => true,
            Self::Plain | Self::Git | Self::Mcp => false,
        }
    }

    /// The simulated agent's arguments.
    const fn sim_args(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::Git | Self::Mcp => &[],
            Self::Hooks => &["--dialog", "hooks"],
            Self::Login => &["--dialog", "login"],
            Self::Trust => &["--dialog", "trust"],
            Self::Update => &["--dialog", "update"],
        }
    }
}

/// What brings the real Codex into this state.
fn options(setup: Setup, sim: &Path) -> Options {
    let mut options = Options::default();
    match setup {
        Setup::Plain => {}
        Setup::Git => options.git = true,
        Setup::Hooks => {
            let hooks = r#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"/bin/true"}]}]}}"#;
            options.home_files = vec![("hooks.json".to_owned(), hooks.to_owned())];
        }
        Setup::Login => options.without_provider = true,
        Setup::Mcp => {
            options.tables =
                format!("[mcp_servers.sim]\ncommand = \"{}\"\nargs = [\"mcp\"]\n", sim.display());
        }
        Setup::Trust => {
            (options.git, options.untrusted) = (true, true);
            // A folder with a configuration of its own is asked about; a plain one is not.
            let own = "model_reasoning_summary = \"none\"\n";
            options.work_files = vec![(".codex/config.toml".to_owned(), own.to_owned())];
        }
        Setup::Update => {
            let known = r#"{"latest_version":"0.200.0","last_checked_at":"2099-01-01T00:00:00Z"}"#;
            options.home_files = vec![("version.json".to_owned(), known.to_owned())];
        }
    }
    options
}

/// Runs the steps.
pub fn run(scenario: &Scenario, stage: &Stage<'_>) -> anyhow::Result<()> {
    for (place, step) in scenario.steps.iter().enumerate() {
        let done = stage.perform(step).and_then(|()| stage.check(step));
        done.with_context(|| format!("step {} of `{}`\n{}", place + 1, scenario.trap, stage.screen()))?;
    }
    Ok(())
}

impl Stage<'_> {
    /// What a step does.
    fn perform(&self, step: &Step) -> anyhow::Result<()> {
        let keys: Vec<&str> = step.keys.iter().map(String::as_str).collect();
        if !step.paste.is_empty() {
            let texts: Vec<String> = step.paste.iter().map(|text| self.filled(text)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            self.tmux.paste_then(self.pane, &texts, &keys)
        } else if !step.typed.is_empty() {
            self.tmux.type_then(self.pane, &self.filled(&step.typed), &keys)
        } else if !keys.is_empty() {
            self.tmux.press(self.pane, &keys)
        } else {
            Ok(())
        }
    }

    /// What must be seen after it.
    fn check(&self, step: &Step) -> anyhow::Result<()> {
        let (shows, hides) = (self.filled(&step.until_shows), self.filled(&step.until_hides));
        if !shows.is_empty() {
            self.wait(&format!("{shows:?}"), |screen| screen.contains(&shows))?;
        }
        if !hides.is_empty() {
            self.wait(&format!("no {hides:?}"), |screen| !screen.contains(&hides))?;
        }
        if step.until_idle {
            self.wait("an empty composer", codex::is_idle)?;
        }
        if step.until_ended {
            let ended = poll(SOON, || Ok(self.tmux.is_dead(self.pane)?.then_some(())))?;
            ensure!(ended.is_some(), "the program did not end");
        }
        if let Some(texts) = &step.until_recorded {
            self.until_recorded(texts)?;
        }
        if !step.composer.is_empty() {
            let wanted = Some(self.filled(&step.composer));
            self.wait(&format!("the composer {wanted:?}"), |screen| composer(screen) == wanted)?;
        }
        let (exists, absent) = (self.filled(&step.exists), self.filled(&step.absent));
        ensure!(exists.is_empty() || appears(&exists)?, "{exists} does not exist");
        ensure!(absent.is_empty() || !Path::new(&absent).exists(), "{absent} exists");
        self.unchanged(Duration::from_millis(step.unchanged_ms))
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{work}", &self.work.display().to_string())
    }

    fn screen(&self) -> String {
        self.tmux.screen(self.pane).unwrap_or_else(|error| format!("({error})"))
    }

    fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        self.tmux.wait_screen(self.pane, SOON, what, wanted).map(drop)
    }

    /// All user texts that were recorded.
    pub fn recorded(&self) -> anyhow::Result<Vec<String>> {
        let mut texts = Vec::new();
        for rollout in codex::rollouts(self.home)? {
            texts.extend(codex::user_texts(&std::fs::read_to_string(rollout)?));
        }
        Ok(texts)
    }

    fn until_recorded(&self, texts: &[String]) -> anyhow::Result<()> {
        let wanted: Vec<String> = texts.iter().map(|text| self.filled(text)).collect();
        let found = poll(SOON, || Ok((self.recorded()? == wanted).then_some(())))?;
        ensure!(found.is_some(), "recorded are {:?}, not {wanted:?}", self.recorded()?);
        Ok(())
    }

    /// Looks for this long that nothing happens.
    fn unchanged(&self, time: Duration) -> anyhow::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        let look =
            || anyhow::Ok((self.recorded()?, lower_part(&self.screen()), self.tmux.is_dead(self.pane)?));
        let (start, before) = (Instant::now(), look()?);
        while start.elapsed() < time {
            let after = look()?;
            if after != before {
                bail!("{before:?} became {after:?}");
            }
        }
        Ok(())
    }
}

/// Whether the file is there soon.
fn appears(path: &str) -> anyhow::Result<bool> {
    Ok(poll(SOON, || Ok(Path::new(path).exists().then_some(())))?.is_some())
}

/// The last line that looks like a composer, without its mark; a draft's further lines are joined with `\n`.
fn composer(screen: &str) -> Option<String> {
    let lines: Vec<&str> = screen.lines().collect();
    let at = lines.iter().rposition(|line| line.starts_with("› ") || line.starts_with("! "))?;
    let more = lines[at + 1..].iter().take_while(|line| !line.trim().is_empty());
    let parts =
        std::iter::once(&lines[at]).chain(more).map(|line| line.trim_start_matches(['›', '!']).trim());
    Some(parts.collect::<Vec<_>>().join("\n"))
}

/// The last composer, or an open dialog's cursor line: warnings and tips in other places come by themselves.
fn lower_part(screen: &str) -> Option<String> {
    screen.lines().rfind(|line| line.trim_start().starts_with(['›', '>', '!'])).map(str::to_owned)
}
