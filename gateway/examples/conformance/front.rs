//! The public address of the platform under test: passes every request on to it, those of the suite with the token that the suite has not got, and
//! takes the suite's triggers. What the platform sends and answers is held against the official schemas, when there is a judge.

use crate::{
    agreements::begin,
    counterpart::{Counterpart, SINK, SUITE_AUTHORIZATION},
    participant::UnderTest,
    patience::{PATIENT, again_after},
    proxy::{Answer, Door, Proxy, plain},
    relay::Relay,
    schemas::Judge,
    steps,
};
use anyhow::{Result, bail};
use bytes::Bytes;
use cellspace_actors::control_plane::{
    agent::Reply,
    negotiation::NewNegotiation,
    transfer::{self, Command, NewTransfer},
};
use cellspace_schemas::{AgreementId, AssetId, OfferId, TransferType, dsp::message::CONTEXT, management::DataplaneMetadata};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, json};
use std::{net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// Path of the trigger of negotiations.
pub const NEGOTIATE: &str = "/conformance/negotiations";
/// Path of the trigger of transfers.
pub const TRANSFER: &str = "/conformance/transfers";

/// Below which the platform takes messages of the protocol.
const DSP: &str = "/api/dsp/";

/// What the suite says when we are to begin a negotiation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Negotiate {
    offer_id: OfferId,
    dataset_id: AssetId,
    connector_address: String,
}

/// What it says when we are to begin a transfer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transfer {
    agreement_id: AgreementId,
    format: TransferType,
    connector_address: String,
}

/// The front.
pub struct Front {
    platform: SocketAddr,
    counterpart: Arc<Counterpart>,
    under_test: Arc<UnderTest>,
    proxy: Arc<Proxy>,
    relay: Relay,
    judge: Option<Arc<Mutex<Judge>>>,
}

impl Door for Front {
    async fn answer(&self, request: Request<Bytes>) -> Result<Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if let Some((address, rest)) = Counterpart::relayed(path) {
            self.judge(|judge| judge.message(head.method.as_str(), rest, &body));
            return self.relay.pass(&head.method, format!("{address}{rest}"), &head.headers, body).await;
        }
        match path {
            NEGOTIATE => self.negotiate(serde_json::from_slice(&body)?).await,
            TRANSFER => self.transfer(serde_json::from_slice(&body)?).await,
            path if path.starts_with(SINK) => {
                self.judge(|judge| judge.message(head.method.as_str(), path, &body));
                Ok(plain(StatusCode::OK, begun(path, &body)))
            }
            path => {
                let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
                let url = format!("http://{}{target}", self.platform);
                let answer = self.pass_on(head.method.clone(), &url, head.headers, body).await?;
                if path.starts_with(DSP) {
                    self.judge(|judge| judge.answer(head.method.as_str(), path, answer.status().as_u16(), answer.body()));
                }
                Ok(answer)
            }
        }
    }
}

/// What a first message has begun, as its receiver answers; of other messages nothing is told.
fn begun(path: &str, message: &[u8]) -> String {
    #[derive(Deserialize)]
    struct First {
        #[serde(rename = "consumerPid")]
        consumer_pid: String,
    }
    match serde_json::from_slice(message) {
        Ok(First { consumer_pid }) if path.ends_with("/negotiations/request") => {
            json!({"@context": [CONTEXT], "@type": "ContractNegotiation",
            "providerPid": Counterpart::pid_for(&consumer_pid), "consumerPid": consumer_pid, "state": "REQUESTED"})
            .to_string()
        }
        _ => "{}".to_owned(),
    }
}

impl Front {
    /// In front of the platform's public listener.
    pub fn new(
        platform: SocketAddr,
        counterpart: Arc<Counterpart>,
        under_test: Arc<UnderTest>,
        judge: Option<Arc<Mutex<Judge>>>,
    ) -> Result<Arc<Self>> {
        let proxy = Arc::new(Proxy::new()?);
        let relay = Relay::new(proxy.clone());
        Ok(Arc::new(Self { platform, counterpart, under_test, proxy, relay, judge }))
    }

    fn judge(&self, what: impl FnOnce(&mut Judge)) {
        if let Some(judge) = &self.judge {
            what(&mut judge.lock());
        }
    }

    /// A request to the platform.
    async fn pass_on(&self, method: Method, url: &str, mut headers: HeaderMap, mut body: Bytes) -> Result<Answer> {
        let is_suites = headers.get(header::AUTHORIZATION).is_some_and(|value| value == SUITE_AUTHORIZATION);
        if is_suites {
            body = self.counterpart.translated(&body)?.into();
        }
        let until = Instant::now() + PATIENT;
        loop {
            if is_suites {
                // Each time a fresh one.
                let token = format!("Bearer {}", self.counterpart.token(&self.under_test.did)?);
                headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&token)?);
            }
            let answer = self.proxy.send(method.clone(), url, &headers, body.clone()).await?;
            match again_after(answer.status(), answer.headers()) {
                Some(pause) if is_suites && Instant::now() + pause < until => tokio::time::sleep(pause).await,
                _ => return Ok(answer),
            }
        }
    }

    async fn negotiate(&self, asked: Negotiate) -> Result<Answer> {
        let offer = json!({"@type": "Offer", "@id": asked.offer_id, "target": asked.dataset_id, "permission": [{"action": "use"}]});
        let new = NewNegotiation {
            id: None,
            profile: self.under_test.profile.clone(),
            counterparty: self.counterpart.did.clone(),
            address: self.counterpart.relay_to(&asked.connector_address)?,
            offer: serde_json::from_value(offer)?,
            callbacks: Vec::new(),
        };
        let id = begin(&self.under_test, new).await?;
        steps::of_negotiation(self.under_test.clone(), id, asked.dataset_id.as_str());
        Ok(plain(StatusCode::OK, "{}"))
    }

    async fn transfer(&self, asked: Transfer) -> Result<Answer> {
        let new = NewTransfer {
            id: None,
            profile: self.under_test.profile.clone(),
            address: self.counterpart.relay_to(&asked.connector_address)?,
            agreement: asked.agreement_id.clone(),
            transfer_type: asked.format,
            metadata: DataplaneMetadata::default(),
            private_properties: Map::new(),
            callbacks: Vec::new(),
        };
        match self.under_test.desks.ask(Command::Request(Box::new(new))).await? {
            Reply::Transfer(transfer::Reply::Begun { id, .. }) => {
                steps::of_transfer(self.under_test.clone(), id, asked.agreement_id.as_str());
                Ok(plain(StatusCode::OK, "{}"))
            }
            other => bail!("a transfer was begun with {other:?}"),
        }
    }
}
