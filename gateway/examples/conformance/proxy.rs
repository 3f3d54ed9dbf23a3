//! HTTP in front of the platform: takes requests whole, and passes them on.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Longest exchange with either side.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An exchange, read whole.
pub type Answer = Response<Bytes>;

/// Answers requests.
pub trait Door: Send + Sync + 'static {
    /// The answer to one; a failure is answered 502.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Result<Answer>> + Send;
}

/// Serves for as long as the process runs, or until it is given up. Connections are kept open between requests, or not.
pub async fn serve(door: Arc<impl Door>, listener: TcpListener, keep_alive: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        let door = door.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let door = door.clone();
            async move {
                let answer = whole(&*door, request).await.unwrap_or_else(|error| {
                    tracing::warn!(category = "app", action = "front.failed", "{error:#}");
                    plain(StatusCode::BAD_GATEWAY, format!("{error:#}"))
                });
                Ok::<_, Infallible>(answer.map(Full::new))
            }
        });
        tokio::spawn(http1::Builder::new().keep_alive(keep_alive).serve_connection(TokioIo::new(stream), answer));
    }
}

async fn whole(door: &impl Door, request: Request<Incoming>) -> Result<Answer> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    door.answer(Request::from_parts(head, body)).await
}

/// Passes requests on.
pub struct Proxy {
    http: reqwest::Client,
}

impl Proxy {
    /// A client that goes where it is sent, and no further.
    pub fn new() -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build()?;
        Ok(Self { http })
    }

    /// Sends a request on, without what belongs to the connection it came on.
    pub async fn send(&self, method: Method, url: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
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
        let mut passed = Response::new(answer.bytes().await?);
        (*passed.status_mut(), *passed.headers_mut()) = (status, headers);
        Ok(passed)
    }
}

/// An answer of our own.
pub fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
}
