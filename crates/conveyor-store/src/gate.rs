//! The gate at each write: where a fault loop kills.

use async_trait::async_trait;
use conveyor_model::Result;

/// Is asked before and after each commit of a ledger.
///
/// An error before a commit rolls the transaction back, as SIGKILL would. An error after it leaves the commit standing
/// and the doorbell silent, as SIGKILL between commit and bell would. Either error is what the writer gets.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Before commit number `write`, counted from 1 for each opened ledger.
    async fn before_commit(&self, write: u64) -> Result<()> {
        let _ = write;
        Ok(())
    }

    /// After commit number `write`, before the doorbell.
    async fn after_commit(&self, write: u64) -> Result<()> {
        let _ = write;
        Ok(())
    }
}

/// The gate of a ledger that nobody tests: always open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Gate for Open {}
