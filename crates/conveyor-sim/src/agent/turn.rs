//! A turn: what the built-in model does with a text, and what a person's keys do to it.

use serde_json::Value;
use serde_json::json;

use super::Agent;
use super::Millis;
use super::Shape;
use crate::directive::Action;
use crate::directive::Call;
use crate::directive::Failure;
use crate::provider::Received;
use crate::provider::decide;

/// How long the least answer of the model takes; the real one with a local provider took 20 to 90 ms.
const LEAST_ANSWER: Millis = 20;

/// A running turn.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) id: String,
    pub(super) since: Millis,
    /// The text that the model answers.
    text: String,
    /// What its calls returned.
    outputs: Vec<String>,
    pub(super) phase: Phase,
}

/// What a turn waits for.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// The model answers.
    Thinking { until: Millis, action: Action },
    /// A command of the model's runs.
    Running { call_id: String, command: String, since: Millis, until: Millis },
    /// A dialog about a call is open.
    Asking { call_id: String, call: Call, since: Millis },
    /// A command of the user's (`!cmd`) runs.
    UserShell { call_id: String, command: String },
    /// The history is being compacted.
    Compacting { until: Millis },
}

impl Agent {
    /// The id of the running or last turn.
    pub(super) fn turn_id(&self) -> String {
        self.turn.as_ref().map_or_else(|| self.last_turn.clone(), |turn| turn.id.clone())
    }

    /// Starts a turn: its first records, then the text if there is one.
    pub(super) fn begin(&mut self, phase: Phase, text: &str) {
        let first = !self.thread.exists;
        self.thread.exists = true;
        let id = self.ids.uuid(self.now);
        self.last_turn.clone_from(&id);
        self.turn = Some(Turn { id, since: self.now, text: text.to_owned(), outputs: Vec::new(), phase });
        if first {
            self.record_head();
        } else if self.config.shape != Shape::V99 {
            let id = self.thread.id.clone();
            self.event("thread_settings_applied", json!({ "thread_id": id, "thread_settings": {} }));
        }
        self.record_start();
        if first {
            self.record_context();
        }
    }

    /// Starts a turn with a user's text.
    pub(super) fn start_turn(&mut self, text: &str) {
        if std::mem::take(&mut self.context_full) {
            self.start_compaction();
            self.finish_compaction();
        }
        self.begin(Phase::Compacting { until: Millis::MAX }, text);
        if self.config.shape != Shape::V99 {
            self.record_turn_context();
        }
        self.user_message(text);
        if self.config.shape == Shape::V99 {
            self.record_turn_context();
        }
        self.think();
    }

    /// Records a user's text and shows it.
    fn user_message(&mut self, text: &str) {
        self.record_user(text);
        self.show_user(text);
    }

    /// Asks the model what to do next.
    fn think(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        let received = Received {
            thread: Some(self.thread.id.clone()),
            user_text: turn.text.clone(),
            outputs: turn.outputs.clone(),
            // A request without tools would be one of Codex's own.
            body: json!({ "tools": [{}] }),
        };
        let round = decide(&self.config.rules, &received);
        let delay = Millis::try_from(round.delay.as_millis()).unwrap_or(Millis::MAX);
        let until = self.now.saturating_add(delay.max(LEAST_ANSWER));
        turn.phase = Phase::Thinking { until, action: round.action };
    }

    /// When something happens by itself.
    pub(super) fn turn_deadline(&self) -> Option<Millis> {
        match &self.turn.as_ref()?.phase {
            Phase::Thinking { until, .. } | Phase::Running { until, .. } | Phase::Compacting { until } => {
                Some(*until)
            }
            Phase::Asking { .. } | Phase::UserShell { .. } => None,
        }
    }

    /// Does what is due.
    pub(super) fn turn_due(&mut self) {
        match self.turn.as_ref().map(|turn| turn.phase.clone()) {
            Some(Phase::Thinking { action, .. }) => self.act(action),
            Some(Phase::Running { call_id, command, .. }) => {
                self.background += 1;
                let id = self.ids.number() % 100_000;
                self.returned(&call_id, &format!("Process running with session ID {id}\n"), &command);
            }
            Some(Phase::Compacting { .. }) => {
                self.finish_compaction();
                self.after_turn();
            }
            Some(Phase::Asking { .. } | Phase::UserShell { .. }) | None => {}
        }
    }

    /// Carries out what the model answered.
    fn act(&mut self, action: Action) {
        match action {
            Action::Say(text) => self.said(&text),
            Action::Call(call) => self.call(call),
            Action::Fail(failure) => self.failed(failure),
        }
    }

    /// The model's last word of a turn, unless a text waits that goes into the same turn.
    fn said(&mut self, text: &str) {
        self.record_agent(text);
        self.show(&format!("• {}", text.replace('\n', "\n  ")));
        self.show("");
        if !self.absorb_steers() {
            self.end_turn(Some(text), None);
        }
    }

    pub(super) fn phase(&mut self, phase: Phase) {
        if let Some(turn) = &mut self.turn {
            turn.phase = phase;
        }
    }

    /// A call returned; texts that waited for it go into the same turn.
    pub(super) fn returned(&mut self, call_id: &str, output: &str, command: &str) {
        self.record_output(call_id, output);
        if !command.is_empty() {
            self.show(&format!("• Ran {command}"));
            self.show_output(output.split_once("Output:\n").map_or("", |(_, tail)| tail));
        }
        if let Some(turn) = &mut self.turn {
            turn.outputs.push(output.to_owned());
        }
        if !self.absorb_steers() {
            self.think();
        }
    }

    /// Puts waiting texts into the running turn; false when there are none.
    fn absorb_steers(&mut self) -> bool {
        let steers = std::mem::take(&mut self.steers);
        let Some(last) = steers.last().cloned() else { return false };
        for steer in &steers {
            if self.config.shape == Shape::V99 {
                // It was shown when it was typed.
                self.record_user(steer);
            } else {
                self.user_message(steer);
            }
        }
        if let Some(turn) = &mut self.turn {
            turn.text = last;
            turn.outputs.clear();
        }
        self.think();
        true
    }

    /// Enter while busy. 0.169 cuts the model's stream off; older versions wait for the next call or the end; 0.99 shows
    /// the text at once, but what it shows is lost when the turn is interrupted before.
    pub(super) fn steer(&mut self, text: String) {
        let thinking = self.turn.as_ref().is_some_and(|turn| matches!(turn.phase, Phase::Thinking { .. }));
        if self.config.shape == Shape::V99 {
            self.show_user(&text);
        }
        self.steers.push(text);
        if thinking && self.config.shape == Shape::V169 {
            self.absorb_steers();
        }
    }

    /// Escape while busy.
    pub(super) fn interrupt(&mut self) {
        let Some(turn) = self.turn.clone() else { return };
        // Measured on 0.144: a turn that has done nothing yet is taken back, and its text returns to the composer.
        let is_taken_back = self.config.shape == Shape::V144
            && self.steers.is_empty()
            && turn.outputs.is_empty()
            && matches!(turn.phase, Phase::Thinking { .. });
        if let Phase::Running { call_id, since, .. } | Phase::Asking { call_id, since, .. } = &turn.phase {
            let seconds = self.now.saturating_sub(*since) as f64 / 1_000.0;
            let text = match self.config.shape {
                Shape::V169 => format!("Wall time: {seconds:.1} seconds\naborted by user"),
                Shape::V144 | Shape::V99 => format!("aborted by user after {seconds:.1}s"),
            };
            self.record_output(call_id, &text);
        }
        if matches!(turn.phase, Phase::Running { .. }) {
            // Measured: the command goes on as a background terminal.
            self.background += 1;
        }
        self.record_abort(turn.since);
        self.turn = None;
        let steers = std::mem::take(&mut self.steers);
        if !steers.is_empty() && self.config.shape != Shape::V99 {
            self.show("• Model interrupted to submit steer instructions.");
            self.show("");
            self.start_turn(&steers.join("\n"));
            return;
        }
        if is_taken_back {
            self.event("thread_rolled_back", json!({ "num_turns": 1 }));
            let queued: Vec<String> = std::mem::take(&mut self.queued).into();
            self.composer.restore(&[vec![turn.text], queued].concat().join("\n"));
            return;
        }
        self.show(match self.config.shape {
            Shape::V169 => "■ Conversation interrupted - use /feedback if something went wrong",
            Shape::V144 | Shape::V99 => "■ Conversation interrupted - tell the model what to do differently.",
        });
        self.show("");
        let queued: Vec<String> = std::mem::take(&mut self.queued).into();
        if !queued.is_empty() {
            self.composer.restore(&queued.join("\n"));
        }
    }

    /// The turn is over; the next queued text begins another.
    pub(super) fn end_turn(&mut self, last: Option<&str>, error: Option<Value>) {
        let since = self.turn.as_ref().map_or(self.now, |turn| turn.since);
        self.record_end(since, last, error);
        self.turn = None;
        if self.config.shape == Shape::V169 {
            self.show("  Worked for <1s • 00:00");
            self.show("");
        }
        self.after_turn();
    }

    fn after_turn(&mut self) {
        if let Some(next) = self.queued.pop_front() {
            self.submit(&next);
        }
    }

    /// The model's side failed for good.
    fn failed(&mut self, failure: Failure) {
        let (message, info) = match failure {
            Failure::Unauthorized => (
                "unexpected status 401 Unauthorized: bad key",
                json!({ "http_connection_failed": { "http_status_code": 401 } }),
            ),
            Failure::TooManyRequests => (
                "exceeded retry limit, last status: 429 Too Many Requests",
                json!({ "response_too_many_failed_attempts": { "http_status_code": 429 } }),
            ),
            Failure::ServerError => (
                "We’re currently experiencing high demand, which may cause temporary errors.",
                json!("internal_server_error"),
            ),
            Failure::UsageLimit => {
                ("You’ve hit your usage limit. Try again at 3:41 PM.", json!("usage_limit_exceeded"))
            }
            Failure::Dropped => (
                "stream disconnected before completion: stream closed before response.completed",
                json!("other"),
            ),
            Failure::ContextFull => {
                self.context_full = true;
                self.record_tokens();
                (
                    "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying.",
                    json!("context_window_exceeded"),
                )
            }
        };
        self.show(&format!("■ {message}"));
        self.show("");
        self.end_turn(None, Some(json!({ "message": message, "codex_error_info": info })));
    }

    /// `/compact`.
    pub(super) fn start_compaction(&mut self) {
        self.begin(Phase::Compacting { until: self.now + LEAST_ANSWER }, "");
    }

    /// The history is compacted.
    fn finish_compaction(&mut self) {
        let since = self.turn.as_ref().map_or(self.now, |turn| turn.since);
        self.record_compaction();
        self.show("• Context compacted · 0s");
        self.show("");
        self.record_end(since, None, None);
        self.turn = None;
    }
}
