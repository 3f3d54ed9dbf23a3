//! Registration of a data plane (data plane signaling, "Registration").

use crate::{DataPlaneId, SecretText, TransferType, dsp::BaseUrl};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dataflow::MAX_LABELS;

/// Profiles of one data plane at most.
pub const MAX_PROFILES: usize = 64;
/// Longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// Keys of one inline key set at most.
pub const MAX_KEYS: usize = 16;
/// Longest value of an authorization entry, in bytes.
pub const MAX_AUTHORIZATION_BYTES: usize = 4 << 10;

/// Longest inline key set, in bytes.
pub const MAX_JWKS_BYTES: usize = 16 << 10;

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
        /// Key set (RFC 7517) that tokens of the data plane verify with; instead of `jwks_uri`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jwks: Option<Value>,
        /// Where that key set is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jwks_uri: Option<BaseUrl>,
    },
    /// Tokens by exchange at a broker (RFC 8693).
    #[serde(rename = "oauth2_token_exchange", rename_all = "camelCase")]
    TokenExchange {
        /// Where tokens are exchanged.
        token_exchange_endpoint: BaseUrl,
        /// The `iss` of its tokens.
        issuer: String,
        /// Where its key set is.
        jwks_uri: BaseUrl,
    },
}

impl AuthorizationEntry {
    fn check(&self) -> Result<(), String> {
        let bounded = |name: &str, value: &str| match value.len() {
            1..=MAX_AUTHORIZATION_BYTES => Ok(()),
            _ => Err(format!("{name} must have 1 to {MAX_AUTHORIZATION_BYTES} bytes")),
        };
        match self {
            Self::TokenExchange { issuer, .. } => bounded("issuer", issuer),
            Self::ClientCredentials { client_id, client_secret, jwks, jwks_uri, .. } => {
                bounded("clientId", client_id)?;
                bounded("clientSecret", client_secret.expose())?;
                let Some(jwks) = jwks else { return Ok(()) };
                if jwks_uri.is_some() {
                    return Err("jwks and jwksUri exclude each other".to_owned());
                }
                let keys = jwks.get("keys").and_then(Value::as_array).map_or(0, Vec::len);
                if !(1..=MAX_KEYS).contains(&keys) || jwks.to_string().len() > MAX_JWKS_BYTES {
                    return Err(format!("jwks must be a key set of 1 to {MAX_KEYS} keys and at most {MAX_JWKS_BYTES} bytes"));
                }
                Ok(())
            }
        }
    }
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
        if let Some(authorization) = &wire.authorization {
            authorization.check()?;
        }
        Ok(Self { dataplane_id, endpoint: wire.endpoint, profiles, authorization: wire.authorization, labels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    #[test]
    fn authorization_profiles() {
        let credentials = |more: Value| {
            let mut entry =
                json!({"type": "oauth2_client_credentials", "tokenEndpoint": "https://x/token", "clientId": "c", "clientSecret": "s"});
            entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            entry
        };
        let exchange = |more: Value| {
            let mut entry = json!({"type": "oauth2_token_exchange", "tokenExchangeEndpoint": "https://x/token", "issuer": "https://x",
                "jwksUri": "https://x/jwks"});
            entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            entry
        };
        let plane = |entry: &Value| read(json!({"endpoint": "http://x", "profiles": ["a"], "authorization": entry}));
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        for good in [
            credentials(json!({})),
            credentials(json!({"jwks": {"keys": [key]}})),
            credentials(json!({"jwksUri": "https://x/jwks"})),
            exchange(json!({})),
        ] {
            let read = plane(&good).unwrap();
            assert_eq!(serde_json::to_value(read.authorization).unwrap(), good);
        }
        for bad in [
            credentials(json!({"jwks": {"keys": []}})),
            credentials(json!({"jwks": {"keys": vec![&key; MAX_KEYS + 1]}})),
            credentials(json!({"jwks": {"keys": [{"n": "x".repeat(MAX_JWKS_BYTES)}]}})),
            credentials(json!({"jwks": "https://x/jwks"})),
            credentials(json!({"jwks": {"keys": [key]}, "jwksUri": "https://x/jwks"})),
            credentials(json!({"clientSecret": ""})),
            credentials(json!({"clientId": "x".repeat(MAX_AUTHORIZATION_BYTES + 1)})),
            exchange(json!({"issuer": ""})),
            exchange(json!({"jwksUri": null})),
        ] {
            assert!(plane(&bad).is_err(), "{bad}");
        }
    }
}
