//! The recovery table: what whoever holds the lease of a message does next, from what it sees.

use std::time::Duration;

use crate::delivery::Hold;
use crate::delivery::Stage;
use crate::limits;
use crate::pane;

/// The pane that the delivery was, or will be, typed into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The pinned pane still runs the same process.
    Reachable,
    /// Pane, process or tmux server are gone; the turn ended with the process (an embedded session).
    Died,
    /// Pane, process or tmux server are gone; a daemon may go on with the turn.
    Lost,
}

/// The named tmux buffers of the epoch that began the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// Just deleted by us: it was never pasted and now never can be.
    Withdrawn,
    /// Gone already: it was pasted.
    Pasted,
    /// The server that held it is gone, or it was not asked because nothing had begun.
    NotKnown,
}

/// What the composer holds, seen from one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Composer {
    /// Nothing but a placeholder.
    Empty,
    /// Our label and only what is ours.
    Ours,
    /// Our label beside something that we did not write.
    OursAndForeign,
    /// Something that we did not write.
    Foreign,
    /// No composer is on the screen: a dialog, a picker, another program.
    Hidden,
}

/// All that a decision about one message rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Where the ledger says that it stands.
    pub stage: Stage,
    /// The pane.
    pub target: Target,
    /// The buffers of the last epoch that began the effect.
    pub buffer: Buffer,
    /// What the screen shows.
    pub screen: pane::Kind,
    /// Somebody scrolls in the pane: tmux's copy mode takes keys away from the program.
    pub copy_mode: bool,
    /// A list of commands or files is open over the composer: it would eat the submit key.
    pub popup: bool,
    /// What the composer holds.
    pub composer: Composer,
    /// The token stands in the agent's list of pending or queued messages.
    pub queued: bool,
    /// A record behind the noted offset holds the token.
    pub recorded: bool,
    /// The session has left its thread for one that is not proved: a record of it would not be found.
    pub thread_left: bool,
    /// A turn is running, as far as the rollout tells.
    pub turn_running: bool,
    /// Since the last thing that was done: the effect begun, or the submit key sent.
    pub since_step: Duration,
    /// For how long every look has found the message nowhere; zero at the first such look.
    pub nowhere_for: Duration,
}

/// Why nothing is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// A person has paused it, or has taken its target over.
    Held(Hold),
    /// The agent has it in its queue.
    Queued,
    /// Something that we did not write stands in the composer.
    Draft,
    /// The screen shows something that must not be typed into.
    Screen(pane::Kind),
    /// A person scrolls in the pane.
    CopyMode,
    /// A list of commands or files is open over the composer.
    Popup,
    /// The paste is not shown yet, or the record is not written yet.
    NotYet,
    /// It was found nowhere once; a second look must confirm that.
    SecondLook,
    /// A turn is running, at whose end it can still be recorded.
    TurnRunning,
    /// The session has left its thread, and which one it has now is not proved.
    Thread,
}

/// A row of the recovery table in `docs/delivery.md`; the fault loop must reach each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Row {
    /// No effect began: type it.
    NotBegun,
    /// The effect began, the buffers could be withdrawn: type it again.
    NeverPasted,
    /// Pasted and unsent: the submit key only.
    PastedOnly,
    /// Our text stands beside a person's.
    BesideDraft,
    /// The agent holds it in its queue.
    InQueue,
    /// A record holds it.
    InRecord,
    /// It is nowhere.
    Nowhere,
    /// Pane or server are gone.
    TargetGone,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Load label and body, begin the effect, paste.
    Type,
    /// Press the submit key; the text is there already.
    Press,
    /// Nothing now; look again when something changes.
    Wait(Wait),
    /// Settle it as recorded.
    Record,
    /// Settle it as unproved: it may have been delivered, and it is not sent again by itself.
    Unproved,
    /// Settle it as failed: the target died before any record.
    Failed,
    /// Settle it as blocked: a person's draft kept it for too long.
    BlockedByDraft,
}

/// The decision and the row of the table that made it. Rows are tried in the order of the strength of their proof.
pub fn decide(sight: &Sight) -> (Row, Decision) {
    if sight.recorded {
        return (Row::InRecord, Decision::Record);
    }
    match (sight.stage.is_open_effect(), sight.target) {
        (true, Target::Died) => (Row::TargetGone, Decision::Failed),
        (true, Target::Lost) => (Row::TargetGone, Decision::Unproved),
        (false, Target::Died | Target::Lost) => (Row::TargetGone, Decision::Failed),
        (false, Target::Reachable) => (Row::NotBegun, begin(sight)),
        (true, Target::Reachable) => begun(sight),
    }
}

/// Nothing has begun: type if the screen allows it.
fn begin(sight: &Sight) -> Decision {
    match screen(sight) {
        Some(wait) => Decision::Wait(wait),
        None if sight.thread_left => Decision::Wait(Wait::Thread),
        None => match sight.composer {
            Composer::Empty => Decision::Type,
            Composer::Ours | Composer::OursAndForeign | Composer::Foreign => Decision::Wait(Wait::Draft),
            Composer::Hidden => Decision::Wait(Wait::Screen(sight.screen)),
        },
    }
}

/// The effect began, in this attempt or in one that was killed.
fn begun(sight: &Sight) -> (Row, Decision) {
    if sight.queued {
        return (Row::InQueue, Decision::Wait(Wait::Queued));
    }
    if sight.stage == Stage::EffectStarted && sight.buffer == Buffer::Withdrawn {
        return (Row::NeverPasted, begin(sight));
    }
    match sight.composer {
        Composer::Ours => (Row::PastedOnly, press(sight)),
        // Half a paste looks like a draft for a moment.
        Composer::OursAndForeign if sight.since_step < limits::PASTE_SHOWN => {
            (Row::BesideDraft, Decision::Wait(Wait::NotYet))
        }
        Composer::OursAndForeign if sight.since_step < limits::DRAFT_PATIENCE => {
            (Row::BesideDraft, Decision::Wait(Wait::Draft))
        }
        Composer::OursAndForeign => (Row::BesideDraft, Decision::BlockedByDraft),
        Composer::Hidden => (Row::Nowhere, Decision::Wait(Wait::Screen(sight.screen))),
        Composer::Empty | Composer::Foreign => (Row::Nowhere, nowhere(sight)),
    }
}

/// Our text stands in the composer: the submit key, unless it went out a moment ago and is not drawn yet.
fn press(sight: &Sight) -> Decision {
    let just_pressed = sight.stage == Stage::Submitted && sight.since_step < limits::KEY_SHOWN;
    match screen(sight) {
        Some(wait) => Decision::Wait(wait),
        None if just_pressed => Decision::Wait(Wait::NotYet),
        None => Decision::Press,
    }
}

/// Neither composer nor queue nor record hold it.
fn nowhere(sight: &Sight) -> Decision {
    let expected = match sight.stage {
        Stage::EffectStarted => limits::PASTE_SHOWN,
        Stage::Submitted
        | Stage::Pending
        | Stage::Leased
        | Stage::Recorded
        | Stage::Answered
        | Stage::Blocked
        | Stage::Failed
        | Stage::Expired
        | Stage::Unproved
        | Stage::Cancelled => limits::RECORD_EXPECTED,
    };
    let is_being_drawn = sight.stage == Stage::EffectStarted && sight.since_step < expected;
    if is_being_drawn && screen(sight).is_none() {
        // Also beside a running turn: the paste is about to appear, and only then the key can follow.
        Decision::Wait(Wait::NotYet)
    } else if sight.turn_running || sight.screen.is_running() || screen(sight).is_some() {
        Decision::Wait(Wait::TurnRunning)
    } else if sight.since_step < expected {
        Decision::Wait(Wait::NotYet)
    } else if sight.nowhere_for < limits::UNPROVED_LOOKS_APART {
        Decision::Wait(Wait::SecondLook)
    } else {
        Decision::Unproved
    }
}

/// Why the screen forbids typing, if it does.
///
/// A running turn does not: the submit key queues the text for the next turn (measured, 32 of 32).
fn screen(sight: &Sight) -> Option<Wait> {
    if sight.copy_mode {
        Some(Wait::CopyMode)
    } else if !sight.screen.takes_input() {
        Some(Wait::Screen(sight.screen))
    } else if sight.popup {
        Some(Wait::Popup)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEEN: Sight = Sight {
        stage: Stage::Leased,
        target: Target::Reachable,
        buffer: Buffer::NotKnown,
        screen: pane::Kind::Idle,
        copy_mode: false,
        popup: false,
        composer: Composer::Empty,
        queued: false,
        recorded: false,
        thread_left: false,
        turn_running: false,
        since_step: Duration::ZERO,
        nowhere_for: Duration::ZERO,
    };
    const PASTED: Sight = Sight { stage: Stage::EffectStarted, buffer: Buffer::Pasted, ..SEEN };
    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn the_rows_of_the_table() {
        let table = [
            (SEEN, Row::NotBegun, Decision::Type),
            (Sight { buffer: Buffer::Withdrawn, ..PASTED }, Row::NeverPasted, Decision::Type),
            (Sight { composer: Composer::Ours, ..PASTED }, Row::PastedOnly, Decision::Press),
            (
                Sight { composer: Composer::OursAndForeign, ..PASTED },
                Row::BesideDraft,
                Decision::Wait(Wait::NotYet),
            ),
            (
                Sight { composer: Composer::OursAndForeign, since_step: Duration::from_secs(5), ..PASTED },
                Row::BesideDraft,
                Decision::Wait(Wait::Draft),
            ),
            (
                Sight { composer: Composer::OursAndForeign, since_step: LONG, ..PASTED },
                Row::BesideDraft,
                Decision::BlockedByDraft,
            ),
            (Sight { queued: true, ..PASTED }, Row::InQueue, Decision::Wait(Wait::Queued)),
            (Sight { recorded: true, ..PASTED }, Row::InRecord, Decision::Record),
            (PASTED, Row::Nowhere, Decision::Wait(Wait::NotYet)),
            (Sight { since_step: LONG, ..PASTED }, Row::Nowhere, Decision::Wait(Wait::SecondLook)),
            (Sight { since_step: LONG, nowhere_for: LONG, ..PASTED }, Row::Nowhere, Decision::Unproved),
            (Sight { target: Target::Died, ..PASTED }, Row::TargetGone, Decision::Failed),
            (Sight { target: Target::Lost, ..PASTED }, Row::TargetGone, Decision::Unproved),
            (Sight { target: Target::Lost, ..SEEN }, Row::TargetGone, Decision::Failed),
        ];
        for (sight, row, decision) in table {
            assert_eq!(decide(&sight), (row, decision), "{sight:?}");
        }
    }

    #[test]
    fn nothing_is_typed_while_the_thread_is_unknown_and_what_was_typed_goes_on() {
        let left = Sight { thread_left: true, ..SEEN };
        assert_eq!(decide(&left), (Row::NotBegun, Decision::Wait(Wait::Thread)));
        let ours = Sight { thread_left: true, composer: Composer::Ours, ..PASTED };
        assert_eq!(decide(&ours), (Row::PastedOnly, Decision::Press));
    }

    #[test]
    fn a_paste_that_is_not_drawn_yet_is_not_given_back_because_a_turn_is_running() {
        let busy = Sight { turn_running: true, screen: pane::Kind::Busy, ..PASTED };
        assert_eq!(decide(&busy), (Row::Nowhere, Decision::Wait(Wait::NotYet)));
        let late = Sight { since_step: limits::PASTE_SHOWN, ..busy };
        assert_eq!(decide(&late), (Row::Nowhere, Decision::Wait(Wait::TurnRunning)));
        let submitted = Sight { stage: Stage::Submitted, ..busy };
        assert_eq!(decide(&submitted), (Row::Nowhere, Decision::Wait(Wait::TurnRunning)));
    }

    #[test]
    fn nothing_is_typed_into_a_draft_or_a_dialog() {
        for composer in [Composer::Foreign, Composer::Ours, Composer::OursAndForeign, Composer::Hidden] {
            let (_, decision) = decide(&Sight { composer, ..SEEN });
            assert!(matches!(decision, Decision::Wait(_)), "{composer:?}: {decision:?}");
        }
    }

    fn sights() -> impl Strategy<Value = Sight> {
        let flags = proptest::array::uniform6(any::<bool>());
        let stages = proptest::sample::select(vec![Stage::Leased, Stage::EffectStarted, Stage::Submitted]);
        let targets = proptest::sample::select(vec![Target::Reachable, Target::Died, Target::Lost]);
        let buffers = proptest::sample::select(vec![Buffer::Withdrawn, Buffer::Pasted, Buffer::NotKnown]);
        let composers = proptest::sample::select(vec![
            Composer::Empty,
            Composer::Ours,
            Composer::OursAndForeign,
            Composer::Foreign,
            Composer::Hidden,
        ]);
        let screens = proptest::sample::select(vec![
            pane::Kind::Idle,
            pane::Kind::Busy,
            pane::Kind::ApprovalPrompt,
            pane::Kind::Reconnecting,
            pane::Kind::Unknown,
        ]);
        let times = (0_u64..1_000, 0_u64..10);
        (stages, targets, buffers, composers, screens, flags, times).prop_map(
            |(
                stage,
                target,
                buffer,
                composer,
                screen,
                [copy_mode, popup, queued, recorded, thread_left, turn_running],
                times,
            )| Sight {
                stage,
                target,
                buffer,
                screen,
                copy_mode,
                popup,
                composer,
                queued,
                recorded,
                thread_left,
                turn_running,
                since_step: Duration::from_secs(times.0),
                nowhere_for: Duration::from_secs(times.1),
            },
        )
    }

    proptest! {
        #[test]
        fn what_may_have_been_seen_is_typed_again_only_if_it_was_withdrawn(sight in sights()) {
            let (_, decision) = decide(&sight);
            if decision == Decision::Type && sight.stage != Stage::Leased {
                prop_assert_eq!(sight.stage, Stage::EffectStarted);
                prop_assert_eq!(sight.buffer, Buffer::Withdrawn);
            }
        }

        #[test]
        fn the_submit_key_needs_a_composer_that_holds_only_ours(sight in sights()) {
            if decide(&sight).1 == Decision::Press {
                prop_assert_eq!(sight.composer, Composer::Ours);
                prop_assert!(!sight.copy_mode && screen(&sight).is_none());
            }
        }

        #[test]
        fn a_record_always_wins(sight in sights()) {
            let seen = Sight { recorded: true, ..sight };
            prop_assert_eq!(decide(&seen).1, Decision::Record);
        }
    }
}
