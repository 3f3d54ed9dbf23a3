//! Is this token what it says? Signature by a key of its issuer, issuer known, dates right now.
//!
//! Only the verdict on the *signature* is remembered, and only while the issuer's key set is the same; dates are looked at every time.

use super::{Caller, Claims, KeySet, MAX_TOKEN_BYTES, Origin, issuer::RemoteIssuer};
use crate::http::{ApiError, ErrorKind};
use aws_lc_rs::digest::{SHA256, digest};
use cellspace_actors::{
    access::TokenIssuer,
    trust::jws::{Jws, JwsError},
};
use cellspace_cluster::Clock;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use std::sync::Arc;

/// Verdicts kept.
const MAX_VERDICTS: usize = 16_384;

/// Algorithms of tokens; the embedded token service signs with the first alone.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

/// Verifies access tokens.
pub struct Verifier {
    embedded: (String, KeySet),
    remote: Vec<RemoteIssuer>,
    verdicts: quick_cache::sync::Cache<[u8; 32], Verdict>,
    clock: Arc<dyn Clock>,
}

/// A good signature: claims, and which key set it was verified with.
#[derive(Clone)]
struct Verdict {
    claims: Arc<Claims>,
    /// Index and generation of a remote issuer; `None` for the embedded token service.
    by: Option<(usize, u64)>,
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::BadToken, message)
}

impl Verifier {
    /// Accepts tokens of the embedded token service and of these issuers.
    #[must_use]
    pub fn new(embedded: &TokenIssuer, remote: Vec<RemoteIssuer>, clock: Arc<dyn Clock>) -> Self {
        let keys = KeySet::parse(&embedded.jwks()).unwrap_or_else(KeySet::empty);
        Self::with_keys(embedded.issuer().to_owned(), keys, remote, clock)
    }

    fn with_keys(issuer: String, keys: KeySet, remote: Vec<RemoteIssuer>, clock: Arc<dyn Clock>) -> Self {
        Self { embedded: (issuer, keys), remote, verdicts: quick_cache::sync::Cache::new(MAX_VERDICTS), clock }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// 401 with the rule that failed; 503 when the issuer's keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<Caller, ApiError> {
        self.claims(token).await.map(|(claims, origin)| Caller::new(&claims, origin))
    }

    /// As [`Verifier::verify`]; what the token says as it stands, and whose it is.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub async fn claims(&self, token: &str) -> Result<(Arc<Claims>, Origin), ApiError> {
        let verdict = self.signature(token).await?;
        self.dates(&verdict.claims)?;
        self.audience(&verdict)?;
        Ok((verdict.claims, if verdict.by.is_some() { Origin::Foreign } else { Origin::Embedded }))
    }

    /// A token of a configured issuer is for this installation, when the configuration says what that is called.
    fn audience(&self, verdict: &Verdict) -> Result<(), ApiError> {
        let issuer = verdict.by.and_then(|(index, _)| self.remote.get(index));
        if issuer.is_none_or(|issuer| issuer.is_for_us(&verdict.claims)) {
            Ok(())
        } else {
            Err(refused("the access token is for another audience"))
        }
    }

    async fn signature(&self, token: &str) -> Result<Verdict, ApiError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused("the access token is too long"));
        }
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(verdict) = self.verdicts.get(&key).filter(|verdict| self.stands(verdict)) {
            return Ok(verdict);
        }
        let verdict = self.check_signature(token).await?;
        self.verdicts.insert(key, verdict.clone());
        Ok(verdict)
    }

    fn stands(&self, verdict: &Verdict) -> bool {
        verdict.by.is_none_or(|(index, generation)| {
            self.remote.get(index).and_then(RemoteIssuer::current).is_some_and(|keys| keys.generation == generation)
        })
    }

    async fn check_signature(&self, token: &str) -> Result<Verdict, ApiError> {
        let jws = Jws::parse_signed_by(&ALGORITHMS, token, MAX_TOKEN_BYTES)?;
        let Issuer { iss } = jws.unverified()?;
        let verified = |keys: &KeySet| {
            let key = keys.find(jws.kid(), jws.algorithm());
            let key = key.ok_or_else(|| refused("the access token names a key that its issuer does not have"))?;
            Ok::<_, ApiError>(Arc::new(jws.verify_with(key)?))
        };
        if iss == self.embedded.0 {
            return Ok(Verdict { claims: verified(&self.embedded.1)?, by: None });
        }
        let found = self.remote.iter().enumerate().find(|(_, remote)| remote.issuer() == iss);
        let (index, remote) = found.ok_or_else(|| refused("the issuer of the access token is not accepted"))?;
        let keys = remote.keys(jws.kid(), jws.algorithm()).await.map_err(ApiError::later)?;
        Ok(Verdict { claims: verified(&keys.set)?, by: Some((index, keys.generation)) })
    }

    /// `exp`, `nbf` and `iat` without leeway.
    fn dates(&self, claims: &Claims) -> Result<(), ApiError> {
        let now = self.clock.now();
        if now >= claims.exp.0 {
            return Err(refused("the access token has expired"));
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|begins| now < begins.0) {
            return Err(refused("the access token is not valid yet"));
        }
        Ok(())
    }
}

impl From<JwsError> for ApiError {
    fn from(rule: JwsError) -> Self {
        refused(rule.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::issuer::tests::Source;
    use super::*;
    use aws_lc_rs::{
        rand::SystemRandom,
        rsa::KeySize,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
    };
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use cellspace_schemas::Timestamp;
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    enum Signer {
        Ed(Ed25519KeyPair),
        Ec(EcdsaKeyPair),
        Rsa(RsaKeyPair),
    }

    impl Signer {
        fn jwk(&self, kid: &str) -> Value {
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            match self {
                Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(key.public_key().as_ref())}),
                Self::Ec(key) => {
                    let point = key.public_key().as_ref();
                    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..])})
                }
                Self::Rsa(key) => {
                    let key = key.public_key();
                    let (n, e) = (key.modulus(), key.exponent());
                    json!({"kty": "RSA", "kid": kid, "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero())})
                }
            }
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = match self {
                Self::Ed(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
                Self::Ec(key) => key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
                Self::Rsa(key) => {
                    let mut signature = vec![0; key.public_modulus_len()];
                    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
                    signature
                }
            };
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    #[derive(Debug, Clone, Default)]
    struct TestClock(Arc<AtomicI64>);
    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
    }

    struct Setup {
        verifier: Verifier,
        clock: TestClock,
        source: Arc<Source>,
        own: Signer,
        foreign: Signer,
    }

    fn setup() -> Setup {
        crate::crypto::install();
        let own = Signer::Ed(Ed25519KeyPair::generate().unwrap());
        let foreign = Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
        let source = Arc::new(Source { document: Mutex::new(Some(json!({"keys": [foreign.jwk("f")]}))), fetches: AtomicUsize::new(0) });
        let clock = TestClock::default();
        clock.0.store(100_000, Ordering::SeqCst);
        let keys = KeySet::parse(&json!({"keys": [own.jwk("o")]})).unwrap();
        let verifier = Verifier::with_keys("own".to_owned(), keys, vec![source.issuer("foreign")], Arc::new(clock.clone()));
        Setup { verifier, clock, source, own, foreign }
    }

    fn claims(iss: &str) -> Value {
        json!({"iss": iss, "sub": "p1", "scope": "management-api:read", "exp": 160, "iat": 100, "nbf": 100})
    }

    #[tokio::test(start_paused = true)]
    async fn good_tokens_of_both_origins() {
        let s = setup();
        for (signer, header, iss) in [
            (&s.own, json!({"alg": "EdDSA", "kid": "o"}), "own"),
            (&s.own, json!({"alg": "EdDSA"}), "own"),
            (&s.foreign, json!({"alg": "ES256", "kid": "f"}), "foreign"),
        ] {
            let token = signer.token(&header, &claims(iss));
            for _ in 0..2 {
                assert_eq!(s.verifier.verify(&token).await.unwrap().participant.unwrap().as_str(), "p1");
            }
            let origin = if iss == "own" { Origin::Embedded } else { Origin::Foreign };
            assert_eq!(s.verifier.claims(&token).await.unwrap().1, origin);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_for_other_applications_are_refused() {
        let mut s = setup();
        s.verifier.remote = vec![s.source.issuer_for("foreign", Some("cellspace"))];
        for (extra, good) in [
            (json!({}), false),
            (json!({"aud": "other"}), false),
            (json!({"aud": ["other", "cellspace"]}), true),
            (json!({"aud": "cellspace"}), true),
            // Where issuers write the client.
            (json!({"aud": "account", "azp": "cellspace"}), true),
            (json!({"aud": "account", "azp": "other", "role": "admin"}), false),
        ] {
            let mut claims = claims("foreign");
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let verified = s.verifier.verify(&s.foreign.token(&json!({"alg": "ES256", "kid": "f"}), &claims)).await;
            assert_eq!(verified.map(|_| ()).map_err(|e| e.kind), if good { Ok(()) } else { Err(ErrorKind::BadToken) }, "{extra}");
        }
        // Our own token service's tokens are ours.
        assert!(s.verifier.verify(&s.own.token(&json!({"alg": "EdDSA"}), &claims("own"))).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn rsa_is_accepted_from_others() {
        let s = setup();
        let rsa = Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        *s.source.document.lock() = Some(json!({"keys": [rsa.jwk("r")]}));
        assert!(s.verifier.verify(&rsa.token(&json!({"alg": "RS256", "kid": "r"}), &claims("foreign"))).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn dates_have_no_leeway_and_are_looked_at_every_time() {
        let s = setup();
        let token = s.own.token(&json!({"alg": "EdDSA", "kid": "o"}), &claims("own"));
        for (millis, good) in [(99_999, false), (100_000, true), (159_999, true), (160_000, false), (120_000, true)] {
            s.clock.0.store(millis, Ordering::SeqCst);
            assert_eq!(s.verifier.verify(&token).await.is_ok(), good, "{millis}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn forged_tokens_are_refused() {
        let s = setup();
        let header = json!({"alg": "EdDSA", "kid": "o"});
        let good = s.own.token(&header, &claims("own"));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let mut other_claims = claims("own");
        other_claims["sub"] = "p2".into();
        let swapped = format!("{}.{}.{signature}", signed.split_once('.').unwrap().0, URL_SAFE_NO_PAD.encode(other_claims.to_string()));
        let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string());
        let unsigned = format!("{none}.{}.", URL_SAFE_NO_PAD.encode(claims("own").to_string()));
        let mut no_exp = claims("own");
        no_exp.as_object_mut().unwrap().remove("exp");
        let table = [
            swapped,
            unsigned,
            format!("{signed}."),
            "a.b.c".to_owned(),
            String::new(),
            "x".repeat(MAX_TOKEN_BYTES + 1),
            s.own.token(&json!({"alg": "HS256", "kid": "o"}), &claims("own")),
            s.own.token(&json!({"alg": "ES256", "kid": "o"}), &claims("own")),
            s.own.token(&json!({"alg": "EdDSA", "kid": "z"}), &claims("own")),
            s.own.token(&json!({"alg": "EdDSA", "kid": "o", "crit": ["b64"]}), &claims("own")),
            s.own.token(&header, &claims("nobody")),
            s.own.token(&header, &no_exp),
            // Signed by one issuer in the name of the other.
            s.own.token(&header, &claims("foreign")),
            s.foreign.token(&json!({"alg": "ES256", "kid": "f"}), &claims("own")),
        ];
        for token in table {
            let error = s.verifier.verify(&token).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadToken, "{token}: {}", error.message);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_taken_back_ends_its_verdicts() {
        let s = setup();
        let token = s.foreign.token(&json!({"alg": "ES256", "kid": "f"}), &claims("foreign"));
        assert!(s.verifier.verify(&token).await.is_ok());
        *s.source.document.lock() = Some(json!({"keys": [s.own.jwk("g")]}));
        tokio::time::advance(super::super::issuer::RETRY_AFTER).await;
        let unknown = s.foreign.token(&json!({"alg": "ES256", "kid": "h"}), &claims("foreign"));
        assert!(s.verifier.verify(&unknown).await.is_err(), "fetches the keys again");
        assert_eq!(s.verifier.verify(&token).await.unwrap_err().kind, ErrorKind::BadToken);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_issuer_is_not_the_tokens_fault() {
        let s = setup();
        *s.source.document.lock() = None;
        let token = s.foreign.token(&json!({"alg": "ES256", "kid": "f"}), &claims("foreign"));
        assert_eq!(s.verifier.verify(&token).await.unwrap_err().kind, ErrorKind::Unavailable);
    }
}
