//! Where the parts of a screen are: the dialog or the composer at its bottom, and the newest cell above.

use super::Composer;
use super::composer::PLACEHOLDERS;
use super::dialog;
use super::dialog::Dialog;
use super::dialog::last_not_blank;
use super::screen::Line;
use super::screen::Screen;

/// How many non-blank rows at the bottom of a screen without composer may hold a prompt. Recorded prompts have at most
/// eight; what stands higher has scrolled up.
pub(super) const TAIL_ROWS: usize = 12;

/// How many non-blank rows above its first option a dialog's heading may stand: the command to approve lies between.
const HEADING_ROWS: usize = 12;

/// One row with its index.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) index: usize,
    pub(super) text: String,
}

/// The newest cell of the conversation: the block of rows nearest above the composer that begins in the first column
/// and is not a list of waiting messages.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    /// Its first row.
    pub(super) row: Row,
    /// All of its rows joined by blanks, because an error's text is wrapped.
    pub(super) text: String,
    /// Whether `to interrupt)` in its first row is dim, as Codex draws it; true when styles are unknown.
    pub(super) drawn_as_status: bool,
}

/// The parts of a screen.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// The dialog at the bottom.
    pub(super) dialog: Option<Dialog>,
    /// The dialog's first option.
    pub(super) first_option: Option<Row>,
    /// Rows above the dialog's first option, nearest first.
    pub(super) heading: Vec<Row>,
    /// The last non-blank rows, lowest first.
    pub(super) tail: Vec<Row>,
    /// The newest cell above the composer.
    pub(super) cell: Option<Cell>,
    /// The waiting messages that are listed above the composer.
    pub(super) pending: Vec<String>,
    /// What the composer holds; none when there is no composer.
    pub(super) composer: Option<Composer>,
    /// The composer's first row.
    pub(super) composer_row: Option<Row>,
    /// Whether a popup of the composer is open.
    pub(super) popup: bool,
    /// Rows under the composer.
    pub(super) footer: Vec<Row>,
}

/// Takes a screen apart.
pub(super) fn layout(screen: &Screen) -> Layout {
    let Some(last) = last_not_blank(&screen.lines) else { return Layout::default() };
    let tail = rows_upward(&screen.lines[..=last], TAIL_ROWS);
    if let Some(found) = dialog::find(screen, last) {
        let heading = rows_upward(&screen.lines[..found.first_row], HEADING_ROWS);
        let first_option = Some(row_at(&screen.lines, found.first_row));
        return Layout { dialog: Some(found.dialog), first_option, heading, tail, ..Layout::default() };
    }
    let Some(start) = composer_start(screen, last) else { return Layout { tail, ..Layout::default() } };
    with_composer(screen, start, last, tail)
}

/// The parts of a screen whose composer begins at row `start`.
fn with_composer(screen: &Screen, start: usize, last: usize, tail: Vec<Row>) -> Layout {
    let lines = &screen.lines;
    let popup_below = is_popup_below(screen, start, last);
    let end = if popup_below { first_blank(lines, start) } else { footer_start(lines, start, last) };
    let composer = read_composer(screen, start, end);
    let popup_above = popup_above(lines, start, &composer);
    let above = read_above(screen, popup_above.unwrap_or(start));
    Layout {
        tail,
        cell: above.cell,
        pending: above.pending,
        composer: Some(composer),
        composer_row: Some(row_at(lines, start)),
        popup: popup_below || popup_above.is_some(),
        footer: rows_upward(&lines[end..=last], TAIL_ROWS),
        ..Layout::default()
    }
}

fn row_at(lines: &[Line], index: usize) -> Row {
    Row { index, text: lines[index].text.clone() }
}

/// The last `most` non-blank rows, lowest first.
fn rows_upward(lines: &[Line], most: usize) -> Vec<Row> {
    let rows = lines.iter().enumerate().rev().filter(|(_, line)| !line.is_blank());
    rows.take(most).map(|(index, line)| Row { index, text: line.text.clone() }).collect()
}

/// Whether a row can be the composer's first: `› text`, in shell mode `! text`.
///
/// Codex draws the same mark before what was already sent, but there it is dim.
fn is_prompt(screen: &Screen, line: &Line) -> bool {
    let marked =
        line.text == "›" || line.text == "!" || line.text.starts_with("› ") || line.text.starts_with("! ");
    marked && !(screen.styled && line.is_dim_at(0))
}

/// Row at which the composer begins: the lowest marked row, when only its own rows and a footer come after it.
fn composer_start(screen: &Screen, last: usize) -> Option<usize> {
    let lines = &screen.lines[..=last];
    let start = lines.iter().rposition(|line| is_prompt(screen, line))?;
    let below = &lines[start + 1..];
    // The list of mentions of 0.144 marks its choice with `> ` in the first column.
    let only_own = below.iter().all(|line| !line.is_flush() || line.text.starts_with("> "));
    let has_footer = below.iter().any(Line::is_blank);
    (only_own && has_footer).then_some(start)
}

/// The first blank row at or after `start`.
fn first_blank(lines: &[Line], start: usize) -> usize {
    let ahead = lines[start..].iter().position(Line::is_blank);
    ahead.map_or(lines.len(), |ahead| start + ahead)
}

/// The blank row before the last block, which is the footer.
fn footer_start(lines: &[Line], start: usize, last: usize) -> usize {
    let blank = lines[start..=last].iter().rposition(Line::is_blank);
    blank.map_or(last, |ahead| start + ahead)
}

/// What the composer's rows hold.
fn read_composer(screen: &Screen, start: usize, end: usize) -> Composer {
    let lines = &screen.lines[start..end.max(start + 1)];
    let mark = lines[0].text.chars().next().map_or(0, char::len_utf8);
    let shell = lines[0].text.starts_with('!');
    let mut rows: Vec<String> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let text = if at == 0 { line.bright_from(mark) } else { line.bright_from(0) };
        let indent = if at == 0 { " " } else { "  " };
        rows.push(text.strip_prefix(indent).unwrap_or(&text).trim_end().to_owned());
    }
    let text = rows.join("\n").trim().to_owned();
    let placeholder = !screen.styled && PLACEHOLDERS.contains(&text.as_str());
    if shell {
        return Composer::Draft(format!("!{text}"));
    }
    if text.is_empty() || placeholder { Composer::Empty } else { Composer::Draft(text) }
}

/// Whether a list stands under the composer, where 0.144 and older draw it.
fn is_popup_below(screen: &Screen, start: usize, last: usize) -> bool {
    let lines = &screen.lines;
    let below = &lines[first_blank(lines, start).min(last)..=last];
    let slash = lines[start].text.starts_with("› /");
    below.iter().any(|line| {
        let text = line.text.trim();
        is_insert_hint(text)
            || line.text.starts_with("> ")
            || (slash && is_command_row(text))
            || matches!(text, "no matches" | "loading..." | "loading…")
    })
}

/// Row at which a list begins that stands directly above the composer, where 0.169 draws it.
fn popup_above(lines: &[Line], start: usize, composer: &Composer) -> Option<usize> {
    let Composer::Draft(draft) = composer else { return None };
    let bottom = last_not_blank(&lines[..start])?;
    let block = block_start(lines, bottom);
    if draft.starts_with('/') {
        let commands = lines[block..=bottom].iter().all(|line| is_command_row(without_mark(&line.text)));
        return commands.then_some(block);
    }
    is_insert_hint(lines[bottom].text.trim()).then(|| list_start(lines, block))
}

/// Start of the list that ends above `hint`: up to two blocks, options and heading.
fn list_start(lines: &[Line], hint: usize) -> usize {
    let mut start = hint;
    for _ in 0..3 {
        let Some(bottom) = last_not_blank(&lines[..start]) else { return start };
        let block = block_start(lines, bottom);
        let list = lines[block..=bottom]
            .iter()
            .all(|line| line.text.starts_with("  ") || line.text.starts_with("› "));
        if !list {
            return start;
        }
        start = block;
    }
    start
}

/// A row without the mark of the chosen option.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('›').unwrap_or(text).trim()
}

/// `/model   choose what model to use`.
fn is_command_row(text: &str) -> bool {
    text.starts_with('/') && (text.contains("  ") || !text.contains(' '))
}

/// `Press enter to insert or esc to close`, `enter/tab insert · esc close · …`.
fn is_insert_hint(text: &str) -> bool {
    let text = text.to_lowercase();
    (text.starts_with("press enter") || text.starts_with("enter")) && text.contains("insert")
}

/// First row of the block of non-blank rows that ends at `bottom`.
fn block_start(lines: &[Line], bottom: usize) -> usize {
    lines[..=bottom].iter().rposition(Line::is_blank).map_or(0, |blank| blank + 1)
}

/// What stands above the composer.
#[derive(Default)]
struct Above {
    cell: Option<Cell>,
    pending: Vec<String>,
}

/// Goes upward from the composer over indented blocks, waiting messages and warnings to the newest cell.
fn read_above(screen: &Screen, composer: usize) -> Above {
    let lines = &screen.lines;
    let mut above = Above::default();
    // An agent's prose may hold such rows: a list without heading (0.99) counts only below a running turn's status row.
    let mut bare: Vec<String> = Vec::new();
    let mut end = composer;
    while let Some(bottom) = last_not_blank(&lines[..end]) {
        let top = block_start(lines, bottom);
        let block = &lines[top..=bottom];
        end = top;
        match block_kind(block) {
            Block::Waiting => above.pending.splice(0..0, read_entries(block)).for_each(drop),
            Block::Indented => bare.splice(0..0, read_entries(block)).for_each(drop),
            Block::Warning => {}
            Block::Cell => {
                above.cell = Some(read_cell(screen, top, bottom));
                break;
            }
        }
    }
    if above.cell.as_ref().is_some_and(|cell| cell.row.text.contains("esc to interrupt")) {
        above.pending.append(&mut bare);
    }
    above
}

/// What a block above the composer is.
enum Block {
    /// A list of messages that wait for the model.
    Waiting,
    /// Belongs to a cell further up, or is a remark such as `Worked for 2s`.
    Indented,
    /// A remark that Codex adds after a cell.
    Warning,
    /// A cell of the conversation.
    Cell,
}

fn block_kind(block: &[Line]) -> Block {
    let head = block.first().map_or("", |line| line.text.as_str());
    let bare = head.trim_start_matches(['•', '◦', ' ']);
    let flush = block.iter().any(Line::is_flush);
    if head.starts_with(['•', '◦'])
        && (bare.starts_with("Messages to be submitted") || bare.starts_with("Queued follow-up inputs"))
    {
        Block::Waiting
    } else if head.starts_with('⚠') {
        Block::Warning
    } else if flush {
        Block::Cell
    } else {
        Block::Indented
    }
}

/// The entries of a list of waiting messages: `↳ text` and the rows that continue it.
fn read_entries(block: &[Line]) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in block {
        let text = line.text.trim();
        if let Some(entry) = text.strip_prefix("↳ ") {
            entries.push(entry.to_owned());
        } else if let Some(last) = entries.last_mut()
            && line.text.starts_with("    ")
            && !is_edit_hint(text)
        {
            last.push('\n');
            last.push_str(text);
        }
    }
    entries
}

/// `shift + ← edit last queued message`, `alt + ↑ edit`.
fn is_edit_hint(text: &str) -> bool {
    let keys = text.starts_with("shift") || text.starts_with("alt") || text.starts_with('⌥');
    keys && text.contains(" edit")
}

/// The cell in the rows `top` to `bottom`.
fn read_cell(screen: &Screen, top: usize, bottom: usize) -> Cell {
    let lines = &screen.lines[top..=bottom];
    // The rows above the first one in the first column belong to an earlier cell's body.
    let head = lines.iter().position(Line::is_flush).unwrap_or(0);
    let line = &lines[head];
    // Not `esc` itself: 0.169 draws the key bright inside of the dim text.
    let status = line.text.rfind("to interrupt)");
    let joined: Vec<&str> = lines[head..].iter().map(|line| line.text.trim()).collect();
    Cell {
        row: Row { index: top + head, text: line.text.clone() },
        text: joined.join(" "),
        drawn_as_status: !screen.styled || status.is_some_and(|at| line.is_dim_at(at)),
    }
}
