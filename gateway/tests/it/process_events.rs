//! What happens to negotiations and transfers, told over real sockets: posted to callback addresses, and streamed to who follows a participant.

use crate::{
    stage::{Stage, callback},
    support::DRAIN,
};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use cellspace_client::{Client, sharing, tenants::Participant};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, sync::mpsc};

/// Longer than anything here takes that goes as it must.
const SOON: Duration = Duration::from_secs(30);
const NEGOTIATED: [&str; 5] = ["Initiated", "Requested", "Agreed", "Verified", "Finalized"];

/// Something that was posted.
pub struct Post {
    headers: HeaderMap,
    body: Bytes,
}

impl Post {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The header of its signature.
    pub fn protected(&self) -> Value {
        let signature = self.headers["x-jws-signature"].to_str().unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signature.split('.').next().unwrap()).unwrap()).unwrap()
    }

    /// Checks the signature by an Ed25519 key as RFC 7515, appendix F, says, and by nothing else.
    pub fn check(&self, key: &[u8]) {
        let signature = self.headers["x-jws-signature"].to_str().unwrap();
        let [header, "", signature] = signature.split('.').collect::<Vec<_>>()[..] else { panic!("{signature} is not detached") };
        let key = UnparsedPublicKey::new(&ED25519, key);
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let over = |body: &[u8]| format!("{header}.{}", URL_SAFE_NO_PAD.encode(body));
        key.verify(over(&self.body).as_bytes(), &signature).unwrap();
        let mut changed = self.body.to_vec();
        changed[0] ^= 1;
        assert!(key.verify(over(&changed).as_bytes(), &signature).is_err());
    }
}

/// A client's server for callbacks: answers everything with one status, and tells what came with which answer.
pub struct Receiver {
    pub url: String,
    status: Arc<AtomicU16>,
    posts: mpsc::UnboundedReceiver<(u16, Post)>,
}

impl Receiver {
    pub async fn open(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/callback?key=hidden", listener.local_addr().unwrap());
        let (sender, posts) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(status));
        let answers = status.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, answers) = (sender.clone(), answers.clone());
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (sender, status) = (sender.clone(), answers.load(Ordering::SeqCst));
                    async move {
                        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "/callback?key=hidden"));
                        let headers = request.headers().clone();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let _ = sender.send((status, Post { headers, body }));
                        let mut answer = hyper::Response::new(Full::new(Bytes::from_static(b"x")));
                        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                        Ok::<_, Infallible>(answer)
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { url, status, posts }
    }

    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// What comes next, with what it was answered.
    pub async fn next(&mut self) -> (u16, Post) {
        tokio::time::timeout(SOON, self.posts.recv()).await.expect("nothing was posted").unwrap()
    }

    /// What is taken next.
    pub async fn taken(&mut self) -> Post {
        loop {
            let (status, post) = self.next().await;
            if status < 300 {
                return post;
            }
        }
    }
}

impl Stage {
    /// The consumer begins a negotiation about an offer that everybody may have: its id.
    async fn negotiate(&self, callbacks: Value) -> String {
        self.negotiate_about(&self.open_offer().await, callbacks).await
    }

    async fn open_offer(&self) -> sharing::Offer {
        let offers = self.offers(&self.consumer).await;
        offers.into_iter().find(|offer| !offer.policy.to_string().contains("ManufacturerCredential")).unwrap()
    }

    async fn negotiate_about(&self, offer: &sharing::Offer, callbacks: Value) -> String {
        let mut body = sharing::contract_request(&self.provider, offer);
        body["callbackAddresses"] = callbacks;
        let begun = self.manage(&self.consumer, Method::POST, "contractnegotiations", Some(body)).await;
        assert_eq!(begun.status, 200, "{}", begun.body);
        begun.body["@id"].as_str().unwrap().to_owned()
    }

    /// A process of the consumer as soon as it is in the state.
    async fn comes_to(&self, kind: &str, id: &str, state: &str) -> Value {
        let found = self.manage(&self.consumer, Method::GET, &format!("{kind}/{id}/state?wait={state}&timeout=30s"), None).await;
        assert_eq!(found.body["state"], state, "{}", found.body);
        self.manage(&self.consumer, Method::GET, &format!("{kind}/{id}"), None).await.body
    }

    async fn finalized(&self, id: &str) -> Value {
        self.comes_to("contractnegotiations", id, "FINALIZED").await
    }

    /// A participant's client gives a secret to keep, or another value for it.
    async fn keep(&self, who: &Participant, method: Method, id: &str, value: &str) -> u16 {
        let secret = Client::typed("Secret", json!({"@id": id, "value": value}));
        self.manage(who, method, "secrets", Some(secret)).await.status
    }

    /// The public key of that id in the participant's DID document, as anybody gets it.
    async fn published_key(&self, who: &Participant, kid: &str) -> Vec<u8> {
        let path = who.did.split(':').skip(3).collect::<Vec<_>>().join("/");
        let (status, document) = self.base.public(&format!("/{path}/did.json")).await;
        assert_eq!((status, &document["id"]), (StatusCode::OK, &json!(who.did)), "{document}");
        let methods = document["verificationMethod"].as_array().unwrap();
        let method = methods.iter().find(|method| method["id"] == kid || format!("{}{}", who.did, method["id"].as_str().unwrap()) == kid);
        let jwk = &method.unwrap_or_else(|| panic!("no {kid} in {document}"))["publicKeyJwk"];
        assert_eq!(jwk["crv"], "Ed25519", "{jwk}");
        URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap()
    }

    /// Checks the signature; the header of it.
    async fn signed(&self, who: &Participant, post: &Post) -> Value {
        let protected = post.protected();
        post.check(&self.published_key(who, protected["kid"].as_str().unwrap()).await);
        protected
    }

    /// The outbox of the consumer's control plane, as an operator sees it.
    async fn outbox(&self) -> Value {
        let path = format!("/api/runtime/agents/control-plane/{}/outbox", self.consumer.context);
        self.client.exchange(Some(self.admin()), Method::GET, &path, None).await.unwrap().body
    }
}

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

/// A stream of events as its client reads it.
struct Events {
    response: Response,
    read: String,
    last_id: String,
}

/// An event: its name and its data.
type Event = (String, Value);

impl Events {
    async fn request(s: &Stage, who: &Participant, query: &str, last: Option<&str>) -> Response {
        let mut request = s.client.http.get(s.node().urls.admin(&who.path(&format!("events{query}")))).bearer_auth(&who.caller.token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.unwrap()
    }

    /// Follows the consumer; the stream has begun.
    async fn open(s: &Stage, last: Option<&str>) -> Self {
        let response = Self::request(s, &s.consumer, "", last).await;
        assert_eq!((response.status(), response.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, "text/event-stream"));
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut events = Self { response, read: String::new(), last_id: String::new() };
        if last.is_none() {
            assert_eq!(events.block().await, Some(None));
        }
        events
    }

    /// The next block, as the HTML standard dispatches it: `None` at the end, `Some(None)` for one without data.
    async fn block(&mut self) -> Option<Option<Event>> {
        let end = loop {
            if let Some(end) = self.read.find("\n\n") {
                break end;
            }
            let chunk = tokio::time::timeout(SOON, self.response.chunk()).await.expect("nothing happens").unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        };
        let block: String = self.read.drain(..end + 2).collect();
        let (mut name, mut data) = (String::new(), None);
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = id.to_owned(),
                Some(("event", event)) => name = event.to_owned(),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                Some(("retry", millis)) => assert!(millis.parse::<u32>().is_ok()),
                _ => assert!(line.starts_with(':'), "{line}"),
            }
        }
        Some(data.map(|data| (name, data)))
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.block().await.expect("the stream has ended") {
                return event;
            }
        }
    }

    /// Reads what happens to one negotiation, from this step on, and nothing else; the ids of its events.
    async fn negotiation(&mut self, id: &str, from: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for step in &NEGOTIATED[from..] {
            let (name, event) = self.next().await;
            assert_eq!(name, format!("contract.negotiation.{}", step.to_lowercase()));
            assert_eq!((&event["type"], &event["id"]), (&json!(format!("ContractNegotiation{step}")), &json!(self.last_id)));
            assert_eq!(event["payload"]["contractNegotiationId"], id, "{event}");
            ids.push(self.last_id.clone());
        }
        ids
    }
}

#[tokio::test]
async fn who_follows_misses_nothing() {
    let s = Stage::open().await;
    let mut events = Events::open(&s, None).await;
    let from_now = events.last_id.clone();
    let first = s.negotiate(json!([])).await;
    let ids = events.negotiation(&first, 0).await;
    // While nobody reads, and over a restart.
    drop(events);
    let offer = s.open_offer().await;
    let second = s.negotiate(json!([])).await;
    s.finalized(&second).await;
    let s = s.restarted().await;
    let mut events = Events::open(&s, Some(&ids[1])).await;
    assert_eq!(events.negotiation(&first, 2).await, ids[2..]);
    let further = events.negotiation(&second, 0).await;
    // What was told before the first event counts too; so does the id in the query.
    let mut again = Events::open(&s, Some(&from_now)).await;
    assert_eq!(again.negotiation(&first, 0).await, ids);
    let response = Events::request(&s, &s.consumer, &format!("?lastEventId={}", further[3]), None).await;
    let mut again = Events { response, read: String::new(), last_id: String::new() };
    assert_eq!(again.negotiation(&second, 4).await, further[4..]);
    // The other party has events of its own, in its own role.
    let mut theirs = Events { response: Events::request(&s, &s.provider, "", None).await, read: String::new(), last_id: String::new() };
    assert_eq!(theirs.block().await, Some(None));
    let third = s.negotiate_about(&offer, json!([])).await;
    events.negotiation(&third, 0).await;
    for step in ["requested", "agreed", "verified", "finalized"] {
        let (name, event) = theirs.next().await;
        assert_eq!((name, &event["payload"]["correlationId"]), (format!("contract.negotiation.{step}"), &json!(third)), "{event}");
        assert_eq!(event["payload"]["type"], "PROVIDER");
    }
    // Streams end with the node, and do not hold it up.
    let began = Instant::now();
    let (ended, ()) = tokio::join!(events.block(), s.close());
    assert_eq!(ended, None);
    assert!(began.elapsed() < DRAIN / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_not_known_any_more_is_said_first() {
    let s = Stage::open().await;
    for unknown in ["999999.0", "18446744073709551615.4294967295"] {
        let mut events = Events::open(&s, Some(unknown)).await;
        let (name, data) = events.next().await;
        assert_eq!(name, "reset");
        assert!(data["reason"].is_string() && events.last_id != unknown);
        let id = s.negotiate(json!([])).await;
        events.negotiation(&id, 0).await;
    }
    for bad in ["x", "1", "1.", "-1.0", "1.0.0"] {
        let refused = Events::request(&s, &s.consumer, "", Some(bad)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(Events::request(&s, &s.consumer, &format!("?lastEventId={bad}"), None).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    s.close().await;
}

#[tokio::test]
async fn streams_are_for_their_participant_and_end_with_its_rights() {
    let s = Stage::with(|config| config.limits.waits_each = 2).await;
    let other = s.client.http.get(s.node().urls.admin(&s.consumer.path("events"))).bearer_auth(&s.provider.caller.token);
    assert_eq!(other.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let nobody = s.client.http.get(s.node().urls.admin(&s.consumer.path("events")));
    assert_eq!(nobody.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    // They count among the long polls of the participant for as long as they last.
    let mut first = Events::open(&s, None).await;
    let second = Events::open(&s, None).await;
    assert_eq!(Events::request(&s, &s.consumer, "", None).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(Events::request(&s, &s.provider, "", None).await.status(), StatusCode::OK);
    drop(second);
    let until = Instant::now() + SOON;
    let mut third = loop {
        let response = Events::request(&s, &s.consumer, "", None).await;
        if response.status() == StatusCode::OK {
            break Events { response, read: String::new(), last_id: String::new() };
        }
        assert!(Instant::now() < until, "the place was not given back");
        tokio::task::yield_now().await;
    };
    let id = s.negotiate(json!([])).await;
    first.negotiation(&id, 0).await;
    // That of one that is switched off ends though nothing happens to it any more.
    let response = Events::request(&s, &s.third, "", None).await;
    let mut off = Events { response, read: String::new(), last_id: String::new() };
    assert_eq!(off.block().await, Some(None));
    let path = format!("/api/mgmt/v5beta/participants/{}", s.third.context);
    let mut body = s.client.exchange(Some(s.admin()), Method::GET, &path, None).await.unwrap().body;
    body["state"] = json!("DEACTIVATED");
    assert_eq!(s.client.exchange(Some(s.admin()), Method::PUT, &path, Some(&body)).await.unwrap().status, 204);
    assert_eq!(tokio::time::timeout(SOON, off.block()).await, Ok(None));
    // A counterparty that takes the request and says no more.
    let (url, mut messages) = callback().await;
    let offers = s.offers(&s.consumer).await;
    let mut body = sharing::contract_request(&s.provider, &offers[0]);
    body["counterPartyAddress"] = json!(url);
    let begun = s.manage(&s.consumer, Method::POST, "contractnegotiations", Some(body)).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    messages.recv().await.unwrap();
    for step in ["initiated", "requested"] {
        assert_eq!(first.next().await.0, format!("contract.negotiation.{step}"));
    }
    // The end of the negotiation is not told any more: whose it is has left.
    let path = format!("/api/mgmt/v5beta/participants/{}", s.consumer.context);
    let deleted = s.client.exchange(Some(s.admin()), Method::DELETE, &path, None).await.unwrap();
    assert_eq!(deleted.status, 204, "{}", deleted.body);
    for events in [&mut first, &mut third] {
        while let Some(block) = events.block().await {
            assert!(block.is_none_or(|(name, _)| name != "contract.negotiation.terminated"));
        }
    }
    s.close().await;
}
