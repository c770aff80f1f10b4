//! Rows in bulk, each engine in its fastest way.

use std::borrow::Cow;

use conveyor_model::Result;
use rusqlite::Connection;
use serde_json::json;

use crate::cell::Args;
use crate::cell::args;
use crate::cell::storable;
use crate::engine::conn::Conn;
use crate::events::NewEvent;
use crate::events::Place;
use crate::tx::Tx;

/// Rows between two moments in which other tasks of the thread are served, and rows of one statement to a server.
const ROWS: usize = 500;

/// The columns of `events` in the order in which both engines are given them.
const COLUMNS: &str = "id, session_number, follow_number, generation, byte_offset, byte_len, ordinal, at, at_original, \
     record_type, subtype, subtype_alias, turn_id, call_id, text, text_cut, seq";

/// How many columns those are.
const WIDTH: usize = 17;

/// Stores events, passing over those whose place is taken.
pub(crate) async fn insert_events(tx: &mut Tx, place: Place, first: i64, events: &[NewEvent]) -> Result<()> {
    for (first, events) in (first..).step_by(ROWS).zip(events.chunks(ROWS)) {
        match &tx.conn {
            Conn::Sqlite(conn) => {
                let inserted = sqlite(conn, place, first, events);
                tx.changed_in_bulk(inserted.map_err(Into::into))?;
                tokio::task::yield_now().await;
            }
            Conn::Postgres(_) => {
                let (sql, args) = postgres(place, first, events);
                tx.change(sql, args).await?;
            }
        }
    }
    Ok(())
}

fn clean(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(|text| storable(text))
}

/// One prepared statement for all: nothing is copied, and numbered parameters of many rows in one statement would cost the
/// square of their count (measured: 23,000 rows a second).
fn sqlite(conn: &Connection, place: Place, first: i64, events: &[NewEvent]) -> rusqlite::Result<u64> {
    let sql = format!(
        "INSERT INTO events ({COLUMNS}) VALUES ({}) ON CONFLICT DO NOTHING",
        vec!["?"; WIDTH].join(",")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut inserted = 0;
    for (id, event) in (first..).zip(events) {
        inserted += statement.execute(rusqlite::params![
            id,
            place.session_number,
            place.follow_number,
            place.generation,
            event.byte_offset,
            event.byte_len,
            event.ordinal,
            event.at.to_string(),
            clean(event.at_original.as_ref()),
            storable(&event.record_type),
            clean(event.subtype.as_ref()),
            clean(event.subtype_alias.as_ref()),
            clean(event.turn_id.as_ref()),
            clean(event.call_id.as_ref()),
            clean(event.text.as_ref()),
            event.text_cut,
            place.seq,
        ])?;
    }
    Ok(inserted as u64)
}

/// The rows travel as one JSON text: one statement for any number of rows.
fn postgres(place: Place, first: i64, events: &[NewEvent]) -> (String, Args) {
    let rows: Vec<serde_json::Value> =
        (first..).zip(events).map(|(id, event)| json_row(place, id, event)).collect();
    let text = serde_json::Value::from(rows).to_string();
    let sql = format!(
        "INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM json_to_recordset(CAST($1 AS JSON)) AS event(\
         id BIGINT, session_number BIGINT, follow_number BIGINT, generation BIGINT, byte_offset BIGINT, \
         byte_len BIGINT, ordinal BIGINT, at TEXT, at_original TEXT, record_type TEXT, subtype TEXT, \
         subtype_alias TEXT, turn_id TEXT, call_id TEXT, text TEXT, text_cut BIGINT, seq BIGINT) \
         ORDER BY id ON CONFLICT DO NOTHING"
    );
    (sql, args![&text])
}

fn json_row(place: Place, id: i64, event: &NewEvent) -> serde_json::Value {
    json!({
        "id": id,
        "session_number": place.session_number,
        "follow_number": place.follow_number,
        "generation": place.generation,
        "byte_offset": event.byte_offset,
        "byte_len": event.byte_len,
        "ordinal": event.ordinal,
        "at": event.at,
        "at_original": clean(event.at_original.as_ref()),
        "record_type": storable(&event.record_type),
        "subtype": clean(event.subtype.as_ref()),
        "subtype_alias": clean(event.subtype_alias.as_ref()),
        "turn_id": clean(event.turn_id.as_ref()),
        "call_id": clean(event.call_id.as_ref()),
        "text": clean(event.text.as_ref()),
        "text_cut": i64::from(event.text_cut),
        "seq": place.seq,
    })
}
