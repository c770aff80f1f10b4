//! Rows in bulk, each engine in its fastest way.

use conveyor_model::Result;
use serde_json::json;

use crate::cell::Args;
use crate::cell::args;
use crate::cell::storable;
use crate::engine::Engine;
use crate::events::NewEvent;
use crate::events::Place;
use crate::tx::Tx;

/// Rows of one statement. With plain `?`, 500 rows a statement are as fast as SQLite gets; numbered parameters cost it
/// the square of their count (measured: 23,000 rows a second instead of 255,000).
const ROWS: usize = 500;

/// The columns of `events` in the order in which both engines are given them.
const COLUMNS: &str = "id, session_number, follow_number, generation, byte_offset, byte_len, ordinal, at, at_original, \
     record_type, subtype, subtype_alias, turn_id, call_id, text, text_cut, seq";

/// How many columns those are.
const WIDTH: usize = 17;

/// Stores events, passing over those whose place is taken.
///
/// The next statement is built while the engine runs the one before: with SQLite, that is another thread's work.
pub(crate) async fn insert_events(tx: &mut Tx, place: Place, first: i64, events: &[NewEvent]) -> Result<()> {
    let engine = tx.engine();
    let mut batches = (first..).step_by(ROWS).zip(events.chunks(ROWS));
    let mut build = || batches.next().map(|(first, events)| statement(engine, place, first, events));
    let mut next = build();
    while let Some((sql, args)) = next {
        let (done, built) = futures::join!(tx.change(sql, args), async { build() });
        done?;
        next = built;
    }
    Ok(())
}

fn statement(engine: Engine, place: Place, first: i64, events: &[NewEvent]) -> (String, Args) {
    match engine {
        Engine::Sqlite => sqlite(place, first, events),
        Engine::Postgres => postgres(place, first, events),
    }
}

fn sqlite(place: Place, first: i64, events: &[NewEvent]) -> (String, Args) {
    let row = format!("({})", vec!["?"; WIDTH].join(","));
    let rows = vec![row.as_str(); events.len()].join(",");
    let mut args = Args::with_room(WIDTH * events.len());
    for (id, event) in (first..).zip(events) {
        args = bind(args, place, id, event);
    }
    (format!("INSERT INTO events ({COLUMNS}) VALUES {rows} ON CONFLICT DO NOTHING"), args)
}

fn bind(args: Args, place: Place, id: i64, event: &NewEvent) -> Args {
    args.and(&id)
        .and(&place.session_number)
        .and(&place.follow_number)
        .and(&place.generation)
        .and(&event.byte_offset)
        .and(&event.byte_len)
        .and(&event.ordinal)
        .and(&event.at)
        .and(&event.at_original)
        .and(&event.record_type)
        .and(&event.subtype)
        .and(&event.subtype_alias)
        .and(&event.turn_id)
        .and(&event.call_id)
        .and(&event.text)
        .and(&event.text_cut)
        .and(&place.seq)
}

/// `sqlx::Any` carries no arrays, so the rows travel as one JSON text; like arrays, that is one statement for any number
/// of rows.
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
    let clean = |text: &Option<String>| text.as_deref().map(storable);
    json!({
        "id": id,
        "session_number": place.session_number,
        "follow_number": place.follow_number,
        "generation": place.generation,
        "byte_offset": event.byte_offset,
        "byte_len": event.byte_len,
        "ordinal": event.ordinal,
        "at": event.at,
        "at_original": clean(&event.at_original),
        "record_type": storable(&event.record_type),
        "subtype": clean(&event.subtype),
        "subtype_alias": clean(&event.subtype_alias),
        "turn_id": clean(&event.turn_id),
        "call_id": clean(&event.call_id),
        "text": clean(&event.text),
        "text_cut": i64::from(event.text_cut),
        "seq": place.seq,
    })
}
