//! Catalog messages (DSP 2025-1, catalog protocol), and catalogs of others in the form that the Management API answers with.

use super::{
    CONTEXT, Message, MessageError,
    message::{is_compact, wrong_type},
    properties,
};
use crate::{
    jsonld::{self, DSP, Others},
    management::MANAGEMENT_CONTEXT,
    odrl::Policy,
    query_spec::EDC_NAMESPACE,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

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

/// A counterparty's catalog, in any form of JSON-LD, as the Management API answers it: its own context beside the protocol's, lists as lists, policies in
/// compact form, properties of the connectors' vocabulary under their bare names. `profile_contexts` as for [`super::message::read`].
///
/// # Errors
/// [`MessageError`] when it is no catalog, or cannot be read.
pub fn compacted_catalog(catalog: Value, profile_contexts: &[String]) -> Result<Value, MessageError> {
    let mut catalog = object_of_type(catalog, "Catalog", profile_contexts)?;
    catalog_lists(&mut catalog, 0);
    catalog.insert("@context".to_owned(), json!([MANAGEMENT_CONTEXT, CONTEXT]));
    Ok(Value::Object(catalog))
}

/// A counterparty's dataset as the Management API answers it; otherwise as [`compacted_catalog`].
///
/// # Errors
/// [`MessageError`] when it is no dataset, or cannot be read.
pub fn compacted_dataset(dataset: Value, profile_contexts: &[String]) -> Result<Value, MessageError> {
    let mut dataset = object_of_type(dataset, "Dataset", profile_contexts)?;
    dataset_lists(&mut dataset);
    dataset.insert("@context".to_owned(), json!([MANAGEMENT_CONTEXT, CONTEXT]));
    Ok(Value::Object(dataset))
}

/// An answer with an object of this type, in the compact form.
fn object_of_type(answer: Value, expected: &'static str, profile_contexts: &[String]) -> Result<Map<String, Value>, MessageError> {
    let mut answer = answer;
    // One context is a list of one; messages must have the list.
    if let Some(context) = answer.get_mut("@context").filter(|context| context.is_string()) {
        *context = json!([context.take()]);
    }
    let object = match answer {
        Value::Object(object) if is_compact(object.get("@context"), object.get("@type"), is_spelled_out(&object), profile_contexts)? => {
            object
        }
        other => jsonld::compact(&DSP, &other, profile_contexts, Others::Kept)?,
    };
    let kind = object.get("@type");
    let fits = match kind {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == expected),
        single => single.is_some_and(|kind| kind == expected),
    };
    if fits { Ok(object) } else { Err(wrong_type(expected, kind)) }
}

/// Whether a term stands with its prefix or as its IRI somewhere outside the policies, which are read in any spelling.
fn is_spelled_out(object: &Map<String, Value>) -> bool {
    fn any(value: &Value, is: fn(&Value) -> bool) -> bool {
        value.as_array().map_or_else(|| is(value), |items| items.iter().any(is))
    }
    object.iter().any(|(name, value)| match name.as_str() {
        "@type" => any(value, |kind| kind.as_str().is_some_and(|kind| DSP.is_spelled_out(kind))),
        "catalog" | "dataset" | "distribution" | "service" | "accessService" => any(value, |of| of.as_object().is_some_and(is_spelled_out)),
        // Properties of assets, whatever their names are.
        name => !name.starts_with(EDC_NAMESPACE) && DSP.is_spelled_out(name),
    })
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
    properties::bare(catalog);
    catalog.entry("dataset").or_insert_with(|| json!([]));
    as_list(catalog, "service");
    offers(catalog);
    each(catalog, "dataset", dataset_lists);
    if depth < MAX_NESTING {
        each(catalog, "catalog", |inner| catalog_lists(inner, depth + 1));
    }
}

fn dataset_lists(dataset: &mut Map<String, Value>) {
    properties::bare(dataset);
    each(dataset, "distribution", offers);
    offers(dataset);
}

fn offers(of: &mut Map<String, Value>) {
    as_list(of, "hasPolicy");
    for offer in of.get_mut("hasPolicy").and_then(Value::as_array_mut).into_iter().flatten() {
        // An offer that cannot be read is left as it is: the client sees what the counterparty wrote.
        if let Ok(policy) = Policy::from_json(offer, "$") {
            *offer = policy.to_plain();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::message::{SentContext, read, render};

    #[test]
    fn requests() {
        let written =
            render(&CatalogRequestMessage { filter: vec![json!({"@type": "QuerySpec"})] }, None, &SentContext::default()).unwrap();
        assert_eq!(read::<CatalogRequestMessage>(&written, &[]).unwrap().body.filter.len(), 1);
        for (filter, count) in [(json!(null), 0), (json!([]), 0), (json!({"limit": 1}), 1)] {
            let text = json!({"@context": [CONTEXT], "@type": "CatalogRequestMessage", "filter": filter}).to_string();
            assert_eq!(read::<CatalogRequestMessage>(text.as_bytes(), &[]).unwrap().body.filter.len(), count);
        }
    }

    const NONE: &[String] = &[];

    /// Also where their names are terms of queries.
    #[test]
    fn properties_come_back_as_they_were() {
        let properties = json!({"operator": "x", "limit": null, "tags": ["a"], "nested": [["b"]], "own": {"@context": {"z": "https://z.example/"}, "z": 1}});
        let properties = properties.as_object().unwrap();
        let mut dataset = properties::spelled(properties);
        dataset.insert("@type".into(), json!("Dataset"));
        let catalog = json!({"@context": [CONTEXT], "@type": "Catalog", "dataset": [dataset]});
        let compacted = compacted_catalog(catalog, NONE).unwrap();
        for (name, value) in properties {
            assert_eq!(&compacted["dataset"][0][name], value, "{name}");
        }
    }

    #[test]
    fn catalogs_of_others() {
        let offer = json!({"@type": "odrl:Offer", "@id": "o", "odrl:permission": {"odrl:action": {"@id": "odrl:use"}}});
        let distribution = json!({"@type": "Distribution", "hasPolicy": offer});
        let dataset = json!({"@id": "a", "@type": "Dataset", "hasPolicy": offer, "distribution": distribution});
        let catalog = json!({"@context": [CONTEXT], "@type": "Catalog", "dataset": dataset, "catalog": [{"@type": "Catalog"}], "x": 1,
            "hasPolicy": offer});
        let compacted = compacted_catalog(catalog, NONE).unwrap();
        let plain = json!([{"@type": "Offer", "@id": "o", "permission": [{"action": "use"}]}]);
        assert_eq!((&compacted["dataset"][0]["hasPolicy"], &compacted["hasPolicy"]), (&plain, &plain));
        assert_eq!(compacted["dataset"][0]["distribution"], json!([{"@type": "Distribution", "hasPolicy": plain}]));
        assert_eq!((&compacted["catalog"][0]["dataset"], &compacted["x"]), (&json!([]), &json!(1)));
        assert_eq!(compacted["@context"][0], json!(MANAGEMENT_CONTEXT));
        for other in
            [json!([]), json!({}), json!({"@context": [CONTEXT], "@type": "CatalogError"}), json!("x"), json!({"@type": "Catalog"})]
        {
            assert!(compacted_catalog(other.clone(), NONE).is_err(), "{other}");
        }
        assert!(compacted_dataset(json!({"@context": [CONTEXT], "@type": ["dcat:Dataset"]}), NONE).is_ok());
        // A context of the profile's is known; another one could give the terms another meaning.
        let own = "https://x.example/context".to_owned();
        let foreign = json!({"@context": [CONTEXT, own], "@type": "Catalog"});
        assert!(compacted_catalog(foreign.clone(), &[own]).is_ok());
        assert!(compacted_catalog(foreign, NONE).unwrap_err().to_string().contains("unknown @context"));
    }

    /// A catalog of every part, in the compact form.
    fn whole() -> Value {
        let service = json!({"@id": "urn:s", "@type": "DataService", "endpointURL": "https://p.example/dsp"});
        let distribution = json!([{"@type": "Distribution", "format": "HttpData-PULL", "accessService": service}]);
        let permission =
            json!([{"action": "use", "constraint": [{"leftOperand": "https://x.example/m", "operator": "eq", "rightOperand": "y"}]}]);
        let dataset = |id: &str| {
            json!({"@id": id, "@type": "Dataset", "https://x.example/title": "t", "dct:title": "t",
                "hasPolicy": [{"@id": "urn:o", "@type": "Offer", "permission": permission}], "distribution": distribution})
        };
        json!({"@id": "urn:c", "@type": "Catalog", "participantId": "did:web:p", "service": [service], "dataset": [dataset("urn:a"), dataset("urn:b")],
            "catalog": [{"@id": "urn:n", "@type": "Catalog", "dataset": [dataset("urn:d")], "distribution": distribution}]})
    }

    /// The same with all terms spelled by `name`.
    fn spelled(value: &Value, name: &dyn Fn(&str, &str) -> String) -> Value {
        let namespace = |term: &str| match term {
            "participantId" => "dspace",
            "format" => "dct",
            "hasPolicy" | "permission" | "action" | "constraint" | "leftOperand" | "operator" | "rightOperand" | "Offer" | "use" | "eq" => {
                "odrl"
            }
            _ => "dcat",
        };
        match value {
            Value::Object(fields) => {
                let field = |(key, value): (&String, &Value)| match (key.as_str(), value) {
                    ("@id", id) => (key.clone(), id.clone()),
                    ("@type", kind) => (key.clone(), name(namespace(kind.as_str().unwrap()), kind.as_str().unwrap()).into()),
                    (term @ ("action" | "operator"), Value::String(text)) => (name("odrl", term), json!({"@id": name("odrl", text)})),
                    (term @ ("participantId" | "leftOperand" | "format"), text) => (name(namespace(term), term), json!({ "@id": text })),
                    (other, value) if other.contains(':') => {
                        (other.replace("dct:", "http://purl.org/dc/terms/"), json!([{ "@value": value }]))
                    }
                    (term, value) => (name(namespace(term), term), spelled(value, name)),
                };
                Value::Object(fields.iter().map(field).collect())
            }
            Value::Array(items) => items.iter().map(|item| spelled(item, name)).collect(),
            other => other.clone(),
        }
    }

    #[test]
    fn catalogs_and_datasets_are_read_in_every_form() {
        let namespace = |prefix: &str| DSP.of_prefix(prefix).unwrap().namespace();
        let iri = |prefix: &str, term: &str| format!("{}{term}", namespace(prefix));
        let own = |prefix: &str, term: &str| format!("{prefix}:{term}");
        let odd = |prefix: &str, term: &str| format!("x-{prefix}:{term}");
        let odd_context: Map<String, Value> =
            ["dspace", "dct", "odrl", "dcat"].iter().map(|p| (format!("x-{p}"), namespace(p).into())).collect();
        let with = |mut document: Value, context: Value| {
            document["@context"] = context;
            document
        };
        let (catalog, dataset) = (whole(), whole()["dataset"][0].clone());
        let expected = compacted_catalog(with(catalog.clone(), json!([CONTEXT])), NONE).unwrap();
        let expected_dataset = compacted_dataset(with(dataset.clone(), json!([CONTEXT])), NONE).unwrap();
        let forms: [&dyn Fn(&Value) -> Value; 5] = [
            &|document| spelled(document, &iri),
            &|document| json!([spelled(document, &iri)]),
            &|document| with(spelled(document, &own), json!([CONTEXT])),
            &|document| with(spelled(document, &odd), json!(odd_context)),
            &|document| with(spelled(document, &odd), json!([CONTEXT, odd_context])),
        ];
        for form in forms {
            let other = form(&catalog);
            assert_eq!(compacted_catalog(other.clone(), NONE).as_ref(), Ok(&expected), "{other}");
            let other = form(&dataset);
            assert_eq!(compacted_dataset(other.clone(), NONE).as_ref(), Ok(&expected_dataset), "{other}");
        }
        // Prefixes deep in what is compact at its top.
        let mut deep = with(catalog.clone(), json!([CONTEXT]));
        deep["catalog"][0]["dataset"] = spelled(&catalog["catalog"][0]["dataset"], &own);
        assert_eq!(compacted_catalog(deep, NONE), Ok(expected));
    }
}
