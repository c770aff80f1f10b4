//! Where a delivery stands.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;

/// Where a delivery stands. Only [`Stage::may_become`] lists the moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Accepted; nobody has begun.
    Pending,
    /// Somebody holds it under an epoch; nothing can have reached the agent.
    Leased,
    /// From here on the agent may have seen it.
    EffectStarted,
    /// The submit key went out.
    Submitted,
    /// The agent's own record holds it.
    Recorded,
    /// The turn that holds it has ended.
    Answered,
    /// It can't be delivered until a person does something.
    Blocked,
    /// It was not delivered and never will be.
    Failed,
    /// Its time was over before it was begun.
    Expired,
    /// It may have been delivered; nothing shows that it was.
    Unproved,
    /// Taken back before it was begun.
    Cancelled,
}

/// The five states that the contract knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coarse {
    /// Not begun.
    Pending,
    /// Begun, not settled.
    Attempted,
    /// Proved.
    Succeeded,
    /// Not delivered, or not proved.
    Failed,
    /// Waits for a person.
    Blocked,
}

impl Stage {
    /// All stages, in the order of a delivery's life.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Leased,
        Self::EffectStarted,
        Self::Submitted,
        Self::Recorded,
        Self::Answered,
        Self::Blocked,
        Self::Failed,
        Self::Expired,
        Self::Unproved,
        Self::Cancelled,
    ];

    /// The word that the ledger stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::EffectStarted => "effect_started",
            Self::Submitted => "submitted",
            Self::Recorded => "recorded",
            Self::Answered => "answered",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Unproved => "unproved",
            Self::Cancelled => "cancelled",
        }
    }

    /// The contract's word.
    pub const fn coarse(self) -> Coarse {
        match self {
            Self::Pending => Coarse::Pending,
            Self::Leased | Self::EffectStarted | Self::Submitted => Coarse::Attempted,
            Self::Recorded | Self::Answered => Coarse::Succeeded,
            Self::Failed | Self::Expired | Self::Unproved | Self::Cancelled => Coarse::Failed,
            Self::Blocked => Coarse::Blocked,
        }
    }

    /// Whether the agent may have seen something of it that no record shows yet.
    pub const fn is_open_effect(self) -> bool {
        match self {
            Self::EffectStarted | Self::Submitted => true,
            Self::Pending
            | Self::Leased
            | Self::Recorded
            | Self::Answered
            | Self::Blocked
            | Self::Failed
            | Self::Expired
            | Self::Unproved
            | Self::Cancelled => false,
        }
    }

    /// Whether nothing will move it any more except a late record or a person's word.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Pending | Self::Leased | Self::EffectStarted | Self::Submitted => false,
            Self::Recorded
            | Self::Answered
            | Self::Blocked
            | Self::Failed
            | Self::Expired
            | Self::Unproved
            | Self::Cancelled => true,
        }
    }

    /// Whether a record of the agent's may still lift it to [`Stage::Recorded`], given that its effect began once.
    ///
    /// A record is stronger than any conclusion drawn from its absence, and than what was decided on that: what waits to
    /// be sent again needs no sending any more, and what was given up has arrived.
    pub const fn takes_record(self) -> bool {
        match self {
            Self::Pending
            | Self::Leased
            | Self::EffectStarted
            | Self::Submitted
            | Self::Unproved
            | Self::Failed
            | Self::Blocked
            | Self::Expired
            | Self::Cancelled => true,
            Self::Recorded | Self::Answered => false,
        }
    }

    /// Whether it rests on a record that the agent may take back.
    pub const fn rests_on_record(self) -> bool {
        match self {
            Self::Recorded | Self::Answered => true,
            Self::Pending
            | Self::Leased
            | Self::EffectStarted
            | Self::Submitted
            | Self::Blocked
            | Self::Failed
            | Self::Expired
            | Self::Unproved
            | Self::Cancelled => false,
        }
    }

    /// Whether a move from this stage to `next` is legal.
    #[allow(
        clippy::enum_glob_use,
        reason = "a table of moves is read across, and the enum's name on each word hides it"
    )]
    pub const fn may_become(self, next: Self) -> bool {
        use Stage::*;
        match self {
            Pending => matches!(next, Leased | Failed | Blocked | Expired | Cancelled | Recorded),
            Leased => matches!(
                next,
                Leased | Pending | EffectStarted | Recorded | Failed | Blocked | Expired | Cancelled
            ),
            EffectStarted => {
                matches!(next, EffectStarted | Leased | Submitted | Recorded | Failed | Blocked | Unproved)
            }
            Submitted => matches!(next, Submitted | Recorded | Failed | Blocked | Unproved),
            Unproved | Failed => matches!(next, Recorded | Pending),
            Blocked => matches!(next, Recorded | Pending | Cancelled),
            Recorded => matches!(next, Answered | Unproved),
            Answered => matches!(next, Unproved),
            Expired | Cancelled => matches!(next, Recorded),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| Error::usage(format!("`{text}` is not a delivery's state")))
    }
}

impl Coarse {
    /// The contract's five words, in its order.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Attempted, Self::Succeeded, Self::Failed, Self::Blocked];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Attempted => "attempted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
        }
    }

    /// The stages that the word stands for.
    pub fn stages(self) -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().filter(move |stage| stage.coarse() == self)
    }
}

impl FromStr for Coarse {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|coarse| coarse.as_str() == text)
            .ok_or_else(|| Error::usage(format!("`{text}` is not a state of a command")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_stages_convert_both_ways() {
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse::<Stage>().unwrap(), stage);
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
        }
    }

    #[test]
    fn nothing_that_an_agent_may_have_seen_goes_back_to_pending_by_itself() {
        assert!(!Stage::EffectStarted.may_become(Stage::Pending));
        assert!(!Stage::Submitted.may_become(Stage::Pending));
        assert!(!Stage::Submitted.may_become(Stage::Leased));
        assert!(!Stage::Recorded.may_become(Stage::Pending));
    }

    #[test]
    fn a_late_record_lifts_whatever_may_have_been_seen() {
        for stage in Stage::ALL {
            assert!(!stage.takes_record() || stage.may_become(Stage::Recorded), "{stage}");
        }
        for stage in [Stage::Unproved, Stage::Pending, Stage::Leased] {
            assert!(stage.takes_record(), "{stage}: a resend is not needed once the record is there");
        }
    }

    #[test]
    fn a_record_that_is_taken_back_proves_nothing_any_more_and_a_later_one_does() {
        for stage in Stage::ALL.into_iter().filter(|stage| stage.rests_on_record()) {
            assert!(stage.may_become(Stage::Unproved), "{stage}");
            assert!(!stage.may_become(Stage::Pending), "{stage}: nobody sends it again by itself");
        }
        assert!(Stage::Unproved.takes_record());
    }

    #[test]
    fn each_stage_has_one_coarse_word() {
        let listed: usize = Coarse::ALL.into_iter().map(|coarse| coarse.stages().count()).sum();
        assert_eq!(listed, Stage::ALL.len());
    }
}
