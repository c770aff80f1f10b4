//! Names that people give to sessions and tasks.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;
use crate::limits;

/// Letters, digits, `-` and `_`; 1 to 64 of them; no leading `-`.
///
/// A name becomes part of a tmux session's name, where `.` and `:` mean something, and of command lines, where a
/// leading `-` does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This name with `-suffix`, the stem shortened so that the whole stays within the limit.
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let room = limits::NAME_CHARS.saturating_sub(suffix.len() + 1);
        let stem: String = self.0.chars().take(room).collect();
        Self(format!("{stem}-{suffix}"))
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let shown: String = text.chars().take(80).collect();
        if text.is_empty() {
            return Err(Error::usage("a name cannot be empty"));
        }
        if text.chars().count() > limits::NAME_CHARS {
            return Err(Error::usage(format!("`{shown}` is longer than {} characters", limits::NAME_CHARS)));
        }
        if text.starts_with('-') || !text.chars().all(allowed) {
            return Err(Error::usage(format!("`{}` is not a name", shown.escape_debug()))
                .hint("use letters, digits, `-` and `_`, not beginning with `-`"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_tmux_or_a_shell_would_read_otherwise_are_refused() {
        for bad in ["", "-x", "a.b", "a:b", "a b", "é", "a/b", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        for good in ["a", "_", "w1", "dashboard-7F-worker", &"x".repeat(64)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_suffix_keeps_a_long_name_within_the_limit() {
        let name = "x".repeat(64).parse::<Name>().unwrap().with_suffix("2");
        assert_eq!(name.as_str().len(), 64);
        assert!(name.as_str().parse::<Name>().is_ok());
    }
}
