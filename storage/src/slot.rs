//! Slots: the unit of placement and hand-over.

use cellspace_schemas::Owner;
use std::{collections::BTreeSet, sync::Arc};

/// Slots of a cell. Part of every node's arithmetic: it never changes for a cell with data.
pub const SLOTS: u16 = 4096;

/// One of the [`SLOTS`] of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The slot of an owner: xxh3-64 of the bytes, seed 0. All agents of one owner share it.
    #[must_use]
    pub fn of(owner: &Owner) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(owner.as_str().as_bytes());
        Self(u16::try_from(hash % u64::from(SLOTS)).unwrap_or(0))
    }

    /// Every slot, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }

    /// The one of this number, if there is one.
    #[must_use]
    pub fn numbered(number: u16) -> Option<Self> {
        (number < SLOTS).then_some(Self(number))
    }

    /// Its number, below [`SLOTS`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Slots that something is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slots {
    /// Every one.
    All,
    /// These.
    These(Arc<BTreeSet<Slot>>),
}

impl Slots {
    /// Whether that of the owner is one of them.
    #[must_use]
    pub fn have(&self, owner: &Owner) -> bool {
        match self {
            Self::All => true,
            Self::These(slots) => slots.contains(&Slot::of(owner)),
        }
    }
}

impl FromIterator<Slot> for Slots {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        Self::These(Arc::new(slots.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two builds must agree on placement: these numbers never change.
    #[test]
    fn golden() {
        let slots = ["acme", "4be1c0", "did-path/x", "installation"].map(|o| Slot::of(&Owner::new(o).unwrap()).number());
        assert_eq!(slots, GOLDEN);
    }

    const GOLDEN: [u16; 4] = [2273, 3305, 2560, 2309];
}
