//! Version discovery (DSP 2025-1, "Exposure of Versions").

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Versions read of one document at most; the first ones count.
const MAX_VERSIONS: usize = 64;

/// The document at `/.well-known/dspace-version`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionResponse {
    /// What is served, as far as it can be read: others may serve versions whose entries have another form.
    #[serde(deserialize_with = "readable")]
    pub protocol_versions: Vec<ProtocolVersion>,
}

/// One version that is served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProtocolVersion {
    /// For example `2025-1`.
    pub version: String,
    /// Where, below the place of `.well-known`.
    pub path: String,
    /// For example `HTTPS`.
    pub binding: String,
    /// In which profile: an addition that connectors make which serve several dataspaces.
    #[serde(default)]
    pub profile: Option<String>,
}

fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ProtocolVersion>, D::Error> {
    let entries = Vec::<Value>::deserialize(deserializer)?;
    Ok(entries.into_iter().take(MAX_VERSIONS).filter_map(|entry| ProtocolVersion::deserialize(entry).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_of_another_form_are_left_out() {
        let known = json!({"version": "2025-1", "path": "/2025-1", "binding": "HTTPS"});
        let read = |entries: Vec<Value>| serde_json::from_value::<VersionResponse>(json!({"protocolVersions": entries})).unwrap();
        let found = read(vec![json!({"version": "0.8", "path": "/"}), json!(1), known.clone()]).protocol_versions;
        assert_eq!(found.iter().map(|version| version.version.as_str()).collect::<Vec<_>>(), ["2025-1"]);
        assert_eq!(read(vec![known; MAX_VERSIONS + 1]).protocol_versions.len(), MAX_VERSIONS);
        assert!(serde_json::from_value::<VersionResponse>(json!({"protocolVersions": {}})).is_err());
    }
}
