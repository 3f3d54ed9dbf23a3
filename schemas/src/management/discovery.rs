//! Asking which versions and profiles of DSP a counterparty speaks (Management API `DiscoveryRequest`, `DiscoveryResponse`).

use super::Reader;
use crate::{Did, ProfileId, dsp::BaseUrl, violation::Violation};
use serde_json::{Value, json};

/// `DiscoveryRequest`: one of both is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryRequest {
    /// The counterparty's DID, whose document names its `DataService`.
    pub counter_party_id: Option<Did>,
    /// Its version endpoint, or what that lies below; goes before the DID.
    pub counter_party_address: Option<BaseUrl>,
}

impl DiscoveryRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["DiscoveryRequest"])?;
        let (counter_party_id, counter_party_address) = (r.parsed("counterPartyId"), r.parsed("counterPartyAddress"));
        if r.raw("counterPartyId").is_none() && r.raw("counterPartyAddress").is_none() {
            r.note("counterPartyId", "is required unless counterPartyAddress is there");
        }
        r.finish(|| Some(Self { counter_party_id, counter_party_address }))
    }
}

/// `DiscoveryResponse`: a version that the participant and its counterparty have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryResponse {
    /// The participant's own profile.
    pub profile: ProfileId,
    /// Its version of DSP.
    pub version: String,
    /// The counterparty's binding.
    pub binding: String,
    /// Where the counterparty serves it, below its base.
    pub path: String,
    /// The counterparty's version endpoint.
    pub data_service_endpoint: String,
    /// Base and path together: what requests to this counterparty give as their `counterPartyAddress`.
    pub counter_party_address: String,
}

impl DiscoveryResponse {
    /// The form of the API, without `@context`. The address in `counterParty` is an addition.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "@type": "DiscoveryResponse",
            "profile": self.profile.as_str(),
            "version": self.version,
            "binding": self.binding,
            "counterParty": {
                "path": self.path,
                "dataServiceEndpoint": self.data_service_endpoint,
                "counterPartyAddress": self.counter_party_address,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;

    #[test]
    fn somebody_must_be_named() {
        let body = |fields: Value| {
            let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "DiscoveryRequest"});
            if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
                body.extend(fields);
            }
            DiscoveryRequest::from_json(&body)
        };
        let paths = |fields| body(fields).map_err(|found| found.into_iter().map(|v| v.path).collect::<Vec<_>>());
        assert_eq!(paths(json!({})), Err(vec!["$.counterPartyId".to_owned()]));
        assert_eq!(
            paths(json!({"counterPartyId": "x", "counterPartyAddress": "ftp://x"})),
            Err(vec!["$.counterPartyId".to_owned(), "$.counterPartyAddress".to_owned()])
        );
        for good in [json!({"counterPartyId": "did:web:x"}), json!({"counterPartyAddress": "https://x.example"})] {
            assert!(body(good.clone()).is_ok(), "{good}");
        }
    }
}
