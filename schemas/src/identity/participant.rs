//! Participant contexts of the Identity API.

use super::KeyDescriptor;
use crate::{Did, ParticipantContextId, SecretText, Timestamp, dcp::Service, issuer::coerce::null_is_default};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// One key or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(match Option::<OneOrMany<T>>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    })
}

/// Largest number of keys, services, scopes in a manifest.
pub const MAX_ENTRIES: usize = 64;

/// A participant context to be made.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantManifest {
    /// Its id.
    #[serde(alias = "participantId")]
    pub participant_context_id: ParticipantContextId,
    /// Its DID.
    pub did: Did,
    /// Whether it is active at once.
    #[serde(default, deserialize_with = "null_is_default")]
    pub active: bool,
    /// Services of its DID document.
    #[serde(default, deserialize_with = "null_is_default")]
    pub service_endpoints: Vec<Service>,
    /// The older spelling of its keys.
    #[serde(default, deserialize_with = "one_or_many")]
    pub key: Vec<KeyDescriptor>,
    /// Its keys.
    #[serde(default, deserialize_with = "one_or_many")]
    pub keys: Vec<KeyDescriptor>,
    /// Scopes, kept and shown.
    #[serde(default, deserialize_with = "null_is_default")]
    pub scopes: Vec<String>,
    /// Kept and shown.
    #[serde(default, deserialize_with = "null_is_default")]
    pub additional_properties: Map<String, Value>,
    /// Whether to make a client of the secure token service.
    #[serde(default, deserialize_with = "null_is_default")]
    pub provision_sts_account: bool,
}

impl ParticipantManifest {
    /// The keys of either spelling.
    pub fn all_keys(&self) -> impl Iterator<Item = &KeyDescriptor> {
        self.key.iter().chain(&self.keys)
    }
}

/// Answer to a create; nulls for what was not provisioned.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantSecrets {
    /// API keys are not supported: callers use tokens.
    pub api_key: Option<String>,
    /// Client of the secure token service.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretText>,
}

/// A participant context as shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantResource {
    /// Its id.
    pub participant_context_id: ParticipantContextId,
    /// Its DID.
    pub did: Did,
    /// 0 CREATED, 1 ACTIVATED, 2 DEACTIVATED.
    pub state: u8,
    /// Always empty: scopes decide.
    pub roles: Vec<String>,
    /// Scopes as given.
    pub scopes: Vec<String>,
    /// When it was made, in milliseconds.
    pub created_at: Timestamp,
    /// When it was changed last, in milliseconds.
    pub last_modified: Timestamp,
    /// As given.
    pub properties: Map<String, Value>,
}

/// Names a DID in a body.
#[derive(Debug, Clone, Deserialize)]
pub struct DidRequest {
    /// The DID.
    pub did: Did,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn manifests_are_read_tolerantly() {
        let manifest = |keys: Value| {
            let mut body = json!({"participantContextId": "p1", "did": "did:web:localhost%3A7083:acme", "active": true, "roles": ["participant"],
                "provisionApiKey": false, "serviceEndpoints": [{"id": "s", "type": "CredentialService", "serviceEndpoint": "https://x"}]});
            body.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            serde_json::from_value::<ParticipantManifest>(body)
        };
        let key = json!({"keyId": "k1", "privateKeyAlias": "a", "keyGeneratorParams": {"algorithm": "EDDSA", "curve": "Ed25519"}});
        for (keys, count) in [
            (json!({}), 0),
            (json!({"key": null, "serviceEndpoints": null, "scopes": null, "additionalProperties": null}), 0),
            (json!({"key": key}), 1),
            (json!({"keys": [key, key]}), 2),
            (json!({"keys": key}), 1),
        ] {
            assert_eq!(manifest(keys.clone()).unwrap().all_keys().count(), count, "{keys}");
        }
        for bad in [json!({"did": "https://x"}), json!({"participantContextId": "a b"}), json!({"keys": [7]})] {
            assert!(manifest(bad.clone()).is_err(), "{bad}");
        }
    }
}
