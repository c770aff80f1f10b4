//! What tmux is asked to print, and how it is read.
//!
//! Free texts (titles, folders, names) may hold any character, so each is printed behind its length in bytes
//! (`#{n:...}`), and no separator has to be kept out of them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::PaneId;

/// Names of a pane's numbers, in the order in which they are printed.
const NUMBERS: &str = "#{pid} #{pane_pid} #{pane_in_mode} #{pane_dead}";

/// A text behind its length.
fn text(variable: &str) -> String {
    format!("#{{n:{variable}}}:#{{{variable}}}")
}

/// The format of a pane's record.
pub(super) fn pane() -> String {
    let texts = ["socket_path", "session_name", "pane_title", "pane_current_path", "pane_current_command"];
    let texts: Vec<String> = texts.map(text).to_vec();
    format!("#{{pane_id}} {NUMBERS} {}", texts.join(" "))
}

/// The format of what goes with a screen.
pub(super) fn screen() -> String {
    let cells = "#{pane_width} #{pane_height} #{cursor_x} #{cursor_y} #{cursor_flag}";
    format!("{NUMBERS} {cells} {}", text("pane_title"))
}

/// A pane as the server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: PaneId,
    pub(super) server_pid: u32,
    pub(super) pid: u32,
    pub(super) in_mode: bool,
    pub(super) dead: bool,
    pub(super) socket: PathBuf,
    pub(super) session: String,
    pub(super) title: String,
    pub(super) cwd: PathBuf,
    pub(super) command: String,
}

/// What goes with a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) server_pid: u32,
    pub(super) pid: u32,
    pub(super) in_mode: bool,
    pub(super) dead: bool,
    pub(super) size: (u16, u16),
    /// Column and row.
    pub(super) cursor: (u16, u16),
    pub(super) cursor_visible: bool,
    pub(super) title: String,
}

/// All records. One that can't be read (a pane that is just being closed has empty numbers) is passed over.
pub(super) fn read_panes(printed: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = printed;
    while !rest.is_empty() {
        let mut fields = Fields { rest };
        if let Some(record) = read_pane(&mut fields) {
            records.push(record);
            rest = fields.rest;
        }
        rest = after_line(rest);
    }
    records
}

/// What follows the next line feed.
fn after_line(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&byte| byte == b'\n').map_or(&[], |at| &bytes[at + 1..])
}

fn read_pane(fields: &mut Fields<'_>) -> Option<Record> {
    Some(Record {
        id: fields.word()?,
        server_pid: fields.word()?,
        pid: fields.word()?,
        in_mode: fields.word::<u32>()? != 0,
        dead: fields.flag()?,
        socket: fields.path()?,
        session: fields.string()?,
        title: fields.string()?,
        cwd: fields.path()?,
        command: fields.string()?,
    })
}

/// The head of a capture, and the screen behind it.
pub(super) fn read_screen(printed: &[u8]) -> Option<(Head, &[u8])> {
    let mut fields = Fields { rest: printed };
    let head = Head {
        server_pid: fields.word()?,
        pid: fields.word()?,
        in_mode: fields.word::<u32>()? != 0,
        dead: fields.flag()?,
        size: (fields.word()?, fields.word()?),
        cursor: (fields.word()?, fields.word()?),
        cursor_visible: fields.flag()?,
        title: fields.string()?,
    };
    Some((head, after_line(fields.rest)))
}

/// Reads fields that are separated by one blank each.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn skip_blank(&mut self) {
        self.rest = self.rest.strip_prefix(b" ").unwrap_or(self.rest);
    }

    /// A word up to the next blank or line feed.
    fn word<T: FromStr>(&mut self) -> Option<T> {
        self.skip_blank();
        let end = self.rest.iter().position(|byte| matches!(byte, b' ' | b'\n')).unwrap_or(self.rest.len());
        let word = std::str::from_utf8(&self.rest[..end]).ok()?.parse().ok()?;
        self.rest = &self.rest[end..];
        Some(word)
    }

    /// A truth value. tmux prints an empty word or 0 for false.
    fn flag(&mut self) -> Option<bool> {
        self.skip_blank();
        if matches!(self.rest.first(), Some(b' ')) {
            return Some(false);
        }
        Some(self.word::<u32>()? != 0)
    }

    /// A text behind its length.
    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.skip_blank();
        let colon = self.rest.iter().position(|&byte| byte == b':')?;
        let length: usize = std::str::from_utf8(&self.rest[..colon]).ok()?.parse().ok()?;
        let end = colon.checked_add(1)?.checked_add(length)?;
        let text = self.rest.get(colon + 1..end)?.to_vec();
        self.rest = &self.rest[end..];
        Some(text)
    }

    fn string(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(PathBuf::from(OsString::from_vec(self.bytes()?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "%5 10 20 0 0 4:/a b 1:w 6:t: 9:\n 7:/x\n%9 y 4:node\n";

    #[test]
    fn texts_may_hold_separators_and_line_feeds() {
        let records = read_panes(format!("{ONE}junk\n%6 10 21 1 1 2:/a 1:v 0: 0: 2:sh\n").as_bytes());
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].socket, PathBuf::from("/a b"));
        assert_eq!(records[0].title, "t: 9:\n");
        assert_eq!(records[0].cwd, PathBuf::from("/x\n%9 y"));
        assert_eq!((records[1].session.as_str(), records[1].in_mode, records[1].dead), ("v", true, true));
    }

    #[test]
    fn a_screen_follows_its_head() {
        let (head, rest) = read_screen("10 20 0  80 24 2 36 1 3:é~\nfirst\nsecond\n".as_bytes()).unwrap();
        assert_eq!(
            (head.size, head.cursor, head.dead, head.title.as_str()),
            ((80, 24), (2, 36), false, "é~")
        );
        assert_eq!(rest, b"first\nsecond\n");
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_panes(&bytes);
            let _ = read_screen(&bytes);
        }
    }
}
