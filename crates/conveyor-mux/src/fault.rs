//! What can be wrong with a call of tmux.

use std::io;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Retry;

/// Why a call of tmux failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no `tmux` program.
    #[error("tmux is not installed, or not in PATH")]
    Missing,
    /// No server listens.
    #[error("no tmux server is running ({0})")]
    NoServer(String),
    /// A sandbox or another user's permissions stand against it.
    #[error("tmux may not be reached from here ({0})")]
    Denied(String),
    /// The server did not answer in time. Whether it carried the step out is not known.
    #[error("tmux did not answer within {:.1} s", .0.as_secs_f64())]
    Hung(Duration),
    /// tmux refused the command.
    #[error("tmux: {0}")]
    Failed(String),
}

impl Fault {
    /// What tmux means by what it wrote to stderr. The texts are those of tmux 3.3a and of the C library in English.
    /// A server that is about to end, because its last session did, says that there is no current target.
    pub fn of_stderr(stderr: &str) -> Self {
        let said = stderr.trim().to_owned();
        let low = said.to_lowercase();
        let any = |parts: &[&str]| parts.iter().any(|part| low.contains(part));
        if any(&["operation not permitted", "permission denied", "read-only file system"]) {
            Self::Denied(said)
        } else if any(&[
            "no server running on",
            "server exited unexpectedly",
            "lost server",
            "no current target",
        ]) || low.starts_with("error connecting to")
        {
            Self::NoServer(said)
        } else {
            Self::Failed(said)
        }
    }

    /// Why the program could not be started.
    pub fn of_spawn(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }

    /// Whether tmux says that a pane, window or session is not there.
    pub(crate) fn is_no_target(&self) -> bool {
        matches!(self, Self::Failed(said) if said.contains("can't find ") || said.contains("no such "))
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let text = fault.to_string();
        match fault {
            Fault::Missing => Self::environment(text).hint("install tmux, for example `apt install tmux`"),
            Fault::NoServer(_) => Self::environment(text).hint("see which servers run: `conveyor doctor`"),
            Fault::Denied(_) => Self::environment(text).hint(
                "inside an agent's sandbox tmux cannot be reached: use conveyor's MCP tools, or an `enqueue-` command, \
                 which the dispatcher carries out",
            ),
            Fault::Hung(_) => Self::timeout(text)
                .hint("look whether the server is stopped or overloaded: `tmux list-sessions`")
                .retry(Retry::Unknown),
            Fault::Failed(_) => Self::environment(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_told_from_a_missing_server() {
        let denied = [
            "error connecting to /tmp/tmux-0/default (Operation not permitted)\n",
            "error connecting to /tmp/tmux-0/default (Permission denied)",
            "couldn't create directory /tmp/tmux-1000 (Read-only file system)",
        ];
        for text in denied {
            let fault = Fault::of_stderr(text);
            assert!(matches!(fault, Fault::Denied(_)), "{text}");
            let error = Error::from(fault);
            assert_eq!(error.kind, conveyor_model::ErrorKind::Environment);
            assert!(error.hint.unwrap().contains("MCP"));
        }
        let absent = [
            "no server running on /tmp/tmux-0/default",
            "error connecting to /tmp/x (No such file or directory)",
            "error connecting to /tmp/x (Connection refused)",
            "server exited unexpectedly",
        ];
        for text in absent {
            assert!(matches!(Fault::of_stderr(text), Fault::NoServer(_)), "{text}");
        }
        assert_eq!(
            Fault::of_stderr("duplicate session: a\n"),
            Fault::Failed("duplicate session: a".to_owned())
        );
    }

    #[test]
    fn a_hung_server_leaves_open_whether_the_step_was_done() {
        let error = Error::from(Fault::Hung(Duration::from_secs(5)));
        assert_eq!((error.kind, error.retry), (conveyor_model::ErrorKind::Timeout, Retry::Unknown));
    }
}
