//! A screen as the multiplexer captured it.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// One row of a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// The characters, without trailing blanks and without control sequences.
    pub text: String,
    /// Byte ranges of `text` that are drawn dim, ascending and disjoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dim: Vec<Range<usize>>,
}

impl Line {
    /// Whether the byte at `at` is drawn dim.
    pub(super) fn is_dim_at(&self, at: usize) -> bool {
        self.dim.iter().any(|range| range.contains(&at))
    }

    /// The characters from byte `from` on that are not drawn dim.
    pub(super) fn bright_from(&self, from: usize) -> String {
        let rest = self.text.char_indices().filter(|&(at, _)| at >= from);
        rest.filter(|&(at, _)| !self.is_dim_at(at)).map(|(_, c)| c).collect()
    }

    /// Whether nothing is drawn in it.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Whether something is drawn in its first column.
    pub(super) fn is_flush(&self) -> bool {
        self.text.chars().next().is_some_and(|first| !first.is_whitespace())
    }
}

/// Where the cursor is, counted from 0 at the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cursor {
    /// Row.
    pub row: u16,
    /// Column in cells.
    pub column: u16,
    /// Whether it is shown. Codex hides it while a dialog is open.
    pub visible: bool,
}

/// The visible part of a pane; never its scrollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Screen {
    /// Rows from the top.
    pub lines: Vec<Line>,
    /// Width in cells; 0 when unknown.
    pub width: u16,
    /// Height in cells; 0 when unknown.
    pub height: u16,
    /// Where the cursor is, when known.
    pub cursor: Option<Cursor>,
    /// The title that the program gave its terminal.
    pub title: String,
    /// Whether the pane is in copy mode or another mode of tmux.
    pub in_mode: bool,
    /// Whether the pane's program has ended.
    pub dead: bool,
    /// Whether `Line::dim` is known. Only then can a placeholder be told from a draft of the same words.
    pub styled: bool,
}

impl Screen {
    /// A screen from plain text, one row a line, without styles.
    pub fn from_plain(text: &str) -> Self {
        let lines =
            text.lines().map(|line| Line { text: line.trim_end().to_owned(), dim: Vec::new() }).collect();
        Self { lines, ..Self::default() }
    }

    /// A screen from text with terminal control sequences, as `tmux capture-pane -e` prints it.
    ///
    /// Styles go on from one row to the next. Sequences other than SGR are passed over.
    pub fn from_ansi(text: &str) -> Self {
        let mut dim = false;
        let lines = text.lines().map(|row| read_row(row, &mut dim)).collect();
        Self { lines, styled: true, ..Self::default() }
    }

    /// The rows as one text, for people.
    pub fn text(&self) -> String {
        let rows: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        rows.join("\n").trim_end().to_owned()
    }
}

/// One row; `dim` is the state at its start and, afterwards, at its end.
fn read_row(row: &str, dim: &mut bool) -> Line {
    let mut line = Line::default();
    let mut rest = row;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\u{1b}' {
            rest = skip_sequence(rest, dim);
        } else if !c.is_control() {
            push(&mut line, c, *dim);
        }
    }
    line.text.truncate(line.text.trim_end().len());
    let end = line.text.len();
    line.dim.retain(|range| range.start < end);
    if let Some(last) = line.dim.last_mut() {
        last.end = last.end.min(end);
    }
    line
}

/// Appends a character, widening the last dim range where it continues.
fn push(line: &mut Line, c: char, dim: bool) {
    let start = line.text.len();
    line.text.push(c);
    if !dim {
        return;
    }
    let end = line.text.len();
    match line.dim.last_mut() {
        Some(last) if last.end == start => last.end = end,
        Some(_) | None => line.dim.push(start..end),
    }
}

/// What follows the control sequence whose ESC was just read; SGR sequences move `dim`.
fn skip_sequence<'a>(rest: &'a str, dim: &mut bool) -> &'a str {
    if let Some(body) = rest.strip_prefix('[') {
        let end = body.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c));
        let Some(end) = end else { return "" };
        if body.as_bytes()[end] == b'm' {
            apply_sgr(&body[..end], dim);
        }
        return &body[end + 1..];
    }
    if let Some(body) = rest.strip_prefix(']') {
        // An operating system command (a hyperlink, say) ends with BEL or with ESC \.
        let bell = body.find('\u{7}').map(|at| at + 1);
        let string_end = body.find("\u{1b}\\").map(|at| at + 2);
        let end = [bell, string_end].into_iter().flatten().min();
        return end.map_or("", |end| &body[end..]);
    }
    let mut chars = rest.chars();
    chars.next();
    chars.as_str()
}

/// Moves `dim` as the parameters of one SGR sequence say.
fn apply_sgr(parameters: &str, dim: &mut bool) {
    let mut codes = parameters.split(';');
    while let Some(code) = codes.next() {
        match code {
            "" | "0" | "00" | "22" => *dim = false,
            "2" => *dim = true,
            // A colour: its own parameters follow and must not be read as attributes (38;2;... is not dim).
            "38" | "48" | "58" => {
                let taken = if codes.next() == Some("2") { 3 } else { 1 };
                codes.by_ref().take(taken).for_each(drop);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dim_goes_on_over_rows_and_colours_are_not_attributes() {
        let screen = Screen::from_ansi(
            "\u{1b}[1m›\u{1b}[0m \u{1b}[2mAsk\nmore \u{1b}[0;38;2;1;2;3mred\u{1b}[38;5;2mx",
        );
        assert_eq!(screen.lines[0].text, "› Ask");
        assert!(
            !screen.lines[0].is_dim_at(3) && screen.lines[0].is_dim_at(4) && screen.lines[0].is_dim_at(6)
        );
        assert_eq!(screen.lines[1].text, "more redx");
        assert!(screen.lines[1].is_dim_at(0) && !screen.lines[1].is_dim_at(5));
        assert_eq!(screen.lines[0].bright_from(0), "› ");
    }

    #[test]
    fn hyperlinks_and_unfinished_sequences_are_passed_over() {
        let screen = Screen::from_ansi("a\u{1b}]8;;http://x\u{1b}\\b\u{1b}]0;t\u{7}c\u{1b}(Bd\u{1b}[2");
        assert_eq!(screen.lines[0].text, "abcBd");
    }

    #[test]
    fn dim_blanks_at_the_end_of_a_row_leave_no_range_behind() {
        let screen = Screen::from_ansi("a\u{1b}[2m   \n");
        assert_eq!(screen.lines[0], Line { text: "a".to_owned(), dim: vec![] });
    }
}
