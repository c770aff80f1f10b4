//! What a person or a manager may ask for about a delivery, and when.

use crate::Error;
use crate::Result;
use crate::Retry;
use crate::delivery::Stage;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Take it back.
    Cancel,
    /// Try again what certainly did not arrive, or what a person has cleared the way for.
    Retry,
    /// Send it again although it may arrive twice.
    Resend,
}

/// What is known of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Where it stands.
    pub stage: Stage,
    /// From some moment on the agent may have seen it.
    pub begun: bool,
    /// A reader was given it and may have read it.
    pub offered: bool,
    /// It is certain that it did not arrive.
    pub retry_is_safe: bool,
}

/// Whether a wish may be granted now.
///
/// Errors: conflict, with what may be done instead; `{id}` in the hint stands for the delivery.
pub fn may(wish: Wish, asked: Asked) -> Result<()> {
    match wish {
        Wish::Cancel => cancel(asked),
        Wish::Retry => retry(asked),
        Wish::Resend => resend(asked),
    }
}

fn cancel(asked: Asked) -> Result<()> {
    match asked.stage {
        Stage::Pending if asked.offered => {
            Err(no("a reader was given it and may have read it").retry(Retry::Unsafe))
        }
        Stage::Pending => Ok(()),
        Stage::Leased => Err(no("it is being carried out").hint("call again in a moment")),
        Stage::EffectStarted | Stage::Submitted => Err(no("the agent may have seen it already")),
        Stage::Recorded | Stage::Answered => Err(no("it has arrived")),
        Stage::Blocked if !asked.begun => Ok(()),
        Stage::Blocked => Err(no("it stands in the composer beside a person's text")
            .hint("submit or clear what the composer holds")),
        Stage::Failed | Stage::Expired | Stage::Unproved => {
            Err(no("it has ended; nothing will send it by itself"))
        }
        Stage::Cancelled => Err(no("it was taken back before")),
    }
}

fn retry(asked: Asked) -> Result<()> {
    match asked.stage {
        Stage::Blocked => Ok(()),
        Stage::Failed if asked.retry_is_safe => Ok(()),
        Stage::Failed | Stage::Unproved => Err(no("it is not certain that it did not arrive")
            .retry(Retry::Unknown)
            .hint("look at the session, then: conveyor commands --resend {id}")),
        Stage::Pending | Stage::Leased | Stage::EffectStarted | Stage::Submitted => {
            Err(no("it is on its way").hint("conveyor dispatch --once"))
        }
        Stage::Recorded | Stage::Answered => Err(no("it has arrived")),
        Stage::Expired => Err(no("its time is over").hint("put it into the queue anew")),
        Stage::Cancelled => Err(no("it was taken back").hint("put it into the queue anew")),
    }
}

fn resend(asked: Asked) -> Result<()> {
    match asked.stage {
        Stage::Unproved | Stage::Failed | Stage::Blocked => Ok(()),
        Stage::Pending
        | Stage::Leased
        | Stage::EffectStarted
        | Stage::Submitted
        | Stage::Recorded
        | Stage::Answered
        | Stage::Expired
        | Stage::Cancelled => retry(asked),
    }
}

fn no(why: &str) -> Error {
    Error::conflict(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> impl Iterator<Item = Asked> {
        Stage::ALL.into_iter().flat_map(|stage| {
            (0..8).map(move |bits| Asked {
                stage,
                begun: bits & 1 != 0,
                offered: bits & 2 != 0,
                retry_is_safe: bits & 4 != 0,
            })
        })
    }

    #[test]
    fn what_is_granted_is_a_legal_move() {
        for asked in asked() {
            let legal = |to| asked.stage.may_become(to);
            assert!(may(Wish::Cancel, asked).is_err() || legal(Stage::Cancelled), "{asked:?}");
            assert!(may(Wish::Retry, asked).is_err() || legal(Stage::Pending), "{asked:?}");
            assert!(may(Wish::Resend, asked).is_err() || legal(Stage::Pending), "{asked:?}");
        }
    }

    #[test]
    fn what_may_have_been_seen_is_never_taken_back() {
        for asked in asked().filter(|asked| may(Wish::Cancel, *asked).is_ok()) {
            assert!(matches!(asked.stage, Stage::Pending | Stage::Blocked), "{asked:?}");
            assert!(!(asked.stage == Stage::Pending && asked.offered), "{asked:?}");
            assert!(!(asked.stage == Stage::Blocked && asked.begun), "{asked:?}");
        }
    }

    #[test]
    fn a_retry_never_sends_twice_without_a_persons_word() {
        for asked in asked().filter(|asked| may(Wish::Retry, *asked).is_ok()) {
            assert!(asked.stage == Stage::Blocked || asked.retry_is_safe, "{asked:?}");
        }
    }

    #[test]
    fn what_may_be_retried_may_be_resent() {
        for asked in asked().filter(|asked| may(Wish::Retry, *asked).is_ok()) {
            assert!(may(Wish::Resend, asked).is_ok(), "{asked:?}");
        }
    }
}
