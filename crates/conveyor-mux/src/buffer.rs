//! Names of paste buffers.

use std::fmt;
use std::str::FromStr;

use conveyor_model::Error;

/// Name of a paste buffer: 1 to 100 letters, digits, `-`, `_`, not starting with `-`, so that it needs no quoting in
/// any of tmux's languages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferName(String);

impl BufferName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BufferName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if plain && (1..=100).contains(&text.len()) && !text.starts_with('-') {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Error::usage(format!("`{}` is not a name for a buffer", shown.escape_debug())))
    }
}

impl fmt::Display for BufferName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
