//! The fields of an asset that criteria compare, without its JSON form being made for each.

use super::Asset;
use crate::query_spec::{Criterion, FieldPath};
use serde_json::{Value, json};
use std::cell::OnceCell;

/// Fields of an asset's JSON form beside its id and its properties.
const BESIDE: [&str; 5] = ["@type", "privateProperties", "createdAt", "isCatalog", "dataplaneMetadata"];

/// What criteria see of an asset: the same as in its JSON form.
#[derive(Debug)]
pub struct AssetFields<'a> {
    asset: &'a Asset,
    whole: fn(&Asset) -> Value,
    id: OnceCell<Value>,
    /// Made when a path leads to something else than properties.
    json: OnceCell<Value>,
}

impl Asset {
    /// All fields, as in [`Asset::to_json`].
    #[must_use]
    pub fn fields(&self) -> AssetFields<'_> {
        AssetFields { asset: self, whole: Self::to_json, id: OnceCell::new(), json: OnceCell::new() }
    }

    /// Those that counterparties see: the id and the public properties.
    #[must_use]
    pub fn public_fields(&self) -> AssetFields<'_> {
        AssetFields { whole: |asset| json!({"@id": asset.id.as_str(), "properties": asset.properties}), ..self.fields() }
    }
}

impl AssetFields<'_> {
    /// Every value that the path leads to.
    #[must_use]
    pub fn values(&self, path: &FieldPath) -> Vec<&Value> {
        if path.names("id") {
            return vec![self.id.get_or_init(|| self.asset.id.as_str().into())];
        }
        let among = path.among(&self.asset.properties, &BESIDE);
        among.unwrap_or_else(|| path.values(self.json.get_or_init(|| (self.whole)(self.asset))))
    }

    /// Whether all criteria hold.
    #[must_use]
    pub fn meet(&self, criteria: &[Criterion]) -> bool {
        criteria.iter().all(|criterion| criterion.accepts(&self.values(&criterion.left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timestamp, management::DataplaneMetadata};
    use proptest::prelude::*;
    use serde_json::Map;

    const NAMES: [&str; 9] = ["id", "@id", "a", "properties", "createdAt", "privateProperties", "@type", "edc:a", "dataplaneMetadata"];

    fn names() -> impl Strategy<Value = String> {
        let long = |name: &str| format!("{}{name}", crate::query_spec::EDC_NAMESPACE);
        prop_oneof![prop::sample::select(&NAMES[..]).prop_map(str::to_owned), prop::sample::select(&NAMES[..]).prop_map(long)]
    }

    fn properties() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = prop_oneof![Just(json!(1)), Just(json!("x")), Just(json!(null)), Just(json!(["x", 2]))];
        let value = leaf.prop_recursive(2, 8, 3, |inner| {
            prop::collection::vec((names(), inner), 0..3).prop_map(|fields| Value::Object(fields.into_iter().collect()))
        });
        prop::collection::vec((names(), value), 0..4).prop_map(|fields| fields.into_iter().collect())
    }

    fn paths() -> impl Strategy<Value = FieldPath> {
        let quoted = names().prop_map(|name| format!("'{name}'"));
        let named = (quoted, prop_oneof![4 => Just(""), 1 => Just("[0]")]).prop_map(|(name, position)| format!("{name}{position}"));
        prop::collection::vec(named, 1..4).prop_map(|names| names.join(".").parse().unwrap())
    }

    proptest! {
        #![proptest_config(crate::testkit::proptest_config())]

        #[test]
        fn fields_are_those_of_the_json_form(
            properties in properties(), private_properties in properties(), path in paths(), is_catalog: bool, planes: bool
        ) {
            let dataplane_metadata = planes.then(DataplaneMetadata::default);
            let (id, created_at) = ("a-1".parse().unwrap(), Timestamp(7));
            let asset = Asset { id, is_catalog, properties, private_properties, dataplane_metadata, created_at };
            let (fields, json) = (asset.fields(), asset.to_json());
            prop_assert_eq!(fields.values(&path), path.values(&json));
            let (fields, shown) = (asset.public_fields(), json!({"@id": "a-1", "properties": asset.properties}));
            prop_assert_eq!(fields.values(&path), path.values(&shown));
        }
    }
}
