//! Calls of small tools, as an agent's program makes them.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;
use serde_json::json;

use crate::measure::Samples;
use crate::measure::ms;
use crate::table::Budget;
use crate::table::Figure;
use crate::table::Line;
use crate::world::SEEN;
use crate::world::World;

/// From the request's line to the answer's line, over pipes, in a server that runs.
pub(crate) fn calls(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let mut command = world.ours.command(&["mcp"]);
    let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut to = server.stdin.take().context("stdin is piped")?;
    let mut from = BufReader::new(server.stdout.take().context("stdout is piped")?);
    let mut ask = |method: &str, params: Value| -> anyhow::Result<String> {
        writeln!(to, "{}", json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))?;
        let mut line = String::new();
        ensure!(from.read_line(&mut line)? > 0, "the server closed its output");
        Ok(line)
    };
    let client = json!({ "name": "bench", "version": "0" });
    ask("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client }))?;
    let mut lines = Vec::new();
    for (tool, arguments) in
        [("sessions", json!({})), ("status", json!({ "task": SEEN })), ("setup_code", json!({}))]
    {
        let mut calls = Samples::new();
        for _ in 0..=300 {
            let begun = Instant::now();
            let params = json!({ "name": tool, "arguments": arguments, "_meta": { "threadId": "thread-1" } });
            let answer = ask("tools/call", params)?;
            calls.push(ms(begun.elapsed()));
            let answer: Value = serde_json::from_str(&answer)?;
            ensure!(answer["result"]["isError"] == false, "{tool}: {answer:#}");
        }
        let work = format!("MCP call of `{tool}`");
        lines.push(
            Line::new(work, Figure::P50, "ms", &calls[1..])
                .owes(Budget::AtMost(5.0))
                .note("the peer has none"),
        );
    }
    drop(to);
    server.wait()?;
    Ok(lines)
}
