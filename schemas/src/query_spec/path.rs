//! Paths to fields: dot-separated names, quoted names, list positions, IRIs.

use crate::violation::Violation;
use serde_json::{Map, Value};
use std::{fmt, str::FromStr};

/// Namespace of the Management API's own terms; a name in it is the same as the bare name.
pub const EDC_NAMESPACE: &str = "https://w3id.org/edc/v0.0.1/ns/";
/// Longest path in bytes.
const MAX_BYTES: usize = 1024;
/// Names in a path at most.
const MAX_SEGMENTS: usize = 16;

/// A path to a field, such as `policy.permission[0].action`, `privateProperties.'https://example.org/team'` or an IRI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Name(String),
    Position(usize),
}

/// Which paths a type has.
#[derive(Debug, Clone, Copy)]
pub struct PathRules {
    /// Paths that exist, and with them what they begin with: names joined by dots, `*` at the end for anything below.
    pub fields: &'static [&'static str],
    /// Whether any other first name or IRI may be asked for too: it is looked up in the field `properties`.
    pub free_properties: bool,
}

impl PathRules {
    /// Checks that the path can exist.
    ///
    /// # Errors
    /// A violation that names the path.
    pub fn check(&self, path: &FieldPath, at: &str) -> Result<(), Violation> {
        if self.free_properties || self.fields.iter().any(|field| has(field, path)) {
            return Ok(());
        }
        Err(Violation::new(at, format!("{path} is no field of this type")))
    }
}

/// Whether the path is that of the field, a part of it, or one below it where anything may be.
fn has(field: &str, path: &FieldPath) -> bool {
    let mut names = path.segments.iter().filter_map(|segment| match segment {
        Segment::Name(name) => Some(bare(name)),
        Segment::Position(_) => None,
    });
    for known in field.split('.') {
        match names.next() {
            Some(_) if known == "*" => return true,
            Some(name) if name == known => {}
            None => return true,
            Some(_) => return false,
        }
    }
    names.next().is_none()
}

/// A name without the namespace of the API's own terms.
fn bare(name: &str) -> &str {
    name.strip_prefix(EDC_NAMESPACE).or_else(|| name.strip_prefix("edc:")).unwrap_or(name)
}

impl FieldPath {
    /// Every value that the path leads to: lists without a position are looked into.
    #[must_use]
    pub fn values<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = Vec::new();
        walk(root, &self.segments, &mut found);
        if found.is_empty() {
            // An asset's property may be named without saying `properties`.
            if let Some(properties) = root.get("properties") {
                walk(properties, &self.segments, &mut found);
            }
        }
        found
    }

    /// What [`Self::values`] finds in an object that has these `properties` and, apart from them, at most an `@id` and fields with the names `beside`.
    /// `None` when the path may lead to one of those, or to the properties as a whole.
    #[must_use]
    pub fn among<'a>(&self, properties: &'a Map<String, Value>, beside: &[&str]) -> Option<Vec<&'a Value>> {
        let (Segment::Name(first), rest) = self.segments.split_first()? else { return None };
        let (name, mut found) = (bare(first), Vec::new());
        if name == "properties" {
            let (Segment::Name(next), below) = rest.split_first()? else { return None };
            if let Some(inner) = field(properties, next) {
                walk(inner, below, &mut found);
            }
        } else if ["id", "@id"].contains(&name) || beside.iter().any(|field| *field == name || field == first) {
            return None;
        }
        if let (true, Some(inner)) = (found.is_empty(), field(properties, first)) {
            walk(inner, rest, &mut found);
        }
        Some(found)
    }

    /// Whether the path is this field, however its name is spelled.
    #[must_use]
    pub fn names(&self, field: &str) -> bool {
        matches!(self.segments.as_slice(), [Segment::Name(name)] if bare(name) == field || (field == "id" && name == "@id"))
    }

    /// The first value that the path leads to.
    #[must_use]
    pub fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.values(root).into_iter().next()
    }
}

fn walk<'a>(value: &'a Value, segments: &[Segment], found: &mut Vec<&'a Value>) {
    let Some((segment, rest)) = segments.split_first() else {
        match value {
            Value::Null => {}
            Value::Array(items) => found.extend(items),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => found.push(value),
        }
        return;
    };
    match (segment, value) {
        (Segment::Name(name), Value::Object(fields)) => {
            if let Some(inner) = field(fields, name) {
                walk(inner, rest, found);
            }
        }
        (Segment::Name(_), Value::Array(items)) => items.iter().for_each(|item| walk(item, segments, found)),
        (Segment::Position(n), Value::Array(items)) => {
            if let Some(item) = items.get(*n) {
                walk(item, rest, found);
            }
        }
        (Segment::Name(_) | Segment::Position(_), _) => {}
    }
}

/// The field of this name, however it is spelled there.
fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let bare = bare(name);
    let aliases = [name, bare, if bare == "id" { "@id" } else { bare }];
    aliases.iter().find_map(|name| fields.get(*name)).or_else(|| fields.get(&format!("{EDC_NAMESPACE}{bare}")))
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for FieldPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err("a path has 1 to 1024 bytes");
        }
        let segments = if text.contains("://") && !text.contains('\'') {
            vec![Segment::Name(text.to_owned())]
        } else {
            parse(text).ok_or("a path is made of names, 'quoted names' and [positions], joined by dots")?
        };
        if segments.len() > MAX_SEGMENTS {
            return Err("a path has at most 16 names");
        }
        Ok(Self { text: text.to_owned(), segments })
    }
}

/// `name`, `'any text'`, `name[0]`, joined by dots.
fn parse(text: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        let after_name = if let Some(quoted) = rest.strip_prefix('\'') {
            let end = quoted.find('\'')?;
            let (name, after) = quoted.split_at(end);
            segments.push(Segment::Name(name.to_owned()));
            after.strip_prefix('\'')?
        } else {
            let end = rest.find(['.', '[', '\'']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() {
                return None;
            }
            segments.push(Segment::Name(name.to_owned()));
            after
        };
        rest = after_name;
        while let Some(position) = rest.strip_prefix('[') {
            let (number, after) = position.split_once(']')?;
            segments.push(Segment::Position(number.parse().ok()?));
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Some(segments),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let view = json!({"@id": "a-1", "properties": {"description": "x", "https://ex.org/team": "red", "n": 3},
            "privateProperties": {"https://ex.org/a.b": "dot"}, "list": [{"k": 1}, {"k": 2}], "state": ["STARTED", 600], "none": null});
        let cases = [
            ("id", json!(["a-1"])),
            ("https://w3id.org/edc/v0.0.1/ns/id", json!(["a-1"])),
            ("edc:id", json!(["a-1"])),
            ("properties.description", json!(["x"])),
            ("description", json!(["x"])),
            ("https://w3id.org/edc/v0.0.1/ns/description", json!(["x"])),
            ("https://ex.org/team", json!(["red"])),
            ("'https://ex.org/team'", json!(["red"])),
            ("privateProperties.'https://ex.org/a.b'", json!(["dot"])),
            ("list.k", json!([1, 2])),
            ("list[1].k", json!([2])),
            ("list[7].k", json!([])),
            ("state", json!(["STARTED", 600])),
            ("none", json!([])),
            ("unknown", json!([])),
        ];
        for (path, expected) in cases {
            let path: FieldPath = path.parse().unwrap();
            assert_eq!(json!(path.values(&view)), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path() {
        for bad in ["", ".", "a.", ".a", "a..b", "'a", "a'b'", "a[", "a[x]", "a[0", "a[0]b"] {
            assert!(bad.parse::<FieldPath>().is_err(), "{bad}");
        }
        assert!("a.".repeat(20).parse::<FieldPath>().is_err());
        assert!("a".repeat(2000).parse::<FieldPath>().is_err());
    }

    #[test]
    fn paths_are_checked_against_the_type() {
        let closed = PathRules { fields: &["id", "state", "policy.*", "agreement.policy.*", "callbacks.uri"], free_properties: false };
        let open = PathRules { fields: &["id"], free_properties: true };
        let check = |rules: &PathRules, path: &str| rules.check(&path.parse().unwrap(), "$").is_ok();
        assert!(check(&closed, "id") && check(&closed, "https://w3id.org/edc/v0.0.1/ns/state") && !check(&closed, "colour"));
        for good in [
            "policy",
            "policy.permission[0].action",
            "agreement.policy.target",
            "agreement",
            "callbacks",
            "callbacks[1].uri",
            "policy.'https://x.org/y'",
            "agreement.edc:policy",
        ] {
            assert!(check(&closed, good), "{good}");
        }
        for bad in ["state.name", "id[0].x", "callbacks.url", "callbacks.uri.x", "agreement.id", "'https://x.org/y'.policy"] {
            assert!(!check(&closed, bad), "{bad}");
        }
        assert!(check(&open, "https://ex.org/team") && check(&open, "colour"));
    }
}
