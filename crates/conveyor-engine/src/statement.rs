//! Texts that a caller hands over to be kept: what a handoff, a decision and a report check alike.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;

/// Refuses a text that says nothing or more than anybody reads.
pub(crate) fn check_text(flag: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::usage(format!("{flag} says nothing")));
    }
    if text.len() > limits::STATEMENT_BYTES {
        return Err(Error::usage(format!("{flag} is longer than {} bytes", limits::STATEMENT_BYTES))
            .hint("put the rest into a file and name that"));
    }
    Ok(())
}

/// The same for each line of a list, and for their number.
pub(crate) fn check_lines(flag: &str, lines: &[String]) -> Result<()> {
    if lines.len() > limits::STATEMENT_LINES {
        return Err(Error::usage(format!("{flag} is given more than {} times", limits::STATEMENT_LINES)));
    }
    lines.iter().try_for_each(|line| check_text(flag, line))
}
