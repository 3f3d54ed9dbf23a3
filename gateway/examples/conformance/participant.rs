//! The participant under test, made through the product's APIs.

use crate::{
    counterpart::Counterpart,
    desk::Desks,
    operator::Operator,
    platform::Platform,
    script::{NEGOTIATED, SHOWN},
};
use anyhow::Result;
use cellspace_client::{Client, client::text};
use cellspace_schemas::{Did, ParticipantContextId, ProfileId};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;

/// Its context id.
pub const CONTEXT: &str = "under-test";
/// The profile that the suite speaks: the one that every installation has.
const PROFILE: &str = "http-dsp-profile-2025-1";
/// How its data is transferred.
pub const FORMAT: &str = "HttpData-PULL";

/// The participant under test.
pub struct UnderTest {
    /// Where its control plane is asked.
    pub desks: Desks,
    /// Its DID.
    pub did: Did,
    /// The profile that it is spoken to in.
    pub profile: ProfileId,
}

impl UnderTest {
    /// Makes it: identity, context, data plane, and datasets under one offer for everybody.
    pub async fn make(platform: &Platform) -> Result<Self> {
        let (operator, urls) = (Operator::of(platform).await?, &platform.urls);
        let context: ParticipantContextId = CONTEXT.parse()?;
        let did = Did::new(format!("did:web:{}:{CONTEXT}", urls.did_host()))?;
        let key = json!({"keyId": "key-1", "privateKeyAlias": "key-1", "keyGeneratorParams": {"algorithm": "EdDSA", "curve": "Ed25519"}});
        let identity = json!({"participantContextId": CONTEXT, "did": did, "active": true, "serviceEndpoints": [], "key": key});
        let participant = Client::typed("ParticipantContext", json!({"@id": CONTEXT, "identity": did, "state": "ACTIVATED"}));
        let own = format!("/api/mgmt/v5beta/participants/{CONTEXT}");
        let plane = json!({"dataplaneId": "own", "endpoint": urls.dataflows(&context), "transferTypes": [FORMAT], "labels": []});
        let source = json!({"baseUrl": urls.public("/"), "methods": ["GET"]});
        let anyone = json!({"@type": "Set", "permission": [{"action": "use"}]});
        let everything = json!({"@id": "everything", "accessPolicyId": "anyone", "contractPolicyId": "anyone", "assetsSelector": []});
        let mut calls = vec![
            (Method::POST, "/api/identity/v1beta/participants".to_owned(), identity),
            (Method::POST, "/api/mgmt/v5beta/participants".to_owned(), participant),
            (Method::PUT, format!("{own}/dataplanes"), plane),
            (Method::PUT, format!("/participants/{CONTEXT}/sources/data"), source),
            (
                Method::POST,
                format!("{own}/policydefinitions"),
                Client::typed("PolicyDefinition", json!({"@id": "anyone", "policy": anyone})),
            ),
        ];
        for dataset in NEGOTIATED.iter().chain(&SHOWN) {
            let metadata = json!({"@type": "DataplaneMetadata", "profiles": [FORMAT], "properties": {"source": "data"}});
            let asset = Client::typed("Asset", json!({"@id": dataset, "properties": {}, "dataplaneMetadata": metadata}));
            calls.push((Method::POST, format!("{own}/assets"), asset));
        }
        calls.push((Method::POST, format!("{own}/contractdefinitions"), Client::typed("ContractDefinition", everything)));
        for (method, path, body) in calls {
            operator.call(method, &path, Some(&body)).await?;
        }
        Ok(Self { desks: platform.desks.clone(), did, profile: PROFILE.parse()? })
    }

    /// Path of its version discovery, without the well-known part.
    pub fn base(&self) -> String {
        format!("/api/dsp/{CONTEXT}")
    }

    /// Path of its DSP endpoints.
    pub fn dsp(&self) -> String {
        format!("{}/{PROFILE}", self.base())
    }
}

/// The id of the offer of each dataset, as the suite is shown it.
pub async fn offers(counterpart: &Counterpart, under_test: &UnderTest) -> Result<BTreeMap<&'static str, String>> {
    let mut offers = BTreeMap::new();
    for id in NEGOTIATED.into_iter().chain(SHOWN) {
        let dataset = counterpart.exchange(&under_test.did, &format!("{}/catalog/datasets/{id}", under_test.dsp()), None).await?;
        offers.insert(id, text(&dataset["hasPolicy"][0], "@id")?.to_owned());
    }
    Ok(offers)
}
