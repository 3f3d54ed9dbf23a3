//! Three participants on one node, brought in through the public APIs: a provider with its offers, a consumer that holds every credential,
//! and a third participant without the Manufacturer credential. Tests play any of them, also message by message.

use crate::support::{DRAIN, Platform};
use bytes::Bytes;
use cellspace::{Node, NodeConfig};
use cellspace_actors::trust;
use cellspace_client::{Caller, Client, Silent, operator, provider, sharing, source, tenants};
use cellspace_schemas::{Did, ParticipantContextId};
use http_body_util::{BodyExt, Full};
use hyper::{Request, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};
use tokio::{net::TcpListener, sync::mpsc};

pub const DSP_CONTEXT: &str = "https://w3id.org/dspace/2025/1/context.jsonld";
/// What a holder lets its counterparty ask for.
pub const SCOPES: [&str; 2] =
    ["org.eclipse.dspace.dcp.vc.type:MembershipCredential:read", "org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read"];

/// Who sends what tests send themselves.
pub const TESTER: &str = "tester";

pub struct Stage {
    pub base: Platform,
    pub client: Client,
    pub platform: operator::Platform,
    pub provider: tenants::Participant,
    pub consumer: tenants::Participant,
    pub third: tenants::Participant,
}

/// An answer of the protocol: status, body as sent, body as JSON.
pub struct Answer {
    pub status: StatusCode,
    pub link: Option<String>,
    pub text: String,
    pub body: Value,
}

impl Stage {
    pub async fn open() -> Self {
        Self::with(|_| ()).await
    }

    /// On a node of other options.
    pub async fn with(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let base = Platform::temporary(|config| {
            config.status_list_age = Duration::from_secs(2);
            change(config);
        });
        Self::on(base.await).await
    }

    /// On this platform.
    pub async fn on(base: Platform) -> Self {
        let node = &base.node;
        let url_of = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).user_agent(TESTER).build().unwrap();
        let mut client = Client::new(http, url_of(&node.urls.admin), url_of(&node.urls.public), Box::new(Silent));
        let host = node.urls.did_host();
        let admin = Caller { name: "admin".into(), token: base.token.clone() };
        let platform = operator::prepare(&mut client, admin, &host).await.unwrap();
        let mut cast = Vec::new();
        for (name, manufacturer) in [("provider", true), ("consumer", true), ("third", false)] {
            cast.push(tenants::onboard(&mut client, &platform, name, &host, manufacturer).await.unwrap());
        }
        let (third, consumer, provider) = (cast.pop().unwrap(), cast.pop().unwrap(), cast.pop().unwrap());
        let data = source::serve().await.unwrap();
        provider::offer(&mut client, &provider, &format!("http://{data}")).await.unwrap();
        Self { base, client, platform, provider, consumer, third }
    }

    /// After an end in order and another start, on the same data.
    pub async fn restarted(self) -> Self {
        let base = self.base.restarted().await;
        Self { base, ..self }
    }

    pub fn node(&self) -> &Node {
        &self.base.node
    }

    pub async fn close(self) {
        self.base.node.drain(DRAIN).await;
    }

    /// A self-issued ID token of `from` for `to`.
    pub async fn token(&self, from: &tenants::Participant, to: &tenants::Participant) -> String {
        let scopes = SCOPES.map(str::to_owned);
        trust::self_issued_token(self.base.services_of(&context(from)), &context(from), &did(to), &scopes).await.unwrap()
    }

    /// One exchange of the protocol, to a path below the receiver's DSP base.
    pub async fn send(&self, token: Option<&str>, method: Method, to: &tenants::Participant, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.client.http.request(method, format!("{}{path}", to.dsp));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, link: headers.get("link").map(|l| l.to_str().unwrap().to_owned()), text, body }
    }

    /// A message of `from` to `to`, with a fresh token.
    pub async fn message(&self, from: &tenants::Participant, to: &tenants::Participant, path: &str, body: &Value) -> Answer {
        let token = self.token(from, to).await;
        self.send(Some(&token), Method::POST, to, path, Some(body)).await
    }

    /// What `from` gets to see at `to` by the protocol's GET.
    pub async fn look(&self, from: &tenants::Participant, to: &tenants::Participant, path: &str) -> Answer {
        let token = self.token(from, to).await;
        self.send(Some(&token), Method::GET, to, path, None).await
    }

    /// A call of a participant's own Management API.
    pub async fn manage(
        &self,
        who: &tenants::Participant,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> cellspace_client::client::Answer {
        self.client.exchange(Some(&who.caller), method, &who.path(path), body.as_ref()).await.unwrap()
    }

    /// All negotiations of a participant.
    pub async fn negotiations(&self, who: &tenants::Participant) -> Vec<Value> {
        let all =
            self.manage(who, Method::POST, "contractnegotiations/request", Some(Client::typed("QuerySpec", json!({"limit": 1000})))).await;
        assert_eq!(all.status, 200, "{}", all.body);
        all.body.as_array().unwrap().clone()
    }

    /// The provider's offers as `who` sees them.
    pub async fn offers(&self, who: &tenants::Participant) -> Vec<sharing::Offer> {
        let catalog = self.message(who, &self.provider, "/catalog/request", &dsp("CatalogRequestMessage", json!({}))).await;
        assert_eq!(catalog.status, StatusCode::OK, "{}", catalog.text);
        sharing::offers(&catalog.body)
    }

    /// A negotiation through the Management API until it is FINALIZED: `(consumer's id, provider's id, agreement)`.
    pub async fn agreement(&mut self, offer: &sharing::Offer) -> (String, String, String) {
        let (ours, theirs) = sharing::negotiate(&mut self.client, &self.consumer, &self.provider, offer, "FINALIZED").await.unwrap();
        let id = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        (id(&ours, "@id"), id(&theirs.unwrap(), "@id"), id(&ours, "contractAgreementId"))
    }

    pub fn admin(&self) -> &Caller {
        &self.platform.admin
    }
}

pub fn context(participant: &tenants::Participant) -> ParticipantContextId {
    participant.context.parse().unwrap()
}

pub fn did(participant: &tenants::Participant) -> Did {
    Did::new(&participant.did).unwrap()
}

/// A message of the protocol.
pub fn dsp(kind: &str, mut body: Value) -> Value {
    let map = body.as_object_mut().unwrap();
    map.insert("@context".into(), json!([DSP_CONTEXT]));
    map.insert("@type".into(), json!(kind));
    body
}

/// The first message of a consumer about an offer.
pub fn contract_request(consumer_pid: &str, callback: &str, offer: &sharing::Offer, assigner: &str) -> Value {
    let mut policy = offer.policy.clone();
    let map = policy.as_object_mut().unwrap();
    map.insert("@id".into(), json!(offer.id));
    map.insert("@type".into(), json!("Offer"));
    map.insert("target".into(), json!(offer.asset));
    map.insert("assigner".into(), json!(assigner));
    dsp("ContractRequestMessage", json!({"consumerPid": consumer_pid, "callbackAddress": callback, "offer": policy}))
}

/// What a counterparty answers who takes a message: a first one with the process that it began.
pub fn taken(message: &Value) -> Value {
    let pid = |name: &str| message.get(name).cloned().unwrap_or_else(|| json!("urn:uuid:theirs"));
    let of_transfer = message["@type"].as_str().is_some_and(|kind| kind.starts_with("Transfer"));
    let kind = if of_transfer { "TransferProcess" } else { "ContractNegotiation" };
    dsp(kind, json!({"consumerPid": pid("consumerPid"), "providerPid": pid("providerPid"), "state": "REQUESTED"}))
}

/// A counterparty's callback address that takes every message: `(base URL, (path, body) as they come)`.
pub async fn callback() -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    let (sender, received) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let sender = sender.clone();
                async move {
                    let path = request.uri().path().trim_start_matches("/callback").to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let message: Value = serde_json::from_slice(&body).unwrap();
                    let answer = Full::new(Bytes::from(taken(&message).to_string()));
                    sender.send((path, message)).await.unwrap();
                    Ok::<_, Infallible>(hyper::Response::new(answer))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (url, received)
}
