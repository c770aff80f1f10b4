//! The delivery machine: how one message reaches an agent exactly once, or is visibly not delivered.
//!
//! [`Stage`] is where a delivery stands and which moves are legal; [`decide()`] is the recovery table: what whoever holds
//! the lease does next, from what it sees. The first attempt and a successor after a crash ask the same table, so that
//! there is no separate path for recovery that only accidents would test. Reasons and measurements: `docs/delivery.md`.

mod decide;
mod hold;
mod kind;
mod stage;
mod wish;

pub use decide::Buffer;
pub use decide::Composer;
pub use decide::Decision;
pub use decide::Row;
pub use decide::Sight;
pub use decide::Target;
pub use decide::Wait;
pub use decide::decide;
pub use hold::Hold;
pub use hold::Holds;
pub use hold::Passage;
pub use hold::passage;
pub use kind::Kind;
pub use kind::Transport;
pub use stage::Coarse;
pub use stage::Stage;
pub use wish::Asked;
pub use wish::Wish;
pub use wish::may;
