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

/// Where the cursor is, counted from 0 at the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cursor {
    /// Row.
    pub row: u16,
    /// Column in cells.
    pub column: u16,
    /// Whether it is shown.
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

    /// A screen from text with terminal control sequences, as `capture-pane -e` prints it.
    pub fn from_ansi(text: &str) -> Self {
        Self::from_plain(text)
    }
}
