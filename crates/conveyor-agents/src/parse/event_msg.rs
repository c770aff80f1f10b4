//! Payloads of `event_msg`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use conveyor_model::limits;
use conveyor_model::rollout::Aborted;
use conveyor_model::rollout::Completion;
use conveyor_model::rollout::Event;
use conveyor_model::rollout::Item;
use conveyor_model::rollout::Kind;
use conveyor_model::rollout::RateLimits;
use conveyor_model::rollout::RateWindow;
use conveyor_model::rollout::TokenUsage;
use conveyor_model::rollout::Tokens;
use conveyor_model::rollout::TurnError;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::Count;
use super::lenient::Number;
use super::lenient::Text;
use super::lenient::object;
use super::lenient::try_object;
use super::put_text;
use super::response_item::joined;
use super::seconds;
use super::words;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow, rename = "type")]
    subtype: Text<'a>,
    #[serde(borrow)]
    turn_id: Text<'a>,
    #[serde(borrow)]
    call_id: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    last_agent_message: Text<'a>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    completed_at: Count,
    duration_ms: Count,
    time_to_first_token_ms: Count,
    model_context_window: Count,
    num_turns: Count,
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow)]
    rate_limits: Option<&'a RawValue>,
}

pub(super) fn put(event: &mut Event, raw: Option<&RawValue>) {
    let payload: Payload<'_> = object(raw);
    let Some(subtype) = payload.subtype.get() else { return };
    event.turn_id = payload.turn_id.short();
    event.call_id = payload.call_id.short();
    match subtype {
        "task_started" => event.kind = Kind::TaskStarted { context_window: payload.model_context_window.0 },
        "task_complete" => put_complete(event, &payload),
        "turn_aborted" => put_aborted(event, &payload),
        "thread_rolled_back" => event.kind = Kind::RolledBack { turns: payload.num_turns.0.unwrap_or(1) },
        "user_message" => put_message(event, &payload, Kind::UserEcho { client_id: None }),
        "agent_message" => put_message(event, &payload, Kind::AgentEcho),
        "item_completed" => put_item(event, payload.item),
        "token_count" => event.kind = Kind::TokenCount(Box::new(tokens(&payload))),
        "context_compacted" => event.kind = Kind::CompactedEcho,
        other if words::is_bookkeeping_event(other) => {
            event.kind = Kind::Bookkeeping;
            let text = payload.text.get().or_else(|| payload.message.get());
            put_text(event, text, limits::EVENT_TEXT_BYTES);
        }
        _ => {}
    }
    event.subtype = Some(words::word(subtype));
}

fn put_message(event: &mut Event, payload: &Payload<'_>, kind: Kind) {
    event.kind = kind;
    put_text(event, payload.message.get(), limits::MESSAGE_TEXT_BYTES);
}

fn put_complete(event: &mut Event, payload: &Payload<'_>) {
    put_text(event, payload.last_agent_message.get(), limits::MESSAGE_TEXT_BYTES);
    event.kind = Kind::TaskComplete(Box::new(Completion {
        last_agent_message: event.text.clone(),
        error: turn_error(payload.error),
        completed_at: seconds(payload.completed_at),
        duration_ms: payload.duration_ms.0,
        time_to_first_token_ms: payload.time_to_first_token_ms.0,
    }));
}

fn put_aborted(event: &mut Event, payload: &Payload<'_>) {
    event.kind = Kind::TurnAborted(Aborted {
        reason: payload.reason.short(),
        completed_at: seconds(payload.completed_at),
        duration_ms: payload.duration_ms.0,
    });
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorPayload<'a> {
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    codex_error_info: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    http_status_code: Count,
}

/// The error of a turn; anything but null is one, whatever its shape.
fn turn_error(raw: Option<&RawValue>) -> Option<TurnError> {
    let json = raw.filter(|raw| raw.get() != "null")?;
    let error: ErrorPayload<'_> = object(Some(json));
    let message = error.message.get().unwrap_or_else(|| json.get());
    let (info, http_status) = error_info(error.codex_error_info);
    let message = conveyor_model::rollout::cut(message, limits::EVENT_TEXT_BYTES).0.to_owned();
    Some(TurnError { message, info, http_status })
}

/// Codex writes a word, or an object of one key: `{"http_connection_failed":{"http_status_code":401}}`.
fn error_info(raw: Option<&RawValue>) -> (Option<String>, Option<u16>) {
    let Some(raw) = raw else { return (None, None) };
    if let Some(entries) = try_object::<BTreeMap<Cow<'_, str>, &RawValue>>(Some(raw)) {
        let Some((word, detail)) = entries.first_key_value() else { return (None, None) };
        let status = object::<ErrorDetail>(Some(detail)).http_status_code.0;
        return (Some(words::word(word).into_owned()), status.and_then(|status| u16::try_from(status).ok()));
    }
    let word = serde_json::from_str::<Text<'_>>(raw.get()).unwrap_or_default();
    (word.get().map(|word| words::word(word).into_owned()), None)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ItemPayload<'a> {
    #[serde(borrow, rename = "type")]
    item_type: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    client_id: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    aggregated_output: Text<'a>,
    exit_code: Number,
}

fn put_item(event: &mut Event, raw: Option<&RawValue>) {
    let item: ItemPayload<'_> = object(raw);
    let Some(item_type) = item.item_type.get() else { return };
    event.alias = Some(words::item_word(item_type));
    match item_type {
        "UserMessage" => {
            event.kind = Kind::UserEcho { client_id: item.client_id.short() };
            put_text(event, joined(item.content).as_deref(), limits::MESSAGE_TEXT_BYTES);
        }
        "AgentMessage" => {
            event.kind = Kind::AgentEcho;
            put_text(event, joined(item.content).as_deref(), limits::MESSAGE_TEXT_BYTES);
        }
        "ContextCompaction" => event.kind = Kind::CompactedEcho,
        "CommandExecution" | "McpToolCall" => {
            event.call_id = item.id.short();
            event.kind = done(&item);
            put_text(event, item.aggregated_output.get(), limits::EVENT_TEXT_BYTES);
        }
        "FileChange" | "HookPrompt" | "ImageGeneration" | "ImageView" | "Plan" | "Reasoning"
        | "WebSearch" => {
            event.kind = done(&item);
        }
        _ => {}
    }
}

fn done(item: &ItemPayload<'_>) -> Kind {
    let exit_code = item.exit_code.0.map(|code| code as i64);
    Kind::ItemDone(Item { status: item.status.short(), exit_code })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenInfo<'a> {
    #[serde(borrow)]
    total_token_usage: Option<&'a RawValue>,
    #[serde(borrow)]
    last_token_usage: Option<&'a RawValue>,
    model_context_window: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    #[serde(rename = "input_tokens")]
    input: Count,
    #[serde(rename = "cached_input_tokens")]
    cached_input: Count,
    #[serde(rename = "output_tokens")]
    output: Count,
    #[serde(rename = "total_tokens")]
    total: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits<'a> {
    #[serde(borrow)]
    primary: Option<&'a RawValue>,
    #[serde(borrow)]
    secondary: Option<&'a RawValue>,
    #[serde(borrow)]
    plan_type: Text<'a>,
    #[serde(borrow)]
    rate_limit_reached_type: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Window {
    used_percent: Number,
    #[serde(rename = "window_minutes")]
    minutes: Count,
    resets_at: Count,
}

fn tokens(payload: &Payload<'_>) -> Tokens {
    let info: TokenInfo<'_> = object(payload.info);
    Tokens {
        total: usage(info.total_token_usage),
        last: usage(info.last_token_usage),
        context_window: info.model_context_window.0,
        rate_limits: rate_limits(payload.rate_limits),
    }
}

fn usage(raw: Option<&RawValue>) -> Option<TokenUsage> {
    let usage: Usage = try_object(raw)?;
    Some(TokenUsage {
        input_tokens: usage.input.0.unwrap_or_default(),
        cached_input_tokens: usage.cached_input.0.unwrap_or_default(),
        output_tokens: usage.output.0.unwrap_or_default(),
        total_tokens: usage.total.0.unwrap_or_default(),
    })
}

/// A report of which every part is null says nothing, so that it doesn't wipe out what an earlier one said.
fn rate_limits(raw: Option<&RawValue>) -> Option<RateLimits> {
    let limits: Limits<'_> = try_object(raw)?;
    let limits = RateLimits {
        primary: window(limits.primary),
        secondary: window(limits.secondary),
        plan: limits.plan_type.short(),
        reached: limits.rate_limit_reached_type.short(),
    };
    (limits != RateLimits::default()).then_some(limits)
}

fn window(raw: Option<&RawValue>) -> Option<RateWindow> {
    let window: Window = try_object(raw)?;
    Some(RateWindow {
        used_percent: window.used_percent.0.unwrap_or_default(),
        window_minutes: window.minutes.0,
        resets_at: seconds(window.resets_at),
    })
}
