//! Reading and writing of protocol messages (DSP 2025-1, schemas of `common`, `negotiation`, `transfer`, `catalog`).

use crate::{
    MessageId,
    json::{MAX_DEPTH, is_too_deep},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The context of DSP 2025-1: every message names it.
pub const CONTEXT: &str = "https://w3id.org/dspace/2025/1/context.jsonld";
/// The ODRL terms of DSP 2025-1; already imported by [`CONTEXT`].
pub const ODRL_PROFILE_CONTEXT: &str = "https://w3id.org/dspace/2025/1/odrl-profile.jsonld";
/// Terms of the Eclipse connectors, which they add to their messages.
pub const EDC_CONTEXT: &str = "https://w3id.org/edc/dspace/v0.0.1";

/// Largest message read, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Contexts of one message at most.
pub const MAX_CONTEXTS: usize = 8;

/// The body of a message type.
pub trait Message {
    /// Its `@type`.
    const TYPE: &'static str;
}

/// A message as received.
#[derive(Debug, Clone, PartialEq)]
pub struct Received<T> {
    /// Its `@id`, when it has one.
    pub id: Option<MessageId>,
    /// Its body.
    pub body: T,
}

/// Why a text is not the expected message. All of them are the sender's mistakes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too long.
    #[error("a message has at most {MAX_MESSAGE_BYTES} bytes")]
    TooLarge,
    /// Too deep.
    #[error("a message is nested at most {MAX_DEPTH} levels deep")]
    TooDeep,
    /// No JSON, or not of the type's shape.
    #[error("malformed {expected}: {reason}")]
    Malformed {
        /// The expected `@type`.
        expected: &'static str,
        /// Where and why.
        reason: String,
    },
    /// `@context` lacks the protocol's own.
    #[error("@context must be an array of strings that contains {CONTEXT}")]
    NoContext,
    /// `@context` names one that is not known here.
    #[error("unknown @context {0:?}")]
    UnknownContext(String),
    /// Another message.
    #[error("@type must be {expected}, not {found:?}")]
    WrongType {
        /// What the endpoint takes.
        expected: &'static str,
        /// What it got.
        found: String,
    },
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "@context")]
    context: Option<serde_json::Value>,
    #[serde(rename = "@type")]
    kind: Option<serde_json::Value>,
    #[serde(rename = "@id")]
    id: Option<MessageId>,
}

/// Reads a message of type `T`. `profile_contexts` are the contexts that the dataspace profile allows beside the protocol's own.
///
/// # Errors
/// [`MessageError`] says what is wrong with the message.
pub fn read<T: Message + DeserializeOwned>(bytes: &[u8], profile_contexts: &[String]) -> Result<Received<T>, MessageError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLarge);
    }
    if is_too_deep(bytes) {
        return Err(MessageError::TooDeep);
    }
    let malformed = |e: serde_json::Error| MessageError::Malformed { expected: T::TYPE, reason: e.to_string() };
    let header: Header = serde_json::from_slice(bytes).map_err(malformed)?;
    check_context(header.context.as_ref(), profile_contexts)?;
    match header.kind {
        Some(serde_json::Value::String(kind)) if kind == T::TYPE => {}
        other => {
            let mut found = other.map_or_else(|| "nothing".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            found.truncate(found.floor_char_boundary(80));
            return Err(MessageError::WrongType { expected: T::TYPE, found });
        }
    }
    Ok(Received { id: header.id, body: serde_json::from_slice(bytes).map_err(malformed)? })
}

fn check_context(context: Option<&serde_json::Value>, profile_contexts: &[String]) -> Result<(), MessageError> {
    let contexts = context.and_then(serde_json::Value::as_array).filter(|c| c.len() <= MAX_CONTEXTS).ok_or(MessageError::NoContext)?;
    let mut ours = false;
    for entry in contexts {
        let Some(name) = entry.as_str() else {
            return Err(MessageError::UnknownContext("inline context".to_owned()));
        };
        ours |= name == CONTEXT;
        let known = matches!(name, CONTEXT | ODRL_PROFILE_CONTEXT | EDC_CONTEXT) || profile_contexts.iter().any(|p| p == name);
        if !known {
            return Err(MessageError::UnknownContext(name.chars().take(120).collect()));
        }
    }
    if ours { Ok(()) } else { Err(MessageError::NoContext) }
}

#[derive(Serialize)]
struct Outgoing<'a, T> {
    #[serde(rename = "@context")]
    context: [&'static str; 1],
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a MessageId>,
    #[serde(flatten)]
    body: &'a T,
}

/// Writes a message: the protocol's context alone, so that every receiver knows it.
///
/// # Errors
/// When the body cannot be written as JSON, which no message type here can cause.
pub fn render<T: Message + Serialize>(body: &T, id: Option<&MessageId>) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Outgoing { context: [CONTEXT], kind: T::TYPE, id, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ping {
        word: String,
    }
    impl Message for Ping {
        const TYPE: &'static str = "Ping";
    }

    fn ping(context: serde_json::Value, kind: &str) -> Vec<u8> {
        serde_json::to_vec(&json!({"@context": context, "@type": kind, "@id": "urn:uuid:1", "word": "hi", "more": {"a": []}})).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let id = MessageId::new("m-1").unwrap();
        let text = render(&Ping { word: "hi".into() }, Some(&id)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value, json!({"@context": [CONTEXT], "@type": "Ping", "@id": "m-1", "word": "hi"}));
        let back = read::<Ping>(&text, &[]).unwrap();
        assert_eq!((back.id, back.body.word.as_str()), (Some(id), "hi"));
    }

    #[test]
    fn contexts_are_an_exact_set() {
        assert!(read::<Ping>(&ping(json!([CONTEXT]), "Ping"), &[]).is_ok());
        assert!(read::<Ping>(&ping(json!([EDC_CONTEXT, ODRL_PROFILE_CONTEXT, CONTEXT]), "Ping"), &[]).is_ok());
        let own = "https://example.com/context.jsonld".to_owned();
        assert_eq!(read::<Ping>(&ping(json!([CONTEXT, own]), "Ping"), &[]), Err(MessageError::UnknownContext(own.clone())));
        assert!(read::<Ping>(&ping(json!([CONTEXT, own]), "Ping"), &[own]).is_ok());
        for bad in [json!(CONTEXT), json!([]), json!([EDC_CONTEXT]), json!(null), json!([CONTEXT, {"word": "http://x"}])] {
            assert!(read::<Ping>(&ping(bad.clone(), "Ping"), &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_type_is_exact() {
        let wrong = read::<Ping>(&ping(json!([CONTEXT]), "Pong"), &[]);
        assert_eq!(wrong, Err(MessageError::WrongType { expected: "Ping", found: "Pong".into() }));
        let none = serde_json::to_vec(&json!({"@context": [CONTEXT], "word": "hi"})).unwrap();
        assert!(matches!(read::<Ping>(&none, &[]), Err(MessageError::WrongType { .. })));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let long = format!("{{\"word\":\"{}\"}}", "x".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(read::<Ping>(long.as_bytes(), &[]), Err(MessageError::TooLarge));
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(read::<Ping>(deep.as_bytes(), &[]), Err(MessageError::TooDeep));
        for bad in [&b""[..], b"{", b"[]", b"{\"word\":1}", b"\xff"] {
            assert!(read::<Ping>(bad, &[]).is_err());
        }
    }
}
