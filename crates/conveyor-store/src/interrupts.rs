//! Interrupts: one Escape a turn, because a second one opens a rewind browser.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;

use crate::cell::Row as _;
use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::tx::AuditRow;
use crate::tx::Tx;

table! {
    /// An interrupt of a turn.
    Interrupt in "interrupts" {
        /// The session.
        session_id: SessionId,
        /// The turn.
        turn_id: String,
        /// The delivery that asked for it.
        delivery_id: Option<DeliveryId>,
        /// When.
        at: Timestamp,
    }
}

/// Claims the one interrupt of a turn. `false` when it was claimed before.
pub async fn claim(
    tx: &mut Tx,
    session: &SessionId,
    turn: &str,
    delivery: Option<&DeliveryId>,
    audit: AuditRow,
) -> Result<bool> {
    let row = Interrupt {
        session_id: session.clone(),
        turn_id: turn.to_owned(),
        delivery_id: delivery.cloned(),
        at: tx.now(),
    };
    let claimed = tx.change(Interrupt::insert() + " ON CONFLICT DO NOTHING", row.args()).await? > 0;
    if claimed {
        tx.audit(audit.or_session(Some(session))).await?;
    }
    Ok(claimed)
}

/// The interrupt of a turn.
pub async fn get(db: &mut Db, session: &SessionId, turn: &str) -> Result<Option<Interrupt>> {
    let sql = format!("SELECT {} FROM interrupts WHERE session_id = $1 AND turn_id = $2", Interrupt::LIST);
    db.one(sql, args![session, &turn.to_owned()]).await
}
