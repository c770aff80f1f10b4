//! The composer's draft.

/// From this many characters on a paste is shown as a placeholder.
const LONG_PASTE: usize = 1_000;

/// A piece of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Text as it is.
    Text(String),
    /// A long paste, shown as `[Pasted Content N chars]`.
    Pasted(String),
}

/// What was typed and pasted and not yet sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Composer {
    /// Before the cursor.
    pieces: Vec<Piece>,
    /// Behind the cursor.
    behind: Vec<Piece>,
    /// Behind a leading `!`: what is sent runs as a shell command.
    pub(super) shell: bool,
    /// Whether Escape closed the popup of this draft.
    pub(super) popup_closed: bool,
}

impl Composer {
    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.behind.is_empty()
    }

    /// Puts a character behind the draft.
    pub(super) fn put(&mut self, character: char) {
        if character == '!' && self.is_empty() && !self.shell {
            self.shell = true;
            return;
        }
        self.put_text(character.encode_utf8(&mut [0; 4]));
    }

    /// Puts a paste behind the draft.
    ///
    /// A long one is shown as a placeholder; the answer is whether it was.
    pub(super) fn paste(&mut self, text: &str) -> bool {
        let mut text = text;
        if self.is_empty() && !self.shell && text.starts_with('!') {
            self.shell = true;
            text = &text[1..];
        }
        let long = text.chars().count() > LONG_PASTE;
        if long {
            self.popup_closed = false;
            self.pieces.push(Piece::Pasted(text.to_owned()));
        } else if !text.is_empty() {
            self.put_text(text);
        }
        long
    }

    fn put_text(&mut self, text: &str) {
        self.popup_closed = false;
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            last.push_str(text);
        } else {
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }

    /// Removes the last character or placeholder; in an empty shell composer leaves the shell mode.
    pub(super) fn backspace(&mut self) {
        self.popup_closed = false;
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => drop(last.pop()),
            Some(Piece::Pasted(_)) => drop(self.pieces.pop()),
            None if self.behind.is_empty() => self.shell = false,
            None => {}
        }
        self.tidy();
    }

    /// Removes the last line, or the line end before it when the line is empty.
    pub(super) fn kill_line(&mut self) {
        self.popup_closed = false;
        let mut removed = false;
        while let Some(piece) = self.pieces.last_mut() {
            let Piece::Text(text) = piece else {
                drop(self.pieces.pop());
                removed = true;
                continue;
            };
            match text.rfind('\n') {
                Some(end) if end + 1 == text.len() && !removed => {
                    text.truncate(end);
                    break;
                }
                Some(end) => {
                    text.truncate(end + 1);
                    break;
                }
                None => {
                    drop(self.pieces.pop());
                    removed = true;
                }
            }
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        if matches!(self.pieces.last(), Some(Piece::Text(text)) if text.is_empty()) {
            self.pieces.pop();
        }
    }

    /// Moves the cursor to the end.
    pub(super) fn go_to_end(&mut self) {
        self.pieces.append(&mut self.behind);
    }

    /// Moves the cursor to the start, where Codex leaves it when it gives a refused command back: measured.
    pub(super) fn go_to_start(&mut self) {
        self.go_to_end();
        self.behind = std::mem::take(&mut self.pieces);
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Makes `text` the draft, in front of what is there.
    pub(super) fn restore(&mut self, text: &str) {
        let before = std::mem::take(&mut self.pieces);
        self.put_text(text);
        if !before.is_empty() {
            self.put_text("\n");
        }
        self.pieces.extend(before);
    }

    /// What would be sent: the whole text, both ends trimmed.
    pub(super) fn text(&self) -> String {
        self.raw(str::to_owned).trim().to_owned()
    }

    /// What is shown.
    pub(super) fn shown(&self) -> String {
        self.raw(|text| format!("[Pasted Content {} chars]", text.chars().count()))
    }

    fn raw(&self, pasted: impl Fn(&str) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Pasted(text) => pasted(text),
        };
        self.pieces.iter().chain(&self.behind).map(piece).collect()
    }

    /// The word at the cursor, which a popup may complete: `@x`, `$x`, or `/x` as the only word.
    pub(super) fn popup(&self) -> Option<String> {
        if self.popup_closed || self.shell || !self.behind.is_empty() {
            return None;
        }
        let text = self.raw(str::to_owned);
        let word = text.rsplit(char::is_whitespace).next()?;
        let file_or_skill = word.len() > 1 && word.starts_with(['@', '$']);
        let command = text.len() == word.len() && word.starts_with('/') && !word[1..].contains('/');
        (file_or_skill || command).then(|| word.to_owned())
    }

    /// Replaces the word at the cursor.
    pub(super) fn complete(&mut self, word: &str, by: &str) {
        if let Some(Piece::Text(last)) = self.pieces.last_mut()
            && let Some(rest) = last.strip_suffix(word)
        {
            *last = format!("{rest}{by}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_paste_is_a_placeholder_and_is_sent_whole() {
        let mut composer = Composer::default();
        composer.paste("[label] ");
        composer.paste(&"w".repeat(1_001));
        assert_eq!(composer.shown(), "[label] [Pasted Content 1001 chars]");
        assert_eq!(composer.text().len(), 1_009);
    }

    #[test]
    fn repeated_kills_empty_any_draft() {
        let mut composer = Composer::default();
        composer.paste("one\ntwo\n\nthree");
        composer.paste(&"w".repeat(1_500));
        for _ in 0..8 {
            composer.kill_line();
        }
        assert!(composer.is_empty());
        composer.kill_line();
        assert_eq!(composer, Composer::default());
    }

    #[test]
    fn a_blank_closes_the_popup() {
        let mut composer = Composer::default();
        composer.paste("look at @x");
        assert_eq!(composer.popup().as_deref(), Some("@x"));
        composer.put(' ');
        assert_eq!(composer.popup(), None);
        assert_eq!(composer.text(), "look at @x");
    }
}
