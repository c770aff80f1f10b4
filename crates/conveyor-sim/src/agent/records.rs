//! Rollout records in the shapes of three versions.

use serde_json::Value;
use serde_json::json;

use super::Agent;
use super::Effect;
use super::Millis;

/// Which version's records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// 0.169: ordinals, `item_completed`, no `user_message`.
    #[default]
    #[value(name = "0.169")]
    V169,
    /// 0.144: `user_message` and `agent_message`, no ordinals.
    #[value(name = "0.144")]
    V144,
    /// 0.99: as 0.144, without the start and end of turns.
    #[value(name = "0.99")]
    V99,
}

impl Shape {
    /// The version that it stands for.
    pub const fn version(self) -> &'static str {
        match self {
            Self::V169 => "0.169.0",
            Self::V144 => "0.144.0",
            Self::V99 => "0.99.0",
        }
    }
}

/// The rollout of a thread as far as its writer knows it.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) id: String,
    /// Below the home.
    pub(super) path: String,
    pub(super) created: Millis,
    ordinal: u64,
    /// Whether the first user message made the file.
    pub(super) exists: bool,
}

impl Thread {
    /// A thread whose file does not exist yet. `offset_s` is local time's distance from UTC: the name holds local time.
    pub(super) fn new(id: String, created: Millis, offset_s: i32) -> Self {
        let local = jiff::tz::Offset::from_seconds(offset_s).unwrap_or(jiff::tz::Offset::UTC);
        let time = local.to_datetime(stamp(created));
        let (day, second) = (time.strftime("%Y/%m/%d"), time.strftime("%Y-%m-%dT%H-%M-%S"));
        let path = format!("sessions/{day}/rollout-{second}-{id}.jsonl");
        Self { id, path, created, ordinal: 0, exists: false }
    }
}

/// A time for a record.
fn stamp(now: Millis) -> jiff::Timestamp {
    i64::try_from(now).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

/// A time as records write it.
pub(super) fn rfc3339(now: Millis) -> String {
    format!("{:.3}", stamp(now))
}

impl Agent {
    /// Appends one record to the thread's rollout.
    pub(super) fn record(&mut self, kind: &str, payload: &Value) {
        let time = rfc3339(self.now);
        let line = if self.config.shape == Shape::V169 {
            let ordinal = self.thread.ordinal;
            format!(r#"{{"timestamp":"{time}","ordinal":{ordinal},"type":"{kind}","payload":{payload}}}"#)
        } else {
            format!(r#"{{"timestamp":"{time}","type":"{kind}","payload":{payload}}}"#)
        };
        self.thread.ordinal += 1;
        let path = self.thread.path.clone();
        self.effects.push(Effect::Append { path, line: line + "\n" });
    }

    /// An `event_msg`.
    pub(super) fn event(&mut self, kind: &str, mut payload: Value) {
        payload["type"] = json!(kind);
        self.record("event_msg", &payload);
    }

    /// A `response_item` of this turn.
    pub(super) fn item(&mut self, mut payload: Value) {
        if self.config.shape != Shape::V99 {
            payload["internal_chat_message_metadata_passthrough"] = json!({ "turn_id": self.turn_id() });
        }
        self.record("response_item", &payload);
    }

    /// A `response_item` with a message.
    pub(super) fn message(&mut self, role: &str, text: &str) {
        let part = if role == "assistant" { "output_text" } else { "input_text" };
        let mut item =
            json!({ "type": "message", "role": role, "content": [{ "type": part, "text": text }] });
        if self.config.shape == Shape::V169 || role == "assistant" {
            item["id"] = json!(self.ids.short("msg"));
        }
        self.item(item);
    }

    /// An `item_completed` event; only 0.169 has it.
    pub(super) fn completed(&mut self, item: &Value, since: Millis) {
        if self.config.shape == Shape::V169 {
            let (thread, turn) = (self.thread.id.clone(), self.turn_id());
            let payload = json!({
                "thread_id": thread, "turn_id": turn, "item": item,
                "started_at_ms": since, "completed_at_ms": self.now,
            });
            self.event("item_completed", payload);
        }
    }

    /// What stands at the head of a new rollout.
    pub(super) fn record_head(&mut self) {
        let (id, shape) = (self.thread.id.clone(), self.config.shape);
        let mut meta = json!({
            "id": id, "timestamp": rfc3339(self.thread.created), "cwd": self.config.cwd,
            "originator": "codex-tui", "cli_version": shape.version(), "source": "cli",
            "model_provider": "fake", "base_instructions": { "text": "You are a simulated agent." }, "git": {},
        });
        match shape {
            Shape::V169 => {
                meta["session_id"] = json!(id);
                meta["account_scoped"] = json!(true);
                meta["runtime_workspace_roots"] = json!([self.config.cwd]);
                meta["thread_source"] = json!("user");
                meta["history_mode"] = json!("paginated");
                meta["context_window"] = json!({ "window_id": self.ids.uuid(self.now) });
            }
            Shape::V144 => {
                meta["session_id"] = json!(id);
                meta["thread_source"] = json!("user");
                meta["history_mode"] = json!("legacy");
            }
            Shape::V99 => meta["originator"] = json!("codex_cli_rs"),
        }
        self.record("session_meta", &meta);
    }

    /// What Codex says to the model before the first user message.
    pub(super) fn record_context(&mut self) {
        let cwd = &self.config.cwd;
        let environment = format!(
            "<environment_context>\n  <cwd>{cwd}</cwd>\n  <shell>bash</shell>\n</environment_context>"
        );
        let agents = format!("# AGENTS.md instructions for {cwd}\n\n<INSTRUCTIONS>\n</INSTRUCTIONS>");
        self.message("developer", "<permissions instructions> simulated");
        if self.config.shape == Shape::V99 {
            self.message("user", &agents);
        }
        self.message("user", &environment);
        if self.config.shape != Shape::V99 {
            self.record("world_state", &json!({ "full": true, "state": {} }));
        }
    }

    /// The settings of a turn.
    pub(super) fn record_turn_context(&mut self) {
        let config = &self.config;
        let mut context = json!({
            "cwd": config.cwd, "approval_policy": config.approval_policy, "model": config.model,
            "sandbox_policy": { "type": config.sandbox_mode }, "summary": "none",
        });
        if config.shape != Shape::V99 {
            context["turn_id"] = json!(self.turn_id());
        }
        self.record("turn_context", &context);
    }

    /// The user's text, as item and as event.
    pub(super) fn record_user(&mut self, text: &str) {
        self.message("user", text);
        if self.config.shape == Shape::V169 {
            let content = json!([{ "type": "text", "text": text, "text_elements": [] }]);
            let ids = (self.ids.uuid(self.now), self.ids.uuid(self.now));
            let item = json!({ "type": "UserMessage", "id": ids.0, "client_id": ids.1, "content": content });
            self.completed(&item, self.now);
        } else {
            let none: [(); 0] = [];
            let message =
                json!({ "message": text, "images": none, "local_images": none, "text_elements": none });
            self.event("user_message", message);
        }
    }

    /// The agent's text, as event and as item.
    pub(super) fn record_agent(&mut self, text: &str) {
        if self.config.shape == Shape::V169 {
            let content = json!([{ "type": "Text", "text": text }]);
            let id = self.ids.short("msg");
            self.completed(&json!({ "type": "AgentMessage", "id": id, "content": content }), self.now);
        } else {
            self.event("agent_message", json!({ "message": text }));
        }
        self.message("assistant", text);
        self.record_usage();
        self.record_tokens();
    }

    /// What one answer of the model cost; only 0.169 has the record.
    pub(super) fn record_usage(&mut self) {
        self.tokens += 1_200;
        if self.config.shape == Shape::V169 {
            let (thread, turn) = (self.thread.id.clone(), self.turn_id());
            let usage = json!({ "input_tokens": 1_180, "output_tokens": 20, "total_tokens": 1_200 });
            let record =
                json!({ "thread_id": thread, "turn_id": turn, "session_id": thread, "usage": usage });
            self.record("token_usage_record", &record);
        }
    }

    /// The running count of tokens.
    pub(super) fn record_tokens(&mut self) {
        let usage = |total: u64| {
            json!({ "input_tokens": total, "cached_input_tokens": 0, "output_tokens": 0,
                    "reasoning_output_tokens": 0, "total_tokens": total })
        };
        let window = 258_400;
        let last = if self.context_full { window } else { 1_200.min(self.tokens) };
        let info = json!({ "total_token_usage": usage(self.tokens), "last_token_usage": usage(last),
                           "model_context_window": window });
        let limits = json!({ "limit_id": "codex", "primary": null, "secondary": null, "plan_type": null });
        self.event("token_count", json!({ "info": info, "rate_limits": limits }));
    }

    /// A turn's start; 0.99 has none.
    pub(super) fn record_start(&mut self) {
        if self.config.shape != Shape::V99 {
            let turn = self.turn_id();
            let mut start = json!({
                "turn_id": turn, "started_at": self.now / 1_000,
                "model_context_window": 258_400, "collaboration_mode_kind": "default",
            });
            if self.config.shape == Shape::V169 {
                start["root_turn_id"] = json!(turn);
                start["turn_attribution"] = json!({ "turn_id": turn, "turn_trigger": "user" });
            }
            self.event("task_started", start);
        }
    }

    /// A turn's end; 0.99 has none, and only 0.169 says why it failed.
    pub(super) fn record_end(&mut self, since: Millis, last: Option<&str>, error: Option<Value>) {
        if self.config.shape == Shape::V99 {
            return;
        }
        let turn = self.turn_id();
        let mut end = json!({
            "turn_id": turn, "last_agent_message": last,
            "completed_at": self.now / 1_000, "duration_ms": self.now.saturating_sub(since),
        });
        if self.config.shape == Shape::V169 {
            end["root_turn_id"] = json!(turn);
            end["started_at"] = json!(since / 1_000);
            if let Some(error) = error {
                end["error"] = error;
            }
        }
        self.event("task_complete", end);
    }

    /// An interrupted turn's end.
    pub(super) fn record_abort(&mut self, since: Millis) {
        let text = "<turn_aborted>\nThe user interrupted the previous turn on purpose.\n</turn_aborted>";
        self.message("user", text);
        let mut end = json!({ "reason": "interrupted" });
        if self.config.shape != Shape::V99 {
            end["turn_id"] = json!(self.turn_id());
            end["completed_at"] = json!(self.now / 1_000);
            end["duration_ms"] = json!(self.now.saturating_sub(since));
        }
        self.event("turn_aborted", end);
    }

    /// A tool call's output.
    pub(super) fn record_output(&mut self, call_id: &str, output: &str) {
        self.item(json!({ "type": "function_call_output", "call_id": call_id, "output": output }));
        self.record_tokens();
    }

    /// The history of a compacted thread.
    pub(super) fn record_compaction(&mut self) {
        self.message("assistant", "Summary of the conversation.");
        self.record_usage();
        let none: [(); 0] = [];
        self.record(
            "compacted",
            &json!({ "message": "Summary of the conversation.", "replacement_history": none }),
        );
        if self.config.shape == Shape::V169 {
            self.record_turn_context();
            let id = self.ids.uuid(self.now);
            self.completed(&json!({ "type": "ContextCompaction", "id": id }), self.now);
        } else {
            self.event("context_compacted", json!({}));
        }
    }
}
