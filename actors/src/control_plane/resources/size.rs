//! About how many bytes an entity takes in its JSON form, without making it.

use cellspace_schemas::management::{Asset, ContractDefinition};
use serde_json::{Map, Value};

/// Names of fields, ids, times: what every entity has.
const FRAME: usize = 256;

pub(super) fn of_asset(asset: &Asset) -> usize {
    let metadata = asset.dataplane_metadata.as_ref().map_or(0, |metadata| of_value(&metadata.to_json()));
    FRAME + of_fields(&asset.properties) + of_fields(&asset.private_properties) + metadata
}

pub(super) fn of_definition(definition: &ContractDefinition) -> usize {
    let criterion = |right: &Value| FRAME + of_value(right);
    let selector: usize = definition.assets_selector.iter().map(|each| criterion(&each.right)).sum();
    FRAME + selector + of_fields(&definition.private_properties)
}

fn of_fields(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(name, value)| name.len() + 4 + of_value(value)).sum()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| of_value(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => of_fields(fields) + 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![any::<bool>().prop_map(Value::from), (0..100_000_u32).prop_map(Value::from), "[a-z]{0,40}".prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,9}", inner, 0..6).prop_map(|fields| json!(fields)),
            ]
        })
    }

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]

        /// Within eight bytes for each value.
        #[test]
        fn about_the_length_of_the_text(value in values()) {
            let (found, text) = (of_value(&value), value.to_string());
            let values = text.matches([',', ':', '[', '{']).count() + 1;
            prop_assert!(found.abs_diff(text.len()) <= 8 * values, "{found} {text}");
        }
    }
}
