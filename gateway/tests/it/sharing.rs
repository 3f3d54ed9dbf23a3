//! Catalog, negotiation and transfer over real sockets: through the Management API, and message by message as any counterparty could.

mod archive;
mod catalog;

use crate::{
    stage::{Answer, SCOPES, Stage, callback, context, contract_request, did, dsp},
    support::{PATIENCE, read},
};
use bytes::Bytes;
use cellspace_actors::trust;
use cellspace_client::{Client, provider::DATA_SET, sharing};
use cellspace_schemas::identity::key_pair::KeyUsage;
use http_body_util::Empty;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::net::TcpListener;

const MADE_UP: &str = "bWFkZS11cA:bWFkZS11cA:bWFkZS11cA";

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The body without what differs by nature.
fn without(answer: &Answer, names: &[&str]) -> String {
    names.iter().fold(answer.text.clone(), |text, name| text.replace(name, "<...>"))
}

#[tokio::test]
async fn a_message_is_read_in_every_form_of_json_ld() {
    let s = Stage::open().await;
    let ask = |request: Value| {
        let s = &s;
        async move { s.message(&s.consumer, &s.provider, "/catalog/request", &request).await }
    };
    let compact = ask(dsp("CatalogRequestMessage", json!({}))).await;
    assert!(!compact.body["dataset"].as_array().unwrap().is_empty(), "{}", compact.text);
    let dspace = "https://w3id.org/dspace/2025/1/";
    let (kind, filter) = (format!("{dspace}CatalogRequestMessage"), format!("{dspace}filter"));
    for request in [
        json!([{"@type": [kind], filter: []}]),
        json!({"@context": {"d": dspace}, "@type": "d:CatalogRequestMessage"}),
        json!({"@context": {"@vocab": dspace}, "@type": "CatalogRequestMessage"}),
    ] {
        let answer = ask(request.clone()).await;
        assert_eq!((answer.status, &answer.body["dataset"]), (StatusCode::OK, &compact.body["dataset"]), "{request}: {}", answer.text);
    }
    for (context, told) in [
        (json!({"d": "https://w3id.org/dspace/2025/1/", "filter": "https://x.example/filter"}), "filter"),
        (json!([{"d": "https://w3id.org/dspace/2025/1/"}, "https://x.example/context.jsonld"]), "https://x.example/context.jsonld"),
    ] {
        let answer = ask(json!({"@context": context, "@type": "d:CatalogRequestMessage"})).await;
        assert_eq!((answer.status, field(&answer.body, "@type")), (StatusCode::BAD_REQUEST, "CatalogError"), "{}", answer.text);
        assert!(answer.body["reason"].to_string().contains(told), "{}", answer.text);
    }
    s.close().await;
}

#[tokio::test]
async fn a_token_is_for_one_message_to_one_receiver() {
    let s = Stage::open().await;
    let request = dsp("CatalogRequestMessage", json!({}));
    let ask = |token: Option<String>| {
        let (s, request) = (&s, &request);
        async move { s.send(token.as_deref(), Method::POST, &s.provider, "/catalog/request", Some(request)).await }
    };
    let good = s.token(&s.consumer, &s.provider).await;
    assert_eq!(ask(Some(good.clone())).await.status, StatusCode::OK);
    let services = &s.node().app.services;
    let key = trust::signing_key(services, &context(&s.consumer), KeyUsage::Token).await.unwrap();
    let now = services.cluster.now().seconds();
    let claims = |aud: &str, iat: i64, exp: i64| json!({"iss": s.consumer.did, "sub": s.consumer.did, "aud": aud, "jti": uuid::Uuid::new_v4(), "iat": iat, "exp": exp});
    let signed = |claims: Value| {
        let (key, vault) = (&key, &services.vault);
        async move { key.sign(vault.as_ref(), "JWT", &claims).await.unwrap() }
    };
    let other_subject = json!({"iss": s.consumer.did, "sub": s.third.did, "aud": s.provider.did, "jti": "1", "iat": now, "exp": now + 60});
    let no_jti = json!({"iss": s.consumer.did, "sub": s.consumer.did, "aud": s.provider.did, "iat": now, "exp": now + 60});
    let (signed_part, _) = good.rsplit_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", signed_part.split('.').nth(1).unwrap());
    for (what, token) in [
        ("none", None),
        ("used before", Some(good.clone())),
        ("for another audience", Some(signed(claims(&s.third.did, now, now + 60)).await)),
        ("expired", Some(signed(claims(&s.provider.did, now - 120, now - 60)).await)),
        ("from the future", Some(signed(claims(&s.provider.did, now + 600, now + 660)).await)),
        ("of another subject", Some(signed(other_subject).await)),
        ("without jti", Some(signed(no_jti).await)),
        ("with alg none", Some(unsigned)),
        ("with another signature", Some(format!("{signed_part}.{}", "A".repeat(86)))),
        ("rubbish", Some("rubbish".into())),
    ] {
        let refused = ask(token).await;
        assert_eq!(
            (refused.status, refused.body["@type"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("CatalogError")),
            "{what}: {}",
            refused.text
        );
    }
    s.close().await;
}

#[tokio::test]
async fn a_negotiation_message_by_message() {
    let s = Stage::open().await;
    let (url, mut received) = callback().await;
    let offers = s.offers(&s.third).await;
    let open = offers.iter().find(|o| o.asset == DATA_SET).unwrap();
    let request = contract_request("urn:uuid:consumer-1", &url, open, &s.provider.did);
    let begun = s.message(&s.third, &s.provider, "/negotiations/request", &request).await;
    assert_eq!((begun.status, field(&begun.body, "state")), (StatusCode::CREATED, "REQUESTED"), "{}", begun.text);
    let pid = field(&begun.body, "providerPid").to_owned();
    // The same message again begins nothing.
    let again = s.message(&s.third, &s.provider, "/negotiations/request", &request).await;
    assert_eq!((again.status, field(&again.body, "providerPid")), (StatusCode::CREATED, pid.as_str()));
    assert_eq!(s.negotiations(&s.provider).await.len(), 1);

    let (path, agreement) = received.recv().await.unwrap();
    assert_eq!((path.as_str(), field(&agreement, "@type")), ("/negotiations/urn:uuid:consumer-1/agreement", "ContractAgreementMessage"));
    assert_eq!(field(&agreement["agreement"], "assignee"), s.third.did);

    // What the state does not allow is refused and changes nothing.
    let to = |what: &str| format!("/negotiations/{pid}/{what}");
    let pids = |extra: Value| {
        let mut body = json!({"consumerPid": "urn:uuid:consumer-1", "providerPid": pid});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let accept = dsp("ContractNegotiationEventMessage", pids(json!({"eventType": "ACCEPTED"})));
    let refused = s.message(&s.third, &s.provider, &to("events"), &accept).await;
    assert_eq!(
        (refused.status, refused.body["@type"].as_str()),
        (StatusCode::BAD_REQUEST, Some("ContractNegotiationError")),
        "{}",
        refused.text
    );
    let state = s.look(&s.third, &s.provider, &format!("/negotiations/{pid}")).await;
    assert_eq!((state.status, field(&state.body, "state")), (StatusCode::OK, "AGREED"));

    // Somebody else's process, and none: the same answer.
    let verification = dsp("ContractAgreementVerificationMessage", pids(json!({})));
    let foreign = s.message(&s.consumer, &s.provider, &to("agreement/verification"), &verification).await;
    let unknown = s.message(&s.consumer, &s.provider, "/negotiations/nowhere/agreement/verification", &verification).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!(without(&foreign, &[&pid]), without(&unknown, &["nowhere"]));
    let looked = s.look(&s.consumer, &s.provider, &format!("/negotiations/{pid}")).await;
    let nowhere = s.look(&s.consumer, &s.provider, "/negotiations/nowhere").await;
    assert_eq!((looked.status, without(&looked, &[&pid])), (StatusCode::NOT_FOUND, without(&nowhere, &["nowhere"])));

    let verified = s.message(&s.third, &s.provider, &to("agreement/verification"), &verification).await;
    assert_eq!(verified.status, StatusCode::OK, "{}", verified.text);
    let (path, event) = received.recv().await.unwrap();
    assert_eq!((path.as_str(), field(&event, "eventType")), ("/negotiations/urn:uuid:consumer-1/events", "FINALIZED"));
    let id = field(&s.negotiations(&s.provider).await[0], "@id").to_owned();
    let ended = s.manage(&s.provider, Method::GET, &format!("contractnegotiations/{id}/state?wait=FINALIZED&timeout=20s"), None).await;
    assert_eq!(field(&ended.body, "state"), "FINALIZED");

    // Nothing moves what is final.
    let termination = dsp("ContractNegotiationTerminationMessage", pids(json!({"reason": ["too late"]})));
    let late = s.message(&s.third, &s.provider, &to("termination"), &termination).await;
    assert_eq!(late.status, StatusCode::BAD_REQUEST, "{}", late.text);
    let state = s.look(&s.third, &s.provider, &format!("/negotiations/{pid}")).await;
    assert_eq!(field(&state.body, "state"), "FINALIZED");
    s.close().await;
}

#[tokio::test]
async fn hidden_and_made_up_offers_are_answered_alike_and_nothing_is_stored() {
    let s = Stage::open().await;
    let (url, mut received) = callback().await;
    let (seen, visible) = (s.offers(&s.consumer).await, s.offers(&s.third).await);
    let hidden = seen.iter().find(|o| visible.iter().all(|v| v.id != o.id)).unwrap();
    let made_up = sharing::Offer { id: MADE_UP.into(), ..hidden.clone() };
    let nowhere = sharing::Offer { id: MADE_UP.into(), asset: "nowhere".into(), ..hidden.clone() };
    let mut answers = Vec::new();
    for (n, offer) in [hidden, &made_up, &nowhere].into_iter().enumerate() {
        let pid = format!("urn:uuid:asked-{n}");
        let answer = s.message(&s.third, &s.provider, "/negotiations/request", &contract_request(&pid, &url, offer, &s.provider.did)).await;
        assert_eq!(
            (answer.status, answer.body["@type"].as_str()),
            (StatusCode::BAD_REQUEST, Some("ContractNegotiationError")),
            "{}",
            answer.text
        );
        answers.push(without(&answer, &[&pid]));
    }
    assert_eq!((&answers[0], &answers[0]), (&answers[1], &answers[2]));
    assert!(s.negotiations(&s.provider).await.is_empty());

    // A visible offer that the contract policy refuses: 201, then TERMINATED with what was required, and not with what was found.
    let restricted = visible.iter().find(|o| o.policy.to_string().contains("ManufacturerCredential")).unwrap();
    let answer =
        s.message(&s.third, &s.provider, "/negotiations/request", &contract_request("urn:uuid:r", &url, restricted, &s.provider.did)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let (path, termination) = received.recv().await.unwrap();
    assert_eq!(path, "/negotiations/urn:uuid:r/termination");
    let reason = termination["reason"].to_string();
    assert!(reason.contains("ManufacturerCredential") && !reason.contains("Membership") && !reason.contains("since"), "{reason}");
    // Changed rules under a visible offer's id are no offer of ours either.
    let open = visible.iter().find(|o| o.asset == DATA_SET).unwrap();
    let eased = sharing::Offer { policy: json!({"@type": "Offer", "permission": [{"action": "use"}]}), ..open.clone() };
    let answer =
        s.message(&s.third, &s.provider, "/negotiations/request", &contract_request("urn:uuid:e", &url, &eased, &s.provider.did)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert_eq!(s.negotiations(&s.provider).await.len(), 1);
    s.close().await;
}

#[tokio::test]
async fn waiting_for_a_state() {
    let s = Stage::open().await;
    // A counterparty that takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/dsp", silent.local_addr().unwrap());
    let offer = s.offers(&s.consumer).await.into_iter().find(|o| o.asset == DATA_SET).unwrap();
    let policy = json!({"@type": "Offer", "@id": offer.id, "assigner": s.provider.did, "target": offer.asset, "permission": []});
    let body = json!({"profile": sharing::PROFILE, "counterPartyAddress": address, "counterPartyId": s.provider.did, "policy": policy});
    let made = s.manage(&s.consumer, Method::POST, "contractnegotiations", Some(Client::typed("ContractRequest", body))).await;
    let id = field(&made.body, "@id").to_owned();
    let wait = |query: &str| {
        let path = format!("contractnegotiations/{id}/state{query}");
        let s = &s;
        async move { s.manage(&s.consumer, Method::GET, &path, None).await }
    };
    // The time-out answers what is, and so does the state one asks for.
    let waited = wait("?wait=FINALIZED&timeout=300ms").await;
    assert_eq!((waited.status, field(&waited.body, "state")), (200, "REQUESTING"));
    let there = wait("?wait=requesting&timeout=60s").await;
    assert_eq!((there.status, field(&there.body, "state")), (200, "REQUESTING"));
    for bad in ["?wait=", "?wait=A%20B", "?timeout=3s", "?wait=FINALIZED&timeout=soon", "?wait=FINALIZED&timeout=-1s"] {
        assert_eq!(wait(bad).await.status, 400, "{bad}");
    }
    // Any final state ends a wait.
    let ends = async {
        let body = Client::typed("TerminateNegotiation", json!({"reason": "enough"}));
        let ended = s.manage(&s.consumer, Method::POST, &format!("contractnegotiations/{id}/terminate"), Some(body)).await;
        assert_eq!(ended.status, 204, "{}", ended.body);
    };
    let (waited, ()) = tokio::join!(wait("?wait=TERMINATING&timeout=60s"), ends);
    assert_eq!((waited.status, field(&waited.body, "state")), (200, "TERMINATING"));
    assert_eq!(s.manage(&s.consumer, Method::GET, "contractnegotiations/nowhere/state?wait=FINALIZED", None).await.status, 404);
    drop(silent);
    s.close().await;
}

#[tokio::test]
async fn a_transfer_is_suspended_resumed_and_terminated() {
    let mut s = Stage::open().await;
    let offer = s.offers(&s.consumer).await.into_iter().find(|o| o.asset == DATA_SET).unwrap();
    let (_, _, agreement) = s.agreement(&offer).await;
    let pull = sharing::start_pull(&mut s.client, &s.consumer, &s.provider, &agreement).await.unwrap();
    let status = |token: &str| {
        let request = s.client.http.get(&pull.endpoint).bearer_auth(token).send();
        async move { request.await.unwrap().status().as_u16() }
    };
    assert_eq!(status(&pull.token).await, 200);
    let theirs = s.manage(&s.provider, Method::POST, "transferprocesses/request", Some(Client::typed("QuerySpec", json!({})))).await.body;
    let theirs = field(&theirs[0], "@id").to_owned();
    let act = |who: &str, what: &str| {
        let (who, id) = if who == "provider" { (&s.provider, theirs.clone()) } else { (&s.consumer, pull.transfer.clone()) };
        let (s, path, what) = (&s, format!("transferprocesses/{id}/{what}"), what.to_owned());
        async move {
            let kind = if what == "suspend" { "SuspendTransfer" } else { "TerminateTransfer" };
            let body = (what != "resume").then(|| Client::typed(kind, json!({"reason": "maintenance"})));
            s.manage(who, Method::POST, &path, body).await.status
        }
    };
    let reach = |who: &str, wanted: &'static str| {
        let (who, id) = if who == "provider" { (&s.provider, theirs.clone()) } else { (&s.consumer, pull.transfer.clone()) };
        let s = &s;
        async move {
            let state = s.manage(who, Method::GET, &format!("transferprocesses/{id}/state?wait={wanted}&timeout=20s"), None).await.body;
            assert_eq!(field(&state, "state"), wanted);
        }
    };
    assert_eq!(act("consumer", "suspend").await, 204);
    reach("consumer", "SUSPENDED").await;
    reach("provider", "SUSPENDED").await;
    assert_eq!(status(&pull.token).await, 403);
    // Only the side that suspended may resume.
    assert_eq!(act("provider", "resume").await, 409);
    assert_eq!(act("consumer", "resume").await, 204);
    reach("consumer", "STARTED").await;
    reach("provider", "STARTED").await;
    let tokens = format!("/tokens/{}/{}", s.consumer.context, pull.transfer);
    let renewed = s.client.exchange(Some(&s.consumer.caller), Method::GET, &tokens, None).await.unwrap().body;
    assert_eq!(status(field(&renewed, "token")).await, 200);
    assert_eq!(act("provider", "terminate").await, 204);
    reach("provider", "TERMINATED").await;
    reach("consumer", "TERMINATED").await;
    assert_eq!(status(field(&renewed, "token")).await, 403);
    assert_eq!(act("consumer", "resume").await, 409);
    assert_eq!(act("consumer", "terminate").await, 409);
    s.close().await;
}

#[tokio::test]
async fn a_deactivated_participant_is_as_one_that_is_not_there() {
    let s = Stage::open().await;
    let request = dsp("CatalogRequestMessage", json!({}));
    let current = s
        .client
        .exchange(Some(s.admin()), Method::GET, &format!("/api/mgmt/v5beta/participants/{}", s.provider.context), None)
        .await
        .unwrap();
    let switch = |state: &str| {
        let mut body = current.body.clone();
        body["state"] = json!(state);
        let (s, path) = (&s, format!("/api/mgmt/v5beta/participants/{}", s.provider.context));
        async move { assert_eq!(s.client.exchange(Some(s.admin()), Method::PUT, &path, Some(&body)).await.unwrap().status, 204) }
    };
    switch("DEACTIVATED").await;
    let gone = s.message(&s.consumer, &s.provider, "/catalog/request", &request).await;
    let elsewhere = format!("{}/catalog/request", s.provider.dsp.replace(&s.provider.context, "nobody"));
    let token = s.token(&s.consumer, &s.provider).await;
    let nobody = s.client.http.post(elsewhere).bearer_auth(token).json(&request).send().await.unwrap();
    assert_eq!((gone.status, gone.text), (nobody.status(), nobody.text().await.unwrap()));
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let query = Client::typed("QuerySpec", json!({}));
    assert_eq!(s.manage(&s.provider, Method::POST, "assets/request", Some(query.clone())).await.status, 403);
    let reached = s.client.exchange(Some(s.admin()), Method::POST, &s.provider.path("assets/request"), Some(&query)).await.unwrap();
    assert_eq!(reached.status, 200);
    switch("ACTIVATED").await;
    assert_eq!(s.offers(&s.consumer).await.len(), 3);
    s.close().await;
}

#[tokio::test]
async fn participants_are_apart() {
    let mut s = Stage::open().await;
    let offer = s.offers(&s.consumer).await.into_iter().find(|o| o.asset == DATA_SET).unwrap();
    let (ours, theirs, agreement) = s.agreement(&offer).await;
    let pull = sharing::start_pull(&mut s.client, &s.consumer, &s.provider, &agreement).await.unwrap();
    let of_provider = [
        "assets/footprints".to_owned(),
        "policydefinitions/requires-MembershipCredential".into(),
        "contractdefinitions/open".into(),
        format!("contractnegotiations/{theirs}"),
        format!("contractnegotiations/{theirs}/state"),
        format!("contractnegotiations/{theirs}/agreement"),
        format!("contractagreements/{agreement}"),
    ];
    for path in &of_provider {
        assert_eq!(s.manage(&s.provider, Method::GET, path, None).await.status, 200, "{path}");
        // Somebody else's path, whether it exists or not; the same id under one's own path.
        for path in [s.provider.path(path), "/api/mgmt/v5beta/participants/nobody/assets/a".to_owned()] {
            let foreign = s.client.exchange(Some(&s.third.caller), Method::GET, &path, None).await.unwrap();
            assert_eq!((foreign.status, &foreign.body[0]["type"]), (403, &json!("NotAuthorized")), "{path}");
        }
        let own = s.manage(&s.third, Method::GET, path, None).await;
        assert_eq!((own.status, &own.body[0]["type"]), (404, &json!("ObjectNotFound")), "{path}");
    }
    for path in [format!("contractnegotiations/{ours}"), format!("transferprocesses/{}", pull.transfer)] {
        assert_eq!(s.manage(&s.third, Method::GET, &path, None).await.status, 404, "{path}");
    }
    for (who, path) in [(&s.third, &s.consumer.context), (&s.third, &s.third.context)] {
        let token = s.client.exchange(Some(&who.caller), Method::GET, &format!("/tokens/{path}/{}", pull.transfer), None).await.unwrap();
        assert_eq!(token.status, if path == &who.context { 404 } else { 403 });
    }
    // Credentials are asked for with a token made for the asker alone.
    let services = &s.node().app.services;
    let to_third = trust::self_issued_token(services, &context(&s.consumer), &did(&s.third), &SCOPES.map(str::to_owned)).await.unwrap();
    let stolen =
        s.send(Some(&to_third), Method::POST, &s.provider, "/catalog/request", Some(&dsp("CatalogRequestMessage", json!({})))).await;
    assert_eq!(stolen.status, StatusCode::UNAUTHORIZED);
    s.close().await;
}

impl Stage {
    /// The consumer asks for the provider's catalog, which is at this address.
    async fn asks_for_catalog_at(&self, address: &str) -> Response {
        let body = json!({"profile": sharing::PROFILE, "counterPartyAddress": address, "counterPartyId": self.provider.did});
        let url = self.node().urls.admin(&self.consumer.path("catalog/request"));
        let request = self.client.http.post(url).bearer_auth(&self.consumer.caller.token);
        request.json(&Client::typed("CatalogRequest", body)).send().await.unwrap()
    }
}

#[tokio::test]
async fn an_unreachable_counterparty_is_a_bad_gateway() {
    let s = Stage::open().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let address = format!("http://{nobody}/dsp");
    let (status, body) = read(tokio::time::timeout(PATIENCE, s.asks_for_catalog_at(&address)).await.unwrap()).await;
    assert_eq!((status, &body[0]["type"]), (StatusCode::BAD_GATEWAY, &json!("BadGateway")), "{body}");
    s.close().await;
}

/// Its client is told so too, and when to come again.
#[tokio::test]
async fn a_counterparty_that_cannot_answer_now_is_asked_later() {
    let s = Stage::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dsp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(hyper::Response::builder().status(503).header("retry-after", "7").body(Empty::<Bytes>::new()).unwrap())
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    let answer = s.asks_for_catalog_at(&url).await;
    let after = answer.headers().get("retry-after").cloned();
    let (status, body) = read(answer).await;
    assert_eq!((status, after.unwrap().to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "7"), "{body}");
    assert_eq!(body[0]["message"], "the counterparty answered 503", "{body}");
    s.close().await;
}
