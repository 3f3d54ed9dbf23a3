//! Slots: the unit of placement and hand-over.

use cellspace_schemas::Owner;

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

    /// Its number, below [`SLOTS`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
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
