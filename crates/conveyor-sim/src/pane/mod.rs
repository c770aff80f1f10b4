//! The effects in memory: terminals with simulated agents in them, their rollouts, and time, all in one [`World`].
//!
//! A world does nothing by itself. Time moves when a clock of it sleeps, when a step of a terminal is taken (each costs
//! [`STEP_MS`]), or when a test says so; agents then do what is due. Nothing depends on anything but the seed.

mod clock;
mod hands;
mod mux;
#[cfg(test)]
mod tests;
mod world;

pub use clock::Participant;
pub use clock::VirtualClock;
/// The agents' rollouts: the one in-memory log of `conveyor-agents`.
pub use conveyor_agents::MemoryLog as SimLog;
pub use hands::Hands;
pub use mux::SimMux;
pub use world::World;

use crate::agent::Millis;

/// What one call of tmux costs. Measured: 2 to 3 ms.
pub const STEP_MS: Millis = 3;

/// A step that is about to be taken on a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its number in this world, from 1 on, over all processes.
    pub step: u64,
    /// What it is.
    pub what: What,
}

/// The steps of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// All panes are listed.
    Panes,
    /// A pane is pinned.
    Pin,
    /// A pin is checked.
    Check,
    /// A screen is captured.
    Capture,
    /// A buffer is loaded.
    LoadBuffer,
    /// A buffer is deleted.
    DeleteBuffer,
    /// Buffers are listed.
    ListBuffers,
    /// Buffers are pasted.
    Paste,
    /// A key is pressed.
    Press(conveyor_mux::Key),
    /// A program is started.
    Spawn,
    /// A pane is closed.
    KillPane,
    /// A session is closed.
    KillSession,
}

/// What becomes of the process that takes a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    #[default]
    Go,
    /// It is killed before the step: nothing happens, and each later step of the same [`SimMux`] fails.
    DieBefore,
    /// It is killed after the step took effect and before it knows.
    DieAfter,
}
