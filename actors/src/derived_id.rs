//! Ids that follow from what makes them, so that a repeat makes the same thing again.

use cellspace_cluster::Call;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The id that these parts determine: the same every time, another one for any other parts. A custom (version 8) UUID of their SHA-256.
#[must_use]
pub fn derived_id(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0u8; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Id of an object that a call makes: a fresh one, or, for a call with an `Idempotency-Key`, the one that every repeat of the call makes. The
/// key's answer is stored with the object, so a repeat must lead to the same object. The key is bound to its caller already.
#[must_use]
pub fn id_of(what: &str, call: &Call) -> Uuid {
    call.idempotency.as_ref().map_or_else(Uuid::new_v4, |key| derived_id(&[what, key.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_cluster::IdempotencyKey;

    #[test]
    fn parts_determine_the_id() {
        assert_eq!(derived_id(&["a", "b"]), derived_id(&["a", "b"]));
        let ids = [derived_id(&["a", "b"]), derived_id(&["ab"]), derived_id(&["a", "b", ""]), derived_id(&["b", "a"])];
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(id.get_version_num(), 8);
            assert!(!ids[n + 1..].contains(id), "{n}");
        }
    }

    #[test]
    fn repeats_of_a_call_make_one_object() {
        let keyed = |key: &str| Call { idempotency: IdempotencyKey::parse(key), ..Call::by("a") };
        assert_eq!(id_of("tenant", &keyed("k")), id_of("tenant", &keyed("k")));
        assert_ne!(id_of("tenant", &keyed("k")), id_of("tenant", &keyed("l")));
        assert_ne!(id_of("tenant", &keyed("k")), id_of("asset", &keyed("k")));
        assert_ne!(id_of("tenant", &Call::by("a")), id_of("tenant", &Call::by("a")));
    }
}
