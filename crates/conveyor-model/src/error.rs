//! The one error that a verb can end with: what failed, why, what mends it, and whether a repetition is safe.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// Result of anything that a verb does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is. Scripts branch on it, so a name is never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Two candidates were found where exactly one is needed.
    Ambiguous,
    /// The state of the ledger stands against it: a name in use, a session already bound.
    Conflict,
    /// Something outside of conveyor is missing or broken: no tmux, no Codex, a full disk.
    Environment,
    /// The person or program pressed Ctrl-C or sent SIGTERM.
    Interrupted,
    /// The ledger could not be used: locked, corrupt, newer, foreign.
    Ledger,
    /// A name or id that the ledger does not hold.
    NotFound,
    /// A rule forbids it: a closed gate, a right that the caller does not have, a dialog on the screen.
    Refused,
    /// A rollout could not be read or understood.
    Rollout,
    /// Did not happen within the time that was given.
    Timeout,
    /// The request itself is wrong.
    Usage,
}

impl ErrorKind {
    /// The process's exit code: 2 for wrong usage, else 1.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Ambiguous
            | Self::Conflict
            | Self::Environment
            | Self::Interrupted
            | Self::Ledger
            | Self::NotFound
            | Self::Refused
            | Self::Rollout
            | Self::Timeout => 1,
        }
    }
}

/// Whether the same call may be made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Nothing happened; a repetition cannot do anything twice.
    #[default]
    Safe,
    /// Something happened; a repetition would do it again.
    Unsafe,
    /// It is not known whether something happened.
    Unknown,
}

/// A failure with what a person needs to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Error {
    /// What sort of failure it is.
    pub kind: ErrorKind,
    /// What failed and why, one sentence without a full stop.
    pub message: String,
    /// What to do, where possible a whole command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same call may be made again.
    pub retry: Retry,
}

impl Error {
    /// An error without a hint, of which nothing happened yet.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry: Retry::Safe }
    }

    /// The same error with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with another answer to "may I call again?".
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The same error, its message led by what was being done.
    pub fn during(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

/// One constructor a kind, named as the kind.
macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(
                #[doc = concat!("An error of the kind [`ErrorKind::", stringify!($kind), "`].")]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self::new(ErrorKind::$kind, message)
                }
            )*
        }
    };
}

constructors! {
    ambiguous => Ambiguous,
    conflict => Conflict,
    environment => Environment,
    interrupted => Interrupted,
    ledger => Ledger,
    not_found => NotFound,
    refused => Refused,
    rollout => Rollout,
    timeout => Timeout,
    usage => Usage,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
