//! What a long status list takes in memory, and how long it takes to be written, in the worst case: every place taken, every other bit set.

use anyhow::Result;
use cellspace_actors::issuer::status_list::{Purpose, Slot, StatusChanges, StatusCommand, StatusLists};
use cellspace_schemas::{
    bitstring::{Bitstring, Encoding},
    dcp::CredentialFormat,
};
use loadtest::measure::process::Usage;
use serde::Serialize;
use std::time::Instant;

const FORMAT: CredentialFormat = CredentialFormat::Vc2Jose;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Places on the list.
    pub entries: u32,
    /// What the process grew by while it came to be: places and the bits of both purposes, with what the allocator keeps besides.
    pub resident_bytes: u64,
    /// What these places and bits take, as they say themselves.
    pub held_bytes: usize,
    /// Length of the encoded list.
    pub encoded_bytes: usize,
    /// All that is kept of it: places and bits, and of the lists of both purposes the signed form, of four thirds of the encoded list, and the other one.
    pub kept_bytes: usize,
    /// Time to encode it, in milliseconds.
    pub encode_ms: f64,
}

/// Whether the credential at a place is revoked: half of them are, without a pattern that could be compressed (the mixing of SplitMix64).
fn is_revoked(place: u32) -> bool {
    let mixed = u64::from(place).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & 1 == 1
}

/// Fills a list.
fn fill(entries: u32) -> Result<StatusLists> {
    let mut lists = StatusLists::default();
    let revoked = StatusChanges::default().after(StatusCommand::Revoke)?;
    let both = StatusChanges::default().after(StatusCommand::Suspend)?.after(StatusCommand::Revoke)?;
    for place in 0..entries {
        let now = match (is_revoked(place), is_revoked(!place)) {
            (true, true) => both,
            (true, false) => revoked,
            (false, _) => StatusChanges::default(),
        };
        lists.note(FORMAT, Slot { number: 1, index: place }, StatusChanges::default(), now);
    }
    Ok(lists)
}

/// Measures.
///
/// # Errors
/// When the kernel does not say what the process takes.
pub fn measure(entries: u32) -> Result<Figures> {
    // What the code itself and the first allocations take is no matter of a list.
    drop(fill(1_000)?);
    let resident = || Ok::<_, anyhow::Error>(Usage::of(std::process::id())?.resident);
    let before = resident()?;
    let lists = fill(entries)?;
    let resident_bytes = resident()?.saturating_sub(before);
    let mut bits = Bitstring::zeroes(entries as usize);
    (0..entries).filter(|place| is_revoked(*place)).try_for_each(|place| bits.set(place as usize, true))?;
    let begun = Instant::now();
    let encoded_bytes = bits.encode(Encoding::Bitstring).len();
    let encode_ms = begun.elapsed().as_secs_f64() * 1e3;
    let held_bytes = lists.bytes();
    let kept_bytes = held_bytes + Purpose::ALL.len() * (encoded_bytes + encoded_bytes * 4 / 3);
    Ok(Figures { entries, resident_bytes, held_bytes, encoded_bytes, kept_bytes, encode_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_them_are_revoked_and_nothing_can_be_compressed() {
        let figures = measure(80_000).unwrap();
        let revoked = (0..80_000).filter(|place| is_revoked(*place)).count();
        assert!((39_000..41_000).contains(&revoked), "{revoked}");
        // 10,000 bytes are 13,334 characters.
        assert!(figures.encoded_bytes > 13_000, "{figures:?}");
    }
}
