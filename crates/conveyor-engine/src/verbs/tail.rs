//! `tail`: what a session recorded, newest first.

use std::fmt::Write as _;

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::rollout;
use conveyor_store::events;
use conveyor_store::events::Event;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::Plane;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// List what a session recorded, newest first
///
/// Shows what the ledger has; `ingest` or `cycle` reads what is newer. Texts are replaced by their length unless they are
/// asked for: an agent's words are data, and may be long.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct TailRequest {
    /// The session, also one that is gone
    pub name: Name,
    /// How many records at most
    #[arg(long, default_value_t = limit())]
    #[serde(default = "limit")]
    pub limit: u32,
    /// Only records of this subtype, under its own name or the one of older versions
    #[arg(long)]
    pub subtype: Option<String>,
    /// Only records of this type
    #[arg(long = "type")]
    #[serde(rename = "type")]
    pub record_type: Option<String>,
    /// Only records behind this id
    #[arg(long)]
    pub after_id: Option<i64>,
    /// Only records at or after this time (RFC 3339)
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Oldest first
    #[arg(long)]
    #[serde(default)]
    pub oldest_first: bool,
    /// Show texts instead of their length
    #[arg(long)]
    #[serde(default)]
    pub include_content: bool,
}

const fn limit() -> u32 {
    50
}

impl Request for TailRequest {}

/// The records.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(transparent)]
pub struct TailReport(pub Vec<Record>);

/// One record.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Record {
    /// Its number; grows with time over all sessions.
    pub id: i64,
    /// Its time; the time of reading when it has none that can be understood.
    pub timestamp: Timestamp,
    /// What stands in place of a time that cannot be understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_original: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub record_type: String,
    /// The type within an `event_msg`.
    pub subtype: Option<String>,
    /// The same in the words of other versions.
    pub subtype_alias: Option<String>,
    /// Its thread.
    pub thread_id: String,
    /// Where its line begins in the rollout, in bytes.
    pub byte_offset: i64,
    /// What the ledger keeps of it.
    pub payload: Map<String, Value>,
}

impl Report for TailReport {
    fn text(&self) -> Option<String> {
        let mut text = String::new();
        for record in &self.0 {
            let subtype = record.subtype.as_ref().or(record.subtype_alias.as_ref());
            // Infallible: a String takes everything.
            let _ = write!(text, "{:>8}  {}  {}", record.id, record.timestamp, record.record_type);
            let _ = write!(text, "{}", subtype.map(|word| format!("/{word}")).unwrap_or_default());
            let _ = match (record.payload.get("message"), record.payload.get("message_byte_count")) {
                (Some(Value::String(message)), _) => writeln!(text, "  {}", message.escape_debug()),
                (_, Some(bytes)) => writeln!(text, "  ({bytes} bytes)"),
                (_, None) => writeln!(text),
            };
        }
        Some(if text.is_empty() { "Nothing is recorded.\n".to_owned() } else { text })
    }
}

/// The verb.
pub struct Tail;

impl Verb for Tail {
    const NAME: &'static str = "tail";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Reads;
    const LEAST: &'static [&'static str] = &["worker"];
    type Request = TailRequest;
    type Report = TailReport;

    async fn run(plane: &Plane, request: TailRequest) -> Result<TailReport> {
        let mut db = plane.ledger_that_exists().await?.read().await?;
        let session = resolve::session(&mut db, &request.name).await?;
        let wanted = events::Wanted {
            session_number: Some(session.number),
            record_type: request.record_type,
            subtype: request.subtype,
            turn_id: None,
            after_id: request.after_id,
            since: request.since,
            oldest_first: request.oldest_first,
        };
        let found = events::list(&mut db, &wanted, request.limit).await?;
        Ok(TailReport(found.into_iter().map(|event| record(event, request.include_content)).collect()))
    }
}

/// A stored event as the contract shows a record.
fn record(event: Event, with_text: bool) -> Record {
    let is_event_msg = event.record_type == rollout::EVENT_MSG;
    Record {
        payload: payload(&event, with_text),
        id: event.id,
        timestamp: event.at,
        timestamp_original: event.at_original,
        record_type: event.record_type,
        subtype: event.subtype.filter(|_| is_event_msg),
        subtype_alias: event.subtype_alias,
        thread_id: event.thread_id,
        byte_offset: event.byte_offset,
    }
}

/// What the ledger keeps of a record, under the names that rollouts use. A text is content however short it is: a password
/// is short.
fn payload(event: &Event, with_text: bool) -> Map<String, Value> {
    let mut payload = Map::new();
    let word = event.subtype.as_ref().or(event.subtype_alias.as_ref());
    for (key, value) in
        [("type", word), ("turn_id", event.turn_id.as_ref()), ("call_id", event.call_id.as_ref())]
    {
        if let Some(value) = value {
            payload.insert(key.to_owned(), json!(value));
        }
    }
    if let Some(ordinal) = event.ordinal {
        payload.insert("ordinal".to_owned(), json!(ordinal));
    }
    let Some(text) = &event.text else { return payload };
    if with_text {
        payload.insert("message".to_owned(), json!(text));
    } else {
        payload.insert("message_redacted".to_owned(), json!(true));
        payload.insert("message_byte_count".to_owned(), json!(text.len()));
        payload.insert("message_line_count".to_owned(), json!(text.lines().count()));
    }
    if event.text_cut {
        payload.insert("message_cut".to_owned(), json!(true));
    }
    payload
}

#[cfg(test)]
mod tests;
