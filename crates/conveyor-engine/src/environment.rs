//! What a verb may know of the process that calls it, captured once, so that no verb reads the environment by itself.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;

use conveyor_agents::process;
use conveyor_model::Error;
use conveyor_model::Result;

/// Environment variables that matter to conveyor; nothing else is captured.
const KEPT: &[&str] = &[
    "CLAUDECODE",
    "CODEX_CI",
    "CODEX_HOME",
    "CODEX_SANDBOX",
    "CODEX_SANDBOX_NETWORK_DISABLED",
    "CODEX_THREAD_ID",
    "CONVEYOR_DATABASE_URL",
    "CONVEYOR_FORMAT",
    "HOME",
    "PATH",
    "TMUX",
    "TMUX_PANE",
    "TMUX_TMPDIR",
    "XDG_STATE_HOME",
];

/// The calling process's surroundings.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: HashMap<&'static str, String>,
    /// The system shows that Codex's sandbox holds this process, whatever the variables say.
    confined: bool,
    /// The working directory.
    pub cwd: PathBuf,
    /// This executable, absolute: what reports and prompts name.
    pub executable: PathBuf,
    /// The process id of this process.
    pub pid: u32,
    /// This machine's name.
    pub host: String,
}

impl Environment {
    /// Captures the surroundings of this process.
    pub fn capture() -> Result<Self> {
        let cwd = std::env::current_dir()
            .map_err(|error| Error::environment(format!("the working directory cannot be read: {error}")))?;
        let executable = std::env::current_exe()
            .map_err(|error| Error::environment(format!("the path of this program is not known: {error}")))?;
        let variables = KEPT.iter().filter_map(|&name| Some((name, std::env::var(name).ok()?))).collect();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let confined = process::inside_sandbox().is_some();
        Ok(Self { variables, confined, cwd, executable, pid: std::process::id(), host })
    }

    /// Surroundings made for a test.
    pub fn of(cwd: &Path, variables: &[(&'static str, &str)]) -> Self {
        Self {
            variables: variables.iter().map(|&(name, value)| (name, value.to_owned())).collect(),
            confined: false,
            cwd: cwd.to_owned(),
            executable: PathBuf::from("conveyor"),
            pid: std::process::id(),
            host: "host".to_owned(),
        }
    }

    /// A variable's value, unless it is absent or empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The user's home directory.
    pub fn home(&self) -> Result<PathBuf> {
        self.variable("HOME")
            .map(PathBuf::from)
            .ok_or_else(|| Error::environment("HOME is not set").hint("export HOME=/path/to/your/home"))
    }

    /// Where conveyor keeps its state: `${XDG_STATE_HOME:-~/.local/state}/conveyor`.
    pub fn state_dir(&self) -> Result<PathBuf> {
        let base = match self.variable("XDG_STATE_HOME") {
            Some(dir) => PathBuf::from(dir),
            None => self.home()?.join(".local/state"),
        };
        Ok(base.join("conveyor"))
    }

    /// Codex's own folder: `${CODEX_HOME:-~/.codex}`.
    pub fn codex_home(&self) -> Result<PathBuf> {
        match self.variable("CODEX_HOME") {
            Some(dir) => Ok(PathBuf::from(dir)),
            None => Ok(self.home()?.join(".codex")),
        }
    }

    /// Whether an agent called, by what its shells carry.
    pub fn is_agent(&self) -> bool {
        ["CODEX_THREAD_ID", "CODEX_CI", "CLAUDECODE"].iter().any(|name| self.variable(name).is_some())
    }

    /// Whether this process runs in a sandbox that keeps it from tmux, sockets and files outside the workspace: by what its
    /// variables say, or by what the system shows where they were taken away.
    pub fn is_sandboxed(&self) -> bool {
        let said = ["CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED"];
        self.confined || said.iter().any(|name| self.variable(name).is_some())
    }

    /// An absolute path for one that may be relative to the working directory or begin with `~`.
    pub fn absolute(&self, path: &str) -> Result<PathBuf> {
        match path.strip_prefix("~/") {
            Some(rest) => Ok(self.home()?.join(rest)),
            None if path == "~" => self.home(),
            None => Ok(self.cwd.join(path)),
        }
    }

    /// Finds a program on `PATH`, as a shell would.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let is_program = |path: &PathBuf| {
            path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(self.variable("PATH")?)
            .map(|dir| self.cwd.join(dir).join(name))
            .find(is_program)
    }
}
