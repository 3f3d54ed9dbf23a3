//! Registration of a data plane (data plane signaling, "Registration").

use crate::{DataPlaneId, SecretText, TransferType, dsp::BaseUrl};
use serde::{Deserialize, Serialize};

use super::dataflow::MAX_LABELS;

/// Profiles of one data plane at most.
pub const MAX_PROFILES: usize = 64;
/// Longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// Longest value of an authorization entry, in bytes.
pub const MAX_AUTHORIZATION_BYTES: usize = 4 << 10;

/// A data plane and what it can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneRegistrationMessage {
    /// Its id; absent: the control plane makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataplane_id: Option<DataPlaneId>,
    /// Base of its data flow endpoints, to which `/prepare`, `/start` and `/{id}/...` are appended.
    pub endpoint: BaseUrl,
    /// How it can transfer.
    pub profiles: Vec<TransferType>,
    /// How the control plane authenticates to it; absent: by the platform's own tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationEntry>,
    /// What else distinguishes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// How a control plane and a data plane authenticate to each other. The secret is never printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AuthorizationEntry {
    /// Tokens by the client credentials grant (RFC 6749, 4.4).
    #[serde(rename = "oauth2_client_credentials", rename_all = "camelCase")]
    ClientCredentials {
        /// Where tokens are made.
        token_endpoint: BaseUrl,
        /// The client.
        client_id: String,
        /// Its secret.
        client_secret: SecretText,
    },
}

// Peers spell the id `dataplaneId` or `id`, and the profiles `profiles` or `transferTypes`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    dataplane_id: Option<DataPlaneId>,
    id: Option<DataPlaneId>,
    endpoint: BaseUrl,
    profiles: Option<Vec<TransferType>>,
    transfer_types: Option<Vec<TransferType>>,
    authorization: Option<AuthorizationEntry>,
    labels: Option<Vec<String>>,
}

/// Checks number and length of labels.
pub(super) fn check_labels(labels: &[String]) -> Result<(), String> {
    if labels.len() > MAX_LABELS || labels.iter().any(|l| l.is_empty() || l.len() > MAX_LABEL_BYTES) {
        return Err(format!("at most {MAX_LABELS} labels of 1 to {MAX_LABEL_BYTES} bytes"));
    }
    Ok(())
}

impl TryFrom<Wire> for DataPlaneRegistrationMessage {
    type Error = String;
    fn try_from(wire: Wire) -> Result<Self, String> {
        let dataplane_id = match (wire.dataplane_id, wire.id) {
            (Some(a), Some(b)) if a != b => return Err("dataplaneId and id differ".to_owned()),
            (a, b) => a.or(b),
        };
        let mut profiles = wire.profiles.unwrap_or_default();
        for profile in wire.transfer_types.unwrap_or_default() {
            if !profiles.contains(&profile) {
                profiles.push(profile);
            }
        }
        if profiles.is_empty() || profiles.len() > MAX_PROFILES {
            return Err(format!("profiles must have 1 to {MAX_PROFILES} entries"));
        }
        let labels = wire.labels.unwrap_or_default();
        check_labels(&labels)?;
        if let Some(AuthorizationEntry::ClientCredentials { client_id, client_secret, .. }) = &wire.authorization {
            for (name, value) in [("clientId", client_id.as_str()), ("clientSecret", client_secret.expose())] {
                if value.is_empty() || value.len() > MAX_AUTHORIZATION_BYTES {
                    return Err(format!("{name} must have 1 to {MAX_AUTHORIZATION_BYTES} bytes"));
                }
            }
        }
        Ok(Self { dataplane_id, endpoint: wire.endpoint, profiles, authorization: wire.authorization, labels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<DataPlaneRegistrationMessage, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn all_spellings() {
        let spec =
            read(json!({"dataplaneId": "d", "endpoint": "http://x/dataflows", "profiles": ["HttpData-PULL"], "labels": ["eu"]})).unwrap();
        let edc = read(json!({"id": "d", "endpoint": "http://x/dataflows", "transferTypes": ["HttpData-PULL"], "labels": ["eu"]})).unwrap();
        assert_eq!(spec, edc);
        let both = read(json!({"endpoint": "http://x", "profiles": ["a"], "transferTypes": ["a", "b"]})).unwrap();
        assert_eq!(both.profiles.len(), 2);
        assert_eq!(both.dataplane_id, None);
        assert_eq!(read(serde_json::to_value(&spec).unwrap()).unwrap(), spec);
    }

    #[test]
    fn secrets_are_not_printed() {
        let entry =
            json!({"type": "oauth2_client_credentials", "tokenEndpoint": "https://x/token", "clientId": "c", "clientSecret": "s3cr3t"});
        let plane = read(json!({"endpoint": "http://x", "profiles": ["a"], "authorization": entry})).unwrap();
        assert!(!format!("{plane:?}").contains("s3cr3t"));
    }

    #[test]
    fn bounds() {
        for bad in [
            json!({"endpoint": "http://x"}),
            json!({"endpoint": "http://x", "profiles": []}),
            json!({"endpoint": "x", "profiles": ["a"]}),
            json!({"dataplaneId": "a", "id": "b", "endpoint": "http://x", "profiles": ["a"]}),
            json!({"endpoint": "http://x", "profiles": ["a"], "labels": [""]}),
            json!({"endpoint": "http://x", "profiles": ["a"], "authorization": {"type": "other"}}),
            json!({"endpoint": "http://x", "profiles": ["a"], "authorization": {"type": "oauth2_client_credentials", "clientId": "c"}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
