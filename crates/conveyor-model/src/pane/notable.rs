//! The contract's `notable_pane_pattern`, derived from a classification.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// Name of what is notable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotablePattern {
    /// MCP servers are being started.
    McpStartup,
    /// The agent tells that the allowance is nearly used up and asks what to do.
    RateLimitPrompt,
    /// A folder has to be trusted.
    TrustPrompt,
    /// A plan waits.
    PlanPrompt,
    /// A command, edit or tool call waits for approval.
    ApprovalPrompt,
    /// A turn has been running for long without news.
    LongRunningInterruptible,
}

/// What the contract recommends to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecommendedAction {
    /// Look, then wait or interrupt.
    InspectOrInterrupt,
    /// Look, then confirm.
    InspectOrConfirm,
    /// Look, then accept the trust question.
    InspectOrAcceptTrust,
    /// Look, then approve or deny.
    InspectOrApprove,
}

/// A notable pattern with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notable {
    /// Which pattern.
    pub pattern: NotablePattern,
    /// Why, as one sentence without a full stop.
    pub reason: String,
    /// What to do.
    pub recommended_action: RecommendedAction,
}

/// The contract's pattern of a classification.
pub fn notable_pattern(
    _seen: &super::Classification,
    _status_age: Option<std::time::Duration>,
    _busy_wait: std::time::Duration,
    _new_events: u64,
) -> Option<Notable> {
    None
}
