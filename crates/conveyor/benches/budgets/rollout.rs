//! Rollouts as Codex writes them, of the usual mixture of records.

use std::fs::File;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;

/// The records of one whole turn.
pub(crate) const TURN_LINES: usize = 10;

/// A rollout that grows.
pub(crate) struct Rollout {
    pub(crate) path: PathBuf,
    file: BufWriter<File>,
    turns: u64,
    lines: u64,
}

impl Rollout {
    /// A new rollout with its head. `number` makes thread id and name.
    pub(crate) fn create(home: &Path, number: usize) -> anyhow::Result<Self> {
        let folder = home.join("sessions/2026/11/20");
        std::fs::create_dir_all(&folder)?;
        let thread = format!("0197a1d0-0000-7000-8000-{number:012}");
        let path = folder.join(format!("rollout-2026-11-20T10-00-00-{thread}.jsonl"));
        let file = BufWriter::new(File::create_new(&path)?);
        let mut rollout = Self { path, file, turns: 0, lines: 0 };
        let meta = json!({
            "id": thread, "timestamp": "2026-11-20T10:00:00.000Z", "cwd": home, "originator": "codex_cli_rs",
            "cli_version": "0.144.0", "source": "cli", "model_provider": "none", "git": {},
        });
        rollout.record("session_meta", &meta)?;
        rollout.file.flush()?;
        Ok(rollout)
    }

    /// A new rollout with this many lines, its head included, and whole turns only.
    pub(crate) fn with_lines(home: &Path, number: usize, lines: usize) -> anyhow::Result<Self> {
        let mut rollout = Self::create(home, number)?;
        for _ in 0..lines.div_ceil(TURN_LINES) {
            rollout.begin_turn()?;
            rollout.end_turn()?;
        }
        Ok(rollout)
    }

    /// Everything of a turn but its end.
    pub(crate) fn begin_turn(&mut self) -> anyhow::Result<()> {
        self.turns += 1;
        let call = format!("call_{:024}", self.turns);
        let usage = json!({ "input_tokens": 51_234, "cached_input_tokens": 48_000, "output_tokens": 612, "total_tokens": 51_846 });
        self.event("task_started", json!({ "turn_id": self.turn(), "model_context_window": 272_000 }))?;
        self.message("user", "input_text", "Run the tests of the parser and say what fails, then mend it.")?;
        self.event("user_message", json!({ "message": "Run the tests of the parser and say what fails, then mend it.", "kind": "plain" }))?;
        self.record("response_item", &json!({ "type": "reasoning", "summary": [], "content": null, "encrypted_content": "gAAAAABo".repeat(40) }))?;
        self.record("response_item", &json!({ "type": "function_call", "name": "shell", "arguments": "{\"command\":[\"bash\",\"-lc\",\"cargo test -p parser\"],\"workdir\":\"/home/dev/project\"}", "call_id": call }))?;
        self.record("response_item", &json!({ "type": "function_call_output", "call_id": call, "output": "running 42 tests\\n".repeat(12) }))?;
        self.event(
            "token_count",
            json!({ "info": { "total_token_usage": usage, "last_token_usage": usage }, "rate_limits": null }),
        )?;
        self.event(
            "agent_message",
            json!({ "message": "All tests of the parser pass; the cause was a missing bound." }),
        )?;
        self.message(
            "assistant",
            "output_text",
            "All tests of the parser pass; the cause was a missing bound.",
        )?;
        Ok(self.file.flush()?)
    }

    /// The end of the turn, written at once.
    pub(crate) fn end_turn(&mut self) -> anyhow::Result<()> {
        let last = "All tests of the parser pass; the cause was a missing bound.";
        self.event("task_complete", json!({ "turn_id": self.turn(), "last_agent_message": last }))?;
        Ok(self.file.flush()?)
    }

    fn turn(&self) -> String {
        format!("0197a1d0-1111-7000-8000-{:012}", self.turns)
    }

    fn message(&mut self, role: &str, kind: &str, text: &str) -> anyhow::Result<()> {
        let content = json!([{ "type": kind, "text": text }]);
        self.record("response_item", &json!({ "type": "message", "role": role, "content": content }))
    }

    fn event(&mut self, kind: &str, mut payload: Value) -> anyhow::Result<()> {
        payload["type"] = json!(kind);
        self.record("event_msg", &payload)
    }

    fn record(&mut self, kind: &str, payload: &Value) -> anyhow::Result<()> {
        self.lines += 1;
        // One record a millisecond, beginning at the head's time.
        let (seconds, milliseconds) = (self.lines / 1000, self.lines % 1000);
        let (hour, minute, second) = (10 + seconds / 3600, seconds / 60 % 60, seconds % 60);
        let time = format!("2026-11-20T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z");
        writeln!(self.file, r#"{{"timestamp":"{time}","type":"{kind}","payload":{payload}}}"#)?;
        Ok(())
    }
}
