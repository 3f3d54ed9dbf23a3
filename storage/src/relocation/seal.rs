//! Seals: epochs above those of all views, under which nobody serves a partition. A seal is a fence as a claim is, so that a store needs nothing new to keep one, and
//! what was in flight before it is refused as it is after a claim.

use crate::Epoch;
use serde::{Deserialize, Serialize};

/// Says that an epoch is a seal's. Above every view, and still a number that all stores can keep.
const SEALED: u64 = 1 << 62;
/// Bits of the view that the seal was put over; as many hold the version.
const BITS: u32 = 31;
const MASK: u64 = (1 << BITS) - 1;

/// A seal on a partition. No two of one partition are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seal(Epoch);

impl Seal {
    /// The seal that an epoch is; `None` for one of an activation.
    #[must_use]
    pub const fn of(epoch: Epoch) -> Option<Self> {
        if epoch.view & SEALED == 0 { None } else { Some(Self(epoch)) }
    }

    /// The next seal over this epoch, or over the seal that it is, for this version of the owner's home. `None` when view or version is too large to be kept.
    #[must_use]
    pub const fn over(epoch: Epoch, version: u64) -> Option<Self> {
        let view = if epoch.view & SEALED == 0 { epoch.view } else { epoch.view & MASK };
        if view > MASK || version > MASK {
            return None;
        }
        Some(Self(Epoch { view: SEALED | version << BITS | view, count: epoch.count + 1 }))
    }

    /// The epoch that is the fence while the seal is there.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        self.0
    }

    /// The version of the owner's home that it was made for.
    #[must_use]
    pub const fn version(self) -> u64 {
        self.0.view >> BITS & MASK
    }

    /// The epoch after the seal is taken off: of the view before it, and of no activation that ever was.
    #[must_use]
    pub const fn taken_off(self) -> Epoch {
        Epoch { view: self.0.view & MASK, count: self.0.count + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_above_all_views_and_gives_the_view_back() {
        let epoch = |view, count| Epoch { view, count };
        for (view, count, version) in [(0, 0, 0), (1, 7, 1), (MASK, 1 << 40, MASK)] {
            let before = epoch(view, count);
            assert_eq!(Seal::of(before), None);
            let seal = Seal::over(before, version).unwrap();
            assert_eq!((Seal::of(seal.epoch()), seal.version()), (Some(seal), version));
            assert!(seal.epoch() > epoch(MASK, u64::MAX) && i64::try_from(seal.epoch().view).is_ok());
            assert_eq!(seal.taken_off(), epoch(view, count + 2));
            assert!(seal.taken_off() > before && Seal::of(seal.taken_off()).is_none());
            // Put over another one it is another one, also for the same version.
            let again = Seal::over(seal.epoch(), version).unwrap();
            assert!(again != seal && again.taken_off() > seal.taken_off());
        }
        assert_eq!((Seal::over(epoch(MASK + 1, 0), 0), Seal::over(epoch(0, 0), MASK + 1)), (None, None));
    }
}
