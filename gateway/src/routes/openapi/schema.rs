//! The schema of a document, learnt from one of them: what must be there, and of which type, is what its reader says when it is asked. So neither the
//! documentation nor the reader can have what the other lacks, as far as the example goes.

use serde_json::{Map, Value, json};

/// Whether a value is taken, by the reader that a handler uses.
pub type Reads = fn(&Value) -> bool;

/// What an optional member of a document without a reader ends with, in its example: it may be absent, or `null`.
const OPTIONAL: char = '?';

/// A value of each type of JSON.
fn one_of_each() -> [(&'static str, Value); 7] {
    [
        ("null", Value::Null),
        ("boolean", true.into()),
        ("integer", 7.into()),
        ("number", 0.5.into()),
        ("string", "text".into()),
        ("object", json!({})),
        ("array", json!([])),
    ]
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The schema (JSON Schema 2020-12, as OpenAPI 3.1 has it) of documents like this one, with the document as its example. What nobody reads has the members
/// that the example has, all of them but for those that are marked as optional.
#[must_use]
pub fn schema(example: &Value, reads: Option<Reads>) -> Value {
    let mut schema = Asked { example, reads }.at("");
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("examples".to_owned(), json!([shown(example)]));
    }
    schema
}

/// The document without the marks of what is optional.
#[must_use]
pub fn shown(example: &Value) -> Value {
    match example {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.trim_end_matches(OPTIONAL).to_owned(), shown(value))).collect(),
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => example.clone(),
    }
}

fn or_null(mut schema: Value) -> Value {
    if let Some(kind @ Value::String(_)) = schema.get_mut("type")
        && *kind != "null"
    {
        *kind = json!(["null", kind.take()]);
    }
    schema
}

struct Asked<'a> {
    example: &'a Value,
    reads: Option<Reads>,
}

impl Asked<'_> {
    fn at(&self, place: &str) -> Value {
        let Some(value) = self.example.pointer(place) else { return json!({}) };
        let mut schema = Map::new();
        if let Some(types) = self.types(place, value) {
            schema.insert("type".to_owned(), types);
        }
        match value {
            Value::Object(fields) => {
                let (mut properties, mut required) = (Map::new(), Vec::new());
                for name in fields.keys() {
                    let below = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                    let plain = name.trim_end_matches(OPTIONAL);
                    if self.is_required(place, name) {
                        required.push(Value::from(plain));
                    }
                    let member = self.at(&below);
                    properties.insert(plain.to_owned(), if plain == name { member } else { or_null(member) });
                }
                schema.insert("properties".to_owned(), properties.into());
                schema.insert("required".to_owned(), required.into());
            }
            Value::Array(items) if !items.is_empty() => {
                schema.insert("items".to_owned(), self.at(&format!("{place}/0")));
            }
            Value::String(text) if place.ends_with("/@type") => {
                schema.insert("const".to_owned(), text.as_str().into());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
        }
        schema.into()
    }

    /// The types that may stand there; `None` when all may.
    fn types(&self, place: &str, value: &Value) -> Option<Value> {
        let reads = self.reads.filter(|_| !place.is_empty());
        let taken = |other: &Value| reads.is_some_and(|reads| reads(&self.with(place, other.clone())));
        let own = kind(value);
        let types: Vec<&str> = one_of_each().iter().filter(|(kind, other)| *kind == own || taken(other)).map(|(kind, _)| *kind).collect();
        if types.len() == one_of_each().len() {
            return None;
        }
        // Every integer is a number.
        let numbers = types.contains(&"number");
        let types: Vec<&str> = types.into_iter().filter(|kind| !(numbers && *kind == "integer")).collect();
        Some(match types.as_slice() {
            [one] => (*one).into(),
            some => some.into(),
        })
    }

    fn is_required(&self, place: &str, name: &str) -> bool {
        match self.reads {
            Some(reads) => {
                let mut without = self.example.clone();
                if let Some(fields) = without.pointer_mut(place).and_then(Value::as_object_mut) {
                    fields.remove(name);
                }
                !reads(&without)
            }
            None => !name.ends_with(OPTIONAL),
        }
    }

    /// The example with another value there.
    fn with(&self, place: &str, other: Value) -> Value {
        let mut changed = self.example.clone();
        if let Some(there) = changed.pointer_mut(place) {
            *there = other;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "it is only read")]
    struct Thing {
        name: String,
        #[serde(default)]
        size: Option<u32>,
        share: f64,
        free: Value,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "it is only read")]
    struct Part {
        id: String,
        #[serde(default)]
        on: bool,
    }

    #[test]
    fn a_schema_is_what_the_reader_says() {
        let example = json!({"name": "n", "size": 1, "share": 1.5, "free": "x", "parts": [{"id": "a", "on": true}], "unread": 1});
        let reads: Reads = |value| serde_json::from_value::<Thing>(value.clone()).is_ok();
        let part = json!({"type": "object", "properties": {"id": {"type": "string"}, "on": {"type": "boolean"}}, "required": ["id"]});
        let schema = schema(&example, Some(reads));
        assert_eq!(schema["required"], json!(["free", "name", "share"]));
        let properties = &schema["properties"];
        assert_eq!(properties["name"], json!({"type": "string"}));
        assert_eq!(properties["size"], json!({"type": ["null", "integer"]}));
        assert_eq!(properties["share"], json!({"type": "number"}));
        // What is not read, or may be anything, has no type.
        assert_eq!((&properties["free"], &properties["unread"]), (&json!({}), &json!({})));
        assert_eq!(properties["parts"]["items"]["required"], part["required"]);
        assert_eq!(properties["parts"]["items"]["properties"], part["properties"]);
        assert_eq!(schema["examples"], json!([example]));
    }

    #[test]
    fn what_is_only_shown_is_as_its_example() {
        let schema = schema(&json!({"@type": "T", "a": [{"b?": 1}], "c?": null}), None);
        assert_eq!(schema["required"], json!(["@type", "a"]));
        assert_eq!(schema["properties"]["@type"], json!({"type": "string", "const": "T"}));
        assert_eq!(
            schema["properties"]["a"]["items"],
            json!({"type": "object", "properties": {"b": {"type": ["null", "integer"]}}, "required": []})
        );
        assert_eq!(schema["examples"], json!([{"@type": "T", "a": [{"b": 1}], "c": null}]));
    }
}
