//! Records of a Codex rollout, as far as conveyor needs them: what a line says, never the line itself.
//!
//! A text of the user's stands in a rollout up to three times. [`Kind::UserMessage`] is the one form that all versions
//! write, and the only one that proves a delivery; [`Kind::UserEcho`] is any of the others. The same goes for
//! [`Kind::AgentMessage`] and [`Kind::AgentEcho`]. Measured on Codex 0.99, 0.107 to 0.144, and 0.169.

mod kind;
mod position;
mod synthetic;

use std::borrow::Cow;

pub use kind::Aborted;
pub use kind::Completion;
pub use kind::Item;
pub use kind::Kind;
pub use kind::RateLimits;
pub use kind::RateWindow;
pub use kind::SessionMeta;
pub use kind::TokenUsage;
pub use kind::Tokens;
pub use kind::TurnContext;
pub use kind::TurnError;
pub use position::BadLine;
pub use position::BadLines;
pub use position::Gap;
pub use position::Position;
pub use synthetic::Synthetic;

use crate::Timestamp;

/// A word of the format: borrowed from the program when it is a known one, so that a known record costs no memory.
pub type Word = Cow<'static, str>;

/// The record type of which the contract reports a subtype.
pub const EVENT_MSG: &str = "event_msg";

/// One record of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where its line begins in the file, in bytes.
    pub offset: u64,
    /// Length of its line in bytes, line end included.
    pub len: u64,
    /// Its number in the thread; versions up to 0.144 write none. A fork goes on counting from its base.
    pub ordinal: Option<u64>,
    /// When it was written. `None` if the line has no time or one that cannot be understood; whoever stores the event
    /// puts the time of reading there.
    pub at: Option<Timestamp>,
    /// What stood in place of a time that could not be understood, as JSON text, cut to 200 bytes.
    pub at_original: Option<String>,
    /// `session_meta`, `event_msg`, `response_item`, …, as written.
    pub record_type: Word,
    /// `payload.type` of an `event_msg`, as written; `None` for all other records, as the contract has it.
    pub subtype: Option<Word>,
    /// Another word by which the record is found: for `item_completed` the item's type in the words of older versions
    /// (`UserMessage` is `user_message`), for a `response_item` its `payload.type`.
    pub alias: Option<Word>,
    /// The turn to which it belongs, if it says so.
    pub turn_id: Option<String>,
    /// The tool call that it opens, closes or reports.
    pub call_id: Option<String>,
    /// The text that it carries: a message up to [`crate::limits::MESSAGE_TEXT_BYTES`], all else up to
    /// [`crate::limits::EVENT_TEXT_BYTES`].
    pub text: Option<String>,
    /// Whether the record's text is longer than what [`Event::text`] holds.
    pub text_cut: bool,
    /// What it means.
    pub kind: Kind,
}

impl Event {
    /// A record of this kind and type of which nothing else is known.
    pub const fn of(record_type: Word, kind: Kind) -> Self {
        Self {
            offset: 0,
            len: 0,
            ordinal: None,
            at: None,
            at_original: None,
            record_type,
            subtype: None,
            alias: None,
            turn_id: None,
            call_id: None,
            text: None,
            text_cut: false,
            kind,
        }
    }

    /// The text by which a delivery is proved: of a message with the role user that Codex did not write itself.
    pub fn delivered_text(&self) -> Option<&str> {
        match self.kind {
            Kind::UserMessage { synthetic: None } => self.text.as_deref(),
            _ => None,
        }
    }

    /// What `cycle` reports as the subtype of the last event: an `event_msg`'s, in the words of older versions.
    pub fn reported_subtype(&self) -> Option<&Word> {
        self.subtype.as_ref().map(|subtype| self.alias.as_ref().unwrap_or(subtype))
    }

    /// Whether `tail --subtype wanted` lists this record: by its own subtype or by its alias.
    pub fn is_subtype(&self, wanted: &str) -> bool {
        [&self.subtype, &self.alias].into_iter().flatten().any(|word| word == wanted)
    }
}

/// The beginning of `text` of at most `max` bytes that ends between two characters, and whether that left any out.
pub fn cut(text: &str, max: usize) -> (&str, bool) {
    let kept = &text[..text.floor_char_boundary(max)];
    (kept, kept.len() < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_never_splits_a_character() {
        assert_eq!(cut("aé", 2), ("a", true));
        assert_eq!(cut("aé", 3), ("aé", false));
        assert_eq!(cut("", 0), ("", false));
        assert_eq!(cut("日本", 5), ("日", true));
    }
}
