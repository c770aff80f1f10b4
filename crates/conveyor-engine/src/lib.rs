//! The verbs of conveyor and what they stand on: one file a verb, named as the user types it, and [`Plane`], the
//! context that every verb gets.
//!
//! | what it is about | modules |
//! |---|---|
//! | what a verb is, and what it works with | [`verb`], [`verbs`], [`table`], [`plane`], [`environment`], [`locate`] |
//! | what verbs take and show alike | [`object`], `statement`, [`listing`], [`message`], `tool_call`, [`manager_context`] |
//! | who calls, and what it may do | [`caller`], `speaker`, [`resolve`], `policy`, `hold` |
//! | sessions: found, registered, started, stopped | [`identify`], [`registration`], `adopt`, [`binding`], [`start`], [`stop`] |
//! | what agents do | [`ingest`], `growth`, [`shadow`], [`glance`], [`transcript`], `attention` |
//! | messages, from acceptance to proof | [`enqueue`], `gate`, [`deliver`], `steer`, [`compaction`], [`dispatch`], [`inbox`], `receipt`, [`outbox`], `waiting` |
//! | judging work | [`acknowledge`], `continuing`, `reviewing`, [`verify`], [`confine`], `artifact` |
//! | tests | [`mutant`], `testing` |

pub mod acknowledge;
mod adopt;
mod artifact;
mod attention;
pub mod binding;
pub mod caller;
pub mod compaction;
pub mod confine;
pub(crate) mod continuing;
pub mod deliver;
pub mod dispatch;
pub mod enqueue;
pub mod environment;
mod gate;
pub mod glance;
mod growth;
mod hold;
pub mod identify;
pub mod inbox;
pub mod ingest;
pub mod listing;
pub mod locate;
pub mod manager_context;
pub mod message;
pub mod mutant;
pub mod object;
pub mod outbox;
pub mod plane;
mod policy;
mod receipt;
pub mod registration;
pub mod resolve;
mod reviewing;
pub mod shadow;
mod speaker;
pub mod start;
mod statement;
mod steer;
pub mod stop;
pub mod table;
#[cfg(test)]
mod testing;
mod tool_call;
pub mod transcript;
pub mod verb;
pub mod verbs;
pub mod verify;
mod waiting;

pub use caller::Caller;
pub use environment::Environment;
pub use plane::Effects;
pub use plane::Plane;
pub use table::VERBS;
