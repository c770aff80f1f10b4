//! Running a command that somebody else brought: bounded in time and output, whole tree of processes ended, without a
//! terminal, with an environment of its own, and confined to the paths that it was given.
//!
//! The work is done by this program itself, called again under a hidden name (`docs/evidence.md` says why): [`run`] hands
//! a [`Spec`] to that helper and reads back what it [`Ran`].

#[cfg(target_os = "linux")]
mod collect;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
mod restrict;
#[cfg(target_os = "linux")]
mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

#[cfg(target_os = "linux")]
use self::linux as system;
#[cfg(not(target_os = "linux"))]
use self::other as system;

/// The hidden name under which this program is called to do the work.
pub const HELPER: &str = "confine-exec";

/// The variable by which a command's processes are found again when the helper was killed.
const MARK: &str = "CONVEYOR_CONFINED";

/// What is to be run, and in which bounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Program and arguments; the program is looked for on the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// What stands on standard input; without it, that is empty.
    pub stdin: Option<String>,
    /// How long it may take altogether, in milliseconds.
    pub limit_ms: u64,
    /// Bytes that are kept of each of its two outputs: the beginning and the end.
    pub output_bytes: usize,
    /// What it may reach; `None` only where a person allowed it to reach everything.
    pub reach: Option<Reach>,
}

/// What a confined command may reach. The system's programs and libraries are readable besides ([`Reach::system`]).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reach {
    /// Files and folders that may be read, and programs in them run. One that does not exist is passed over.
    pub read: Vec<PathBuf>,
    /// Files and folders that may be changed.
    pub write: Vec<PathBuf>,
    /// Whether it may use the network. Local sockets of other programs, such as tmux's, are out of reach in any case.
    pub network: bool,
}

impl Reach {
    /// Reading of what each program needs: the system's programs, libraries and settings.
    pub fn system() -> Self {
        let read =
            ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix/store", "/proc"];
        let more = ["/sys/devices/system/cpu", "/sys/fs/cgroup", "/dev/random", "/dev/urandom", "/dev/zero"];
        let write = ["/dev/null", "/dev/full"];
        Self {
            read: read.into_iter().chain(more).map(PathBuf::from).collect(),
            write: write.into_iter().map(PathBuf::from).collect(),
            network: false,
        }
    }

    /// The same, and these may be read.
    pub fn reading(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.read.extend(paths);
        self
    }

    /// The same, and these may be changed.
    pub fn writing(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.write.extend(paths);
        self
    }

    /// The same with the network.
    pub fn with_network(mut self) -> Self {
        self.network = true;
        self
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ended {
    /// By itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// By a signal that was not ours.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It took too long and was killed.
    TimedOut,
}

impl Ended {
    /// Whether it says that all is well.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// The exit code, where it has one.
    pub const fn code(self) -> Option<i32> {
        match self {
            Self::Exited { code } => Some(code),
            Self::Signalled { .. } | Self::TimedOut => None,
        }
    }
}

/// What a command printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The text; where it was too long, its beginning and end with a line between them that says how much is left out.
    pub text: String,
    /// Bytes that were printed altogether.
    pub bytes: u64,
    /// SHA-256 of all that was printed, in hexadecimal digits.
    pub sha256: String,
    /// Something is left out of the text.
    pub cut: bool,
}

/// How a command was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// `landlock`, or `none` where a person allowed that.
    pub engine: String,
    /// Everything that was asked for is enforced by this kernel. False for an older one that enforces only a part.
    pub complete: bool,
    /// Whether the network was there.
    pub network: bool,
}

/// What was run, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// How it ended.
    pub ended: Ended,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error.
    pub stderr: Output,
    /// How it was held.
    pub held: Held,
    /// Processes that it had left behind, and that were killed.
    pub left_behind: u64,
}

/// What the helper answers.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Ran(Box<Ran>),
    Failed(String),
}

/// Runs a command in its bounds. When this returns, or is dropped, nothing of it runs any more.
///
/// `program` is this program, to be called again as the helper.
///
/// Errors: environment, when it cannot be started or confined; nothing was run then.
pub async fn run(program: &Path, spec: Spec) -> Result<Ran> {
    let mark = uuid::Uuid::now_v7().to_string();
    let limit = Duration::from_millis(spec.limit_ms).saturating_add(limits::CONFINED_ENDS);
    let mut spec = spec;
    spec.env.insert(MARK.to_owned(), mark.clone());
    match tokio::time::timeout(limit, call(program, &spec)).await {
        Ok(Ok(Answer::Ran(ran))) => Ok(*ran),
        Ok(Ok(Answer::Failed(why))) => Err(Error::environment(why)),
        Ok(Err(error)) => {
            system::sweep(&mark);
            Err(error)
        }
        Err(_) => {
            system::sweep(&mark);
            Err(Error::environment("the helper that runs commands did not end in time, and was killed"))
        }
    }
}

/// The helper lives as long as its standard input is open: when this process dies, however it dies, the helper ends what
/// it runs and itself.
async fn call(program: &Path, spec: &Spec) -> Result<Answer> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::environment(format!("the helper that runs commands failed: {error}"))
    };
    let mut helper = Command::new(program)
        .arg(HELPER)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(|error| failed(&error))?;
    let (Some(mut input), Some(mut output)) = (helper.stdin.take(), helper.stdout.take()) else {
        return Err(failed(&"it has no pipes"));
    };
    let mut line = serde_json::to_vec(spec).map_err(|error| failed(&error))?;
    line.push(b'\n');
    input.write_all(&line).await.map_err(|error| failed(&error))?;
    input.flush().await.map_err(|error| failed(&error))?;
    let mut answer = Vec::new();
    output.read_to_end(&mut answer).await.map_err(|error| failed(&error))?;
    drop(input);
    let status = helper.wait().await.map_err(|error| failed(&error))?;
    serde_json::from_slice(&answer).map_err(|_| failed(&format!("it ended without an answer ({status})")))
}

/// What this program does when it is called as the helper. Returns the exit code.
pub fn helper() -> u8 {
    system::helper()
}

/// Whether this system can confine a command.
pub const fn is_supported() -> bool {
    cfg!(target_os = "linux")
}
