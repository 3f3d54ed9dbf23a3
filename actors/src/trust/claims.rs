//! Registered JWT claims as they come from outside (RFC 7519, 4.1).

use cellspace_schemas::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use std::fmt;

/// A `NumericDate`: seconds since the epoch, fractions allowed. Kept to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate(pub Timestamp);

/// Far beyond any date that is meant, far within what can be added to.
const MAX_SECONDS: f64 = 1e11;

impl NumericDate {
    /// The date so many seconds after the epoch; `None` when none is meant.
    #[must_use]
    pub fn of(seconds: f64) -> Option<Self> {
        if !(0.0..=MAX_SECONDS).contains(&seconds) {
            return None;
        }
        // In range by the check above; rounding down shortens validity by less than a millisecond.
        #[allow(clippy::cast_possible_truncation)]
        let millis = (seconds * 1000.0).floor() as i64;
        Some(Self(Timestamp(millis)))
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(f64::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("not a NumericDate"))
    }
}

/// One text or a list of them, as `aud` may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl OneOrMany {
    /// Whether it is this text and nothing else: a token for several audiences could be passed on by one of them.
    #[must_use]
    pub fn is_only(&self, text: &str) -> bool {
        matches!(self.0.as_slice(), [one] if one == text)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, json};

    #[test]
    fn dates_are_read_and_bounded() {
        assert_eq!(from_str::<NumericDate>("1790000000").unwrap().0, Timestamp::from_seconds(1_790_000_000));
        assert_eq!(from_str::<NumericDate>("1790000000.25").unwrap().0, Timestamp(1_790_000_000_250));
        for bad in ["-1", "1e300", "\"1790000000\"", "null", "99999999999999999999"] {
            assert!(from_str::<NumericDate>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_single_audience_counts() {
        let read = |v: serde_json::Value| serde_json::from_value::<OneOrMany>(v).unwrap();
        assert!(read(json!("a")).is_only("a"));
        assert!(read(json!(["a"])).is_only("a"));
        for other in [json!([]), json!("b"), json!(["a", "b"]), json!(["a", "a"])] {
            assert!(!read(other).is_only("a"));
        }
    }
}
