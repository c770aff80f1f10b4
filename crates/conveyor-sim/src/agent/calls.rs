//! What the model calls: commands and MCP tools, with the dialogs about them.

use serde_json::Value;
use serde_json::json;

use super::Agent;
use super::Dialog;
use super::Effect;
use super::Millis;
use super::Run;
use super::turn::Phase;
use crate::directive::Call;
use crate::directive::Shell;

/// A shell call returns after this long although its command still runs. Measured.
const DEFAULT_YIELD: Millis = 10_000;

impl Agent {
    /// A tool call: asked about first where the policy wants it.
    pub(super) fn call(&mut self, call: Call) {
        let call_id = self.ids.short("call");
        let mut item = json!({ "type": "function_call", "call_id": call_id });
        match &call {
            Call::Shell(shell) => {
                item["name"] = json!("exec_command");
                item["arguments"] = json!(shell_arguments(shell).to_string());
            }
            Call::Mcp { server, tool, arguments } => {
                item["name"] = json!(tool);
                item["namespace"] = json!(format!("mcp__{server}"));
                item["arguments"] = json!(arguments.to_string());
            }
        }
        self.item(item);
        self.record_usage();
        let never = self.config.approval_policy == "never";
        match call {
            Call::Shell(shell) if !shell.escalated || never => self.run(call_id, &shell),
            Call::Shell(shell) => {
                self.open(Dialog::Command { command: shell.command.clone() });
                self.phase(Phase::Asking { call_id, call: Call::Shell(shell), since: self.now });
            }
            Call::Mcp { .. } if never => {
                let text = "MCP tool call requires approval, but approval policy is never";
                self.returned(&call_id, text, "");
            }
            Call::Mcp { server, tool, arguments } => {
                self.open(Dialog::Mcp { server: server.clone(), tool: tool.clone() });
                let call = Call::Mcp { server, tool, arguments };
                self.phase(Phase::Asking { call_id, call, since: self.now });
            }
        }
    }

    /// Runs a command of the model's.
    fn run(&mut self, call_id: String, shell: &Shell) {
        let until = self.now.saturating_add(shell.yield_ms.unwrap_or(DEFAULT_YIELD));
        let command = shell.command.clone();
        self.effects.push(Effect::Run(self.run_of(&call_id, &command)));
        self.phase(Phase::Running { call_id, command, since: self.now, until });
    }

    fn run_of(&self, call_id: &str, command: &str) -> Run {
        Run { call_id: call_id.to_owned(), command: command.to_owned(), thread: self.thread.id.clone() }
    }

    /// A command of the agent's has ended.
    pub(super) fn command_ended(&mut self, call_id: &str, code: i32, output: &str) {
        match self.turn.as_ref().map(|turn| turn.phase.clone()) {
            Some(Phase::Running { call_id: running, command, since, .. }) if running == call_id => {
                self.record_command(call_id, &command, since, code, output);
                let seconds = self.now.saturating_sub(since) as f64 / 1_000.0;
                let text = format!(
                    "Chunk ID: 000000\nWall time: {seconds:.4} seconds\nProcess exited with code {code}\nOutput:\n{output}"
                );
                self.returned(call_id, &text, &command);
            }
            Some(Phase::UserShell { call_id: running, command }) if running == call_id => {
                self.record_command(call_id, &command, self.now, code, output);
                let text = format!(
                    "<user_shell_command>\n<command>\n{command}\n</command>\n<result>\nExit code: {code}\nOutput:\n{output}\n</result>\n</user_shell_command>"
                );
                self.message("user", &text);
                self.show(&format!("• You ran {command}"));
                self.show_output(output);
                self.end_turn(None, None);
            }
            Some(_) | None => {
                self.background = self.background.saturating_sub(1);
                self.record_command(call_id, "", self.now, code, output);
            }
        }
    }

    fn record_command(&mut self, call_id: &str, command: &str, since: Millis, code: i32, output: &str) {
        let status = if code == 0 { "completed" } else { "failed" };
        let item = json!({
            "type": "CommandExecution", "id": call_id, "command": ["/bin/bash", "-lc", command],
            "cwd": format!("file://{}", self.config.cwd), "status": status,
            "aggregated_output": output, "exit_code": code,
        });
        self.completed(&item, since);
    }

    /// The approval dialog was answered with yes.
    pub(super) fn approve_command(&mut self, command: &str) {
        self.answered.push(format!("approved {command}"));
        self.show(&format!("✔ You approved codex to run {command} this time"));
        self.show("");
        if let Some(Phase::Asking { call_id, call: Call::Shell(shell), .. }) =
            self.turn.as_ref().map(|turn| turn.phase.clone())
        {
            self.run(call_id, &shell);
        } else {
            let call_id = self.ids.short("call");
            self.effects.push(Effect::Run(self.run_of(&call_id, command)));
        }
    }

    /// The approval dialog was answered with no: that ends the turn.
    pub(super) fn refuse_command(&mut self, command: &str) {
        self.show(&format!("✗ You canceled the request to run {command}"));
        self.show("");
        self.interrupt();
    }

    /// The MCP dialog was answered; a refusal does not end the turn.
    pub(super) fn finish_mcp(&mut self, server: &str, tool: &str, allowed: bool) {
        let text = if allowed { "ok" } else { "user cancelled MCP tool call" };
        if allowed {
            self.answered.push(format!("allowed {server}.{tool}"));
        }
        let Some(Phase::Asking { call_id, since, .. }) = self.turn.as_ref().map(|turn| turn.phase.clone())
        else {
            return;
        };
        let status = if allowed { "completed" } else { "failed" };
        let item =
            json!({ "type": "McpToolCall", "id": call_id, "server": server, "tool": tool, "status": status });
        self.completed(&item, since);
        self.returned(&call_id, text, "");
    }

    /// `!cmd`: a command of the user's own, without approval.
    pub(super) fn user_shell(&mut self, command: &str) {
        let call_id = self.ids.short("call");
        self.begin(Phase::UserShell { call_id: call_id.clone(), command: command.to_owned() }, "");
        self.answered.push(format!("ran !{command}"));
        self.effects.push(Effect::Run(self.run_of(&call_id, command)));
    }
}

/// A shell call's arguments.
fn shell_arguments(shell: &Shell) -> Value {
    let mut arguments = json!({ "cmd": shell.command });
    if let Some(ms) = shell.yield_ms {
        arguments["yield_time_ms"] = json!(ms);
    }
    if shell.escalated {
        arguments["sandbox_permissions"] = json!("require_escalated");
        arguments["justification"] = json!("needs to write outside");
    }
    arguments
}
