//! Secrets that a participant's client gives to keep (Management API `Secret`).

use super::Reader;
use crate::{SecretId, SecretText, query_spec::PathRules, violation::Violation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest value of a secret, in bytes: what receivers take as a header.
pub const MAX_SECRET_BYTES: usize = 8 << 10;

/// A secret as a client gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDraft {
    /// Its id, by which callback addresses name it; the platform makes one when the client has none.
    pub id: Option<SecretId>,
    /// The secret itself.
    pub value: SecretText,
}

impl SecretDraft {
    /// Fields that queries may name: never the value.
    pub const PATHS: PathRules = PathRules { fields: &["id", "@id", "createdAt", "participantContextId"], free_properties: false };

    /// Reads a body. The value is taken out of it first: no message about the body shows it, and no copy of it stays.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(mut body: Value) -> Result<Self, Vec<Violation>> {
        let value = match body.as_object_mut().and_then(|fields| fields.remove("value")) {
            None | Some(Value::Null) => Err("is required".to_owned()),
            Some(Value::String(text)) => {
                let secret = SecretText::new(text);
                match secret.expose().len() {
                    0 => Err("must not be empty".to_owned()),
                    _ if !secret.expose().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => {
                        Err("must be visible ASCII characters and spaces, since it is sent as a header".to_owned())
                    }
                    1..=MAX_SECRET_BYTES => Ok(secret),
                    _ => Err(format!("must have at most {MAX_SECRET_BYTES} bytes")),
                }
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err("must be a string".to_owned()),
        };
        let mut r = Reader::open(&body, &["Secret"])?;
        let id = r.parsed("@id");
        if let Err(why) = &value {
            r.note("value", why.as_str());
        }
        r.finish(|| Some(Self { id, value: value.ok()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies() {
        let body = |value: Value| json!({"@context": [MANAGEMENT_CONTEXT], "@type": "Secret", "@id": "cb-key", "value": value});
        let draft = SecretDraft::from_json(body(json!("s3cret"))).unwrap();
        assert_eq!((draft.id.unwrap().as_str(), draft.value.expose()), ("cb-key", "s3cret"));
        assert!(SecretDraft::from_json(body(json!("x".repeat(MAX_SECRET_BYTES)))).is_ok());
        let long = json!("s3cret".repeat(MAX_SECRET_BYTES / 6 + 1));
        for wrong in [
            json!(null),
            json!(""),
            json!("s3cret\n"),
            json!("s3cret\u{e4}"),
            json!(4711),
            json!(["s3cret"]),
            json!({"@value": "s3cret"}),
            long,
        ] {
            let found = SecretDraft::from_json(body(wrong.clone())).unwrap_err();
            assert_eq!(found.iter().map(|violation| violation.path.as_str()).collect::<Vec<_>>(), ["$.value"]);
            assert!(!format!("{found:?}").contains("s3cret") && !format!("{found:?}").contains("4711"), "{found:?}");
        }
        for (field, path) in [("@type", "$.@type"), ("@context", "$.@context"), ("@id", "$.@id")] {
            let mut wrong = body(json!("s3cret"));
            wrong[field] = json!("a b");
            let found = SecretDraft::from_json(wrong).unwrap_err();
            assert_eq!(found.first().map(|violation| violation.path.as_str()), Some(path), "{found:?}");
        }
    }
}
