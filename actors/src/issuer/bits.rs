//! A persistent set of bit positions: cloning costs O(1), as a published snapshot needs it, and a change beside a snapshot copies one chunk.

use cellspace_schemas::bitstring::Bitstring;
use std::sync::Arc;

const WORDS: usize = 128;
const CHUNK_BYTES: usize = WORDS * 8;
/// Positions of one chunk.
const CHUNK_BITS: u32 = 8_192;

/// The words of 8,192 positions.
type Chunk = [u64; WORDS];

/// Positions of set bits: one bit for each where any is set nearby, and little besides.
#[derive(Debug, Clone, Default)]
pub struct Bits {
    /// By their place, up to the last one that had a bit; `None` where none ever was set.
    chunks: Arc<[Option<Arc<Chunk>>]>,
    count: usize,
}

/// Chunk, word in the chunk, mask in the word.
const fn place(position: u32) -> (usize, usize, u64) {
    let within = position % CHUNK_BITS;
    ((position / CHUNK_BITS) as usize, (within / u64::BITS) as usize, 1 << (within % u64::BITS))
}

impl Bits {
    /// The word with the bit of this position.
    fn word(&self, position: u32) -> u64 {
        let (chunk, word, _) = place(position);
        let words = self.chunks.get(chunk).and_then(Option::as_ref);
        words.and_then(|words| words.get(word)).copied().unwrap_or_default()
    }

    /// Whether the bit is set.
    #[must_use]
    pub fn get(&self, position: u32) -> bool {
        let (.., mask) = place(position);
        self.word(position) & mask != 0
    }

    /// Sets or clears the bit; whether that changed it.
    pub fn set(&mut self, position: u32, on: bool) -> bool {
        if self.get(position) == on {
            return false;
        }
        let (chunk, word, mask) = place(position);
        if chunk >= self.chunks.len() {
            let more = std::iter::repeat_n(None, chunk + 1 - self.chunks.len());
            self.chunks = self.chunks.iter().cloned().chain(more).collect();
        }
        if let Some(place) = Arc::make_mut(&mut self.chunks).get_mut(chunk) {
            let words = Arc::make_mut(place.get_or_insert_with(|| Arc::new([0; WORDS])));
            if let Some(word) = words.get_mut(word) {
                *word ^= mask;
            }
        }
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
        self.unset_between(start, size).or_else(|| self.unset_between(0, start))
    }

    /// The first position from `at` on whose bit is not set, before `end`; a word at a time.
    fn unset_between(&self, mut at: u32, end: u32) -> Option<u32> {
        while at < end {
            let within = at % u64::BITS;
            let open = !self.word(at) >> within;
            if open != 0 {
                let found = at + open.trailing_zeros();
                return (found < end).then_some(found);
            }
            at = at.saturating_add(u64::BITS - within);
        }
        None
    }

    /// The first `size` bits as a status list.
    #[must_use]
    pub fn bitstring(&self, size: u32) -> Bitstring {
        let mut bytes = vec![0; (size as usize).div_ceil(8)];
        for (place, words) in bytes.chunks_mut(CHUNK_BYTES).zip(self.chunks.iter()) {
            // Bit 0 of a list is the left-most one of its first byte. A position beyond the list is none of its bits.
            let packed = words.iter().flat_map(|words| words.iter()).flat_map(|word| word.to_le_bytes()).map(u8::reverse_bits);
            for (to, from) in place.iter_mut().zip(packed) {
                *to = from;
            }
        }
        Bitstring::from_bytes(bytes)
    }

    /// What it takes in memory at most, in bytes, when nothing of it is shared.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // A chunk and the list of them have two counters each.
        let counters = 2 * size_of::<usize>();
        let chunks = self.chunks.iter().flatten().count() * (size_of::<Chunk>() + counters);
        size_of::<Self>() + counters + size_of_val(&*self.chunks) + chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Two chunks, and a part of a third one.
    const SIZE: u32 = 2 * CHUNK_BITS + 4_096;

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
            let before = bits.clone();
            if bits.set(start % SIZE, !before.get(start % SIZE)) {
                prop_assert_eq!(before.bitstring(SIZE), list.clone(), "a snapshot stays as it is");
                bits.set(start % SIZE, before.get(start % SIZE));
            }
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

    /// The one that is free is found wherever it is and wherever the search begins, within a word, over words, chunks and the end.
    #[test]
    fn the_last_free_bit_is_found() {
        let size = 3 * CHUNK_BITS - 7;
        let mut bits = Bits::default();
        for position in 0..size {
            bits.set(position, true);
        }
        assert_eq!(bits.first_unset(5, size), None);
        for free in [0, 1, 63, 64, 8_191, 8_192, size - 1] {
            bits.set(free, false);
            for start in [0, 1, 62, 63, 64, 65, 8_191, 8_192, size - 1, size, u32::MAX] {
                assert_eq!(bits.first_unset(start, size), Some(free), "{start}");
            }
            bits.set(free, true);
        }
    }
}
