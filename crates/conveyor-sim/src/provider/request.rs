//! What a request of Codex's says.

use axum::http::HeaderMap;
use serde_json::Value;

/// User items that are not the user's words.
const SYNTHETIC: [&str; 7] = [
    "<environment_context>",
    "<turn_aborted>",
    "<user_shell_command>",
    "<user_instructions>",
    "<skill",
    "<subagent_notification>",
    "# AGENTS.md",
];

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// The thread that asked: a header, in versions before 0.144 the session's or the cache key.
    pub thread: Option<String>,
    /// The last text of the user's own.
    pub user_text: String,
    /// The outputs of the tool calls since that text, oldest first.
    pub outputs: Vec<String>,
    /// The whole body.
    pub body: Value,
}

impl Received {
    /// Reads a request.
    pub(super) fn read(headers: &HeaderMap, body: Value) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let cache_key = || body.get("prompt_cache_key").and_then(Value::as_str).map(str::to_owned);
        let thread = header("thread-id")
            .or_else(|| header("session_id"))
            .or_else(|| header("session-id"))
            .or_else(cache_key);
        let none = Vec::new();
        let input = body.get("input").and_then(Value::as_array).unwrap_or(&none);
        let last = input.iter().rposition(|item| own_text(item).is_some());
        let user_text = last.and_then(|at| own_text(&input[at])).unwrap_or_default();
        let outputs = input[last.unwrap_or(0)..].iter().filter_map(output).collect();
        Self { thread, user_text, outputs, body }
    }

    /// Whether it is one of Codex's own requests (a title, a compaction), to which no directive applies.
    pub fn is_side_request(&self) -> bool {
        let tools = self.body.get("tools").and_then(Value::as_array);
        tools.is_none_or(Vec::is_empty)
            || self.user_text.starts_with("You are performing a CONTEXT CHECKPOINT COMPACTION")
    }
}

/// The text of an item that the user wrote.
fn own_text(item: &Value) -> Option<String> {
    if item.get("role").and_then(Value::as_str) != Some("user") {
        return None;
    }
    let parts = item.get("content")?.as_array()?;
    let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
    let text = texts.collect::<Vec<_>>().join("\n");
    let own = !text.is_empty() && !SYNTHETIC.iter().any(|start| text.starts_with(start));
    own.then_some(text)
}

/// The output of an answered tool call, as text.
fn output(item: &Value) -> Option<String> {
    if item.get("type").and_then(Value::as_str) != Some("function_call_output") {
        return None;
    }
    Some(match item.get("output") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_own_text_counts_and_the_outputs_behind_it() {
        let user = |text: &str| json!({ "type": "message", "role": "user", "content": [{ "text": text }] });
        let output = |text: &str| json!({ "type": "function_call_output", "output": text });
        let body = json!({ "prompt_cache_key": "t1", "tools": [{}], "input": [
            user("first"), output("old"), user("second"), user("<environment_context>x"), output("new"),
        ] });
        let received = Received::read(&HeaderMap::new(), body);
        assert_eq!(received.user_text, "second");
        assert_eq!(received.outputs, ["new"]);
        assert_eq!(received.thread.as_deref(), Some("t1"));
        assert!(!received.is_side_request());
    }
}
