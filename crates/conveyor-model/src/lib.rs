//! Pure types and decisions of conveyor: no I/O, no async, no clock.
//!
//! Everything that decides something lives here as a total function, and is tested here first. The words used are
//! defined in this crate's `README.md`.

pub mod acknowledgement;
pub mod audit;
pub mod compaction;
pub mod continuation;
pub mod delivery;
pub mod error;
pub mod finish;
pub mod glance;
pub mod ids;
pub mod limits;
pub mod name;
pub mod negotiation;
pub mod observation;
pub mod pane;
pub mod permission;
pub mod prompt;
pub mod proposal;
pub mod recommend;
pub mod redact;
pub mod rollout;
pub mod setup;
pub mod shadow;
pub mod time;
pub mod turn;
pub mod wire;

pub use error::Error;
pub use error::ErrorKind;
pub use error::Result;
pub use error::Retry;
pub use name::Name;
pub use time::Timestamp;
