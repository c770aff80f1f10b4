//! Payloads of `response_item`: what is said between the user, the model and its tools.

use std::borrow::Cow;

use conveyor_model::limits;
use conveyor_model::rollout::Event;
use conveyor_model::rollout::Kind;
use conveyor_model::rollout::Synthetic;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::Text;
use super::lenient::object;
use super::lenient::text_or_json;
use super::put_text;
use super::words;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow, rename = "type")]
    item_type: Text<'a>,
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow, rename = "internal_chat_message_metadata_passthrough")]
    passthrough: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Passthrough<'a> {
    #[serde(borrow)]
    turn_id: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    text: Text<'a>,
}

pub(super) fn put(event: &mut Event, raw: Option<&RawValue>) {
    let payload: Payload<'_> = object(raw);
    let Some(item_type) = payload.item_type.get() else { return };
    event.alias = Some(words::word(item_type));
    event.turn_id = object::<Passthrough<'_>>(payload.passthrough).turn_id.short();
    event.call_id = payload.call_id.short();
    match item_type {
        "message" => put_message(event, &payload),
        "function_call" | "custom_tool_call" | "local_shell_call" => {
            event.kind = Kind::ToolCall { name: payload.name.short() };
            let asked = payload.arguments.or(payload.input).or(payload.action);
            put_text(event, text_or_json(asked).as_deref(), limits::EVENT_TEXT_BYTES);
        }
        "function_call_output" | "custom_tool_call_output" => {
            event.kind = Kind::ToolOutput;
            put_text(event, text_or_json(payload.output).as_deref(), limits::EVENT_TEXT_BYTES);
        }
        "reasoning" | "web_search_call" | "compaction" | "image_generation_call" | "ghost_snapshot" => {
            event.kind = Kind::Bookkeeping;
        }
        _ => {}
    }
}

fn put_message(event: &mut Event, payload: &Payload<'_>) {
    match payload.role.get() {
        Some("user") => put_user_message(event, payload.content),
        Some("assistant") => {
            event.kind = Kind::AgentMessage;
            put_text(event, joined(payload.content).as_deref(), limits::MESSAGE_TEXT_BYTES);
        }
        // Codex's own instructions to the model: kilobytes that are the same in each session.
        Some("developer" | "system") => event.kind = Kind::Bookkeeping,
        Some(_) | None => {}
    }
}

/// A message may hold Codex's own parts beside the user's; it is the user's if any part is, and then only those count.
fn put_user_message(event: &mut Event, content: Option<&RawValue>) {
    let parts = texts(content);
    let own: Vec<_> = parts.iter().filter(|part| Synthetic::of(part).is_none()).map(AsRef::as_ref).collect();
    let synthetic = if own.is_empty() { parts.iter().find_map(|part| Synthetic::of(part)) } else { None };
    event.kind = Kind::UserMessage { synthetic };
    match synthetic {
        Some(_) => put_text(event, Some(&parts.join("\n")), limits::EVENT_TEXT_BYTES),
        None => put_text(event, Some(&one(&own)), limits::MESSAGE_TEXT_BYTES),
    }
}

/// The texts of a message's parts, one a line; a picture has none.
pub(super) fn joined(content: Option<&RawValue>) -> Option<String> {
    content.map(|content| texts(Some(content)).join("\n"))
}

fn texts(content: Option<&RawValue>) -> Vec<Cow<'_, str>> {
    let Some(json) = content.map(RawValue::get) else { return Vec::new() };
    if json.starts_with('[') {
        let parts: Vec<Part<'_>> = serde_json::from_str(json).unwrap_or_default();
        return parts.into_iter().filter_map(|part| part.text.0).collect();
    }
    serde_json::from_str::<Text<'_>>(json).unwrap_or_default().0.into_iter().collect()
}

/// The parts as one text, without a copy of a lone one, which is the rule.
fn one<'a>(parts: &[&'a str]) -> Cow<'a, str> {
    match parts {
        [only] => Cow::Borrowed(only),
        several => Cow::Owned(several.join("\n")),
    }
}
