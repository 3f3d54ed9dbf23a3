//! Stored keys: order-preserving and prefix-free, so that no partition's range reaches into another's whatever the names hold.
//!
//! A text part is its bytes with NUL written as `00 02`, closed by `00 01`. Parts therefore sort as their texts do, and no part is a prefix
//! of another one.

use crate::{Group, Offset, PartitionKey, Seq, Topic, VaultPath};
use cellspace_schemas::{KeyAlias, Owner, Timestamp};

const NUL: u8 = 0;
const END: u8 = 1;
const ESCAPED: u8 = 2;

/// Begins a generation's number. No text begins with it, so no table's name does.
const GENERATION: u8 = 0x80;
/// What a generation's number adds to a row's key.
pub(super) const GENERATION_BYTES: usize = 9;

/// Longest stored key, in bytes; fjall holds the length in 16 bits.
const MAX_KEY_BYTES: usize = 60_000;

fn push_text(key: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        key.push(byte);
        if byte == NUL {
            key.push(ESCAPED);
        }
    }
}

fn push_part(key: &mut Vec<u8>, text: &str) {
    push_text(key, text);
    key.extend_from_slice(&[NUL, END]);
}

/// Reads one part; the rest of the key follows. `None` when the bytes are no part.
fn pop_part(key: &[u8]) -> Option<(String, &[u8])> {
    let mut text = Vec::new();
    let mut bytes = key.iter().enumerate();
    while let Some((_, byte)) = bytes.next() {
        if *byte != NUL {
            text.push(*byte);
            continue;
        }
        match bytes.next()? {
            (at, &END) => return Some((String::from_utf8(text).ok()?, key.get(at + 1..)?)),
            (_, &ESCAPED) => text.push(NUL),
            _ => return None,
        }
    }
    None
}

/// Key of a partition's head and prefix of all that it holds; sorts as [`PartitionKey`] does.
pub(super) fn partition(partition: &PartitionKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(partition.owner.as_str().len() + partition.kind.len() + partition.name.len() + 6);
    push_part(&mut key, partition.owner.as_str());
    push_part(&mut key, &partition.kind);
    push_part(&mut key, &partition.name);
    key
}

/// Prefix of the rows of a generation; those of the first one, and those that are apart, have the partition's own.
pub(super) fn rows(partition_prefix: &[u8], generation: u64) -> Vec<u8> {
    row(partition_prefix, generation, &[])
}

/// Key of a row.
pub(super) fn row(partition_prefix: &[u8], generation: u64, row: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(partition_prefix.len() + GENERATION_BYTES + row.len());
    key.extend_from_slice(partition_prefix);
    if generation > 0 {
        key.push(GENERATION);
        key.extend_from_slice(&generation.to_be_bytes());
    }
    key.extend_from_slice(row);
    key
}

/// Generation and own key of a row, of what follows the partition's prefix; `None` when it is no row.
pub(super) fn read_row(rest: &[u8]) -> Option<(u64, &[u8])> {
    let Some((&GENERATION, rest)) = rest.split_first() else { return Some((0, rest)) };
    let (generation, row) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*generation), row))
}

/// The partition that a key of [`partition`] names; `None` when it is no such key.
pub(super) fn read_partition(key: &[u8]) -> Option<PartitionKey> {
    let (owner, rest) = pop_part(key)?;
    let (kind, rest) = pop_part(rest)?;
    let (name, rest) = pop_part(rest)?;
    let owner = Owner::new(owner).ok()?;
    rest.is_empty().then_some(PartitionKey { owner, kind, name })
}

/// Key of an audit row: the partition, then its seq.
pub(super) fn audit(partition_prefix: &[u8], seq: Seq) -> Vec<u8> {
    joined(partition_prefix, &seq.0.to_be_bytes())
}

/// The seq at the end of an audit key.
pub(super) fn read_audit(key: &[u8]) -> Option<Seq> {
    key.last_chunk::<8>().map(|seq| Seq(u64::from_be_bytes(*seq)))
}

/// Key of the index by time; sorts by time, also before the epoch.
pub(super) fn due(at: Timestamp, partition_prefix: &[u8]) -> Vec<u8> {
    joined(&sortable(at), partition_prefix)
}

/// First key of the index by time after every entry of `at`; `None` at the end of time.
pub(super) fn due_after(at: Timestamp) -> Option<Vec<u8>> {
    at.0.checked_add(1).map(|next| sortable(Timestamp(next)).to_vec())
}

/// What a key of the index by time says.
pub(super) fn read_due(key: &[u8]) -> Option<(Timestamp, PartitionKey)> {
    let (at, rest) = key.split_first_chunk::<8>()?;
    Some((Timestamp((u64::from_be_bytes(*at) ^ (1 << 63)).cast_signed()), read_partition(rest)?))
}

const fn sortable(at: Timestamp) -> [u8; 8] {
    (at.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Key of a topic's own row and prefix of its events.
pub(super) fn topic(topic: &Topic) -> Vec<u8> {
    let mut key = Vec::with_capacity(topic.0.len() + 2);
    push_part(&mut key, &topic.0);
    key
}

/// The topic that a key of [`topic`] names.
pub(super) fn read_topic(key: &[u8]) -> Option<Topic> {
    let (name, rest) = pop_part(key)?;
    rest.is_empty().then_some(Topic(name))
}

/// Key of an event.
pub(super) fn event(topic_prefix: &[u8], offset: Offset) -> Vec<u8> {
    joined(topic_prefix, &offset.0.to_be_bytes())
}

/// The offset at the end of an event's key.
pub(super) fn read_event(key: &[u8]) -> Option<Offset> {
    key.last_chunk::<8>().map(|offset| Offset(u64::from_be_bytes(*offset)))
}

/// Key of a group's position in a topic.
pub(super) fn group(topic_prefix: &[u8], group: &Group) -> Vec<u8> {
    let mut key = topic_prefix.to_vec();
    push_part(&mut key, &group.0);
    key
}

/// The topic and group that a key of [`group`] names.
pub(super) fn read_group(key: &[u8]) -> Option<(Topic, Group)> {
    let (topic, rest) = pop_part(key)?;
    let (group, rest) = pop_part(rest)?;
    rest.is_empty().then_some((Topic(topic), Group(group)))
}

/// Whether a key of these texts and `rest` more bytes is short enough.
pub(super) fn fit<'a>(texts: impl IntoIterator<Item = &'a str>, rest: usize) -> bool {
    // Each byte of a text takes at most two.
    texts.into_iter().fold(rest, |sum, text| sum.saturating_add(2 * text.len() + 2)) <= MAX_KEY_BYTES
}

/// Key of a record of the vault: the owner's folder, then the alias.
pub(super) fn vault(path: &VaultPath) -> Vec<u8> {
    let mut key = vault_folder(&path.owner, path.alias.as_str());
    key.extend_from_slice(&[NUL, END]);
    key
}

/// Prefix of the keys of all records in the owner's folder of the vault whose aliases begin with `within`.
pub(super) fn vault_folder(owner: &Owner, within: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(owner.as_str().len() + within.len() + 2);
    push_part(&mut key, owner.as_str());
    push_text(&mut key, within);
    key
}

/// The path that a key of [`vault`] names.
pub(super) fn read_vault(key: &[u8]) -> Option<VaultPath> {
    let (owner, rest) = pop_part(key)?;
    let (alias, rest) = pop_part(rest)?;
    let (owner, alias) = (Owner::new(owner).ok()?, KeyAlias::new(alias).ok()?);
    rest.is_empty().then_some(VaultPath { owner, alias })
}

/// `prefix` followed by `rest`.
pub(super) fn joined(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + rest.len());
    key.extend_from_slice(prefix);
    key.extend_from_slice(rest);
    key
}

/// The first key after all that start with `prefix`. `prefix` ends with a byte below `FF`, as all prefixes made here do.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(owner: &str, kind: &str, name: &str) -> PartitionKey {
        PartitionKey { owner: Owner::new(owner).unwrap(), kind: kind.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn keys_sort_as_their_texts_and_none_is_a_prefix() {
        let texts = ["", "\0", "\0\0", "\0\u{1}", "\u{1}", "\u{2}", "a", "a\0", "a\0\u{1}", "a\0b", "a\u{1}", "ab", "é", "\u{10ffff}"];
        let mut all: Vec<PartitionKey> = Vec::new();
        for owner in ["a", "ab", "b"] {
            for kind in texts {
                for name in texts {
                    all.push(key(owner, kind, name));
                }
            }
        }
        all.sort();
        let stored: Vec<Vec<u8>> = all.iter().map(partition).collect();
        for (a, b) in stored.iter().zip(stored.iter().skip(1)) {
            assert!(a < b, "{a:?} {b:?}");
            assert!(!b.starts_with(a), "{a:?} {b:?}");
            assert!(after_prefix(a) <= *b, "{a:?} {b:?}");
        }
        for (key, bytes) in all.iter().zip(&stored) {
            assert_eq!(read_partition(bytes).as_ref(), Some(key));
        }
    }

    #[test]
    fn times_sort_around_the_epoch() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX].map(Timestamp);
        let prefix = partition(&key("o", "k", ""));
        for (a, b) in times.iter().zip(times.iter().skip(1)) {
            assert!(due(*a, &prefix) < due(*b, &prefix));
            assert!(due(*a, &prefix) < due_after(*a).unwrap());
        }
        for time in times {
            assert_eq!(read_due(&due(time, &prefix)), Some((time, key("o", "k", ""))));
        }
        assert_eq!(due_after(Timestamp(i64::MAX)), None);
    }

    #[test]
    fn foreign_bytes_are_no_keys() {
        for bytes in [&b""[..], b"a", b"a\0", b"a\0\x01", b"a\0\x03b\0\x01c\0\x01", b"\xff\0\x01b\0\x01c\0\x01", b" \0\x01b\0\x01c\0\x01"] {
            assert_eq!(read_partition(bytes), None, "{bytes:?}");
        }
        assert_eq!(read_due(b"1234567"), None);
    }
}
