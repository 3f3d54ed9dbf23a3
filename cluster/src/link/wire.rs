//! What goes over the link: one HTTP/2 request for each message, JSON in both directions, within bounds; and requests of clients as they came in, with a
//! header that says on whose behalf. Every request and every answer says which version of this it is; another one is refused, whatever it says.

use bytes::{Bytes, BytesMut};
use cellspace_storage::Member;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{error::Error, time::Duration};

/// Version of what nodes say to each other.
pub const WIRE_VERSION: u16 = 2;
/// Largest message of the membership, in bytes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;
/// Largest call of an agent, and largest answer to that or to a question for slots or for agents.
const MAX_CALL: usize = 16 << 20;
/// What the names of headers begin with that nodes alone say to each other.
const OWN: &str = "cellspace-";
/// Header with the version.
const VERSION: HeaderName = HeaderName::from_static("cellspace-wire");

/// After so long a connection takes nothing new, and the peer makes another: its certificate is looked at again, and whether this node's have changed.
pub(super) const AGE: Duration = Duration::from_secs(300);

/// Shows a view.
pub(super) const SHOW: &str = "/show";
/// Asks for slots.
pub(super) const ASK: &str = "/ask";
/// Says that there is news.
pub(super) const NEWS: &str = "/news";
/// Asks for something of an agent.
pub(super) const CALL: &str = "/call";
/// Asks which agents are parked.
pub(super) const PARKED: &str = "/parked";

/// What a stream may hold that its receiver has not taken; all of a connection's together never hold another one up.
pub(super) const STREAM_WINDOW: u32 = 64 << 10;
pub(super) const CONNECTION_WINDOW: u32 = 1 << 30;

/// What goes wrong with a body.
pub type BoxError = Box<dyn Error + Send + Sync>;
/// A body on the link.
pub type LinkBody = UnsyncBoxBody<Bytes, BoxError>;

/// Asks a peer for slots.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    /// Which life of the node is meant.
    pub to: Member,
    pub slots: Vec<u16>,
    /// The view under which who asks owns them.
    pub version: u64,
}

/// Longest message at the path, in bytes.
pub(super) fn most(path: &str) -> usize {
    if path == CALL { MAX_CALL } else { MAX_MESSAGE }
}

/// Longest answer there.
pub(super) fn most_answered(path: &str) -> usize {
    if [CALL, ASK, PARKED].contains(&path) { MAX_CALL } else { MAX_MESSAGE }
}

pub(super) fn body(bytes: impl Into<Bytes>) -> LinkBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The same, which keeps something until it has been taken.
pub(super) fn holding<T: Send + 'static>(body: LinkBody, held: T) -> LinkBody {
    let keeps = move |error| {
        let _ = &held;
        error
    };
    body.map_err(keeps).boxed_unsync()
}

/// Says which version this node speaks.
pub(super) fn mark(headers: &mut HeaderMap, version: u16) {
    headers.insert(VERSION, HeaderValue::from(version));
}

/// Takes out what only nodes say to each other: nobody else is believed who says it, and nobody else hears it.
pub(super) fn strip(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(OWN)).cloned().collect();
    own.into_iter().for_each(|name| drop(headers.remove(name)));
}

/// Refuses what another version says.
///
/// # Errors
/// What is spoken there and here.
pub(super) fn check(headers: &HeaderMap, own: u16) -> Result<(), String> {
    let said = headers.get(VERSION).and_then(|value| value.to_str().ok());
    match said.and_then(|text| text.parse::<u16>().ok()) {
        Some(version) if version == own => Ok(()),
        Some(version) if version > own => Err(format!("the peer speaks the newer version {version} of the link, this node speaks {own}")),
        Some(version) => Err(format!("the peer speaks the older version {version} of the link, this node speaks {own}")),
        None => Err(format!("the peer names no version of the link, this node speaks {own}")),
    }
}

/// The whole body, unless it is too large.
pub(super) async fn collect<B>(body: B, limit: usize) -> Result<Bytes, String>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(Limited::new(body, limit));
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| causes(error.as_ref()))?;
        if let Some(data) = frame.data_ref() {
            all.extend_from_slice(data);
        }
    }
    Ok(all.freeze())
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("a message that cannot be read: {error}"))
}

pub(super) fn write(message: &impl Serialize, limit: usize) -> Result<Bytes, String> {
    let bytes = serde_json::to_vec(message).map_err(|error| format!("a message that cannot be written: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("a message of {} bytes, {limit} are the most", bytes.len()));
    }
    Ok(bytes.into())
}

/// An error with what caused it.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}
