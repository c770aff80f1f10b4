//! What is typed into an agent: one total function makes the bytes, and digest, proof and preview are taken from them.

use sha2::Digest;
use sha2::Sha256;

use crate::limits;

/// Characters of a token: Crockford's base 32, which has no letters that are read as digits.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters in a token: 50 bits, so that two messages in one rollout never share one.
pub const TOKEN_CHARS: usize = 10;

/// The text as it may be typed.
///
/// CRLF and CR become LF. Every other C0 character except TAB, DEL, every C1 character and every bidirectional control
/// is dropped: measured, tmux passes ESC through a bracketed paste, and `ESC[201~` inside a text ends the paste, so
/// that what follows are key presses. Both ends are trimmed, as Codex trims them. The result is at most
/// [`limits::WIRE_BYTES`] long, cut at a character.
pub fn wire_text(text: &str) -> String {
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    let kept: String = unified.chars().filter(|&c| is_typed(c)).collect();
    let trimmed = kept.trim();
    trimmed[..trimmed.floor_char_boundary(limits::WIRE_BYTES)].trim_end().to_owned()
}

/// Whether a character is typed as it is.
fn is_typed(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => false,
        // Bidirectional controls make a text read otherwise than it is executed.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => true,
    }
}

/// The token of a delivery, from the random bits of its id.
///
/// It names one message in one rollout, makes equal texts distinguishable, and is short enough to be read aloud.
pub fn token(random: u128) -> String {
    let digit = |place: usize| char::from(CROCKFORD[(random >> (5 * place)) as usize & 31]);
    (0..TOKEN_CHARS).rev().map(digit).collect()
}

/// What stands before each text: `[conveyor 7Q4K2MZ0AB] `.
///
/// It is a paste of its own, so that the composer shows it even where the body becomes `[Pasted Content N chars]`, and
/// it keeps a leading `!` or `/` of the body from acting.
pub fn label(token: &str) -> String {
    format!("[conveyor {token}] ")
}

/// The body as it is pasted.
///
/// A text ending in `@x` or `$x` opens a popup that eats the submit key; one blank closes it. A body of more rows than
/// the composer shows would hide the label before it; padded to more than [`limits::PASTE_SHOWN_CHARS`] it is shown as
/// `[Pasted Content N chars]` behind the label. Codex trims both (measured on 0.99, 0.144 and 0.169).
pub fn body(wire_text: &str) -> String {
    let chars = wire_text.chars().count();
    let is_tall = wire_text.lines().count() > limits::COMPOSER_ROWS;
    let blanks = if is_tall { limits::PASTE_SHOWN_CHARS.saturating_sub(chars) } else { 0 };
    format!("{wire_text}{}", " ".repeat(blanks + 1))
}

/// SHA-256 of a text, in lower-case hexadecimal.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One message of ours found in a record's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The token in the label.
    pub token: String,
    /// The body behind the label, up to the next label or the end, trimmed.
    pub body: String,
}

/// The messages of ours that a user record holds: each label that stands at the start of a line.
///
/// One record may hold several: measured, two pending texts become one record after Escape, joined by a newline.
pub fn find_messages(record: &str) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for line in record.split('\n') {
        if let Some((token, rest)) = split_label(line) {
            found.push(Found { token: token.to_owned(), body: rest.to_owned() });
        } else if let Some(last) = found.last_mut() {
            last.body.push('\n');
            last.body.push_str(line);
        }
    }
    for message in &mut found {
        message.body.truncate(message.body.trim_end().len());
    }
    found
}

/// The token and the rest of a line that begins with a label.
pub fn split_label(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("[conveyor ")?;
    let token = rest.get(..TOKEN_CHARS)?;
    let after = rest[TOKEN_CHARS..].strip_prefix(']')?;
    let known = token.bytes().all(|byte| CROCKFORD.contains(&byte));
    known.then(|| (token, after.strip_prefix(' ').unwrap_or(after)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_escape_byte_in_a_text_cannot_press_keys() {
        assert_eq!(wire_text("a\u{1b}[201~\u{15}\u{3}b"), "a[201~b");
        assert_eq!(wire_text("a\u{9b}201~b"), "a201~b");
    }

    #[test]
    fn line_ends_are_unified_and_ends_trimmed() {
        assert_eq!(wire_text(" \r\none\r\ntwo\rthree\n\n\tfour \n"), "one\ntwo\nthree\n\n\tfour");
        assert_eq!(wire_text("\u{202e}txt.exe\u{2069}"), "txt.exe");
        assert_eq!(wire_text(""), "");
    }

    #[test]
    fn a_label_is_found_only_at_the_start_of_a_line() {
        let token = token(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        let record = format!("{}first\nmore\n{}second \n", label(&token), label("0000000001"));
        let found = find_messages(&record);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].token.as_str(), found[0].body.as_str()), (token.as_str(), "first\nmore"));
        assert_eq!((found[1].token.as_str(), found[1].body.as_str()), ("0000000001", "second"));
        assert_eq!(find_messages(&format!("quoted {}x", label(&token))), []);
        assert_eq!(find_messages("[conveyor short] x"), []);
        assert_eq!(find_messages("[conveyor ÄÄÄÄÄ] x"), []);
    }

    #[test]
    fn a_tall_body_becomes_a_placeholder_so_that_the_label_stays_in_sight() {
        let tall = "line\n".repeat(30);
        let text = wire_text(&tall);
        assert!(body(&text).chars().count() > limits::PASTE_SHOWN_CHARS);
        assert_eq!(body(&text).trim(), text);
        assert_eq!(body("short"), "short ");
    }

    proptest! {
        #[test]
        fn all_bytes_become_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let text = wire_text(&String::from_utf8_lossy(&bytes));
            prop_assert!(text.chars().all(is_typed));
            prop_assert_eq!(text.trim(), text.as_str());
            prop_assert_eq!(wire_text(&text), text.clone(), "a second pass changes nothing");
            prop_assert!(text.len() <= limits::WIRE_BYTES);
        }

        #[test]
        fn what_is_typed_is_found_again(random in any::<u128>(), words in "[a-zé@$ \n]{0,200}") {
            let (token, text) = (token(random), wire_text(&words));
            let record = format!("{}{}", label(&token), body(&text));
            let found = find_messages(record.trim());
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].token, &token);
            prop_assert_eq!(digest(found[0].body.trim()), digest(&text));
        }
    }
}
