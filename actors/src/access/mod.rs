//! The embedded token service's signing half: tokens for the platform's own APIs.

use cellspace_storage::{Vault, VaultError};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// What a token of the embedded token service says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Subject: participant context id that the caller acts for, or a client's name.
    pub sub: String,
    /// Space-separated scopes.
    pub scope: String,
    /// `admin`, `provisioner` or `participant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
}

/// Issues access tokens (JWT, `EdDSA`) and publishes its keys.
pub struct TokenIssuer {
    _vault: Arc<dyn Vault>,
}

#[allow(clippy::todo, clippy::unused_async, missing_docs, unused_variables)]
impl TokenIssuer {
    /// Makes the signing key on first use.
    pub async fn open(vault: Arc<dyn Vault>, issuer: String) -> Result<Self, VaultError> {
        todo!()
    }
    /// Signs a token; adds `iss`, `iat`, `exp`, `jti`.
    pub async fn mint(&self, claims: AccessClaims, now: cellspace_schemas::Timestamp, lifetime: Duration) -> Result<String, VaultError> {
        todo!()
    }
    /// JWKS (RFC 7517) with the public keys.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        todo!()
    }
    /// The `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        todo!()
    }
}
