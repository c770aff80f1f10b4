//! The flags that each start has.

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// What Codex's commands may touch. Ordered: each may do what the ones before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Nothing is written, nothing is reached.
    ReadOnly,
    /// The working folder and /tmp are written.
    WorkspaceWrite,
    /// Everything.
    DangerFullAccess,
}

/// When Codex asks before it runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Before each command that is not known to be harmless; versions before 0.169.
    Untrusted,
    /// When a command has failed; old versions.
    OnFailure,
    /// When the model wants to leave the sandbox.
    OnRequest,
    /// Never.
    Never,
}

/// A choice of both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Full access, and it never asks.
    Yolo,
}

/// What happens when a dialog stands before the composer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnDialog {
    /// It is reported, the session stays, and its first message is brought when a person has answered.
    Keep,
    /// The start has failed and is undone.
    Fail,
}

impl Sandbox {
    /// The word that Codex knows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::DangerFullAccess => "danger-full-access",
        }
    }

    /// Whether it keeps a shell from the ledger and from tmux (measured: sockets and files outside of the workspace).
    pub const fn keeps_the_shell_away(self) -> bool {
        match self {
            Self::ReadOnly | Self::WorkspaceWrite => true,
            Self::DangerFullAccess => false,
        }
    }
}

impl Approval {
    /// The word that Codex knows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::OnFailure => "on-failure",
            Self::OnRequest => "on-request",
            Self::Never => "never",
        }
    }
}

#[expect(missing_docs, reason = "a doc comment of a flattened group would replace the help of the verb")]
#[derive(Args, Clone, Serialize, Deserialize, JsonSchema, Debug)]
pub struct LaunchFlags {
    /// Working folder of the session; the present one if left out
    #[arg(long)]
    pub cwd: Option<String>,
    /// What its commands may touch; `workspace-write` if left out
    #[arg(long, value_enum)]
    pub sandbox: Option<Sandbox>,
    /// When it asks before it runs a command; `on-request` if left out
    #[arg(long, value_enum)]
    pub ask_for_approval: Option<Approval>,
    /// Both at once: `yolo` is full access without asking; --sandbox and --ask-for-approval win
    #[arg(long, value_enum)]
    pub codex_profile: Option<Profile>,
    /// Answer the question whether the folder is trusted, and no other, with its first option
    #[arg(long)]
    #[serde(default)]
    pub accept_trust: bool,
    /// What happens when another dialog stands before the composer
    #[arg(long, value_enum, default_value_t = on_dialog())]
    #[serde(default = "on_dialog")]
    pub on_dialog: OnDialog,
    /// Leave terminal and registration behind when the start fails
    #[arg(long)]
    #[serde(default)]
    pub keep_on_failure: bool,
    /// Seconds within which a session must have taken its first message
    #[arg(long, default_value_t = timeout_seconds())]
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: u64,
    /// The program to start instead of the `codex` in PATH
    #[arg(long)]
    pub codex_bin: Option<String>,
}

const fn on_dialog() -> OnDialog {
    OnDialog::Keep
}

const fn timeout_seconds() -> u64 {
    60
}

impl LaunchFlags {
    /// Ranges.
    pub fn check(&self) -> Result<()> {
        if (1..=3_600).contains(&self.timeout_seconds) {
            return Ok(());
        }
        Err(Error::usage("--timeout-seconds is between 1 and 3600"))
    }

    /// What the session may touch.
    pub fn sandbox(&self) -> Sandbox {
        let of_profile = self.codex_profile.map(|Profile::Yolo| Sandbox::DangerFullAccess);
        self.sandbox.or(of_profile).unwrap_or(Sandbox::WorkspaceWrite)
    }

    /// When it asks.
    pub fn approval(&self) -> Approval {
        let of_profile = self.codex_profile.map(|Profile::Yolo| Approval::Never);
        self.ask_for_approval.or(of_profile).unwrap_or(Approval::OnRequest)
    }
}
