//! What of a session's turn belongs to a binding: nothing of the time before it counts.
//!
//! A worker that finished one task and is bound to the next has completed nothing of the next one. What it is doing now
//! ([`Observed::turn_state`]) is told all the same, because the manager has to know whether it may speak.

use std::time::Duration;

use crate::Timestamp;
use crate::turn::Outcome;
use crate::turn::Turn;
use crate::turn::TurnEnd;
use crate::turn::TurnState;

/// Where the worker stood when a binding began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Number of its last record; absent when nothing was recorded before.
    pub event: Option<i64>,
    /// The turn that was running, which belongs to what was before.
    pub turn: Option<String>,
    /// When the binding began.
    pub at: Timestamp,
}

/// A worker's turn as its binding sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed<'a> {
    /// What the worker is doing now, whoever asked for it.
    pub turn_state: TurnState,
    /// No turn began since the last one that ended by itself, and that one belongs to this binding.
    pub task_completed: bool,
    /// The newest turn of this binding that ended by itself.
    pub receipt: Option<&'a TurnEnd>,
    /// Number of the record that is the receipt.
    pub receipt_event: Option<i64>,
    /// How the newest turn of this binding that ended did so.
    pub outcome: Option<Outcome>,
    /// The time of the record of this binding that made the state what it is.
    pub last_state_event_at: Option<Timestamp>,
    /// Whether that time is the time of reading, because the record had none that could be understood.
    pub state_time_is_read: bool,
    /// The time of this binding's last record.
    pub last_event_at: Option<Timestamp>,
    /// Its subtype.
    pub last_event_subtype: Option<&'a str>,
    /// How long the state has lasted, within this binding.
    pub staleness: Option<Duration>,
    /// How long nothing was recorded, within this binding.
    pub silence: Option<Duration>,
}

/// The turn as a binding with these marks sees it at `now`.
pub fn of_binding<'a>(turn: &'a Turn, marks: &Marks, now: Timestamp) -> Observed<'a> {
    let is_after = |id: Option<i64>| id.is_some_and(|id| marks.event.is_none_or(|start| id > start));
    let is_own = |id: Option<i64>, turn_id: Option<&str>| {
        is_after(id) && (marks.turn.is_none() || marks.turn.as_deref() != turn_id)
    };
    let age = |at: Option<Timestamp>| at.map(|at| now.since(at.max(marks.at)));
    let last_is_own = is_after(turn.last_event_id);
    let receipt =
        turn.receipt.as_ref().filter(|receipt| is_own(turn.receipt_event_id, receipt.turn_id.as_deref()));
    Observed {
        turn_state: turn.state,
        task_completed: turn.task_completed() && receipt.is_some(),
        receipt,
        receipt_event: turn.receipt_event_id.filter(|_| receipt.is_some()),
        outcome: turn.outcome.filter(|_| is_own(turn.ended_event_id, turn.ended_turn_id.as_deref())),
        last_state_event_at: turn.since.filter(|_| is_after(turn.state_event_id)),
        state_time_is_read: turn.since_read && is_after(turn.state_event_id),
        last_event_at: turn.last_event_at.filter(|_| last_is_own),
        last_event_subtype: turn.last_event_subtype.as_deref().filter(|_| last_is_own),
        staleness: age(turn.since),
        silence: age(turn.last_event_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Aborted;
    use crate::rollout::Event;
    use crate::rollout::Kind;
    use crate::rollout::Tokens;

    const FIRST: &str = "01a203b3-bb85-70e0-b271-67688f575b07";
    const SECOND: &str = "01a203b3-d56d-7342-9232-f7b8a5294256";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn record(turn: &mut Turn, id: i64, turn_id: &str, subtype: &'static str, kind: Kind) {
        let event = Event {
            at: Some(at(id)),
            turn_id: Some(turn_id.to_owned()),
            subtype: Some(subtype.into()),
            ..Event::of("event_msg".into(), kind)
        };
        turn.observe_stored(&event, id);
    }

    fn start(turn: &mut Turn, id: i64, turn_id: &str) {
        record(turn, id, turn_id, "task_started", Kind::TaskStarted { context_window: None });
    }

    fn complete(turn: &mut Turn, id: i64, turn_id: &str) {
        record(turn, id, turn_id, "task_complete", Kind::TaskComplete(Box::default()));
    }

    fn marks(event: i64, turn: Option<&str>) -> Marks {
        Marks { event: Some(event), turn: turn.map(ToOwned::to_owned), at: at(event) }
    }

    fn finished() -> Turn {
        let mut turn = Turn::default();
        start(&mut turn, 1, FIRST);
        complete(&mut turn, 2, FIRST);
        turn
    }

    #[test]
    fn a_fresh_binding_reports_nothing_of_the_task_before() {
        let turn = finished();
        let observed = of_binding(&turn, &marks(2, None), at(60));
        let expected = Observed {
            turn_state: TurnState::Idle,
            task_completed: false,
            receipt: None,
            receipt_event: None,
            outcome: None,
            last_state_event_at: None,
            state_time_is_read: false,
            last_event_at: None,
            last_event_subtype: None,
            staleness: Some(Duration::from_secs(58)),
            silence: Some(Duration::from_secs(58)),
        };
        assert_eq!(observed, expected);
    }

    #[test]
    fn a_completion_behind_the_start_of_the_binding_is_its_own() {
        let turn = finished();
        let observed = of_binding(&turn, &marks(0, None), at(60));
        assert!(observed.task_completed && observed.receipt.is_some());
        assert_eq!((observed.receipt_event, observed.outcome), (Some(2), Some(Outcome::Completed)));
        assert_eq!(observed.last_state_event_at, Some(at(2)));
        assert_eq!(observed.last_event_subtype, Some("task_complete"));
    }

    #[test]
    fn the_end_of_a_turn_that_was_running_when_the_binding_began_is_not_its_own() {
        let mut turn = Turn::default();
        start(&mut turn, 1, FIRST);
        complete(&mut turn, 5, FIRST);
        let observed = of_binding(&turn, &marks(1, Some(FIRST)), at(60));
        assert!(!observed.task_completed && observed.receipt.is_none() && observed.outcome.is_none());
        start(&mut turn, 6, SECOND);
        complete(&mut turn, 7, SECOND);
        assert!(of_binding(&turn, &marks(1, Some(FIRST)), at(60)).task_completed);
    }

    #[test]
    fn token_count_after_completion_keeps_task_completed() {
        let mut turn = finished();
        record(&mut turn, 3, FIRST, "token_count", Kind::TokenCount(Box::<Tokens>::default()));
        let observed = of_binding(&turn, &marks(0, None), at(60));
        assert!(observed.task_completed);
        assert_eq!(observed.last_event_subtype, Some("token_count"));
        assert_eq!(
            observed.staleness,
            Some(Duration::from_secs(58)),
            "the state is as old as its own record"
        );
        assert_eq!(observed.silence, Some(Duration::from_secs(57)));
    }

    #[test]
    fn turn_aborted_leaves_busy() {
        let mut turn = Turn::default();
        start(&mut turn, 1, FIRST);
        record(&mut turn, 2, FIRST, "turn_aborted", Kind::TurnAborted(Aborted::default()));
        let observed = of_binding(&turn, &marks(0, None), at(60));
        assert_eq!(observed.turn_state, TurnState::Aborted);
        assert_eq!((observed.outcome, observed.task_completed), (Some(Outcome::Aborted), false));
    }

    #[test]
    fn a_time_that_cannot_be_understood_is_the_time_of_reading() {
        let mut turn = finished();
        let started = Event::of("event_msg".into(), Kind::TaskStarted { context_window: None });
        let undated = Event { at: Some(at(30)), at_original: Some("[1]".to_owned()), ..started };
        turn.observe_stored(&undated, 3);
        let observed = of_binding(&turn, &marks(0, None), at(60));
        assert_eq!((observed.last_state_event_at, observed.state_time_is_read), (Some(at(30)), true));
        complete(&mut turn, 31, FIRST);
        assert!(!of_binding(&turn, &marks(0, None), at(60)).state_time_is_read);
    }

    #[test]
    fn a_record_of_the_future_has_no_age() {
        let turn = finished();
        assert_eq!(of_binding(&turn, &marks(0, None), at(1)).staleness, Some(Duration::ZERO));
    }
}
