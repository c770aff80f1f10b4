//! One call of tmux.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::Fault;
use crate::Server;

/// A call that is being put together.
pub(super) struct Call {
    command: Command,
    patience: Duration,
}

impl Call {
    /// A call to `server`.
    pub(super) fn new(program: &OsStr, server: &Server, patience: Duration) -> Self {
        let mut command = Command::new(program);
        // -u: without a UTF-8 locale tmux prints `_` for every other character, and then no screen is recognised.
        // LC_MESSAGES: errors are recognised by their English text.
        command.arg("-u").env("LC_MESSAGES", "C").env_remove("LC_ALL");
        // Inside of tmux these would choose a target that nobody named.
        command.env_remove("TMUX").env_remove("TMUX_PANE");
        match server {
            Server::Socket(path) => {
                command.arg("-S").arg(path);
            }
            Server::Named { name, tmpdir } => {
                command.arg("-L").arg(name);
                match tmpdir {
                    Some(dir) => command.env("TMUX_TMPDIR", dir),
                    None => command.env_remove("TMUX_TMPDIR"),
                };
            }
        }
        Self { command, patience }
    }

    /// Ends a command of tmux; what follows is the next one of the same call.
    pub(super) fn then(mut self) -> Self {
        self.command.arg(";");
        self
    }

    /// Adds arguments. A `;` at an argument's end is a character of it, which tmux needs to be told.
    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.command.arg(escape(arg.as_ref()));
        }
        self
    }

    /// Runs it without input.
    pub(super) async fn run(self) -> Result<Vec<u8>, Fault> {
        self.run_with(&[]).await
    }

    /// Runs it with input; returns what it printed.
    pub(super) async fn run_with(mut self, input: &[u8]) -> Result<Vec<u8>, Fault> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        tracing::trace!(args = ?self.command.as_std().get_args(), "tmux");
        let mut child = self.command.spawn().map_err(|error| Fault::of_spawn(&error))?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // tmux may end before it has read everything; what it says about that comes with its exit.
                drop(stdin.write_all(input).await);
            }
        };
        let both = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = timeout(self.patience, both).await.map_err(|_| Fault::Hung(self.patience))?;
        let output = output.map_err(|error| Fault::Failed(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Fault::of_stderr(&String::from_utf8_lossy(&output.stderr)))
    }
}

/// An argument as tmux has to get it.
fn escape(arg: &OsStr) -> OsString {
    let bytes = arg.as_bytes();
    match bytes.split_last() {
        Some((b';', rest)) => {
            let mut escaped = rest.to_vec();
            escaped.extend_from_slice(b"\\;");
            OsString::from_vec(escaped)
        }
        Some(_) | None => arg.to_owned(),
    }
}
