//! A list of numbered options that has the keyboard.

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::screen::Line;
use super::screen::Screen;

/// One option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DialogOption {
    /// The number in front of it.
    pub number: u32,
    /// Its text.
    pub text: String,
}

/// A list of options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dialog {
    /// The options from the top.
    pub options: Vec<DialogOption>,
    /// Number of the option that Enter would choose; null when no cursor is seen.
    pub selected: Option<u32>,
}

impl Dialog {
    /// Whether Enter would choose the first option.
    pub fn is_on_first(&self) -> bool {
        self.options.first().is_some_and(|first| self.selected == Some(first.number))
    }
}

/// A dialog and where its first option stands.
pub(super) struct Found {
    pub(super) dialog: Dialog,
    pub(super) first_row: usize,
}

/// `› 2. Skip`: marker, number, text; the named groups give the number's column.
static OPTION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?<lead>\s*)(?<mark>[›>❯] )?(?<number>\d{1,2})\. (?<text>\S.*)$").ok());

/// The dialog at the bottom of a screen whose last non-blank row is `last`.
///
/// It counts only with the row of keys that Codex writes under it (`Press enter to confirm …`), or with a hidden
/// cursor: a numbered list in a draft has neither.
pub(super) fn find(screen: &Screen, last: usize) -> Option<Found> {
    let mut end = last;
    let mut hints = 0;
    while is_hint(&screen.lines[end]) && end > 0 && hints < 4 {
        hints += 1;
        end = last_not_blank(&screen.lines[..end])?;
    }
    let cursor_hidden = screen.cursor.is_some_and(|cursor| !cursor.visible);
    if hints == 0 && !cursor_hidden {
        return None;
    }
    read_options(&screen.lines[..=end])
}

/// Whether a row tells the keys of a dialog. `enter insert` belongs to a popup of the composer.
fn is_hint(line: &Line) -> bool {
    let text = line.text.trim().to_lowercase();
    let keys = text.strip_prefix("press ").unwrap_or(&text);
    (keys.starts_with("enter ") || keys.starts_with("esc to ")) && !keys.contains("insert")
}

/// Index of the last row that is not blank.
pub(super) fn last_not_blank(lines: &[Line]) -> Option<usize> {
    lines.iter().rposition(|line| !line.is_blank())
}

/// One row read as an option: its number, text, whether the cursor is on it, and the column of its number.
struct Read {
    option: DialogOption,
    marked: bool,
    column: usize,
}

fn read_option(line: &Line) -> Option<Read> {
    let found = OPTION.as_ref()?.captures(&line.text)?;
    let number = found["number"].parse().ok()?;
    let column = line.text[..found.name("number")?.start()].chars().count();
    let option = DialogOption { number, text: found["text"].trim().to_owned() };
    Some(Read { option, marked: found.name("mark").is_some(), column })
}

/// Reads options upward from the last of `lines`, numbers descending to 1; rows between them belong to an option when
/// they are blank or stand further to the right than the numbers.
fn read_options(lines: &[Line]) -> Option<Found> {
    let mut options: Vec<DialogOption> = Vec::new();
    let mut selected = None;
    let mut column = None;
    for (row, line) in lines.iter().enumerate().rev().take(60) {
        let Some(read) = read_option(line) else {
            if line.is_blank() || line.text.starts_with("  ") {
                continue;
            }
            return None;
        };
        let expected = options.last().is_none_or(|below| read.option.number + 1 == below.number);
        if !expected || column.is_some_and(|column| column != read.column) {
            return None;
        }
        column = Some(read.column);
        if read.marked {
            selected = Some(read.option.number);
        }
        let number = read.option.number;
        options.push(read.option);
        if number == 1 {
            options.reverse();
            return Some(Found { dialog: Dialog { options, selected }, first_row: row });
        }
    }
    None
}
