//! The contract's `notable_pane_pattern`, derived from a classification.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::Classification;
use super::Kind;

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
///
/// Only what is a matter of time waits for `status_age` to reach `busy_wait` (an unknown age counts as reached): a
/// start of MCP servers and a long turn. Whatever waits for an answer is told at once. `new_events` are the events of
/// this look at the rollout; ten or more show that a long turn is well.
pub fn notable_pattern(
    seen: &Classification,
    status_age: Option<Duration>,
    busy_wait: Duration,
    new_events: u64,
) -> Option<Notable> {
    let late = status_age.is_none_or(|age| age >= busy_wait);
    let pattern = match seen.kind {
        Kind::ApprovalPrompt | Kind::McpApprovalPrompt => NotablePattern::ApprovalPrompt,
        Kind::TrustPrompt => NotablePattern::TrustPrompt,
        Kind::PlanPrompt => NotablePattern::PlanPrompt,
        Kind::Picker if seen.notices.contains(&"rate_limit_prompt") => NotablePattern::RateLimitPrompt,
        Kind::Busy | Kind::Retrying if late && seen.notices.contains(&"mcp_startup") => {
            NotablePattern::McpStartup
        }
        Kind::Busy | Kind::Retrying if late && status_age.is_some() && new_events < BUSY_EVENTS => {
            NotablePattern::LongRunningInterruptible
        }
        Kind::Busy
        | Kind::Retrying
        | Kind::Picker
        | Kind::Idle
        | Kind::HooksReviewPrompt
        | Kind::LoginPrompt
        | Kind::UpdatePrompt
        | Kind::Rewind
        | Kind::Reconnecting
        | Kind::RateLimited
        | Kind::UsageLimited
        | Kind::ContextFull
        | Kind::StreamError
        | Kind::Compacted
        | Kind::Quit
        | Kind::Unknown => return None,
    };
    Some(Notable { pattern, reason: reason(pattern, seen), recommended_action: pattern.action() })
}

/// Events of one look at the rollout from which on a long turn is not notable (contract).
const BUSY_EVENTS: u64 = 10;

fn reason(pattern: NotablePattern, seen: &Classification) -> String {
    let what = match pattern {
        NotablePattern::McpStartup => "MCP servers are still being started",
        NotablePattern::RateLimitPrompt => "the agent asks what to do about the rate limit",
        NotablePattern::TrustPrompt => "the agent asks whether the folder is trusted",
        NotablePattern::PlanPrompt => "a plan waits for an answer",
        NotablePattern::ApprovalPrompt => "the agent waits for an approval",
        NotablePattern::LongRunningInterruptible => "the turn has been running for long without new events",
    };
    match (&seen.evidence, seen.line) {
        (Some(evidence), Some(line)) => format!("{what}: `{evidence}` in row {line}"),
        (Some(_) | None, _) => what.to_owned(),
    }
}

impl NotablePattern {
    /// What the contract recommends.
    pub const fn action(self) -> RecommendedAction {
        match self {
            Self::McpStartup | Self::RateLimitPrompt | Self::LongRunningInterruptible => {
                RecommendedAction::InspectOrInterrupt
            }
            Self::TrustPrompt => RecommendedAction::InspectOrAcceptTrust,
            Self::PlanPrompt => RecommendedAction::InspectOrConfirm,
            Self::ApprovalPrompt => RecommendedAction::InspectOrApprove,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pane::Screen;
    use crate::pane::classify;

    const WAIT: Duration = Duration::from_secs(90);

    fn of(text: &str, age: Option<u64>, events: u64) -> Option<NotablePattern> {
        let seen = classify(&Screen::from_plain(text));
        notable_pattern(&seen, age.map(Duration::from_secs), WAIT, events).map(|notable| notable.pattern)
    }

    const BUSY: &str =
        "• Working (2m 05s • esc to interrupt)\n\n› Ask Codex to do anything\n\n  fake-1 · /x\n";
    const TRUST: &str = "  Do you trust the contents of this directory?\n\n› 1. Yes, continue\n  2. No, quit\n\n  Press enter to confirm\n";

    #[test]
    fn a_prompt_is_told_at_once_and_a_long_turn_only_after_its_time() {
        assert_eq!(of(TRUST, Some(0), 50), Some(NotablePattern::TrustPrompt), "trust goes before confirm");
        assert_eq!(of(BUSY, Some(89), 0), None);
        assert_eq!(of(BUSY, Some(90), 0), Some(NotablePattern::LongRunningInterruptible));
        assert_eq!(of(BUSY, Some(90), 10), None);
        assert_eq!(of(BUSY, None, 0), None, "a long turn needs a known age");
        let mcp = BUSY.replace("Working", "Starting MCP servers (0/1): t");
        assert_eq!(of(&mcp, None, 0), Some(NotablePattern::McpStartup));
        assert_eq!(of(&mcp, Some(1), 0), None);
    }

    #[test]
    fn the_names_of_the_contract() {
        let seen = classify(&Screen::from_plain(TRUST));
        let notable = notable_pattern(&seen, None, WAIT, 0).unwrap();
        let json = serde_json::to_value(&notable).unwrap();
        assert_eq!(json["pattern"], "trust_prompt");
        assert_eq!(json["recommended_action"], "inspect_or_accept_trust");
        let reason = "the agent asks whether the folder is trusted: `Do you trust the contents of this directory?` in row 1";
        assert_eq!(json["reason"], reason);
    }
}
