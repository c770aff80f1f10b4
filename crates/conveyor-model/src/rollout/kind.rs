//! What a record means.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::Synthetic;
use crate::Timestamp;

/// The meaning of a record. Which words of which version map to which kind is `conveyor_agents::parse`'s knowledge.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Who the thread is; the first line of a rollout.
    SessionMeta(Box<SessionMeta>),
    /// Settings of the turn that begins, or that goes on after a compaction.
    TurnContext(Box<TurnContext>),
    /// A turn began; `/compact` and `!command` are turns too. Not written by 0.99.
    TaskStarted {
        /// Size of the model's context in tokens.
        context_window: Option<u64>,
    },
    /// A turn ended by itself, well or with an error. Not written by 0.99.
    TaskComplete(Box<Completion>),
    /// A turn was interrupted or replaced.
    TurnAborted(Aborted),
    /// The newest turns were taken out of the thread again, with what the user said in them: by an interrupt before any
    /// answer (measured on 0.144), or by a person who rewinds (0.144, 0.99; 0.169 writes nothing).
    RolledBack {
        /// How many.
        turns: u64,
    },
    /// A `response_item` with the role user: the only proof that a text reached the model.
    UserMessage {
        /// Set if Codex wrote the text itself.
        synthetic: Option<Synthetic>,
    },
    /// The same text once more: `user_message` up to 0.144, an `item_completed` of a `UserMessage` in 0.169.
    UserEcho {
        /// The id that whoever submitted the text through Codex's own queue or daemon gave to it.
        client_id: Option<String>,
    },
    /// A `response_item` with the role assistant.
    AgentMessage,
    /// The same text once more: `agent_message` up to 0.144, an `item_completed` of an `AgentMessage` in 0.169.
    AgentEcho,
    /// The model asked for a tool. Until its output comes it runs, or waits for an approval: a rollout doesn't tell.
    ToolCall {
        /// The tool's name.
        name: Option<String>,
    },
    /// A tool's output as the model gets it.
    ToolOutput,
    /// Something in a turn is done that is neither a message nor a compaction; a background terminal may end long
    /// after its turn.
    ItemDone(Item),
    /// The context was replaced by a summary.
    Compacted,
    /// The same said once more: `context_compacted` up to 0.144, an `item_completed` of a `ContextCompaction` in 0.169.
    CompactedEcho,
    /// Tokens used, and what is left of the account's limits. Codex writes some even after the end of a turn.
    TokenCount(Box<Tokens>),
    /// Known, and of no consequence for anything that conveyor decides.
    Bookkeeping,
    /// Nobody listed this shape yet; it is counted by Codex's version.
    Unknown,
}

impl Kind {
    /// The kind as one word, for listings and telemetry.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SessionMeta(_) => "session_meta",
            Self::TurnContext(_) => "turn_context",
            Self::TaskStarted { .. } => "task_started",
            Self::TaskComplete(_) => "task_complete",
            Self::TurnAborted(_) => "turn_aborted",
            Self::RolledBack { .. } => "rolled_back",
            Self::UserMessage { synthetic: None } => "user_message",
            Self::UserMessage { synthetic: Some(_) } => "synthetic_message",
            Self::UserEcho { .. } => "user_echo",
            Self::AgentMessage => "agent_message",
            Self::AgentEcho => "agent_echo",
            Self::ToolCall { .. } => "tool_call",
            Self::ToolOutput => "tool_output",
            Self::ItemDone(_) => "item_done",
            Self::Compacted => "compacted",
            Self::CompactedEcho => "compacted_echo",
            Self::TokenCount(_) => "token_count",
            Self::Bookkeeping => "bookkeeping",
            Self::Unknown => "unknown",
        }
    }
}

/// Who a thread is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionMeta {
    /// The thread's id, a UUIDv7.
    pub thread_id: Option<String>,
    /// The folder in which the thread works.
    pub cwd: Option<String>,
    /// Version of the Codex that began the thread.
    pub cli_version: Option<String>,
    /// `cli` (embedded), `vscode` (0.169's shared daemon, whatever the name says), `exec`, or a client's own word.
    pub source: Option<String>,
    /// `codex-tui`, `codex_exec`, …: the client that began the thread.
    pub originator: Option<String>,
    /// The thread of which this one is a fork.
    pub forked_from: Option<String>,
    /// When the thread was made; its rollout may begin much later, with the first message.
    pub created_at: Option<Timestamp>,
    /// `paginated` (0.169) or `legacy`.
    pub history_mode: Option<String>,
}

/// Settings of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnContext {
    /// `never`, `on-request`, `untrusted`, …; JSON text if it is not a word.
    pub approval_policy: Option<String>,
    /// `read-only`, `workspace-write`, `danger-full-access`.
    pub sandbox_mode: Option<String>,
    /// The folder in which the turn works.
    pub cwd: Option<String>,
    /// The model.
    pub model: Option<String>,
}

/// How a turn ended by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The last words to the user. `None` after an error, and after `/compact`.
    pub last_agent_message: Option<String>,
    /// What went wrong. Up to 0.144 Codex writes nothing here.
    pub error: Option<TurnError>,
    /// When Codex says that the turn ended; whole seconds.
    pub completed_at: Option<Timestamp>,
    /// How long the turn took.
    pub duration_ms: Option<u64>,
    /// How long the model took to its first token.
    pub time_to_first_token_ms: Option<u64>,
}

/// The error with which a turn ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TurnError {
    /// Codex's sentence.
    pub message: String,
    /// Codex's word for it, such as `usage_limit_exceeded`; of an object its first key.
    pub info: Option<String>,
    /// The HTTP status behind it, where Codex tells.
    pub http_status: Option<u16>,
}

/// How a turn was ended from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aborted {
    /// `interrupted`, `replaced`, …
    pub reason: Option<String>,
    /// When Codex says that the turn ended; whole seconds. 0.99 doesn't.
    pub completed_at: Option<Timestamp>,
    /// How long the turn took.
    pub duration_ms: Option<u64>,
}

/// Something done in a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// `completed`, `failed`, `declined`, …
    pub status: Option<String>,
    /// A command's exit code; -1 if it was killed.
    pub exit_code: Option<i64>,
}

/// Tokens of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenUsage {
    /// Tokens sent to the model.
    pub input_tokens: u64,
    /// Of these, tokens that the provider had cached.
    pub cached_input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
    /// All of them, as Codex counts. After an overflow of the context this is the whole window.
    pub total_tokens: u64,
}

/// What a `token_count` record tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    /// All tokens of the thread. `None` until the model first answered.
    pub total: Option<TokenUsage>,
    /// Tokens of the last answer; its total is how full the context is.
    pub last: Option<TokenUsage>,
    /// Size of the model's context in tokens.
    pub context_window: Option<u64>,
    /// The account's limits; `None` if the record says nothing of them.
    pub rate_limits: Option<RateLimits>,
}

/// The account's limits as the provider last reported them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RateLimits {
    /// The shorter window, usually five hours.
    pub primary: Option<RateWindow>,
    /// The longer window, usually a week.
    pub secondary: Option<RateWindow>,
    /// The account's plan.
    pub plan: Option<String>,
    /// Which limit is reached, if one is.
    pub reached: Option<String>,
}

/// One window of a limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RateWindow {
    /// Share that is used up, 0 to 100.
    pub used_percent: f64,
    /// Length of the window in minutes.
    pub window_minutes: Option<u64>,
    /// When it begins anew.
    pub resets_at: Option<Timestamp>,
}
