//! Who makes a call, by what the agent's program says of it beside its arguments.

use conveyor_engine::Caller;
use serde_json::Map;
use serde_json::Value;

/// What Codex 0.144 and later send of the running turn: an object, or the same as a string.
const TURN: &str = "x-codex-turn-metadata";

/// The caller of a request with this `_meta`.
///
/// Nothing in a call's arguments can name the caller: they come from the model, `_meta` from the program that runs it.
/// A program that sends none leaves the caller unknown, who may do what an unregistered session may.
pub(super) fn caller(meta: &Map<String, Value>) -> Caller {
    let turn = meta.get(TURN).and_then(object);
    let turned = |key| turn.as_ref().and_then(|turn| text(turn.get(key)));
    Caller::Tool {
        thread: text(meta.get("threadId")).or_else(|| turned("thread_id")),
        sandbox_mode: turned("sandbox_mode"),
    }
}

/// An object that may come written out as a string.
fn object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(meta: Value) -> (Option<String>, Option<String>) {
        let Value::Object(meta) = meta else { panic!("a `_meta` is an object") };
        match caller(&meta) {
            Caller::Tool { thread, sandbox_mode } => (thread, sandbox_mode),
            other => panic!("{other:?} is no tool's caller"),
        }
    }

    #[test]
    fn the_thread_is_read_from_each_form_that_codex_sends() {
        let expected = (Some("t1".to_owned()), Some("workspace-write".to_owned()));
        let turn = json!({ "thread_id": "t1", "sandbox_mode": "workspace-write" });
        assert_eq!(of(json!({ "threadId": "t1", TURN: turn })), expected);
        assert_eq!(of(json!({ TURN: turn })), expected);
        assert_eq!(of(json!({ TURN: turn.to_string() })), expected);
        assert_eq!(of(json!({ "threadId": "t1", TURN: { "turn_id": "u" } })), (Some("t1".to_owned()), None));
    }

    #[test]
    fn nonsense_leaves_the_caller_unknown() {
        for meta in [
            json!({}),
            json!({ "threadId": "" }),
            json!({ "threadId": 7, TURN: "{" }),
            json!({ "threadId": null, TURN: ["t1"] }),
            json!({ "thread_id": "t1", "sessionId": "t1" }),
        ] {
            assert_eq!(of(meta.clone()), (None, None), "{meta}");
        }
    }
}
