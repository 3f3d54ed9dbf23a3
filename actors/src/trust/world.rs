//! Other parties, for tests of the verifying side: their DID documents, credential services and status lists, behind [`Fetch`].

use super::{
    IssueToken, PeerError, SigningKey, Trust, TrustOptions,
    fetch::Fetch,
    jws::{JwsHeader, sign},
    testing::TestVault,
};
use crate::{
    credential_service::presentations::presentation,
    outbound::{OutboundError, OutboundRequest, OutboundResponse},
};
use bytes::Bytes;
use cellspace_schemas::{
    Did, Timestamp,
    bitstring::{Bitstring, Encoding, MIN_BITS},
    dcp::{CredentialFormat, CredentialScope, DCP_CONTEXT, DidDocument, Service, VerificationMethod},
};
use cellspace_storage::{KeyAlgorithm, Vault};
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// A moment that tests start from.
pub const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// Everybody else.
#[derive(Default)]
pub struct World {
    pub vault: TestVault,
    pages: Mutex<HashMap<String, Bytes>>,
    down: Mutex<HashSet<String>>,
    /// How long they take to answer.
    slow: Mutex<HashMap<String, Duration>>,
    wallets: Mutex<HashMap<String, Wallet>>,
    asked: Mutex<Vec<String>>,
    sent: Mutex<Vec<String>>,
    scopes: Mutex<Vec<Vec<String>>>,
}

/// What a credential service does.
#[derive(Clone)]
struct Wallet {
    key: SigningKey,
    credentials: Vec<(CredentialFormat, String)>,
    /// Types beyond which it answers 403; `None` grants all.
    grants: Option<Vec<String>>,
    /// Claims that its presentations have otherwise.
    change: Value,
}

/// A credential to be made.
pub struct Draft {
    pub format: CredentialFormat,
    pub holder: Did,
    pub name: &'static str,
    pub change: Value,
}

impl World {
    pub fn trust(self: &Arc<Self>, options: TrustOptions) -> Trust {
        Trust::new(self.clone(), options)
    }

    pub fn did(name: &str) -> Did {
        Did::new(format!("did:web:{name}.example")).unwrap()
    }

    pub fn document_url(name: &str) -> String {
        format!("https://{name}.example/.well-known/did.json")
    }

    pub fn query_url(name: &str) -> String {
        format!("https://{name}.example/cs/presentations/query")
    }

    pub fn list_url(name: &str) -> String {
        format!("https://{name}.example/list")
    }

    /// A party with a key, a document and a credential service; the algorithm alternates with the name's length.
    pub async fn party(&self, name: &str) -> SigningKey {
        let key = self.key(name, "k1").await;
        self.publish(name, std::slice::from_ref(&key)).await;
        let wallet = Wallet { key: key.clone(), credentials: Vec::new(), grants: None, change: json!({}) };
        self.wallets.lock().insert(Self::query_url(name), wallet);
        key
    }

    pub async fn key(&self, name: &str, fragment: &str) -> SigningKey {
        let algorithm = if name.len().is_multiple_of(2) { KeyAlgorithm::Ed25519 } else { KeyAlgorithm::P256 };
        let path = TestVault::path(name, fragment);
        self.vault.generate_key(&path, algorithm).await.unwrap();
        SigningKey { did: Self::did(name), kid: format!("{}#{fragment}", Self::did(name)), path, algorithm }
    }

    /// Publishes a document with these keys.
    pub async fn publish(&self, name: &str, keys: &[SigningKey]) {
        let mut methods = Vec::new();
        for key in keys {
            methods.push(VerificationMethod {
                id: key.kid.clone(),
                method_type: "JsonWebKey2020".to_owned(),
                controller: None,
                public_key_jwk: Some(self.vault.public_key(&key.path).await.unwrap().jwk),
                public_key_multibase: None,
            });
        }
        let service = Service::new("#cs", "CredentialService", format!("https://{name}.example/cs"));
        let document = DidDocument::new(Self::did(name), methods, vec![service]);
        self.page(&Self::document_url(name), serde_json::to_vec(&document).unwrap());
    }

    pub fn page(&self, url: &str, body: impl Into<Bytes>) {
        self.pages.lock().insert(url.to_owned(), body.into());
    }

    pub fn take_down(&self, url: &str) {
        self.down.lock().insert(url.to_owned());
    }

    /// How often a URL was asked.
    pub fn asked(&self, url: &str) -> usize {
        self.asked.lock().iter().filter(|asked| *asked == url).count()
    }

    /// How often the page behind a URL was sent, not counting answers that it has not changed.
    pub fn sent(&self, url: &str) -> usize {
        self.sent.lock().iter().filter(|sent| *sent == url).count()
    }

    /// A page with its entity tag.
    fn answer_page(&self, url: &str, body: &Bytes, known: Option<&str>) -> OutboundResponse {
        let tag = format!("\"{:x}\"", xxhash_rust::xxh3::xxh3_64(body));
        let headers = HeaderMap::from_iter([(header::ETAG, tag.parse().unwrap())]);
        if known == Some(&tag) {
            return OutboundResponse { status: StatusCode::NOT_MODIFIED, headers, body: Bytes::new() };
        }
        self.sent.lock().push(url.to_owned());
        OutboundResponse { status: StatusCode::OK, headers, body: body.clone() }
    }

    pub fn queries(&self, holder: &str) -> usize {
        self.asked(&Self::query_url(holder))
    }

    /// The types that presentation queries asked for, one list a query.
    pub fn asked_scopes(&self) -> Vec<Vec<String>> {
        self.scopes.lock().clone()
    }

    fn with_wallet(&self, holder: &str, change: impl FnOnce(&mut Wallet)) {
        change(self.wallets.lock().get_mut(&Self::query_url(holder)).unwrap());
    }

    pub fn hold(&self, holder: &str, credentials: Vec<(CredentialFormat, String)>) {
        self.with_wallet(holder, |wallet| wallet.credentials = credentials);
    }

    pub fn grant(&self, holder: &str, types: &[&str]) {
        self.with_wallet(holder, |wallet| wallet.grants = Some(types.iter().map(|t| (*t).to_owned()).collect()));
    }

    pub fn sign_presentations(&self, holder: &str, key: &SigningKey) {
        self.with_wallet(holder, |wallet| wallet.key = key.clone());
    }

    pub fn bring_back(&self, url: &str) {
        self.down.lock().remove(url);
    }

    /// From now on it takes so long to answer.
    pub fn slow_down(&self, url: &str, takes: Duration) {
        self.slow.lock().insert(url.to_owned(), takes);
    }

    pub fn change_presentations(&self, holder: &str, change: Value) {
        self.with_wallet(holder, |wallet| wallet.change = change);
    }

    /// A credential with a place in the issuer's status list: the index is the length of the holder's DID.
    pub async fn credential(&self, issuer: &SigningKey, draft: Draft) -> (CredentialFormat, String) {
        let list = Self::list_url(issuer.path.owner.as_str());
        let entry = |kind: &str| json!({"type": kind, "statusPurpose": "revocation", "statusListIndex": draft.holder.as_str().len().to_string(), "statusListCredential": list});
        let types = json!(["VerifiableCredential", draft.name]);
        let subject = json!({"id": draft.holder, "level": "full"});
        let (mut claims, typ) = match draft.format {
            CredentialFormat::Vc1Jwt => (
                json!({"iss": issuer.did, "sub": draft.holder, "nbf": NOW.seconds() - 60, "exp": NOW.seconds() + 86_400,
                    "vc": {"type": types, "credentialSubject": subject, "credentialStatus": entry("StatusList2021Entry")}}),
                "JWT",
            ),
            CredentialFormat::Vc2Jose => (
                json!({"type": types, "issuer": issuer.did, "credentialSubject": subject, "exp": NOW.seconds() + 86_400,
                    "credentialStatus": entry("BitstringStatusListEntry")}),
                "vc+jwt",
            ),
        };
        claims.as_object_mut().unwrap().extend(draft.change.as_object().unwrap().clone());
        (draft.format, issuer.sign(&self.vault, typ, &claims).await.unwrap())
    }

    /// Publishes the issuer's status list, signed by `signer`, with these bits set.
    pub async fn status_list(&self, issuer: &str, signer: &SigningKey, set: &[usize], subject: Value) {
        let mut bits = Bitstring::zeroes(MIN_BITS);
        for index in set {
            bits.set(*index, true).unwrap();
        }
        let mut claims = json!({"type": ["VerifiableCredential", "BitstringStatusListCredential"], "issuer": signer.did,
            "credentialSubject": {"type": "BitstringStatusList", "statusPurpose": "revocation", "encodedList": bits.encode(Encoding::Bitstring)}});
        claims["credentialSubject"].as_object_mut().unwrap().extend(subject.as_object().unwrap().clone());
        let jwt = signer.sign(&self.vault, "vc+jwt", &claims).await.unwrap();
        self.page(&Self::list_url(issuer), jwt);
    }

    async fn present(&self, wallet: &Wallet, audience: &str, asked: &[CredentialScope]) -> Vec<String> {
        let mut presentations = Vec::new();
        for format in CredentialFormat::ALL {
            let meant = |jwt: &str| {
                let claims = claims(jwt);
                let types = claims.pointer("/vc/type").or(claims.get("type")).unwrap();
                let types: Vec<String> = serde_json::from_value(types.clone()).unwrap();
                asked.iter().any(|scope| scope.matches(None, &types, &[]))
            };
            let raw: Vec<&str> =
                wallet.credentials.iter().filter(|(f, jwt)| *f == format && meant(jwt)).map(|(_, jwt)| jwt.as_str()).collect();
            if raw.is_empty() {
                continue;
            }
            let mut claims = presentation(format, "urn:uuid:1", &wallet.key.did, &raw);
            let claims_of = claims.as_object_mut().unwrap();
            claims_of.extend(json!({"iss": wallet.key.did, "aud": audience, "exp": NOW.seconds() + 3_600}).as_object().unwrap().clone());
            claims_of.extend(wallet.change.as_object().unwrap().clone());
            let header = JwsHeader::new(wallet.key.algorithm, &wallet.key.kid, "vp+jwt");
            presentations.push(sign(&self.vault, &wallet.key.path, &header, &claims).await.unwrap());
        }
        presentations
    }

    async fn answer_query(&self, wallet: Wallet, request: OutboundRequest) -> (StatusCode, Bytes) {
        let audience = claims(request.bearer.as_deref().unwrap())["iss"].as_str().unwrap().to_owned();
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        let scopes = body["scope"].as_array().unwrap().iter().map(|s| CredentialScope::parse(s.as_str().unwrap()).unwrap());
        let scopes: Vec<CredentialScope> = scopes.collect();
        self.scopes.lock().push(scopes.iter().map(ToString::to_string).collect());
        let granted = |scope: &CredentialScope| {
            wallet.grants.as_ref().is_none_or(|types| types.iter().any(|t| scope.matches(None, std::slice::from_ref(t), &[])))
        };
        if !scopes.iter().all(granted) {
            return (StatusCode::FORBIDDEN, Bytes::new());
        }
        let presentation = self.present(&wallet, &audience, &scopes).await;
        let answer = json!({"@context": [DCP_CONTEXT], "type": "PresentationResponseMessage", "presentation": presentation});
        (StatusCode::OK, answer.to_string().into())
    }
}

impl Fetch for World {
    fn fetch<'a>(
        &'a self,
        request: OutboundRequest,
        known: Option<&'a str>,
        _: usize,
    ) -> BoxFuture<'a, Result<OutboundResponse, OutboundError>> {
        async move {
            let url = request.url.to_string();
            self.asked.lock().push(url.clone());
            // Others get their turn, so that concurrent callers really meet.
            tokio::task::yield_now().await;
            if self.down.lock().contains(&url) {
                return Err(OutboundError::TimedOut(url));
            }
            let takes = self.slow.lock().get(&url).copied();
            if let Some(takes) = takes {
                tokio::time::sleep(takes).await;
            }
            let wallet = self.wallets.lock().get(&url).cloned();
            let (status, body) = match wallet {
                Some(wallet) => self.answer_query(wallet, request).await,
                None => match self.pages.lock().get(&url) {
                    Some(body) => return Ok(self.answer_page(&url, body, known)),
                    None => (StatusCode::NOT_FOUND, Bytes::new()),
                },
            };
            Ok(OutboundResponse { status, headers: HeaderMap::new(), body })
        }
        .boxed()
    }

    fn allows_private(&self) -> bool {
        false
    }
}

/// A party's own tokens.
pub struct Tokens<'a> {
    pub world: &'a World,
    pub key: &'a SigningKey,
    pub now: Timestamp,
}

impl IssueToken for Tokens<'_> {
    fn issue<'a>(&'a self, audience: &'a Did, token: Option<&'a str>) -> BoxFuture<'a, Result<String, PeerError>> {
        async move { Ok(self.key.id_token(&self.world.vault, audience, token, self.now).await.unwrap()) }.boxed()
    }
}

/// Claims of a JWT, unverified.
pub fn claims(jwt: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
