//! What the composer holds.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::wire;

/// What stands in the line in which a person types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "state", content = "text")]
pub enum Composer {
    /// Nothing, or the placeholder.
    Empty,
    /// A text that was not submitted, its rows joined by newlines as they are drawn.
    ///
    /// When the text is taller than the pane only its last rows are here.
    Draft(String),
    /// There is no composer: a dialog has its place, or this is no screen of an agent.
    None,
}

/// A text of ours that may lie unsent in a composer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnText {
    /// The delivery's token.
    pub token: String,
    /// What was pasted behind the label, byte by byte.
    pub body: String,
}

impl Composer {
    /// Whether it begins with the label of `token`, and no other label of ours follows.
    ///
    /// What a person appended is not noticed; [`Self::is_exactly`] notices it.
    pub fn is_only(&self, token: &str) -> bool {
        self.behind_label(token).is_some_and(|rest| !rest.contains("[conveyor "))
    }

    /// Whether it holds label and body of `own`, and no letter or digit beside them.
    ///
    /// Letters and digits alone are compared: rows are wrapped, tabs are drawn as blanks, and marks without a width
    /// may be missing. The body may also stand there as `[Pasted Content N chars]` with its own length.
    pub fn is_exactly(&self, own: &OwnText) -> bool {
        let Some(shown) = self.behind_label(&own.token) else { return false };
        let pasted = format!("PastedContent{}chars", own.body.chars().count());
        let shown = solid(shown);
        shown == solid(&own.body) || shown == pasted
    }

    /// Whether it holds texts of ours, one or several of them, and no letter or digit beside them.
    ///
    /// An agent that is interrupted gives back what it had not begun to answer, the queued ones joined (measured).
    pub fn is_only_ours(&self, own: &[OwnText]) -> bool {
        let Self::Draft(text) = self else { return false };
        let text = solid(text);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let Some(after) = own.iter().find_map(|own| own.at_start_of(rest)) else { return false };
            rest = after;
        }
        !text.is_empty()
    }

    /// Whether this is what remains of `before` when its end was deleted.
    pub fn is_rest_of(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Draft(rest), Self::Draft(before)) => solid(before).starts_with(&solid(rest)),
            (Self::Empty, Self::Draft(_)) => true,
            (Self::Empty | Self::Draft(_) | Self::None, _) => false,
        }
    }

    /// What stands behind the label of `token` when the text begins with it. The label may be wrapped.
    fn behind_label(&self, token: &str) -> Option<&str> {
        let Self::Draft(text) = self else { return None };
        let mut rest = text.as_str();
        for part in ["[conveyor", wire::label(token).trim_end().strip_prefix("[conveyor ")?] {
            rest = rest.trim_start().strip_prefix(part)?;
        }
        Some(rest)
    }
}

impl OwnText {
    /// What follows this text, labelled, at the start of `solid`.
    fn at_start_of<'a>(&self, shown: &'a str) -> Option<&'a str> {
        let rest = shown.strip_prefix(&solid(&wire::label(&self.token)))?;
        let pasted = format!("PastedContent{}chars", self.body.chars().count());
        rest.strip_prefix(&solid(&self.body)).or_else(|| rest.strip_prefix(&pasted))
    }
}

/// The letters and digits of a text.
fn solid(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// What Codex draws in an empty composer, as far as it was seen; only needed for a capture without styles.
///
/// Source: recordings of 0.99.0, 0.144.0 and 0.169.0. With styles a placeholder is known by being dim, whatever it says.
pub(super) const PLACEHOLDERS: &[&str] = &[
    "Ask Codex to do anything",
    "Explain this codebase",
    "Find and fix a bug in @filename",
    "Implement {feature}",
    "Improve documentation in @filename",
    "Run /review on my current changes",
    "Summarize recent commits",
    "Use /skills to list available skills",
    "Write tests for @filename",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> Composer {
        Composer::Draft(text.to_owned())
    }

    fn own(body: &str) -> OwnText {
        OwnText { token: "7Q4K2MZ0AB".to_owned(), body: body.to_owned() }
    }

    #[test]
    fn a_draft_in_front_of_our_label_is_foreign() {
        assert!(draft("[conveyor 7Q4K2MZ0AB] do it").is_only("7Q4K2MZ0AB"));
        assert!(!draft("please [conveyor 7Q4K2MZ0AB] do it").is_only("7Q4K2MZ0AB"));
        assert!(!draft("[conveyor 0000000001] do it").is_only("7Q4K2MZ0AB"));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] a [conveyor 0000000001] b").is_only("7Q4K2MZ0AB"));
        assert!(!Composer::Empty.is_only("7Q4K2MZ0AB"));
        assert!(!Composer::None.is_only("7Q4K2MZ0AB"));
    }

    #[test]
    fn a_person_who_types_behind_our_text_is_noticed() {
        assert!(draft("[conveyor 7Q4K2MZ0AB] do\nit now").is_exactly(&own("do it now ")));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] do it now and").is_exactly(&own("do it now ")));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] do it").is_exactly(&own("do it now ")));
    }

    #[test]
    fn texts_that_came_back_are_ours_alone_or_not_ours() {
        let other = OwnText { token: "0000000001".to_owned(), body: "and that ".to_owned() };
        let all = [own("do it now "), other];
        assert!(draft("[conveyor 7Q4K2MZ0AB] do it now").is_only_ours(&all));
        assert!(draft("[conveyor 0000000001] and\nthat [conveyor 7Q4K2MZ0AB] do it now").is_only_ours(&all));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] do it now please").is_only_ours(&all));
        assert!(!draft("well [conveyor 7Q4K2MZ0AB] do it now").is_only_ours(&all));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] do it").is_only_ours(&all), "not whole");
        assert!(!draft("[conveyor 7Q4K2MZ0AB] do it now").is_only_ours(&[]));
        for nothing in [draft(""), draft(" - "), Composer::Empty, Composer::None] {
            assert!(!nothing.is_only_ours(&all), "{nothing:?}");
        }
    }

    #[test]
    fn what_a_person_types_while_ours_is_deleted_is_no_rest_of_it() {
        let ours = draft("[conveyor 7Q4K2MZ0AB] do it\nnow");
        assert!(draft("[conveyor 7Q4K2MZ0AB] do it").is_rest_of(&ours));
        assert!(Composer::Empty.is_rest_of(&ours));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] do it x").is_rest_of(&ours));
        assert!(!Composer::None.is_rest_of(&ours));
        assert!(!Composer::Empty.is_rest_of(&Composer::Empty));
    }

    #[test]
    fn a_folded_paste_counts_with_its_length() {
        let body = "word ".repeat(400);
        assert!(draft("[conveyor 7Q4K2MZ0AB] [Pasted Content 2000 chars]").is_exactly(&own(&body)));
        assert!(draft("[conveyor\n7Q4K2MZ0AB] [Pasted\nContent 2000 chars]").is_exactly(&own(&body)));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] [Pasted Content 1999 chars]").is_exactly(&own(&body)));
        assert!(!draft("[conveyor 7Q4K2MZ0AB] [Pasted Content 2000 chars] x").is_exactly(&own(&body)));
    }
}
