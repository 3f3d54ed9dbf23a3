//! Version discovery (DSP 2025-1, "Exposure of Versions").

use serde::Deserialize;

/// Versions read of one document at most; the first ones count.
pub const MAX_VERSIONS: usize = 64;

/// The document at `/.well-known/dspace-version`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionResponse {
    /// What is served.
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
