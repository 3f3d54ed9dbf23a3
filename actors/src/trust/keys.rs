//! Which key of a DID document a signature must verify with (DCP 1.0, "Validating Self-Issued ID Tokens", step 3). Pure.

use super::jwk::VerifyingKey;
use cellspace_schemas::dcp::{DidDocument, Relationship, Service, VerificationMethod};
use std::sync::Arc;
use url::Url;

/// A key of a DID document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedKey {
    /// Absolute DID URL of the method.
    pub url: String,
    /// The key.
    pub key: VerifyingKey,
}

/// Why no key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The document does not have it (any more).
    #[error("the signing key must be in the DID document")]
    Unknown,
    /// No `kid` and not exactly one method.
    #[error("a token without kid needs a DID document with exactly one verification method")]
    Ambiguous,
    /// Without the relationship.
    #[error("the signing key must have the {} relationship in the DID document", name(*.0))]
    Relationship(Relationship),
    /// Not a key that is supported.
    #[error(
        "the signing key must be Ed25519, P-256 or P-384, as publicKeyJwk or publicKeyMultibase, or RSA with 2048 to 4096 bits, as publicKeyJwk"
    )]
    Unsupported,
}

const fn name(relationship: Relationship) -> &'static str {
    match relationship {
        Relationship::Authentication => "authentication",
        Relationship::AssertionMethod => "assertionMethod",
        Relationship::CapabilityInvocation => "capabilityInvocation",
    }
}

/// A DID document with its keys and the URLs of its services, each read once.
#[derive(Debug)]
pub struct DocumentKeys {
    /// The document.
    pub document: DidDocument,
    /// By absolute DID URL, of two with the same the first; `None` for a key that is not supported.
    keys: Vec<(String, Option<Arc<SelectedKey>>)>,
    /// Of the services in their order; `None` for what is no URL with a path.
    services: Vec<Option<Url>>,
}

impl DocumentKeys {
    /// Reads the keys of a document.
    #[must_use]
    pub fn of(document: DidDocument) -> Self {
        let key_of = |method: &VerificationMethod| {
            let url = document.absolute(&method.id);
            let key = public_key(method).map(|key| Arc::new(SelectedKey { url: url.clone(), key }));
            (url, key)
        };
        let keys = document.methods().map(key_of).collect();
        let services = document.service.iter().map(url_of).collect();
        Self { document, keys, services }
    }

    /// URL of the first service of this type that has a plain one, without a slash at the end of its path.
    #[must_use]
    pub fn service(&self, service_type: &str) -> Option<&Url> {
        let mut services = self.document.service.iter().zip(&self.services);
        services.find(|(service, _)| service.is(service_type) && service.service_endpoint.is_string())?.1.as_ref()
    }

    /// Selects the key with this absolute DID URL, or the only one. With `lenient`, a document that states no relationship at all passes; one that states any
    /// is held to it.
    ///
    /// # Errors
    /// [`KeyError`] names the rule.
    pub fn select(&self, url: Option<&str>, relationship: Relationship, lenient: bool) -> Result<Arc<SelectedKey>, KeyError> {
        let only;
        let url = match (url, self.document.verification_method.as_slice()) {
            (Some(url), _) => url,
            (None, [one]) => {
                only = self.document.absolute(&one.id);
                only.as_str()
            }
            (None, _) => return Err(KeyError::Ambiguous),
        };
        let (_, key) = self.keys.iter().find(|(known, _)| known == url).ok_or(KeyError::Unknown)?;
        if !(self.document.relates(relationship, url) || lenient && self.document.states_no_relationship()) {
            return Err(KeyError::Relationship(relationship));
        }
        key.clone().ok_or(KeyError::Unsupported)
    }
}

fn url_of(service: &Service) -> Option<Url> {
    let mut url = Url::parse(service.service_endpoint.as_str()?).ok().filter(|url| !url.cannot_be_a_base())?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}

fn public_key(method: &VerificationMethod) -> Option<VerifyingKey> {
    match (&method.public_key_jwk, &method.public_key_multibase) {
        (Some(jwk), _) => VerifyingKey::from_jwk(jwk),
        (None, Some(multikey)) => VerifyingKey::from_multikey(multikey),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn document(methods: &[&str], relationships: Value) -> DidDocument {
        let methods: Vec<Value> = methods
            .iter()
            .map(|id| json!({"id": id, "type": "JsonWebKey2020", "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": X}}))
            .collect();
        let mut document = json!({"id": "did:web:a", "verificationMethod": methods});
        document.as_object_mut().unwrap().extend(relationships.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn keys_are_selected_by_the_rules() {
        use KeyError::{Ambiguous, Relationship as Lacks, Unknown};
        use Relationship::{Authentication, CapabilityInvocation};
        let one = document(&["#k1"], json!({"capabilityInvocation": ["#k1"]}));
        let two = document(&["did:web:a#k1", "#k2"], json!({"capabilityInvocation": ["did:web:a#k1"], "authentication": []}));
        let bare = document(&["#k1"], json!({}));
        let table = [
            (&one, None, CapabilityInvocation, false, Ok("did:web:a#k1")),
            (&one, Some("did:web:a#k1"), CapabilityInvocation, false, Ok("did:web:a#k1")),
            (&one, Some("did:web:b#k1"), CapabilityInvocation, false, Err(Unknown)),
            (&one, Some("did:web:a#k2"), CapabilityInvocation, false, Err(Unknown)),
            (&one, Some("did:web:a#k1"), Authentication, false, Err(Lacks(Authentication))),
            (&one, Some("did:web:a#k1"), Authentication, true, Err(Lacks(Authentication))),
            (&two, None, CapabilityInvocation, false, Err(Ambiguous)),
            (&two, Some("did:web:a#k1"), CapabilityInvocation, false, Ok("did:web:a#k1")),
            (&two, Some("did:web:a#k2"), CapabilityInvocation, false, Err(Lacks(CapabilityInvocation))),
            (&bare, Some("did:web:a#k1"), CapabilityInvocation, false, Err(Lacks(CapabilityInvocation))),
            (&bare, Some("did:web:a#k1"), CapabilityInvocation, true, Ok("did:web:a#k1")),
        ];
        for (document, kid, relationship, lenient, expected) in table {
            let selected = DocumentKeys::of(document.clone()).select(kid, relationship, lenient);
            assert_eq!(selected.as_ref().map(|s| s.url.as_str()), expected.as_ref().map(|u| *u), "{kid:?} {relationship:?} {lenient}");
        }
    }

    #[test]
    fn services_with_plain_urls_are_found() {
        let mut document = document(&["#k1"], json!({}));
        let service = |kind: Value, endpoint: Value| Service { id: "#s".to_owned(), service_type: kind, service_endpoint: endpoint };
        document.service = vec![
            service(json!("CredentialService"), json!({"uri": "https://x"})),
            service(json!(["Other", "CredentialService"]), json!("https://cs.example.com//")),
            service(json!("CredentialService"), json!("https://second.example.com")),
            service(json!("IssuerService"), json!("mailto:issuer@example.com")),
        ];
        let keys = DocumentKeys::of(document);
        let url = |kind| keys.service(kind).map(Url::as_str);
        assert_eq!(url("CredentialService"), Some("https://cs.example.com/"));
        assert_eq!((url("IssuerService"), url("Unknown")), (None, None));
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        let mut document = document(&["#k1"], json!({"authentication": ["#k1"]}));
        document.verification_method[0].public_key_jwk = Some(json!({"kty": "EC", "crv": "secp256k1", "x": X, "y": X}));
        assert_eq!(DocumentKeys::of(document).select(None, Relationship::Authentication, false), Err(KeyError::Unsupported));
    }
}
