//! A counterparty: its credentials, its tokens, its presentations.

use super::{Identity, Issuer, MEMBERSHIP, PARTNER, now};
use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::OnceLock;
use uuid::Uuid;

/// Claim `region` of a party: one of four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region(pub u8);

/// Claim `tier` of a party: 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tier(pub u8);

impl Region {
    /// As the claim has it.
    #[must_use]
    pub fn text(self) -> String {
        format!("region-{}", self.0)
    }
}

/// The counterparty.
pub struct Party {
    /// Its DID and key.
    pub identity: Identity,
    /// Where it is.
    pub region: Region,
    /// What it is.
    pub tier: Tier,
    /// Opaque to verifiers: lets them ask for its presentation.
    access: String,
    credentials: OnceLock<[String; 2]>,
    /// Its DID document, once it was asked for or made ahead.
    document: OnceLock<Bytes>,
    /// A presentation that was made ahead, for this verifier.
    ahead: OnceLock<(String, Bytes)>,
    /// Its place in its world.
    pub number: usize,
}

/// What is wrong with a token, for tests of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It has expired.
    Expired,
    /// It was signed by another key.
    Signature,
}

impl Party {
    /// Party `number`, with claims that follow from it.
    ///
    /// # Errors
    /// When the seed makes no key.
    pub fn new(did: String, number: usize, seed: [u8; 32]) -> Result<Self> {
        let (region, tier) = (u8::try_from(number % 4).unwrap_or(0), u8::try_from(number / 4 % 2).unwrap_or(0));
        let access = format!("access-{}", Uuid::new_v4());
        let identity = Identity::new(did, seed)?;
        let (credentials, document, ahead) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Self { identity, region: Region(region), tier: Tier(tier), access, credentials, document, ahead, number })
    }

    /// A self-issued ID token for `audience` (DCP 1.0, "Self-Issued ID Tokens"); its `jti` is used once.
    #[must_use]
    pub fn token(&self, audience: &str) -> String {
        self.identity.jwt(&self.own_claims(audience))
    }

    /// The claims of such a token.
    #[must_use]
    pub fn own_claims(&self, audience: &str) -> Value {
        self.claims(audience, &self.access)
    }

    /// A token with a flaw.
    #[must_use]
    pub fn flawed(&self, audience: &str, flaw: Flaw) -> String {
        self.carrying(audience, &self.access, flaw)
    }

    /// A token that passes on an access token which the audience gave.
    #[must_use]
    pub fn carrying(&self, audience: &str, access: &str, flaw: Flaw) -> String {
        let mut claims = self.claims(audience, access);
        if flaw == Flaw::Expired {
            (claims["iat"], claims["exp"]) = (json!(now() - 120), json!(now() - 60));
        }
        let mut token = self.identity.jwt(&claims);
        if flaw == Flaw::Signature {
            // Another signature of the right length.
            let other = self.identity.jwt(&self.claims(audience, access));
            let (body, signature) =
                (token.rsplit_once('.').map(|(body, _)| body.to_owned()), other.rsplit_once('.').map(|(_, s)| s.to_owned()));
            token = format!("{}.{}", body.unwrap_or_default(), signature.unwrap_or_default());
        }
        token
    }

    fn claims(&self, audience: &str, access: &str) -> Value {
        let at = now();
        json!({"iss": self.identity.did, "sub": self.identity.did, "aud": audience, "jti": Uuid::new_v4(), "iat": at, "exp": at + 60, "token": access})
    }

    /// Whether a verifier presented the access token that this party gave.
    #[must_use]
    pub fn gave(&self, access: &str) -> bool {
        self.access == access
    }

    fn credentials(&self, issuer: &Issuer) -> &[String; 2] {
        self.credentials.get_or_init(|| {
            let subject = |more: Value| {
                let mut subject = json!({"id": self.identity.did});
                if let (Some(subject), Value::Object(more)) = (subject.as_object_mut(), more) {
                    subject.extend(more);
                }
                subject
            };
            let bit = self.number * 2 % 100_000;
            [
                issuer.issue(MEMBERSHIP, subject(json!({"since": "2024-05-01T00:00:00Z"})), bit),
                issuer.issue(PARTNER, subject(json!({"region": self.region.text(), "tier": self.tier.0})), bit + 1),
            ]
        })
    }

    /// Its DID document, which names these services.
    #[must_use]
    pub fn document(&self, services: &[(&str, String)]) -> Bytes {
        self.document.get_or_init(|| self.identity.document(services).to_string().into()).clone()
    }

    /// Makes its credentials and its presentation for a verifier ahead of the query.
    pub fn present_ahead(&self, issuer: &Issuer, verifier: &str) {
        self.ahead.get_or_init(|| (verifier.to_owned(), self.presented(issuer, verifier)));
    }

    /// Answer to a presentation query of `verifier` (DCP 1.0, "Presentation API"): both credentials in one presentation.
    #[must_use]
    pub fn presentation(&self, issuer: &Issuer, verifier: &str) -> Bytes {
        match self.ahead.get() {
            Some((meant, presentation)) if meant == verifier => presentation.clone(),
            _ => self.presented(issuer, verifier),
        }
    }

    fn presented(&self, issuer: &Issuer, verifier: &str) -> Bytes {
        let at = now();
        let envelope = |jwt: &String| json!({"@context": ["https://www.w3.org/ns/credentials/v2"], "type": "EnvelopedVerifiableCredential", "id": format!("data:application/vc+jwt,{jwt}")});
        let presentation = self.identity.typed(
            "vp+jwt",
            &json!({
                "@context": ["https://www.w3.org/ns/credentials/v2"], "type": ["VerifiablePresentation"], "holder": self.identity.did,
                "iss": self.identity.did, "aud": verifier, "iat": at, "exp": at + 3_600,
                "verifiableCredential": self.credentials(issuer).iter().map(envelope).collect::<Value>(),
            }),
        );
        json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": "PresentationResponseMessage", "presentation": [presentation]})
            .to_string()
            .into()
    }
}
