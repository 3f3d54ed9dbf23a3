//! The border of every Management API body: JSON within bounds, a known `@context`, the right `@type`, then field by field.
//!
//! A [`Reader`] notes every violation instead of stopping at the first, so that a client sees all of them at once.

use crate::violation::{MAX_VIOLATIONS, Violation};
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// The context that every body names.
pub const MANAGEMENT_CONTEXT: &str = "https://w3id.org/edc/connector/management/v2";
/// Contexts that a body may name beside it; their terms are those of the tables of this crate.
pub const ALLOWED_CONTEXTS: [&str; 6] = [
    MANAGEMENT_CONTEXT,
    "https://w3id.org/dspace/2025/1/context.jsonld",
    "https://w3id.org/dspace/2025/1/odrl-profile.jsonld",
    "https://w3id.org/edc/dspace/v0.0.1",
    "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld",
    "http://www.w3.org/ns/odrl.jsonld",
];
/// Levels of nesting in a body at most.
pub const MAX_DEPTH: usize = 32;
/// Values in a body at most.
pub const MAX_VALUES: usize = 20_000;

/// Reads JSON within [`MAX_DEPTH`] and [`MAX_VALUES`]; how many bytes there may be is the listener's business.
///
/// # Errors
/// One violation that says what is wrong.
pub fn parse_json(body: &[u8]) -> Result<Value, Vec<Violation>> {
    let value = serde_json::from_slice(body).map_err(|e| vec![Violation::new("$", format!("malformed JSON: {e}"))])?;
    let mut left = MAX_VALUES;
    if within(&value, MAX_DEPTH, &mut left) {
        return Ok(value);
    }
    Err(vec![Violation::new("$", format!("at most {MAX_DEPTH} levels and {MAX_VALUES} values"))])
}

fn within(value: &Value, depth: usize, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else {
        return false;
    };
    *left = rest;
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| within(item, depth - 1, left)),
        Value::Object(fields) => depth > 0 && fields.values().all(|field| within(field, depth - 1, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Checks a body's `@context`: an array of allowed contexts with [`MANAGEMENT_CONTEXT`] among them.
fn context_violations(context: Option<&Value>) -> Vec<Violation> {
    let path = "$.@context";
    let Some(context) = context else {
        return vec![Violation::new(path, "is required")];
    };
    let Value::Array(items) = context else {
        return vec![Violation::new(path, "must be an array").showing(context)];
    };
    let unknown = items.iter().find(|item| !item.as_str().is_some_and(|text| ALLOWED_CONTEXTS.contains(&text)));
    if let Some(unknown) = unknown {
        return vec![Violation::new(path, "names a context that is not known here").showing(unknown)];
    }
    if items.iter().any(|item| item == MANAGEMENT_CONTEXT) {
        return Vec::new();
    }
    vec![Violation::new(path, format!("must contain {MANAGEMENT_CONTEXT}"))]
}

/// Adds the context to a body that goes out.
#[must_use]
pub fn with_context(mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert("@context".to_owned(), json!([MANAGEMENT_CONTEXT]));
    }
    object
}

/// `IdResponse`: the answer to every create.
#[must_use]
pub fn id_response(id: &str, created_at: crate::Timestamp) -> Value {
    with_context(json!({"@type": "IdResponse", "@id": id, "createdAt": created_at.millis()}))
}

/// Reads the fields of one object and notes what is wrong with them.
#[derive(Debug)]
pub struct Reader<'a> {
    object: &'a Map<String, Value>,
    path: String,
    found: Vec<Violation>,
}

impl<'a> Reader<'a> {
    /// Opens a body whose `@type` must be one of `types`.
    ///
    /// # Errors
    /// When it is no object, or `@context` or `@type` are not right.
    pub fn open(body: &'a Value, types: &[&str]) -> Result<Self, Vec<Violation>> {
        let mut reader = Self::nested(body, "$")?;
        reader.found = context_violations(reader.object.get("@context"));
        reader.expect_type(types);
        if reader.found.is_empty() { Ok(reader) } else { Err(reader.found) }
    }

    /// Opens an object within a body, or a body without JSON-LD.
    ///
    /// # Errors
    /// When it is no object.
    pub fn nested(value: &'a Value, path: &str) -> Result<Self, Vec<Violation>> {
        match value {
            Value::Object(object) => Ok(Self { object, path: path.to_owned(), found: Vec::new() }),
            other => Err(vec![Violation::new(path, "must be an object").showing(other)]),
        }
    }

    /// Notes a violation unless `@type` is one of `types`.
    pub fn expect_type(&mut self, types: &[&str]) {
        match self.object.get("@type").and_then(Value::as_str) {
            Some(found) if types.contains(&found) => {}
            Some(_) => self.note("@type", format!("must be {}", types.join(" or "))),
            None => self.note("@type", format!("is required: {}", types.join(" or "))),
        }
    }

    /// Path of a field.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// Notes that a rule about the field is violated.
    pub fn note(&mut self, key: &str, message: impl Into<String>) {
        let violation = Violation::new(self.path(key), message);
        self.note_all(vec![match self.object.get(key) {
            Some(value) => violation.showing(value),
            None => violation,
        }]);
    }

    /// Notes violations that another reader found.
    pub fn note_all(&mut self, found: Vec<Violation>) {
        let room = MAX_VIOLATIONS.saturating_sub(self.found.len());
        self.found.extend(found.into_iter().take(room));
    }

    /// The field as it is; `null` counts as absent.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// An optional text of at most `max` bytes.
    pub fn text(&mut self, key: &str, max: usize) -> Option<String> {
        match self.raw(key)? {
            Value::String(text) if text.len() <= max => Some(text.clone()),
            Value::String(_) => {
                self.note(key, format!("must have at most {max} bytes"));
                None
            }
            _ => {
                self.note(key, "must be a string");
                None
            }
        }
    }

    /// A text that must be there and not be empty.
    pub fn required_text(&mut self, key: &str, max: usize) -> Option<String> {
        match self.raw(key) {
            None => {
                self.note(key, "is required");
                None
            }
            Some(Value::String(text)) if text.is_empty() => {
                self.note(key, "must not be empty");
                None
            }
            Some(_) => self.text(key, max),
        }
    }

    /// An optional identifier or other text with rules of its own.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key, usize::MAX)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.note(key, why.to_string());
                None
            }
        }
    }

    /// An identifier or other text with rules of its own that must be there.
    pub fn required_parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &str) -> Option<T> {
        if self.raw(key).is_none() {
            self.note(key, "is required");
            return None;
        }
        self.parsed(key)
    }

    /// An optional boolean.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let value = self.raw(key)?;
        if value.as_bool().is_none() {
            self.note(key, "must be true or false");
        }
        value.as_bool()
    }

    /// An optional object, empty when absent.
    pub fn object(&mut self, key: &str) -> Map<String, Value> {
        match self.raw(key) {
            None => Map::new(),
            Some(Value::Object(object)) => object.clone(),
            Some(_) => {
                self.note(key, "must be an object");
                Map::new()
            }
        }
    }

    /// Whether the field is there; notes it otherwise.
    pub fn require(&mut self, key: &str) {
        if self.raw(key).is_none() {
            self.note(key, "is required");
        }
    }

    /// An optional list of at most `max` items, empty when absent.
    pub fn list(&mut self, key: &str, max: usize) -> &'a [Value] {
        match self.raw(key) {
            None => &[],
            Some(Value::Array(items)) if items.len() <= max => items,
            Some(Value::Array(_)) => {
                self.note(key, format!("at most {max} items"));
                &[]
            }
            Some(_) => {
                self.note(key, "must be an array");
                &[]
            }
        }
    }

    /// An optional list of at most `max` texts, empty when absent.
    pub fn texts(&mut self, key: &str, max: usize) -> Vec<String> {
        let items = self.list(key, max);
        if items.iter().any(|item| !item.is_string()) {
            self.note(key, "must be an array of strings");
            return Vec::new();
        }
        items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// Reads a part of the body with another function and notes what that found.
    pub fn part<T>(&mut self, read: impl FnOnce() -> Result<T, Vec<Violation>>) -> Option<T> {
        match read() {
            Ok(part) => Some(part),
            Err(found) => {
                self.note_all(found);
                None
            }
        }
    }

    /// What was read, when nothing was violated. `make` gives `None` only for a field that was noted.
    ///
    /// # Errors
    /// Everything that was noted.
    pub fn finish<T>(self, make: impl FnOnce() -> Option<T>) -> Result<T, Vec<Violation>> {
        if !self.found.is_empty() {
            return Err(self.found);
        }
        make().ok_or_else(|| vec![Violation::new(self.path, "is not complete")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border() {
        let good = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "Asset"});
        assert!(Reader::open(&good, &["Asset", "CatalogAsset"]).is_ok());
        let cases = [
            (json!([]), "$"),
            (json!({"@type": "Asset"}), "$.@context"),
            (json!({"@context": MANAGEMENT_CONTEXT, "@type": "Asset"}), "$.@context"),
            (json!({"@context": {"@vocab": "x"}, "@type": "Asset"}), "$.@context"),
            (json!({"@context": [MANAGEMENT_CONTEXT, "https://evil.example/c"], "@type": "Asset"}), "$.@context"),
            (json!({"@context": [MANAGEMENT_CONTEXT, {"a": "b"}], "@type": "Asset"}), "$.@context"),
            (json!({"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": "Asset"}), "$.@context"),
            (json!({"@context": [MANAGEMENT_CONTEXT], "@type": "Policy"}), "$.@type"),
            (json!({"@context": [MANAGEMENT_CONTEXT]}), "$.@type"),
        ];
        for (body, path) in cases {
            let found = Reader::open(&body, &["Asset"]).expect_err("refused");
            assert_eq!(found.first().map(|v| v.path.as_str()), Some(path), "{body}");
        }
    }

    #[test]
    fn all_violations_are_told() {
        let body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "T", "a": 1, "b": "", "d": ["x", 2], "e": "long", "f": {}});
        let mut r = Reader::open(&body, &["T"]).unwrap();
        let (a, b, c) = (r.text("a", 10), r.required_text("b", 10), r.required_text("c", 10));
        assert_eq!((a, b, c), (None, None, None));
        r.texts("d", 9);
        r.text("e", 3);
        r.list("f", 3);
        r.boolean("f");
        let paths: Vec<_> = r.finish(|| Some(())).expect_err("violations").into_iter().map(|v| v.path).collect();
        assert_eq!(paths, ["$.a", "$.b", "$.c", "$.d", "$.e", "$.f", "$.f"]);
    }

    #[test]
    fn json_is_bounded() {
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert!(parse_json(deep.as_bytes()).is_err());
        assert!(parse_json(format!("[{}0]", "0,".repeat(MAX_VALUES)).as_bytes()).is_err());
        assert!(parse_json(b"{\"a\":").is_err());
        assert!(parse_json(b"{\"a\":[1]}").is_ok());
    }
}
