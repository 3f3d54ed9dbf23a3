//! A client: who may ask for which tokens, proven by a secret of which only a salted hash is kept.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{Context, SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{ClientId, ParticipantContextId, Timestamp};
use cellspace_storage::Secret;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

/// Scopes of one client or mapping at most.
pub const MAX_SCOPES: usize = 64;
/// Longest scope, in bytes.
pub const MAX_SCOPE_BYTES: usize = 128;

/// Role in a client's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientRole {
    /// Acts for all participants, within its scopes.
    Admin,
    /// May do the operations on the provisioner's list.
    Provisioner,
    /// Acts for one participant.
    Participant,
}

impl ClientRole {
    /// The value of the `role` claim.
    #[must_use]
    pub const fn claim(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Provisioner => "provisioner",
            Self::Participant => "participant",
        }
    }
}

/// A client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Its name, the `client_id` of OAuth2.
    pub id: ClientId,
    /// Its role; without one, each API derives it from the scopes.
    pub role: Option<ClientRole>,
    /// The participant context it acts for, the `sub` of its tokens; without one, the client itself.
    pub participant: Option<ParticipantContextId>,
    /// What its tokens may grant.
    pub scopes: Vec<String>,
    /// Whether it may exchange its tokens, as its mappings say (RFC 8693).
    pub may_exchange: bool,
    /// Proof of its secret.
    pub secret: SecretHash,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Salted SHA-256 of a secret. Secrets are made here, with 256 random bits; a slow hash would protect nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretHash {
    salt: String,
    hash: String,
}

impl SecretHash {
    /// Hashes a secret of at least 128 random bits with a fresh salt.
    #[must_use]
    pub fn new(secret: &Secret, salt: [u8; 16]) -> Self {
        let salt = URL_SAFE_NO_PAD.encode(salt);
        let hash = Self::hash(&salt, secret.expose_secret());
        Self { salt, hash }
    }

    /// Whether this is the secret; takes the same time for every secret.
    #[must_use]
    pub fn proves(&self, secret: &str) -> bool {
        verify_slices_are_equal(Self::hash(&self.salt, secret).as_bytes(), self.hash.as_bytes()).is_ok()
    }

    fn hash(salt: &str, secret: &str) -> String {
        let mut context = Context::new(&SHA256);
        context.update(salt.as_bytes());
        context.update(&[0]);
        context.update(secret.as_bytes());
        URL_SAFE_NO_PAD.encode(context.finish())
    }
}

/// Whether each is a scope token of bounded length (RFC 6749, 3.3), and there are not too many.
#[must_use]
pub fn scopes_are_valid(scopes: &[String]) -> bool {
    let byte = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    let scope = |s: &String| (1..=MAX_SCOPE_BYTES).contains(&s.len()) && s.bytes().all(byte);
    scopes.len() <= MAX_SCOPES && scopes.iter().all(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_proven_by_salted_hashes() {
        let secret = Secret::from("s3cret".to_owned());
        let (a, b) = (SecretHash::new(&secret, [1; 16]), SecretHash::new(&secret, [2; 16]));
        assert!(a.proves("s3cret") && b.proves("s3cret"));
        assert!(!a.proves("s3cre") && !a.proves(""));
        assert_ne!(a.hash, b.hash);
        assert!(!serde_json::to_string(&a).unwrap().contains("s3cret"));
    }

    #[test]
    fn scopes() {
        let valid = |scopes: &[&str]| scopes_are_valid(&scopes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert!(valid(&[]) && valid(&["a:read", "cfm-read"]));
        assert!(!valid(&[""]) && !valid(&["a b"]) && !valid(&["a\"b"]) && !valid(&[&"x".repeat(129)]));
        assert!(!scopes_are_valid(&vec!["a".to_owned(); 65]));
    }
}
