//! Terminals: pinned panes of tmux, and the few things that may be done to them.
//!
//! This crate decides nothing. It carries out single steps, each as one call of tmux with a time limit, and each step
//! that touches a program is guarded inside that same call: the pane must still hold the process that was pinned, and
//! must not be in a mode that would take the keys. A target is an exact session name or a pane id; tmux's own prefix
//! matching is never used, because it types into `codex-ab` when `codex-a` is gone.

mod buffer;
mod fault;
mod lock;
mod mux;
mod pin;
pub mod process;
mod server;
mod spawn;
mod tmux;

pub use buffer::BufferName;
pub use fault::Fault;
pub use lock::PaneLock;
pub use mux::Acted;
pub use mux::Key;
pub use mux::Mux;
pub use pin::Gone;
pub use pin::PaneId;
pub use pin::PaneInfo;
pub use pin::Pin;
pub use pin::PinCheck;
pub use pin::Process;
pub use pin::Target;
pub use server::Server;
pub use spawn::SpawnSpec;
pub use tmux::Tmux;
