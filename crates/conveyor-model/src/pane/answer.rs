//! Which dialog Enter may answer.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::Classification;
use super::Composer;
use super::Dialog;
use super::Kind;
use super::composer::OwnText;

/// What the caller allows beyond the default, and which unsent text is conveyor's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed<'a> {
    /// `--approve`: a prompt that gives the agent rights may be answered with yes.
    pub approve: bool,
    /// `--steer`: unsent text of ours may be given into a running turn.
    pub steer: bool,
    /// This session's deliveries whose text may lie unsent in the composer.
    pub own: &'a [OwnText],
}

/// Whether Enter may be sent, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Enter accepts what is shown.
    Enter,
    /// Enter submits our own text, which lies in the composer and is alone there.
    SubmitOwn,
    /// It needs `--approve`.
    NeedsApprove,
    /// Our text would go into a running turn; it needs `--steer`.
    NeedsSteer,
    /// The cursor is not on the first option.
    CursorElsewhere,
    /// Only a person answers this dialog.
    NeverByUs,
    /// The composer holds text that is not ours.
    ForeignDraft,
    /// A popup, a mode of tmux, a lost connection or an unknown screen would take the key.
    NotReachable,
    /// There is nothing to answer.
    Nothing,
}

/// Whether Enter may be sent to what is on the screen.
///
/// Never for an update (it runs a package manager), a login, a review of hooks, another picker or the rewind browser.
pub fn answerable(seen: &Classification, allowed: &Allowed<'_>) -> Answer {
    if seen.in_mode {
        return Answer::NotReachable;
    }
    match seen.kind {
        Kind::ApprovalPrompt | Kind::McpApprovalPrompt => with_approval(seen, allowed),
        Kind::TrustPrompt if gives_rights(seen) => with_approval(seen, allowed),
        Kind::TrustPrompt | Kind::PlanPrompt => on_first(seen),
        Kind::HooksReviewPrompt | Kind::LoginPrompt | Kind::UpdatePrompt | Kind::Picker | Kind::Rewind => {
            Answer::NeverByUs
        }
        Kind::Reconnecting | Kind::Quit | Kind::Unknown => Answer::NotReachable,
        Kind::Busy | Kind::Retrying => match unsent(seen, allowed) {
            Answer::SubmitOwn if !allowed.steer => Answer::NeedsSteer,
            other => other,
        },
        Kind::Idle
        | Kind::RateLimited
        | Kind::UsageLimited
        | Kind::ContextFull
        | Kind::StreamError
        | Kind::Compacted => unsent(seen, allowed),
    }
}

/// Whether the first option lets the agent work without asking: the trust prompt of 0.99 in a repository does.
fn gives_rights(seen: &Classification) -> bool {
    let first = seen.dialog.as_ref().and_then(|dialog| dialog.options.first());
    first.is_some_and(|first| first.text.contains("without asking"))
}

fn with_approval(seen: &Classification, allowed: &Allowed<'_>) -> Answer {
    if allowed.approve { on_first(seen) } else { Answer::NeedsApprove }
}

fn on_first(seen: &Classification) -> Answer {
    let first = seen.dialog.as_ref().is_some_and(Dialog::is_on_first);
    if first { Answer::Enter } else { Answer::CursorElsewhere }
}

/// What Enter would do to the composer.
fn unsent(seen: &Classification, allowed: &Allowed<'_>) -> Answer {
    if seen.popup {
        return Answer::NotReachable;
    }
    match &seen.composer {
        Composer::Empty => Answer::Nothing,
        Composer::None => Answer::NotReachable,
        Composer::Draft(_) if allowed.own.iter().any(|own| seen.composer.is_exactly(own)) => {
            Answer::SubmitOwn
        }
        Composer::Draft(_) => Answer::ForeignDraft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pane::DialogOption;
    use crate::pane::Screen;
    use crate::pane::classify;

    fn seen(kind: Kind) -> Classification {
        let options = ["first", "second"].map(str::to_owned);
        let options = (1..).zip(options).map(|(number, text)| DialogOption { number, text }).collect();
        let dialog = kind.is_dialog().then_some(Dialog { options, selected: Some(1) });
        Classification { kind, dialog, composer: Composer::Empty, ..classify(&Screen::default()) }
    }

    #[test]
    fn enter_is_never_sent_to_what_only_a_person_answers() {
        let all = Allowed { approve: true, steer: true, own: &[] };
        for kind in
            [Kind::HooksReviewPrompt, Kind::LoginPrompt, Kind::UpdatePrompt, Kind::Picker, Kind::Rewind]
        {
            assert_eq!(answerable(&seen(kind), &all), Answer::NeverByUs, "{kind:?}");
        }
    }

    #[test]
    fn an_approval_needs_the_flag_and_the_first_option() {
        for kind in [Kind::ApprovalPrompt, Kind::McpApprovalPrompt] {
            let mut seen = seen(kind);
            assert_eq!(answerable(&seen, &Allowed::default()), Answer::NeedsApprove);
            let allowed = Allowed { approve: true, ..Allowed::default() };
            assert_eq!(answerable(&seen, &allowed), Answer::Enter);
            seen.dialog.as_mut().unwrap().selected = Some(2);
            assert_eq!(answerable(&seen, &allowed), Answer::CursorElsewhere);
            seen.dialog = None;
            assert_eq!(answerable(&seen, &allowed), Answer::CursorElsewhere, "a title alone shows no cursor");
        }
    }

    #[test]
    fn trust_and_plan_are_answered_on_their_first_option_only() {
        for kind in [Kind::TrustPrompt, Kind::PlanPrompt] {
            let mut seen = seen(kind);
            assert_eq!(answerable(&seen, &Allowed::default()), Answer::Enter);
            seen.dialog.as_mut().unwrap().selected = None;
            assert_eq!(answerable(&seen, &Allowed::default()), Answer::CursorElsewhere);
        }
    }

    #[test]
    fn only_own_unsent_text_is_submitted() {
        let own = [OwnText { token: "7Q4K2MZ0AB".to_owned(), body: "do it ".to_owned() }];
        let allowed = Allowed { own: &own, ..Allowed::default() };
        let mut seen = seen(Kind::Idle);
        assert_eq!(answerable(&seen, &allowed), Answer::Nothing);
        seen.composer = Composer::Draft("[conveyor 7Q4K2MZ0AB] do it".to_owned());
        assert_eq!(answerable(&seen, &allowed), Answer::SubmitOwn);
        assert_eq!(answerable(&seen, &Allowed::default()), Answer::ForeignDraft);
        seen.popup = true;
        assert_eq!(answerable(&seen, &allowed), Answer::NotReachable);
        seen.popup = false;
        seen.kind = Kind::Busy;
        assert_eq!(answerable(&seen, &allowed), Answer::NeedsSteer);
        assert_eq!(answerable(&seen, &Allowed { steer: true, ..allowed }), Answer::SubmitOwn);
        seen.in_mode = true;
        assert_eq!(answerable(&seen, &Allowed { steer: true, ..allowed }), Answer::NotReachable);
    }
}
