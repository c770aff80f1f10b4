//! Warnings of what runs for long: a dispatcher's go to its log, an MCP server's to its client's.

use tracing_subscriber::EnvFilter;

/// Chooses what is told: `warn`, `conveyor_engine=debug` …
const VARIABLE: &str = "CONVEYOR_LOG";

/// Writes warnings to stderr from now on; more or less of them where `CONVEYOR_LOG` says so.
///
/// Only for what runs for long: a command's stderr is its error, and scripts read it.
pub(crate) fn to_stderr() {
    let wanted = std::env::var(VARIABLE).ok().and_then(|words| EnvFilter::try_new(words).ok());
    let filter = wanted.unwrap_or_else(|| EnvFilter::new("warn"));
    // It fails where somebody writes warnings already.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .try_init(),
    );
}
