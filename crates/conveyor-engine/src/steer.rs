//! Steering: a text goes into the turn that runs, by Enter, instead of into the next one, by Tab.
//!
//! Enter also answers a dialog, and one may open between paste and key (measured). A turn whose approval policy is
//! `never` opens none, and only such a turn is steered.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::turn::Coarse;
use conveyor_model::turn::Turn;
use conveyor_store::sessions::Session;
use conveyor_store::turns;

use crate::Plane;
use crate::ingest;
use crate::message;

/// What makes a turn ask for nothing.
const NEVER: &str = "never";

/// Whether a text may be typed into the turn that runs now. An idle session simply gets it.
///
/// Errors: refused for a turn that may ask for an approval, and for a session without a proved pane.
pub(crate) async fn may(plane: &Plane, session: &Session, reads_only: bool) -> Result<()> {
    if message::pin(session).is_none() {
        return Err(Error::refused(format!(
            "`{}` has no proved pane, so no turn of it can be steered",
            session.name
        ))
        .hint("send it without --steer: it lies in its inbox then"));
    }
    if !reads_only {
        ingest::session(plane, session).await?;
    }
    let turn = turn(plane, session).await?;
    match turn.coarse() {
        Coarse::Idle => Ok(()),
        Coarse::Busy | Coarse::Unknown if asks_never(&turn) => Ok(()),
        Coarse::Busy | Coarse::Unknown => {
            let policy = turn.approval_policy.as_deref().unwrap_or("not known");
            Err(Error::refused(format!(
                "the turn of `{}` may ask for approvals (its policy is {policy}), and the key that steers would answer them",
                session.name
            ))
            .hint("send it without --steer: it becomes the next turn"))
        }
    }
}

/// Whether the turn that runs now takes a text by Enter.
pub(crate) async fn is_steerable(plane: &Plane, session: &Session) -> Result<bool> {
    let turn = turn(plane, session).await?;
    Ok(turn.coarse() == Coarse::Busy && asks_never(&turn))
}

async fn turn(plane: &Plane, session: &Session) -> Result<Turn> {
    let Some(ledger) = plane.ledger_to_read().await? else { return Ok(Turn::default()) };
    let row = turns::get(&mut *ledger.read().await?, &session.id).await?;
    Ok(row.map(|row| ingest::turn_of(&row)).unwrap_or_default())
}

fn asks_never(turn: &Turn) -> bool {
    turn.approval_policy.as_deref() == Some(NEVER)
}
