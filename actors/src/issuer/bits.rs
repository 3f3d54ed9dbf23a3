//! A persistent set of bit positions: cloning costs O(1), as a published snapshot needs it.

use cellspace_schemas::bitstring::Bitstring;
use rpds::HashTrieMapSync;

const WORDS: usize = 16;
const CHUNK_BITS: u32 = 1024;

/// Positions of set bits, in chunks of 1,024.
#[derive(Debug, Clone, Default)]
pub struct Bits {
    chunks: HashTrieMapSync<u32, [u64; WORDS]>,
    count: usize,
}

/// Chunk, word in the chunk, mask in the word.
const fn place(position: u32) -> (u32, usize, u64) {
    let within = position % CHUNK_BITS;
    (position / CHUNK_BITS, (within / u64::BITS) as usize, 1 << (within % u64::BITS))
}

impl Bits {
    /// Whether the bit is set.
    #[must_use]
    pub fn get(&self, position: u32) -> bool {
        let (chunk, word, mask) = place(position);
        self.chunks.get(&chunk).and_then(|words| words.get(word)).is_some_and(|word| word & mask != 0)
    }

    /// Sets or clears the bit; whether that changed it.
    pub fn set(&mut self, position: u32, on: bool) -> bool {
        if self.get(position) == on {
            return false;
        }
        let (chunk, word, mask) = place(position);
        let mut words = self.chunks.get(&chunk).copied().unwrap_or_default();
        if let Some(word) = words.get_mut(word) {
            *word ^= mask;
        }
        self.chunks.insert_mut(chunk, words);
        self.count = if on { self.count + 1 } else { self.count.saturating_sub(1) };
        true
    }

    /// Number of set bits.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The first position from `start` on, around the end at `size`, whose bit is not set.
    #[must_use]
    pub fn first_unset(&self, start: u32, size: u32) -> Option<u32> {
        let start = start.checked_rem(size)?;
        (start..size).chain(0..start).find(|position| !self.get(*position))
    }

    /// The first `size` bits as a status list.
    #[must_use]
    pub fn bitstring(&self, size: u32) -> Bitstring {
        let mut bytes = vec![0; (size as usize).div_ceil(8)];
        for (chunk, words) in &self.chunks {
            let start = *chunk as usize * CHUNK_BITS as usize / 8;
            // Bit 0 of a list is the left-most one of its first byte. A position beyond the list is none of its bits.
            let packed = words.iter().flat_map(|word| word.to_le_bytes()).map(u8::reverse_bits);
            for (to, from) in bytes.iter_mut().skip(start).zip(packed) {
                *to = from;
            }
        }
        Bitstring::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SIZE: u32 = 4096;

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        #[test]
        fn like_a_set(steps in proptest::collection::vec((0..SIZE, any::<bool>()), 0..200), start in any::<u32>()) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for (position, on) in steps {
                let changed = if on { model.insert(position) } else { model.remove(&position) };
                prop_assert_eq!(bits.set(position, on), changed);
            }
            prop_assert_eq!(bits.count(), model.len());
            let list = bits.bitstring(SIZE);
            for position in 0..SIZE {
                prop_assert_eq!(bits.get(position), model.contains(&position));
                prop_assert_eq!(list.get(position as usize).unwrap(), model.contains(&position));
            }
            let start = start % SIZE;
            let expected = (start..SIZE).chain(0..start).find(|p| !model.contains(p));
            prop_assert_eq!(bits.first_unset(start, SIZE), expected);
        }
    }

    #[test]
    fn a_full_list_has_no_unset_bit() {
        let mut bits = Bits::default();
        for position in 0..8 {
            bits.set(position, true);
        }
        assert_eq!((bits.first_unset(3, 8), bits.first_unset(3, 0), bits.first_unset(3, 9)), (None, None, Some(8)));
    }
}
