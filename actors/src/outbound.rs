//! HTTP to other parties: bounded in time and size, no redirects, targets filtered.

pub mod form;
pub mod stream;
pub mod targets;

pub use stream::{StreamRequest, StreamResponse};

use bytes::Bytes;
use cellspace_cluster::DeliveryError;
use cellspace_schemas::TraceContext;
use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;
use url::Url;

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
    /// Trace to continue.
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
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), max_body: 4 << 20, allow_private: false }
    }
}

/// The client; cheap to clone, one connection pool.
#[derive(Debug, Clone)]
pub struct OutboundHttp {
    client: reqwest::Client,
    options: OutboundOptions,
}

impl OutboundHttp {
    /// Makes the client.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(options: OutboundOptions) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(options.timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(64);
        if !options.allow_private {
            builder = builder.dns_resolver(targets::PublicAddresses);
        }
        let client = builder.build()?;
        Ok(Self { client, options })
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
        let target = request.url.origin().ascii_serialization();
        self.check_target(&request.url)?;
        let mut builder = self.client.request(request.method, request.url);
        if let Some(token) = request.bearer {
            builder = builder.bearer_auth(token);
        }
        if let Some(body) = request.body {
            builder = builder.header(http::header::CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(accept) = request.accept {
            builder = builder.header(http::header::ACCEPT, accept);
        }
        if let Some(trace) = request.trace {
            builder = builder.header("traceparent", trace.as_str());
        }
        let response = builder.send().await.map_err(|e| failed(&e, &target))?;
        self.whole(response, &target).await
    }

    /// Reads the whole answer, within the bounds.
    async fn whole(&self, mut response: reqwest::Response, target: &str) -> Result<OutboundResponse, OutboundError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| failed(&e, target))? {
            if body.len() + chunk.len() > self.options.max_body {
                return Err(OutboundError::TooLarge(target.to_owned(), self.options.max_body));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(OutboundResponse { status: response.status(), headers: std::mem::take(response.headers_mut()), body: body.into() })
    }

    /// Whether the URL may be called by this client.
    ///
    /// # Errors
    /// [`OutboundError::Forbidden`] names the target.
    pub fn check_target(&self, url: &Url) -> Result<(), OutboundError> {
        if targets::is_allowed(url, self.options.allow_private) {
            Ok(())
        } else {
            Err(OutboundError::Forbidden(url.origin().ascii_serialization()))
        }
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
