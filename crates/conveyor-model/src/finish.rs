//! Whether a task may be finished: all gates at once, from facts that were gathered before.

use crate::time::Timestamp;

/// How old the decision may be that an end rests on, in milliseconds.
const DECISION_AGE_MS: i64 = 900_000;

/// A criterion by number and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number.
    pub id: i64,
    /// Its text.
    pub text: String,
}

/// Why the check of a criterion does not speak for the work as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It never ran.
    Never,
    /// It ran and failed.
    Failed,
    /// It passed on another tree than the one that is there now.
    Moved,
    /// It passed on what is committed, and the working tree differs from that.
    Dirty,
}

/// What is wrong with the decision that an end should rest on. The names are the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionFault {
    /// None was named.
    Missing,
    /// There is none with that number.
    NotFound,
    /// It was made for another task.
    OtherTask,
    /// It is not the decision to stop.
    NotStop,
    /// It is too old.
    Stale,
}

impl DecisionFault {
    /// The word that reports use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_decision_id",
            Self::NotFound => "decision_not_found",
            Self::OtherTask => "decision_task_mismatch",
            Self::NotStop => "decision_mismatch",
            Self::Stale => "decision_stale",
        }
    }
}

/// A decision as far as an end looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// It was made for this task.
    pub same_task: bool,
    /// It is the decision to stop.
    pub is_stop: bool,
    /// When it was made.
    pub at: Timestamp,
}

/// What is wrong with a decision; `None` in `found` when the number that was named leads nowhere.
pub fn decision_faults(named: bool, found: Option<Decided>, now: Timestamp) -> Vec<DecisionFault> {
    match (named, found) {
        (false, _) => vec![DecisionFault::Missing],
        (true, None) => vec![DecisionFault::NotFound],
        (true, Some(decided)) => {
            let mut faults = Vec::new();
            faults.extend((!decided.same_task).then_some(DecisionFault::OtherTask));
            faults.extend((!decided.is_stop).then_some(DecisionFault::NotStop));
            let age = now.as_millis().saturating_sub(decided.at.as_millis());
            faults.extend((age > DECISION_AGE_MS).then_some(DecisionFault::Stale));
            faults
        }
    }
}

/// Which gates were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Accepted criteria must be satisfied.
    pub criteria: bool,
    /// Both sides must have acknowledged.
    pub acks: bool,
    /// Configured steps must have succeeded.
    pub epilogue: bool,
    /// Somebody must have tried to disprove the work.
    pub adversarial: bool,
    /// Both sides' words must be kept.
    pub transcript: bool,
    /// The decision must be sound.
    pub decision: bool,
    /// Checks must speak for the work as it is.
    pub checks: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Accepted criteria that are not satisfied.
    pub open: Vec<Named>,
    /// Sides that have not acknowledged, in the words of their role.
    pub missing_acks: Vec<&'static str>,
    /// Steps that have not succeeded.
    pub missing_steps: Vec<String>,
    /// There is a satisfied criterion with an adversarial check as its evidence.
    pub has_adversarial: bool,
    /// Sides without a transcript, in the words of their role.
    pub missing_transcripts: Vec<&'static str>,
    /// What is wrong with the decision.
    pub decision: Vec<DecisionFault>,
    /// Criteria whose check does not speak for the work as it is.
    pub unverified: Vec<(Named, Unverified)>,
}

/// A gate that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Accepted criteria without proof.
    Criteria(Vec<Named>),
    /// Checks that do not speak for the work as it is.
    Checks(Vec<(Named, Unverified)>),
    /// Sides that have not acknowledged.
    Acks(Vec<&'static str>),
    /// Steps that have not succeeded.
    Epilogue(Vec<String>),
    /// Nobody tried to disprove the work.
    Adversarial,
    /// Sides without a transcript.
    Transcript(Vec<&'static str>),
    /// The decision is not sound.
    Decision(Vec<DecisionFault>),
}

/// Every gate that is closed, not only the first.
pub fn closed(asked: Asked, facts: &Facts) -> Vec<Closed> {
    let mut closed = Vec::new();
    if asked.criteria && !facts.open.is_empty() {
        closed.push(Closed::Criteria(facts.open.clone()));
    }
    if asked.checks && !facts.unverified.is_empty() {
        closed.push(Closed::Checks(facts.unverified.clone()));
    }
    if asked.acks && !facts.missing_acks.is_empty() {
        closed.push(Closed::Acks(facts.missing_acks.clone()));
    }
    if asked.epilogue && !facts.missing_steps.is_empty() {
        closed.push(Closed::Epilogue(facts.missing_steps.clone()));
    }
    if asked.adversarial && !facts.has_adversarial {
        closed.push(Closed::Adversarial);
    }
    if asked.transcript && !facts.missing_transcripts.is_empty() {
        closed.push(Closed::Transcript(facts.missing_transcripts.clone()));
    }
    if asked.decision && !facts.decision.is_empty() {
        closed.push(Closed::Decision(facts.decision.clone()));
    }
    closed
}

/// What the evidence of a check says about the work as it is: the tree that is committed now, and whether the working
/// tree differs from it. `passed` is absent where the check never ran.
pub fn unverified(
    passed: Option<bool>,
    checked_tree: Option<&str>,
    tree: &str,
    dirty: bool,
) -> Option<Unverified> {
    match passed {
        None => Some(Unverified::Never),
        Some(false) => Some(Unverified::Failed),
        Some(true) if checked_tree != Some(tree) => Some(Unverified::Moved),
        Some(true) if dirty => Some(Unverified::Dirty),
        Some(true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Asked = Asked {
        criteria: true,
        acks: true,
        epilogue: true,
        adversarial: true,
        transcript: true,
        decision: true,
        checks: true,
    };

    fn named(id: i64) -> Named {
        Named { id, text: format!("c{id}") }
    }

    fn everything_missing() -> Facts {
        Facts {
            open: vec![named(1)],
            missing_acks: vec!["worker"],
            missing_steps: vec!["run-tools".to_owned()],
            has_adversarial: false,
            missing_transcripts: vec!["manager"],
            decision: vec![DecisionFault::Missing],
            unverified: vec![(named(2), Unverified::Moved)],
        }
    }

    #[test]
    fn every_closed_gate_is_reported_and_not_only_the_first() {
        assert_eq!(
            closed(ALL, &everything_missing()),
            [
                Closed::Criteria(vec![named(1)]),
                Closed::Checks(vec![(named(2), Unverified::Moved)]),
                Closed::Acks(vec!["worker"]),
                Closed::Epilogue(vec!["run-tools".to_owned()]),
                Closed::Adversarial,
                Closed::Transcript(vec!["manager"]),
                Closed::Decision(vec![DecisionFault::Missing]),
            ]
        );
    }

    #[test]
    fn a_gate_that_nobody_asked_for_is_open() {
        assert_eq!(closed(Asked::default(), &everything_missing()), []);
        let satisfied = Facts { has_adversarial: true, ..Facts::default() };
        assert_eq!(closed(ALL, &satisfied), []);
    }

    #[test]
    fn a_check_speaks_only_for_the_tree_that_it_ran_on() {
        assert_eq!(unverified(None, None, "t", false), Some(Unverified::Never));
        assert_eq!(unverified(Some(false), Some("t"), "t", false), Some(Unverified::Failed));
        assert_eq!(unverified(Some(true), Some("s"), "t", false), Some(Unverified::Moved));
        assert_eq!(unverified(Some(true), Some("t"), "t", true), Some(Unverified::Dirty));
        assert_eq!(unverified(Some(true), Some("t"), "t", false), None);
    }

    #[test]
    fn a_decision_must_be_this_tasks_fresh_decision_to_stop() {
        let now = Timestamp::from_millis(2_000_000);
        let sound = Decided { same_task: true, is_stop: true, at: Timestamp::from_millis(1_200_000) };
        assert_eq!(decision_faults(true, Some(sound), now), []);
        assert_eq!(decision_faults(false, Some(sound), now), [DecisionFault::Missing]);
        assert_eq!(decision_faults(true, None, now), [DecisionFault::NotFound]);
        let wrong = Decided { same_task: false, is_stop: false, at: Timestamp::from_millis(0) };
        assert_eq!(
            decision_faults(true, Some(wrong), now),
            [DecisionFault::OtherTask, DecisionFault::NotStop, DecisionFault::Stale]
        );
    }
}
