//! `conveyor-sim`: the fake provider, a tiny MCP server and the simulated agent as programs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use conveyor_sim::mcp;
use conveyor_sim::provider::Provider;
use conveyor_sim::provider::script;

/// Stand-ins for what conveyor works with.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Serve a fake model provider on 127.0.0.1 until the process is killed
    Provider(ProviderArgs),
    /// Speak MCP on stdin and stdout: the tools `whoami` (asks for approval) and `look` (read-only)
    Mcp,
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
    let rules = match &args.script {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            script::parse(&text)?
        }
        None => Vec::new(),
    };
    let provider = Provider::start_on(args.port, rules)?;
    if let Some(path) = &args.port_file {
        publish(path, &provider.address().port().to_string())?;
    }
    println!("{}", provider.base_url());
    loop {
        std::thread::park();
    }
}

/// Writes a file so that whoever waits for it never reads half of it.
fn publish(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}
