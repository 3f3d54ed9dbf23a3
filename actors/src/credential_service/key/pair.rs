//! A key pair, and what may be done with it in which state.

use crate::{credential_service::presentations::PRESENTATION_LIFETIME, trust::replay::SKEW};
use cellspace_schemas::{
    Did, KeyAlias, ParticipantContextId, Timestamp,
    dcp::VerificationMethod,
    identity::{KeyPairId, KeyPairResource, key_pair::KeyUsage},
};
use cellspace_storage::PublicKey;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// How long anything counts that a participant signs for itself: a presentation, within the skew of clocks.
const SIGNATURE_LIFETIME: Duration = PRESENTATION_LIFETIME.saturating_add(SKEW);
const KEY_CONTEXT: &str = "https://w3id.org/security/suites/jws-2020/v1";

/// State of a key pair (Identity API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyState {
    /// Made; neither signs nor is published.
    Created,
    /// Signs and is published.
    Activated,
    /// Signs no more; stays published, so that what it signed can be verified.
    Rotated,
    /// Neither signs nor is published; what it signed is invalid.
    Revoked,
}

impl KeyState {
    /// The state's code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Created => 100,
            Self::Activated => 200,
            Self::Rotated => 300,
            Self::Revoked => 400,
        }
    }

    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Activated => "ACTIVATED",
            Self::Rotated => "ROTATED",
            Self::Revoked => "REVOKED",
        }
    }
}

/// A key pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Id of the resource.
    pub id: KeyPairId,
    /// DID URL of the public key.
    pub key_id: String,
    /// Name of the private key in the vault.
    pub alias: KeyAlias,
    /// Its public half.
    pub public: PublicKey,
    /// State.
    pub state: KeyState,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is preferred for signing.
    pub default_pair: bool,
    /// What it signs; everything when empty. Rows of an earlier version have a `usage` that was shown and had no effect: what such a key has signed of whatever
    /// kind counts on.
    #[serde(rename = "usages", default)]
    pub usage: BTreeSet<KeyUsage>,
    /// For how long its public half stays published after a rotation, as asked for, in milliseconds; 0 when nothing was asked for.
    pub rotation_duration: u64,
    /// Until when credentials count that it may have signed for an issuer; known when it is rotated.
    #[serde(default)]
    pub signed_until: Option<Timestamp>,
    /// Whether it ends by itself when nothing counts any more that it has signed. Not so for those that an earlier build has rotated without a duration:
    /// their owners were told that they stay, and what they have signed may not be known.
    #[serde(default)]
    pub ends: bool,
}

impl KeyPair {
    /// Whether what it signs counts for this usage.
    #[must_use]
    pub fn is_for(&self, usage: KeyUsage) -> bool {
        self.usage.is_empty() || self.usage.contains(&usage)
    }

    /// Whether new signatures of this usage may be made with it.
    #[must_use]
    pub fn can_sign(&self, usage: KeyUsage) -> bool {
        self.state == KeyState::Activated && self.is_for(usage)
    }

    /// Whether its public half is in the DID document.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        matches!(self.state, KeyState::Activated | KeyState::Rotated)
    }

    /// When its public half leaves the DID document: for a rotated key when nothing counts any more that it has signed, but not before the duration that
    /// was asked for is over.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        let lasting = Duration::from_millis(self.rotation_duration).max(SIGNATURE_LIFETIME);
        let ends = self.state == KeyState::Rotated && (self.ends || self.rotation_duration > 0);
        ends.then(|| self.since.plus(lasting).max(self.signed_until.unwrap_or_default()))
    }

    /// As the DID document shows it.
    #[must_use]
    pub fn verification_method(&self, did: &Did) -> VerificationMethod {
        VerificationMethod {
            id: self.key_id.clone(),
            method_type: "JsonWebKey2020".to_owned(),
            controller: Some(did.to_string()),
            public_key_jwk: Some(self.public.jwk.clone()),
            public_key_multibase: None,
        }
    }

    /// As the Identity API shows it.
    #[must_use]
    pub fn resource(&self, participant: &ParticipantContextId) -> KeyPairResource {
        KeyPairResource {
            id: self.id.clone(),
            participant_context_id: participant.clone(),
            key_id: self.key_id.clone(),
            key_context: KEY_CONTEXT,
            group_name: None,
            default_pair: self.default_pair,
            private_key_alias: self.alias.clone(),
            serialized_public_key: self.public.jwk.to_string(),
            state: self.state.code(),
            timestamp: self.since,
            use_duration: 0,
            rotation_duration: self.rotation_duration,
            usage: self.usage.clone(),
        }
    }
}
