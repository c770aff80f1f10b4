//! The ledger: everything durable that conveyor knows, on SQLite or PostgreSQL.
//!
//! [`Ledger::open`] opens it; [`Ledger::read`] gives a [`Reader`], a snapshot; [`Ledger::write`] gives a [`Tx`], a change.
//! Both are a [`Db`], and each noun has a module of functions: those that read take `&mut Db`, those that change take `&mut
//! Tx` and the [`AuditRow`] that tells the change, so that no change can be made untold.
//!
//! What the tables and their odd columns mean is in `docs/ledger.md`; the audit chain is specified in `docs/chain.md`.

pub mod acknowledgements;
pub mod attention;
pub mod audit;
pub mod bindings;
mod cell;
mod clock;
pub mod configs;
pub mod continuations;
pub mod criteria;
pub mod cycles;
mod db;
pub mod decisions;
pub mod deliveries;
pub mod dispatchers;
pub mod divergences;
pub mod doctor;
mod engine;
pub mod epilogues;
pub mod events;
pub mod evidence;
mod filter;
pub mod follows;
mod gate;
pub mod handoffs;
pub mod interrupts;
mod ledger;
pub mod letters;
mod location;
pub mod receipts;
pub mod runs;
mod schema;
pub mod sessions;
pub mod tasks;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod threads;
pub mod transcripts;
pub mod turns;
mod tx;

pub use clock::Clock;
pub use clock::SystemClock;
pub use db::Db;
pub use engine::Engine;
pub use engine::bell::Bell;
pub use engine::lock::Held;
pub use gate::Gate;
pub use gate::Open as OpenGate;
pub use ledger::Ledger;
pub use ledger::Mode;
pub use location::Location;
pub use schema::VERSION as SCHEMA_VERSION;
pub use tx::AuditRow;
pub use tx::Counter;
pub use tx::Reader;
pub use tx::Tx;
