//! Bytes from the terminal as keys and pastes.

/// What the terminal sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A printable character.
    Char(char),
    /// A control character, by its letter.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Tab.
    Tab,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// The cursor up.
    Up,
    /// The cursor down.
    Down,
    /// A bracketed paste, line ends unified, control characters dropped.
    Paste(String),
    /// A key that does nothing here.
    Other,
}

/// What begins and ends a bracketed paste.
const PASTE_START: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// Keeps what is not whole yet between two reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Parser {
    pending: Vec<u8>,
    paste: Option<Vec<u8>>,
}

impl Parser {
    /// The inputs that are whole after these bytes. An Escape at the end of a read is the key, as terminals have it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        self.pending.extend_from_slice(bytes);
        let mut inputs = Vec::new();
        while !self.pending.is_empty() {
            let before = (self.pending.len(), self.paste.is_some());
            match &mut self.paste {
                Some(_) => inputs.extend(self.continue_paste()),
                None => inputs.extend(self.key()),
            }
            if (self.pending.len(), self.paste.is_some()) == before {
                break;
            }
        }
        inputs
    }

    /// More of a paste; what follows its end are keys again. The end may come in two reads.
    fn continue_paste(&mut self) -> Option<Input> {
        let paste = self.paste.as_mut()?;
        if let Some(end) = find(&self.pending, PASTE_END) {
            paste.extend(self.pending.drain(..end));
            self.pending.drain(..PASTE_END.len());
            return self.paste.take().map(|bytes| Input::Paste(pasted(&bytes)));
        }
        let held = (1..PASTE_END.len()).rev().find(|&length| self.pending.ends_with(&PASTE_END[..length]));
        let whole = self.pending.len() - held.unwrap_or(0);
        paste.extend(self.pending.drain(..whole));
        None
    }

    /// The next key.
    fn key(&mut self) -> Option<Input> {
        if self.pending[0] == 0x1b {
            return self.escape();
        }
        let length = character_length(self.pending[0]);
        if self.pending.len() < length {
            return None;
        }
        let bytes: Vec<u8> = self.pending.drain(..length).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Some(text.chars().next().map_or(Input::Other, plain))
    }

    /// An Escape, a sequence, or the start of a paste.
    fn escape(&mut self) -> Option<Input> {
        if self.pending.starts_with(PASTE_START) {
            self.pending.drain(..PASTE_START.len());
            self.paste = Some(Vec::new());
            return None;
        }
        match self.pending.get(1) {
            None => Some(self.take(1, Input::Escape)),
            // Two Escapes in one read are one key: so the terminal library of Codex's reads them.
            Some(0x1b) => Some(self.take(2, Input::Escape)),
            Some(b'[') => {
                let last = self.pending[2..].iter().position(|byte| (0x40..=0x7e).contains(byte))? + 2;
                let input = match (last, self.pending[last]) {
                    (2, b'A') => Input::Up,
                    (2, b'B') => Input::Down,
                    _ => Input::Other,
                };
                Some(self.take(last + 1, input))
            }
            Some(_) => Some(self.take(2, Input::Other)),
        }
    }

    /// Takes bytes away for one input.
    fn take(&mut self, length: usize, input: Input) -> Input {
        self.pending.drain(..length);
        input
    }
}

/// A character as a key.
fn plain(character: char) -> Input {
    match character {
        '\r' => Input::Enter,
        '\t' => Input::Tab,
        '\u{8}' | '\u{7f}' => Input::Backspace,
        control @ '\0'..='\u{1f}' => Input::Ctrl(char::from(control as u8 | 0x60)),
        other => Input::Char(other),
    }
}

/// How many bytes a character has, by its first.
const fn character_length(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    }
}

/// The text of a paste as Codex takes it: CR is LF, escape sequences and control characters are dropped.
fn pasted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let mut kept = String::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            if rest.next_if_eq(&'[').is_some() {
                while rest.next_if(|one| !('\u{40}'..='\u{7e}').contains(one)).is_some() {}
                rest.next();
            }
        } else if matches!(character, '\n' | '\t') || !character.is_control() {
            kept.push(character);
        }
    }
    kept
}

/// Where `needle` begins.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_mark_inside_a_paste_ends_it_and_the_rest_are_keys() {
        let inputs = Parser::default().feed(b"\x1b[200~a\rb\x07\x1b[31mc\x1b[201~\x15x\r");
        let expected = [Input::Paste("a\nbc".into()), Input::Ctrl('u'), Input::Char('x'), Input::Enter];
        assert_eq!(inputs, expected);
    }

    #[test]
    fn a_paste_may_come_in_pieces_of_one_byte() {
        let mut parser = Parser::default();
        // Escape at the end of a read is a key, so the start mark has to come whole.
        let mut inputs = parser.feed(b"\x1b[200~");
        for byte in "gr\u{fc}\u{df}e\x1b[201~\u{e4}".bytes() {
            inputs.extend(parser.feed(&[byte]));
        }
        assert_eq!(inputs, [Input::Paste("gr\u{fc}\u{df}e".into()), Input::Char('\u{e4}')]);
    }
}
