//! Whom a client wants to be told about a process (Management API `CallbackAddress`).

use super::Reader;
use crate::violation::Violation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

/// Callback addresses of one process at most.
pub const MAX_CALLBACKS: usize = 16;
/// Events of one callback address at most.
const MAX_EVENTS: usize = 64;
/// Longest address, in bytes.
const MAX_URI_BYTES: usize = 2 << 10;
/// Longest event name, header name or alias, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// A client's callback address; kept and shown with the process, and not called yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackAddress {
    /// Where to.
    pub uri: Url,
    /// Prefixes of event names.
    pub events: Vec<String>,
    /// Whether the change waits for the callback; never, so far.
    pub transactional: bool,
    /// Header for the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_key: Option<String>,
    /// Alias of the secret in the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_code_id: Option<String>,
}

impl CallbackAddress {
    /// Reads the optional field `callbackAddresses` of a body and notes what is wrong with it.
    pub fn read_all(r: &mut Reader<'_>) -> Vec<Self> {
        let path = r.path("callbackAddresses");
        let items = r.list("callbackAddresses", MAX_CALLBACKS);
        let read = |(n, item)| r.part(|| Self::from_json(item, &format!("{path}[{n}]")));
        items.iter().enumerate().filter_map(read).collect()
    }

    fn from_json(value: &Value, path: &str) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::nested(value, path)?;
        if r.raw("@type").is_some() {
            r.expect_type(&["CallbackAddress"]);
        }
        let uri = r.required_text("uri", MAX_URI_BYTES).and_then(|text| match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.as_str().len() <= MAX_URI_BYTES => Some(url),
            Ok(_) | Err(_) => {
                r.note("uri", format!("must be an absolute http or https URL of at most {MAX_URI_BYTES} bytes"));
                None
            }
        });
        let events = r.texts("events", MAX_EVENTS);
        if events.iter().any(|event| event.is_empty() || event.len() > MAX_TEXT_BYTES) {
            r.note("events", format!("each must have 1 to {MAX_TEXT_BYTES} bytes"));
        }
        let transactional = r.boolean("transactional").unwrap_or(false);
        if transactional {
            r.note("transactional", "must be false: no change waits for a callback, callbacks are not called yet");
        }
        let (auth_key, auth_code_id) = (r.text("authKey", MAX_TEXT_BYTES), r.text("authCodeId", MAX_TEXT_BYTES));
        r.finish(|| Some(Self { uri: uri?, events, transactional, auth_key, auth_code_id }))
    }

    /// The form of the API.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "@type": "CallbackAddress",
            "uri": self.uri.as_str(),
            "events": self.events,
            "transactional": self.transactional,
        });
        if let Some(fields) = json.as_object_mut() {
            for (name, value) in [("authKey", &self.auth_key), ("authCodeId", &self.auth_code_id)] {
                if let Some(value) = value {
                    fields.insert(name.to_owned(), value.as_str().into());
                }
            }
        }
        json
    }
}
