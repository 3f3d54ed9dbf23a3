//! Messages of the presentation and issuance protocols (DCP 1.0, sections 5 and 6), in their compact form; [`super::read()`] reads the others too.
//!
//! `type` and `@context` are checked; unknown members are ignored, as the compact form is what the protocol's schemas describe.

use super::{DCP_CONTEXT, read::Message};
use crate::Did;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// Most scopes in one query.
pub const MAX_SCOPES: usize = 32;
/// Most credentials in one message.
pub const MAX_CREDENTIALS: usize = 32;

macro_rules! message_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name;

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(stringify!($name))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                if text == stringify!($name) { Ok(Self) } else { Err(de::Error::custom(concat!("type must be ", stringify!($name)))) }
            }
        }
    };
}

/// The `type` values.
pub mod types {
    use super::{Deserialize, Deserializer, Serialize, de};

    message_type!(
        /// A query.
        PresentationQueryMessage
    );
    message_type!(
        /// Its answer.
        PresentationResponseMessage
    );
    message_type!(
        /// A request for credentials.
        CredentialRequestMessage
    );
    message_type!(
        /// A delivery of credentials.
        CredentialMessage
    );
    message_type!(
        /// An offer of credentials.
        CredentialOfferMessage
    );
    message_type!(
        /// A credential that an issuer can issue.
        CredentialObject
    );
}

/// Terms of presentation submissions (DIF Presentation Exchange 2.0), which peers add to their messages.
pub(crate) const SUBMISSION_CONTEXT: &str = "https://identity.foundation/presentation-exchange/submission/v1";
/// Contexts of one message at most.
const MAX_CONTEXTS: usize = 8;

/// `@context` of a message: an array with the protocol's own in it (DCP 1.0, `context-schema.json`). One that is not known here could give the terms
/// another meaning, and is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Context;

impl Serialize for Context {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [DCP_CONTEXT].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rule = || de::Error::custom(format_args!("@context must be an array of known contexts that contains {DCP_CONTEXT}"));
        let Value::Array(contexts) = Value::deserialize(deserializer)? else { return Err(rule()) };
        let known = |context: &Value| context == DCP_CONTEXT || context == SUBMISSION_CONTEXT;
        let good = contexts.len() <= MAX_CONTEXTS && contexts.iter().all(known) && contexts.iter().any(|context| context == DCP_CONTEXT);
        if good { Ok(Self) } else { Err(rule()) }
    }
}

/// The `@context` of every message we send.
#[must_use]
pub const fn context() -> Context {
    Context
}

/// A verifier asks a credential service for presentations (5.4.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresentationQueryMessage {
    /// JSON-LD contexts.
    #[serde(rename = "@context")]
    pub context: Context,
    /// Always `PresentationQueryMessage`.
    #[serde(rename = "type")]
    pub message_type: types::PresentationQueryMessage,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    /// The other way of asking, not supported here. An explicit `null` counts as given.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub presentation_definition: Option<Value>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The presentations (5.4.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresentationResponseMessage {
    /// JSON-LD contexts.
    #[serde(rename = "@context")]
    pub context: Context,
    /// Always `PresentationResponseMessage`.
    #[serde(rename = "type")]
    pub message_type: types::PresentationResponseMessage,
    /// Presentations: JWTs as strings, or enveloped ones as objects.
    pub presentation: Vec<Value>,
}

/// A reference to a credential object of the issuer's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialReference {
    /// Its id.
    pub id: String,
}

/// A holder asks an issuer for credentials (6.4.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRequestMessage {
    /// JSON-LD contexts.
    #[serde(rename = "@context")]
    pub context: Context,
    /// Always `CredentialRequestMessage`.
    #[serde(rename = "type")]
    pub message_type: types::CredentialRequestMessage,
    /// The holder's id of the request.
    pub holder_pid: String,
    /// What is asked for.
    pub credentials: Vec<CredentialReference>,
}

/// Outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// All credentials are here.
    Issued,
    /// None will come.
    Rejected,
}

/// A credential in a delivery (6.5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialContainer {
    /// Its type.
    pub credential_type: String,
    /// Its format: profile alias or format name.
    pub format: String,
    /// The credential: a JWT.
    pub payload: String,
}

/// An issuer delivers credentials, or rejects the request (6.5.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialMessage {
    /// JSON-LD contexts.
    #[serde(rename = "@context")]
    pub context: Context,
    /// Always `CredentialMessage`.
    #[serde(rename = "type")]
    pub message_type: types::CredentialMessage,
    /// The issuer's id of the request.
    pub issuer_pid: String,
    /// The holder's id of the request; optional in the specification, but nothing else tells which request is meant.
    pub holder_pid: String,
    /// Outcome.
    pub status: DeliveryStatus,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection_reason: Option<String>,
    /// The credentials.
    #[serde(default)]
    pub credentials: Vec<CredentialContainer>,
}

/// A credential object in an offer (6.6.2). What it does not say is in the issuer's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferedCredential {
    /// Its id.
    pub id: String,
    /// Always `CredentialObject`; not looked at.
    #[serde(rename = "type", skip_deserializing)]
    pub object_type: types::CredentialObject,
    /// Type of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_type: Option<String>,
    /// Schema of its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_schema: Option<String>,
    /// What it is bound to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binding_methods: Vec<String>,
    /// Alias of its profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Why it is offered, for example `reissue` or `proof-key-revocation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_reason: Option<String>,
}

/// An issuer offers credentials (6.6.1). Objects may be sparse, with an `id` only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialOfferMessage {
    /// JSON-LD contexts.
    #[serde(rename = "@context")]
    pub context: Context,
    /// Always `CredentialOfferMessage`.
    #[serde(rename = "type")]
    pub message_type: types::CredentialOfferMessage,
    /// Which offer it is, when the issuer tells them apart.
    #[serde(rename = "@id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who offers.
    pub issuer: Did,
    /// What is offered.
    pub credentials: Vec<OfferedCredential>,
}

impl Message for PresentationQueryMessage {
    fn is_whole(&self) -> bool {
        self.scope.is_some() || self.presentation_definition.is_some()
    }
}

impl Message for PresentationResponseMessage {}

impl Message for CredentialRequestMessage {}

impl Message for CredentialMessage {
    fn is_whole(&self) -> bool {
        match self.status {
            DeliveryStatus::Issued => !self.credentials.is_empty(),
            DeliveryStatus::Rejected => self.rejection_reason.is_some(),
        }
    }
}

impl Message for CredentialOfferMessage {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn contexts_are_known_and_hold_the_protocols_own() {
        let read = |context: Value| from_value::<Context>(context);
        for good in [json!([DCP_CONTEXT]), json!([SUBMISSION_CONTEXT, DCP_CONTEXT])] {
            assert!(read(good.clone()).is_ok(), "{good}");
        }
        let other = "https://example.com/context.jsonld";
        for bad in [
            json!(null),
            json!([]),
            json!(DCP_CONTEXT),
            json!([SUBMISSION_CONTEXT]),
            json!([other]),
            json!([DCP_CONTEXT, other]),
            json!([DCP_CONTEXT, {"scope": "https://example.com"}]),
            json!(vec![DCP_CONTEXT; MAX_CONTEXTS + 1]),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        let messages = [
            "PresentationQueryMessage",
            "PresentationResponseMessage",
            "CredentialRequestMessage",
            "CredentialMessage",
            "CredentialOfferMessage",
        ];
        for kind in messages {
            let accepted = |context: Value| {
                let message = json!({"@context": context, "type": kind, "scope": [], "presentation": [], "holderPid": "h", "issuerPid": "i",
                    "status": "ISSUED", "issuer": "did:web:i", "credentials": []});
                match kind {
                    "PresentationQueryMessage" => from_value::<PresentationQueryMessage>(message).is_ok(),
                    "PresentationResponseMessage" => from_value::<PresentationResponseMessage>(message).is_ok(),
                    "CredentialRequestMessage" => from_value::<CredentialRequestMessage>(message).is_ok(),
                    "CredentialMessage" => from_value::<CredentialMessage>(message).is_ok(),
                    _ => from_value::<CredentialOfferMessage>(message).is_ok(),
                }
            };
            assert!(accepted(json!([DCP_CONTEXT])) && !accepted(json!([])) && !accepted(json!([DCP_CONTEXT, other])), "{kind}");
        }
        assert_eq!(serde_json::to_value(context()).unwrap(), json!([DCP_CONTEXT]));
    }

    #[test]
    fn objects_of_offers_say_what_they_say() {
        let read = |object: Value| {
            let message =
                json!({"@context": [DCP_CONTEXT], "type": "CredentialOfferMessage", "issuer": "did:web:i", "credentials": [object]});
            from_value::<CredentialOfferMessage>(message).map(|offer| serde_json::to_value(&offer.credentials[0]).unwrap())
        };
        let whole = json!({"id": "a", "type": "CredentialObject", "credentialType": "Member", "credentialSchema": "https://i.example/s",
            "offerReason": "reissue", "bindingMethods": ["did:web"], "profile": "vc20-bssl/jwt"});
        assert_eq!(read(whole.clone()).unwrap(), whole);
        let mut more = whole.clone();
        more["issuancePolicy"] = json!({"id": "x"});
        assert_eq!(read(more).unwrap(), whole);
        for sparse in [json!({"id": "a"}), json!({"id": "a", "type": "CredentialObject", "profiles": ["x"], "offerReason": null})] {
            assert_eq!(read(sparse).unwrap(), json!({"id": "a", "type": "CredentialObject"}));
        }
        for bad in [json!({}), json!({"id": "a", "credentialType": 1}), json!({"id": "a", "offerReason": ["reissue"]}), json!("a")] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_null_definition_counts_as_given() {
        let query = |extra: Value| {
            let mut message = json!({"@context": [DCP_CONTEXT], "type": "PresentationQueryMessage"});
            message.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            from_value::<PresentationQueryMessage>(message).unwrap()
        };
        assert!(query(json!({"scope": ["a"]})).presentation_definition.is_none());
        assert!(query(json!({"presentationDefinition": null})).presentation_definition.is_some());
    }

    #[test]
    fn messages_of_other_types_or_with_gaps_are_refused() {
        let message =
            json!({"@context": [DCP_CONTEXT], "type": "CredentialMessage", "issuerPid": "i", "holderPid": "h", "status": "ISSUED"});
        assert!(from_value::<CredentialMessage>(message.clone()).is_ok());
        for (name, value) in [("type", json!("CredentialRequestMessage")), ("status", json!("INVALID_STATUS")), ("holderPid", json!(null))]
        {
            let mut bad = message.clone();
            bad[name] = value;
            assert!(from_value::<CredentialMessage>(bad).is_err(), "{name}");
        }
        let offer = json!({"@context": [DCP_CONTEXT], "type": "CredentialOfferMessage", "issuer": null, "credentials": [{"id": "a"}]});
        assert!(from_value::<CredentialOfferMessage>(offer).is_err());
    }
}
