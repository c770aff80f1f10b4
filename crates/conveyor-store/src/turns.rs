//! What each session is doing: one row a session, so that reading it does not grow with history.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::tx::Tx;

table! {
    /// What a session is doing, as far as its rollout tells.
    TurnRow in "turns" {
        /// The session.
        session_id: SessionId,
        /// The turn's state, in one word.
        state: String,
        /// The whole turn, as the model keeps it.
        turn_json: Value,
        /// The last event that was taken into account.
        observed_event_id: Option<i64>,
        /// When the state last changed, by the ledger's clock.
        changed_at: Timestamp,
        /// When the row was last written.
        updated_at: Timestamp,
    }
}

/// Stores what a session is doing. Belongs into the transaction of the ingest that saw it, which writes the audit row.
///
/// `changed_at` moves only when the state's word changes.
pub async fn put(
    tx: &mut Tx,
    session: &SessionId,
    state: &str,
    turn: &Value,
    event: Option<i64>,
) -> Result<()> {
    let now = tx.now();
    let sql = "INSERT INTO turns (session_id, state, turn_json, observed_event_id, changed_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (session_id) DO UPDATE SET \
               changed_at = CASE WHEN turns.state = excluded.state THEN turns.changed_at ELSE excluded.changed_at END, \
               state = excluded.state, turn_json = excluded.turn_json, \
               observed_event_id = excluded.observed_event_id, updated_at = excluded.updated_at";
    tx.change(sql, args![session, &state.to_owned(), turn, &event, &now]).await.map(drop)
}

/// What a session is doing; absent before its first event.
pub async fn get(db: &mut Db, session: &SessionId) -> Result<Option<TurnRow>> {
    db.one(TurnRow::select("WHERE session_id = $1"), args![session]).await
}

/// Active sessions of a host in one of the given states.
pub async fn in_state(db: &mut Db, host: &str, state: &str) -> Result<Vec<TurnRow>> {
    let rest = "WHERE state = $2 AND session_id IN \
                (SELECT id FROM sessions WHERE host = $1 AND state = 'active') ORDER BY session_id";
    db.all(TurnRow::select(rest), args![&host.to_owned(), &state.to_owned()]).await
}
