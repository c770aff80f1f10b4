//! A machine of one script's own: home, ledger, working folder, tmux server, and a Codex that is the simulated agent.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use conveyor_sim::tmux::Server;

/// The machine. Its tmux server and all that runs in it end with it.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    pub(crate) tmux: Server,
    _kept: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let kept = tempfile::Builder::new().prefix("cvface").tempdir().unwrap();
        let folder = kept.path().canonicalize().unwrap();
        for name in ["home", "work", "bin", "native"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        let conveyor = Path::new(env!("CARGO_BIN_EXE_conveyor"));
        let sim = conveyor.with_file_name("conveyor-sim");
        assert!(sim.exists(), "{} is missing: cargo build --workspace --bins", sim.display());
        let native = folder.join("native/codex");
        if std::fs::hard_link(&sim, &native).is_err() {
            std::fs::copy(&sim, &native).unwrap();
        }
        symlink(conveyor, folder.join("bin/conveyor")).unwrap();
        symlink(env!("CARGO_BIN_EXE_workerctl"), folder.join("bin/workerctl")).unwrap();
        let helpers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faces/bin");
        for entry in std::fs::read_dir(helpers).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join("bin").join(entry.file_name());
            std::fs::copy(entry.path(), &path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder, tmux: Server::new().unwrap(), _kept: kept }
    }

    /// A shell that runs this line, with nothing of the caller's own environment.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-c", line])
            .env_clear()
            .env("PATH", format!("{}:{path}", self.folder.join("bin").display()))
            .env("CONVEYOR", env!("CARGO_BIN_EXE_conveyor"))
            .env("NATIVE", self.folder.join("native/codex"))
            .env("HOME", self.folder.join("home"))
            .env("TMUX_TMPDIR", self.tmux.tmpdir())
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env("WORLD", &self.folder)
            .current_dir(self.folder.join("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a line that prepares something.
    pub(crate) fn prepare(&self, line: &str) {
        let output = self.shell(line).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}
