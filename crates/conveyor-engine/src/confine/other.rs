//! Systems without Landlock: nothing is run there.

use std::io::Write;

use super::Answer;

/// Answers that commands cannot be confined here.
pub(super) fn helper() -> u8 {
    let answer = Answer::Failed(
        "commands cannot be confined on this system: that needs Linux with Landlock".to_owned(),
    );
    let line = serde_json::to_vec(&answer).unwrap_or_default();
    u8::from(std::io::stdout().write_all(&line).is_err())
}

/// Nothing was run, so nothing is left.
pub(super) fn sweep(_mark: &str) {}
