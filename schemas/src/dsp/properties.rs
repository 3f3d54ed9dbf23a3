//! Properties of assets where counterparties read them. Clients have them under bare names, which the Management API means as names of the connectors'
//! vocabulary ([`EDC_NAMESPACE`]). The protocol's own context has no terms for these, so that they stand under their IRIs there: whoever expands the
//! document would otherwise lose them.

use crate::{management::asset::is_reserved, query_spec::EDC_NAMESPACE};
use serde_json::{Map, Value, json};

/// The usual prefix of the vocabulary.
const PREFIX: &str = "edc:";
/// The one name that the Management API means otherwise: an identifier in DCMI terms, whose prefix the protocol's context has.
const CONFORMS_TO: &str = "conformsTo";
/// How it is spelled, and what its IRI is.
const CONFORMS_TO_SPELLED: [&str; 2] = ["dct:conformsTo", "http://purl.org/dc/terms/conformsTo"];

/// Properties as they are sent. Names with a prefix, and IRIs, stay as they are.
#[must_use]
pub fn spelled(properties: &Map<String, Value>) -> Map<String, Value> {
    properties.iter().map(|(name, value)| spell(name, value)).collect()
}

fn spell(name: &str, value: &Value) -> (String, Value) {
    if name == CONFORMS_TO {
        return (CONFORMS_TO_SPELLED[0].to_owned(), identified(value));
    }
    let is_bare = !name.contains(':') && !name.starts_with('@');
    let name = if is_bare { [EDC_NAMESPACE, name].concat() } else { name.to_owned() };
    (name, spelled_within(value))
}

fn spelled_within(value: &Value) -> Value {
    match value {
        // What has contexts of its own is the client's affair.
        Value::Object(object) if !object.contains_key("@context") => Value::Object(spelled(object)),
        Value::Array(items) => items.iter().map(spelled_within).collect(),
        other => other.clone(),
    }
}

fn identified(value: &Value) -> Value {
    match value {
        Value::String(id) => json!({ "@id": id }),
        Value::Array(items) => items.iter().map(identified).collect(),
        other => other.clone(),
    }
}

/// The other way round, in an object of a counterparty: names of the connectors' vocabulary become bare. One that would then stand for something of the
/// protocol, or is there already, stays.
pub(super) fn bare(object: &mut Map<String, Value>) {
    let spelled: Vec<String> = object.keys().filter(|name| bare_name(name).is_some()).cloned().collect();
    for name in spelled {
        let Some(short) = bare_name(&name).filter(|short| !is_reserved(short) && !object.contains_key(*short)) else { continue };
        let short = short.to_owned();
        if let Some(mut value) = object.remove(&name) {
            if short == CONFORMS_TO {
                plain_id(&mut value)
            } else {
                bare_within(&mut value)
            }
            object.insert(short, value);
        }
    }
}

fn bare_name(name: &str) -> Option<&str> {
    if CONFORMS_TO_SPELLED.contains(&name) {
        return Some(CONFORMS_TO);
    }
    let short = name.strip_prefix(EDC_NAMESPACE).or_else(|| name.strip_prefix(PREFIX))?;
    Some(short).filter(|short| !short.is_empty() && !short.contains(':') && !short.starts_with('@'))
}

fn bare_within(value: &mut Value) {
    match value {
        Value::Object(object) if !object.contains_key("@context") => {
            bare(object);
            object.values_mut().for_each(bare_within);
        }
        Value::Array(items) => items.iter_mut().for_each(bare_within),
        _ => {}
    }
}

fn plain_id(value: &mut Value) {
    match value {
        Value::Object(object) if object.len() == 1 => {
            if let Some(id) = object.get_mut("@id").filter(|id| id.is_string()) {
                *value = id.take();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_id),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn names_survive_and_come_back() {
        let properties = object(json!({"description": "d", "version": 2, "dct:title": "t", "https://x.example/n": {"a": [{"b": 1}, "c"]},
            "conformsTo": "urn:schema", "own": {"@context": {"z": "https://z.example/"}, "z": 1}, "list": [["x"], {"y": null}]}));
        let sent = spelled(&properties);
        let edc = |name: &str| format!("{EDC_NAMESPACE}{name}");
        let expected = json!({edc("description"): "d", edc("version"): 2, "dct:title": "t",
            "https://x.example/n": {edc("a"): [{edc("b"): 1}, "c"]}, "dct:conformsTo": {"@id": "urn:schema"},
            edc("own"): {"@context": {"z": "https://z.example/"}, "z": 1}, edc("list"): [["x"], {edc("y"): null}]});
        assert_eq!(Value::Object(sent.clone()), expected);
        let mut back = sent;
        bare(&mut back);
        // Only what stands under a name of the vocabulary is known to be meant so.
        let foreign = json!({edc("a"): [{edc("b"): 1}, "c"]});
        assert_eq!(back["https://x.example/n"], foreign);
        back.insert("https://x.example/n".into(), properties["https://x.example/n"].clone());
        assert_eq!(back, properties);
    }

    #[test]
    fn what_others_write() {
        let edc = |name: &str| format!("{EDC_NAMESPACE}{name}");
        for (theirs, ours) in [
            (
                json!({"edc:name": "n", "http://purl.org/dc/terms/conformsTo": [{"@id": "a"}, {"@id": "b", "x": 1}]}),
                json!({"name": "n", "conformsTo": ["a", {"@id": "b", "x": 1}]}),
            ),
            (json!({"edc:name": "n", "name": "m"}), json!({"edc:name": "n", "name": "m"})),
            (
                json!({edc("hasPolicy"): 1, edc("@id"): 2, edc(""): 3, edc("a:b"): 4}),
                json!({edc("hasPolicy"): 1, edc("@id"): 2, edc(""): 3, edc("a:b"): 4}),
            ),
            (json!({"dct:title": "t", "plain": 1}), json!({"dct:title": "t", "plain": 1})),
        ] {
            let mut read = object(theirs.clone());
            bare(&mut read);
            assert_eq!(Value::Object(read), ours, "{theirs}");
        }
    }
}
