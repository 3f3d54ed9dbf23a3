//! Offers of contracts by clients (Management API `ContractOffer`, and a bare ODRL `Offer`).

use super::{CallbackAddress, Reader, contract_request::offer, requested_profile};
use crate::{
    AssetId, Did, NegotiationId, ProfileId,
    dsp::{BaseUrl, negotiation::MessageOffer},
    odrl::Policy,
    violation::Violation,
};
use serde_json::Value;

/// `ContractOffer`: begin a negotiation with a consumer as provider, by an offer to it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractOffer {
    /// The id that the client wants the negotiation to have.
    pub id: Option<NegotiationId>,
    /// In which profile; may be left out by participants with exactly one.
    pub profile: Option<ProfileId>,
    /// DSP base of the consumer.
    pub counter_party_address: BaseUrl,
    /// The consumer's DID.
    pub counter_party_id: Did,
    /// The offer, about an asset of the participant's.
    pub offer: MessageOffer,
    /// Whom the client wants to be told.
    pub callback_addresses: Vec<CallbackAddress>,
}

impl ContractOffer {
    /// Reads a body; `own` is the participant, who makes the offer.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value, own: &Did) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["ContractOffer"])?;
        let (id, profile) = (r.parsed("@id"), requested_profile(&mut r));
        let (address, counter_party_id) = (r.required_parsed("counterPartyAddress"), r.required_parsed("counterPartyId"));
        r.require("policy");
        let path = r.path("policy");
        let offer = r.raw("policy").and_then(|policy| r.part(|| offer_of(policy, &path, own, None)));
        let callback_addresses = CallbackAddress::read_all(&mut r);
        r.finish(|| {
            Some(Self {
                id,
                profile,
                counter_party_address: address?,
                counter_party_id: counter_party_id?,
                offer: offer?,
                callback_addresses,
            })
        })
    }
}

/// Reads a body that is an ODRL `Offer`: other terms in a negotiation with `provider` about `dataset`, whichever side proposes them.
///
/// # Errors
/// Every violated rule.
pub fn counter_offer(body: &Value, provider: &Did, dataset: &AssetId) -> Result<MessageOffer, Vec<Violation>> {
    Reader::open(body, &["Offer"])?;
    offer_of(body, "$", provider, Some(dataset))
}

/// An offer that names this assigner, and this target where there is a choice of one only.
fn offer_of(value: &Value, path: &str, assigner: &Did, target: Option<&AssetId>) -> Result<MessageOffer, Vec<Violation>> {
    let (named, offer) = offer(Policy::from_json(value, path)?, path)?;
    let mut found = Vec::new();
    if named != *assigner {
        found.push(Violation::new(format!("{path}.assigner"), format!("must be the provider, {assigner}")));
    }
    if let Some(target) = target.filter(|target| offer.target != **target) {
        found.push(Violation::new(format!("{path}.target"), format!("must be the dataset that is negotiated, {target}")));
    }
    if found.is_empty() { Ok(offer) } else { Err(found) }
}

#[cfg(test)]
mod tests {
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
        let offer = ContractOffer::from_json(&body(), &own()).unwrap();
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
            ("/callbackAddresses/0/transactional", json!(true), &["$.callbackAddresses[0].transactional"]),
        ];
        for (at, value, paths) in cases {
            let mut body = body();
            match body.pointer_mut(at) {
                Some(there) => *there = value.clone(),
                None => body["policy"]["permission"] = value.clone(),
            }
            let found = ContractOffer::from_json(&body, &own()).expect_err(at);
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
