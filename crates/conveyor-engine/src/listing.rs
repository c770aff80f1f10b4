//! Listings: how many rows a caller gets, and what tells it that there are more.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Caller;
use crate::Plane;

/// Stands behind the last row of a listing that was cut.
#[derive(Clone, Serialize, JsonSchema, Debug, PartialEq, Eq)]
pub struct More {
    /// Always true.
    pub truncated: bool,
    /// The command that shows more.
    pub next: String,
}

impl More {
    /// Tells that a listing was cut, and how to see more of it.
    pub fn by(next: String) -> Self {
        Self { truncated: true, next }
    }
}

/// How many rows are listed: what was asked for, else a bound for agents and all for people and their scripts.
pub fn rows(plane: &Plane, asked: Option<u32>) -> u32 {
    match (asked, &plane.caller) {
        (Some(asked), _) => asked,
        (None, Caller::Person) => u32::MAX - 1,
        (None, Caller::Shell { .. } | Caller::Tool { .. }) => limits::LIST_ROWS,
    }
}

/// Refuses a bound of no rows, which would show nothing and say nothing.
pub fn check(limit: Option<u32>) -> Result<()> {
    match limit {
        Some(0) => Err(Error::usage("--limit needs at least 1")),
        Some(_) | None => Ok(()),
    }
}

/// A text on one line, so that it cannot break a row of a listing.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_not_broken_by_its_text() {
        assert_eq!(one_line(" a\n\tb\u{85}c\u{2028}d \r\n"), "a b c d");
    }

    #[test]
    fn a_listing_of_nothing_is_wrong_usage() {
        assert!(check(Some(0)).is_err());
        assert!(check(Some(1)).is_ok() && check(None).is_ok());
    }
}
