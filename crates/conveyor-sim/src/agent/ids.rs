//! Ids that depend on a seed only, so that a run in memory is repeatable.

use uuid::Builder;

use super::Millis;

/// A stream of pseudo-random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Ids(u64);

impl Ids {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A UUIDv7 of this time.
    pub fn uuid(&mut self, now: Millis) -> String {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.number().to_be_bytes());
        random[8..].copy_from_slice(&self.number().to_be_bytes()[..2]);
        Builder::from_unix_timestamp_millis(now, &random).into_uuid().to_string()
    }

    /// An id as the model's side makes them.
    pub fn short(&mut self, prefix: &str) -> String {
        format!("{prefix}_{:012x}", self.number() & 0xffff_ffff_ffff)
    }
}
