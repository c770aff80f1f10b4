//! A user with the real Codex, in a home of its own: what the tests of `setup` and of `mcp install` share.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use conveyor_sim::codex::Flavour;
use serde_json::Value;

pub(crate) const CONVEYOR: &str = env!("CARGO_BIN_EXE_conveyor");

/// A user with a Codex.
pub(crate) struct User {
    pub(crate) folder: tempfile::TempDir,
}

impl User {
    /// One whose Codex is configured so, or not at all.
    pub(crate) fn with<'a>(config: impl Into<Option<&'a str>>) -> Self {
        let user = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(user.home()).unwrap();
        if let Some(config) = config.into() {
            std::fs::write(user.config_path(), config).unwrap();
        }
        user
    }

    /// Codex's folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join(".codex")
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.home().join("config.toml")
    }

    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.config_path()).unwrap()
    }

    pub(crate) fn environment(&self) -> [(String, String); 2] {
        let beside = codex().parent().unwrap().display().to_string();
        let path =
            format!("{beside}:/usr/local/bin:/usr/bin:/bin:{}", std::env::var("PATH").unwrap_or_default());
        [("HOME", self.folder.path().display().to_string()), ("PATH", path)]
            .map(|(name, value)| (name.to_owned(), value))
    }

    /// A program in this user's home, with nothing else in its environment.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment()).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs conveyor with these words.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(Path::new(CONVEYOR)).args(words).output().unwrap()
    }

    /// Runs it and reads its report.
    pub(crate) fn report(&self, words: &[&str]) -> Value {
        let done = self.run(words);
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

/// The program of Codex. Its folder is absolute, its name stays: npm's launcher is a link that must keep it.
pub(crate) fn codex() -> PathBuf {
    let program = Flavour::Embedded.program().unwrap();
    program.parent().unwrap().canonicalize().unwrap().join(program.file_name().unwrap())
}
