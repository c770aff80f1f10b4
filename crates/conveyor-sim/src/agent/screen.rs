//! What the agent shows.

use std::ops::Range;

use super::Agent;
use super::Shape;
use super::turn::Phase;

/// Columns that a line is wrapped at.
const COLUMNS: usize = 120;

/// What a terminal shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Top to bottom.
    pub lines: Vec<String>,
    /// What is drawn dim, ascending: the mark of what was sent, a running turn's hint, the placeholder, the footer.
    pub dim: Vec<Dim>,
    /// Row and column of the cursor, which a dialog hides.
    pub cursor: Option<(usize, usize)>,
}

/// Characters of a line that are drawn dim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dim {
    /// The line.
    pub row: usize,
    /// The characters.
    pub columns: Range<usize>,
}

impl Frame {
    /// Adds lines that are drawn bright.
    fn bright(&mut self, lines: impl IntoIterator<Item = String>) {
        self.lines.extend(lines);
    }

    /// Adds a line of which these characters are drawn dim.
    fn dimmed(&mut self, line: String, columns: Range<usize>) {
        self.dim.push(Dim { row: self.lines.len(), columns });
        self.lines.push(line);
    }

    /// The lowest rows, as many as fit.
    pub fn bottom(mut self, rows: usize) -> Self {
        let above = self.lines.len().saturating_sub(rows);
        self.lines.drain(..above);
        self.dim.retain(|dim| dim.row >= above);
        self.dim.iter_mut().for_each(|dim| dim.row -= above);
        self.cursor = self.cursor.and_then(|(row, column)| Some((row.checked_sub(above)?, column)));
        self
    }
}

impl Agent {
    /// The whole screen as plain lines, longer than a pane may be.
    pub fn screen(&self) -> Vec<String> {
        self.frame().lines
    }

    /// The whole screen, longer than a pane may be: a pane shows its [`Frame::bottom`].
    pub fn frame(&self) -> Frame {
        let mut frame = Frame::default();
        if let Some(words) = &self.ended {
            frame.lines.clone_from(words);
            return frame;
        }
        let version = self.config.shape.version();
        frame.lines = vec![String::new(), format!("  >_ OpenAI Codex (v{version})")];
        frame.lines.extend([format!("     {}", self.config.cwd), String::new()]);
        for line in self.transcript.iter().flat_map(|line| wrap(line, "  ")) {
            let mark = usize::from(line.starts_with("› "));
            frame.dimmed(line, 0..mark);
        }
        if let Some(open) = &self.dialog {
            frame.bright(open.dialog.lines(open.selected, self.config.shape, &self.config.cwd));
        } else {
            self.show_status(&mut frame);
            self.show_popup(&mut frame.lines);
            self.show_composer(&mut frame);
        }
        frame.dim.retain(|dim| !dim.columns.is_empty());
        frame
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
    fn show_status(&self, frame: &mut Frame) {
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
            let working = format!("• Working ({seconds}s • esc to interrupt)");
            let hint = "• Working ".chars().count()..working.chars().count();
            frame.dimmed(format!("{working}{tail}"), hint);
            frame.lines.push(String::new());
        } else if !terminals.is_empty() {
            frame.lines.extend([format!("  {terminals}"), String::new()]);
        }
        let lines = &mut frame.lines;
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
    fn show_composer(&self, frame: &mut Frame) {
        let mark = if self.composer.shell { '!' } else { '›' };
        if self.composer.is_empty() {
            let placeholder = match self.config.shape {
                Shape::V169 => "Ask Codex to do anything",
                Shape::V144 => "Run /review on my current changes",
                Shape::V99 => "Write tests for @filename",
            };
            frame.cursor = Some((frame.lines.len(), 2));
            frame.dimmed(format!("{mark} {placeholder}"), 2..2 + placeholder.len());
        } else {
            let shown = self.stale.clone().unwrap_or_else(|| self.composer.shown());
            let whole = format!("{mark} {}", shown.replace('\n', "\n  "));
            frame.bright(whole.split('\n').flat_map(|line| wrap(line, "  ")));
            let last = frame.lines.last().map_or(0, |line| line.chars().count());
            frame.cursor = Some((frame.lines.len() - 1, last));
        }
        frame.lines.push(String::new());
        for line in self.footer() {
            let whole = 0..line.chars().count();
            frame.dimmed(line, whole);
        }
    }

    fn footer(&self) -> Vec<String> {
        let status = format!("  {} default · {}", self.config.model, self.config.cwd);
        match self.config.shape {
            _ if !self.is_ready() => vec!["  ? for shortcuts".to_owned()],
            Shape::V99 => vec![format!("  ? for shortcuts{:>100}", "100% context left")],
            Shape::V144 => vec![status],
            Shape::V169 => vec![status, self.hint_line().to_owned()],
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
