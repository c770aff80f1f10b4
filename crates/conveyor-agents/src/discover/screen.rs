//! Thread ids that a terminal shows, if Codex is configured to show them.

use crate::log::THREAD_ID_CHARS;
use crate::log::is_thread_prefix;
use crate::log::thread_id;

/// How much of an id a title shows at least; measured: 29 characters, then `...`.
const SHOWN_CHARS: usize = 29;

/// Lines at the end of a screen that may hold the footer. A thread id further up is somebody's text.
const FOOTER_LINES: usize = 3;

/// The thread, or the beginning of its id, that a pane's title shows: `⠋ 01a203cb-d5df-7441-8285-68347...`,
/// `[ ! ] Action Required | 01a203cb-…`.
///
/// A program that runs in the pane can set the title too; so can a text that a shell prints. What it says is a proof
/// only while Codex itself runs in the pane.
pub fn title_thread(title: &str) -> Option<&str> {
    let last = title.split(['|', ' ']).next_back()?;
    let shown = last.trim_end_matches(['.', '…']);
    let enough = shown.len() >= SHOWN_CHARS && shown.len() <= THREAD_ID_CHARS;
    (enough && is_thread_prefix(shown)).then_some(shown)
}

/// The thread that the footer shows: `Ready · 01a203b1-5a77-7b02-adb4-ea3209f7045a · Context 0% used`.
pub(super) fn footer_thread(screen: &str) -> Option<&str> {
    let lines = screen.lines().rev().filter(|line| !line.trim().is_empty()).take(FOOTER_LINES);
    let mut found = lines.flat_map(|line| line.split('·')).filter_map(|part| thread_id(part.trim()));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a203b1-5a77-7b02-adb4-ea3209f7045a";

    #[test]
    fn a_title_shows_the_beginning_of_the_id() {
        assert_eq!(title_thread("01a203cb-d5df-7441-8285-68347..."), Some("01a203cb-d5df-7441-8285-68347"));
        assert_eq!(title_thread("⠋ 01a203cb-d5df-7441-8285-68347…"), Some("01a203cb-d5df-7441-8285-68347"));
        assert_eq!(title_thread(&format!("[ ! ] Action Required | {ID}")), Some(ID));
        assert_eq!(title_thread("⠋ work"), None);
        assert_eq!(title_thread("01a203cb-d5df"), None, "too short to tell threads apart");
        assert_eq!(title_thread(""), None);
    }

    #[test]
    fn only_the_footer_counts_and_not_what_somebody_wrote() {
        let footer = format!("› Ask Codex\n\n  Ready · {ID} · Context 0% used\n\n");
        assert_eq!(footer_thread(&footer), Some(ID));
        assert_eq!(footer_thread(&format!("· {ID} ·\na\nb\nc\n")), None);
        assert_eq!(footer_thread(&format!("see {ID} for more")), None);
    }
}
