//! What only a ledger in a file has: modes, opening without writing, damage, a full disk, the bell's file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bell;
mod opening;
mod plans;
mod private;
mod probe;
