//! Which key is to be made, what it is called, and where the vault keeps it.

use crate::credential_service::Refusal;
use cellspace_schemas::{
    Did, KeyAlias,
    identity::{
        KeyDescriptor, KeyPairId,
        key_pair::{KeyGeneratorParams, KeyKind, KeyUsage},
    },
};
use cellspace_storage::KeyAlgorithm;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Folder of private keys within the participant's part of the vault: a key pair's alias is a name among key pairs, whatever else lies there.
const FOLDER: &str = "keypair";
/// How aliases begin that nobody has chosen, and nobody may choose.
const MADE: &str = "made-";

/// Which key to make, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySpec {
    /// DID URL, `#fragment` or fragment; fresh when absent.
    pub key_id: Option<String>,
    /// Id of the resource; fresh when absent.
    pub resource_id: Option<KeyPairId>,
    /// Name in the vault; fresh when absent.
    pub alias: Option<KeyAlias>,
    /// `true` for P-256, else Ed25519.
    pub p256: bool,
    /// The public half of a key that is in the vault already.
    pub existing: Option<Value>,
    /// Whether it is used at once.
    pub active: bool,
    /// What it is used for; everything when empty, or what the key is used for whose place it takes.
    pub usage: BTreeSet<KeyUsage>,
}

impl KeySpec {
    /// Checks a descriptor.
    ///
    /// # Errors
    /// [`Refusal::BadKey`] names the rule.
    pub fn read(descriptor: &KeyDescriptor) -> Result<Self, Refusal> {
        let kind = descriptor.key_generator_params.as_ref().map_or(Some(KeyKind::Ed25519), KeyGeneratorParams::kind);
        let kind = kind.ok_or(Refusal::BadKey("keyGeneratorParams must be EdDSA with Ed25519, or EC with P-256"))?;
        if descriptor.public_key_pem.is_some() {
            return Err(Refusal::BadKey("publicKeyPem is not supported, use publicKeyJwk or keyGeneratorParams"));
        }
        if descriptor.public_key_jwk.is_some() && (descriptor.key_generator_params.is_some() || descriptor.private_key_alias.is_none()) {
            return Err(Refusal::BadKey("publicKeyJwk needs a privateKeyAlias and excludes keyGeneratorParams"));
        }
        if descriptor.private_key_alias.as_ref().is_some_and(|alias| alias.as_str().starts_with(MADE)) {
            return Err(Refusal::BadKey("a privateKeyAlias must not begin with made-, as those do that are made here"));
        }
        let fragment_ok = |id: &String| {
            let fragment = id.rsplit('#').next().unwrap_or_default();
            !fragment.is_empty() && id.len() <= 512 && id.bytes().all(|b| b.is_ascii_graphic())
        };
        if !descriptor.key_id.as_ref().is_none_or(fragment_ok) {
            return Err(Refusal::BadKey("keyId must be a DID URL with a fragment, or a fragment"));
        }
        Ok(Self {
            key_id: descriptor.key_id.clone(),
            resource_id: descriptor.resource_id.clone(),
            alias: descriptor.private_key_alias.clone(),
            p256: kind == KeyKind::P256,
            existing: descriptor.public_key_jwk.clone(),
            active: descriptor.active.unwrap_or(true),
            usage: descriptor.usage.clone(),
        })
    }

    /// A key with default values, used at once.
    #[must_use]
    pub fn fresh() -> Self {
        Self { active: true, ..Self::default() }
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        if self.p256 { KeyAlgorithm::P256 } else { KeyAlgorithm::Ed25519 }
    }
}

/// The names of a key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNames {
    /// Id of the resource.
    pub id: KeyPairId,
    /// Absolute DID URL.
    pub key_id: String,
    /// Name in the vault.
    pub alias: KeyAlias,
}

impl KeyNames {
    /// The names that the spec gives, filled up from `fresh`.
    #[must_use]
    pub fn new(did: &Did, spec: &KeySpec, fresh: Uuid) -> Self {
        let key_id = match spec.key_id.as_deref() {
            None => format!("{did}#{fresh}"),
            Some(url) if url.starts_with("did:") => url.to_owned(),
            Some(fragment) => format!("{did}#{}", fragment.trim_start_matches('#')),
        };
        let made = || KeyAlias::new(format!("{MADE}{fresh}")).unwrap_or_else(|_| KeyAlias::from_uuid(fresh));
        let alias = spec.alias.clone().unwrap_or_else(made);
        let id = spec.resource_id.clone().unwrap_or_else(|| KeyPairId::from_uuid(fresh));
        Self { id, key_id, alias }
    }

    /// Whether they and the names of another key could not be told apart.
    #[must_use]
    pub fn clash(&self, other: &Self) -> bool {
        self.id == other.id || self.key_id == other.key_id || self.alias == other.alias
    }
}

/// Where the vault keeps the private half of a key pair with this alias, in the participant's part.
///
/// # Errors
/// [`Refusal::BadKey`] for an alias that is too long.
pub fn vault_alias(alias: &KeyAlias) -> Result<KeyAlias, Refusal> {
    KeyAlias::new(format!("{FOLDER}/{alias}")).map_err(|_| Refusal::BadKey("privateKeyAlias is too long"))
}

/// The alias of the key pair whose private half the vault keeps in this record.
#[must_use]
pub fn alias_of(record: KeyAlias) -> KeyAlias {
    let within = record.as_str().strip_prefix(FOLDER).and_then(|within| within.strip_prefix('/'));
    within.and_then(|alias| KeyAlias::new(alias).ok()).unwrap_or(record)
}
