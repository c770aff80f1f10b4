//! Payloads of the records that say who a thread is and how it works.

use conveyor_model::limits;
use conveyor_model::rollout::Event;
use conveyor_model::rollout::Kind;
use conveyor_model::rollout::SessionMeta;
use conveyor_model::rollout::TurnContext;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::Text;
use super::lenient::object;
use super::lenient::text_or_json;
use super::put_text;

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContextPayload<'a> {
    #[serde(borrow)]
    turn_id: Text<'a>,
    #[serde(borrow)]
    cwd: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    approval_policy: Option<&'a RawValue>,
    #[serde(borrow)]
    sandbox_policy: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SandboxPolicy<'a> {
    #[serde(borrow, rename = "type")]
    mode: Text<'a>,
}

pub(super) fn put_context(event: &mut Event, raw: Option<&RawValue>) {
    let payload: ContextPayload<'_> = object(raw);
    event.turn_id = payload.turn_id.short();
    event.kind = Kind::TurnContext(Box::new(TurnContext {
        approval_policy: word_or_json(payload.approval_policy),
        sandbox_mode: object::<SandboxPolicy<'_>>(payload.sandbox_policy).mode.short(),
        cwd: payload.cwd.short(),
        model: payload.model.short(),
    }));
}

/// A setting that newer versions may write as an object: its text, or its JSON, cut to 200 bytes.
fn word_or_json(raw: Option<&RawValue>) -> Option<String> {
    const LONGEST: usize = 200;
    text_or_json(raw).map(|text| conveyor_model::rollout::cut(&text, LONGEST).0.to_owned())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaPayload<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    timestamp: Text<'a>,
    #[serde(borrow)]
    cwd: Text<'a>,
    #[serde(borrow)]
    originator: Text<'a>,
    #[serde(borrow)]
    cli_version: Text<'a>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    forked_from_id: Text<'a>,
    #[serde(borrow)]
    history_mode: Text<'a>,
}

pub(super) fn put_meta(event: &mut Event, raw: Option<&RawValue>) {
    let payload: MetaPayload<'_> = object(raw);
    event.kind = Kind::SessionMeta(Box::new(SessionMeta {
        thread_id: payload.id.short(),
        cwd: payload.cwd.short(),
        cli_version: payload.cli_version.short(),
        source: word_or_json(payload.source),
        originator: payload.originator.short(),
        forked_from: payload.forked_from_id.short(),
        created_at: payload.timestamp.get().and_then(|text| text.parse().ok()),
        history_mode: payload.history_mode.short(),
    }));
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CompactedPayload<'a> {
    #[serde(borrow)]
    message: Text<'a>,
}

pub(super) fn put_compacted(event: &mut Event, raw: Option<&RawValue>) {
    let payload: CompactedPayload<'_> = object(raw);
    event.kind = Kind::Compacted;
    put_text(event, payload.message.get(), limits::EVENT_TEXT_BYTES);
}
