//! A list of numbered options that has the keyboard.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// One option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DialogOption {
    /// The number in front of it.
    pub number: u32,
    /// Its text.
    pub text: String,
}

/// A list of options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dialog {
    /// The options from the top.
    pub options: Vec<DialogOption>,
    /// Number of the option that Enter would choose; null when no cursor is seen.
    pub selected: Option<u32>,
}

impl Dialog {
    /// Whether Enter would choose the first option.
    pub fn is_on_first(&self) -> bool {
        self.options.first().is_some_and(|first| self.selected == Some(first.number))
    }
}
