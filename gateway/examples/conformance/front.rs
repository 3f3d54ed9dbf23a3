//! The public address of the platform under test: passes every request on to it, those of the suite with the token that the suite has not got, and
//! takes the suite's triggers.

use crate::{
    agreements::begin,
    counterpart::{Counterpart, SINK, SUITE_AUTHORIZATION},
    participant::UnderTest,
    steps,
};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cellspace_actors::control_plane::{
    agent::Reply,
    negotiation::NewNegotiation,
    transfer::{self, Command, NewTransfer},
};
use cellspace_schemas::{AgreementId, AssetId, OfferId, TransferType, management::DataplaneMetadata};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Map, json};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::Instant};

/// Path of the trigger of negotiations.
pub const NEGOTIATE: &str = "/conformance/negotiations";
/// Path of the trigger of transfers.
pub const TRANSFER: &str = "/conformance/transfers";

/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Longest exchange with either side.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the suite may take to listen: less than the platform waits for an answer.
const LISTENS: Duration = Duration::from_secs(8);
/// Between two tries until it does.
const AGAIN: Duration = Duration::from_millis(50);

/// An exchange, read whole.
type Answer = Response<Full<Bytes>>;

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
    http: reqwest::Client,
}

impl Front {
    /// In front of the platform's public listener.
    pub fn new(platform: SocketAddr, counterpart: Arc<Counterpart>, under_test: Arc<UnderTest>) -> Result<Arc<Self>> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build()?;
        Ok(Arc::new(Self { platform, counterpart, under_test, http }))
    }

    /// Serves for as long as the process runs.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let front = self.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let front = front.clone();
                async move {
                    let answer = front.answer(request).await.unwrap_or_else(|error| {
                        tracing::warn!(category = "app", action = "front.failed", "{error:#}");
                        plain(StatusCode::BAD_GATEWAY, format!("{error:#}"))
                    });
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        let path = head.uri.path();
        if let Some((address, rest)) = Counterpart::relayed(path) {
            return self.relay(&head.method, &format!("{address}{rest}"), &head.headers, body).await;
        }
        match path {
            NEGOTIATE => self.negotiate(serde_json::from_slice(&body)?).await,
            TRANSFER => self.transfer(serde_json::from_slice(&body)?).await,
            path if path.starts_with(SINK) => Ok(plain(StatusCode::OK, "{}")),
            _ => {
                let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
                self.pass_on(head.method, &format!("http://{}{target}", self.platform), head.headers, body).await
            }
        }
    }

    /// A request to the platform.
    async fn pass_on(&self, method: Method, url: &str, mut headers: HeaderMap, body: Bytes) -> Result<Answer> {
        let mut body = body;
        if headers.get(header::AUTHORIZATION).is_some_and(|value| value == SUITE_AUTHORIZATION) {
            let token = format!("Bearer {}", self.counterpart.token(&self.under_test.did)?);
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&token)?);
            body = self.counterpart.translated(&body)?.into();
        }
        self.send(method, url, &headers, body).await
    }

    /// A message to the suite. It knows no path before the test is so far: 404 means later.
    async fn relay(&self, method: &Method, url: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
        let until = Instant::now() + LISTENS;
        loop {
            let answer = self.send(method.clone(), url, headers, body.clone()).await?;
            if answer.status() != StatusCode::NOT_FOUND || Instant::now() > until {
                return Ok(answer);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn send(&self, method: Method, url: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
        let mut sent = headers.clone();
        for own in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT] {
            sent.remove(own);
        }
        let answer =
            self.http.request(method, url).headers(sent).body(body).send().await.with_context(|| format!("{url} does not answer"))?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        for own in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            headers.remove(own);
        }
        let mut passed = Response::new(Full::new(answer.bytes().await?));
        (*passed.status_mut(), *passed.headers_mut()) = (status, headers);
        Ok(passed)
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
        match self.under_test.ask(Command::Request(Box::new(new))).await? {
            Reply::Transfer(transfer::Reply::Begun { id, .. }) => {
                steps::of_transfer(self.under_test.clone(), id, asked.agreement_id.as_str());
                Ok(plain(StatusCode::OK, "{}"))
            }
            other => bail!("a transfer was begun with {other:?}"),
        }
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}
