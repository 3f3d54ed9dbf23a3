//! Requests of clients that came in at another node than their owner's.
//!
//! They are passed on as they came in, with one header more: at which listener, whose they are, over how many hops, under which view, and how long the
//! client's node waits. A node that does not take one says so in a header: nothing was done.

use super::wire::{self, LinkBody};
use crate::remote::LONGEST;
use cellspace_schemas::Owner;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a request was passed on.
const FORWARDED: HeaderName = HeaderName::from_static("cellspace-forwarded");
/// Why a node does not take it.
const ELSEWHERE: HeaderName = HeaderName::from_static("cellspace-elsewhere");

/// In the extensions of an answer: it says that this node does not take the request.
#[derive(Debug, Clone)]
struct NotHere(String);

/// How a request came from another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// At which listener it came in.
    pub listener: String,
    /// Whose it is: the owner of the slot.
    pub owner: Owner,
    /// The view that the sender has applied.
    pub view: u64,
    /// Hops with this one.
    pub hops: u8,
    /// How long its answer is waited for, in milliseconds.
    pub left: u64,
    /// How long its client has waited by now, in milliseconds.
    #[serde(default)]
    pub waited: u64,
}

/// Answers requests that came in at other nodes, and takes in their news.
pub trait Requests: Send + Sync + 'static {
    /// As if it had come in at that listener here.
    fn forwarded(&self, how: Forwarded, request: Request<Incoming>) -> BoxFuture<'static, Response<LinkBody>>;

    /// Whether news are of the whole installation, so that nodes of other cells tell them too.
    fn is_of_all(&self, news: &str) -> bool;

    /// There is news of this kind.
    fn announced(&self, news: String) -> BoxFuture<'static, ()>;
}

impl Forwarded {
    /// So long it is waited for.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.left).min(LONGEST)
    }

    pub(super) fn put(&self, headers: &mut HeaderMap) {
        // Owners are opaque text: JSON of ASCII alone stands in a header.
        let text: String = serde_json::to_string(self).unwrap_or_default();
        let ascii = text.chars().fold(String::with_capacity(text.len()), |mut ascii, c| {
            if c.is_ascii() {
                ascii.push(c);
            } else {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
            }
            ascii
        });
        if let Ok(value) = HeaderValue::from_str(&ascii) {
            headers.insert(FORWARDED, value);
        }
    }

    /// Takes it out of a request's headers; `None` when there is none.
    pub(super) fn take(headers: &mut HeaderMap) -> Option<Result<Self, String>> {
        let value = headers.remove(FORWARDED)?;
        Some(serde_json::from_slice(value.as_bytes()).map_err(|error| format!("a forwarded request without a readable head: {error}")))
    }

    /// Marks an answer: this node does not take the request, and nothing was done.
    pub fn not_here<B>(answer: &mut Response<B>, reason: &str) {
        answer.extensions_mut().insert(NotHere(reason.to_owned()));
    }

    /// Says in a header how an answer is marked, and nothing else that only nodes say: whatever an answer is made of.
    pub(super) fn tell<B>(answer: &mut Response<B>) {
        wire::strip(answer.headers_mut());
        if let Some(NotHere(reason)) = answer.extensions_mut().remove() {
            let ascii: String = reason.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
            answer.headers_mut().insert(ELSEWHERE, HeaderValue::from_str(&ascii).unwrap_or(HeaderValue::from_static("elsewhere")));
        }
    }

    /// The reason, when an answer is so marked.
    pub(super) fn elsewhere<B>(answer: &mut Response<B>) -> Option<String> {
        let reason = answer.headers_mut().remove(ELSEWHERE)?;
        Some(reason.to_str().unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_again() {
        let how = |owner: &str| Forwarded {
            listener: "public".into(),
            owner: Owner::new(owner).unwrap(),
            view: 7,
            hops: 2,
            left: 35_000,
            waited: 700,
        };
        for owner in ["p1", "a/b-c", "\u{e4}\u{1f600}\"\\"] {
            let mut headers = HeaderMap::new();
            how(owner).put(&mut headers);
            assert_eq!(Forwarded::take(&mut headers), Some(Ok(how(owner))), "{owner}");
            assert!(headers.is_empty() && Forwarded::take(&mut headers).is_none());
        }
        let mut headers = HeaderMap::from_iter([(FORWARDED, HeaderValue::from_static("public 7"))]);
        assert!(matches!(Forwarded::take(&mut headers), Some(Err(_))));
        // As nodes say it that do not know how long a client has waited.
        let earlier = r#"{"listener":"public","owner":"p1","view":7,"hops":2,"left":35000}"#;
        let mut headers = HeaderMap::from_iter([(FORWARDED, HeaderValue::from_static(earlier))]);
        assert_eq!(Forwarded::take(&mut headers), Some(Ok(Forwarded { waited: 0, ..how("p1") })));
        let mut answer = Response::new(());
        assert_eq!(Forwarded::elsewhere(&mut answer), None);
        Forwarded::not_here(&mut answer, "moved \u{e4}\n");
        Forwarded::tell(&mut answer);
        assert_eq!(Forwarded::elsewhere(&mut answer).as_deref(), Some("moved "));
        // Nobody else says it, whatever it puts into its headers.
        answer.headers_mut().insert(ELSEWHERE, HeaderValue::from_static("moved"));
        Forwarded::tell(&mut answer);
        assert!(Forwarded::elsewhere(&mut answer).is_none() && answer.headers().is_empty());
    }
}
