//! What agents recorded: bounded copies of rollout records. The rollout remains the source of the rest.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;

use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::engine::bulk;
use crate::filter::Filter;
use crate::tx::Counter;
use crate::tx::Tx;

/// A record that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Where its line begins, in bytes.
    pub byte_offset: i64,
    /// Length of its line, in bytes, line feed included.
    pub byte_len: i64,
    /// The record's ordinal, where records carry one.
    pub ordinal: Option<i64>,
    /// Its time; the time of the ingest when the record has none that can be read.
    pub at: Timestamp,
    /// The time as the record has it, where it could not be normalised.
    pub at_original: Option<String>,
    /// The record's type.
    pub record_type: String,
    /// The type within the type.
    pub subtype: Option<String>,
    /// The same under the name that other versions of the agent use.
    pub subtype_alias: Option<String>,
    /// The turn that it belongs to.
    pub turn_id: Option<String>,
    /// The tool call that it belongs to.
    pub call_id: Option<String>,
    /// Its text: a message whole, anything else cut.
    pub text: Option<String>,
    /// Whether the text was cut.
    pub text_cut: bool,
}

table! {
    /// A stored record.
    Event in "events_view" {
        /// Its number; grows with time over all sessions.
        id: i64,
        /// The session.
        session_id: SessionId,
        /// The thread.
        thread_id: String,
        /// Generation of the file.
        generation: i64,
        /// Where its line begins, in bytes.
        byte_offset: i64,
        /// Length of its line, in bytes.
        byte_len: i64,
        /// The record's ordinal.
        ordinal: Option<i64>,
        /// Its time.
        at: Timestamp,
        /// The time as the record has it, where it could not be normalised.
        at_original: Option<String>,
        /// The record's type.
        record_type: String,
        /// The type within the type.
        subtype: Option<String>,
        /// The same under another version's name.
        subtype_alias: Option<String>,
        /// The turn that it belongs to.
        turn_id: Option<String>,
        /// The tool call that it belongs to.
        call_id: Option<String>,
        /// Its bounded text.
        text: Option<String>,
        /// Whether the text was cut.
        text_cut: bool,
        /// Audit row of the ingest that stored it.
        seq: i64,
    }
}

/// Where a batch of events belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// [`crate::sessions::Session::number`].
    pub session_number: i64,
    /// [`crate::follows::Follow::number`].
    pub follow_number: i64,
    /// [`crate::follows::Follow::generation`].
    pub generation: i64,
    /// Audit row of the ingest.
    pub seq: i64,
}

/// Stores a batch and returns the number of its first event: event *n* of the batch is that plus *n*.
///
/// A line that is stored already is passed over. Call it after [`crate::follows::advance`] said yes and the ingest's
/// audit row is written.
pub async fn insert(tx: &mut Tx, place: Place, events: &[NewEvent]) -> Result<i64> {
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let first = tx.next_numbers(Counter::Event, count).await?;
    bulk::insert_events(tx, place, first, events).await?;
    Ok(first)
}

/// The columns of [`Event`], from the tables in which they lie.
const SELECT: &str = "SELECT e.id, s.id, f.thread_id, e.generation, e.byte_offset, e.byte_len, e.ordinal, e.at, \
     e.at_original, e.record_type, e.subtype, e.subtype_alias, e.turn_id, e.call_id, e.text, e.text_cut, e.seq \
     FROM events e JOIN sessions s ON s.number = e.session_number JOIN follows f ON f.number = e.follow_number";

/// Which events are listed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only of this session's number.
    pub session_number: Option<i64>,
    /// Only of this type.
    pub record_type: Option<String>,
    /// Only of this subtype, also under its alias.
    pub subtype: Option<String>,
    /// Only of this turn.
    pub turn_id: Option<String>,
    /// Only behind this id.
    pub after_id: Option<i64>,
    /// Only at or after this time.
    pub since: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
}

/// Events by their id.
pub async fn list(db: &mut Db, wanted: &Wanted, limit: u32) -> Result<Vec<Event>> {
    let order = if wanted.oldest_first { "ORDER BY e.id" } else { "ORDER BY e.id DESC" };
    let (rest, args) = Filter::new()
        .given("e.session_number = ?", wanted.session_number.as_ref())
        .given("e.record_type = ?", wanted.record_type.as_ref())
        .given("(e.subtype = ? OR e.subtype_alias = ?)", wanted.subtype.as_ref())
        .given("e.turn_id = ?", wanted.turn_id.as_ref())
        .given("e.id > ?", wanted.after_id.as_ref())
        .given("e.at >= ?", wanted.since.as_ref())
        .limited(order, limit);
    db.all(format!("{SELECT} {rest}"), args).await
}

/// One event.
pub async fn get(db: &mut Db, id: i64) -> Result<Option<Event>> {
    db.one(format!("{SELECT} WHERE e.id = $1"), args![&id]).await
}

/// The newest event of a session.
pub async fn last(db: &mut Db, session_number: i64) -> Result<Option<Event>> {
    let sql = format!("{SELECT} WHERE e.session_number = $1 ORDER BY e.id DESC LIMIT 1");
    db.one(sql, args![&session_number]).await
}

/// How many events a session has behind an id.
pub async fn count(db: &mut Db, session_number: i64, after_id: i64) -> Result<i64> {
    let sql = "SELECT count(*) FROM events WHERE session_number = $1 AND id > $2";
    Ok(db.value(sql, args![&session_number, &after_id]).await?.unwrap_or_default())
}
