//! Whether a manager still has to agree with its worker on acceptance criteria, and how it may ask.

use schemars::JsonSchema;
use serde::Serialize;

/// How many criteria of a task have each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CriteriaCounts {
    /// Agreed and without proof yet.
    pub accepted: u64,
    /// Put off to a later task.
    pub deferred: u64,
    /// Suggested, not agreed.
    pub proposed: u64,
    /// Refused.
    pub rejected: u64,
    /// Agreed and proved.
    pub satisfied: u64,
}

impl CriteriaCounts {
    /// All criteria, whatever their status.
    pub const fn total(self) -> u64 {
        self.accepted + self.deferred + self.proposed + self.rejected + self.satisfied
    }
}

/// Why a negotiation is needed, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The task has no criteria at all.
    NoCriteria,
    /// It has some, but none for the present work.
    NoCurrentTaskCriteria,
    /// There are criteria to work on.
    ActiveCriteriaPresent,
}

/// Why there is or is not something to negotiate.
pub const fn reason(counts: CriteriaCounts) -> Reason {
    if counts.total() == 0 {
        Reason::NoCriteria
    } else if counts.proposed + counts.accepted + counts.satisfied == 0 {
        Reason::NoCurrentTaskCriteria
    } else {
        Reason::ActiveCriteriaPresent
    }
}

impl Reason {
    /// Whether the manager should ask now.
    pub const fn is_needed(self) -> bool {
        match self {
            Self::NoCriteria | Self::NoCurrentTaskCriteria => true,
            Self::ActiveCriteriaPresent => false,
        }
    }

    /// What the manager may send to its worker.
    pub const fn prompt(self) -> Option<&'static str> {
        match self {
            Self::NoCriteria | Self::NoCurrentTaskCriteria => Some(
                "Please propose two to four acceptance criteria for the work at hand. Split them into must-have for \
                 this task and follow-up, and say for each which check you expect to prove it.",
            ),
            Self::ActiveCriteriaPresent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_that_are_only_put_off_leave_the_present_work_without_any() {
        let counts = CriteriaCounts { deferred: 2, rejected: 1, ..CriteriaCounts::default() };
        assert_eq!(reason(counts), Reason::NoCurrentTaskCriteria);
        assert!(reason(counts).is_needed());
    }

    #[test]
    fn a_proposed_criterion_ends_the_negotiation() {
        let counts = CriteriaCounts { proposed: 1, ..CriteriaCounts::default() };
        assert_eq!(reason(counts).prompt(), None);
        assert!(reason(CriteriaCounts::default()).prompt().is_some());
    }
}
