//! HTTP to other parties: bounded in time and size, no redirects, no proxies, targets filtered. A span per exchange.

pub mod form;
pub mod post;
pub mod stream;
pub mod targets;
#[cfg(test)]
mod tests;

pub use reqwest::Certificate;
pub use stream::{StreamRequest, StreamResponse};

use bytes::Bytes;
use cellspace_cluster::{DeliveryError, trace};
use cellspace_schemas::TraceContext;
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::dns::Resolve;
use std::{sync::Arc, time::Duration};
use tracing::{Span, field::Empty, info_span};
use url::{Origin, Url};

/// A request to another party.
#[derive(Debug, Clone)]
pub struct OutboundRequest {
    /// Method.
    pub method: Method,
    /// Target; `http` or `https`.
    pub url: Url,
    /// Bearer token for `Authorization`, never logged.
    pub bearer: Option<String>,
    /// JSON body.
    pub body: Option<Bytes>,
    /// `Accept` header.
    pub accept: Option<&'static str>,
    /// Trace to continue where no span is at work.
    pub trace: Option<TraceContext>,
}

/// A whole answer, at most as long as the client allows.
#[derive(Debug, Clone)]
pub struct OutboundResponse {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboundError {
    /// The target may not be called (scheme, private address).
    #[error("{0} is not an allowed target")]
    Forbidden(String),
    /// No connection, or it broke.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// Took longer than allowed.
    #[error("{0} did not answer in time")]
    TimedOut(String),
    /// Longer than allowed.
    #[error("{0} answered with more than {1} bytes")]
    TooLarge(String, usize),
}

/// What it means for a delivery.
impl From<OutboundError> for DeliveryError {
    fn from(error: OutboundError) -> Self {
        let reason = error.to_string();
        match error {
            OutboundError::Forbidden(_) => Self::Refused(reason),
            OutboundError::Unreachable(..) | OutboundError::TimedOut(_) => Self::Unreachable(reason),
            OutboundError::TooLarge(..) => Self::Retry(reason),
        }
    }
}

/// Bounds of the client.
#[derive(Debug, Clone)]
pub struct OutboundOptions {
    /// Whole exchange.
    pub timeout: Duration,
    /// Largest answer.
    pub max_body: usize,
    /// Whether loopback, private and link-local addresses and plain http may be called.
    pub allow_private: bool,
    /// Authorities whose certificates are believed, beside those that the system believes.
    pub authorities: Vec<Certificate>,
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), max_body: 4 << 20, allow_private: false, authorities: Vec::new() }
    }
}

/// The client; cheap to clone, one connection pool.
#[derive(Debug, Clone)]
pub struct OutboundHttp {
    client: reqwest::Client,
    options: OutboundOptions,
    only: Option<Origin>,
}

impl OutboundHttp {
    /// Makes the client.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(options: OutboundOptions) -> Result<Self, reqwest::Error> {
        Self::build(options, None)
    }

    /// Makes a client that may call this origin, whatever its address is, and no other.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn towards(origin: Origin, options: OutboundOptions) -> Result<Self, reqwest::Error> {
        Self::build(OutboundOptions { allow_private: true, ..options }, Some(origin))
    }

    fn build(options: OutboundOptions, only: Option<Origin>) -> Result<Self, reqwest::Error> {
        let names = (!options.allow_private).then(|| Arc::new(targets::PublicAddresses) as Arc<dyn Resolve>);
        Self::resolving(options, only, names)
    }

    /// What `names` answers is what is connected to: a name is looked up once, so that it cannot mean something else after it was judged.
    fn resolving(options: OutboundOptions, only: Option<Origin>, names: Option<Arc<dyn Resolve>>) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A proxy, which the environment might name, would resolve names by itself: the filter of addresses would see none of them.
            .no_proxy()
            .timeout(options.timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(64);
        if !options.authorities.is_empty() {
            builder = builder.tls_certs_merge(options.authorities.clone());
        }
        if let Some(names) = names {
            builder = builder.dns_resolver(names);
        }
        let client = builder.build()?;
        Ok(Self { client, options, only })
    }

    /// Whom it believes beside those that the system believes.
    #[must_use]
    pub fn authorities(&self) -> &[Certificate] {
        &self.options.authorities
    }

    /// Whether plain http and private addresses may be called.
    #[must_use]
    pub const fn allows_private(&self) -> bool {
        self.options.allow_private
    }

    /// Sends the request once; never retries by itself.
    ///
    /// # Errors
    /// [`OutboundError`] when no whole answer came; an error status is an answer.
    pub async fn send(&self, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        self.send_unless(request, None, self.options.max_body).await
    }

    /// As [`Self::send`], for an answer of at most `limit` bytes; what still has the entity tag `known` is answered by 304 without a body (RFC 9110,
    /// 13.1.2).
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_unless(
        &self,
        request: OutboundRequest,
        known: Option<&str>,
        limit: usize,
    ) -> Result<OutboundResponse, OutboundError> {
        let target = request.url.origin().ascii_serialization();
        self.check_target(&request.url)?;
        let mut builder = self.client.request(request.method.clone(), request.url);
        if let Some(token) = request.bearer {
            builder = builder.bearer_auth(token);
        }
        if let Some(body) = request.body {
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(accept) = request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        if let Some(tag) = known {
            builder = builder.header(header::IF_NONE_MATCH, tag);
        }
        let span = client_span(&request.method, &target);
        let exchange = async {
            let response = traced(builder).send().await.map_err(|e| failed(&e, &target))?;
            whole(response, &target, limit.min(self.options.max_body)).await
        };
        let outcome = trace::within(span.clone(), request.trace.as_ref(), exchange).await;
        record(&span, outcome.as_ref().map(|answer| answer.status));
        outcome
    }

    /// Whether the URL may be called by this client.
    ///
    /// # Errors
    /// [`OutboundError::Forbidden`] names the target.
    pub fn check_target(&self, url: &Url) -> Result<(), OutboundError> {
        let origin = url.origin();
        let allowed = match &self.only {
            Some(only) => origin == *only,
            None => targets::is_allowed(url, self.options.allow_private),
        };
        if allowed { Ok(()) } else { Err(OutboundError::Forbidden(origin.ascii_serialization())) }
    }
}

/// What is read of an answer before others have their turn: whoever sends fast, and much, holds up nobody.
const TURN_BYTES: usize = 64 << 10;

/// Reads the whole answer, unless it is longer than `limit`.
async fn whole(mut response: reqwest::Response, target: &str, limit: usize) -> Result<OutboundResponse, OutboundError> {
    let too_large = || OutboundError::TooLarge(target.to_owned(), limit);
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let (mut body, mut turn) = (Vec::new(), TURN_BYTES);
    while let Some(chunk) = response.chunk().await.map_err(|e| failed(&e, target))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
        if body.len() > turn {
            turn = body.len() + TURN_BYTES;
            tokio::task::yield_now().await;
        }
    }
    Ok(OutboundResponse { status: response.status(), headers: std::mem::take(response.headers_mut()), body: body.into() })
}

/// The span of an exchange. Neither path nor query: they may hold what belongs in no trace.
fn client_span(method: &Method, target: &str) -> Span {
    info_span!(
        "http.client",
        otel.name = %format_args!("{method} {target}"),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = %method,
        server.address = target,
        http.response.status_code = Empty,
    )
}

/// The request, as one of the span that is at work.
fn traced(builder: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    match trace::current() {
        Some(context) => builder.header("traceparent", context.as_str()),
        None => builder,
    }
}

/// How the exchange ended.
fn record(span: &Span, status: Result<StatusCode, &OutboundError>) {
    if let Ok(status) = status {
        span.record("http.response.status_code", status.as_u16());
    }
    if status.is_err() || status.is_ok_and(|status| status.is_client_error() || status.is_server_error()) {
        span.record("otel.status_code", "ERROR");
    }
}

/// Why an exchange with the target failed.
fn failed(error: &reqwest::Error, target: &str) -> OutboundError {
    if error.is_timeout() {
        OutboundError::TimedOut(target.to_owned())
    } else {
        OutboundError::Unreachable(target.to_owned(), reason(error))
    }
}

/// The innermost cause, without the URL that reqwest would repeat.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
