//! Assets: what a participant can offer (Management API `Asset`, `CatalogAsset`).

use super::{DataplaneMetadata, Reader};
use crate::{AssetId, Timestamp, query_spec::PathRules, violation::Violation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Largest asset in its JSON form, in bytes.
pub const MAX_ASSET_BYTES: usize = 64 << 10;
/// Properties of an asset at most, public and private each.
pub const MAX_PROPERTIES: usize = 256;
/// Names that have a meaning of their own where public properties are shown.
const RESERVED: [&str; 12] = [
    "@context",
    "@id",
    "@type",
    "@graph",
    "hasPolicy",
    "distribution",
    "dataset",
    "catalog",
    "service",
    "participantId",
    "odrl:hasPolicy",
    "dcat:distribution",
];

/// Whether a name has a meaning of its own where public properties are shown.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// An asset as a client describes it. What it says about a data address is ignored: the data plane knows its sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetDraft {
    /// Its id; the platform makes one when the client has none.
    pub id: Option<AssetId>,
    /// Whether it is the catalog of another service.
    pub is_catalog: bool,
    /// Shown in catalogs.
    pub properties: Map<String, Value>,
    /// Never shown to counterparties.
    pub private_properties: Map<String, Value>,
    /// For data planes.
    pub dataplane_metadata: Option<DataplaneMetadata>,
}

/// An asset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asset {
    /// Its id, unique for its participant.
    pub id: AssetId,
    /// Whether it is the catalog of another service.
    pub is_catalog: bool,
    /// Shown in catalogs.
    pub properties: Map<String, Value>,
    /// Never shown to counterparties.
    pub private_properties: Map<String, Value>,
    /// For data planes.
    pub dataplane_metadata: Option<DataplaneMetadata>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl AssetDraft {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["Asset", "CatalogAsset"])?;
        let is_type = r.raw("@type").and_then(Value::as_str) == Some("CatalogAsset");
        let is_catalog = r.boolean("isCatalog").unwrap_or(false) || is_type;
        let id = r.parsed("@id");
        r.require("properties");
        let (properties, private_properties) = (r.object("properties"), r.object("privateProperties"));
        for (key, map) in [("properties", &properties), ("privateProperties", &private_properties)] {
            if map.len() > MAX_PROPERTIES {
                r.note_all(vec![Violation::new(r.path(key), format!("at most {MAX_PROPERTIES} properties"))]);
            }
        }
        for name in RESERVED.iter().filter(|name| properties.contains_key(**name)) {
            r.note_all(vec![Violation::new(
                r.path(&format!("properties.{name}")),
                "has a meaning of its own in catalogs: use another name",
            )]);
        }
        if is_catalog {
            for key in ["endpointURL", "format"].into_iter().filter(|key| !properties.get(*key).is_some_and(Value::is_string)) {
                r.note_all(vec![Violation::new(r.path(&format!("properties.{key}")), "is required of a catalog asset")]);
            }
        }
        let dataplane_metadata = DataplaneMetadata::read(&mut r);
        if body.to_string().len() > MAX_ASSET_BYTES {
            r.note_all(vec![Violation::new("$", format!("an asset has at most {MAX_ASSET_BYTES} bytes"))]);
        }
        r.finish(|| Some(Self { id, is_catalog, properties, private_properties, dataplane_metadata }))
    }
}

impl Asset {
    /// Fields that queries may name; any property may be named too.
    pub const PATHS: PathRules = PathRules {
        fields: &[
            "id",
            "@id",
            "createdAt",
            "properties.*",
            "privateProperties.*",
            "dataplaneMetadata.*",
            "isCatalog",
            "participantContextId",
        ],
        free_properties: true,
    };

    /// The form of the API, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let kind = if self.is_catalog { "CatalogAsset" } else { "Asset" };
        let mut json = json!({
            "@type": kind,
            "@id": self.id.as_str(),
            "properties": self.properties,
            "privateProperties": self.private_properties,
            "createdAt": self.created_at.millis(),
        });
        if let Some(fields) = json.as_object_mut() {
            if self.is_catalog {
                fields.insert("isCatalog".to_owned(), true.into());
            }
            if let Some(metadata) = &self.dataplane_metadata {
                fields.insert("dataplaneMetadata".to_owned(), metadata.to_json());
            }
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;

    fn body(more: Value) -> Value {
        let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "Asset", "@id": "a-1", "properties": {"description": "x"}});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        body
    }

    #[test]
    fn what_is_read_is_shown() {
        let json = body(json!({"privateProperties": {"p": 1}, "dataAddress": {"type": "HttpData"},
            "dataplaneMetadata": {"@type": "DataplaneMetadata", "labels": ["eu"], "properties": {"source": "s"}}}));
        let draft = AssetDraft::from_json(&json).unwrap();
        let AssetDraft { id, is_catalog, properties, private_properties, dataplane_metadata } = draft;
        let asset = Asset { id: id.unwrap(), is_catalog, properties, private_properties, dataplane_metadata, created_at: Timestamp(7) };
        assert_eq!(
            asset.to_json(),
            json!({"@type": "Asset", "@id": "a-1", "properties": {"description": "x"}, "privateProperties": {"p": 1}, "createdAt": 7,
                "dataplaneMetadata": {"@type": "DataplaneMetadata", "labels": ["eu"], "profiles": [], "properties": {"source": "s"}}})
        );
        assert!(AssetDraft::from_json(&body(json!({"@id": null}))).unwrap().id.is_none());
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            (json!({"properties": null}), "$.properties"),
            (json!({"properties": 1}), "$.properties"),
            (json!({"properties": {"hasPolicy": []}}), "$.properties.hasPolicy"),
            (json!({"@id": "a b"}), "$.@id"),
            (json!({"@id": 1}), "$.@id"),
            (json!({"@type": "CatalogAsset"}), "$.properties.endpointURL"),
            (json!({"dataplaneMetadata": {"labels": "eu"}}), "$.dataplaneMetadata.labels"),
            (json!({"dataplaneMetadata": {"@type": "X"}}), "$.dataplaneMetadata.@type"),
            (json!({"properties": {"long": "x".repeat(MAX_ASSET_BYTES)}}), "$"),
        ];
        for (more, path) in cases {
            let found = AssetDraft::from_json(&body(more.clone())).expect_err(path);
            assert!(found.iter().any(|v| v.path == path), "{path}: {found:?}");
        }
    }
}
