//! Claims that a service attests.

use super::{definition, request};
use crate::support::{DRAIN, Platform};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};
use tokio::net::TcpListener;

/// A service that says about everybody what it is told to, and keeps what it was asked: `(token, body)`.
#[derive(Default)]
pub(super) struct Office {
    pub(super) says: Mutex<(u16, Value)>,
    pub(super) asked: Mutex<Vec<(String, Value)>>,
}

impl Office {
    pub(super) async fn open(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/attest", listener.local_addr().unwrap());
        let office = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let office = office.clone();
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let office = office.clone();
                    async move {
                        let token = request.headers().get(header::AUTHORIZATION).map_or("", |token| token.to_str().unwrap());
                        let token = token.trim_start_matches("Bearer ").to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        office.asked.lock().push((token, serde_json::from_slice(&body).unwrap_or_default()));
                        let (status, said) = office.says.lock().clone();
                        let body = Full::new(Bytes::from(said.to_string()));
                        Ok::<_, Infallible>(hyper::Response::builder().status(status).body(body).unwrap())
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        url
    }
}

#[tokio::test]
async fn a_service_attests_and_its_word_is_asked_for_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::seeded(dir.path()).await;
    let office = Arc::new(Office::default());
    let url = office.open().await;
    platform.made("attestations", json!({"id": "office", "attestationType": "http", "configuration": {"url": url}})).await;
    let mut body = definition("registered", "vc20-bssl/jwt");
    body["attestations"] = json!(["registration", "office"]);
    body["jsonSchema"] = json!(json!({"properties": {"since": {"type": "string"}}}).to_string());
    body["rules"] = json!([{"type": "expression", "configuration": {"claim": "registered", "operator": "eq", "value": true}}]);
    platform.made("credentialdefinitions", body).await;
    // Nobody is asked about a stranger.
    assert_eq!(platform.ask_as("stranger", &request("hp-0", &["registered"])).await.status(), StatusCode::UNAUTHORIZED);
    assert!(office.asked.lock().is_empty());
    for (says, expected) in [
        ((404, json!({})), StatusCode::FORBIDDEN),
        ((500, json!({})), StatusCode::SERVICE_UNAVAILABLE),
        ((200, json!("registered")), StatusCode::SERVICE_UNAVAILABLE),
        ((200, json!({"registered": false})), StatusCode::FORBIDDEN),
        ((200, json!({"registered": true, "since": 2026})), StatusCode::FORBIDDEN),
        ((200, json!({"registered": true})), StatusCode::CREATED),
    ] {
        office.says.lock().clone_from(&says);
        let answer = platform.ask_as("acme", &request("hp-1", &["registered"])).await;
        assert_eq!(answer.status(), expected, "{says:?}: {}", answer.text().await.unwrap());
    }
    let asked = std::mem::take(&mut *office.asked.lock());
    assert_eq!(asked.len(), 6);
    let (token, body) = asked.last().unwrap();
    assert_eq!((&body["holder"]["did"], &body["attestation"]), (&json!(platform.did("acme")), &json!("office")));
    let part = |n: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap() };
    assert_eq!(part(0)["typ"], "attestation+jwt");
    assert_eq!((&part(1)["iss"], &part(1)["aud"]), (&json!(platform.did("issuer")), &json!(url)));
    // A repeat of the request is answered by what became of it.
    assert_eq!(platform.ask_as("acme", &request("hp-1", &["registered"])).await.status(), StatusCode::CREATED);
    assert!(office.asked.lock().is_empty());
    platform.node.drain(DRAIN).await;
}

#[tokio::test]
async fn a_service_that_may_not_be_called_is_not_named() {
    let platform = Platform::temporary(|config| config.allow_private_targets = Some(false)).await;
    platform.participant("issuer").await;
    for (url, expected) in [("http://127.0.0.1:1/a", StatusCode::BAD_REQUEST), ("https://office.example/a", StatusCode::CREATED)] {
        let body = json!({"id": "office", "attestationType": "http", "configuration": {"url": url}});
        let answer = platform.issuer(Method::POST, "attestations").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{url}");
    }
    platform.node.drain(DRAIN).await;
}
