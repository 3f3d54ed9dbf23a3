//! What a counterparty says in an error (`CatalogError`, `ContractNegotiationError`, `TransferError`).

use super::reasons::Reasons;
use crate::jsonld::{self, DSP, Others};
use serde_json::Value;

/// The reasons that an error gives, in any form of JSON-LD, in one bounded line ([`Reasons::text`]); `None` when it says nothing that can be read.
#[must_use]
pub fn reason(answer: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(answer).ok()?;
    let text = |reason: Option<&Value>| serde_json::from_value::<Reasons>(reason?.clone()).ok()?.text();
    match text(document.get("reason")) {
        Some(told) => Some(told),
        None => text(jsonld::compact(&DSP, &document, &[], Others::LeftOut).ok()?.get("reason")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_of_others() {
        let told = |error: Value| reason(error.to_string().as_bytes());
        assert_eq!(told(json!({"reason": ["a", {"b": 1}]})).as_deref(), Some(r#"a; {"b":1}"#));
        assert_eq!(told(json!({"reason": "a"})).as_deref(), Some("a"));
        for expanded in [
            json!([{"@type": ["https://w3id.org/dspace/2025/1/CatalogError"], "https://w3id.org/dspace/2025/1/reason": [{"@value": "a"}]}]),
            json!({"@context": {"d": "https://w3id.org/dspace/2025/1/"}, "@type": "d:TransferError", "d:reason": "a"}),
        ] {
            assert_eq!(told(expanded).as_deref(), Some("a"));
        }
        assert_eq!((told(json!({})), told(json!({"d:reason": 1})), reason(b"<html>")), (None, None, None));
        assert!(told(json!({"reason": ["x".repeat(9000)]})).unwrap().len() <= 1_000);
    }
}
