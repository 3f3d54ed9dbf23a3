//! Whom a client wants to be told about a process (Management API `CallbackAddress`).

use super::{ProcessEvent, Reader};
use crate::{SecretId, violation::Violation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

/// Callback addresses of one process at most.
pub const MAX_CALLBACKS: usize = 8;
/// Events of one callback address at most.
const MAX_EVENTS: usize = 64;
/// Longest address, in bytes.
const MAX_URI_BYTES: usize = 2 << 10;
/// Longest event name, header name or alias, in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// Header with the signature of what is posted: a detached JWS (RFC 7515, appendix F).
pub const SIGNATURE_HEADER: &str = "x-jws-signature";
/// Headers that say how a request is to be read, or that are ours: no secret goes there.
const OUR_HEADERS: [&str; 16] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    SIGNATURE_HEADER,
];

/// A client's callback address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackAddress {
    /// Where to.
    pub uri: Url,
    /// Prefixes of the names of events that are told; none: nothing is.
    pub events: Vec<String>,
    /// Whether the client would have the change wait for the callback. It is kept and shown; no change waits for anybody.
    pub transactional: bool,
    /// Header for the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_key: Option<String>,
    /// Id of the secret, one of the participant's own.
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
            Ok(url) if is_callable(&url) => Some(url),
            Ok(_) | Err(_) => {
                r.note("uri", format!("must be an absolute http or https URL without a user, of at most {MAX_URI_BYTES} bytes"));
                None
            }
        });
        let events = r.texts("events", MAX_EVENTS);
        for (n, event) in events.iter().enumerate().filter(|(_, event)| !ProcessEvent::is_prefix(event)) {
            let violation = Violation::new(
                format!("{}[{n}]", r.path("events")),
                "must be the name of an event of negotiations or transfers, or its beginning",
            );
            r.note_all(vec![violation.showing(&Value::from(event.as_str()))]);
        }
        let transactional = r.boolean("transactional").unwrap_or(false);
        let (auth_key, auth_code_id) = auth(&mut r);
        r.finish(|| Some(Self { uri: uri?, events, transactional, auth_key, auth_code_id }))
    }

    /// Whether it is to be told of the event.
    #[must_use]
    pub fn wants(&self, event: ProcessEvent) -> bool {
        self.events.iter().any(|prefix| event.name().starts_with(prefix.as_str()))
    }

    /// The header for the secret, and the secret's id. What is read from a row may have been kept before anybody looked at it.
    ///
    /// # Errors
    /// The name of the field that says what no client may say.
    pub fn auth(&self) -> Result<Option<(&str, SecretId)>, &'static str> {
        let (Some(key), Some(id)) = (&self.auth_key, &self.auth_code_id) else { return Ok(None) };
        let key = Some(key.as_str()).filter(|key| is_header(key)).ok_or("authKey")?;
        Ok(Some((key, id.parse().map_err(|_| "authCodeId")?)))
    }

    /// The host that it is at, with its port.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.uri.host_str().unwrap_or_default();
        self.uri.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
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

fn is_callable(url: &Url) -> bool {
    let plain = url.username().is_empty() && url.password().is_none();
    matches!(url.scheme(), "http" | "https") && url.host().is_some() && plain && url.as_str().len() <= MAX_URI_BYTES
}

/// The header and the id of the secret in it: both, or neither.
fn auth(r: &mut Reader<'_>) -> (Option<String>, Option<String>) {
    let key = r.text("authKey", MAX_TEXT_BYTES);
    if key.as_deref().is_some_and(|key| !is_header(key)) {
        r.note("authKey", "must be the name of an HTTP header, and none that the protocol or the platform sets");
    }
    let id = r.text("authCodeId", MAX_TEXT_BYTES);
    if id.as_deref().is_some_and(|id| id.parse::<SecretId>().is_err()) {
        r.note("authCodeId", "must be the id of a secret: not empty, and without white space");
    }
    match (&key, &id) {
        (Some(_), None) if r.raw("authCodeId").is_none() => r.note("authCodeId", "is required with authKey"),
        (None, Some(_)) if r.raw("authKey").is_none() => r.note("authKey", "is required with authCodeId"),
        _ => {}
    }
    (key, id)
}

/// Whether it is a field name (RFC 9110, 5.1) that a client may choose.
fn is_header(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token) && !OUR_HEADERS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(callbacks: Value) -> Result<Vec<CallbackAddress>, Vec<String>> {
        let body = json!({"callbackAddresses": callbacks});
        let mut r = Reader::nested(&body, "$").unwrap();
        let read = CallbackAddress::read_all(&mut r);
        r.finish(|| Some(read)).map_err(|found| found.into_iter().map(|violation| violation.path).collect())
    }

    fn good() -> Value {
        json!({"@type": "CallbackAddress", "uri": "https://app.example/cb?k=1", "events": ["contract.negotiation", "transfer.process.started"],
            "transactional": false, "authKey": "X-Key", "authCodeId": "cb-key"})
    }

    #[test]
    fn what_is_accepted_is_shown_again() {
        let mut waiting = good();
        waiting["transactional"] = json!(true);
        let all = read(json!([good(), waiting])).unwrap();
        assert_eq!(all.iter().map(CallbackAddress::to_json).collect::<Vec<_>>(), [good(), waiting]);
        let [one, _] = all.as_slice() else { panic!("{all:?}") };
        let wanted: Vec<_> = ProcessEvent::ALL.into_iter().filter(|event| one.wants(*event)).map(ProcessEvent::name).collect();
        assert_eq!(wanted.len(), 9, "{wanted:?}");
        assert!(wanted.contains(&"contract.negotiation.finalized") && wanted.contains(&"transfer.process.started"));
        assert_eq!(one.host(), "app.example:443");
        // Whoever names no event is told of none.
        let none = read(json!([{"uri": "http://app.example:8080", "events": []}])).unwrap();
        assert!(none.iter().all(|one| ProcessEvent::ALL.iter().all(|event| !one.wants(*event)) && one.host() == "app.example:8080"));
    }

    /// Versions before callbacks were called kept any text.
    #[test]
    fn what_was_kept_unseen_is_read_shown_and_not_used() {
        for (field, kept) in [("authCodeId", "two words"), ("authCodeId", ""), ("authKey", "Content-Length"), ("authKey", "")] {
            let mut row = json!({"uri": "https://app.example/", "events": ["anything"], "transactional": true, "authKey": "X-Key", "authCodeId": "cb-key"});
            row[field] = json!(kept);
            let old: CallbackAddress = serde_json::from_value(row.clone()).unwrap();
            assert_eq!(serde_json::to_value(&old).unwrap(), row);
            assert_eq!((&old.to_json()[field], old.auth()), (&json!(kept), Err(field)));
        }
        let callback = read(json!([good()])).unwrap().remove(0);
        assert_eq!(callback.auth(), Ok(Some(("X-Key", "cb-key".parse().unwrap()))));
        assert_eq!(CallbackAddress { auth_key: None, ..callback }.auth(), Ok(None));
    }

    #[test]
    fn every_mistake_is_told_once() {
        let at = |field: &str| format!("$.callbackAddresses[0].{field}");
        for (field, value, wrong) in [
            ("uri", json!("ftp://app.example"), vec!["uri"]),
            ("uri", json!("local://adapter"), vec!["uri"]),
            ("uri", json!("https://user:secret@app.example"), vec!["uri"]),
            ("uri", json!("/cb"), vec!["uri"]),
            ("uri", json!(format!("https://app.example/{}", "x".repeat(MAX_URI_BYTES))), vec!["uri"]),
            ("events", json!(["contract", "asset.created", "contract.negotiation", ""]), vec!["events[1]", "events[3]"]),
            ("events", json!("contract"), vec!["events"]),
            ("transactional", json!("yes"), vec!["transactional"]),
            ("authKey", json!("X Key"), vec!["authKey"]),
            ("authKey", json!(""), vec!["authKey"]),
            ("authKey", json!("Content-Length"), vec!["authKey"]),
            ("authKey", json!("X-JWS-Signature"), vec!["authKey"]),
            ("authKey", json!(null), vec!["authKey"]),
            ("authCodeId", json!(""), vec!["authCodeId"]),
            ("authCodeId", json!("two words"), vec!["authCodeId"]),
            ("authCodeId", json!(null), vec!["authCodeId"]),
            ("authCodeId", json!(5), vec!["authCodeId"]),
        ] {
            let mut callback = good();
            callback[field] = value.clone();
            let wrong: Vec<String> = wrong.into_iter().map(at).collect();
            assert_eq!(read(json!([callback])), Err(wrong), "{field}: {value}");
        }
        assert_eq!(read(json!(vec![good(); MAX_CALLBACKS])).map(|all| all.len()), Ok(MAX_CALLBACKS));
        assert_eq!(read(json!(vec![good(); MAX_CALLBACKS + 1])), Err(vec!["$.callbackAddresses".to_owned()]));
    }
}
