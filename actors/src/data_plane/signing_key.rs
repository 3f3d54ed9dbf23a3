//! The installation's key of access tokens, and what a token says.

use super::flow::{Flow, Grant};
use crate::{
    PublicUrls,
    access::thumbprint,
    trust::jws::{self, JwsHeader, MAX_TOKEN_BYTES},
};
use cellspace_schemas::{KeyAlias, Owner, ParticipantContextId, PartyId, Timestamp, TransferId};
use cellspace_storage::{KeyAlgorithm, PublicKey, Vault, VaultError, VaultPath};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Alias of the key in the installation's part of the vault.
pub const ALIAS: &str = "data-plane";
/// The `iss` of access tokens.
pub const ISSUER: &str = "siglet-issuer";
/// The `typ` of access tokens (RFC 9068, 2.1).
const TYPE: &str = "at+jwt";
/// How long an access token is good, unless its flow ends earlier. There is no renewal: a consumer that needs longer suspends and resumes.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The key of access tokens: where it lies, its public half, and what verifies with it.
pub struct SigningKey {
    path: VaultPath,
    public: PublicKey,
    id: String,
    verifies: DecodingKey,
}

/// Claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`]
    pub iss: String,
    /// The consumer.
    pub sub: PartyId,
    /// The flow's data endpoint: a token is good nowhere else.
    pub aud: String,
    /// The flow.
    pub flow: TransferId,
    /// The grant's id.
    pub jti: Uuid,
    /// Issued at, in seconds.
    pub iat: i64,
    /// Good until, in seconds.
    pub exp: i64,
}

/// The token is not signed with this key, says something else than an access token, or has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid access token of this installation")]
pub struct BadToken;

impl SigningKey {
    /// Makes the key, or finds the one that is there.
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn open(vault: &dyn Vault) -> Result<Self, VaultError> {
        let crypto = |e: &dyn std::fmt::Display| VaultError::Crypto(e.to_string());
        let path = VaultPath { owner: Owner::installation(), alias: KeyAlias::new(ALIAS).map_err(|e| crypto(&e))? };
        let public = vault.generate_key(&path, KeyAlgorithm::Ed25519).await?;
        let jwk = serde_json::from_value(public.jwk.clone()).map_err(|e| crypto(&e))?;
        let verifies = DecodingKey::from_jwk(&jwk).map_err(|e| crypto(&e))?;
        Ok(Self { id: thumbprint(&public.jwk), path, public, verifies })
    }

    /// The public key as a JWK Set entry (RFC 7517, 4).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.jwk.clone();
        if let Some(fields) = jwk.as_object_mut() {
            fields.insert("kid".into(), json!(self.id));
            fields.insert("alg".into(), json!(self.public.algorithm.jose()));
            fields.insert("use".into(), json!("sig"));
        }
        jwk
    }

    /// The flow's access token: for one grant always the same, since the signature is deterministic (RFC 8032).
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn issue(
        &self,
        vault: &dyn Vault,
        urls: &PublicUrls,
        participant: &ParticipantContextId,
        flow: &Flow,
        grant: Grant,
    ) -> Result<String, VaultError> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: flow.terms.counter_party.clone(),
            aud: urls.data(participant, flow.id.as_str()),
            flow: flow.id.clone(),
            jti: grant.id,
            iat: grant.issued_at.seconds(),
            exp: grant.expires_at.seconds(),
        };
        let header = JwsHeader::new(self.public.algorithm, self.id.as_str(), TYPE);
        jws::sign(vault, &self.path, &header, &claims).await
    }

    /// The claims of a token that this key signed and that has not expired; whether its flow still runs, and whose it is, are other questions.
    ///
    /// # Errors
    /// [`BadToken`]
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, BadToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(BadToken);
        }
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        // Whose token it is, its flow knows; the time is ours.
        (rules.validate_aud, rules.validate_exp) = (false, false);
        let token = jsonwebtoken::decode::<Claims>(token, &self.verifies, &rules).map_err(|_| BadToken)?;
        if token.header.typ.as_deref() != Some(TYPE) || now.seconds() >= token.claims.exp {
            return Err(BadToken);
        }
        Ok(token.claims)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}
