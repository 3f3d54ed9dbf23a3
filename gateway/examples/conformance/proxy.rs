//! HTTP in front of the platform: takes requests whole, and passes them on.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Longest exchange with either side.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is passed on as it comes.
const PASSING: Duration = Duration::from_secs(120);

/// An exchange, read whole.
pub type Answer = Response<Bytes>;

/// Answers requests.
pub trait Door: Send + Sync + 'static {
    /// The answer to one; a failure is answered 502.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Result<Answer>> + Send;

    /// Where a request goes whose answer is not looked at: it is passed on as it comes, and breaks off where it breaks off.
    fn passes(&self, _request: &Request<Bytes>) -> Option<(&Proxy, String)> {
        None
    }
}

type Body = BoxBody<Bytes, reqwest::Error>;

/// Serves for as long as the process runs, or until it is given up. Connections are kept open between requests, or not.
pub async fn serve(door: Arc<impl Door>, listener: TcpListener, keep_alive: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        let door = door.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let door = door.clone();
            async move {
                let answer = answered(&*door, request).await.unwrap_or_else(|error| {
                    tracing::warn!(category = "app", action = "front.failed", "{error:#}");
                    full(plain(StatusCode::BAD_GATEWAY, format!("{error:#}")))
                });
                Ok::<_, Infallible>(answer)
            }
        });
        tokio::spawn(http1::Builder::new().keep_alive(keep_alive).serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answered(door: &impl Door, request: Request<Incoming>) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    let request = Request::from_parts(head, body);
    match door.passes(&request) {
        Some((proxy, url)) => {
            let (head, body) = request.into_parts();
            let answer = proxy.ask(head.method, &url, &head.headers, body, PASSING).await?;
            Ok(Response::from(answer).map(BodyExt::boxed))
        }
        None => door.answer(request).await.map(full),
    }
}

fn full(answer: Answer) -> Response<Body> {
    answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed())
}

/// Passes requests on.
pub struct Proxy {
    http: reqwest::Client,
}

impl Proxy {
    /// A client that goes where it is sent, and no further.
    pub fn new() -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http })
    }

    /// Sends a request on, without what belongs to the connection it came on.
    pub async fn send(&self, method: Method, url: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
        let answer = self.ask(method, url, headers, body, TIMEOUT).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut passed = Response::new(answer.bytes().await?);
        (*passed.status_mut(), *passed.headers_mut()) = (status, headers);
        Ok(passed)
    }

    async fn ask(&self, method: Method, url: &str, headers: &HeaderMap, body: Bytes, timeout: Duration) -> Result<reqwest::Response> {
        let mut sent = headers.clone();
        for own in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT] {
            sent.remove(own);
        }
        let request = self.http.request(method, url).headers(sent).body(body).timeout(timeout);
        let mut answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
        for own in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            answer.headers_mut().remove(own);
        }
        Ok(answer)
    }
}

/// An answer of our own.
pub fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
}
