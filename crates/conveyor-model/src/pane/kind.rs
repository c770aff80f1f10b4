//! The kinds of screen, and what a classification reports.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::Composer;
use super::Dialog;
use super::composer::OwnText;

/// What a pane shows. Exactly one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The composer is there and no turn runs.
    Idle,
    /// A turn runs.
    Busy,
    /// The agent asks whether it may run a command, apply an edit or have a permission.
    ApprovalPrompt,
    /// The agent asks whether it may call a tool of an MCP server.
    McpApprovalPrompt,
    /// A folder has to be trusted before the agent starts.
    TrustPrompt,
    /// New or changed hooks wait for a review.
    HooksReviewPrompt,
    /// The agent wants to be signed in.
    LoginPrompt,
    /// A newer version is offered; the preselected option runs a package manager.
    UpdatePrompt,
    /// A plan waits for being accepted.
    PlanPrompt,
    /// Any other list of options.
    Picker,
    /// The browser of earlier messages, in which Enter throws away what came after.
    Rewind,
    /// The turn runs, and its request is being repeated after an error.
    Retrying,
    /// The connection to the shared server is lost; no turn is known, and Enter submits nothing.
    Reconnecting,
    /// The last turn ended because of too many requests.
    RateLimited,
    /// The last turn ended because the account's allowance is used up.
    UsageLimited,
    /// The last turn ended because the context window is full.
    ContextFull,
    /// The last turn ended in any other error.
    StreamError,
    /// The last thing that happened was a compaction of the context.
    Compacted,
    /// The agent has quit and its farewell is the last thing on the screen.
    Quit,
    /// Nothing of the above.
    Unknown,
}

impl Kind {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::ApprovalPrompt => "approval_prompt",
            Self::McpApprovalPrompt => "mcp_approval_prompt",
            Self::TrustPrompt => "trust_prompt",
            Self::HooksReviewPrompt => "hooks_review_prompt",
            Self::LoginPrompt => "login_prompt",
            Self::UpdatePrompt => "update_prompt",
            Self::PlanPrompt => "plan_prompt",
            Self::Picker => "picker",
            Self::Rewind => "rewind",
            Self::Retrying => "retrying",
            Self::Reconnecting => "reconnecting",
            Self::RateLimited => "rate_limited",
            Self::UsageLimited => "usage_limited",
            Self::ContextFull => "context_full",
            Self::StreamError => "stream_error",
            Self::Compacted => "compacted",
            Self::Quit => "quit",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a dialog or browser has the keyboard, so that nothing may be typed.
    pub const fn is_dialog(self) -> bool {
        match self {
            Self::ApprovalPrompt
            | Self::McpApprovalPrompt
            | Self::TrustPrompt
            | Self::HooksReviewPrompt
            | Self::LoginPrompt
            | Self::UpdatePrompt
            | Self::PlanPrompt
            | Self::Picker
            | Self::Rewind => true,
            Self::Idle
            | Self::Busy
            | Self::Retrying
            | Self::Reconnecting
            | Self::RateLimited
            | Self::UsageLimited
            | Self::ContextFull
            | Self::StreamError
            | Self::Compacted
            | Self::Quit
            | Self::Unknown => false,
        }
    }

    /// Whether a turn runs.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Busy | Self::Retrying)
    }

    /// Whether the composer takes a message: no dialog, no lost connection, no screen that is not understood.
    ///
    /// A turn that ended in an error or with a compaction is over, so the next message is welcome.
    pub const fn takes_input(self) -> bool {
        match self {
            Self::Idle
            | Self::Busy
            | Self::Retrying
            | Self::RateLimited
            | Self::UsageLimited
            | Self::ContextFull
            | Self::StreamError
            | Self::Compacted => true,
            Self::ApprovalPrompt
            | Self::McpApprovalPrompt
            | Self::TrustPrompt
            | Self::HooksReviewPrompt
            | Self::LoginPrompt
            | Self::UpdatePrompt
            | Self::PlanPrompt
            | Self::Picker
            | Self::Rewind
            | Self::Reconnecting
            | Self::Quit
            | Self::Unknown => false,
        }
    }
}

/// What was found on one screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Classification {
    /// What the pane shows.
    pub kind: Kind,
    /// What the composer holds.
    pub composer: Composer,
    /// Name of the rule that decided; null when none matched.
    pub rule: Option<&'static str>,
    /// Row of the line that the rule matched, counted from 1 at the top of the screen.
    pub line: Option<usize>,
    /// That line's text, trimmed, at most 200 characters.
    pub evidence: Option<String>,
    /// The options of the dialog that is open.
    pub dialog: Option<Dialog>,
    /// Whether a list of commands, files or skills is open under the composer; it eats Enter and Tab.
    pub popup: bool,
    /// Messages that were accepted but not yet given to the model, as far as the screen shows them.
    pub pending: Vec<String>,
    /// How long the turn has been running according to the screen, in seconds.
    pub busy_seconds: Option<u64>,
    /// Things that are worth telling but do not decide the kind: `mcp_startup`, `rate_limit_prompt`, `plan_prompt`,
    /// `escape_armed`.
    pub notices: Vec<&'static str>,
    /// Whether the pane is in copy mode or another mode of tmux, in which keys do not reach the agent.
    pub in_mode: bool,
}

impl Classification {
    /// Whether the composer holds the message of `token` and no other message of ours; see [`Composer::is_only`].
    pub fn holds_only(&self, token: &str) -> bool {
        self.composer.is_only(token)
    }

    /// Whether the composer holds our text and nothing beside it, so that only the submit key is missing.
    pub fn holds_exactly(&self, own: &OwnText) -> bool {
        self.composer.is_exactly(own)
    }

    /// Whether the message of `token` is in the list of those that wait for the model.
    pub fn is_pending(&self, token: &str) -> bool {
        let label = crate::wire::label(token);
        self.pending.iter().any(|text| text.contains(label.trim_end()))
    }

    /// Whether a message may be pasted now: input is taken, the composer is empty, nothing is open over it.
    pub fn is_ready_for_paste(&self) -> bool {
        self.kind.takes_input() && self.composer == Composer::Empty && !self.popup && !self.in_mode
    }
}
