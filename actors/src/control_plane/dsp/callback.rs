//! Whom a client wants to be told about a process.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

/// A client's callback address (Management API `CallbackAddress`); kept and shown with the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackAddress {
    /// Where to.
    pub uri: Url,
    /// Prefixes of event names.
    pub events: Vec<String>,
    /// Whether the change waits for the callback.
    pub transactional: bool,
    /// Header for the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_key: Option<String>,
    /// Alias of the secret in the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_code_id: Option<String>,
}

/// The addresses in the form of the Management API.
#[must_use]
pub fn to_json(callbacks: &[CallbackAddress]) -> Value {
    let one = |c: &CallbackAddress| {
        let mut json = json!({"@type": "CallbackAddress", "uri": c.uri.as_str(), "events": c.events, "transactional": c.transactional});
        if let Some(fields) = json.as_object_mut() {
            for (name, value) in [("authKey", &c.auth_key), ("authCodeId", &c.auth_code_id)] {
                if let Some(value) = value {
                    fields.insert(name.to_owned(), value.as_str().into());
                }
            }
        }
        json
    };
    callbacks.iter().map(one).collect()
}
