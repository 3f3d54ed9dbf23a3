//! What a data plane is told about an asset or a transfer (Management API `DataplaneMetadata`).

use super::Reader;
use crate::{dps::dataflow::MAX_LABELS, violation::Violation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Longest label or profile, in bytes.
const MAX_TEXT: usize = 256;

/// Hints for the choice of a data plane, and what it alone understands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataplaneMetadata {
    /// Flavours that the data plane must have, all of them.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Transfer types that are possible; empty: all that a data plane offers.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// For the data plane, for example the name of a source.
    #[serde(default)]
    pub properties: Map<String, Value>,
}

impl DataplaneMetadata {
    /// Reads the optional field `dataplaneMetadata` of a body and notes what is wrong with it.
    pub fn read(r: &mut Reader<'_>) -> Option<Self> {
        let value = r.raw("dataplaneMetadata")?;
        let path = r.path("dataplaneMetadata");
        r.part(|| Self::from_json(value, &path))
    }

    fn from_json(value: &Value, path: &str) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::nested(value, path)?;
        if r.raw("@type").is_some() {
            r.expect_type(&["DataplaneMetadata"]);
        }
        let (labels, profiles) = (r.texts("labels", MAX_LABELS), r.texts("profiles", MAX_LABELS));
        for (key, texts) in [("labels", &labels), ("profiles", &profiles)] {
            if texts.iter().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
                r.note(key, format!("each must have 1 to {MAX_TEXT} bytes"));
            }
        }
        let properties = r.object("properties");
        r.finish(|| Some(Self { labels, profiles, properties }))
    }

    /// The form of the API.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"@type": "DataplaneMetadata", "labels": self.labels, "profiles": self.profiles, "properties": self.properties})
    }
}
