//! Requests about contract negotiations (Management API `ContractRequest`, `TerminateNegotiation`).

use super::{CallbackAddress, Reader, requested_profile};
use crate::{
    Did, NegotiationId, ProfileId,
    dsp::{BaseUrl, negotiation::MessageOffer},
    odrl::{Policy, PolicyType, Rule},
    violation::Violation,
};
use serde_json::Value;
use std::{fmt::Display, str::FromStr};

/// Longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 1_000;

/// `ContractRequest`: negotiate with a provider as consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractRequest {
    /// The id that the client wants the negotiation to have.
    pub id: Option<NegotiationId>,
    /// In which profile; may be left out by participants with exactly one.
    pub profile: Option<ProfileId>,
    /// DSP base of the provider.
    pub counter_party_address: BaseUrl,
    /// The provider's DID: the assigner of the offer.
    pub counter_party_id: Did,
    /// The offer as it stands in the provider's catalog, with its target.
    pub offer: MessageOffer,
    /// Whom the client wants to be told.
    pub callback_addresses: Vec<CallbackAddress>,
}

impl ContractRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["ContractRequest"])?;
        let (id, profile) = (r.parsed("@id"), requested_profile(&mut r));
        let address = r.required_parsed("counterPartyAddress");
        r.require("policy");
        let path = r.path("policy");
        let policy = r.raw("policy").and_then(|policy| r.part(|| Policy::from_json(policy, &path)));
        let offer = policy.and_then(|policy| r.part(|| offer(policy, &path)));
        let callback_addresses = CallbackAddress::read_all(&mut r);
        r.finish(|| {
            let (counter_party_id, offer) = offer?;
            Some(Self { id, profile, counter_party_address: address?, counter_party_id, offer, callback_addresses })
        })
    }
}

/// The offer and who makes it. Rules that are all left out mean the permission to use: a message has at least one (DSP 2025-1, contract schema).
///
/// # Errors
/// Every violated rule.
pub(super) fn offer(mut policy: Policy, path: &str) -> Result<(Did, MessageOffer), Vec<Violation>> {
    fn member<T: FromStr<Err: Display>>(value: Option<&str>, path: String, found: &mut Vec<Violation>) -> Option<T> {
        let read = value.ok_or_else(|| "is required".to_owned()).and_then(|text| text.parse().map_err(|why: T::Err| why.to_string()));
        read.map_err(|message| found.push(Violation::new(path, message))).ok()
    }
    let mut found = Vec::new();
    if policy.kind != PolicyType::Offer {
        found.push(Violation::new(format!("{path}.@type"), "must be Offer"));
    }
    let assigner = member(policy.assigner.as_deref(), format!("{path}.assigner"), &mut found);
    let id = member(policy.id.take().as_deref(), format!("{path}.@id"), &mut found);
    let target = member(policy.target.take().as_deref(), format!("{path}.target"), &mut found);
    let (Some(assigner), Some(id), Some(target), true) = (assigner, id, target, found.is_empty()) else { return Err(found) };
    if policy.permission.is_empty() && policy.prohibition.is_empty() {
        policy.permission.push(Rule { action: "use".to_owned(), constraint: Vec::new(), duty: Vec::new() });
    }
    Ok((assigner, MessageOffer { id, target, policy }))
}

/// Reads the optional `reason` of a body of this type.
///
/// # Errors
/// Every violated rule.
pub fn reason(body: &Value, kind: &str) -> Result<Option<String>, Vec<Violation>> {
    let mut r = Reader::open(body, &[kind])?;
    let reason = r.text("reason", MAX_REASON_BYTES).filter(|reason| !reason.trim().is_empty());
    r.finish(|| Some(reason))
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({"@context": [MANAGEMENT_CONTEXT], "@type": "ContractRequest", "profile": "p", "counterPartyAddress": "https://cp.example/dsp",
            "policy": {"@type": "Offer", "@id": "o", "assigner": "did:web:provider", "target": "a-77", "permission": []},
            "callbackAddresses": [{"@type": "CallbackAddress", "transactional": false, "uri": "https://app.example/cb", "events": ["contract"]}]})
    }

    #[test]
    fn what_clients_send() {
        let request = ContractRequest::from_json(&body()).unwrap();
        assert_eq!(request.counter_party_id.as_str(), "did:web:provider");
        assert_eq!((request.offer.id.as_str(), request.offer.target.as_str()), ("o", "a-77"));
        assert_eq!(request.offer.policy.permission.len(), 1);
        assert_eq!(request.callback_addresses.first().map(CallbackAddress::to_json), body().pointer("/callbackAddresses/0").cloned());
        let mut old = body();
        let old_fields = old.as_object_mut().unwrap();
        let profile = old_fields.remove("profile").unwrap();
        old_fields.insert("protocol".to_owned(), profile);
        assert_eq!(ContractRequest::from_json(&old), Ok(request));
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("/@type", json!("Offer"), "$.@type"),
            ("/counterPartyAddress", json!("nowhere"), "$.counterPartyAddress"),
            ("/policy", json!(null), "$.policy"),
            ("/policy/@type", json!("Set"), "$.policy.@type"),
            ("/policy/@id", json!(null), "$.policy.@id"),
            ("/policy/target", json!(null), "$.policy.target"),
            ("/policy/assigner", json!(null), "$.policy.assigner"),
            ("/policy/assigner", json!("acme"), "$.policy.assigner"),
            ("/policy/permission", json!([{"constraint": []}]), "$.policy.permission[0].action"),
            ("/callbackAddresses/0/transactional", json!(true), "$.callbackAddresses[0].transactional"),
            ("/callbackAddresses/0/uri", json!("ftp://x"), "$.callbackAddresses[0].uri"),
        ];
        for (at, value, path) in cases {
            let mut body = body();
            *body.pointer_mut(at).unwrap() = value;
            let found = ContractRequest::from_json(&body).expect_err(at);
            assert_eq!(found.first().map(|v| v.path.as_str()), Some(path), "{at}");
        }
        let mut both = body();
        both["protocol"] = json!("p");
        assert!(ContractRequest::from_json(&both).is_err());
    }

    #[test]
    fn reasons() {
        let terminate =
            |reason: Value| reason_of(&json!({"@context": [MANAGEMENT_CONTEXT], "@type": "TerminateNegotiation", "reason": reason}));
        fn reason_of(body: &Value) -> Result<Option<String>, Vec<Violation>> {
            reason(body, "TerminateNegotiation")
        }
        assert_eq!(terminate(json!("over")), Ok(Some("over".to_owned())));
        assert_eq!(terminate(json!(null)), Ok(None));
        assert!(terminate(json!(5)).is_err() && terminate(json!("x".repeat(2_000))).is_err());
    }
}
