//! Which shard an id belongs to.

use cellspace_cluster::{Address, Agent};
use cellspace_schemas::Owner;

/// Shards of the directory; part of the stored addresses, so never changed.
pub const SHARDS: u64 = 64;

/// The shard that holds rows about `id`: xxh3-64 of its bytes with seed 0, modulo [`SHARDS`].
#[must_use]
pub fn shard_of(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes()) % SHARDS
}

/// Address of a shard.
pub(super) fn address(shard: u64) -> Address {
    Address::of::<super::Directory>(Owner::shard(super::Directory::KIND.0, shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored addresses depend on these numbers.
    #[test]
    fn golden() {
        assert_eq!(shard_of(""), 2);
        assert_eq!(address(7).to_string(), "directory/directory-07");
    }

    #[test]
    fn ids_spread() {
        let mut counts = [0u32; SHARDS as usize];
        for n in 0..6400 {
            counts[usize::try_from(shard_of(&format!("tenant-{n}"))).unwrap()] += 1;
        }
        assert!(counts.iter().all(|c| (50..170).contains(c)), "{counts:?}");
    }
}
