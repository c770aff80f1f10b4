//! The events of one response, in the least form that Codex 0.99 to 0.169 accepts.

use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::directive::Call;

/// One frame of an event stream.
pub(super) fn frame(kind: &str, mut data: Value) -> String {
    data["type"] = json!(kind);
    format!("event: {kind}\ndata: {data}\n\n")
}

/// The first frame, which makes Codex show that the model works.
pub(super) fn created(response: &str) -> String {
    frame("response.created", json!({ "response": { "id": response } }))
}

/// A message: announced, streamed in one piece, done.
pub(super) fn message(text: &str) -> Vec<String> {
    let id = id("msg");
    let item = |parts: Value| json!({ "type": "message", "id": id, "role": "assistant", "content": parts });
    let delta = json!({ "item_id": id, "output_index": 0, "content_index": 0, "delta": text });
    vec![
        frame("response.output_item.added", json!({ "output_index": 0, "item": item(json!([])) })),
        frame("response.output_text.delta", delta),
        done(&item(json!([{ "type": "output_text", "text": text }]))),
    ]
}

/// A tool call.
pub(super) fn call(call: &Call) -> String {
    done(&match call {
        Call::Shell(shell) => {
            let mut arguments = json!({ "cmd": shell.command });
            if let Some(ms) = shell.yield_ms {
                arguments["yield_time_ms"] = json!(ms);
            }
            if shell.escalated {
                arguments["sandbox_permissions"] = json!("require_escalated");
                arguments["justification"] = json!("needs to write outside");
            }
            function_call("exec_command", &arguments)
        }
        Call::Mcp { server, tool, arguments } => {
            let mut item = function_call(tool, arguments);
            item["namespace"] = json!(format!("mcp__{server}"));
            item
        }
    })
}

/// The item of a tool call.
fn function_call(name: &str, arguments: &Value) -> Value {
    json!({
        "type": "function_call",
        "id": id("fc"),
        "call_id": id("call"),
        "name": name,
        "arguments": arguments.to_string(),
    })
}

/// An item is complete.
fn done(item: &Value) -> String {
    frame("response.output_item.done", json!({ "output_index": 0, "item": item }))
}

/// The last frame; without it Codex reports a stream that was dropped.
pub(super) fn completed(response: &str) -> String {
    let usage = json!({
        "input_tokens": 1180,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": 20,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": 1200,
    });
    frame("response.completed", json!({ "response": { "id": response, "usage": usage } }))
}

/// The response failed on the model's side.
pub(super) fn failed(response: &str, code: &str, message: &str) -> String {
    let error = json!({ "code": code, "message": message });
    frame("response.failed", json!({ "response": { "id": response, "status": "failed", "error": error } }))
}

/// A fresh id of the model's.
pub(super) fn id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}
