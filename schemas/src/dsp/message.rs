//! Reading and writing of protocol messages (DSP 2025-1, schemas of `common`, `negotiation`, `transfer`, `catalog`).

use crate::{
    MessageId,
    json::{MAX_DEPTH, is_too_deep},
    jsonld::{self, DSP, JsonLdError, Others},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use std::fmt;

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
    #[error("@context must be an array that contains {CONTEXT}")]
    NoContext,
    /// JSON-LD that cannot be brought into the compact form.
    #[error(transparent)]
    JsonLd(#[from] JsonLdError),
    /// Another message.
    #[error("@type must be {expected}, not {found:?}")]
    WrongType {
        /// What the endpoint takes.
        expected: &'static str,
        /// What it got.
        found: String,
    },
}

/// What a message says of its own form.
#[derive(Debug, Default)]
struct Header {
    context: Option<Value>,
    kind: Option<Value>,
    id: Option<Value>,
    /// Whether a property is spelled as an IRI, or with a prefix.
    foreign: bool,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;

        impl<'de> Visitor<'de> for OfObject {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(key) = map.next_key()? {
                    let (place, name) = match key {
                        Key::Context => (&mut header.context, "@context"),
                        Key::Kind => (&mut header.kind, "@type"),
                        Key::Id => (&mut header.id, "@id"),
                        Key::Foreign | Key::Plain => {
                            header.foreign |= key == Key::Foreign;
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if place.replace(map.next_value()?).is_some() {
                        return Err(A::Error::duplicate_field(name));
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(OfObject)
    }
}

/// A property's name, as far as the header is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Context,
    Kind,
    Id,
    Foreign,
    Plain,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;

        impl Visitor<'_> for OfText {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Key, E> {
                Ok(match name {
                    "@context" => Key::Context,
                    "@type" => Key::Kind,
                    "@id" => Key::Id,
                    name if name.contains(':') => Key::Foreign,
                    _ => Key::Plain,
                })
            }
        }

        deserializer.deserialize_identifier(OfText)
    }
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
    // An expanded document is an array.
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        let header: Header = serde_json::from_slice(bytes).map_err(malformed)?;
        if is_compact(header.context.as_ref(), header.kind.as_ref(), header.foreign, profile_contexts)? {
            check_type::<T>(header.kind.as_ref())?;
            let id = header.id.filter(|id| !id.is_null()).map(serde_json::from_value).transpose().map_err(malformed)?;
            return Ok(Received { id, body: serde_json::from_slice(bytes).map_err(malformed)? });
        }
    }
    let document: Value = serde_json::from_slice(bytes).map_err(malformed)?;
    let mut message = jsonld::compact(&DSP, &document, profile_contexts, Others::LeftOut)?;
    check_type::<T>(message.get("@type"))?;
    let id = message.remove("@id").map(serde_json::from_value).transpose().map_err(malformed)?;
    Ok(Received { id, body: serde_json::from_value(Value::Object(message)).map_err(malformed)? })
}

fn check_type<T: Message>(kind: Option<&Value>) -> Result<(), MessageError> {
    if kind.and_then(Value::as_str) == Some(T::TYPE) { Ok(()) } else { Err(wrong_type(T::TYPE, kind)) }
}

/// Another type than the expected one.
pub(super) fn wrong_type(expected: &'static str, kind: Option<&Value>) -> MessageError {
    let mut found = kind.map_or_else(|| "nothing".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    found.truncate(found.floor_char_boundary(80));
    MessageError::WrongType { expected, found }
}

/// Whether a document is in the compact form, by its `@context`, its `@type`, and whether any other of its names is `foreign`: known contexts alone, the
/// protocol's own among them, and names that are terms.
///
/// # Errors
/// A context that is not known; no context, and names that need one.
pub(super) fn is_compact(
    context: Option<&Value>,
    kind: Option<&Value>,
    foreign: bool,
    profile_contexts: &[String],
) -> Result<bool, MessageError> {
    let foreign = foreign || kind.and_then(Value::as_str).is_none_or(|kind| kind.contains(':'));
    let contexts = match context {
        Some(Value::Array(contexts)) if contexts.len() <= MAX_CONTEXTS => contexts,
        Some(Value::Object(_)) => return Ok(false),
        None if foreign && kind.is_some() => return Ok(false),
        _ => return Err(MessageError::NoContext),
    };
    let mut ours = false;
    for entry in contexts {
        let Some(name) = entry.as_str() else {
            return Ok(false);
        };
        ours |= name == CONTEXT;
        let known = matches!(name, CONTEXT | ODRL_PROFILE_CONTEXT | EDC_CONTEXT) || profile_contexts.iter().any(|p| p == name);
        if !known {
            return Err(JsonLdError::UnknownContext(name.chars().take(120).collect()).into());
        }
    }
    match (ours, foreign) {
        (true, foreign) => Ok(!foreign),
        (false, true) if kind.is_some() => Ok(false),
        (false, _) => Err(MessageError::NoContext),
    }
}

/// The `@context` of what is sent in a dataspace profile: the protocol's own, and behind it those that the profile has beside that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentContext {
    urls: Box<[String]>,
    text: Box<str>,
}

impl Default for SentContext {
    /// The protocol's own alone.
    fn default() -> Self {
        Self::of(&[])
    }
}

impl SentContext {
    /// That of a profile with these contexts.
    #[must_use]
    pub fn of(profile_contexts: &[String]) -> Self {
        let mut urls = vec![CONTEXT.to_owned()];
        // Messages have no more; profiles of earlier builds may.
        for url in profile_contexts {
            if urls.len() < MAX_CONTEXTS && !urls.contains(url) {
                urls.push(url.clone());
            }
        }
        Self { text: Value::from(urls.as_slice()).to_string().into(), urls: urls.into() }
    }

    /// As JSON text, a list of URLs.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[derive(Serialize)]
struct Outgoing<'a, T> {
    #[serde(rename = "@context")]
    context: &'a [String],
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a MessageId>,
    #[serde(flatten)]
    body: &'a T,
}

/// Writes a message with the contexts of its profile.
///
/// # Errors
/// When the body cannot be written as JSON, which no message type here can cause.
pub fn render<T: Message + Serialize>(body: &T, id: Option<&MessageId>, context: &SentContext) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Outgoing { context: &context.urls, kind: T::TYPE, id, body })
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
        let text = render(&Ping { word: "hi".into() }, Some(&id), &SentContext::default()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value, json!({"@context": [CONTEXT], "@type": "Ping", "@id": "m-1", "word": "hi"}));
        let back = read::<Ping>(&text, &[]).unwrap();
        assert_eq!((back.id, back.body.word.as_str()), (Some(id), "hi"));
    }

    #[test]
    fn a_profile_sends_its_own_contexts_too() {
        let own = ["https://example.com/a", CONTEXT, "https://example.com/\"b\"", "https://example.com/a"].map(str::to_owned);
        let context = SentContext::of(&own);
        let expected = json!([CONTEXT, own[0], own[2]]);
        assert_eq!(context.text(), expected.to_string());
        let many: Vec<String> = (0..MAX_CONTEXTS).map(|n| format!("https://example.com/{n}")).collect();
        let sent: Vec<String> = serde_json::from_str(SentContext::of(&many).text()).unwrap();
        assert_eq!(sent, [&[CONTEXT.to_owned()][..], &many[..MAX_CONTEXTS - 1]].concat(), "no more than a receiver takes");
        let text = render(&Ping { word: "hi".into() }, None, &context).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["@context"], expected);
        assert!(read::<Ping>(&text, &own).is_ok() && read::<Ping>(&text, &[]).is_err());
        assert_eq!(SentContext::default().text(), json!([CONTEXT]).to_string());
    }

    #[test]
    fn contexts_are_an_exact_set() {
        assert!(read::<Ping>(&ping(json!([CONTEXT]), "Ping"), &[]).is_ok());
        assert!(read::<Ping>(&ping(json!([EDC_CONTEXT, ODRL_PROFILE_CONTEXT, CONTEXT]), "Ping"), &[]).is_ok());
        let own = "https://example.com/context.jsonld".to_owned();
        assert_eq!(read::<Ping>(&ping(json!([CONTEXT, own]), "Ping"), &[]), Err(JsonLdError::UnknownContext(own.clone()).into()));
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
