//! What the composer holds.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// What stands in the line in which a person types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "state", content = "text")]
pub enum Composer {
    /// Nothing, or the placeholder.
    Empty,
    /// A text that was not submitted, its rows joined by newlines as they are drawn.
    Draft(String),
    /// There is no composer: a dialog has its place, or this is no screen of an agent.
    None,
}

impl Composer {
    /// Whether it holds the message of `token` and nothing else.
    pub fn is_only(&self, _token: &str) -> bool {
        false
    }
}
