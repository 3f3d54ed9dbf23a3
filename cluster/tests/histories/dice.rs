//! Chance that depends on what it is for, and not on the order in which it is asked: what happens within one instant in another order is the same history.

use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Numbers that follow from a seed and a name.
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64, name: &str) -> Self {
        Self(xxh3_64_with_seed(name.as_bytes(), seed))
    }

    /// SplitMix64.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.number() % (range.end - range.start)
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.within(0..len as u64)).unwrap()
    }

    /// So many times of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.within(0..1_000) < per_mille
    }
}
