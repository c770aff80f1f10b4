//! The face for agents: the table of verbs as MCP tools, and how Codex is told of them.
//!
//! `docs/mcp.md` says why it is the way in and what was rejected.

mod answer;
mod identity;
pub(crate) mod install;
mod ledgers;
mod schema;
mod serve;
mod server;
mod stdio;
#[cfg(test)]
mod tests;
mod tools;

use std::process::ExitCode;

use clap::Arg;
use clap::ArgMatches;
use clap::Command;

/// The server's name in an agent's configuration, which stands in front of each tool that its model sees.
pub(crate) const NAME: &str = "conveyor";

/// The subcommand.
pub(crate) fn command() -> Command {
    Command::new("mcp")
        .about("Serve the tools for agents over MCP")
        .long_about(
            "Serve the tools for agents over MCP, on stdin and stdout\n\n\
             An agent's program starts this by itself once it was told of it with `mcp install`. Each call acts with \
             the rights of the thread that the agent's program names with it, and on the ledger in which that thread \
             is registered unless --db says otherwise.",
        )
        .args_conflicts_with_subcommands(true)
        .arg(db())
        .subcommand(install::install_command())
        .subcommand(install::uninstall_command())
}

/// Which ledger.
pub(crate) fn db() -> Arg {
    Arg::new("db")
        .long("db")
        .visible_alias("path")
        .value_name("PATH|URL")
        .help("The ledger: a SQLite file or a postgres:// URL")
}

/// Serves, installs or uninstalls.
pub(crate) fn run(program: &'static str, matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("install", rest)) => install::install(program, rest),
        Some(("uninstall", rest)) => install::uninstall(program, rest),
        _ => serve::run(program, matches.get_one::<String>("db").cloned()),
    }
}
