//! The clock and the source of ids: one of the four effects, so that a test decides what time it is.

use std::time::Duration;

use async_trait::async_trait;
use conveyor_model::Timestamp;
use uuid::Uuid;

/// Time, waiting and randomness.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Timestamp;

    /// Returns after `duration` has passed on this clock.
    async fn sleep(&self, duration: Duration);

    /// A fresh UUIDv7 of this clock's present time.
    fn uuid_v7(&self) -> Uuid;

    /// 128 random bits.
    fn random(&self) -> u128;

    /// Whether the ledger takes this clock's time although its engine has a clock of its own.
    ///
    /// A virtual clock says yes. The system's clock says no: on PostgreSQL several hosts share a ledger, and leases
    /// are compared with the server's time only.
    fn rules_the_ledger(&self) -> bool {
        false
    }
}

/// The operating system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn uuid_v7(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn random(&self) -> u128 {
        Uuid::new_v4().as_u128()
    }
}
