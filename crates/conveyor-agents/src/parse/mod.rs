//! One line of a rollout to one event, without a tree: fields are borrowed from the line, and what is not needed is
//! only skipped over.
//!
//! Nothing that a line holds is an error of the program. A line that is no record is classified ([`BadLine`]); a
//! record with a field of an unexpected type keeps its other fields; a record of an unknown shape is
//! [`Kind::Unknown`].

mod event_msg;
mod lenient;
mod response_item;
mod settings;
mod words;

use conveyor_model::Timestamp;
use conveyor_model::limits;
use conveyor_model::rollout::BadLine;
use conveyor_model::rollout::Event;
use conveyor_model::rollout::Kind;
use conveyor_model::rollout::cut;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::lenient::Count;
use self::lenient::Text;

/// Longest text that is kept of a time that cannot be understood.
const ORIGINAL_TIME_BYTES: usize = 200;

/// The parts that all records have.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(default)]
    ordinal: Count,
    #[serde(borrow, default, rename = "type")]
    record_type: Text<'a>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// The event that `line` records; `line` may end in LF or CR LF, and begins at `offset` in its file.
pub fn parse(line: &[u8], offset: u64) -> Result<Event, BadLine> {
    let text = std::str::from_utf8(line).map_err(|_| BadLine::NotUtf8)?.trim_ascii();
    let parts = parts(text)?;
    let record_type = parts.record_type.get().ok_or(BadLine::NoType)?;
    let mut event = Event::of(words::word(record_type), Kind::Unknown);
    event.offset = offset;
    event.len = line.len() as u64;
    event.ordinal = parts.ordinal.0;
    put_time(&mut event, parts.timestamp);
    put_payload(&mut event, parts.payload);
    Ok(event)
}

fn parts(text: &str) -> Result<Line<'_>, BadLine> {
    match text.as_bytes().first() {
        None => Err(BadLine::Blank),
        Some(b'{') => serde_json::from_str(text).map_err(|_| BadLine::NotJson),
        Some(_) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => Err(BadLine::NotObject),
        Some(_) => Err(BadLine::NotJson),
    }
}

fn put_time(event: &mut Event, raw: Option<&RawValue>) {
    let Some(raw) = raw else { return };
    let text = serde_json::from_str::<Text<'_>>(raw.get()).unwrap_or_default();
    event.at = text.get().and_then(|text| text.parse::<Timestamp>().ok());
    if event.at.is_none() {
        event.at_original = Some(cut(raw.get(), ORIGINAL_TIME_BYTES).0.to_owned());
    }
}

fn put_payload(event: &mut Event, payload: Option<&RawValue>) {
    match event.record_type.as_ref() {
        "event_msg" => event_msg::put(event, payload),
        "response_item" => response_item::put(event, payload),
        "turn_context" => settings::put_context(event, payload),
        "session_meta" => settings::put_meta(event, payload),
        "compacted" => settings::put_compacted(event, payload),
        "world_state" | "token_usage_record" => event.kind = Kind::Bookkeeping,
        _ => {}
    }
    if event.kind == Kind::Unknown && event.text.is_none() {
        put_text(event, payload.map(RawValue::get), limits::EVENT_TEXT_BYTES);
    }
}

/// Keeps at most `max` bytes of `text`.
fn put_text(event: &mut Event, text: Option<&str>, max: usize) {
    if let Some(text) = text {
        let (kept, was_cut) = cut(text, max);
        event.text = Some(kept.to_owned());
        event.text_cut = was_cut;
    }
}

/// The time of a count of seconds since 1970.
fn seconds(count: Count) -> Option<Timestamp> {
    Some(Timestamp::from_millis(i64::try_from(count.0?).ok()?.saturating_mul(1_000)))
}

#[cfg(test)]
mod tests;
