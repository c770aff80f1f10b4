//! What the agent shows.

use super::Agent;
use super::Shape;
use super::turn::Phase;

/// Columns that a line is wrapped at.
const COLUMNS: usize = 120;

impl Agent {
    /// The whole screen, top to bottom, longer than a pane may be: a pane shows its end.
    pub fn screen(&self) -> Vec<String> {
        if let Some(words) = &self.ended {
            return words.clone();
        }
        let version = self.config.shape.version();
        let mut lines = vec![String::new(), format!("  >_ OpenAI Codex (v{version})")];
        lines.extend([format!("     {}", self.config.cwd), String::new()]);
        lines.extend(self.transcript.iter().flat_map(|line| wrap(line, "  ")));
        match &self.dialog {
            Some(open) => lines.extend(open.dialog.lines(open.selected, self.config.shape, &self.config.cwd)),
            None => {
                self.show_status(&mut lines);
                self.show_popup(&mut lines);
                self.show_composer(&mut lines);
            }
        }
        lines
    }

    /// The terminal's title.
    pub fn title(&self) -> String {
        let name = if self.config.title_is_thread {
            // Codex cuts it to 29 characters and three dots.
            format!("{}...", self.thread.id.get(..29).unwrap_or_default())
        } else {
            self.config.cwd.rsplit('/').next().unwrap_or_default().to_owned()
        };
        if self.config.shape == Shape::V99 {
            String::new()
        } else if self.dialog.is_some() {
            format!("[ ! ] Action Required | {name}")
        } else if self.turn.is_some() {
            format!("⠋ {name}")
        } else {
            name
        }
    }

    /// Adds a line to what was said.
    pub(super) fn show(&mut self, line: &str) {
        self.transcript.extend(line.split('\n').map(str::to_owned));
    }

    /// Shows a user's text.
    pub(super) fn show_user(&mut self, text: &str) {
        let shown = text.replace('\n', "\n  ");
        self.show(&format!("› {shown}"));
        self.show("");
    }

    /// Shows what a command printed.
    pub(super) fn show_output(&mut self, output: &str) {
        let shown = output.trim_end();
        let shown = if shown.is_empty() { "(no output)" } else { shown };
        self.show(&format!("  └ {}", shown.replace('\n', "\n    ")));
        self.show("");
    }

    /// The line of a running turn and what waits behind it.
    fn show_status(&self, lines: &mut Vec<String>) {
        let terminals = match self.background {
            0 => String::new(),
            1 => "1 background terminal running · /ps to view · /stop to close".to_owned(),
            n => format!("{n} background terminals running · /ps to view · /stop to close"),
        };
        if let Some(turn) = &self.turn {
            let seconds = self.now.saturating_sub(turn.since) / 1_000;
            let running = matches!(turn.phase, Phase::Running { .. }) && terminals.is_empty();
            let tail = match (running, terminals.is_empty()) {
                (true, _) => " · 1 background terminal running · /ps to view · /stop to close".to_owned(),
                (false, true) => String::new(),
                (false, false) => format!(" · {terminals}"),
            };
            lines.extend([format!("• Working ({seconds}s • esc to interrupt){tail}"), String::new()]);
        } else if !terminals.is_empty() {
            lines.extend([format!("  {terminals}"), String::new()]);
        }
        if !self.steers.is_empty() && self.config.shape != Shape::V99 {
            lines.push("• Messages to be submitted after next tool call (press esc to interrupt and send immediately)".to_owned());
            lines.extend(self.steers.iter().map(|text| format!("  ↳ {text}")));
            lines.push(String::new());
        }
        if !self.queued.is_empty() {
            lines.push("• Queued follow-up inputs".to_owned());
            lines.extend(self.queued.iter().map(|text| format!("  ↳ {text}")));
            lines.extend(["    shift+← edit last queued message".to_owned(), String::new()]);
        }
    }

    /// The popup over the composer.
    fn show_popup(&self, lines: &mut Vec<String>) {
        let Some(word) = self.popup() else { return };
        match (word.chars().next(), self.completion(&word)) {
            (Some('/'), Some(command)) => lines.extend([format!("› {command}"), String::new()]),
            (Some('@'), None) => lines.extend([
                "  no matches".to_owned(),
                String::new(),
                "  enter/tab insert · esc close · ↑/↓ select · ←/→ filter".to_owned(),
                String::new(),
            ]),
            (Some('$'), None) => {
                lines.extend(["no matches", "", "  enter insert · esc close", ""].map(str::to_owned));
            }
            (_, Some(found)) => lines.extend([
                format!("› {found}"),
                String::new(),
                "  enter/tab insert · esc close · ↑/↓ select · ←/→ filter".to_owned(),
                String::new(),
            ]),
            (_, None) => {}
        }
    }

    /// The composer and the footer under it.
    fn show_composer(&self, lines: &mut Vec<String>) {
        let mark = if self.composer.shell { '!' } else { '›' };
        if self.composer.is_empty() {
            let placeholder = match self.config.shape {
                Shape::V169 => "Ask Codex to do anything",
                Shape::V144 => "Run /review on my current changes",
                Shape::V99 => "Write tests for @filename",
            };
            lines.push(format!("{mark} {placeholder}"));
        } else {
            let shown = self.stale.clone().unwrap_or_else(|| self.composer.shown()).replace('\n', "\n  ");
            let whole = format!("{mark} {shown}");
            lines.extend(whole.split('\n').flat_map(|line| wrap(line, "  ")));
        }
        lines.push(String::new());
        self.show_footer(lines);
    }

    fn show_footer(&self, lines: &mut Vec<String>) {
        let status = format!("  {} default · {}", self.config.model, self.config.cwd);
        match self.config.shape {
            _ if !self.is_ready() => lines.push("  ? for shortcuts".to_owned()),
            Shape::V99 => lines.push(format!("  ? for shortcuts{:>100}", "100% context left")),
            Shape::V144 => lines.push(status),
            Shape::V169 => {
                lines.push(status);
                lines.push(self.hint_line().to_owned());
            }
        }
    }

    fn hint_line(&self) -> &'static str {
        if self.rewinding {
            "  Browsing transcript · ↑↓/jk scroll · ←→/hl prompts · ^t details · ↵ rewind · esc back"
        } else if self.escaped {
            "  esc again to edit previous message"
        } else if self.composer.shell {
            "                                                            Shell mode"
        } else if self.composer.is_empty() {
            "  ← for agents · ? for shortcuts"
        } else {
            ""
        }
    }
}

/// A line in pieces that fit, the later ones indented.
fn wrap(line: &str, indent: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let mut pieces = vec![characters.iter().take(COLUMNS).collect::<String>()];
    let rest = characters.get(COLUMNS..).unwrap_or_default();
    let more = rest.chunks(COLUMNS - indent.len());
    pieces.extend(more.map(|piece| format!("{indent}{}", piece.iter().collect::<String>())));
    pieces
}
