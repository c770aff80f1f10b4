//! The table of rules.

use super::Classification;
use super::Composer;
use super::Kind;
use super::Screen;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable name.
    pub name: &'static str,
}

/// All rules in the order in which they are tried.
pub const RULES: &[Rule] = &[];

/// What became of one rule.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The rule's name.
    pub rule: &'static str,
}

/// What a screen shows.
pub fn classify(screen: &Screen) -> Classification {
    Classification {
        kind: Kind::Unknown,
        composer: Composer::None,
        rule: None,
        line: None,
        evidence: None,
        dialog: None,
        popup: false,
        pending: Vec::new(),
        busy_seconds: None,
        notices: Vec::new(),
        in_mode: screen.in_mode,
    }
}

/// Every rule with what became of it on this screen.
pub fn explain(_screen: &Screen) -> Vec<Tried> {
    Vec::new()
}
