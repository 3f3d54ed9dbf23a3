//! A secret on its way from a request to the vault.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::Zeroizing;

/// A secret that arrives in a body or header. It is written only where it is sealed; it never shows in logs; its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself, for the vault.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", SecretText::new("s3cret")), "SecretText(..)");
    }

    #[test]
    fn memory_is_wiped_on_drop() {
        const fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&SecretText::new("s3cret").0);
    }

    #[test]
    fn it_is_written_and_read_as_a_text() {
        let secret: SecretText = serde_json::from_str("\"s3cret\"").unwrap();
        assert_eq!((secret.expose(), serde_json::to_string(&secret).unwrap().as_str()), ("s3cret", "\"s3cret\""));
        assert!(serde_json::from_str::<SecretText>("7").is_err());
    }
}
