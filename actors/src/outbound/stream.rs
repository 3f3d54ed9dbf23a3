//! Answers that are passed on while they arrive: the head is bounded in time, the body chunk by chunk.

use super::{OutboundError, OutboundHttp, client_span, reason, record, traced};
use bytes::Bytes;
use cellspace_cluster::trace;
use cellspace_schemas::TraceContext;
use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;
use url::Url;

/// Longest time a streamed exchange takes altogether.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(24 * 3600);

/// A request without a body whose answer is streamed.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// Method.
    pub method: Method,
    /// Target; `http` or `https`.
    pub url: Url,
    /// Headers to send; sensitive values must be marked so.
    pub headers: HeaderMap,
    /// Trace to continue where no span is at work.
    pub trace: Option<TraceContext>,
}

/// An answer whose body is still arriving; dropping it closes the exchange.
#[derive(Debug)]
pub struct StreamResponse {
    response: reqwest::Response,
    target: String,
    pause: Duration,
}

impl StreamResponse {
    /// Status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Bytes of the body still to come, when the other side said how many there are.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece of the body, `None` at its end. Nothing is read ahead beyond the transport's own window.
    ///
    /// # Errors
    /// [`OutboundError`] when the body breaks off, or when nothing arrives for as long as a whole unstreamed exchange may take.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        match tokio::time::timeout(self.pause, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(e)) => Err(OutboundError::Unreachable(self.target.clone(), reason(&e))),
            Err(_) => Err(OutboundError::TimedOut(self.target.clone())),
        }
    }
}

impl OutboundHttp {
    /// Sends the request once and returns as soon as the head of the answer is there. Redirects are answers, not followed.
    ///
    /// # Errors
    /// [`OutboundError`] when no head came in time; an error status is an answer.
    pub async fn open(&self, request: StreamRequest) -> Result<StreamResponse, OutboundError> {
        self.check_target(&request.url)?;
        let target = request.url.origin().ascii_serialization();
        let span = client_span(&request.method, &target);
        let builder = self.client.request(request.method, request.url).headers(request.headers).timeout(LONGEST_EXCHANGE);
        let pause = self.options.timeout;
        let opening = async { tokio::time::timeout(pause, traced(builder).send()).await };
        let outcome = match trace::within(span.clone(), request.trace.as_ref(), opening).await {
            Ok(Ok(response)) => Ok(StreamResponse { response, target, pause }),
            Ok(Err(e)) => Err(OutboundError::Unreachable(target, reason(&e))),
            Err(_) => Err(OutboundError::TimedOut(target)),
        };
        record(&span, outcome.as_ref().map(StreamResponse::status));
        outcome
    }
}
