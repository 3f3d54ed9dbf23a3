//! Requests of a known counterparty that must be refused by what is in them: tokens that prove nothing, and a body that is only deep.

use crate::{
    http::Call,
    scenario::catalog::{Provider, REQUEST},
    world::{Flaw, Party},
};
use aws_lc_rs::{hmac, signature::KeyPair};
use bytes::Bytes;
use http::Method;
use serde_json::json;
use std::sync::LazyLock;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// The token has the signature of another one.
    OtherSignature,
    /// It says that it needs none.
    NoAlgorithm,
    /// It is authenticated with the sender's public key, as if that were a shared secret.
    ConfusedAlgorithm,
    /// It has a critical header that nobody knows.
    CriticalHeader,
    /// It has claims without measure.
    HugeClaims,
    /// The token is good, and the body is nothing but depth.
    DeepBody,
}

/// All of them.
pub const TRICKS: [Trick; 6] =
    [Trick::OtherSignature, Trick::NoAlgorithm, Trick::ConfusedAlgorithm, Trick::CriticalHeader, Trick::HugeClaims, Trick::DeepBody];
/// More than a token may have, in bytes.
const HUGE: usize = 20_000;
/// More than a parser may follow.
const DEPTH: usize = 30_000;

static DEEP: LazyLock<Bytes> = LazyLock::new(|| format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)).into());

impl Trick {
    /// The status by which what is wrong with it is told.
    pub const fn refused_by(self) -> u16 {
        match self {
            Self::DeepBody => 400,
            _ => 401,
        }
    }

    fn token(self, party: &Party, audience: &str) -> String {
        let claims = party.own_claims(audience);
        let kid = format!("{}#key-1", party.identity.did);
        match self {
            Self::OtherSignature => party.flawed(audience, Flaw::Signature),
            Self::DeepBody => party.token(audience),
            Self::NoAlgorithm => party.identity.headed(&json!({"alg": "none", "typ": "JWT", "kid": kid}), &claims, |_, _| Vec::new()),
            Self::ConfusedAlgorithm => {
                let shared = |key: &aws_lc_rs::signature::Ed25519KeyPair, text: &[u8]| {
                    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.public_key().as_ref()), text).as_ref().to_vec()
                };
                party.identity.headed(&json!({"alg": "HS256", "typ": "JWT", "kid": kid}), &claims, shared)
            }
            Self::CriticalHeader => {
                let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid, "crit": ["urn:unknown"], "urn:unknown": true});
                party.identity.headed(&header, &claims, |key, text| key.sign(text).as_ref().to_vec())
            }
            Self::HugeClaims => {
                let mut claims = claims;
                claims["more"] = "x".repeat(HUGE).into();
                party.identity.jwt(&claims)
            }
        }
    }

    /// The request of a party for a provider's catalog.
    pub fn call(self, party: &Party, provider: &Provider) -> Call {
        let body = if self == Self::DeepBody { DEEP.clone() } else { Bytes::from_static(REQUEST.as_bytes()) };
        Call::json(Method::POST, provider.catalog.as_str(), &self.token(party, &provider.did), body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{PublicKey, claims, part};
    use serde_json::Value;

    #[test]
    fn each_token_has_what_it_says() {
        let party = Party::new("did:web:x".to_owned(), 1, [7; 32]).unwrap();
        let key = PublicKey::of(&party.identity.document(&[])).unwrap();
        let signed = |trick: Trick| key.signed(&trick.token(&party, "did:web:y"));
        assert_eq!(TRICKS.map(signed), [false, false, false, true, true, true]);
        let header = |trick: Trick| serde_json::from_slice::<Value>(&part(&trick.token(&party, "did:web:y"), 0).unwrap()).unwrap();
        assert_eq!(
            (header(Trick::NoAlgorithm)["alg"].as_str(), header(Trick::ConfusedAlgorithm)["alg"].as_str()),
            (Some("none"), Some("HS256"))
        );
        assert_eq!(header(Trick::CriticalHeader)["crit"][0], "urn:unknown");
        assert!(Trick::NoAlgorithm.token(&party, "did:web:y").ends_with('.') && Trick::HugeClaims.token(&party, "did:web:y").len() > HUGE);
        assert!(TRICKS.iter().all(|trick| claims::<Value>(&trick.token(&party, "did:web:y")).unwrap()["aud"] == "did:web:y"));
        assert_eq!(DEEP.len(), 2 * DEPTH);
    }
}
