//! Attested claims and the dotted paths into them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, str::FromStr};

/// What sources attested of one holder.
pub type Claims = Map<String, Value>;

/// Names in a path at most.
const MAX_SEGMENTS: usize = 16;
/// Longest path, in bytes.
const MAX_BYTES: usize = 512;

/// A path such as `onboarding.signed`: member names joined by dots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimPath(Vec<String>);

/// The text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a path is 1 to {MAX_SEGMENTS} names joined by dots, at most {MAX_BYTES} bytes")]
pub struct PathError;

impl ClaimPath {
    /// The value it leads to; `null` is no value.
    #[must_use]
    pub fn get<'a>(&self, claims: &'a Claims) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name)).filter(|value| !value.is_null())
    }

    /// Puts a value there, making the objects on the way; a value that is in the way is replaced.
    pub fn put(&self, into: &mut Claims, value: Value) {
        put(into, &self.0, value);
    }

    /// Its names.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// Whether one of the two leads through the other, so that both cannot be written.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

fn put(object: &mut Claims, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            object.insert(last.clone(), value);
        }
        [name, rest @ ..] => {
            let member = object.entry(name).or_insert(Value::Null);
            let mut inner = match member.take() {
                Value::Object(inner) => inner,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
            };
            put(&mut inner, rest, value);
            *member = Value::Object(inner);
        }
    }
}

impl FromStr for ClaimPath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        let segments: Vec<String> = text.split('.').map(str::to_owned).collect();
        let ok = text.len() <= MAX_BYTES && segments.len() <= MAX_SEGMENTS && segments.iter().all(|s| !s.is_empty());
        if ok { Ok(Self(segments)) } else { Err(PathError) }
    }
}

impl TryFrom<String> for ClaimPath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<ClaimPath> for String {
    fn from(path: ClaimPath) -> Self {
        path.0.join(".")
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn path(text: &str) -> ClaimPath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_lead_to_values() {
        let claims = json!({"onboarding": {"signed": true, "by": null}, "list": [1]}).as_object().unwrap().clone();
        assert_eq!(path("onboarding.signed").get(&claims), Some(&json!(true)));
        for none in ["onboarding.by", "onboarding.signed.deep", "list.0", "missing"] {
            assert_eq!(path(none).get(&claims), None, "{none}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", &"a.".repeat(40), &"x".repeat(600)] {
            assert_eq!(bad.parse::<ClaimPath>(), Err(PathError), "{bad}");
        }
    }

    #[test]
    fn collisions() {
        assert!(path("a.b").collides(&path("a")) && path("a").collides(&path("a.b")) && path("a").collides(&path("a")));
        assert!(!path("a.b").collides(&path("a.bc")));
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]
        #[test]
        fn what_is_put_is_got(paths in proptest::collection::vec("[ab](\\.[ab]){0,3}", 1..6)) {
            let mut claims = Claims::new();
            for (n, text) in paths.iter().enumerate() {
                let path = path(text);
                path.put(&mut claims, json!(n));
                prop_assert_eq!(path.get(&claims), Some(&json!(n)));
            }
        }
    }
}
