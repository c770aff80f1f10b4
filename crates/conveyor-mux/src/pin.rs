//! What a pane is known by.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use conveyor_model::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// A pane id of tmux, `%5`. Unique within one run of a server; a restarted one begins again at `%0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PaneId(u32);

impl fmt::Display for PaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl FromStr for PaneId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::usage(format!("`{}` is not a pane id of tmux, like %5", shown.escape_debug()))
        })
    }
}

impl TryFrom<String> for PaneId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<PaneId> for String {
    fn from(id: PaneId) -> Self {
        id.to_string()
    }
}

impl JsonSchema for PaneId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PaneId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^%[0-9]+$" })
    }
}

/// Which pane is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The only pane of the session of exactly this name.
    Session(String),
    /// This pane.
    Pane(PaneId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(name) => write!(f, "the tmux session `{}`", name.escape_debug()),
            Self::Pane(id) => write!(f, "the tmux pane {id}"),
        }
    }
}

/// A process that a reused process id cannot be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// When it was started, in the kernel's ticks since boot; null when the process could not be seen.
    pub started: Option<u64>,
}

/// A pane, pinned: which server, which pane, which process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Pin {
    /// The server's socket.
    pub socket: PathBuf,
    /// The server's process.
    pub server: Process,
    /// Name of the session when it was pinned.
    pub session: String,
    /// The pane.
    pub pane: PaneId,
    /// The pane's first process.
    pub program: Process,
}

/// What has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// The server, and with it all that it held.
    Server,
    /// The pane.
    Pane,
    /// The program in the pane; its last lines can still be captured.
    Program,
}

/// Whether a pin still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinCheck {
    /// The pane holds the pinned process.
    Ours {
        /// Whether the pane is in copy mode or another mode that takes the keys.
        in_mode: bool,
    },
    /// It ended.
    Gone {
        /// What ended.
        what: Gone,
    },
    /// Something else is there under the same name.
    Changed {
        /// What differs, as a sentence without a full stop.
        what: String,
    },
}

/// A pane in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaneInfo {
    /// The pane.
    pub id: PaneId,
    /// Its session's name.
    pub session: String,
    /// Process id of its first process.
    pub pid: u32,
    /// The title that its program gave the terminal.
    pub title: String,
    /// The working directory of the process in front.
    pub cwd: PathBuf,
    /// Name of the process in front.
    pub command: String,
    /// Whether it is in copy mode or another mode.
    pub in_mode: bool,
    /// Whether its program has ended.
    pub dead: bool,
}
