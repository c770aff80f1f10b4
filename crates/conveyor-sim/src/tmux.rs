//! A private tmux server for one test, driven with raw commands: what is measured must not pass through our own code.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;

/// Between two looks at a screen. Each costs a process of 2 ms.
const POLL: Duration = Duration::from_millis(15);

/// A tmux server with a socket of its own; it and its panes end when it is dropped.
pub struct Server {
    folder: tempfile::TempDir,
}

/// A pane of a private server, such as `%0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaneId(pub String);

impl Server {
    /// A server that has not started yet: the first pane starts it.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("cvtmux").tempdir()? })
    }

    /// The folder for `TMUX_TMPDIR`; the server is the default one (`-L default`) in it.
    pub fn tmpdir(&self) -> &Path {
        self.folder.path()
    }

    /// A tmux command for this server, without the caller's own tmux in its environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null", "-u"]);
        command.env("TMUX_TMPDIR", self.tmpdir()).env_remove("TMUX").env_remove("TMUX_PANE");
        command
    }

    /// Runs a tmux command line.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
        checked(self.command().args(args).stdin(Stdio::null()).output()?)
    }

    /// Opens a session of 120 by 40 with this program in its only pane.
    pub fn open(&self, name: &str, program: &Program) -> anyhow::Result<PaneId> {
        let mut command = self.command();
        command.args(["new-session", "-d", "-x", "120", "-y", "40", "-P", "-F", "#{pane_id}", "-s", name]);
        command.arg("-c").arg(&program.folder);
        for (key, value) in &program.env {
            command.arg("-e").arg(format!("{key}={value}"));
        }
        command.arg("--").args(&program.argv);
        let id = checked(command.stdin(Stdio::null()).output()?)?;
        self.run(["set-option", "-g", "remain-on-exit", "on"])?;
        Ok(PaneId(id.trim().to_owned()))
    }

    /// What the pane shows, without blanks at line ends.
    pub fn screen(&self, pane: &PaneId) -> anyhow::Result<String> {
        self.run(["capture-pane", "-p", "-t", &pane.0])
    }

    /// Presses keys, by tmux's names.
    pub fn press(&self, pane: &PaneId, keys: &[&str]) -> anyhow::Result<()> {
        self.run(["send-keys", "-t", &pane.0].iter().chain(keys)).map(drop)
    }

    /// Types a text and presses keys in one tmux call, so that nothing lies between.
    pub fn type_then(&self, pane: &PaneId, text: &str, keys: &[&str]) -> anyhow::Result<()> {
        let typed = ["send-keys", "-t", &pane.0, "-l", text, ";", "send-keys", "-t", &pane.0];
        self.run(typed.iter().chain(keys)).map(drop)
    }

    /// Pastes texts one after the other as bracketed pastes, then presses keys, all in one tmux call.
    pub fn paste_then(&self, pane: &PaneId, texts: &[&str], keys: &[&str]) -> anyhow::Result<()> {
        let mut call: Vec<String> = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            let buffer = format!("sim{place}");
            self.load(&buffer, text)?;
            call.extend(
                ["paste-buffer", "-p", "-r", "-d", "-b", &buffer, "-t", &pane.0, ";"].map(str::to_owned),
            );
        }
        if keys.is_empty() {
            call.pop();
        } else {
            call.extend(["send-keys", "-t", &pane.0].map(str::to_owned));
            call.extend(keys.iter().map(|&key| key.to_owned()));
        }
        self.run(call).map(drop)
    }

    /// Loads a named buffer.
    pub fn load(&self, buffer: &str, text: &str) -> anyhow::Result<()> {
        let mut child = self
            .command()
            .args(["load-buffer", "-b", buffer, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("stdin is piped")?.write_all(text.as_bytes())?;
        checked(child.wait_with_output()?).map(drop)
    }

    /// One value of the pane by tmux's format.
    pub fn value(&self, pane: &PaneId, format: &str) -> anyhow::Result<String> {
        Ok(self.run(["display-message", "-p", "-t", &pane.0, format])?.trim_end().to_owned())
    }

    /// Whether the pane's program has ended.
    pub fn is_dead(&self, pane: &PaneId) -> anyhow::Result<bool> {
        Ok(self.value(pane, "#{pane_dead}")? == "1")
    }

    /// Looks until the screen is as wanted; the error shows the last screen.
    pub fn wait_screen(
        &self,
        pane: &PaneId,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let mut last = String::new();
        let found = poll(limit, || {
            last = self.screen(pane)?;
            Ok(wanted(&last).then(|| last.clone()))
        })?;
        found.with_context(|| format!("no screen with {what} within {limit:?}; the last was\n{last}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.run(["kill-server"]));
    }
}

/// What runs in a pane.
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment beside the server's own.
    pub env: Vec<(String, String)>,
    /// Working folder.
    pub folder: std::path::PathBuf,
}

/// Looks until something is there or the time is up.
pub fn poll<T>(
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// The output of a command that has to succeed.
fn checked(output: Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("tmux: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.contains('\0'), "tmux printed a NUL");
    Ok(text)
}
