//! Reading of messages of DCP. The compact form is read as it is; only what it does not explain is looked at as JSON-LD.

use super::DCP_CONTEXT;
use crate::{
    json,
    jsonld::{self, DCP, JsonLdError, Others},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json as value};

/// A message that has a compact form.
pub trait Message: DeserializeOwned {
    /// Whether all is there that its compact form needs: where it is not, it may stand under other names.
    fn is_whole(&self) -> bool {
        true
    }
}

/// Why a text is not the expected message. All of them are the sender's mistakes.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// No JSON, too deep, or not of the type's shape.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
    /// JSON-LD that cannot be brought into the compact form.
    #[error(transparent)]
    JsonLd(#[from] JsonLdError),
}

/// Reads a message in any form of JSON-LD, nested at most [`json::MAX_DEPTH`] levels.
///
/// # Errors
/// [`MessageError`] says what is wrong with it.
pub fn read<T: Message>(bytes: &[u8]) -> Result<T, MessageError> {
    let compact = json::from_slice::<T>(bytes);
    if compact.as_ref().is_ok_and(Message::is_whole) {
        return Ok(compact?);
    }
    match json::from_slice::<Value>(bytes) {
        Ok(document) if !is_compact(&document) => {
            let mut message = jsonld::compact(&DCP, &document, &[], Others::LeftOut)?;
            message.insert("@context".to_owned(), value!([DCP_CONTEXT]));
            Ok(serde_json::from_value(Value::Object(message))?)
        }
        _ => Ok(compact?),
    }
}

/// Whether the names of a document are those of the compact form, rightly or not.
fn is_compact(document: &Value) -> bool {
    let named = |object: &Map<String, Value>| {
        let contexts = object.get("@context").and_then(Value::as_array);
        let of_protocol = contexts.is_some_and(|all| all.iter().all(Value::is_string));
        let plain = object.keys().all(|name| name == "@context" || !name.contains([':', '@']));
        of_protocol && plain && object.get("type").and_then(Value::as_str).is_none_or(|kind| !kind.contains(':'))
    };
    document.as_object().is_some_and(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dcp::{
        CredentialMessage, CredentialOfferMessage, CredentialRequestMessage, PresentationQueryMessage, PresentationResponseMessage,
    };
    use serde::Serialize;
    use serde_json::json;

    const NAMESPACE: &str = "https://w3id.org/dspace-dcp/v1.0/";
    const ISSUER: &str = "https://www.w3.org/2018/credentials#issuer";

    /// A message with its terms spelled by `dcp` and the one of another vocabulary as `issuer`, JSON as literals.
    fn spelled(message: &Value, dcp: &dyn Fn(&str) -> String, issuer: &str) -> Value {
        let field = |(name, value): (&String, &Value)| match (name.as_str(), value) {
            ("type", kind) => ("@type".to_owned(), json!([dcp(kind.as_str().unwrap())])),
            ("issuer", id) => (issuer.to_owned(), json!([{ "@id": id }])),
            ("holderPid" | "issuerPid" | "status", id) => (dcp(name), json!({ "@id": id })),
            ("presentationDefinition" | "presentation" | "credentials", literal) => {
                (dcp(name), json!([{"@type": "@json", "@value": literal}]))
            }
            (_, Value::Array(items)) => (dcp(name), items.iter().map(|item| json!({ "@value": item })).collect()),
            (_, literal) => (dcp(name), json!({ "@value": literal })),
        };
        message.as_object().unwrap().iter().filter(|(name, _)| *name != "@context").map(field).collect::<Map<_, _>>().into()
    }

    fn forms(message: &Value) -> Vec<Value> {
        let with = |mut document: Value, context: Value| {
            document["@context"] = context;
            document
        };
        let iris = spelled(message, &|name| format!("{NAMESPACE}{name}"), ISSUER);
        let odd = spelled(message, &|name| format!("d:{name}"), "c:issuer");
        let prefixes = json!({"d": NAMESPACE, "c": "https://www.w3.org/2018/credentials#"});
        let aliases = json!({"d": NAMESPACE, "c": "https://www.w3.org/2018/credentials#", "type": "@type"});
        let mut aliased = with(odd.clone(), aliases);
        aliased["type"] = aliased.as_object_mut().unwrap().remove("@type").unwrap();
        vec![
            iris.clone(),
            json!([iris]),
            with(iris, json!([DCP_CONTEXT])),
            with(odd.clone(), prefixes.clone()),
            with(odd, json!([DCP_CONTEXT, prefixes])),
            aliased,
            with(spelled(message, &|name| format!("dcp:{name}"), "cred:issuer"), json!([DCP_CONTEXT])),
            with(message.clone(), json!([{"x": "https://x.example/"}, DCP_CONTEXT])),
        ]
    }

    fn same<T: Message + Serialize>(message: &Value) {
        let read = |document: &Value| read::<T>(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}: {document}"));
        let expected = serde_json::to_value(read(message)).unwrap();
        for form in forms(message) {
            assert_eq!(serde_json::to_value(read(&form)).unwrap(), expected, "{form}");
        }
    }

    fn message(kind: &str, mut fields: Value) -> Value {
        fields["@context"] = json!([DCP_CONTEXT]);
        fields["type"] = json!(kind);
        fields
    }

    #[test]
    fn every_spelling_of_a_message_is_the_same() {
        let credential = |format: &str| json!({"credentialType": "MembershipCredential", "format": format, "payload": "a.b.c"});
        same::<PresentationQueryMessage>(&message("PresentationQueryMessage", json!({"scope": ["a:b:c", "d"]})));
        same::<PresentationQueryMessage>(&message("PresentationQueryMessage", json!({"presentationDefinition": {"id": "x", "@value": 1}})));
        same::<PresentationResponseMessage>(&message(
            "PresentationResponseMessage",
            json!({"presentation": ["a.b.c", {"@context": "https://www.w3.org/ns/credentials/v2", "id": "data:x"}]}),
        ));
        same::<PresentationResponseMessage>(&message("PresentationResponseMessage", json!({"presentation": []})));
        same::<CredentialRequestMessage>(&message(
            "CredentialRequestMessage",
            json!({"holderPid": "h-1", "credentials": [{"id": "a"}, {"id": "b"}]}),
        ));
        same::<CredentialMessage>(&message(
            "CredentialMessage",
            json!({"issuerPid": "urn:uuid:i", "holderPid": "h-1", "status": "ISSUED", "credentials": [credential("a/b"), credential("c")]}),
        ));
        same::<CredentialMessage>(&message(
            "CredentialMessage",
            json!({"issuerPid": "i", "holderPid": "h-1", "status": "REJECTED", "rejectionReason": "no"}),
        ));
        same::<CredentialOfferMessage>(&message("CredentialOfferMessage", json!({"issuer": "did:web:i", "credentials": [{"id": "a"}]})));
        // Credential objects as nodes, a status of the vocabulary, types of several values.
        let nodes = json!({"@type": [format!("{NAMESPACE}CredentialOfferMessage")], ISSUER: [{"@id": "did:web:i"}],
            format!("{NAMESPACE}credentials"): [{"@id": "a", "@type": [format!("{NAMESPACE}CredentialObject")]}, {"@id": "b"}]});
        let offer = read::<CredentialOfferMessage>(nodes.to_string().as_bytes()).unwrap();
        assert_eq!(offer.credentials.iter().map(|reference| reference.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let query = message("PresentationQueryMessage", json!({"scope": ["a"]}));
        let with = |name: &str, value: Value| {
            let mut message = query.clone();
            message[name] = value;
            message
        };
        for (document, told) in [
            (with("type", json!("CredentialMessage")), "type must be PresentationQueryMessage"),
            (with("@context", json!([DCP_CONTEXT, "https://x.example/c"])), "@context must be an array of known contexts"),
            (with("@context", json!([DCP_CONTEXT, "https://x.example/c", {}])), "unknown @context \"https://x.example/c\""),
            (with("@context", json!([DCP_CONTEXT, {"scope": "https://x.example/c"}])), "\"scope\" is known here"),
            (with("@context", json!([DCP_CONTEXT, {"type": "@id"}])), "\"type\" is known here"),
            (with("@context", json!({"d": NAMESPACE})), "\"scope\" is not defined by @context"),
            (with("@context", json!([])), "@context must be an array of known contexts"),
            (json!([query, query]), "a document is one object"),
            (json!({"@type": format!("{NAMESPACE}CredentialMessage")}), "type must be PresentationQueryMessage"),
            (json!({"@type": "dcp:PresentationQueryMessage"}), "\"dcp:PresentationQueryMessage\" is not defined"),
            (
                json!({"@type": format!("{NAMESPACE}PresentationQueryMessage"), format!("{NAMESPACE}scope"): {"@graph": []}}),
                "\"@graph\" is not",
            ),
            (json!("x"), "a document is one object"),
        ] {
            let error = read::<PresentationQueryMessage>(document.to_string().as_bytes()).expect_err(&document.to_string()).to_string();
            assert!(error.contains(told), "{error:?} does not tell {told:?}: {document}");
        }
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert!(read::<PresentationQueryMessage>(deep.as_bytes()).unwrap_err().to_string().contains("32 levels"));
    }
}
