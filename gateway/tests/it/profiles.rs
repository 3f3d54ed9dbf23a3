//! Dataspace profiles beside the default one, over real sockets: each with its own place, its own contexts and its own participants.

use crate::stage::{DSP_CONTEXT, Stage, dsp};
use cellspace_client::{
    Caller, Client,
    provider::DATA_SET,
    sharing::{self, PROFILE},
    tenants::Participant,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const PROFILES: &str = "/api/mgmt/v5beta/dataspaceprofiles";
const CONTEXT: &str = "https://acme.example/context.jsonld";
const PLACE: &str = "/acme.v1";

impl Stage {
    /// Defines a profile like the default one; answers the status.
    pub async fn defines(&self, name: &str, path: Option<&str>) -> StatusCode {
        let mut profile = self.base.must(Method::GET, &format!("{PROFILES}/{PROFILE}"), None).await;
        profile["name"] = json!(name);
        profile["jsonLdContextsUrl"] = json!([DSP_CONTEXT, CONTEXT]);
        profile["protocol"].as_object_mut().unwrap().remove("path");
        if let Some(path) = path {
            profile["protocol"]["path"] = json!(path);
        }
        let status = self.base.call(Method::POST, PROFILES, Some(profile)).await.0;
        // Its participants are asked for the same credentials.
        let scopes = self.base.must(Method::POST, "/api/mgmt/v5beta/dcpscopes/request", Some(Client::typed("QuerySpec", json!({})))).await;
        for mut scope in scopes.as_array().unwrap().clone() {
            if status == StatusCode::OK && scope["profile"] == PROFILE {
                scope["profile"] = json!(name);
                scope["@id"] = json!(format!("{name}-{}", scope["@id"].as_str().unwrap()));
                self.base.must(Method::POST, "/api/mgmt/v5beta/dcpscopes", Some(scope)).await;
            }
        }
        status
    }

    pub async fn joins(&self, who: &Participant, profiles: &[&str]) {
        let path = format!("/api/mgmt/v5beta/participants/{}/profiles", who.context);
        let body = Client::typed("AssociateDataspaceProfile", json!({"profiles": profiles}));
        self.base.must(Method::PUT, &path, Some(body)).await;
    }
}

#[tokio::test]
async fn every_participant_may_use_every_profile() {
    let s = Stage::with(|config| config.every_profile = true).await;
    assert_eq!(s.defines("acme-net", None).await, StatusCode::OK);
    let (provider, request) = (at(&s.provider, "/acme-net"), dsp("CatalogRequestMessage", json!({})));
    assert_eq!(s.message(&s.consumer, &provider, "/catalog/request", &request).await.status, StatusCode::OK);
    assert_eq!(s.message(&s.consumer, &at(&s.provider, "/nowhere"), "/catalog/request", &request).await.status, StatusCode::NOT_FOUND);
    let named = |profiles: Value| profiles.as_array().unwrap().iter().map(|profile| profile["name"].clone()).collect::<Vec<_>>();
    let shown = s.manage(&s.provider, Method::GET, "profiles", None).await.body;
    assert_eq!(named(shown), [json!(PROFILE), json!("acme-net")]);
    // A client that names none means the one that its participant is associated with.
    let offer = s.offers(&s.consumer).await.remove(0);
    for profile in [None, Some("acme-net")] {
        let mut body = sharing::contract_request(if profile.is_some() { &provider } else { &s.provider }, &offer);
        match profile {
            Some(profile) => body["profile"] = json!(profile),
            None => drop(body.as_object_mut().unwrap().remove("profile")),
        }
        let begun = s.manage(&s.consumer, Method::POST, "contractnegotiations", Some(body)).await;
        assert_eq!(begun.status, 200, "{}", begun.body);
        let agreed = s.reached(&s.consumer, begun.body["@id"].as_str().unwrap(), "FINALIZED").await;
        assert_eq!(agreed["profile"], profile.unwrap_or(PROFILE));
    }
    s.close().await;
}

/// The participant as it is addressed at another place.
pub fn at(who: &Participant, place: &str) -> Participant {
    let base = who.dsp.strip_suffix(&format!("/{PROFILE}")).unwrap();
    let Participant { caller: Caller { name, token }, context, did, profile, .. } = who;
    let caller = Caller { name: name.clone(), token: token.clone() };
    Participant { caller, context: context.clone(), did: did.clone(), dsp: format!("{base}{place}"), profile: profile.clone() }
}

#[tokio::test]
async fn a_profile_has_its_own_place_and_contexts() {
    let s = Stage::open().await;
    assert_eq!(s.defines("acme-net", Some("/acme/v1")).await, StatusCode::BAD_REQUEST);
    assert_eq!(s.defines("acme-net", Some(&format!("/{PROFILE}"))).await, StatusCode::CONFLICT);
    assert_eq!(s.defines("acme-net", Some(PLACE)).await, StatusCode::OK);
    assert_eq!(s.defines("other-net", Some(PLACE)).await, StatusCode::CONFLICT);
    assert_eq!(s.defines("other-net", None).await, StatusCode::OK);
    let provider = at(&s.provider, PLACE);
    let request = dsp("CatalogRequestMessage", json!({}));
    assert_eq!(s.message(&s.consumer, &provider, "/catalog/request", &request).await.status, StatusCode::NOT_FOUND);
    for who in [&s.provider, &s.consumer] {
        s.joins(who, &[PROFILE, "acme-net"]).await;
    }

    // Its place is told, and leads there; its name does, too. A profile that is not one's own is nowhere.
    let versions = at(&s.provider, "/.well-known/dspace-version").dsp;
    let versions: Value = s.client.http.get(versions).send().await.unwrap().json().await.unwrap();
    let mut paths: Vec<_> = versions["protocolVersions"].as_array().unwrap().iter().map(|v| (&v["profile"], &v["path"])).collect();
    paths.sort_by_key(|(profile, _)| profile.as_str());
    assert_eq!(paths, [(&json!("acme-net"), &json!(PLACE)), (&json!(PROFILE), &json!(format!("/{PROFILE}")))]);
    for place in [PLACE, "/acme-net"] {
        let catalog = s.message(&s.consumer, &at(&s.provider, place), "/catalog/request", &request).await;
        assert_eq!((catalog.status, &catalog.body["@context"]), (StatusCode::OK, &json!([DSP_CONTEXT, CONTEXT])), "{}", catalog.text);
        assert_eq!(catalog.body["service"][0]["endpointURL"], json!(provider.dsp), "{place}");
    }
    let dataset = s.look(&s.consumer, &provider, &format!("/catalog/datasets/{DATA_SET}")).await;
    assert_eq!((dataset.status, &dataset.body["@context"]), (StatusCode::OK, &json!([DSP_CONTEXT, CONTEXT])), "{}", dataset.text);
    let default = s.message(&s.consumer, &s.provider, "/catalog/request", &request).await;
    assert_eq!(default.body["@context"], json!([DSP_CONTEXT]));
    assert_eq!(s.message(&s.consumer, &at(&s.provider, "/other-net"), "/catalog/request", &request).await.status, StatusCode::NOT_FOUND);

    // All messages of a negotiation and a transfer are sent, and read, so.
    let offer = sharing::offers(&json!({"dataset": [dataset.body]})).remove(0);
    let mut body = sharing::contract_request(&provider, &offer);
    body["profile"] = json!("acme-net");
    let begun = s.manage(&s.consumer, Method::POST, "contractnegotiations", Some(body)).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let agreed = s.reached(&s.consumer, begun.body["@id"].as_str().unwrap(), "FINALIZED").await;
    let known = s.reached(&s.provider, agreed["correlationId"].as_str().unwrap(), "FINALIZED").await;
    assert_eq!((&known["profile"], &known["counterPartyAddress"]), (&json!("acme-net"), &json!(at(&s.consumer, PLACE).dsp)));
    let process = s.look(&s.consumer, &provider, &format!("/negotiations/{}", known["@id"].as_str().unwrap())).await;
    assert_eq!((process.status, &process.body["@context"]), (StatusCode::OK, &json!([DSP_CONTEXT, CONTEXT])), "{}", process.text);
    let mut body = sharing::transfer_request(&provider, agreed["contractAgreementId"].as_str().unwrap());
    body["profile"] = json!("acme-net");
    let begun = s.manage(&s.consumer, Method::POST, "transferprocesses", Some(body)).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let path = format!("transferprocesses/{}/state?wait=STARTED&timeout=20s", begun.body["@id"].as_str().unwrap());
    assert_eq!(s.manage(&s.consumer, Method::GET, &path, None).await.body["state"], "STARTED");
    s.close().await;
}
