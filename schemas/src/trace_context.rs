//! W3C trace context (`traceparent`), carried through HTTP, mailboxes, outbox rows, deadlines and events.

use serde::{Deserialize, Serialize};
use std::num::{NonZeroU64, NonZeroU128};

/// A `traceparent` header value of version 00 (W3C Trace Context 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext(String);

impl TraceContext {
    /// Reads a header value; `None` when it is not a valid version-00 `traceparent`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let zero = |s: &str| s.bytes().all(|b| b == b'0');
        let ok =
            parts.next().is_none() && version == "00" && hex(trace, 32) && !zero(trace) && hex(span, 16) && !zero(span) && hex(flags, 2);
        ok.then(|| Self(text.to_owned()))
    }

    /// A span of a new trace, marked sampled.
    #[must_use]
    pub fn new(trace: NonZeroU128, span: NonZeroU64) -> Self {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hex(&mut text, &trace.get().to_be_bytes());
        text.push('-');
        push_hex(&mut text, &span.get().to_be_bytes());
        text.push_str("-01");
        Self(text)
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn with_span(&self, span: NonZeroU64) -> Self {
        let mut text = String::with_capacity(55);
        text.extend(self.0.get(..36));
        push_hex(&mut text, &span.get().to_be_bytes());
        text.extend(self.0.get(52..));
        Self(text)
    }

    /// The header value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trace id: 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.0.get(3..35).unwrap_or_default()
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
}

impl TryFrom<String> for TraceContext {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a traceparent")
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> String {
        context.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_headers() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceContext::parse(good).map(|t| t.trace_id().to_owned()).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [
            "",
            "00-0-0-0",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert!(TraceContext::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn made_of_ids() {
        let (trace, span) = (NonZeroU128::new(0x4bf9 << 112 | 1).unwrap(), NonZeroU64::new(0xf0).unwrap());
        let new = TraceContext::new(trace, span);
        assert_eq!(new.as_str(), "00-4bf90000000000000000000000000001-00000000000000f0-01");
        let unsampled = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap();
        assert_eq!(unsampled.with_span(span).as_str(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000f0-00");
        for made in [new, unsampled.with_span(NonZeroU64::MAX)] {
            assert_eq!(TraceContext::parse(made.as_str()), Some(made));
        }
    }
}
