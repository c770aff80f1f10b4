//! `conveyor-sim`: the fake provider, a tiny MCP server and the simulated agent as programs.

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use clap::ValueEnum;
use conveyor_sim::agent;
use conveyor_sim::agent::Dialog;
use conveyor_sim::agent::Shape;
use conveyor_sim::mcp;
use conveyor_sim::provider::Provider;
use conveyor_sim::provider::Rule;
use conveyor_sim::provider::script;

/// Stand-ins for what conveyor works with.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Behave like Codex in this terminal, with a model built in
    Agent(AgentArgs),
    /// Serve a fake model provider on 127.0.0.1 until the process is killed
    Provider(ProviderArgs),
    /// Speak MCP on stdin and stdout: the tools `whoami` (asks for approval) and `look` (read-only)
    Mcp,
}

/// How the agent is.
#[derive(clap::Args)]
struct AgentArgs {
    /// Where rollouts, locks and history go [default: $CODEX_HOME, else ~/.codex]
    #[arg(long)]
    home: Option<PathBuf>,
    /// Which version it behaves and writes like
    #[arg(long, value_enum, default_value_t = Shape::V169)]
    shape: Shape,
    /// A dialog before the composer; may be repeated
    #[arg(long, value_enum)]
    dialog: Vec<StartDialog>,
    /// For this long after the start the submit key does nothing
    #[arg(long, default_value_t = 0)]
    ready_after_ms: u64,
    /// Open a command dialog right after this many pastes
    #[arg(long)]
    dialog_after_paste: Option<u32>,
    /// Put the thread's id into the terminal's title
    #[arg(long)]
    title_thread: bool,
    /// `never` runs an escalated command without asking
    #[arg(short = 'a', long, default_value = "on-request")]
    ask_for_approval: String,
    /// What the records say of the sandbox
    #[arg(short = 's', long, default_value = "read-only")]
    sandbox: String,
    /// Accepted as Codex accepts it; the agent is always embedded
    #[arg(long)]
    no_daemon: bool,
    /// Accepted as Codex accepts it; nothing is configurable
    #[arg(short = 'c', long = "config")]
    settings: Vec<String>,
    /// Rules in TOML, as for the provider
    #[arg(long)]
    script: Option<PathBuf>,
    /// A first message
    prompt: Option<String>,
}

/// A dialog of the start.
#[derive(Clone, Copy, ValueEnum)]
enum StartDialog {
    /// Do you trust this folder?
    Trust,
    /// A newer version is there
    Update,
    /// Nobody is signed in
    Login,
    /// Hooks are new
    Hooks,
}

impl From<StartDialog> for Dialog {
    fn from(dialog: StartDialog) -> Self {
        match dialog {
            StartDialog::Trust => Self::Trust,
            StartDialog::Update => Self::Update,
            StartDialog::Login => Self::Login,
            StartDialog::Hooks => Self::Hooks,
        }
    }
}

/// Where the provider listens and what it does.
#[derive(clap::Args)]
struct ProviderArgs {
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A file that receives the port once it is open
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Rules in TOML: `[[rule]]` with `when` and `then` (directives) or `run` (shell commands)
    #[arg(long)]
    script: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Agent(args) => simulate(args),
        Command::Provider(args) => provider(&args),
        Command::Mcp => mcp::serve(std::io::stdin().lock(), std::io::stdout().lock()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conveyor-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the provider for as long as the process lives.
fn provider(args: &ProviderArgs) -> anyhow::Result<()> {
    let rules = rules(args.script.as_deref())?;
    let provider = Provider::start_on(args.port, rules)?;
    if let Some(path) = &args.port_file {
        publish(path, &provider.address().port().to_string())?;
    }
    println!("{}", provider.base_url());
    loop {
        std::thread::park();
    }
}

/// Runs the agent in this terminal.
fn simulate(args: AgentArgs) -> anyhow::Result<()> {
    let given = args.home.or_else(|| std::env::var_os("CODEX_HOME").map(PathBuf::from));
    let home = given.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".codex")));
    let home = home.context("neither --home nor CODEX_HOME nor HOME is set")?;
    let cwd = std::env::current_dir()?;
    let offset = jiff::Zoned::now().offset().seconds();
    let config = agent::Config {
        shape: args.shape,
        cwd: cwd.display().to_string(),
        approval_policy: args.ask_for_approval,
        sandbox_mode: args.sandbox,
        start_dialogs: args.dialog.into_iter().map(Dialog::from).collect(),
        ready_after_ms: args.ready_after_ms,
        dialog_after_paste: args.dialog_after_paste,
        git: cwd.join(".git").exists(),
        files: files(&cwd)?,
        title_is_thread: args.title_thread,
        rules: rules(args.script.as_deref())?,
        utc_offset_s: offset,
        seed: std::process::id().into(),
        ..agent::Config::default()
    };
    agent::shell::run(config, &home, args.prompt.as_deref())
}

/// The names in the working folder, for the popup.
fn files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// The rules of a script.
fn rules(path: Option<&Path>) -> anyhow::Result<Vec<Rule>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    script::parse(&text)
}

/// Writes a file so that whoever waits for it never reads half of it.
fn publish(path: &Path, text: &str) -> anyhow::Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}
