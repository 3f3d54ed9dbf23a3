//! Why something ended or was refused, in errors and in messages that end something.

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::Value;

/// Longest `code`, in bytes.
pub const MAX_CODE_BYTES: usize = 2 << 10;
/// Reasons of one message at most.
pub const MAX_REASONS: usize = 32;
/// Longest text made of the reasons, in characters.
pub const MAX_REASON_CHARS: usize = 1_000;

/// Why something ended or was refused: texts, or what the sender put in their place.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Reasons(Vec<Value>);

impl Reasons {
    /// One reason in words.
    #[must_use]
    pub fn of(text: impl Into<String>) -> Self {
        Self(vec![Value::String(text.into())])
    }

    /// Whether none is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in one line of at most [`MAX_REASON_CHARS`] characters, without control characters; `None` when none is given.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let words = self.0.iter().map(|reason| match reason {
            Value::String(text) => text.clone(),
            Value::Object(map) if map.get("@value").is_some_and(Value::is_string) => {
                map.get("@value").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            other => other.to_string(),
        });
        let line = words.collect::<Vec<_>>().join("; ");
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_CHARS).collect();
        (!line.trim().is_empty()).then_some(line)
    }
}

impl<'de> Deserialize<'de> for Reasons {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::default()),
            Value::Array(reasons) if reasons.len() <= MAX_REASONS => Ok(Self(reasons)),
            Value::Array(_) => Err(D::Error::custom(format!("at most {MAX_REASONS} reasons"))),
            // A set of one may stand without brackets (JSON-LD 1.1, 4.3).
            one @ (Value::String(_) | Value::Object(_)) => Ok(Self(vec![one])),
            Value::Bool(_) | Value::Number(_) => Err(D::Error::custom("reason must be an array")),
        }
    }
}

/// Reads a bounded `code`.
pub(super) fn code<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let code = Option::<String>::deserialize(deserializer)?;
    if code.as_ref().is_some_and(|c| c.len() > MAX_CODE_BYTES) {
        return Err(D::Error::custom(format!("code has at most {MAX_CODE_BYTES} bytes")));
    }
    Ok(code)
}
