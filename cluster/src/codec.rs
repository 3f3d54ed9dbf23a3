//! The stored form of a row: self-describing JSON with a format level, the tenant and the trace that wrote it.

use bytes::Bytes;
use cellspace_schemas::TraceContext;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The level this build writes; rows of a higher level are refused, never guessed at.
pub(crate) const FORMAT: u16 = 1;

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
    #[error("row of format level {0}, this build reads up to {FORMAT}")]
    Newer(u16),
    #[error("unreadable row: {0}")]
    Unreadable(String),
}

pub(crate) fn seal<T: Serialize>(body: &T, tenant: Option<&str>, trace: Option<&TraceContext>) -> Result<Bytes, CodecError> {
    let sealed = Sealed { v: FORMAT, tenant, trace, body };
    serde_json::to_vec(&sealed).map(Bytes::from).map_err(|e| CodecError::Unreadable(e.to_string()))
}

pub(crate) fn open<T: DeserializeOwned>(value: &[u8]) -> Result<Opened<T>, CodecError> {
    match serde_json::from_slice::<Opened<T>>(value) {
        Ok(opened) if opened.v > FORMAT => Err(CodecError::Newer(opened.v)),
        Ok(opened) => Ok(opened),
        // A newer level may well have another body: say so rather than "unreadable".
        Err(e) => match serde_json::from_slice::<Level>(value) {
            Ok(Level { v }) if v > FORMAT => Err(CodecError::Newer(v)),
            _ => Err(CodecError::Unreadable(e.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let row = seal(&"x", Some("t"), None).unwrap();
        assert_eq!(open::<String>(&row).unwrap().body, "x");
        assert!(matches!(open::<String>(br#"{"v":2,"body":{"new":1}}"#), Err(CodecError::Newer(2))));
        assert!(matches!(open::<String>(br#"{"v":2,"body":"x"}"#), Err(CodecError::Newer(2))));
        assert!(matches!(open::<String>(b"{"), Err(CodecError::Unreadable(_))));
        assert!(matches!(open::<String>(br#"{"body":"x"}"#), Err(CodecError::Unreadable(_))), "a row must say its level");
    }
}
