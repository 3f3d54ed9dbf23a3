//! What a participant has: something of every kind.

use super::world::{Side, encoded};
use crate::{
    stage::{Stage, context, dsp},
    support::{DRAIN, IDENTITY, text},
};
use bytes::Bytes;
use cellspace_actors::issuer::{Issuer, issuance::State};
use cellspace_client::{Client, provider::DATA_SET, sharing, tenants};
use cellspace_cluster::Address;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible};
use tokio::net::TcpListener;

/// Gives a participant something of every kind; answers the ids.
pub async fn fill(stage: &mut Stage, side: Side, data: &str, slow: &str) -> BTreeMap<&'static str, String> {
    let (name, who) = if side == Side::Own { ("own", &stage.consumer) } else { ("foreign", &stage.third) };
    let base = &stage.base;
    let id = |what: &str| format!("{name}-{what}");
    let mut ids = BTreeMap::from([("did", who.did.clone())]);
    let made = async |path: &str, body: Value| base.must(Method::POST, path, Some(body)).await;

    // Resources of the control plane.
    ids.extend([
        ("asset", id("asset")),
        ("policy", id("policy")),
        ("spare-policy", id("spare-policy")),
        ("offer", id("offer")),
        ("plane", id("plane")),
        ("secret", id("secret")),
    ]);
    made(&who.path("assets"), Client::typed("Asset", json!({"@id": id("asset"), "properties": {}}))).await;
    made(&who.path("secrets"), Client::typed("Secret", json!({"@id": id("secret"), "value": id("value")}))).await;
    for policy in [id("policy"), id("spare-policy")] {
        let body = json!({"@id": policy, "policy": {"@type": "Set", "permission": [{"action": "use"}]}});
        made(&who.path("policydefinitions"), Client::typed("PolicyDefinition", body)).await;
    }
    let offer = json!({"@id": id("offer"), "accessPolicyId": id("policy"), "contractPolicyId": id("policy"), "assetsSelector": []});
    made(&who.path("contractdefinitions"), Client::typed("ContractDefinition", offer)).await;
    let plane = json!({"dataplaneId": id("plane"), "endpoint": base.node.urls.dataflows(&context(who)), "profiles": ["Spare-PULL"]});
    base.must(Method::PUT, &who.path("dataplanes"), Some(plane)).await;

    // Where others' catalogs are looked for. Nobody is there.
    ids.insert("target", format!("did:web:localhost%3A1:{}", id("target")));
    made(&who.path("targetnodes"), Client::typed("TargetNode", json!({"@id": ids["target"]}))).await;

    // A source and a flow from it.
    ids.extend([("source", id("source")), ("flow", id("flow"))]);
    base.must(Method::PUT, &format!("/participants/{}/sources/{}", who.context, id("source")), Some(json!({"baseUrl": data}))).await;
    let flow = json!({"messageId": "m", "participantId": who.did, "counterPartyId": stage.provider.did, "dataspaceContext": sharing::PROFILE,
        "processId": id("flow"), "agreementId": "any", "datasetId": "any", "profile": "HttpData-PULL", "claims": {}, "metadata": {"source": id("source")}});
    made(&format!("/api/v1/{}/dataflows/start", who.context), flow).await;

    // Keys, services, credentials.
    let identity = format!("{IDENTITY}/participants/{}", who.context);
    base.must(Method::PUT, &format!("{identity}/keypairs"), Some(json!({"keyId": id("key"), "privateKeyAlias": id("key")}))).await;
    let keys = base.must(Method::GET, &format!("{identity}/keypairs"), None).await;
    let key = keys.as_array().unwrap().iter().find(|key| key["keyId"].as_str().is_some_and(|named| named.ends_with(&id("key")))).unwrap();
    let endpoints = format!("{identity}/dids/{}/endpoints", encoded(&who.did));
    for (service, kind, url) in [
        ("endpoint", "DataService", "https://example.com".to_owned()),
        ("issuer", "IssuerService", base.node.urls.issuer_service(&context(who)).to_string()),
    ] {
        made(&endpoints, json!({"id": service, "type": kind, "serviceEndpoint": url})).await;
    }
    let held = base.must(Method::GET, &format!("{identity}/credentials"), None).await;
    ids.extend([("key", text(key, "id")), ("credential", text(&held[0], "id"))]);
    ids.insert("raw-credential", text(&held[0]["verifiableCredential"], "rawVc"));
    let profile = base.must(Method::GET, &who.profile, None).await;
    let holder_pid = text(&profile["properties"]["cfm.vpa.state"], "holderPid");
    ids.extend([("tenant", text(&profile, "tenantId")), ("participant-profile", text(&profile, "id"))]);
    ids.extend([("request", holder_pid.clone()), ("dcp-request", holder_pid.clone())]);
    let at_issuer = made("/api/admin/v1beta/participants/issuer/issuanceprocesses/query", json!({"limit": 100})).await;
    let process = at_issuer.as_array().unwrap().iter().find(|process| process["holderPid"] == json!(holder_pid)).unwrap();
    ids.insert("issuer-pid", text(process, "id"));
    issue(stage, who, name, &mut ids).await;
    share(stage, side, slow, &mut ids).await;
    ids
}

/// A counterparty that takes every message, and says nothing of its own: a base of DSP.
pub async fn counterparty() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/dsp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(|request: Request<Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let asked: Value = serde_json::from_slice(&body).unwrap();
                let process = json!({"consumerPid": asked["consumerPid"], "providerPid": "urn:uuid:slow", "state": "REQUESTED"});
                let answer = Full::new(Bytes::from(dsp("ContractNegotiation", process).to_string()));
                Ok::<_, Infallible>(Response::builder().status(201).header("content-type", "application/json").body(answer).unwrap())
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    base
}

/// It issues a credential to the provider.
async fn issue(stage: &Stage, who: &tenants::Participant, name: &str, ids: &mut BTreeMap<&'static str, String>) {
    let base = &stage.base;
    let id = |what: &str| format!("{name}-{what}");
    let own = format!("/api/admin/v1beta/participants/{}", who.context);
    let made = async |path: &str, body: Value| base.must(Method::POST, &format!("{own}/{path}"), Some(body)).await;
    for attestation in [id("attestation"), id("spare-attestation")] {
        made("attestations", json!({"id": attestation, "attestationType": "holder", "configuration": {}})).await;
    }
    for definition in [id("definition"), id("spare-definition")] {
        let body = json!({"id": definition, "credentialType": "OwnCredential", "format": "vc20-bssl/jwt", "validity": "604800",
            "attestations": [id("attestation")], "mappings": []});
        made("credentialdefinitions", body).await;
    }
    made("holders", json!({"holderId": id("holder"), "did": "did:web:example.com:h", "name": "h"})).await;
    made("holders", json!({"holderId": id("peer-holder"), "did": stage.provider.did, "name": "peer", "properties": {}})).await;
    let asked = format!("{IDENTITY}/participants/{}/credentials/request", stage.provider.context);
    let body = json!({"issuerDid": who.did, "holderPid": id("issue"),
        "credentials": [{"format": "vc20-bssl/jwt", "type": "OwnCredential", "id": id("definition")}]});
    base.must(Method::POST, &asked, Some(body)).await;
    let issued = base.must(Method::GET, &format!("{asked}/{}?wait=ISSUED&timeout=20s", id("issue")), None).await;
    assert_eq!(issued["status"], "ISSUED", "{issued}");
    let issuer = Address::of::<Issuer>(&context(who));
    let delivered =
        stage.base.services_of(&context(who)).cluster.wait::<Issuer, _>(&issuer, DRAIN, |state| {
            state.processes.values().all(|process| process.state == State::Delivered).then_some(())
        });
    assert_eq!(delivered.await.unwrap(), Some(()));
    let credentials = made("credentials/query", json!({"limit": 100})).await;
    let processes = made("issuanceprocesses/query", json!({"limit": 100})).await;
    ids.extend([("issued", text(&credentials[0], "id")), ("process", text(&processes[0], "id"))]);
    // Two requests that wait for approval.
    let guarded = json!({"id": id("guarded-definition"), "credentialType": "OwnCredential", "format": "vc20-bssl/jwt", "validity": "604800",
        "attestations": [id("attestation")], "mappings": [], "approval": {}});
    made("credentialdefinitions", guarded).await;
    for (kind, holder_pid) in [("waiting-process", id("wait")), ("spare-waiting-process", id("spare-wait"))] {
        let body = json!({"issuerDid": who.did, "holderPid": holder_pid,
            "credentials": [{"format": "vc20-bssl/jwt", "type": "OwnCredential", "id": id("guarded-definition")}]});
        base.must(Method::POST, &asked, Some(body)).await;
        let submitted = stage.base.services_of(&context(who)).cluster.wait::<Issuer, _>(&issuer, DRAIN, |state| {
            state.processes.values().find(|process| process.holder_pid.as_str() == holder_pid).map(|process| process.id.to_string())
        });
        ids.insert(kind, submitted.await.unwrap().unwrap());
    }
    for kind in ["attestation", "spare-attestation", "definition", "spare-definition", "holder", "peer-holder"] {
        ids.insert(kind, id(kind));
    }
}

/// It negotiates with the provider and gets its data.
async fn share(stage: &mut Stage, side: Side, slow: &str, ids: &mut BTreeMap<&'static str, String>) {
    let Stage { base, client, provider, consumer, third, .. } = stage;
    let who: &tenants::Participant = if side == Side::Own { consumer } else { third };
    let catalog = sharing::catalog_answer(client, who, provider).await.unwrap();
    let offers = sharing::offers(&catalog.body);
    let open = offers.iter().find(|offer| offer.asset == DATA_SET && !offer.policy.to_string().contains("Manufacturer")).unwrap();
    let (ours, theirs) = sharing::negotiate(client, who, provider, open, "FINALIZED").await.unwrap();
    let (negotiation, agreement) = (text(&ours, "@id"), text(&ours, "contractAgreementId"));
    ids.extend([("negotiation-pid", text(&theirs.unwrap(), "@id")), ("negotiation-pid.consumer", negotiation.clone())]);
    let mut pulls = Vec::new();
    for _ in 0..3 {
        pulls.push(sharing::start_pull(client, who, provider, &agreement).await.unwrap());
    }
    let [transfer, spare, of_peer] = [0, 1, 2].map(|n: usize| pulls[n].transfer.clone());
    let by =
        json!({"filterExpression": [{"@type": "Criterion", "operandLeft": "correlationId", "operator": "=", "operandRight": of_peer}]});
    let found = base.must(Method::POST, &provider.path("transferprocesses/request"), Some(Client::typed("QuerySpec", by))).await;
    ids.extend([("transfer-pid", text(&found[0], "@id")), ("transfer-pid.consumer", of_peer)]);
    ids.extend([("transfer", transfer), ("spare-transfer", spare), ("data-flow.token", pulls[0].token.clone())]);
    ids.insert("data-flow", pulls[0].endpoint.rsplit('/').next().unwrap().to_owned());

    // One waits for its counterparty, one was refused by the provider.
    for (kind, address, state) in [("open-negotiation", slow, "REQUESTED"), ("ended-negotiation", provider.dsp.as_str(), "TERMINATED")] {
        let policy = json!({"@type": "Offer", "@id": "any", "assigner": provider.did, "target": "any", "permission": []});
        let body = json!({"profile": sharing::PROFILE, "counterPartyAddress": address, "counterPartyId": provider.did, "policy": policy});
        let begun = base.must(Method::POST, &who.path("contractnegotiations"), Some(Client::typed("ContractRequest", body))).await;
        let id = text(&begun, "@id");
        let path = who.path(&format!("contractnegotiations/{id}/state?wait={state}&timeout=20s"));
        assert_eq!(base.must(Method::GET, &path, None).await["state"], state);
        ids.insert(kind, id);
    }
    ids.extend([("negotiation", negotiation), ("agreement", agreement)]);
    let (spare, _) = sharing::negotiate(client, who, provider, open, "FINALIZED").await.unwrap();
    ids.insert("spare-agreement", text(&spare, "contractAgreementId"));

    let provider: &tenants::Participant = provider;
    // The provider has offered something in two; of what it was offered itself in two others, it wants other terms.
    let terms = |provider: &tenants::Participant, target: &str| {
        Client::typed("Offer", json!({"@id": "terms", "assigner": provider.did, "target": target, "permission": [{"action": "use"}]}))
    };
    let offer = async |from: &tenants::Participant, to: &tenants::Participant, target: &str| {
        let body =
            json!({"profile": sharing::PROFILE, "counterPartyAddress": to.dsp, "counterPartyId": to.did, "policy": terms(from, target)});
        let body = Client::typed("ContractOffer", body);
        let begun = text(&base.must(Method::POST, &from.path("contractnegotiations/offer"), Some(body)).await, "@id");
        let reached = from.path(&format!("contractnegotiations/{begun}/state?wait=OFFERED&timeout=20s"));
        assert_eq!(base.must(Method::GET, &reached, None).await["state"], "OFFERED");
        let theirs = text(&base.must(Method::GET, &from.path(&format!("contractnegotiations/{begun}")), None).await, "correlationId");
        (begun, theirs)
    };
    let dealt = format!("{}-dealt-asset", if side == Side::Own { "own" } else { "foreign" });
    base.must(Method::POST, &who.path("assets"), Some(Client::typed("Asset", json!({"@id": dealt, "properties": {}})))).await;
    for (offered, requested) in
        [("offered-negotiation", "requested-negotiation"), ("spare-offered-negotiation", "spare-requested-negotiation")]
    {
        ids.insert(offered, offer(provider, who, DATA_SET).await.1);
        let (ours, theirs) = offer(who, provider, &dealt).await;
        let path = provider.path(&format!("contractnegotiations/{theirs}/request"));
        base.must(Method::POST, &path, Some(terms(who, &dealt))).await;
        let reached = who.path(&format!("contractnegotiations/{ours}/state?wait=REQUESTED&timeout=20s"));
        assert_eq!(base.must(Method::GET, &reached, None).await["state"], "REQUESTED");
        ids.insert(requested, ours);
    }
    ids.insert("dealt-asset", dealt);
}
