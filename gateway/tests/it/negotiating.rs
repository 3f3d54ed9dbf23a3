//! Offers and counter-offers between two participants over real sockets: who may do what when, through the Management API.

use crate::stage::{Stage, callback, taken};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use cellspace_client::{
    Client,
    client::Answer,
    provider::DATA_SET,
    sharing::{self, PROFILE},
    tenants::Participant,
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::{net::TcpListener, sync::mpsc};

pub const MEMBER: &str = "MembershipCredential";
pub const MANUFACTURER: &str = "ManufacturerCredential";

impl Stage {
    /// An offer of the provider's data set under these credentials.
    pub fn terms(&self, id: &str, required: &[&str]) -> Value {
        let constraint = |operand: &&str| json!({"leftOperand": operand, "operator": "eq", "rightOperand": "active"});
        let mut rule = json!({"action": "use"});
        if !required.is_empty() {
            rule["constraint"] = required.iter().map(constraint).collect();
        }
        Client::typed("Offer", json!({"@id": id, "assigner": self.provider.did, "target": DATA_SET, "permission": [rule]}))
    }

    /// A first offer of the provider's.
    fn first_offer(&self, to: &Participant, address: &str, terms: &Value) -> Value {
        let body = json!({"profile": PROFILE, "counterPartyAddress": address, "counterPartyId": to.did, "policy": terms});
        Client::typed("ContractOffer", body)
    }

    /// The provider begins with an offer: its id of the negotiation, and the consumer's.
    pub async fn offered(&self, to: &Participant, terms: &Value) -> (String, String) {
        let begun =
            self.manage(&self.provider, Method::POST, "contractnegotiations/offer", Some(self.first_offer(to, &to.dsp, terms))).await;
        assert_eq!(begun.status, 200, "{}", begun.body);
        let theirs = begun.body["@id"].as_str().unwrap().to_owned();
        let offered = self.reached(&self.provider, &theirs, "OFFERED").await;
        (theirs, offered["correlationId"].as_str().unwrap().to_owned())
    }

    async fn act(&self, who: &Participant, id: &str, what: &str, body: Option<Value>) -> Answer {
        self.manage(who, Method::POST, &format!("contractnegotiations/{id}/{what}"), body).await
    }

    pub async fn does(&self, who: &Participant, id: &str, what: &str, body: Option<Value>) {
        let done = self.act(who, id, what, body).await;
        assert_eq!(done.status, 204, "{what}: {}", done.body);
    }

    async fn shown(&self, who: &Participant, id: &str) -> Value {
        self.manage(who, Method::GET, &format!("contractnegotiations/{id}"), None).await.body
    }

    /// The negotiation, once it is in the state.
    pub async fn reached(&self, who: &Participant, id: &str, wanted: &str) -> Value {
        self.manage(who, Method::GET, &format!("contractnegotiations/{id}/state?wait={wanted}&timeout=20s"), None).await;
        let shown = self.shown(who, id).await;
        assert_eq!(shown["state"], wanted, "{shown}");
        shown
    }

    /// The agreement that both have once it holds, with these terms.
    pub async fn agreed(&self, theirs: &str, ours: &str, terms: &Value) -> String {
        let (at_consumer, at_provider) =
            (self.reached(&self.consumer, ours, "FINALIZED").await, self.reached(&self.provider, theirs, "FINALIZED").await);
        let agreement = at_consumer["contractAgreementId"].as_str().unwrap().to_owned();
        assert_eq!(at_provider["contractAgreementId"], json!(agreement));
        for (who, id) in [(&self.consumer, ours), (&self.provider, theirs)] {
            let agreed = self.manage(who, Method::GET, &format!("contractnegotiations/{id}/agreement"), None).await.body;
            assert_eq!((&agreed["@id"], &agreed["policy"]["permission"]), (&json!(agreement), &terms["permission"]));
            assert_eq!((&agreed["providerId"], &agreed["consumerId"]), (&json!(self.provider.did), &json!(self.consumer.did)));
        }
        agreement
    }
}

#[tokio::test]
async fn a_provider_begins_and_the_consumer_accepts() {
    let mut s = Stage::open().await;
    let terms = s.terms("first", &[MEMBER]);
    let (theirs, ours) = s.offered(&s.consumer, &terms).await;
    let held = s.shown(&s.consumer, &ours).await;
    assert_eq!((&held["type"], &held["state"], &held["assetId"]), (&json!("CONSUMER"), &json!("OFFERED"), &json!(DATA_SET)));
    assert_eq!((&held["counterPartyId"], &held["correlationId"]), (&json!(s.provider.did), &json!(theirs)));
    for (member, wanted) in
        [("@type", json!("Offer")), ("@id", json!("first")), ("assigner", json!(s.provider.did)), ("target", json!(DATA_SET))]
    {
        assert_eq!(held["offer"][member], wanted);
    }
    assert_eq!(held["offer"]["permission"], terms["permission"]);
    assert_eq!(s.negotiations(&s.consumer).await, [held]);
    // What is negotiated stays there.
    assert_eq!(s.manage(&s.provider, Method::DELETE, &format!("assets/{DATA_SET}"), None).await.status, 409);

    let shown = Client::typed("Offer", s.shown(&s.consumer, &ours).await["offer"].clone());
    s.does(&s.consumer, &ours, "accept", Some(shown)).await;
    let agreement = s.agreed(&theirs, &ours, &terms).await;
    let pull = sharing::start_pull(&mut s.client, &s.consumer, &s.provider, &agreement).await.unwrap();
    assert_eq!(sharing::open(&s.client, &pull).await.unwrap().status(), StatusCode::OK);
    s.close().await;
}

#[tokio::test]
async fn terms_go_back_and_forth_until_both_agree() {
    let s = Stage::open().await;
    let (theirs, ours) = s.offered(&s.consumer, &s.terms("first", &[MEMBER, MANUFACTURER])).await;
    let before = s.shown(&s.provider, &theirs).await;
    s.does(&s.consumer, &ours, "request", Some(s.terms("second", &[]))).await;
    let held = s.reached(&s.provider, &theirs, "REQUESTED").await;
    assert_eq!((&held["type"], &held["offer"]["@id"]), (&json!("PROVIDER"), &json!("second")));
    // Who agrees to what was shown before agrees to nothing when something else is on the table by now.
    let as_shown = |negotiation: &Value| Client::typed("Offer", negotiation["offer"].clone());
    let first_shown = as_shown(&before);
    let stale = s.act(&s.provider, &theirs, "agree", Some(first_shown)).await;
    assert_eq!((stale.status, &stale.body[0]["type"]), (409, &json!("ObjectConflict")), "{}", stale.body);
    // Under the same id, too: the other party chooses it.
    let mut same_id = as_shown(&held);
    same_id["permission"][0]["constraint"] = s.terms("second", &[MEMBER])["permission"][0]["constraint"].clone();
    assert_eq!(s.act(&s.provider, &theirs, "agree", Some(same_id)).await.status, 409);
    assert_eq!(s.act(&s.provider, &theirs, "agree", Some(json!({"@id": "second"}))).await.status, 400);
    assert_eq!(s.shown(&s.provider, &theirs).await, held);
    s.does(&s.provider, &theirs, "offer", Some(s.terms("third", &[MANUFACTURER]))).await;
    assert_eq!(s.reached(&s.consumer, &ours, "OFFERED").await["offer"]["@id"], "third");
    let last = s.terms("fourth", &[MEMBER]);
    s.does(&s.consumer, &ours, "request", Some(last.clone())).await;
    assert_eq!(s.reached(&s.provider, &theirs, "REQUESTED").await["offer"]["@id"], "fourth");
    // The same call again is the same agreement.
    let agree = s.node().urls.admin(&s.provider.path(&format!("contractnegotiations/{theirs}/agree")));
    for _ in 0..2 {
        let call = s.client.http.post(&agree).bearer_auth(&s.provider.caller.token).header("idempotency-key", "once");
        assert_eq!(call.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    s.agreed(&theirs, &ours, &last).await;
    s.close().await;
}

#[tokio::test]
async fn an_offer_that_is_accepted_without_what_it_requires_is_ended() {
    let s = Stage::open().await;
    let (theirs, ours) = s.offered(&s.third, &s.terms("first", &[MANUFACTURER])).await;
    s.does(&s.third, &ours, "accept", None).await;
    let (at_third, at_provider) = (s.reached(&s.third, &ours, "TERMINATED").await, s.reached(&s.provider, &theirs, "TERMINATED").await);
    let (told, kept) = (at_third["errorDetail"].to_string(), at_provider["errorDetail"].to_string());
    assert!(told.contains("requires ManufacturerCredential") && !told.contains("presented"), "{told}");
    assert!(kept.contains("requires ManufacturerCredential") && kept.contains("presented"), "{kept}");
    s.close().await;
}

#[tokio::test]
async fn what_cannot_be_done_now_changes_nothing() {
    let s = Stage::open().await;
    let terms = s.terms("first", &[]);
    let (theirs, ours) = s.offered(&s.consumer, &terms).await;
    let before = (s.shown(&s.consumer, &ours).await, s.shown(&s.provider, &theirs).await);
    let body = |what: &str| matches!(what, "offer" | "request").then(|| terms.clone());
    for (who, id, role, acts) in [
        (&s.consumer, &ours, "consumer", &["agree", "offer"][..]),
        (&s.provider, &theirs, "provider", &["agree", "offer", "accept", "request"]),
    ] {
        for what in acts {
            let refused = s.act(who, id, what, body(what)).await;
            let message = refused.body[0]["message"].as_str().unwrap_or_default();
            assert!(refused.status == 409 && message.contains(&format!("state OFFERED of the {role}")), "{role} {what}: {}", refused.body);
        }
    }
    let other = |change: Value| {
        let mut terms = terms.clone();
        terms.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Some(terms)
    };
    for (bad, paths) in [
        (None, &["$"][..]),
        (other(json!({"@type": "ContractOffer"})), &["$.@type"]),
        (other(json!({"@context": []})), &["$.@context"]),
        (other(json!({"assigner": s.consumer.did, "target": "model"})), &["$.assigner", "$.target"]),
        (other(json!({"@id": null, "assigner": null})), &["$.assigner", "$.@id"]),
        (other(json!({"permission": [{}]})), &["$.permission[0].action"]),
    ] {
        for (who, id, what) in [(&s.consumer, &ours, "request"), (&s.provider, &theirs, "offer")] {
            let refused = s.act(who, id, what, bad.clone()).await;
            let found: Vec<&str> = refused.body.as_array().unwrap().iter().filter_map(|entry| entry["path"].as_str()).collect();
            assert!(refused.status == 400 && found == paths, "{what} {bad:?}: {}", refused.body);
        }
    }
    // Somebody else's, and nobody's.
    for (who, id) in [(&s.third, &ours), (&s.consumer, &theirs), (&s.consumer, &"nowhere".to_owned())] {
        for what in ["agree", "offer", "accept", "request"] {
            assert_eq!(s.act(who, id, what, body(what)).await.status, 404, "{what}");
        }
    }
    assert_eq!((s.shown(&s.consumer, &ours).await, s.shown(&s.provider, &theirs).await), before);

    // What has ended stays as it is.
    s.does(&s.consumer, &ours, "accept", None).await;
    s.agreed(&theirs, &ours, &s.terms("first", &[])).await;
    for (who, id) in [(&s.consumer, &ours), (&s.provider, &theirs)] {
        for what in ["agree", "offer", "accept", "request"] {
            let refused = s.act(who, id, what, body(what)).await;
            assert!(refused.status == 409 && refused.body.to_string().contains("FINALIZED"), "{what}: {}", refused.body);
        }
    }
    s.close().await;
}

#[tokio::test]
async fn a_first_offer_is_of_ones_own() {
    let s = Stage::open().await;
    let good = s.first_offer(&s.consumer, &s.consumer.dsp, &s.terms("first", &[]));
    let offer = async |body: &Value| s.manage(&s.provider, Method::POST, "contractnegotiations/offer", Some(body.clone())).await;
    for (at, value, path) in [
        ("/@type", json!("ContractRequest"), Some("$.@type")),
        ("/counterPartyAddress", json!("nowhere"), Some("$.counterPartyAddress")),
        ("/counterPartyId", json!(null), Some("$.counterPartyId")),
        ("/policy/assigner", json!(s.consumer.did), Some("$.policy.assigner")),
        ("/policy/target", json!(null), Some("$.policy.target")),
        // Well-formed, and nothing of ours.
        ("/policy/target", json!("nowhere"), None),
        ("/profile", json!("no-profile"), None),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(at).unwrap() = value;
        let refused = offer(&bad).await;
        assert!(refused.status == 400 && refused.body[0]["path"].as_str() == path, "{at}: {}", refused.body);
    }
    assert!(s.negotiations(&s.provider).await.is_empty() && s.negotiations(&s.consumer).await.is_empty());

    // The message, to a consumer that says which process it began: it hears of the end.
    let (url, mut received) = callback().await;
    let mut named = s.first_offer(&s.consumer, &url, &s.terms("first", &[]));
    named["@id"] = json!("own-id");
    assert_eq!(offer(&named).await.body["@id"], "own-id");
    let (path, message) = received.recv().await.unwrap();
    assert_eq!((path.as_str(), &message["@type"]), ("/negotiations/offers", &json!("ContractOfferMessage")));
    assert_eq!((&message["providerPid"], message.get("consumerPid")), (&json!("own-id"), None));
    assert_eq!((&message["callbackAddress"], &message["offer"]["assigner"]), (&json!(s.provider.dsp), &json!(s.provider.did)));
    s.reached(&s.provider, "own-id", "OFFERED").await;
    assert_eq!(offer(&named).await.status, 409);
    s.does(&s.provider, "own-id", "terminate", Some(Client::typed("TerminateNegotiation", json!({"reason": "over"})))).await;
    s.reached(&s.provider, "own-id", "TERMINATED").await;
    let (path, message) = received.recv().await.unwrap();
    assert!(path.ends_with("/termination"), "{path}");
    assert_eq!((&message["providerPid"], &message["consumerPid"]), (&json!("own-id"), &json!("urn:uuid:theirs")));
    assert!(received.try_recv().is_err());
    s.close().await;
}

/// A counterparty that takes every message: its base URL, and the bearer tokens that come with them.
async fn tokens() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dsp", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let sender = sender.clone();
                async move {
                    let header = request.headers()["authorization"].to_str().unwrap().to_owned();
                    let message = request.into_body().collect().await.unwrap().to_bytes();
                    let _ = sender.send(header.strip_prefix("Bearer ").unwrap().to_owned());
                    let answer = taken(&serde_json::from_slice(&message).unwrap()).to_string();
                    Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from(answer))))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (url, received)
}

/// What the receiver of an ID token may ask for, by the access token in it.
fn granted(token: &str) -> String {
    let claims =
        |token: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap() };
    claims(claims(token)["token"].as_str().unwrap())["scope"].as_str().unwrap().to_owned()
}

/// The token of a request is for the credentials that the offer's policy names, unless an expression names other requests for them.
#[tokio::test]
async fn a_request_offers_the_credentials_that_its_policy_names() {
    let s = Stage::open().await;
    let (url, mut tokens) = tokens().await;
    let mut ask = async |constrained: &[&str]| {
        let body =
            json!({"profile": PROFILE, "counterPartyAddress": url, "counterPartyId": s.provider.did, "policy": s.terms("o", constrained)});
        let begun = s.manage(&s.consumer, Method::POST, "contractnegotiations", Some(Client::typed("ContractRequest", body))).await;
        assert_eq!(begun.status, 200, "{}", begun.body);
        granted(&tokens.recv().await.unwrap())
    };
    let all = ask(&[MANUFACTURER]).await;
    assert!(all.contains(MEMBER) && all.contains(MANUFACTURER), "{all}");
    let default = ask(&[]).await;
    assert!(default.contains(MEMBER) && !default.contains(MANUFACTURER), "{default}");
    for (request, offered) in [("request.transfer.process", false), ("request.contract.negotiation", true), ("request", true)] {
        let fields = json!({"@id": format!("{MANUFACTURER}-expression"), "leftOperand": MANUFACTURER, "expression": "true", "description": "x",
            "scopes": ["contract.negotiation", request]});
        let path = format!("/api/mgmt/v5beta/celexpressions/{MANUFACTURER}-expression");
        s.base.must(Method::PUT, &path, Some(Client::typed("CelExpression", fields))).await;
        assert_eq!(ask(&[MANUFACTURER]).await.contains(MANUFACTURER), offered, "{request}");
    }
    s.close().await;
}
