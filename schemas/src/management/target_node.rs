//! Providers whose catalogs are looked at for the federated catalog (`TargetNode`).

use super::{Reader, participant_context::MAX_PROFILES};
use crate::{Did, ProfileId, dsp::BaseUrl, query_spec::PathRules, violation::Violation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Longest name, in bytes.
const MAX_NAME: usize = 256;

/// A provider whose catalogs are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetNode {
    /// Who it is.
    pub id: Did,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version endpoint, or what that lies below; without one, what its DID document says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<BaseUrl>,
    /// The dataspace profiles in which it is looked at; empty means all.
    pub supported_protocols: BTreeSet<ProfileId>,
}

impl TargetNode {
    /// Fields that queries may name.
    pub const PATHS: PathRules = PathRules { fields: &["id", "@id", "name", "url", "supportedProtocols"], free_properties: false };

    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["TargetNode"])?;
        let id = r.required_parsed("@id");
        let name = r.text("name", MAX_NAME).filter(|name| !name.is_empty());
        let url = r.parsed("url");
        let (mut supported_protocols, mut wrong) = (BTreeSet::new(), false);
        for protocol in r.texts("supportedProtocols", MAX_PROFILES) {
            match protocol.parse() {
                Ok(profile) => wrong |= !supported_protocols.insert(profile),
                Err(_) => wrong = true,
            }
        }
        if wrong {
            r.note("supportedProtocols", "must be different names of dataspace profiles");
        }
        r.finish(|| Some(Self { id: id?, name, url, supported_protocols }))
    }

    /// The form of the API, without `@context`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("@type".to_owned(), "TargetNode".into());
        fields.insert("@id".to_owned(), self.id.as_str().into());
        if let Some(name) = &self.name {
            fields.insert("name".to_owned(), name.as_str().into());
        }
        if let Some(url) = &self.url {
            fields.insert("url".to_owned(), url.as_str().into());
        }
        fields.insert("supportedProtocols".to_owned(), json!(self.supported_protocols));
        Value::Object(fields)
    }

    /// Whether it is looked at in this profile.
    #[must_use]
    pub fn supports(&self, profile: &ProfileId) -> bool {
        self.supported_protocols.is_empty() || self.supported_protocols.contains(profile)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::MANAGEMENT_CONTEXT, *};

    fn read(fields: Value) -> Result<TargetNode, Vec<String>> {
        let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "TargetNode"});
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        TargetNode::from_json(&body).map_err(|found| found.into_iter().map(|violation| violation.path).collect())
    }

    #[test]
    fn who_it_is_must_be_said() {
        let least = read(json!({"@id": "did:web:x.example"})).unwrap();
        assert!(least.supports(&"any".parse().unwrap()) && least.url.is_none());
        let most = json!({"@id": "did:web:x.example", "name": "x", "url": "https://x.example/dsp", "supportedProtocols": ["b", "a"]});
        let most = read(most).unwrap();
        assert!(most.supports(&"a".parse().unwrap()) && !most.supports(&"c".parse().unwrap()));
        for node in [least, most] {
            assert_eq!(read(node.to_json()), Ok(node.clone()));
            assert_eq!(serde_json::from_value::<TargetNode>(serde_json::to_value(&node).unwrap()).unwrap(), node);
        }
        for (fields, path) in [
            (json!({}), "$.@id"),
            (json!({"@id": "x"}), "$.@id"),
            (json!({"@id": "did:web:x", "name": 7}), "$.name"),
            (json!({"@id": "did:web:x", "name": "x".repeat(MAX_NAME + 1)}), "$.name"),
            (json!({"@id": "did:web:x", "url": "ftp://x.example"}), "$.url"),
            (json!({"@id": "did:web:x", "url": "https://x.example?a=b"}), "$.url"),
            (json!({"@id": "did:web:x", "supportedProtocols": "a"}), "$.supportedProtocols"),
            (json!({"@id": "did:web:x", "supportedProtocols": ["a b"]}), "$.supportedProtocols"),
            (json!({"@id": "did:web:x", "supportedProtocols": ["a", "a"]}), "$.supportedProtocols"),
            (json!({"@id": "did:web:x", "supportedProtocols": vec!["a"; MAX_PROFILES + 1]}), "$.supportedProtocols"),
        ] {
            assert_eq!(read(fields.clone()), Err(vec![path.to_owned()]), "{fields}");
        }
    }
}
