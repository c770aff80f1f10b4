//! What only a ledger in a file has: modes, opening without writing, damage, a full disk, the bell's file.

mod bell;
mod opening;
mod private;
mod probe;
