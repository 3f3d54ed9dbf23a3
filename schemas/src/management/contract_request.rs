//! Requests about contract negotiations (Management API `ContractRequest`, `TerminateNegotiation`; `ContractOffer` and
//! bare ODRL `Offer`s, which no peer has).

use super::{CallbackAddress, Reader, requested_profile};
use crate::{
    AssetId, Did, NegotiationId, ProfileId,
    dsp::{BaseUrl, negotiation::MessageOffer},
    odrl::{Policy, PolicyType, Rule},
    violation::Violation,
};
use serde_json::Value;
use std::{fmt::Display, str::FromStr};

/// Longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 1_000;

/// A negotiation that a client wants: with a provider, by a `ContractRequest`, or with a consumer, by a `ContractOffer`.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractRequest {
    /// The id that the client wants the negotiation to have.
    pub id: Option<NegotiationId>,
    /// In which profile; may be left out by participants with exactly one.
    pub profile: Option<ProfileId>,
    /// DSP base of the other party.
    pub counter_party_address: BaseUrl,
    /// The other party's DID.
    pub counter_party_id: Did,
    /// The offer as it stands in the provider's catalog, with its target; or one of the participant's own, about an asset of its.
    pub offer: MessageOffer,
    /// Whom the client wants to be told.
    pub callback_addresses: Vec<CallbackAddress>,
}

impl ContractRequest {
    /// Reads a `ContractRequest`; the provider is the assigner of the offer.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        Self::read(Reader::open(body, &["ContractRequest"])?, None)
    }

    /// Reads a `ContractOffer` by `own`, the participant, which makes the offer; the body names the consumer.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn offer_from_json(body: &Value, own: &Did) -> Result<Self, Vec<Violation>> {
        Self::read(Reader::open(body, &["ContractOffer"])?, Some(own))
    }

    fn read(mut r: Reader<'_>, own: Option<&Did>) -> Result<Self, Vec<Violation>> {
        let (id, profile) = (r.parsed("@id"), requested_profile(&mut r));
        let address = r.required_parsed("counterPartyAddress");
        let consumer = own.and_then(|_| r.required_parsed("counterPartyId"));
        r.require("policy");
        let path = r.path("policy");
        let offered = r.raw("policy").and_then(|policy| r.part(|| offer(policy, &path, own, None)));
        let callback_addresses = CallbackAddress::read_all(&mut r);
        r.finish(|| {
            let (assigner, offer) = offered?;
            let counter_party_id = if own.is_some() { consumer? } else { assigner };
            Some(Self { id, profile, counter_party_address: address?, counter_party_id, offer, callback_addresses })
        })
    }
}

/// Reads a body that is an ODRL `Offer`: other terms in a negotiation with `provider` about `dataset`, whichever side proposes them.
///
/// # Errors
/// Every violated rule.
pub fn counter_offer(body: &Value, provider: &Did, dataset: &AssetId) -> Result<MessageOffer, Vec<Violation>> {
    Reader::open(body, &["Offer"])?;
    offer(body, "$", Some(provider), Some(dataset)).map(|(_, offer)| offer)
}

/// Reads a body that is an ODRL `Offer`: the terms that are on the table, as they were shown.
///
/// # Errors
/// Every violated rule.
pub fn seen_offer(body: &Value) -> Result<MessageOffer, Vec<Violation>> {
    Reader::open(body, &["Offer"])?;
    Policy::from_json(body, "$")?.try_into().map_err(|why: String| vec![Violation::new("$", why)])
}

/// The offer and who makes it, which is `provider` where that is known, about `dataset`, likewise. Rules that are all left out mean the permission to
/// use: a message has at least one (DSP 2025-1, contract schema).
fn offer(value: &Value, path: &str, provider: Option<&Did>, dataset: Option<&AssetId>) -> Result<(Did, MessageOffer), Vec<Violation>> {
    fn member<T: FromStr<Err: Display>>(value: Option<&str>, path: String, found: &mut Vec<Violation>) -> Option<T> {
        let read = value.ok_or_else(|| "is required".to_owned()).and_then(|text| text.parse().map_err(|why: T::Err| why.to_string()));
        read.map_err(|message| found.push(Violation::new(path, message))).ok()
    }
    let mut policy = Policy::from_json(value, path)?;
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
    if let Some(provider) = provider.filter(|provider| assigner != **provider) {
        found.push(Violation::new(format!("{path}.assigner"), format!("must be the provider, {provider}")));
    }
    if let Some(dataset) = dataset.filter(|dataset| target != **dataset) {
        found.push(Violation::new(format!("{path}.target"), format!("must be the dataset that is negotiated, {dataset}")));
    }
    if found.is_empty() { Ok((assigner, MessageOffer { id, target, policy })) } else { Err(found) }
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
            ("/callbackAddresses/0/transactional", json!(1), "$.callbackAddresses[0].transactional"),
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

#[cfg(test)]
mod offer_tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;
    use serde_json::json;

    fn own() -> Did {
        Did::new("did:web:provider").unwrap()
    }

    fn body() -> Value {
        json!({"@context": [MANAGEMENT_CONTEXT], "@type": "ContractOffer", "profile": "p", "counterPartyAddress": "https://cp.example/dsp",
            "counterPartyId": "did:web:consumer", "policy": {"@type": "Offer", "@id": "o", "assigner": "did:web:provider", "target": "a-77"},
            "callbackAddresses": [{"@type": "CallbackAddress", "transactional": false, "uri": "https://app.example/cb", "events": ["contract"]}]})
    }

    #[test]
    fn what_clients_send() {
        let offer = ContractRequest::offer_from_json(&body(), &own()).unwrap();
        assert_eq!(offer.counter_party_id.as_str(), "did:web:consumer");
        assert_eq!((offer.offer.id.as_str(), offer.offer.target.as_str(), offer.offer.policy.permission.len()), ("o", "a-77", 1));
        let mut bare = body()["policy"].clone();
        bare["@context"] = json!([MANAGEMENT_CONTEXT]);
        assert_eq!(counter_offer(&bare, &own(), &"a-77".parse().unwrap()), Ok(offer.offer));
    }

    #[test]
    fn what_is_refused() {
        let cases: &[(&str, Value, &[&str])] = &[
            ("/@type", json!("ContractRequest"), &["$.@type"]),
            ("/counterPartyAddress", json!("nowhere"), &["$.counterPartyAddress"]),
            ("/counterPartyId", json!(null), &["$.counterPartyId"]),
            ("/counterPartyId", json!("acme"), &["$.counterPartyId"]),
            ("/policy", json!(null), &["$.policy"]),
            ("/policy", json!({"@type": "Set"}), &["$.policy.@type", "$.policy.assigner", "$.policy.@id", "$.policy.target"]),
            ("/policy/assigner", json!("did:web:consumer"), &["$.policy.assigner"]),
            ("/policy/permission", json!([{"constraint": []}]), &["$.policy.permission[0].action"]),
            ("/callbackAddresses/0/transactional", json!(1), &["$.callbackAddresses[0].transactional"]),
        ];
        for (at, value, paths) in cases {
            let mut body = body();
            match body.pointer_mut(at) {
                Some(there) => *there = value.clone(),
                None => body["policy"]["permission"] = value.clone(),
            }
            let found = ContractRequest::offer_from_json(&body, &own()).expect_err(at);
            assert_eq!(found.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), *paths, "{at}");
        }
    }

    #[test]
    fn a_counter_offer_fits_its_negotiation() {
        let mut body = body()["policy"].clone();
        body["@context"] = json!([MANAGEMENT_CONTEXT]);
        let paths = |body: &Value, provider: &str| {
            let found = counter_offer(body, &provider.parse().unwrap(), &"a-1".parse().unwrap()).expect_err("refused");
            found.into_iter().map(|v| v.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(&body, "did:web:provider"), ["$.target"]);
        assert_eq!(paths(&body, "did:web:other"), ["$.assigner", "$.target"]);
        body["@type"] = json!("Agreement");
        assert_eq!(paths(&body, "did:web:provider"), ["$.@type"]);
    }
}
