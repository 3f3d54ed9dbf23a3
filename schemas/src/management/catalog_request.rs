//! Requests for another participant's catalog (Management API `CatalogRequest`, `DatasetRequest`).

use super::Reader;
use crate::{AssetId, Did, ProfileId, dsp::BaseUrl, violation::Violation};
use serde_json::Value;

/// Additional scopes of one request at most.
const MAX_SCOPES: usize = 32;
/// Longest scope, in bytes.
const MAX_SCOPE_BYTES: usize = 512;

/// Reads `profile` or `protocol`, of which older clients know only the second; not both. `None` when neither is there.
pub fn requested_profile(r: &mut Reader<'_>) -> Option<ProfileId> {
    match (r.raw("profile").is_some(), r.raw("protocol").is_some()) {
        (true, true) => {
            r.note("protocol", "must not be there beside profile");
            None
        }
        (true, false) => r.parsed("profile"),
        (false, true) => r.parsed("protocol"),
        (false, false) => None,
    }
}

/// Reads `additionalScopes`.
fn additional_scopes(r: &mut Reader<'_>) -> Vec<String> {
    let scopes = r.texts("additionalScopes", MAX_SCOPES);
    if scopes.iter().any(|s| s.is_empty() || s.len() > MAX_SCOPE_BYTES || s.contains(char::is_whitespace)) {
        r.note("additionalScopes", format!("each must have 1 to {MAX_SCOPE_BYTES} bytes and no white space"));
    }
    scopes
}

/// `CatalogRequest`
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogRequest {
    /// In which profile; may be left out by participants with exactly one.
    pub profile: Option<ProfileId>,
    /// DSP base of the provider.
    pub counter_party_address: BaseUrl,
    /// The provider's DID.
    pub counter_party_id: Did,
    /// Scopes granted to the provider beside the default ones.
    pub additional_scopes: Vec<String>,
    /// Query for the provider, as the client wrote it.
    pub query_spec: Option<Value>,
}

impl CatalogRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["CatalogRequest"])?;
        let profile = requested_profile(&mut r);
        let (address, id) = (r.required_parsed("counterPartyAddress"), r.required_parsed("counterPartyId"));
        let additional_scopes = additional_scopes(&mut r);
        let query_spec = r.raw("querySpec").cloned();
        if query_spec.as_ref().is_some_and(|query| !query.is_object()) {
            r.note("querySpec", "must be an object");
        }
        r.finish(|| Some(Self { profile, counter_party_address: address?, counter_party_id: id?, additional_scopes, query_spec }))
    }
}

/// `DatasetRequest`; `additionalScopes` is an addition to what the peers have.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetRequest {
    /// The dataset.
    pub id: AssetId,
    /// In which profile; may be left out by participants with exactly one.
    pub profile: Option<ProfileId>,
    /// DSP base of the provider.
    pub counter_party_address: BaseUrl,
    /// The provider's DID.
    pub counter_party_id: Did,
    /// Scopes granted to the provider beside the default ones.
    pub additional_scopes: Vec<String>,
}

impl DatasetRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Every violated rule.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Violation>> {
        let mut r = Reader::open(body, &["DatasetRequest"])?;
        let read = Self::read(&mut r, "@id");
        r.finish(|| read)
    }

    /// Reads the members of this and of larger requests; `id` is the name of the dataset's.
    pub(super) fn read(r: &mut Reader<'_>, id: &str) -> Option<Self> {
        let profile = requested_profile(r);
        let (id, address, party) = (r.required_parsed(id), r.required_parsed("counterPartyAddress"), r.required_parsed("counterPartyId"));
        let additional_scopes = additional_scopes(r);
        Some(Self { id: id?, profile, counter_party_address: address?, counter_party_id: party?, additional_scopes })
    }
}

#[cfg(test)]
mod tests {
    use super::super::MANAGEMENT_CONTEXT;
    use super::*;
    use serde_json::json;

    #[test]
    fn profile_or_protocol() {
        let body = |more: Value| {
            let mut body = json!({"@context": [MANAGEMENT_CONTEXT], "@type": "CatalogRequest", "counterPartyAddress": "https://x.example/dsp", "counterPartyId": "did:web:x"});
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            CatalogRequest::from_json(&body)
        };
        let profile = ProfileId::new("p").unwrap();
        assert_eq!(body(json!({"profile": "p"})).unwrap().profile, Some(profile.clone()));
        assert_eq!(body(json!({"protocol": "p"})).unwrap().profile, Some(profile));
        assert_eq!(body(json!({})).unwrap().profile, None);
        for bad in [
            json!({"profile": "p", "protocol": "p"}),
            json!({"counterPartyAddress": "ftp://x"}),
            json!({"counterPartyId": null}),
            json!({"additionalScopes": ["a b"]}),
            json!({"querySpec": []}),
        ] {
            assert!(body(bad.clone()).is_err(), "{bad}");
        }
    }
}
