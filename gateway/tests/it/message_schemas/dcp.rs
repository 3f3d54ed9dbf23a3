//! Messages of the Decentralized Claims Protocol 1.0: what the artifacts of its suite carry of them, and what the specification says of the others.

use super::schemas::{Place, Protocol};
use serde_json::{Value, json};

/// The Decentralized Claims Protocol 1.0.
pub static DCP: Protocol = Protocol {
    base: BASE,
    kind: "type",
    carried: &[
        ("PresentationQueryMessage", "presentation/presentation-query-message-schema.json"),
        ("PresentationResponseMessage", "presentation/presentation-response-message-schema.json"),
    ],
    not_carried,
    elsewhere: &[(
        "https://identity.foundation/presentation-exchange/schemas/presentation-submission.json",
        r#"{"properties": {"presentation_submission": false}}"#,
    )],
    places: &PLACES,
};

const BASE: &str = "https://w3id.org/dspace-dcp/v1.0/";

fn not_carried() -> Vec<(&'static str, Value)> {
    let (text, context) = (json!({"type": "string"}), json!({"$ref": format!("{BASE}common/context-schema.json")}));
    let texts = json!({"type": "array", "items": text});
    let message = |kind: &str, required: &[&str], mut properties: Value| {
        let required = [&["@context", "type"][..], required].concat();
        for (name, schema) in [("@context", context.clone()), ("type", json!({"const": kind}))] {
            properties[name] = schema;
        }
        json!({"type": "object", "required": required, "properties": properties})
    };
    let each = |required: &[&str], properties: Value| json!({"type": "array", "minItems": 1, "items": {"type": "object", "required": required, "properties": properties}});
    let object = json!({"id": text, "type": {"const": "CredentialObject"}, "credentialType": text, "credentialSchema": text, "offerReason": text,
        "bindingMethods": texts, "profile": text, "issuancePolicy": {"type": "object"}});
    let status = |known: &[&str]| json!({ "enum": known });
    vec![
        (
            "CredentialRequestMessage",
            message(
                "CredentialRequestMessage",
                &["holderPid", "credentials"],
                json!({"holderPid": text, "credentials": each(&["id"], json!({"id": text}))}),
            ),
        ),
        (
            "CredentialMessage",
            message(
                "CredentialMessage",
                &["issuerPid", "status"],
                json!({"issuerPid": text, "holderPid": text, "status": status(&["ISSUED", "REJECTED"]), "rejectionReason": text,
                    "credentials": each(&["credentialType", "format", "payload"], json!({"credentialType": text, "format": text, "payload": text}))}),
            ),
        ),
        (
            "CredentialOfferMessage",
            message(
                "CredentialOfferMessage",
                &["issuer", "credentials"],
                json!({"issuer": text, "credentials": each(&["id"], object.clone())}),
            ),
        ),
        (
            "CredentialStatus",
            message(
                "CredentialStatus",
                &["issuerPid", "holderPid", "status"],
                json!({"issuerPid": text, "holderPid": text, "status": status(&["RECEIVED", "REJECTED", "ISSUED"])}),
            ),
        ),
        (
            "IssuerMetadata",
            message(
                "IssuerMetadata",
                &["issuer", "credentialsSupported"],
                json!({"issuer": text, "credentialsSupported": each(&["id", "type", "credentialType", "credentialSchema", "offerReason", "bindingMethods", "profile"], object)}),
            ),
        ),
    ]
}

/// All of the credential service and of the issuer service. The protocol has no body for errors.
const PLACES: [Place; 6] = [
    (
        "POST",
        &["credentials", "v1", "participants", "*", "presentations", "query"],
        Some("PresentationQueryMessage"),
        [Some("PresentationResponseMessage"), None],
    ),
    ("POST", &["credentials", "v1", "participants", "*", "credentials"], Some("CredentialMessage"), [None, None]),
    ("POST", &["credentials", "v1", "participants", "*", "offers"], Some("CredentialOfferMessage"), [None, None]),
    ("POST", &["issuance", "v1beta", "participants", "*", "credentials"], Some("CredentialRequestMessage"), [None, None]),
    ("GET", &["issuance", "v1beta", "participants", "*", "requests", "*"], None, [Some("CredentialStatus"), None]),
    ("GET", &["issuance", "v1beta", "participants", "*", "metadata"], None, [Some("IssuerMetadata"), None]),
];
