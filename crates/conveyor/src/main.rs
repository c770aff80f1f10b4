//! `conveyor`: supervise coding-agent sessions durably, with proof of each delivery.
//!
//! This crate holds the faces: it parses, calls a verb of `conveyor-engine`, and renders the verb's report.

mod cli;
mod demo;
mod help;
mod log;
mod mcp;
mod output;
mod setup;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect())
}
