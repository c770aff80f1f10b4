//! How long somebody waits for a lock that another writer holds.

use std::time::Duration;
use std::time::Instant;

use conveyor_model::limits;

/// Milliseconds between the first attempts. Nothing tells when a lock is free; a writer holds it for about a millisecond.
const PAUSES: [u64; 6] = [1, 1, 2, 5, 10, 15];

/// Milliseconds between all later ones.
const LONGEST: u64 = 25;

/// Attempts that may go on for [`limits::LEDGER_BUSY`]. While one waits, its thread serves others.
pub(crate) struct Patience {
    end: Instant,
    attempts: usize,
}

impl Patience {
    /// From now on.
    pub(crate) fn new() -> Self {
        Self { end: Instant::now() + limits::LEDGER_BUSY, attempts: 0 }
    }

    /// Waits until the next attempt; `false`, at once, when it is over.
    pub(crate) async fn lasts(&mut self) -> bool {
        if Instant::now() >= self.end {
            return false;
        }
        let pause = PAUSES.get(self.attempts).unwrap_or(&LONGEST);
        self.attempts += 1;
        tokio::time::sleep(Duration::from_millis(*pause)).await;
        true
    }
}
