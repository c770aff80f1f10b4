//! What can be wrong with a call of tmux.

use std::time::Duration;

use conveyor_model::Error;

/// Why a call of tmux failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no `tmux` program.
    #[error("tmux is not installed, or not in PATH")]
    Missing,
    /// No server listens.
    #[error("no tmux server is running: {0}")]
    NoServer(String),
    /// A sandbox or another user's permissions stand against it.
    #[error("tmux may not be reached from here: {0}")]
    Denied(String),
    /// The server did not answer in time.
    #[error("tmux did not answer within {} s", .0.as_secs())]
    Hung(Duration),
    /// tmux refused the command.
    #[error("tmux: {0}")]
    Failed(String),
}

impl Fault {
    /// What tmux means by what it wrote to stderr.
    pub fn of_stderr(stderr: &str) -> Self {
        Self::Failed(stderr.trim().to_owned())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::environment(fault.to_string())
    }
}
