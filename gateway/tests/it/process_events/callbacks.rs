//! Callbacks: what clients are told who asked for it.

use super::{NEGOTIATED, Receiver, SOON};
use crate::stage::Stage;
use cellspace_client::{Client, sharing};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Instant;
use tokio::net::TcpListener;

#[tokio::test]
async fn who_asked_is_told_in_order_and_by_the_participants_key() {
    let s = Stage::open().await;
    let mut receiver = Receiver::open(204).await;
    let id = s.negotiate(json!([{"uri": receiver.url, "events": ["contract.negotiation"], "transactional": true}])).await;
    let negotiation = s.finalized(&id).await;
    let mut ids = Vec::new();
    for step in NEGOTIATED {
        let post = receiver.taken().await;
        let event = post.json();
        assert_eq!(event["type"], format!("ContractNegotiation{step}"), "{event}");
        let payload = &event["payload"];
        assert_eq!((&payload["contractNegotiationId"], &payload["participantContextId"]), (&json!(id), &json!(s.consumer.context)));
        assert_eq!((&payload["type"], &payload["counterPartyId"]), (&json!("CONSUMER"), &json!(s.provider.did)));
        let agreed = matches!(step, "Agreed" | "Verified" | "Finalized");
        assert_eq!(payload["contractAgreement"]["id"], if agreed { negotiation["contractAgreementId"].clone() } else { Value::Null });
        assert!(
            event["at"].as_i64() >= negotiation["createdAt"].as_i64() && event["at"].as_i64() <= negotiation["stateTimestamp"].as_i64()
        );
        let header = s.signed(&s.consumer, &post).await;
        assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("process-event+json")));
        assert_eq!(post.headers["content-type"], "application/json");
        ids.push(event["id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), NEGOTIATED.len());

    // Only what was asked for, of the transfer that was asked about.
    let mut request = sharing::transfer_request(&s.provider, negotiation["contractAgreementId"].as_str().unwrap());
    request["callbackAddresses"] = json!([{"uri": receiver.url, "events": ["transfer.process.started", "transfer.process.terminated"]}]);
    let begun = s.manage(&s.consumer, Method::POST, "transferprocesses", Some(request)).await;
    let transfer = begun.body["@id"].as_str().unwrap_or_else(|| panic!("{}", begun.body)).to_owned();
    s.comes_to("transferprocesses", &transfer, "STARTED").await;
    let end = Some(Client::typed("TerminateTransfer", json!({"reason": "enough"})));
    assert_eq!(s.manage(&s.consumer, Method::POST, &format!("transferprocesses/{transfer}/terminate"), end).await.status, 204);
    for step in ["Started", "Terminated"] {
        let event = receiver.taken().await.json();
        assert_eq!((&event["type"], &event["payload"]["transferProcessId"]), (&json!(format!("TransferProcess{step}")), &json!(transfer)));
    }
    assert!(receiver.posts.try_recv().is_err());
    s.close().await;
}

#[tokio::test]
async fn a_receiver_that_comes_back_gets_what_it_missed() {
    let s = Stage::open().await;
    // What a receiver that is being set up answers: none of it is the last word.
    for down in [503, 404, 302] {
        let mut receiver = Receiver::open(down).await;
        let id = s.negotiate(json!([{"uri": receiver.url, "events": ["contract.negotiation"]}])).await;
        s.finalized(&id).await;
        let (status, first) = receiver.next().await;
        assert_eq!((status, &first.json()["type"]), (down, &json!("ContractNegotiationInitiated")));
        receiver.answer(200);
        for (n, step) in NEGOTIATED.iter().enumerate() {
            let event = receiver.taken().await.json();
            assert_eq!(event["type"], format!("ContractNegotiation{step}"), "{down}");
            assert!(n > 0 || event["id"] == first.json()["id"], "the same event has the same id");
        }
    }
    s.close().await;
}

/// What is told of a negotiation is told, though its client removes it meanwhile.
#[tokio::test]
async fn events_outlive_their_process() {
    let s = Stage::open().await;
    let mut receiver = Receiver::open(503).await;
    let mut offer = s.open_offer().await;
    offer.asset = "nothing-there".to_owned();
    let id = s.negotiate_about(&offer, json!([{"uri": receiver.url, "events": ["contract.negotiation"]}])).await;
    s.comes_to("contractnegotiations", &id, "TERMINATED").await;
    assert_eq!(s.manage(&s.consumer, Method::DELETE, &format!("contractnegotiations/{id}"), None).await.status, 204);
    receiver.answer(200);
    for step in ["Initiated", "Terminated"] {
        let event = receiver.taken().await.json();
        assert_eq!(
            (&event["type"], &event["payload"]["contractNegotiationId"]),
            (&json!(format!("ContractNegotiation{step}")), &json!(id))
        );
    }
    s.close().await;
}

#[tokio::test]
async fn receivers_that_are_silent_delay_nothing() {
    let s = Stage::with(|config| config.outbound.timeout = 2 * SOON).await;
    // They take the connection and never answer.
    let silent = futures::future::join_all((0..8).map(|_| TcpListener::bind("127.0.0.1:0"))).await;
    let silent: Vec<TcpListener> = silent.into_iter().map(Result::unwrap).collect();
    let callbacks: Vec<Value> = silent
        .iter()
        .map(|listener| json!({"uri": format!("http://{}", listener.local_addr().unwrap()), "events": ["contract"]}))
        .collect();
    let began = Instant::now();
    let mut ids = Vec::new();
    // As many as would take all lanes of the agent.
    for _ in 0..12 {
        ids.push(s.negotiate(json!(callbacks)).await);
    }
    for id in &ids {
        s.finalized(id).await;
    }
    assert!(began.elapsed() < 2 * SOON, "{:?}", began.elapsed());
    s.close().await;
}

#[tokio::test]
async fn the_secret_that_its_client_gave_is_sent_or_nothing_is() {
    let s = Stage::open().await;
    let mut receiver = Receiver::open(200).await;
    let callback = json!([{"uri": receiver.url, "events": ["contract.negotiation.finalized"], "authKey": "X-Key", "authCodeId": "cb-key"}]);
    let id = s.negotiate(callback.clone()).await;
    s.finalized(&id).await;
    let waits = async {
        loop {
            let outbox = s.outbox().await;
            let row = outbox["rows"].as_array().unwrap().iter().find(|row| row["lane"] == format!("callback/negotiation/{id}/0")).cloned();
            if let Some(reason) = row.as_ref().and_then(|row| row["reason"].as_str()) {
                break reason.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let reason = tokio::time::timeout(SOON, waits).await.unwrap();
    assert!(reason.contains("cb-key"), "{reason}");
    assert!(receiver.posts.try_recv().is_err(), "sent without the secret");
    // A secret of the same name is as good as none when it is another participant's.
    for other in [&s.provider, &s.third] {
        assert_eq!(s.keep(other, Method::POST, "cb-key", "s3cret-of-others").await, 200);
    }
    assert_eq!(s.keep(&s.consumer, Method::POST, "cb-key", "s3cret-of-the-client").await, 200);
    let post = receiver.taken().await;
    assert_eq!(post.headers["x-key"], "s3cret-of-the-client");
    s.signed(&s.consumer, &post).await;
    // What is sent next is what it is then.
    assert_eq!(s.keep(&s.consumer, Method::PUT, "cb-key", "an0ther-s3cret").await, 204);
    let id = s.negotiate(callback.clone()).await;
    s.finalized(&id).await;
    let post = receiver.taken().await;
    assert_eq!(
        (&post.headers["x-key"], &post.json()["payload"]["contractNegotiationId"]),
        (&"an0ther-s3cret".parse().unwrap(), &json!(id))
    );

    // A receiver that says that it is gone is believed, and an operator sees what it did not get, but not where it went.
    receiver.answer(410);
    let id = s.negotiate(json!([{"uri": receiver.url, "events": ["contract.negotiation.finalized"]}])).await;
    s.finalized(&id).await;
    assert_eq!(receiver.next().await.0, 410);
    let letter = async {
        loop {
            let outbox = s.outbox().await;
            if let Some(letter) = outbox["deadLetters"].as_array().unwrap().first() {
                break letter.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let letter = tokio::time::timeout(SOON, letter).await.unwrap();
    assert_eq!((&letter["lane"], &letter["attempts"]), (&json!(format!("callback/negotiation/{id}/0")), &json!(1)));
    assert!(letter["reason"].as_str().unwrap().contains("410"), "{letter}");
    assert!(!letter.to_string().contains("hidden") && !letter.to_string().contains("s3cret"), "{letter}");
    // It may be sent again.
    receiver.answer(200);
    let path = format!("/api/runtime/agents/control-plane/{}/dead-letters/{}/redrive", s.consumer.context, letter["id"].as_str().unwrap());
    assert_eq!(s.client.exchange(Some(s.admin()), Method::POST, &path, None).await.unwrap().status, 204);
    assert_eq!(receiver.taken().await.json()["id"], letter["messageId"]);
    s.close().await;
}
