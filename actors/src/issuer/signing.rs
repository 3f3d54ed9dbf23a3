//! Proofs of credentials: compact JWS by the issuer's active key.

use crate::trust::{
    SigningKey,
    jws::{self, JwsHeader},
};
use cellspace_schemas::dcp::CredentialFormat;
use cellspace_storage::{Vault, VaultError};
use serde_json::{Map, Value};

/// Signs the claims of a credential: `vc+jwt` for data model 2.0 (Securing Verifiable Credentials using JOSE and COSE, 3.1.1), `JWT` for 1.1.
///
/// # Errors
/// [`VaultError`] of the vault.
pub async fn sign(
    vault: &dyn Vault,
    key: &SigningKey,
    format: CredentialFormat,
    claims: &Map<String, Value>,
) -> Result<String, VaultError> {
    let header = match format {
        CredentialFormat::Vc2Jose => JwsHeader::new(key.algorithm, &key.kid, "vc+jwt").content_type("vc"),
        CredentialFormat::Vc1Jwt => JwsHeader::new(key.algorithm, &key.kid, "JWT"),
    };
    jws::sign(vault, &key.path, &header, claims).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        PublicUrls,
        issuer::{
            IssuedCredential, Purpose, StatusListId,
            admin::Command,
            credential::tests::{issuer, urls},
            list_credential::ListCredential,
            status_list::{ListBits, StatusCommand},
            testing::{World, did},
        },
        outbound::{OutboundError, OutboundRequest, OutboundResponse},
        trust::{PeerError, Trust, TrustOptions, fetch::Fetch, testing::TestVault},
    };
    use cellspace_schemas::{
        Timestamp,
        dcp::{DidDocument, VerificationMethod},
    };
    use cellspace_storage::KeyAlgorithm;
    use futures::future::BoxFuture;
    use http::{HeaderMap, StatusCode};
    use parking_lot::Mutex;
    use std::{collections::HashMap, sync::Arc, time::Duration};

    /// What the verifier finds on the web, by URL.
    #[derive(Default)]
    struct Web(Mutex<HashMap<String, Vec<u8>>>);

    impl Fetch for Web {
        fn fetch<'a>(
            &'a self,
            request: OutboundRequest,
            _: Option<&'a str>,
            _: usize,
        ) -> BoxFuture<'a, Result<OutboundResponse, OutboundError>> {
            let found = self.0.lock().get(request.url.as_str()).cloned();
            let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let response = OutboundResponse { status, headers: HeaderMap::new(), body: found.unwrap_or_default().into() };
            Box::pin(async { Ok(response) })
        }

        fn allows_private(&self) -> bool {
            true
        }
    }

    struct Scene {
        world: World,
        vault: TestVault,
        key: SigningKey,
        web: Arc<Web>,
        trust: Trust,
        urls: PublicUrls,
    }

    /// An issuer `did:web:issuer` with a key, and a verifier that knows it from its DID document alone.
    async fn scene(algorithm: KeyAlgorithm) -> Scene {
        let vault = TestVault::default();
        let (did, path) = (did("issuer"), TestVault::path("issuer", "key-1"));
        let public = vault.generate_key(&path, algorithm).await.unwrap();
        let key = SigningKey { kid: format!("{did}#key-1"), did: did.clone(), path, algorithm };
        let method = VerificationMethod {
            id: key.kid.clone(),
            method_type: "JsonWebKey2020".to_owned(),
            controller: Some(did.to_string()),
            public_key_jwk: Some(public.jwk),
            public_key_multibase: None,
        };
        let web = Arc::new(Web::default());
        let document = serde_json::to_vec(&DidDocument::new(did, vec![method], Vec::new())).unwrap();
        for scheme in ["http", "https"] {
            web.0.lock().insert(format!("{scheme}://issuer/.well-known/did.json"), document.clone());
        }
        let trust = Trust::new(web.clone(), TrustOptions { status_list_age: Duration::from_secs(2), ..TrustOptions::default() });
        Scene { world: World::seeded(), vault, key, web, trust, urls: urls() }
    }

    impl Scene {
        fn issued(&self, format: CredentialFormat) -> IssuedCredential {
            IssuedCredential::clone(self.world.state.credentials.values().find(|c| c.format == format).unwrap())
        }

        async fn jwt(&self, credential: &IssuedCredential) -> String {
            let claims = credential.jwt_claims(&issuer(), &self.urls);
            sign(&self.vault, &self.key, credential.format, &claims).await.unwrap()
        }

        /// Puts all lists on the web, as they are now.
        async fn serve_lists(&self, now: Timestamp) {
            for format in CredentialFormat::ALL {
                for purpose in Purpose::ALL {
                    let id = StatusListId { format, purpose, number: 1 };
                    let content = self.world.state.lists.content(id, ListBits::default()).unwrap();
                    let url = self.urls.status_list(&issuer(), &id.to_string());
                    let (ttl, until) = (Duration::from_secs(2), now.plus(Duration::from_secs(3_600)));
                    let list = ListCredential {
                        id,
                        url: &url,
                        issuer: &self.key.did,
                        encoded: &content.bits.encode(id.encoding()),
                        ttl,
                        valid_from: now,
                        valid_until: until,
                    };
                    let jwt = sign(&self.vault, &self.key, format, &list.jwt_claims(list.credential())).await.unwrap();
                    self.web.0.lock().insert(url, jwt.into_bytes());
                }
            }
        }

        async fn verify(&self, jwt: &str, now: Timestamp) -> Result<(), PeerError> {
            let verified = self.trust.verify_credential(jwt, now, |_| Ok(())).await?;
            verified.credential.check_dates(now)?;
            verified.credential.check_holder(&did("acme"))?;
            self.trust.check_status(&verified.credential, now).await
        }
    }

    #[tokio::test]
    async fn what_is_issued_verifies_until_it_is_revoked_or_suspended() {
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256] {
            let mut scene = scene(algorithm).await;
            scene.world.request("acme", "h-1", &["membership", "manufacturer"]).unwrap();
            for format in CredentialFormat::ALL {
                let credential = scene.issued(format);
                let jwt = scene.jwt(&credential).await;
                let mut now = credential.valid_from.plus(Duration::from_secs(1));
                for (command, refused) in [
                    (None, None),
                    (Some(StatusCommand::Suspend), Some("suspended")),
                    (Some(StatusCommand::Resume), None),
                    (Some(StatusCommand::Revoke), Some("revoked")),
                ] {
                    if let Some(command) = command {
                        let change = Command::ChangeStatus { credential: credential.id.clone(), command, reason: None };
                        scene.world.admin(change).unwrap();
                    }
                    // The verifier's list is too old by now.
                    now = now.plus(Duration::from_secs(2));
                    scene.serve_lists(now).await;
                    match (scene.verify(&jwt, now).await, refused) {
                        (Ok(()), None) => {}
                        (Err(PeerError::Refused(rule)), Some(word)) => assert!(rule.contains(word), "{rule}"),
                        (outcome, _) => panic!("{format:?} after {command:?}: {outcome:?}"),
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_tampered_or_foreign_credential_does_not_verify() {
        let mut scene = scene(KeyAlgorithm::Ed25519).await;
        scene.world.request("acme", "h-1", &["membership", "manufacturer"]).unwrap();
        let credential = scene.issued(CredentialFormat::Vc2Jose);
        let now = credential.valid_from;
        scene.serve_lists(now).await;
        let jwt = scene.jwt(&credential).await;
        assert!(scene.verify(&jwt, now).await.is_ok());
        assert!(scene.verify(&jwt, credential.valid_until).await.is_err(), "expired");
        let other = IssuedCredential { holder_did: did("other"), ..credential.clone() };
        assert!(scene.verify(&scene.jwt(&other).await, now).await.is_err(), "another holder");
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let forged = scene.jwt(&IssuedCredential { credential_type: "GoldCredential".to_owned(), ..credential }).await;
        let forged = format!("{}.{signature}", forged.rsplit_once('.').unwrap().0);
        assert!(scene.verify(&forged, now).await.is_err() && forged != format!("{signed}.{signature}"));
    }
}
