//! What happens to negotiations and transfers, told over real sockets: posted to callback addresses, and streamed to who follows a participant.

mod callbacks;
mod stream;

use crate::stage::Stage;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use cellspace_client::{Client, sharing, tenants::Participant};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
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
