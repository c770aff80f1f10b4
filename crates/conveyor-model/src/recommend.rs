//! What a manager may do next. Advice only: nothing acts on it, and the manager's own judgement goes before.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::limits;
use crate::negotiation::CriteriaCounts;
use crate::pane::Kind;
use crate::turn::Coarse;
use crate::turn::TurnState;

/// The four moves of the manager's loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let it work.
    Wait,
    /// Speak to it, or press Enter for it.
    Nudge,
    /// Interrupt its turn.
    Interrupt,
    /// Finish the task, or turn to a person.
    Escalate,
}

/// Why that move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A person has taken the worker over, or deliveries to it are held back.
    HeldByAPerson,
    /// Its process has ended.
    ProcessDead,
    /// Its pane is gone.
    PaneGone,
    /// Its program has quit.
    Quit,
    /// It asks for an approval.
    ApprovalAsked,
    /// It shows a question that Enter may answer.
    QuestionAsked,
    /// It shows a dialog that only a person answers.
    DialogForAPerson,
    /// The account's allowance is used up.
    UsageLimited,
    /// The provider refused the last turn because of too many requests.
    RateLimited,
    /// Its context window is full.
    ContextFull,
    /// The connection to its server is lost.
    Reconnecting,
    /// A message to it is on its way.
    MessageOnItsWay,
    /// It works.
    Working,
    /// It works, and a tool call takes its time.
    ToolRuns,
    /// It works, and was silent for longer than the busy-wait time.
    Silent,
    /// It works, and was silent for much longer than that.
    SilentForLong,
    /// Its rollout says that it works, and its screen shows that it does not.
    ScreenIsIdle,
    /// Its rollout says that it rests, and its screen shows that it works.
    ScreenIsBusy,
    /// Its last turn ended in an error.
    TurnFailed,
    /// Its last turn was interrupted.
    TurnAborted,
    /// It rests, and what was agreed is satisfied.
    AllSatisfied,
    /// It rests, and no criteria are agreed on.
    NoCriteria,
    /// It finished a turn, and criteria lack their proof.
    ProofMissing,
    /// It rests.
    Resting,
    /// It recorded nothing yet.
    NothingRecorded,
}

impl Why {
    /// The reason as a sentence without a full stop.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::HeldByAPerson => "a person has paused the worker or taken it over",
            Self::ProcessDead => "the worker's process has ended",
            Self::PaneGone => "the worker's pane is gone",
            Self::Quit => "the worker's program has quit",
            Self::ApprovalAsked => {
                "the worker waits for an approval, which somebody who may give it has to decide"
            }
            Self::QuestionAsked => "the worker shows a question that Enter answers",
            Self::DialogForAPerson => "the worker shows a dialog that only a person answers",
            Self::UsageLimited => "the account's allowance is used up",
            Self::RateLimited => "the provider refused the last turn because of too many requests",
            Self::ContextFull => "the worker's context window is full; it needs a handoff and a compaction",
            Self::Reconnecting => "the worker has lost its connection and tries to get it back",
            Self::MessageOnItsWay => "a message to the worker is on its way",
            Self::Working => "the worker is busy and active",
            Self::ToolRuns => "the worker is busy with a tool call",
            Self::Silent => {
                "the worker is busy and was silent for longer than the busy-wait time; ask for its status"
            }
            Self::SilentForLong => "the worker is busy and was silent for very long",
            Self::ScreenIsIdle => "the rollout says that a turn runs, and the screen shows that none does",
            Self::ScreenIsBusy => "the rollout says that no turn runs, and the screen shows one",
            Self::TurnFailed => "the worker's last turn ended in an error",
            Self::TurnAborted => "the worker's last turn was interrupted, and it is at its prompt",
            Self::AllSatisfied => {
                "all accepted criteria are satisfied; try to disprove that, then finish the task"
            }
            Self::NoCriteria => "the worker is at its prompt, and no criteria are agreed on",
            Self::ProofMissing => "the worker finished a turn, and accepted criteria lack their proof",
            Self::Resting => "the worker is at its prompt",
            Self::NothingRecorded => "the worker recorded nothing yet",
        }
    }
}

/// What is known of the worker and its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// What the rollout says of its turn.
    pub turn_state: TurnState,
    /// It finished a turn of this binding.
    pub task_completed: bool,
    /// What its pane shows.
    pub screen: Option<Kind>,
    /// Its pinned pane is gone.
    pub pane_gone: bool,
    /// Screen and rollout contradict each other.
    pub contradicted: bool,
    /// Whether its process runs; absent when that is not known.
    pub process_alive: Option<bool>,
    /// A person has paused it or taken it over.
    pub held: bool,
    /// How long it has recorded nothing.
    pub silence: Duration,
    /// After how long a silence is worth a question.
    pub busy_wait: Duration,
    /// Whether a tool call is open.
    pub call_open: bool,
    /// Whether a message to it is not settled yet.
    pub message_open: bool,
    /// The task's criteria.
    pub criteria: CriteriaCounts,
}

/// The move that fits, and why. The first thing that stands in the way of work decides.
pub fn recommend(s: &Situation) -> (Action, Why) {
    if s.held {
        return (Action::Wait, Why::HeldByAPerson);
    }
    if s.process_alive == Some(false) {
        return (Action::Escalate, Why::ProcessDead);
    }
    if s.pane_gone {
        return (Action::Escalate, Why::PaneGone);
    }
    if let Some(decided) = s.screen.and_then(|kind| by_screen(s, kind)) {
        return decided;
    }
    match s.turn_state.coarse() {
        Coarse::Busy => busy(s),
        Coarse::Idle | Coarse::Unknown if s.contradicted => (Action::Wait, Why::ScreenIsBusy),
        Coarse::Idle | Coarse::Unknown if s.message_open => (Action::Wait, Why::MessageOnItsWay),
        Coarse::Idle => idle(s),
        Coarse::Unknown => (Action::Nudge, Why::NothingRecorded),
    }
}

/// What a screen decides by itself.
fn by_screen(s: &Situation, kind: Kind) -> Option<(Action, Why)> {
    Some(match kind {
        Kind::ApprovalPrompt | Kind::McpApprovalPrompt => (Action::Escalate, Why::ApprovalAsked),
        Kind::TrustPrompt | Kind::PlanPrompt => (Action::Nudge, Why::QuestionAsked),
        Kind::HooksReviewPrompt | Kind::LoginPrompt | Kind::UpdatePrompt | Kind::Picker | Kind::Rewind => {
            (Action::Escalate, Why::DialogForAPerson)
        }
        Kind::UsageLimited => (Action::Escalate, Why::UsageLimited),
        Kind::RateLimited if s.silence < s.busy_wait => (Action::Wait, Why::RateLimited),
        Kind::RateLimited => (Action::Nudge, Why::RateLimited),
        Kind::ContextFull => (Action::Nudge, Why::ContextFull),
        Kind::Reconnecting => (Action::Wait, Why::Reconnecting),
        Kind::Quit => (Action::Escalate, Why::Quit),
        Kind::Idle | Kind::Busy | Kind::Retrying | Kind::StreamError | Kind::Compacted | Kind::Unknown => {
            return None;
        }
    })
}

fn busy(s: &Situation) -> (Action, Why) {
    if s.contradicted {
        return (Action::Nudge, Why::ScreenIsIdle);
    }
    let long = s.silence >= s.busy_wait.saturating_mul(limits::SILENCE_BEFORE_INTERRUPT);
    if s.silence < s.busy_wait {
        (Action::Wait, Why::Working)
    } else if s.call_open && !long {
        (Action::Wait, Why::ToolRuns)
    } else if !s.call_open && long {
        (Action::Interrupt, Why::SilentForLong)
    } else if s.message_open {
        (Action::Wait, Why::MessageOnItsWay)
    } else {
        (Action::Nudge, Why::Silent)
    }
}

fn idle(s: &Situation) -> (Action, Why) {
    match s.turn_state {
        TurnState::Errored => (Action::Nudge, Why::TurnFailed),
        TurnState::Aborted => (Action::Nudge, Why::TurnAborted),
        TurnState::Idle | TurnState::Busy | TurnState::Compacting | TurnState::Unknown => at_rest(s),
    }
}

fn at_rest(s: &Situation) -> (Action, Why) {
    let open = s.criteria.accepted + s.criteria.proposed;
    if open == 0 && s.criteria.satisfied > 0 {
        (Action::Escalate, Why::AllSatisfied)
    } else if open == 0 {
        (Action::Nudge, Why::NoCriteria)
    } else if s.task_completed && s.criteria.accepted > 0 {
        (Action::Nudge, Why::ProofMissing)
    } else {
        (Action::Nudge, Why::Resting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(90);

    fn at_work() -> Situation {
        Situation {
            turn_state: TurnState::Busy,
            task_completed: false,
            screen: Some(Kind::Busy),
            pane_gone: false,
            contradicted: false,
            process_alive: Some(true),
            held: false,
            silence: Duration::from_secs(3),
            busy_wait: WAIT,
            call_open: false,
            message_open: false,
            criteria: CriteriaCounts { accepted: 1, ..CriteriaCounts::default() },
        }
    }

    fn at_prompt() -> Situation {
        Situation { turn_state: TurnState::Idle, screen: Some(Kind::Idle), ..at_work() }
    }

    #[test]
    fn a_silent_turn_is_asked_before_it_is_interrupted() {
        assert_eq!(recommend(&at_work()), (Action::Wait, Why::Working));
        let silent = |seconds| Situation { silence: Duration::from_secs(seconds), ..at_work() };
        assert_eq!(recommend(&silent(90)), (Action::Nudge, Why::Silent));
        assert_eq!(recommend(&silent(450)), (Action::Interrupt, Why::SilentForLong));
        let with_call = |seconds| Situation { call_open: true, ..silent(seconds) };
        assert_eq!(recommend(&with_call(449)), (Action::Wait, Why::ToolRuns));
        assert_eq!(
            recommend(&with_call(450)),
            (Action::Nudge, Why::Silent),
            "a long build is not interrupted"
        );
        let asked = Situation { message_open: true, ..silent(90) };
        assert_eq!(recommend(&asked), (Action::Wait, Why::MessageOnItsWay));
    }

    #[test]
    fn what_stands_in_the_way_of_work_goes_first() {
        let screen = |kind| recommend(&Situation { screen: Some(kind), ..at_work() });
        assert_eq!(screen(Kind::ApprovalPrompt), (Action::Escalate, Why::ApprovalAsked));
        assert_eq!(screen(Kind::TrustPrompt), (Action::Nudge, Why::QuestionAsked));
        assert_eq!(screen(Kind::UpdatePrompt), (Action::Escalate, Why::DialogForAPerson));
        let dead = Situation { process_alive: Some(false), screen: Some(Kind::ApprovalPrompt), ..at_work() };
        assert_eq!(recommend(&dead), (Action::Escalate, Why::ProcessDead));
        assert_eq!(recommend(&Situation { held: true, ..dead }), (Action::Wait, Why::HeldByAPerson));
        let gone = Situation { pane_gone: true, screen: None, ..at_work() };
        assert_eq!(recommend(&gone), (Action::Escalate, Why::PaneGone));
    }

    #[test]
    fn a_worker_at_its_prompt_is_spoken_to_unless_that_is_done_already() {
        assert_eq!(recommend(&at_prompt()), (Action::Nudge, Why::Resting));
        let done = Situation { task_completed: true, ..at_prompt() };
        assert_eq!(recommend(&done), (Action::Nudge, Why::ProofMissing));
        let sent = Situation { message_open: true, ..done };
        assert_eq!(recommend(&sent), (Action::Wait, Why::MessageOnItsWay));
        let aborted = Situation { turn_state: TurnState::Aborted, ..at_prompt() };
        assert_eq!(recommend(&aborted), (Action::Nudge, Why::TurnAborted));
        let fresh = Situation { turn_state: TurnState::Unknown, screen: None, ..at_prompt() };
        assert_eq!(recommend(&fresh), (Action::Nudge, Why::NothingRecorded));
        let none = Situation { criteria: CriteriaCounts::default(), ..at_prompt() };
        assert_eq!(recommend(&none), (Action::Nudge, Why::NoCriteria));
    }

    #[test]
    fn a_task_is_not_finished_while_a_criterion_lacks_its_proof() {
        let criteria = CriteriaCounts { satisfied: 2, ..CriteriaCounts::default() };
        let done = Situation { criteria, ..at_prompt() };
        assert_eq!(recommend(&done), (Action::Escalate, Why::AllSatisfied));
        let open = CriteriaCounts { proposed: 1, ..criteria };
        assert_ne!(recommend(&Situation { criteria: open, ..done }).0, Action::Escalate);
    }

    #[test]
    fn a_screen_that_contradicts_is_told() {
        let stuck = Situation { contradicted: true, screen: Some(Kind::Idle), ..at_work() };
        assert_eq!(recommend(&stuck), (Action::Nudge, Why::ScreenIsIdle));
        let elsewhere = Situation { contradicted: true, screen: Some(Kind::Busy), ..at_prompt() };
        assert_eq!(recommend(&elsewhere), (Action::Wait, Why::ScreenIsBusy));
    }
}
