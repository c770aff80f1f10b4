//! The smallest MCP server with a tool that asks for approval and one that does not.

use std::io::BufRead;
use std::io::Write;

use serde_json::Value;
use serde_json::json;

/// Answers requests, one JSON object a line, until the input ends.
pub fn serve(input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    for line in input.lines() {
        let message: Value = serde_json::from_str(&line?)?;
        if let Some(answer) = answer(&message) {
            writeln!(output, "{answer}")?;
            output.flush()?;
        }
    }
    Ok(())
}

/// The answer to a request; notifications have none.
fn answer(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let result = match message.get("method")?.as_str()? {
        "initialize" => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "conveyor-sim", "version": env!("CARGO_PKG_VERSION") },
        }),
        "tools/list" => json!({ "tools": [tool("whoami", false), tool("look", true)] }),
        "tools/call" => {
            let text = message["params"]["_meta"].to_string();
            json!({ "content": [{ "type": "text", "text": text }] })
        }
        "ping" => json!({}),
        _ => {
            let error = json!({ "code": -32601, "message": "method not found" });
            return Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        }
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// A tool that returns who called it.
fn tool(name: &str, read_only: bool) -> Value {
    json!({
        "name": name,
        "description": "Returns the call's _meta",
        "inputSchema": { "type": "object", "properties": {} },
        "annotations": { "readOnlyHint": read_only },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_and_a_notification_is_not() {
        let input = "{\"id\":1,\"method\":\"tools/call\",\"params\":{\"_meta\":{\"threadId\":\"t\"}}}\n{\"method\":\"x\"}\n";
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(r#"{\"threadId\":\"t\"}"#));
    }
}
