//! JSON from outside, bounded in depth before anything is built of it.
//!
//! What is read here may be stored, inside of other objects: the bound leaves room for them below the limit that reading it back has (128 levels).

use memchr::memchr2_iter;
use serde::{Deserialize, de::Error as _};

/// Levels of objects and arrays at most.
pub const MAX_DEPTH: usize = 32;

/// Reads JSON of at most [`MAX_DEPTH`] levels.
///
/// # Errors
/// When it is nested deeper, or not JSON of the type's shape.
pub fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    if is_too_deep(bytes) {
        return Err(serde_json::Error::custom(format_args!("nested more than {MAX_DEPTH} levels deep")));
    }
    serde_json::from_slice(bytes)
}

/// Whether brackets nest deeper than [`MAX_DEPTH`].
#[must_use]
pub fn is_too_deep(bytes: &[u8]) -> bool {
    // Mostly there are too few brackets for that, wherever they stand, which is found faster than where they stand.
    if memchr2_iter(b'{', b'[', bytes).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for b in bytes {
        match (in_string, escaped, b) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (true, false, b'"') => in_string = false,
            (true, false, _) => {}
            (false, _, b'"') => in_string = true,
            (false, _, b'{' | b'[') => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            (false, _, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _, _) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn nested(levels: usize) -> Vec<u8> {
        format!("{}1{}", "[".repeat(levels), "]".repeat(levels)).into_bytes()
    }

    #[test]
    fn depth_is_bounded() {
        assert!(from_slice::<Value>(&nested(MAX_DEPTH)).is_ok());
        let error = from_slice::<Value>(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert!(error.to_string().contains("32 levels"), "{error}");
        // Brackets in texts are none, and a quote that is escaped ends no text.
        let text = format!(r#"{{"a":"{}\"{}"}}"#, "[".repeat(40), "{".repeat(40));
        assert!(from_slice::<Value>(text.as_bytes()).is_ok());
        for bad in [&b""[..], b"{", b"\xff", b"[1,]"] {
            assert!(from_slice::<Value>(bad).is_err());
        }
    }
}
