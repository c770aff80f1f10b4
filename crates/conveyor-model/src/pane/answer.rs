//! Which dialog Enter may answer.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::Classification;
use super::Composer;
use super::Kind;

/// What the caller allows beyond the default, and which unsent text is conveyor's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed<'a> {
    /// `--approve`: a command or tool approval may be answered with yes.
    pub approve: bool,
    /// Tokens of this session's deliveries whose text may lie unsent in the composer.
    pub own_tokens: &'a [String],
}

/// Whether Enter may be sent, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Enter accepts what is shown.
    Enter,
    /// Enter submits our own text, which lies in the composer.
    SubmitOwn,
    /// It needs `--approve`.
    NeedsApprove,
    /// The cursor is not on the first option.
    CursorElsewhere,
    /// Only a person answers this dialog.
    NeverByUs,
    /// The composer holds text that is not ours.
    ForeignDraft,
    /// A popup, a mode of tmux or an unknown screen would take the key.
    NotReachable,
    /// There is nothing to answer.
    Nothing,
}

/// Whether Enter may be sent to what is on the screen.
pub fn answerable(_seen: &Classification, _allowed: &Allowed<'_>) -> Answer {
    let _ = (Composer::None, Kind::Idle);
    Answer::Nothing
}
