//! The signing half of the embedded token service.

use super::fresh_secret;
use crate::trust::jws::{self, JwsHeader};
use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{ClientId, KeyAlias, Owner, ParticipantContextId, SecretText, Timestamp};
use cellspace_storage::{KeyAlgorithm, PublicKey, Secret, Vault, VaultError, VaultPath};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Alias of the signing key.
const KEY: &str = "token-service";
/// Alias of the secret that clients' secrets are derived from.
const CLIENT_SECRETS: &str = "token-service-clients";

/// What a token of the embedded token service says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// The participant context of an exchanged token, which it is bound to whatever the client's own name is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_context_id: Option<ParticipantContextId>,
}

/// The claims as signed.
#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    #[serde(flatten)]
    claims: &'a AccessClaims,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// Issues access tokens (JWT, `EdDSA`) and publishes its keys.
pub struct TokenIssuer {
    vault: Arc<dyn Vault>,
    key: VaultPath,
    public: PublicKey,
    kid: String,
    issuer: String,
    client_secrets: hmac::Key,
}

impl TokenIssuer {
    /// Makes the signing key on first use. `issuer` is the `iss` of its tokens, the base URL of the token service.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot make or find the key.
    pub async fn open(vault: Arc<dyn Vault>, issuer: String) -> Result<Self, VaultError> {
        let path = |alias: &str| {
            let alias = KeyAlias::new(alias).map_err(|e| VaultError::Crypto(e.to_string()))?;
            Ok::<_, VaultError>(VaultPath { owner: Owner::installation(), alias })
        };
        let key = path(KEY)?;
        let public = vault.generate_key(&key, KeyAlgorithm::Ed25519).await?;
        let kid = thumbprint(&public.jwk);
        let client_secrets = client_secrets(vault.as_ref(), &path(CLIENT_SECRETS)?).await?;
        Ok(Self { vault, key, public, kid, issuer, client_secrets })
    }

    /// The secret of a client made with `nonce`. It is computed, never stored, so that the answer to a repeated request can name it again.
    #[must_use]
    pub fn client_secret(&self, client: &ClientId, nonce: Uuid) -> Secret {
        let tag = hmac::sign(&self.client_secrets, format!("{nonce}/{client}").as_bytes());
        URL_SAFE_NO_PAD.encode(tag).into()
    }

    /// The secret of a participant context at the secure token service: computed, so that it is the same for whoever asks, and never stored. Its
    /// end is the end of the participant context, whose id is not used again.
    #[must_use]
    pub fn sts_secret(&self, participant: &ParticipantContextId) -> SecretText {
        let tag = hmac::sign(&self.client_secrets, format!("sts/{participant}").as_bytes());
        SecretText::new(URL_SAFE_NO_PAD.encode(tag))
    }

    /// Signs a token; adds `iss`, `iat`, `exp`, `jti`. A `provisioner` token made here is bound to its `sub`.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot sign.
    pub async fn mint(&self, claims: AccessClaims, now: Timestamp, lifetime: Duration) -> Result<String, VaultError> {
        self.sign(&claims, None, now, lifetime).await
    }

    /// Signs a token that a client asked for; names the client in `client_id` (RFC 9068, 2.2). A token whose `client_id` is its `sub` acts for
    /// the client itself, and for no participant.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot sign.
    pub async fn mint_for_client(
        &self,
        claims: AccessClaims,
        client: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<String, VaultError> {
        self.sign(&claims, Some(client), now, lifetime).await
    }

    async fn sign(&self, claims: &AccessClaims, client_id: Option<&str>, now: Timestamp, lifetime: Duration) -> Result<String, VaultError> {
        let (iat, exp) = (now.seconds(), now.plus(lifetime).seconds());
        let signed = Signed { iss: &self.issuer, claims, client_id, iat, exp, jti: Uuid::new_v4() };
        let header = JwsHeader::new(KeyAlgorithm::Ed25519, self.kid.as_str(), "JWT");
        jws::sign(self.vault.as_ref(), &self.key, &header, &signed).await
    }

    /// JWKS (RFC 7517) with the public keys.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let mut jwk = self.public.jwk.clone();
        if let Some(jwk) = jwk.as_object_mut() {
            jwk.insert("kid".to_owned(), self.kid.as_str().into());
            jwk.insert("use".to_owned(), "sig".into());
            jwk.insert("alg".to_owned(), self.public.algorithm.jose().into());
        }
        json!({ "keys": [jwk] })
    }

    /// The `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// The key of [`TokenIssuer::client_secret`], made on first use.
async fn client_secrets(vault: &dyn Vault, path: &VaultPath) -> Result<hmac::Key, VaultError> {
    let seed = match vault.secret(path).await {
        Ok(seed) => seed,
        Err(VaultError::NotFound(_)) => {
            let seed = fresh_secret().map_err(|e| VaultError::Crypto(e.to_string()))?;
            // Nodes of a cell may be at this together.
            vault.first_secret(path, seed).await?
        }
        Err(error) => return Err(error),
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, seed.expose_secret().as_bytes()))
}

/// Thumbprint of an Ed25519 key (RFC 7638, RFC 8037 appendix A.3): the required members in lexical order, without white space.
pub(crate) fn thumbprint(jwk: &Value) -> String {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    let canonical = json!({ "crv": member("crv"), "kty": member("kty"), "x": member("x") }).to_string();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{
        jwk::VerifyingKey,
        jws::{Jws, MAX_TOKEN_BYTES},
        testing::TestVault,
    };

    /// RFC 8037, appendix A.3.
    #[test]
    fn thumbprint_of_the_example() {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(thumbprint(&jwk), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    /// Nodes that start together on an empty vault.
    #[tokio::test]
    async fn all_that_open_at_once_have_the_same_keys() {
        let vault = Arc::new(TestVault::with_readers(2));
        let open = || TokenIssuer::open(vault.clone(), "http://localhost:1".to_owned());
        let (a, b) = tokio::try_join!(open(), open()).unwrap();
        let (client, nonce, participant) = (ClientId::new("c").unwrap(), Uuid::new_v4(), ParticipantContextId::new("p").unwrap());
        assert_eq!(a.client_secret(&client, nonce).expose_secret(), b.client_secret(&client, nonce).expose_secret());
        assert_eq!(a.sts_secret(&participant).expose(), b.sts_secret(&participant).expose());
        assert_eq!(a.jwks(), b.jwks());
    }

    #[tokio::test]
    async fn tokens_verify_with_the_published_key() {
        let vault = Arc::new(TestVault::default());
        let issuer = TokenIssuer::open(vault.clone(), "http://localhost:1".to_owned()).await.unwrap();
        let claims = AccessClaims {
            sub: "p1".to_owned(),
            scope: "a:read".to_owned(),
            role: Some("participant".to_owned()),
            ..AccessClaims::default()
        };
        let token = issuer.mint_for_client(claims, "c1", Timestamp(10_500), Duration::from_secs(60)).await.unwrap();
        let jwks = issuer.jwks();
        let key = VerifyingKey::from_jwk(&jwks["keys"][0]).unwrap();
        assert!(Jws::parse(&token, MAX_TOKEN_BYTES).unwrap().verify::<Value>(&key).is_ok());
        let part =
            |n: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap() };
        assert_eq!(part(0), json!({"alg": "EdDSA", "kid": jwks["keys"][0]["kid"], "typ": "JWT"}));
        let mut payload = part(1);
        assert!(payload.as_object_mut().unwrap().remove("jti").is_some());
        assert_eq!(
            payload,
            json!({"iss": "http://localhost:1", "sub": "p1", "scope": "a:read", "role": "participant", "client_id": "c1", "iat": 10, "exp": 70})
        );
        assert!(token.len() < MAX_TOKEN_BYTES);
        // A restart finds the same key.
        assert_eq!(TokenIssuer::open(vault, "http://localhost:1".to_owned()).await.unwrap().jwks(), jwks);
    }
}
