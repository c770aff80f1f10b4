//! What agents record about themselves: finding, following and parsing the rollouts of Codex, and proving which thread
//! a process or a terminal belongs to.
//!
//! Nothing here touches the ledger. The effect is the trait [`log::AgentLog`]; a simulation holds its rollouts in
//! memory ([`log::MemoryLog`]).

pub mod births;
pub mod discover;
pub mod folders;
pub mod follow;
pub mod log;
pub mod parse;
pub mod process;
pub mod watch;

pub use discover::discover;
pub use folders::Folders;
pub use follow::Batch;
pub use follow::Follower;
pub use follow::read_meta;
pub use log::AgentLog;
pub use log::FsLog;
pub use log::MemoryLog;
pub use parse::parse;
pub use process::ProcessId;
pub use watch::Watch;
