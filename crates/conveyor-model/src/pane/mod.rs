//! What a screen shows: one [`Kind`], and beside it what the composer holds.
//!
//! A screen is read from its bottom. Codex draws the composer (or the dialog that replaces it) last, and above it the
//! newest cell of the conversation, so a text counts only in the place where Codex itself would draw it. What scrolled
//! up, and what an agent or a person quotes, is never taken for a prompt. The rules are data ([`RULES`]); every
//! rule that was tried can be listed with [`explain`].

mod answer;
mod composer;
mod dialog;
mod kind;
mod layout;
mod notable;
mod rules;
mod screen;
#[cfg(test)]
mod tests;

pub use answer::Allowed;
pub use answer::Answer;
pub use answer::answerable;
pub use composer::Composer;
pub use composer::OwnText;
pub use dialog::Dialog;
pub use dialog::DialogOption;
pub use kind::Classification;
pub use kind::Kind;
pub use notable::Notable;
pub use notable::NotablePattern;
pub use notable::RecommendedAction;
pub use notable::notable_pattern;
pub use rules::Place;
pub use rules::RULES;
pub use rules::Rule;
pub use rules::Tried;
pub use rules::classify;
pub use rules::explain;
pub use screen::Cursor;
pub use screen::Line;
pub use screen::Screen;
