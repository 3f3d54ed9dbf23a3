//! Key pairs.

use super::KeyPairId;
use crate::{KeyAlias, ParticipantContextId, Timestamp, dcp::Relationship};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeSet, fmt};

/// What a key pair signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyUsage {
    /// Credentials that its owner issues, and their status lists.
    #[serde(rename = "sign_credentials")]
    Credentials,
    /// Presentations.
    #[serde(rename = "sign_presentation")]
    Presentation,
    /// Self-issued ID tokens, and whatever else shows who its owner is.
    #[serde(rename = "sign_token")]
    Token,
}

impl KeyUsage {
    /// Every usage.
    pub const ALL: [Self; 3] = [Self::Credentials, Self::Presentation, Self::Token];

    /// Its name in the Identity API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "sign_credentials",
            Self::Presentation => "sign_presentation",
            Self::Token => "sign_token",
        }
    }

    /// The verification relationship that what is signed so is verified by (DCP 1.0, "Validating Self-Issued ID Tokens", "Presentation Validation").
    #[must_use]
    pub const fn relationship(self) -> Relationship {
        match self {
            Self::Credentials => Relationship::AssertionMethod,
            Self::Presentation => Relationship::Authentication,
            Self::Token => Relationship::CapabilityInvocation,
        }
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to make a key: `{"algorithm":"EdDSA","curve":"Ed25519"}`. Letter case does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyGeneratorParams {
    /// `EdDSA` or `EC`.
    pub algorithm: Option<String>,
    /// `Ed25519` or `P-256` (also `secp256r1`).
    pub curve: Option<String>,
}

/// The kinds of key that can be made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256.
    P256,
}

impl KeyGeneratorParams {
    /// The kind that is meant; Ed25519 when nothing is said. `None` for kinds that cannot be made here.
    #[must_use]
    pub fn kind(&self) -> Option<KeyKind> {
        let lower = |text: &Option<String>| text.as_ref().map(|t| t.to_ascii_lowercase());
        let curve = lower(&self.curve);
        match (lower(&self.algorithm).as_deref(), curve.as_deref()) {
            (None | Some("eddsa"), None | Some("ed25519")) => Some(KeyKind::Ed25519),
            (None | Some("ec" | "es256" | "ecdsa"), Some("p-256" | "secp256r1" | "prime256v1"))
            | (Some("ec" | "es256" | "ecdsa"), None) => Some(KeyKind::P256),
            _ => None,
        }
    }
}

/// Which key to make, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyDescriptor {
    /// DID URL, `#fragment` or bare fragment of the public key.
    pub key_id: Option<String>,
    /// Id of the resource; fresh when absent.
    pub resource_id: Option<KeyPairId>,
    /// Name of the private key in the participant's part of the vault.
    pub private_key_alias: Option<KeyAlias>,
    /// How to make it.
    pub key_generator_params: Option<KeyGeneratorParams>,
    /// A public key whose private part is in the vault already.
    pub public_key_jwk: Option<Value>,
    /// The same in PEM, not supported.
    pub public_key_pem: Option<String>,
    /// Whether it is used at once; `true` when absent.
    pub active: Option<bool>,
    /// What it is used for; everything when empty.
    #[serde(deserialize_with = "crate::issuer::coerce::null_is_default")]
    pub usage: BTreeSet<KeyUsage>,
}

/// A key pair as shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPairResource {
    /// Id of the resource.
    pub id: KeyPairId,
    /// Whose.
    pub participant_context_id: ParticipantContextId,
    /// DID URL of the public key.
    pub key_id: String,
    /// JSON-LD context of the verification method.
    pub key_context: &'static str,
    /// Always null: there are no groups.
    pub group_name: Option<String>,
    /// Whether it is preferred for signing.
    pub default_pair: bool,
    /// Name of the private key in the vault.
    pub private_key_alias: KeyAlias,
    /// The public key as JWK, in a text.
    pub serialized_public_key: String,
    /// 100 CREATED, 200 ACTIVATED, 300 ROTATED, 400 REVOKED.
    pub state: u16,
    /// When it came to this state, in milliseconds.
    pub timestamp: Timestamp,
    /// Milliseconds of use planned; 0 when unlimited.
    pub use_duration: u64,
    /// Milliseconds for which the public key stays published after the rotation at the least; while something counts that it has signed it stays anyway.
    pub rotation_duration: u64,
    /// What it is used for; everything when empty.
    pub usage: BTreeSet<KeyUsage>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn usages_have_the_names_of_the_api() {
        for usage in KeyUsage::ALL {
            assert_eq!(from_value::<KeyUsage>(json!(usage.name())).unwrap(), usage);
            assert_eq!(json!(usage), json!(usage.name()));
        }
        let read = |usage: Value| from_value::<KeyDescriptor>(json!({"usage": usage})).map(|descriptor| descriptor.usage);
        let twice = read(json!(["sign_token", "sign_presentation", "sign_token"])).unwrap();
        assert_eq!(twice, BTreeSet::from([KeyUsage::Presentation, KeyUsage::Token]));
        assert!(read(json!(null)).unwrap().is_empty() && read(json!([])).unwrap().is_empty());
        for bad in [json!(["sign"]), json!(["sign_token", "SIGN_TOKEN"]), json!("sign_token"), json!([1])] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds_are_read_in_every_spelling() {
        let table = [
            (json!({}), Some(KeyKind::Ed25519)),
            (json!({"algorithm": "EDDSA", "curve": "Ed25519"}), Some(KeyKind::Ed25519)),
            (json!({"algorithm": "eddsa"}), Some(KeyKind::Ed25519)),
            (json!({"algorithm": "EdDSA", "curve": "ed25519"}), Some(KeyKind::Ed25519)),
            (json!({"algorithm": "EC"}), Some(KeyKind::P256)),
            (json!({"algorithm": "EC", "curve": "secp256r1"}), Some(KeyKind::P256)),
            (json!({"curve": "P-256"}), Some(KeyKind::P256)),
            (json!({"algorithm": "EC", "curve": "P-384"}), None),
            (json!({"algorithm": "EdDSA", "curve": "P-256"}), None),
            (json!({"algorithm": "RSA"}), None),
        ];
        for (params, kind) in table {
            assert_eq!(from_value::<KeyGeneratorParams>(params.clone()).unwrap().kind(), kind, "{params}");
        }
    }
}
