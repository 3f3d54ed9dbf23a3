//! Sealing of single records: AES-256-GCM-SIV, bound to where and what a record is.
//!
//! Envelope: the master key seals one random data key (the *root record*), the data key seals everything else. Opening the root record is the
//! check of the master key.

use super::KeyBytes;
use crate::{VaultError, VaultPath};
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use zeroize::Zeroizing;

/// Level of the form of records.
const LEVEL: u8 = 1;

/// What a sealed record is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// The root record.
    Root,
    /// A record of an owner.
    Record(&'a VaultPath),
}

impl Place<'_> {
    /// Injective: lengths are part of it.
    fn associated_data(self, version: u64) -> Vec<u8> {
        let mut data = vec![LEVEL];
        data.extend_from_slice(&version.to_be_bytes());
        match self {
            Self::Root => data.push(0),
            Self::Record(path) => {
                data.push(1);
                for text in [path.owner.as_str(), path.alias.as_str()] {
                    data.extend_from_slice(&(text.len() as u64).to_be_bytes());
                    data.extend_from_slice(text.as_bytes());
                }
            }
        }
        data
    }
}

/// A key that seals records.
pub(crate) struct Sealer(LessSafeKey);

impl Sealer {
    pub(crate) fn new(key: &KeyBytes) -> Result<Self, VaultError> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).map_err(|_| VaultError::Crypto("the key was refused".to_owned()))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Level, version, nonce, sealed text.
    pub(crate) fn seal(&self, place: Place<'_>, version: u64, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| VaultError::Crypto("no randomness".to_owned()))?;
        // Room for the tag, so that the plain text is not left behind by a growing buffer.
        let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM_SIV.tag_len()));
        text.extend_from_slice(plain);
        let aad = Aad::from(place.associated_data(version));
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *text)
            .map_err(|_| VaultError::Crypto("a record cannot be sealed".to_owned()))?;
        let mut record = Vec::with_capacity(9 + NONCE_LEN + text.len());
        record.push(LEVEL);
        record.extend_from_slice(&version.to_be_bytes());
        record.extend_from_slice(&nonce);
        record.extend_from_slice(&text);
        Ok(record)
    }

    /// The plain text and its version; `None` when the record was not sealed by this key for this place.
    pub(crate) fn open(&self, place: Place<'_>, record: &[u8]) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        let (level, rest) = record.split_first()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *level != LEVEL {
            return None;
        }
        let version = u64::from_be_bytes(*version);
        let mut text = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(place.associated_data(version));
        let length = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text).ok()?.len();
        text.truncate(length);
        Some((version, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::{KeyAlias, Owner};

    fn path(owner: &str, alias: &str) -> VaultPath {
        VaultPath { owner: Owner::new(owner).unwrap(), alias: KeyAlias::new(alias).unwrap() }
    }

    #[test]
    fn a_record_opens_only_where_it_belongs_and_unchanged() {
        let sealer = Sealer::new(&Zeroizing::new([1; 32])).unwrap();
        let mine = path("ab", "c");
        let record = sealer.seal(Place::Record(&mine), 3, b"secret").unwrap();
        assert!(!record.windows(6).any(|window| window == b"secret"));
        let (version, plain) = sealer.open(Place::Record(&mine), &record).unwrap();
        assert_eq!((version, plain.as_slice()), (3, &b"secret"[..]));

        for other in [path("a", "bc"), path("ab", "d"), path("x", "c")] {
            assert!(sealer.open(Place::Record(&other), &record).is_none(), "{other:?}");
        }
        assert!(sealer.open(Place::Root, &record).is_none());
        assert!(Sealer::new(&Zeroizing::new([2; 32])).unwrap().open(Place::Record(&mine), &record).is_none());
        for at in 0..record.len() {
            let mut bad = record.clone();
            bad[at] ^= 1;
            assert!(sealer.open(Place::Record(&mine), &bad).is_none(), "byte {at}");
            assert!(sealer.open(Place::Record(&mine), &record[..at]).is_none(), "length {at}");
        }
        assert_ne!(record, sealer.seal(Place::Record(&mine), 3, b"secret").unwrap(), "a fresh nonce each time");
    }
}
