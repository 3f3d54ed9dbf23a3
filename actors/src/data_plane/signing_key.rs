//! The key of a participant's access tokens, and what a token says.

use super::flow::{Flow, Grant};
use crate::{
    PublicUrls,
    trust::{
        jwk::VerifyingKey,
        jws::{self, Jws, JwsError, JwsHeader, MAX_TOKEN_BYTES},
    },
};
use cellspace_schemas::{Did, KeyAlias, ParticipantContextId, PartyId, Timestamp, TransferId};
use cellspace_storage::{KeyAlgorithm, PublicKey, Vault, VaultError, VaultPath};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Alias of the key in the participant's part of the vault.
pub const ALIAS: &str = "data-plane";
/// How long an access token is good, unless its flow ends earlier. There is no renewal: a consumer that needs longer suspends and resumes.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The key of a participant's access tokens: the public half, and in whose name it signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// The participant's DID.
    pub issuer: Did,
    /// The public half.
    pub public: PublicKey,
}

/// Claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The provider's DID.
    pub iss: Did,
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

impl SigningKey {
    /// Where the key lies.
    ///
    /// # Errors
    /// Never for the fixed alias; the type of the alias asks for it.
    pub fn path(participant: &ParticipantContextId) -> Result<VaultPath, VaultError> {
        let alias = KeyAlias::new(ALIAS).map_err(|e| VaultError::Crypto(e.to_string()))?;
        Ok(VaultPath { owner: participant.into(), alias })
    }

    /// Makes the key, or finds the one that is there.
    ///
    /// # Errors
    /// [`VaultError`] of the vault.
    pub async fn make(vault: &dyn Vault, participant: &ParticipantContextId, issuer: Did) -> Result<Self, VaultError> {
        let public = vault.generate_key(&Self::path(participant)?, KeyAlgorithm::Ed25519).await?;
        Ok(Self { issuer, public })
    }

    /// The `kid` of its tokens.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}#{ALIAS}", self.issuer)
    }

    /// The public key as a JWK Set entry (RFC 7517, 4).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.jwk.clone();
        if let Some(fields) = jwk.as_object_mut() {
            fields.insert("kid".into(), json!(self.id()));
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
            iss: self.issuer.clone(),
            sub: flow.terms.counter_party.clone(),
            aud: urls.data(participant, flow.id.as_str()),
            flow: flow.id.clone(),
            jti: grant.id,
            iat: grant.issued_at.seconds(),
            exp: grant.expires_at.seconds(),
        };
        let header = JwsHeader::new(self.public.algorithm, self.id(), "at+jwt");
        jws::sign(vault, &Self::path(participant)?, &header, &claims).await
    }

    /// The claims of a token that this key signed and that has not expired; whether its flow still runs is another question.
    ///
    /// # Errors
    /// [`JwsError`] names the rule; an expired token is one with claims not of the expected form.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, JwsError> {
        let jws = Jws::parse(token, MAX_TOKEN_BYTES)?;
        let key = VerifyingKey::from_jwk(&self.public.jwk).ok_or(JwsError::KeyType)?;
        let claims: Claims = jws.verify(&key)?;
        if jws.typ() != Some("at+jwt") || now.seconds() >= claims.exp {
            return Err(JwsError::Claims);
        }
        Ok(claims)
    }
}
