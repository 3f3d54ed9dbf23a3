//! The stored form of a row: self-describing JSON with a format level, the tenant and the trace that wrote it.

use bytes::Bytes;
use cellspace_schemas::TraceContext;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The highest level of rows that this build reads and writes; those of a higher one are refused, never guessed at.
pub const LEVEL: u16 = 1;

#[derive(Serialize)]
struct Sealed<'a, T> {
    v: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a TraceContext>,
    body: &'a T,
}

/// A row as read.
#[derive(Deserialize)]
pub(crate) struct Opened<T> {
    v: u16,
    #[serde(default)]
    pub(crate) trace: Option<TraceContext>,
    pub(crate) body: T,
}

#[derive(Deserialize)]
struct Level {
    v: u16,
}

/// Why a row cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("row of format level {found}, this node reads up to {reads}")]
    Newer { found: u16, reads: u16 },
    #[error("unreadable row: {0}")]
    Unreadable(String),
}

/// The row at this level, at which the body is written.
pub(crate) fn seal<T: Serialize>(body: &T, level: u16, tenant: Option<&str>, trace: Option<&TraceContext>) -> Result<Bytes, CodecError> {
    let sealed = Sealed { v: level, tenant, trace, body };
    serde_json::to_vec(&sealed).map(Bytes::from).map_err(|e| CodecError::Unreadable(e.to_string()))
}

/// The row, unless its level is above the one up to which rows are read here.
pub(crate) fn open<T: DeserializeOwned>(value: &[u8], reads: u16) -> Result<Opened<T>, CodecError> {
    match serde_json::from_slice::<Opened<T>>(value) {
        Ok(opened) if opened.v > reads => Err(CodecError::Newer { found: opened.v, reads }),
        Ok(opened) => Ok(opened),
        // A newer level may well have another body: say so rather than "unreadable".
        Err(e) => match serde_json::from_slice::<Level>(value) {
            Ok(Level { v }) if v > reads => Err(CodecError::Newer { found: v, reads }),
            _ => Err(CodecError::Unreadable(e.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let row = seal(&"x", 1, Some("t"), None).unwrap();
        assert_eq!(open::<String>(&row, 1).unwrap().body, "x");
        for newer in [&br#"{"v":2,"body":{"new":1}}"#[..], br#"{"v":2,"body":"x"}"#, &seal(&"x", 2, None, None).unwrap()] {
            assert!(matches!(open::<String>(newer, 1), Err(CodecError::Newer { found: 2, reads: 1 })));
        }
        assert_eq!(open::<String>(br#"{"v":2,"body":"x"}"#, 2).unwrap().body, "x");
        assert!(matches!(open::<String>(b"{", 1), Err(CodecError::Unreadable(_))));
        assert!(matches!(open::<String>(br#"{"body":"x"}"#, 1), Err(CodecError::Unreadable(_))), "a row must say its level");
    }
}
