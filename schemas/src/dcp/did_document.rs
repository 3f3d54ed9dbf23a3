//! DID documents (DID Core 1.0, section 5), as far as DCP needs them.

use super::DCP_CONTEXT;
use crate::Did;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest document read, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// What a key may be used for (DID Core 1.0, 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relationship {
    /// Presentations.
    Authentication,
    /// Credentials.
    AssertionMethod,
    /// Self-issued ID tokens (DCP 1.0, "Validating Self-Issued ID Tokens").
    CapabilityInvocation,
}

/// A public key of the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationMethod {
    /// DID URL, absolute or `#fragment`.
    pub id: String,
    /// For example `JsonWebKey2020`.
    #[serde(rename = "type")]
    pub method_type: String,
    /// Who controls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// The key as JWK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_jwk: Option<Value>,
    /// The key as multicodec in multibase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_multibase: Option<String>,
}

/// An entry of a verification relationship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MethodReference {
    /// Id of a method of the document.
    Url(String),
    /// A method for this relationship alone.
    Embedded(VerificationMethod),
}

impl MethodReference {
    fn id(&self) -> &str {
        match self {
            Self::Url(url) => url,
            Self::Embedded(method) => &method.id,
        }
    }
}

/// A service entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its id.
    pub id: String,
    /// For example `CredentialService`.
    #[serde(rename = "type")]
    pub service_type: Value,
    /// URL; other forms are kept and not used.
    pub service_endpoint: Value,
}

impl Service {
    /// A service with a plain type and URL.
    #[must_use]
    pub fn new(id: impl Into<String>, service_type: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self { id: id.into(), service_type: Value::String(service_type.into()), service_endpoint: Value::String(endpoint.into()) }
    }

    /// Whether it is of this type.
    #[must_use]
    pub fn is(&self, service_type: &str) -> bool {
        match &self.service_type {
            Value::Array(types) => types.iter().any(|t| t == service_type),
            one => one == service_type,
        }
    }
}

/// A DID document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidDocument {
    /// JSON-LD contexts.
    #[serde(rename = "@context", default)]
    pub context: Value,
    /// Whose it is.
    pub id: Did,
    /// Public keys.
    #[serde(default)]
    pub verification_method: Vec<VerificationMethod>,
    /// Keys for presentations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Vec<MethodReference>>,
    /// Keys for credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion_method: Option<Vec<MethodReference>>,
    /// Keys for self-issued ID tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability_invocation: Option<Vec<MethodReference>>,
    /// Service endpoints.
    #[serde(default)]
    pub service: Vec<Service>,
}

impl DidDocument {
    /// A document whose keys may all be used for everything.
    #[must_use]
    pub fn new(id: Did, verification_method: Vec<VerificationMethod>, service: Vec<Service>) -> Self {
        Self::with_relationships(id, verification_method, service, |_, _| true)
    }

    /// A document whose keys have the relationships that `has` says, by the id of their method.
    #[must_use]
    pub fn with_relationships(
        id: Did,
        verification_method: Vec<VerificationMethod>,
        service: Vec<Service>,
        has: impl Fn(Relationship, &str) -> bool,
    ) -> Self {
        let of = |relationship| {
            let methods = verification_method.iter().filter(|method| has(relationship, &method.id));
            Some(methods.map(|method| MethodReference::Url(method.id.clone())).collect())
        };
        Self {
            context: serde_json::json!(["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1", DCP_CONTEXT]),
            id,
            authentication: of(Relationship::Authentication),
            assertion_method: of(Relationship::AssertionMethod),
            capability_invocation: of(Relationship::CapabilityInvocation),
            verification_method,
            service,
        }
    }

    /// All its keys: those listed first, then those embedded in a relationship.
    pub fn methods(&self) -> impl Iterator<Item = &VerificationMethod> {
        let embedded = [&self.authentication, &self.assertion_method, &self.capability_invocation].into_iter().flatten().flatten();
        let embedded = embedded.filter_map(|reference| match reference {
            MethodReference::Embedded(method) => Some(method),
            MethodReference::Url(_) => None,
        });
        self.verification_method.iter().chain(embedded)
    }

    /// The key with this absolute DID URL.
    #[must_use]
    pub fn method(&self, url: &str) -> Option<&VerificationMethod> {
        self.methods().find(|method| self.names(&method.id, url))
    }

    /// The absolute DID URL of a method's id.
    #[must_use]
    pub fn absolute(&self, id: &str) -> String {
        if id.starts_with('#') { format!("{}{id}", self.id) } else { id.to_owned() }
    }

    /// Whether the key with this absolute DID URL has the relationship.
    #[must_use]
    pub fn relates(&self, relationship: Relationship, url: &str) -> bool {
        let references = match relationship {
            Relationship::Authentication => &self.authentication,
            Relationship::AssertionMethod => &self.assertion_method,
            Relationship::CapabilityInvocation => &self.capability_invocation,
        };
        references.iter().flatten().any(|reference| self.names(reference.id(), url))
    }

    /// Whether the document states no verification relationship at all.
    #[must_use]
    pub const fn states_no_relationship(&self) -> bool {
        self.authentication.is_none() && self.assertion_method.is_none() && self.capability_invocation.is_none()
    }

    fn names(&self, id: &str, url: &str) -> bool {
        id == url || (id.starts_with('#') && url.strip_prefix(self.id.as_str()) == Some(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn relative_and_embedded_methods_are_found() {
        let document: DidDocument = serde_json::from_value(json!({
            "@context": "https://www.w3.org/ns/did/v1",
            "id": "did:web:example.com",
            "verificationMethod": [{"id": "#a", "type": "JsonWebKey2020", "publicKeyJwk": {"kty": "OKP"}}],
            "authentication": ["did:web:example.com#a", {"id": "#b", "type": "Multikey", "publicKeyMultibase": "z6Mk"}]
        }))
        .unwrap();
        assert!(document.method("did:web:example.com#a").is_some());
        assert!(document.method("did:web:example.com#b").is_some());
        assert!(document.method("did:web:other.com#a").is_none());
        assert!(document.relates(Relationship::Authentication, "did:web:example.com#a"));
        assert!(document.relates(Relationship::Authentication, "did:web:example.com#b"));
        assert!(!document.relates(Relationship::CapabilityInvocation, "did:web:example.com#a"));
        assert!(!document.states_no_relationship());
    }

    #[test]
    fn our_documents_state_every_relationship() {
        let method = VerificationMethod {
            id: "did:web:example.com#k".to_owned(),
            method_type: "JsonWebKey2020".to_owned(),
            controller: Some("did:web:example.com".to_owned()),
            public_key_jwk: Some(json!({"kty": "OKP"})),
            public_key_multibase: None,
        };
        let document = DidDocument::new(Did::new("did:web:example.com").unwrap(), vec![method], Vec::new());
        let text = serde_json::to_value(&document).unwrap();
        for name in ["authentication", "assertionMethod", "capabilityInvocation"] {
            assert_eq!(text[name], json!(["did:web:example.com#k"]));
        }
        assert_eq!(serde_json::from_value::<DidDocument>(text).unwrap(), document);
    }
}
