//! Datasets and catalogs as compact JSON text (DSP 2025-1, catalog schemas), put together from parts that are made once per version.

use super::{page::Page, resolve::offered_terms};
use crate::control_plane::resources::Rendered;
use cellspace_schemas::{
    Did, TransferType,
    dsp::{SentContext, properties::spelled},
    management::{Asset, PolicyDefinition},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Where datasets are negotiated: the access service of all distributions, as text.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    service: String,
    /// The catalog's id, quoted.
    catalog: String,
}

impl Endpoint {
    pub(super) fn new(url: &str) -> Self {
        let quoted = Value::from(url).to_string();
        let catalog = [quoted.strip_suffix('"').unwrap_or(&quoted), "/catalog\""].concat();
        Self { service: [r#"{"@id":"#, &quoted, r#","@type":"DataService","endpointURL":"#, &quoted, "}"].concat(), catalog }
    }
}

fn data_service(url: &str) -> Value {
    json!({"@id": url, "@type": "DataService", "endpointURL": url})
}

/// Members of an object, without its braces.
fn members(fields: &Map<String, Value>) -> String {
    let text = Value::Object(fields.clone()).to_string();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

fn asset_members(asset: &Asset) -> String {
    let mut fields = spelled(&asset.properties);
    fields.insert("@id".to_owned(), asset.id.as_str().into());
    fields.insert("@type".to_owned(), "Dataset".into());
    members(&fields)
}

fn terms_members(definition: &PolicyDefinition) -> String {
    let mut terms = offered_terms(&definition.policy).to_json();
    let fields = terms.as_object_mut().map(std::mem::take).unwrap_or_default();
    members(&fields.into_iter().filter(|(key, _)| key != "@type").collect())
}

/// Distributions, one per transfer type, without brackets.
pub(super) fn distributions(types: &BTreeSet<TransferType>, endpoint: &Endpoint) -> String {
    let distribution = |format: &TransferType| {
        let format = Value::from(format.as_str()).to_string();
        [r#"{"@type":"Distribution","format":"#, &format, r#","accessService":"#, &endpoint.service, "}"].concat()
    };
    types.iter().map(distribution).collect::<Vec<_>>().join(",")
}

/// Writes a dataset with its offers, each an id and its terms, and its distributions.
pub(super) fn dataset<'t>(
    text: &mut String,
    asset: &Rendered<Asset>,
    offers: impl Iterator<Item = (&'t str, &'t Rendered<PolicyDefinition>)>,
    distributions: &str,
) {
    for part in ["{", asset.text(asset_members), r#","hasPolicy":["#] {
        text.push_str(part);
    }
    for (n, (id, terms)) in offers.enumerate() {
        let begin = if n > 0 { r#",{"@id":""# } else { r#"{"@id":""# };
        // The id is base64 and colons: nothing to escape.
        for part in [begin, id, r#"","@type":"Offer","#, terms.text(terms_members), "}"] {
            text.push_str(part);
        }
    }
    for part in [r#"],"distribution":["#, distributions, "]}"] {
        text.push_str(part);
    }
}

/// An asset that is the catalog of another service: a catalog within the catalog.
pub(super) fn catalog_asset(asset: &Rendered<Asset>) -> String {
    let asset = asset.value();
    let mut fields = asset.properties.clone();
    let text =
        |fields: &mut Map<String, Value>, key: &str| fields.remove(key).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let (url, format) = (text(&mut fields, "endpointURL"), text(&mut fields, "format"));
    let service = data_service(&url);
    let mut fields = spelled(&fields);
    fields.insert("@id".to_owned(), asset.id.as_str().into());
    fields.insert("@type".to_owned(), "Catalog".into());
    fields.insert("distribution".to_owned(), json!([{"@type": "Distribution", "format": format, "accessService": service}]));
    fields.insert("service".to_owned(), json!([service]));
    Value::Object(fields).to_string()
}

/// The catalog around a page. Lists that would be empty are left out, as the schema has it.
pub(super) fn catalog(page: &Page, participant: &Did, endpoint: &Endpoint, context: &SentContext) -> String {
    let length: usize = page.datasets().chain(page.catalogs()).map(|item| item.len() + 1).sum();
    let mut text = String::with_capacity(length + 1_024);
    for part in [
        r#"{"@context":"#,
        context.text(),
        r#","@id":"#,
        &endpoint.catalog,
        r#","@type":"Catalog","participantId":""#,
        participant.as_str(),
    ] {
        text.push_str(part);
    }
    for part in [r#"","service":["#, &endpoint.service, "]"] {
        text.push_str(part);
    }
    list(&mut text, r#","dataset":["#, page.datasets());
    list(&mut text, r#","catalog":["#, page.catalogs());
    text.push('}');
    text
}

fn list<'a>(text: &mut String, begin: &str, items: impl Iterator<Item = &'a str>) {
    let before = text.len();
    for item in items {
        text.push_str(if text.len() == before { begin } else { "," });
        text.push_str(item);
    }
    if text.len() > before {
        text.push(']');
    }
}

/// A dataset on its own.
pub(super) fn root_dataset(dataset: &str, context: &SentContext) -> String {
    let rest = dataset.strip_prefix('{').unwrap_or(dataset);
    format!(r#"{{"@context":{},{rest}"#, context.text())
}
