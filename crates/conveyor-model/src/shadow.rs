//! What a pane adds to a rollout: when it is looked at, where it contradicts, and what of it wants attention.
//!
//! A rollout does not tell a tool that runs from one that waits for an approval, nor a turn that goes on from one whose
//! process was killed. The screen does, and it may be wrong; so what it says is noted beside the rollout's word and never
//! in its place.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::Timestamp;
use crate::limits;
use crate::pane::Kind;
use crate::turn::Coarse;
use crate::turn::Turn;
use crate::turn::TurnState;

/// The looks that were taken at a pane since its rollout last grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub last: Option<Timestamp>,
}

impl Looks {
    /// The looks after one at `now`. Looks from before the rollout last grew do not count.
    pub fn after(self, now: Timestamp, grew_at: Timestamp) -> Self {
        Self { count: self.since(grew_at).saturating_add(1), last: Some(now) }
    }

    /// How many of them came after the rollout last grew.
    fn since(self, grew_at: Timestamp) -> u32 {
        match self.last {
            Some(last) if last > grew_at => self.count,
            Some(_) | None => 0,
        }
    }
}

/// When the pane of a session is to be looked at next; never while no turn runs or no tool call is open.
///
/// Two seconds after the rollout last grew, then with doubling gaps up to [`limits::LOOK_GAP_MAX`].
pub fn next_look(turn: &Turn, grew_at: Timestamp, looks: Looks) -> Option<Timestamp> {
    let calls_open = !turn.open_calls.is_empty() || turn.open_calls_more > 0;
    match turn.coarse() {
        Coarse::Busy if calls_open => {}
        Coarse::Busy | Coarse::Idle | Coarse::Unknown => return None,
    }
    let count = looks.since(grew_at);
    Some(match (count, looks.last) {
        (0, _) | (_, None) => grew_at.plus(limits::LOOK_AFTER),
        (count, Some(last)) => last.plus(gap(count)),
    })
}

/// The gap behind the `count`-th look.
fn gap(count: u32) -> Duration {
    let doubled = 2u32.saturating_pow(count.saturating_sub(1));
    limits::LOOK_AFTER.saturating_mul(doubled).min(limits::LOOK_GAP_MAX)
}

/// What a kind of screen says about the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Implies {
    /// A turn runs.
    Turn,
    /// No turn runs.
    NoTurn,
    /// It may go with both.
    Either,
}

const fn implied(kind: Kind) -> Implies {
    match kind {
        Kind::Busy | Kind::Retrying | Kind::ApprovalPrompt | Kind::McpApprovalPrompt => Implies::Turn,
        // Codex shows the questions about trust, hooks, sign-in and updates before it takes a first message.
        Kind::Idle
        | Kind::TrustPrompt
        | Kind::HooksReviewPrompt
        | Kind::LoginPrompt
        | Kind::UpdatePrompt
        | Kind::Rewind
        | Kind::RateLimited
        | Kind::UsageLimited
        | Kind::ContextFull
        | Kind::StreamError
        | Kind::Compacted
        | Kind::Quit => Implies::NoTurn,
        Kind::PlanPrompt | Kind::Picker | Kind::Reconnecting | Kind::Unknown => Implies::Either,
    }
}

/// Two words that cannot both be true: the rollout's and the pane's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What the turn's records say.
    pub rollout_says: TurnState,
    /// What the screen shows.
    pub pane_says: Kind,
}

/// Whether what a pane shows contradicts the rollout, which recorded nothing for `silence` (`None` when nothing was ever
/// recorded).
///
/// Within a moment of a record nothing does: screen and file are not written in the same instant.
pub fn contradiction(state: TurnState, silence: Option<Duration>, kind: Kind) -> Option<Contradiction> {
    if silence.is_some_and(|silence| silence < limits::CONTRADICTION_AFTER) {
        return None;
    }
    let contradicts = match (state.coarse(), implied(kind)) {
        (Coarse::Busy, Implies::NoTurn) | (Coarse::Idle | Coarse::Unknown, Implies::Turn) => true,
        (Coarse::Busy, Implies::Turn | Implies::Either)
        | (Coarse::Idle | Coarse::Unknown, Implies::NoTurn | Implies::Either) => false,
    };
    contradicts.then_some(Contradiction { rollout_says: state, pane_says: kind })
}

/// What the look at a pane came to, as far as attention is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The screen is of this kind.
    Shows(Kind),
    /// The pinned pane is gone, or another program has its place.
    Gone,
    /// Nobody could look.
    Unseen,
}

/// A sort of attention that looking at a session raises and clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// A screen of this kind.
    Screen(Kind),
    /// The pinned pane is gone.
    PaneGone,
    /// The agent's process has ended.
    ProcessDead,
}

impl Trouble {
    /// The word under which attention is raised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Screen(kind) => kind.as_str(),
            Self::PaneGone => "pane_gone",
            Self::ProcessDead => "process_dead",
        }
    }

    /// All that this module raises; attention of any other sort is not its own to clear.
    pub const ALL: [Self; 15] = [
        Self::Screen(Kind::ApprovalPrompt),
        Self::Screen(Kind::McpApprovalPrompt),
        Self::Screen(Kind::TrustPrompt),
        Self::Screen(Kind::HooksReviewPrompt),
        Self::Screen(Kind::LoginPrompt),
        Self::Screen(Kind::UpdatePrompt),
        Self::Screen(Kind::PlanPrompt),
        Self::Screen(Kind::Picker),
        Self::Screen(Kind::Rewind),
        Self::Screen(Kind::RateLimited),
        Self::Screen(Kind::UsageLimited),
        Self::Screen(Kind::ContextFull),
        Self::Screen(Kind::Quit),
        Self::PaneGone,
        Self::ProcessDead,
    ];

    /// The trouble that a word stands for.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.as_str() == word)
    }
}

/// What wants attention, as the screen, the last error of the turn (Codex's own word) and the process say.
pub fn troubles(sight: Sight, turn: &Turn, process_alive: Option<bool>) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    match sight {
        Sight::Shows(kind) => troubles.extend(Some(Trouble::Screen(kind)).filter(|_| wants_attention(kind))),
        Sight::Gone => troubles.push(Trouble::PaneGone),
        Sight::Unseen => {}
    }
    if let Some(trouble) = of_error(turn).map(Trouble::Screen).filter(|one| !troubles.contains(one)) {
        troubles.push(trouble);
    }
    if process_alive == Some(false) {
        troubles.push(Trouble::ProcessDead);
    }
    troubles
}

/// Whether what was raised before is over, given what was found now. Without a look at the pane, what only the pane
/// shows stays.
pub fn is_over(
    raised: Trouble,
    found: &[Trouble],
    sight: Sight,
    turn: &Turn,
    process_alive: Option<bool>,
) -> bool {
    let judged = match (raised, sight) {
        (Trouble::Screen(_) | Trouble::PaneGone, Sight::Shows(_) | Sight::Gone) => true,
        (Trouble::Screen(kind), Sight::Unseen) => is_quota(kind) && went_on(turn),
        (Trouble::PaneGone, Sight::Unseen) => false,
        (Trouble::ProcessDead, _) => process_alive.is_some(),
    };
    judged && !found.contains(&raised)
}

/// Whether a kind of screen is the end of a turn that failed for want of something, which the next turn leaves behind.
const fn is_quota(kind: Kind) -> bool {
    matches!(kind, Kind::RateLimited | Kind::UsageLimited | Kind::ContextFull)
}

/// Whether the rollout shows that the model works or has answered since.
fn went_on(turn: &Turn) -> bool {
    match turn.state {
        TurnState::Busy | TurnState::Compacting => true,
        TurnState::Idle => turn.receipt.as_ref().is_some_and(|end| end.last_agent_message.is_some()),
        TurnState::Unknown | TurnState::Aborted | TurnState::Errored => false,
    }
}

const fn wants_attention(kind: Kind) -> bool {
    match kind {
        Kind::ApprovalPrompt
        | Kind::McpApprovalPrompt
        | Kind::TrustPrompt
        | Kind::HooksReviewPrompt
        | Kind::LoginPrompt
        | Kind::UpdatePrompt
        | Kind::PlanPrompt
        | Kind::Picker
        | Kind::Rewind
        | Kind::RateLimited
        | Kind::UsageLimited
        | Kind::ContextFull
        | Kind::Quit => true,
        Kind::Idle
        | Kind::Busy
        | Kind::Retrying
        | Kind::Reconnecting
        | Kind::StreamError
        | Kind::Compacted
        | Kind::Unknown => false,
    }
}

/// The screen that the last turn's error shows, as far as it wants attention. The words are Codex 0.169's; up to 0.144
/// errors are in no rollout.
pub fn of_error(turn: &Turn) -> Option<Kind> {
    if turn.state != TurnState::Errored {
        return None;
    }
    match turn.receipt.as_ref()?.error.as_ref()?.info.as_deref()? {
        "usage_limit_exceeded" => Some(Kind::UsageLimited),
        "rate_limit_exceeded" | "response_too_many_failed_attempts" => Some(Kind::RateLimited),
        "context_window_exceeded" => Some(Kind::ContextFull),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::TurnError;
    use crate::turn::OpenCall;
    use crate::turn::Outcome;
    use crate::turn::TurnEnd;

    const LONG: Option<Duration> = Some(Duration::from_secs(10));

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn running() -> Turn {
        let call = OpenCall { call_id: "c".to_owned(), name: None, since: None };
        Turn { state: TurnState::Busy, open_calls: vec![call], ..Turn::default() }
    }

    fn failed(info: &str) -> Turn {
        let error = TurnError { message: String::new(), info: Some(info.to_owned()), http_status: None };
        let receipt = TurnEnd {
            outcome: Outcome::Errored,
            turn_id: None,
            at: None,
            offset: 0,
            completed_at: None,
            duration_ms: None,
            time_to_first_token_ms: None,
            last_agent_message: None,
            error: Some(error),
            reason: None,
            inferred: false,
        };
        Turn { state: TurnState::Errored, receipt: Some(receipt), ..Turn::default() }
    }

    #[test]
    fn nobody_looks_at_the_panes_of_idle_sessions() {
        for state in [TurnState::Idle, TurnState::Aborted, TurnState::Errored, TurnState::Unknown] {
            assert_eq!(next_look(&Turn { state, ..running() }, at(0), Looks::default()), None);
        }
        let thinking = Turn { open_calls: vec![], ..running() };
        assert_eq!(next_look(&thinking, at(0), Looks::default()), None);
        let many = Turn { open_calls_more: 1, ..thinking };
        assert_eq!(next_look(&many, at(0), Looks::default()), Some(at(2)));
    }

    #[test]
    fn the_gaps_double_up_to_thirty_seconds_and_begin_anew_with_growth() {
        let turn = running();
        let (mut looks, mut due) = (Looks::default(), Vec::new());
        for _ in 0..8 {
            let next = next_look(&turn, at(0), looks).unwrap();
            due.push(next.as_millis() / 1_000);
            looks = looks.after(next, at(0));
        }
        assert_eq!(due, [2, 4, 8, 16, 32, 62, 92, 122]);
        assert_eq!(next_look(&turn, at(130), looks), Some(at(132)));
        assert_eq!(looks.after(at(132), at(130)).count, 1);
    }

    #[test]
    fn a_pane_contradicts_only_after_a_moment_of_silence() {
        let moment = Some(Duration::from_millis(1_999));
        assert_eq!(contradiction(TurnState::Busy, moment, Kind::Idle), None);
        let found = contradiction(TurnState::Busy, LONG, Kind::Idle).unwrap();
        assert_eq!((found.rollout_says.as_str(), found.pane_says.as_str()), ("busy", "idle"));
        assert!(contradiction(TurnState::Idle, moment, Kind::Busy).is_none());
        assert!(contradiction(TurnState::Aborted, LONG, Kind::Busy).is_some());
        assert!(
            contradiction(TurnState::Unknown, None, Kind::Busy).is_some(),
            "it works in a thread nobody knows"
        );
        assert!(contradiction(TurnState::Idle, LONG, Kind::ApprovalPrompt).is_some());
        assert!(contradiction(TurnState::Busy, LONG, Kind::ApprovalPrompt).is_none());
        assert!(
            contradiction(TurnState::Busy, LONG, Kind::Quit).is_some(),
            "no record tells that it was killed"
        );
        assert!(contradiction(TurnState::Unknown, None, Kind::TrustPrompt).is_none());
        assert!(contradiction(TurnState::Busy, LONG, Kind::Picker).is_none());
    }

    #[test]
    fn a_word_and_its_trouble_belong_together() {
        for trouble in Trouble::ALL {
            assert_eq!(Trouble::of_word(trouble.as_str()), Some(trouble));
            if let Trouble::Screen(kind) = trouble {
                assert!(wants_attention(kind));
            }
        }
        assert_eq!(Trouble::of_word("delivery_waits"), None);
    }

    #[test]
    fn what_only_a_pane_shows_is_not_cleared_without_a_look() {
        let over = |raised, found: &[Trouble], sight, alive| is_over(raised, found, sight, &running(), alive);
        let approval = Trouble::Screen(Kind::ApprovalPrompt);
        assert!(!over(approval, &[], Sight::Unseen, Some(true)));
        assert!(over(approval, &[], Sight::Shows(Kind::Busy), None));
        assert!(over(approval, &[Trouble::PaneGone], Sight::Gone, None));
        assert!(!over(approval, &[approval], Sight::Shows(Kind::ApprovalPrompt), None));
        assert!(over(Trouble::ProcessDead, &[], Sight::Unseen, Some(true)));
        assert!(!over(Trouble::ProcessDead, &[], Sight::Unseen, None));
        let limited = Trouble::Screen(Kind::UsageLimited);
        assert!(over(limited, &[], Sight::Unseen, None), "a turn runs again");
        assert!(!is_over(limited, &[], Sight::Unseen, &Turn::default(), None));
    }

    #[test]
    fn a_quota_is_seen_in_the_rollout_too() {
        let turn = failed("usage_limit_exceeded");
        let limited = Trouble::Screen(Kind::UsageLimited);
        assert_eq!(troubles(Sight::Unseen, &turn, None), [limited]);
        assert_eq!(troubles(Sight::Shows(Kind::UsageLimited), &turn, Some(true)), [limited]);
        let went_on = Turn { state: TurnState::Busy, ..turn };
        assert_eq!(troubles(Sight::Unseen, &went_on, None), []);
        assert_eq!(
            troubles(Sight::Gone, &failed("other"), Some(false)),
            [Trouble::PaneGone, Trouble::ProcessDead]
        );
    }
}
