//! A dataset in one call, over real sockets.

use crate::stage::Stage;
use cellspace_actors::{ControlPlane, control_plane::archive::KEPT};
use cellspace_client::{
    Client,
    client::Answer,
    provider::{DATA_SET, FILE},
    sharing::{self, PROFILE},
    tenants::Participant,
};
use cellspace_cluster::Address;
use cellspace_schemas::ParticipantContextId;
use reqwest::Method;
use serde_json::{Value, json};

const MANUFACTURER: &str = "org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read";

impl Stage {
    async fn access(&self, who: &Participant, key: Option<&str>, more: Value) -> Answer {
        let mut body = json!({"profile": PROFILE, "counterPartyAddress": self.provider.dsp, "counterPartyId": self.provider.did,
            "datasetId": DATA_SET});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = Client::typed("DatasetAccessRequest", body);
        let url = format!("{}{}", self.client.admin, who.path("datasets/access"));
        let mut request = self.client.http.post(url).bearer_auth(&who.caller.token).json(&body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)), location: None }
    }

    /// What an access gives, and that the data is there.
    async fn granted(&self, key: Option<&str>, more: Value) -> Value {
        let answer = self.access(&self.consumer, key, more).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (endpoint, token) = (answer.body["endpoint"].as_str().unwrap(), answer.body["token"].as_str().unwrap());
        assert_eq!(self.client.http.get(endpoint).bearer_auth(token).send().await.unwrap().status(), 200);
        answer.body
    }

    async fn count(&self, resource: &str) -> usize {
        sharing::all(&self.client, &self.consumer, &format!("{resource}/request")).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_dataset_in_one_call() {
    let s = Stage::open().await;
    let offers = s.offers(&s.consumer).await;
    let first = s.granted(Some("k1"), json!({})).await;
    assert_eq!((s.count("contractnegotiations").await, s.count("transferprocesses").await), (1, 1));
    let state = |transfer: &Value| format!("transferprocesses/{}/state", transfer["transferProcessId"].as_str().unwrap());
    assert_eq!(s.manage(&s.consumer, Method::GET, &state(&first), None).await.body["state"], "STARTED");

    // The same call again finds what it began; another one uses the agreement that is there.
    let again = s.granted(Some("k1"), json!({})).await;
    assert_eq!(again["transferProcessId"], first["transferProcessId"]);
    let other = s.granted(None, json!({})).await;
    assert_eq!(other["contractAgreementId"], first["contractAgreementId"]);
    assert_ne!(other["transferProcessId"], first["transferProcessId"]);
    assert_eq!((s.count("contractnegotiations").await, s.count("transferprocesses").await), (1, 2));

    // One that the provider does not transfer under any more, which the consumer cannot know, is tried, and another one agreed on.
    let retire = async |who: &Participant, access: &Value| {
        let path = format!("contractagreements/{}/retire", access["contractAgreementId"].as_str().unwrap());
        assert_eq!(s.manage(who, Method::POST, &path, Some(Client::typed("RetireAgreement", json!({})))).await.status, 204);
    };
    retire(&s.provider, &first).await;
    let fresh = s.granted(Some("k2"), json!({})).await;
    assert_ne!(fresh["contractAgreementId"], first["contractAgreementId"]);
    assert_eq!((s.count("contractnegotiations").await, s.count("transferprocesses").await), (2, 4));
    // One that the consumer itself has retired is not tried. What a call has begun is found again by its key, whatever is there by now.
    retire(&s.consumer, &first).await;
    let newer = s.granted(None, json!({"offerId": offers.iter().find(|offer| offer.asset == DATA_SET).unwrap().id})).await;
    assert_ne!(newer["contractAgreementId"], fresh["contractAgreementId"]);
    assert_eq!(s.granted(Some("k2"), json!({})).await["transferProcessId"], fresh["transferProcessId"]);
    assert_eq!((s.count("contractnegotiations").await, s.count("transferprocesses").await), (3, 5));
    // The same key with another wish is another call.
    let other = s.granted(Some("k2"), json!({"additionalScopes": [MANUFACTURER]})).await;
    assert_ne!(other["transferProcessId"], fresh["transferProcessId"]);

    // An offer of one's choice is negotiated.
    let chosen = offers.iter().find(|offer| offer.asset == DATA_SET && offer.policy.to_string().contains("Manufacturer")).unwrap();
    let of_choice = s.granted(None, json!({"offerId": chosen.id, "additionalScopes": [MANUFACTURER]})).await;
    assert_ne!(of_choice["contractAgreementId"], fresh["contractAgreementId"]);
    s.close().await;
}

/// One that ended so long ago that it is not in memory any more.
#[tokio::test]
async fn an_agreement_in_the_archive_is_used_again() {
    let s = Stage::open().await;
    let first = s.granted(None, json!({})).await;
    let transfer = format!("transferprocesses/{}", first["transferProcessId"].as_str().unwrap());
    let over = Client::typed("TerminateTransfer", json!({"reason": "enough"}));
    assert_eq!(s.manage(&s.consumer, Method::POST, &format!("{transfer}/terminate"), Some(over)).await.status, 204);
    let reached = async |path: &str| {
        let state = s.manage(&s.consumer, Method::GET, &format!("{path}/state?wait=TERMINATED&timeout=20s"), None).await;
        assert_eq!(state.body["state"], "TERMINATED", "{}", state.body);
    };
    reached(&transfer).await;
    // The participant's last ones are others: there is nobody who would take their messages.
    let nowhere = format!("{}/nowhere", s.provider.dsp);
    for n in 0..KEPT + 2 {
        let policy = json!({"@type": "Offer", "@id": format!("o-{n}"), "assigner": s.provider.did, "target": "other", "permission": []});
        let body = json!({"profile": PROFILE, "counterPartyAddress": nowhere, "counterPartyId": s.provider.did, "policy": policy});
        let begun = s.manage(&s.consumer, Method::POST, "contractnegotiations", Some(Client::typed("ContractRequest", body))).await;
        assert_eq!(begun.status, 200, "{}", begun.body);
        reached(&format!("contractnegotiations/{}", begun.body["@id"].as_str().unwrap())).await;
    }
    let context: ParticipantContextId = s.consumer.context.parse().unwrap();
    let (cluster, address) = (&s.node().app.services.cluster, Address::of::<ControlPlane>(&context));
    let in_memory = cluster.read::<ControlPlane, _>(&address, |state| state.negotiations.iter().any(|n| n.agreement.is_some())).await;
    assert!(!in_memory.unwrap(), "the agreement is still in memory");
    let again = s.granted(None, json!({})).await;
    assert_eq!(again["contractAgreementId"], first["contractAgreementId"]);
    assert_ne!(again["transferProcessId"], first["transferProcessId"]);
    s.close().await;
}

#[tokio::test]
async fn an_access_that_is_not_granted_says_why() {
    let s = Stage::open().await;
    let told = async |who: &Participant, more: Value| {
        let answer = s.access(who, None, more).await;
        (answer.status, answer.body[0]["message"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned())
    };
    let (status, why) = told(&s.consumer, json!({"datasetId": 7, "transferType": "HttpData-PUSH"})).await;
    assert_eq!(status, 400, "{why}");
    let (status, why) = told(&s.consumer, json!({"datasetId": "none"})).await;
    assert_eq!((status, why.contains("404")), (502, true), "{why}");
    let (status, why) = told(&s.consumer, json!({"offerId": "bWFkZQ:dXA:bm93"})).await;
    assert_eq!((status, why.contains("shows no offer")), (404, true), "{why}");
    let (status, why) = told(&s.consumer, json!({"transferType": "Other-PULL"})).await;
    assert_eq!((status, why.contains("is TERMINATED")), (409, true), "{why}");
    // It is shown to members, and given to manufacturers.
    let (status, why) = told(&s.third, json!({"datasetId": FILE})).await;
    assert_eq!((status, why.contains("ManufacturerCredential")), (409, true), "{why}");
    s.close().await;
}
