//! Our own tokens: self-issued ID tokens, and the access tokens for our own credential service that they carry (DCP 1.0, "Self-Issued ID Tokens").

use super::jws::{self, JwsHeader};
use cellspace_schemas::{Did, Timestamp};
use cellspace_storage::{KeyAlgorithm, Vault, VaultError, VaultPath};
use serde::Serialize;
use std::time::Duration;
use uuid::Uuid;

/// Lifetime of our ID tokens, in seconds.
pub const ID_TOKEN_SECONDS: u64 = 60;
/// Lifetime of our access tokens: a verifier asks for the presentation while it handles the message.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// A key that a participant signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Whose.
    pub did: Did,
    /// DID URL of its verification method.
    pub kid: String,
    /// Where the vault keeps it.
    pub path: VaultPath,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
}

impl SigningKey {
    /// Signs claims as JWT of the type `typ`.
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn sign(&self, vault: &dyn Vault, typ: &'static str, claims: &impl Serialize) -> Result<String, VaultError> {
        jws::sign(vault, &self.path, &JwsHeader::new(self.algorithm, &self.kid, typ), claims).await
    }

    /// Signs a text of the type `typ` and returns the signature alone, as detached JWS (RFC 7515, appendix F).
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn sign_detached(&self, vault: &dyn Vault, typ: &'static str, text: &[u8]) -> Result<String, VaultError> {
        jws::sign_detached(vault, &self.path, &JwsHeader::new(self.algorithm, &self.kid, typ), text).await
    }

    /// A self-issued ID token for `audience`, with `token` as access token.
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn id_token(&self, vault: &dyn Vault, audience: &Did, token: Option<&str>, now: Timestamp) -> Result<String, VaultError> {
        self.sign(vault, "JWT", &IdTokenClaims { token, ..self.id_claims(audience, now) }).await
    }

    /// A self-issued ID token for an issuer, with the code by which that has authorized a request beforehand.
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn id_token_with_code(
        &self,
        vault: &dyn Vault,
        issuer: &Did,
        code: Option<&str>,
        now: Timestamp,
    ) -> Result<String, VaultError> {
        self.sign(vault, "JWT", &IdTokenClaims { code, ..self.id_claims(issuer, now) }).await
    }

    fn id_claims<'a>(&'a self, audience: &'a Did, now: Timestamp) -> IdTokenClaims<'a> {
        IdTokenClaims {
            iss: &self.did,
            sub: &self.did,
            aud: audience,
            jti: Uuid::new_v4(),
            iat: now.seconds(),
            exp: now.plus(Duration::from_secs(ID_TOKEN_SECONDS)).seconds(),
            token: None,
            code: None,
        }
    }

    /// An access token for our own credential service: `verifier` may ask for credentials of these scopes.
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn access_token(&self, vault: &dyn Vault, verifier: &Did, scopes: &[String], now: Timestamp) -> Result<String, VaultError> {
        let claims = AccessTokenClaims {
            iss: &self.did,
            sub: verifier,
            aud: &self.did,
            jti: Uuid::new_v4(),
            iat: now.seconds(),
            exp: now.plus(ACCESS_TOKEN_LIFETIME).seconds(),
            scope: scopes.join(" "),
        };
        self.sign(vault, "JWT", &claims).await
    }
}

#[derive(Serialize)]
struct IdTokenClaims<'a> {
    iss: &'a Did,
    sub: &'a Did,
    aud: &'a Did,
    jti: Uuid,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(rename = "pre-authorized_code", skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

#[derive(Serialize)]
struct AccessTokenClaims<'a> {
    iss: &'a Did,
    sub: &'a Did,
    aud: &'a Did,
    jti: Uuid,
    iat: i64,
    exp: i64,
    scope: String,
}
