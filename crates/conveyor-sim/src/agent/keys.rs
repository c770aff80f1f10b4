//! Keys while no dialog is open.

use super::Agent;
use super::Dialog;
use super::Input;
use super::Millis;
use super::Shape;
use serde_json::json;

use crate::agent::records::rfc3339;

/// Characters closer than this are a burst, which a person does not type. From Codex's source.
const BURST_GAP: Millis = 8;

/// For this long after a burst Enter is a newline and Tab nothing. From Codex's source; measured.
const BURST_WINDOW: Millis = 120;

/// The slash commands that it knows.
const COMMANDS: [&str; 6] = ["/clear", "/compact", "/new", "/ps", "/quit", "/status"];

impl Agent {
    /// One input.
    pub(super) fn input(&mut self, input: &Input) {
        if let Input::Paste(text) = input {
            self.pasted(text);
            return;
        }
        if self.dialog.is_some() {
            self.dialog_input(input);
        } else if self.rewinding {
            self.rewind_input(input);
        } else {
            self.composer_input(input);
        }
    }

    /// A bracketed paste: goes into the composer, never into a dialog.
    fn pasted(&mut self, text: &str) {
        self.pastes += 1;
        if self.dialog.is_none() {
            self.leave_rewind();
            let shown = self.composer.shown();
            let long = self.composer.paste(text);
            if long && self.pastes_in_read > 0 {
                self.stale.get_or_insert(shown);
            }
            self.pastes_in_read += 1;
            self.last_char = None;
            self.burst_until = 0;
        }
        if self.config.dialog_after_paste == Some(self.pastes) {
            self.open(Dialog::Command { command: "touch raised-by-paste".to_owned() });
        }
    }

    /// A key in the composer.
    fn composer_input(&mut self, input: &Input) {
        let escaped = std::mem::take(&mut self.escaped);
        match input {
            Input::Char(character) => self.typed(*character),
            Input::Enter if self.now < self.burst_until => {
                self.composer.put('\n');
                self.burst_until = self.now + BURST_WINDOW;
            }
            Input::Tab if self.now < self.burst_until => {}
            Input::Enter => self.enter(),
            Input::Tab => self.tab(),
            Input::Escape => self.escape(escaped),
            Input::Ctrl('c') => self.ctrl_c(),
            Input::Ctrl('u') => self.composer.kill_line(),
            Input::Ctrl('e') => self.composer.go_to_end(),
            Input::Ctrl('j') => self.composer.put('\n'),
            Input::Backspace => self.composer.backspace(),
            Input::Ctrl(_) | Input::Up | Input::Down | Input::Other | Input::Paste(_) => {}
        }
    }

    /// A typed character.
    fn typed(&mut self, character: char) {
        if self.last_char.is_some_and(|last| self.now.saturating_sub(last) <= BURST_GAP) {
            self.burst_until = self.now + BURST_WINDOW;
        }
        self.last_char = Some(self.now);
        self.composer.put(character);
    }

    /// Enter: completes, runs, steers or submits.
    fn enter(&mut self) {
        let popup = self.popup();
        if let Some(word) = &popup
            && let Some(found) = self.completion(word)
        {
            if word.starts_with('/') {
                self.composer.clear();
                self.command(&found);
            } else {
                self.composer.complete(word, &format!("{found} "));
            }
            return;
        }
        // Measured: without a match Enter submits behind `@x`, and does nothing behind `$x`.
        if !self.is_ready() || popup.is_some_and(|word| word.starts_with('$')) {
            return;
        }
        let Some(text) = self.take_draft() else { return };
        if self.is_busy() {
            self.write_history(&text);
            self.steer(text);
        } else {
            self.submit(&text);
        }
    }

    /// Tab: goes to a popup, does nothing in shell mode, else submits when idle and queues when busy. All measured.
    fn tab(&mut self) {
        if let Some(word) = self.popup() {
            if let Some(found) = self.completion(&word) {
                let blank = if word.starts_with('/') { "" } else { " " };
                self.composer.complete(&word, &format!("{found}{blank}"));
            }
            return;
        }
        if self.composer.shell || !self.is_ready() {
            return;
        }
        let Some(text) = self.take_draft() else { return };
        if self.is_busy() {
            self.queued.push_back(text);
        } else {
            self.submit(&text);
        }
    }

    /// The draft, taken out of the composer when there is any. A shell command keeps its `!`.
    fn take_draft(&mut self) -> Option<String> {
        let text = self.composer.text();
        if text.is_empty() {
            return None;
        }
        let shell = self.composer.shell;
        self.composer.clear();
        Some(if shell { format!("!{text}") } else { text })
    }

    /// A text goes out of the composer or the queue while no turn runs.
    pub(super) fn submit(&mut self, text: &str) {
        let word = text.split_whitespace().next().unwrap_or_default().to_owned();
        if let Some(command) = text.strip_prefix('!') {
            self.user_shell(command.trim());
        } else if COMMANDS.contains(&word.as_str()) {
            self.command(&word);
        } else if word.starts_with('/') && !word[1..].contains('/') {
            self.show(&format!(
                "• Unrecognized command '{word}'. Type \"/\" for a list of supported commands."
            ));
            self.show("");
            self.composer.restore(text);
            self.composer.go_to_start();
        } else {
            self.write_history(text);
            self.start_turn(text);
        }
    }

    /// A slash command.
    fn command(&mut self, command: &str) {
        match command {
            "/quit" => self.quit(""),
            "/compact" if !self.is_busy() => self.start_compaction(),
            "/new" if !self.is_busy() && self.config.git => self.open(Dialog::Picker),
            "/clear" | "/new" if !self.is_busy() => self.new_thread(),
            "/status" => {
                let thread = self.thread.id.clone();
                self.show(&format!("/status\n\n  Session:             {thread}\n"));
            }
            busy => self.show(&format!("■ '{busy}' is disabled while a task is in progress.\n")),
        }
    }

    /// Escape: closes a popup, interrupts, or on the second press opens the transcript.
    fn escape(&mut self, escaped: bool) {
        if self.popup().is_some() {
            self.composer.popup_closed = true;
        } else if self.is_busy() {
            self.interrupt();
        } else if self.composer.is_empty() && self.config.shape == Shape::V169 {
            self.rewinding = escaped && self.thread.exists;
            self.escaped = !self.rewinding;
        }
    }

    /// Ctrl-C: interrupts, empties a draft, or quits at once.
    fn ctrl_c(&mut self) {
        if self.is_busy() {
            self.interrupt();
        } else if self.composer.is_empty() {
            self.quit("");
        } else {
            self.composer.clear();
        }
    }

    /// A key in the transcript browser: Enter rewinds, Tab and Escape leave it. Measured.
    fn rewind_input(&mut self, input: &Input) {
        match input {
            Input::Enter => {
                self.answered.push("rewound".to_owned());
                self.leave_rewind();
                let time = rfc3339(self.now);
                self.event("thread_rolled_back", json!({ "num_turns": 1, "at": time }));
                let last = self.transcript.iter().rposition(|line| line.starts_with("› "));
                if let Some(at) = last {
                    let text = self.transcript.split_off(at)[0].clone();
                    self.composer.restore(text.trim_start_matches("› "));
                }
            }
            Input::Tab | Input::Escape | Input::Ctrl('c') => self.leave_rewind(),
            Input::Char(_)
            | Input::Ctrl(_)
            | Input::Backspace
            | Input::Up
            | Input::Down
            | Input::Other
            | Input::Paste(_) => {}
        }
    }

    fn leave_rewind(&mut self) {
        self.rewinding = false;
        self.escaped = false;
    }

    /// The word that a popup is open for.
    pub(super) fn popup(&self) -> Option<String> {
        let word = self.composer.popup()?;
        (!word.starts_with('/') || self.completion(&word).is_some()).then_some(word)
    }

    /// What a popup would put in place of the word.
    pub(super) fn completion(&self, word: &str) -> Option<String> {
        match word.chars().next()? {
            '/' => {
                COMMANDS.iter().find(|command| command.starts_with(word)).map(|&command| command.to_owned())
            }
            '@' => self.config.files.iter().find(|file| file.contains(&word[1..])).cloned(),
            _ => None,
        }
    }
}
