//! Codex's own command for its MCP servers, and the folder that it works on.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use conveyor_engine::Environment;
use conveyor_model::Error;
use conveyor_model::Result;

use super::entry::Entry;
use crate::mcp::NAME;

/// The program.
pub(crate) struct Codex {
    program: PathBuf,
}

impl Codex {
    /// The `codex` of PATH.
    pub(crate) fn find(environment: &Environment) -> Result<Self> {
        let program = environment.find_program("codex").ok_or_else(|| {
            Error::environment("`codex` is not on PATH").hint("install it: npm install -g @openai/codex")
        })?;
        Ok(Self { program })
    }

    /// `codex mcp add`, which replaces an entry of the same name.
    ///
    /// Without the entry's environment, which may hold a password: a command line can be read by every user.
    pub(crate) fn add(&self, home: &Home, entry: &Entry) -> Result<()> {
        let words = ["mcp", "add", NAME, "--"].map(str::to_owned).into_iter();
        self.run(home, words.chain(std::iter::once(&entry.command).chain(&entry.args).cloned()))
    }

    /// `codex mcp remove`.
    pub(crate) fn remove(&self, home: &Home) -> Result<()> {
        self.run(home, ["mcp", "remove", NAME].map(str::to_owned).into_iter())
    }

    fn run(&self, home: &Home, words: impl Iterator<Item = String>) -> Result<()> {
        let done = Command::new(&self.program)
            .args(words)
            .env("CODEX_HOME", home.path())
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                Error::environment(format!("{} cannot be run: {error}", self.program.display()))
            })?;
        if done.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&done.stderr);
        Err(Error::environment(format!("`codex mcp` failed ({}): {}", done.status, told.trim())))
    }
}

/// A `CODEX_HOME`.
pub(crate) struct Home(PathBuf);

impl Home {
    /// This folder; it need not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes sure that it is there: Codex's command makes none.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.is_dir() {
            return Ok(());
        }
        Err(Error::environment(format!("Codex's folder {} does not exist", self.0.display()))
            .hint("start `codex` once, or name its folder: --codex-home DIR"))
    }

    /// Codex's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The configuration's text; empty where there is none.
    pub(crate) fn read(&self) -> Result<String> {
        match std::fs::read_to_string(self.config()) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    /// Replaces the configuration at once, whole, with the rights that it has.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        // A link into a folder of dotfiles stays a link.
        let path = self.config().canonicalize().unwrap_or_else(|_| self.config());
        let replace = || {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
            fresh.write_all(text.as_bytes())?;
            let mode = path.metadata().map_or(0o600, |now| now.permissions().mode());
            fresh.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
            fresh.as_file().sync_all()?;
            fresh.persist(&path).map_err(std::io::Error::from).map(drop)
        };
        replace().map_err(|error| self.failed("written", &error))
    }

    fn failed(&self, done: &str, error: &std::io::Error) -> Error {
        Error::environment(format!("{} cannot be {done}: {error}", self.config().display()))
    }
}

/// What a configuration would be after `change`, tried on a copy in a folder of its own.
pub(crate) fn rehearse(before: &str, change: impl FnOnce(&Home) -> Result<()>) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("conveyor-codex-home").tempdir();
    let folder = folder.map_err(|error| Error::environment(format!("no temporary folder: {error}")))?;
    let copy = Home(folder.path().to_owned());
    if !before.is_empty() {
        std::fs::write(copy.config(), before).map_err(|error| copy.failed("written", &error))?;
    }
    change(&copy)?;
    copy.read()
}
