//! What records are called in the vault: owners and aliases are any text, its paths are not.

use crate::VaultPath;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{KeyAlias, Owner};

/// A text as one segment of a path.
fn segment(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The owner's folder, which is also how tokens name the owner to the vault's policies.
pub(super) fn folder(owner: &Owner) -> String {
    segment(owner.as_str())
}

/// The record in the KV engine, below the installation's folder.
pub(super) fn record(path: &VaultPath) -> String {
    format!("{}/{}", segment(path.owner.as_str()), segment(path.alias.as_str()))
}

/// The key in the transit engine, which has no folders: the installation's is the first part of the name. A letter or digit is wanted at both ends.
pub(super) fn key(installation: &str, path: &VaultPath) -> String {
    format!("k{}.{}.{}k", segment(installation), segment(path.owner.as_str()), segment(path.alias.as_str()))
}

/// The alias of a segment in an owner's folder; `None` for what is not ours.
pub(super) fn alias(segment: &str) -> Option<KeyAlias> {
    KeyAlias::new(String::from_utf8(URL_SAFE_NO_PAD.decode(segment).ok()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::vault::path;

    #[test]
    fn names_are_apart_and_lead_back() {
        let paths = [path("a", "bc"), path("ab", "c"), path("did:web:x.example%3A1", "key/1"), path("a-b", "b_c")];
        let names: Vec<String> = paths.iter().flat_map(|path| [record(path), key("one", path), key("one/more", path)]).collect();
        for (n, name) in names.iter().enumerate() {
            assert!(!names[n + 1..].contains(name) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)), "{name}");
        }
        for path in &paths {
            let record = record(path);
            assert_eq!(alias(record.strip_prefix(&format!("{}/", folder(&path.owner))).unwrap()).as_ref(), Some(&path.alias));
        }
        assert_eq!((alias("!"), alias("")), (None, None));
    }
}
