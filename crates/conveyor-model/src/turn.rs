//! The state of a session's turn.
