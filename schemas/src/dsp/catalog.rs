//! Catalog messages (DSP 2025-1, catalog protocol), and catalogs of others in the form that the Management API answers with.

use super::{CONTEXT, Message};
use crate::{management::MANAGEMENT_CONTEXT, odrl::Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Longest list of reasons told of a counterparty's error, in characters.
const MAX_REASON_CHARS: usize = 500;
/// Catalogs within catalogs that are looked into at most.
const MAX_NESTING: usize = 4;

/// `CatalogRequestMessage`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogRequestMessage {
    /// Implementation-specific queries.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<Value>,
}

impl Message for CatalogRequestMessage {
    const TYPE: &'static str = "CatalogRequestMessage";
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        single => vec![single],
    })
}

/// A counterparty's catalog as the Management API answers it: its own context beside the protocol's, lists as lists, policies in compact form.
/// `None` when it is no catalog.
#[must_use]
pub fn compacted_catalog(catalog: Value) -> Option<Value> {
    let mut catalog = object_of_type(catalog, "Catalog")?;
    catalog_lists(&mut catalog, 0);
    catalog.insert("@context".to_owned(), json!([MANAGEMENT_CONTEXT, CONTEXT]));
    Some(Value::Object(catalog))
}

/// A counterparty's dataset as the Management API answers it. `None` when it is no dataset.
#[must_use]
pub fn compacted_dataset(dataset: Value) -> Option<Value> {
    let mut dataset = object_of_type(dataset, "Dataset")?;
    dataset_lists(&mut dataset);
    dataset.insert("@context".to_owned(), json!([MANAGEMENT_CONTEXT, CONTEXT]));
    Some(Value::Object(dataset))
}

/// What a counterparty's error message says, as ` (code: reason; reason)`; empty when it says nothing.
#[must_use]
pub fn error_reasons(error: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let reasons: Vec<String> = match error.get("reason") {
        Some(Value::Array(items)) => items.iter().take(8).map(text).collect(),
        Some(single) => vec![text(single)],
        None => Vec::new(),
    };
    let told = reasons.join("; ");
    if told.is_empty() { String::new() } else { format!(" ({})", told.chars().take(MAX_REASON_CHARS).collect::<String>()) }
}

fn object_of_type(value: Value, expected: &str) -> Option<Map<String, Value>> {
    let Value::Object(object) = value else {
        return None;
    };
    let is = |text: &Value| text.as_str().is_some_and(|text| text.strip_prefix("dcat:").unwrap_or(text) == expected);
    let fits = match object.get("@type")? {
        Value::Array(types) => types.iter().any(is),
        single => is(single),
    };
    fits.then_some(object)
}

/// Makes the field a list.
fn as_list(object: &mut Map<String, Value>, key: &str) {
    if let Some(value) = object.get_mut(key)
        && !value.is_array()
    {
        *value = Value::Array(vec![value.take()]);
    }
}

fn each(object: &mut Map<String, Value>, key: &str, mut change: impl FnMut(&mut Map<String, Value>)) {
    as_list(object, key);
    let items = object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut).for_each(&mut change);
}

fn catalog_lists(catalog: &mut Map<String, Value>, depth: usize) {
    catalog.entry("dataset").or_insert_with(|| json!([]));
    as_list(catalog, "service");
    each(catalog, "dataset", dataset_lists);
    if depth < MAX_NESTING {
        each(catalog, "catalog", |inner| catalog_lists(inner, depth + 1));
    }
}

fn dataset_lists(dataset: &mut Map<String, Value>) {
    as_list(dataset, "distribution");
    as_list(dataset, "hasPolicy");
    for offer in dataset.get_mut("hasPolicy").and_then(Value::as_array_mut).into_iter().flatten() {
        // An offer that cannot be read is left as it is: the client sees what the counterparty wrote.
        if let Ok(policy) = Policy::from_json(offer, "$") {
            *offer = policy.to_json();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::message::{read, render};

    #[test]
    fn requests() {
        let written = render(&CatalogRequestMessage { filter: vec![json!({"@type": "QuerySpec"})] }, None).unwrap();
        assert_eq!(read::<CatalogRequestMessage>(&written, &[]).unwrap().body.filter.len(), 1);
        for (filter, count) in [(json!(null), 0), (json!([]), 0), (json!({"limit": 1}), 1)] {
            let text = json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage", "filter": filter}).to_string();
            assert_eq!(read::<CatalogRequestMessage>(text.as_bytes(), &[]).unwrap().body.filter.len(), count);
        }
    }

    #[test]
    fn catalogs_of_others() {
        let offer = json!({"@type": "odrl:Offer", "@id": "o", "odrl:permission": {"odrl:action": {"@id": "odrl:use"}}});
        let dataset = json!({"@id": "a", "@type": "Dataset", "hasPolicy": offer, "distribution": {"@type": "Distribution"}});
        let catalog = json!({"@context": [CONTEXT], "@type": "Catalog", "dataset": dataset, "catalog": [{"@type": "Catalog"}], "x": 1});
        let compacted = compacted_catalog(catalog).unwrap();
        assert_eq!(compacted["dataset"][0]["hasPolicy"], json!([{"@type": "Offer", "@id": "o", "permission": [{"action": "use"}]}]));
        assert_eq!(compacted["dataset"][0]["distribution"], json!([{"@type": "Distribution"}]));
        assert_eq!((&compacted["catalog"][0]["dataset"], &compacted["x"]), (&json!([]), &json!(1)));
        assert_eq!(compacted["@context"][0], json!(MANAGEMENT_CONTEXT));
        for other in [json!([]), json!({}), json!({"@type": "CatalogError"}), json!("x")] {
            assert_eq!(compacted_catalog(other), None);
        }
        assert!(compacted_dataset(json!({"@type": ["dcat:Dataset"]})).is_some());
    }

    #[test]
    fn reasons_of_others() {
        assert_eq!(error_reasons(&json!({"reason": ["a", {"b": 1}]})), r#" (a; {"b":1})"#);
        assert_eq!(error_reasons(&json!({"reason": "a"})), " (a)");
        assert_eq!(error_reasons(&json!({})), "");
        assert!(error_reasons(&json!({"reason": ["x".repeat(9000)]})).len() < 600);
    }
}
