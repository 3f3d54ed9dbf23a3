//! Where data is found or sent to (DSP 2025-1 `data-address-schema`, shared by data plane signaling).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Properties of one address at most.
pub const MAX_PROPERTIES: usize = 64;
/// Longest property value, in bytes; it may be a token.
pub const MAX_VALUE_BYTES: usize = 16 << 10;
/// Longest endpoint, endpoint type or property name, in bytes.
pub const MAX_TEXT_BYTES: usize = 2 << 10;

/// Address of a wire protocol endpoint. Its properties may hold tokens: they are never printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct DataAddress {
    /// The endpoint's type, for example `https://w3id.org/dspace-sig/profile/http-pull`.
    pub endpoint_type: String,
    /// The endpoint.
    pub endpoint: Option<String>,
    /// What else is needed to use it.
    pub endpoint_properties: Vec<EndpointProperty>,
}

/// One property of an address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireProperty", into = "WireProperty")]
pub struct EndpointProperty {
    /// Its name, for example `authorization`.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for EndpointProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointProperty").field("name", &self.name).finish_non_exhaustive()
    }
}

impl DataAddress {
    /// Value of the property `name`.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.endpoint_properties.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    /// Adds a property.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.endpoint_properties.push(EndpointProperty { name: name.to_owned(), value: value.into() });
        self
    }
}

// Data plane signaling shows addresses without `@type` (DPS, "Data Address"); the DSP schema wants it. So: read either, write it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "@type", default)]
    kind: Option<String>,
    endpoint_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    endpoint_properties: Vec<EndpointProperty>,
}

#[derive(Serialize, Deserialize)]
struct WireProperty {
    #[serde(rename = "@type", default)]
    kind: Option<String>,
    name: String,
    value: String,
}

impl TryFrom<Wire> for DataAddress {
    type Error = String;
    fn try_from(wire: Wire) -> Result<Self, String> {
        if wire.kind.is_some_and(|kind| kind != "DataAddress") {
            return Err("@type of a data address must be DataAddress".to_owned());
        }
        if wire.endpoint_type.is_empty() || wire.endpoint_type.len() > MAX_TEXT_BYTES {
            return Err(format!("endpointType must have 1 to {MAX_TEXT_BYTES} bytes"));
        }
        if wire.endpoint.as_ref().is_some_and(|e| e.len() > MAX_TEXT_BYTES) {
            return Err(format!("endpoint has at most {MAX_TEXT_BYTES} bytes"));
        }
        if wire.endpoint_properties.len() > MAX_PROPERTIES {
            return Err(format!("a data address has at most {MAX_PROPERTIES} properties"));
        }
        Ok(Self { endpoint_type: wire.endpoint_type, endpoint: wire.endpoint, endpoint_properties: wire.endpoint_properties })
    }
}

impl From<DataAddress> for Wire {
    fn from(address: DataAddress) -> Self {
        Self {
            kind: Some("DataAddress".to_owned()),
            endpoint_type: address.endpoint_type,
            endpoint: address.endpoint,
            endpoint_properties: address.endpoint_properties,
        }
    }
}

impl TryFrom<WireProperty> for EndpointProperty {
    type Error = String;
    fn try_from(wire: WireProperty) -> Result<Self, String> {
        if wire.kind.is_some_and(|kind| kind != "EndpointProperty") {
            return Err("@type of an endpoint property must be EndpointProperty".to_owned());
        }
        if wire.name.is_empty() || wire.name.len() > MAX_TEXT_BYTES {
            return Err(format!("name of an endpoint property must have 1 to {MAX_TEXT_BYTES} bytes"));
        }
        if wire.value.len() > MAX_VALUE_BYTES {
            return Err(format!("value of an endpoint property has at most {MAX_VALUE_BYTES} bytes"));
        }
        Ok(Self { name: wire.name, value: wire.value })
    }
}

impl From<EndpointProperty> for WireProperty {
    fn from(property: EndpointProperty) -> Self {
        Self { kind: Some("EndpointProperty".to_owned()), name: property.name, value: property.value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings_are_read_and_the_typed_one_is_written() {
        let typed = json!({"@type": "DataAddress", "endpointType": "http", "endpoint": "https://x",
            "endpointProperties": [{"@type": "EndpointProperty", "name": "authorization", "value": "secret-1"}]});
        let plain = json!({"endpointType": "http", "endpoint": "https://x", "endpointProperties": [{"name": "authorization", "value": "secret-1"}]});
        let address: DataAddress = serde_json::from_value(plain).unwrap();
        assert_eq!(serde_json::to_value(&address).unwrap(), typed);
        assert_eq!(serde_json::from_value::<DataAddress>(typed).unwrap(), address);
        assert_eq!(address.property("authorization"), Some("secret-1"));
        assert!(!format!("{address:?}").contains("secret-1"));
        let bare = DataAddress { endpoint_type: "http".into(), endpoint: None, endpoint_properties: vec![] };
        assert_eq!(serde_json::to_value(bare).unwrap(), json!({"@type": "DataAddress", "endpointType": "http"}));
    }

    #[test]
    fn bounds() {
        let many: Vec<_> = (0..=MAX_PROPERTIES).map(|i| json!({"name": format!("p{i}"), "value": ""})).collect();
        for bad in [
            json!({"@type": "Address", "endpointType": "http"}),
            json!({"endpointType": ""}),
            json!({"endpoint": "https://x"}),
            json!({"endpointType": "http", "endpointProperties": many}),
            json!({"endpointType": "http", "endpointProperties": [{"name": "a", "value": "x".repeat(MAX_VALUE_BYTES + 1)}]}),
            json!({"endpointType": "http", "endpointProperties": [{"@type": "P", "name": "a", "value": ""}]}),
        ] {
            assert!(serde_json::from_value::<DataAddress>(bad.clone()).is_err());
        }
    }
}
