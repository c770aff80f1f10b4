//! Pause and take-over: what they keep back, decided here so that each who carries out decides alike.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::kind::Kind;
use super::stage::Stage;

/// Why nothing is delivered to a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The session was paused.
    SessionPaused,
    /// A person drives it.
    TakenOver,
    /// Its task was paused.
    TaskPaused,
}

impl Hold {
    /// What a report says of it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SessionPaused => "the session is paused",
            Self::TakenOver => "a person has taken the session over",
            Self::TaskPaused => "the task is paused",
        }
    }
}

/// What holds a delivery's target, and the task that it belongs to, at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Holds {
    /// The target was paused.
    pub session_paused: bool,
    /// A person drives the target.
    pub taken_over: bool,
    /// The delivery's task was paused, or the one on which its target works.
    pub task_paused: bool,
}

impl Holds {
    /// The strongest hold: what a person would have to end first.
    pub const fn strongest(self) -> Option<Hold> {
        match self {
            Self { taken_over: true, .. } => Some(Hold::TakenOver),
            Self { session_paused: true, .. } => Some(Hold::SessionPaused),
            Self { task_paused: true, .. } => Some(Hold::TaskPaused),
            Self { .. } => None,
        }
    }
}

/// What a hold means for a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passage {
    /// It goes.
    Goes,
    /// It waits until the hold ends.
    Waits(Hold),
    /// It ends: it is a key, and what is right on this screen is wrong on a later one.
    Ends(Hold),
}

/// Whether a delivery may be carried out, or carried on.
///
/// What an agent may have seen already is finished. An end, and the interrupt that belongs to it, comes to whoever is
/// held; a task that is paused may still be interrupted, for that brings nothing and wakes nobody.
pub const fn passage(kind: Kind, stage: Stage, belongs_to_stop: bool, holds: Holds) -> Passage {
    let Some(hold) = holds.strongest() else { return Passage::Goes };
    let begun = match stage {
        Stage::Pending | Stage::Leased => false,
        Stage::EffectStarted
        | Stage::Submitted
        | Stage::Recorded
        | Stage::Answered
        | Stage::Blocked
        | Stage::Failed
        | Stage::Expired
        | Stage::Unproved
        | Stage::Cancelled => true,
    };
    if begun || belongs_to_stop {
        return Passage::Goes;
    }
    match (kind, hold) {
        (Kind::Stop, _) | (Kind::Interrupt, Hold::TaskPaused) => Passage::Goes,
        (Kind::Answer | Kind::Interrupt | Kind::Slash, _) => Passage::Ends(hold),
        (Kind::NotifyManager | Kind::NudgeWorker | Kind::SessionNudge | Kind::WorkerTaskComplete, _) => {
            Passage::Waits(hold)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Holds; 8] = {
        let mut all = [Holds { session_paused: false, taken_over: false, task_paused: false }; 8];
        let mut n = 0;
        while n < 8 {
            all[n] = Holds { session_paused: n & 1 > 0, taken_over: n & 2 > 0, task_paused: n & 4 > 0 };
            n += 1;
        }
        all
    };

    #[test]
    fn no_message_begins_while_anything_holds_and_each_goes_when_nothing_does() {
        for kind in Kind::ALL.iter().filter(|kind| kind.is_message()) {
            for holds in ALL {
                for stage in [Stage::Pending, Stage::Leased] {
                    let expected = holds.strongest().map_or(Passage::Goes, Passage::Waits);
                    assert_eq!(passage(*kind, stage, false, holds), expected, "{kind} {holds:?}");
                }
            }
        }
    }

    #[test]
    fn what_has_begun_is_finished_and_an_end_comes_to_everybody() {
        for holds in ALL {
            for kind in Kind::ALL {
                assert_eq!(passage(*kind, Stage::EffectStarted, false, holds), Passage::Goes);
                assert_eq!(passage(*kind, Stage::Submitted, false, holds), Passage::Goes);
            }
            assert_eq!(passage(Kind::Stop, Stage::Pending, false, holds), Passage::Goes);
            assert_eq!(passage(Kind::Interrupt, Stage::Pending, true, holds), Passage::Goes);
        }
    }

    #[test]
    fn a_key_is_never_kept_for_a_later_screen() {
        let held = Holds { taken_over: true, ..Holds::default() };
        for kind in [Kind::Answer, Kind::Interrupt, Kind::Slash] {
            assert_eq!(passage(kind, Stage::Leased, false, held), Passage::Ends(Hold::TakenOver));
        }
        let paused = Holds { task_paused: true, ..Holds::default() };
        assert_eq!(passage(Kind::Interrupt, Stage::Leased, false, paused), Passage::Goes);
        assert_eq!(passage(Kind::Answer, Stage::Leased, false, paused), Passage::Ends(Hold::TaskPaused));
    }
}
