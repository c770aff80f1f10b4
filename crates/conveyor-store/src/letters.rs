//! Letters that were taken out of outboxes: each once, whoever is killed meanwhile.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::tx::AuditRow;
use crate::tx::Tx;

table! {
    /// A letter that was dealt with.
    Letter in "outbox_letters" {
        /// Digest of session, file and content.
        id: String,
        /// Whose outbox it lay in.
        session_id: SessionId,
        /// The file's name.
        name: String,
        /// What it asked for; absent when it was refused.
        verb: Option<String>,
        /// Why it was refused.
        refused: Option<String>,
        /// When.
        taken_at: Timestamp,
    }
}

/// Notes that a letter was dealt with.
pub async fn insert(tx: &mut Tx, letter: &Letter, audit: AuditRow) -> Result<()> {
    tx.insert(letter).await?;
    tx.audit(audit.or_session(Some(&letter.session_id))).await.map(drop)
}

/// What was noted of a letter.
pub async fn get(db: &mut Db, id: &str) -> Result<Option<Letter>> {
    db.one(Letter::select("WHERE id = $1"), args![&id.to_owned()]).await
}

/// How many letters of a session were dealt with.
pub async fn count(db: &mut Db, session: &SessionId) -> Result<i64> {
    let sql = "SELECT count(*) FROM outbox_letters WHERE session_id = $1";
    Ok(db.value::<i64>(sql, args![session]).await?.unwrap_or_default())
}
