//! Small serde helpers of the fabric's wire types.

use serde::{Deserialize, Deserializer};

/// `null` reads as the default.
pub fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An identifier; `null` and the empty text count as absent.
pub fn blank_as_none<'de, D: Deserializer<'de>, T: TryFrom<String, Error: std::fmt::Display>>(d: D) -> Result<Option<T>, D::Error> {
    match Option::<String>::deserialize(d)?.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => T::try_from(text).map(Some).map_err(serde::de::Error::custom),
    }
}

/// [`crate::Timestamp`] as RFC 3339 text.
pub mod date_time {
    use crate::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the text.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.to_rfc3339())
    }

    /// Reads the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not an RFC 3339 date-time")))
    }
}
