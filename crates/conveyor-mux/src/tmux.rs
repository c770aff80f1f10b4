//! The real tmux.

/// The real tmux, one process a step.
#[derive(Clone, Debug, Default)]
pub struct Tmux {}
