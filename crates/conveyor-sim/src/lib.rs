//! A simulated agent, a fake model provider, and a harness for the real Codex: for `demo` and for tests.
//!
//! Nothing else links this crate. What it simulates was measured on the real program, and each trap is a scenario that
//! runs against both, so that the simulation cannot drift from what it stands for.

pub mod agent;
pub mod codex;
pub mod directive;
pub mod mcp;
pub mod pane;
pub mod provider;
pub mod scenario;
pub mod tmux;
