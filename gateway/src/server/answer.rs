//! Third layer: whatever comes from below becomes an answer of the route's API.
//!
//! Errors of the layers below (shed, deadline) and their bare answers (too large, panic) carry no mark of a handler; they are written anew.

use super::{admit::Overloaded, deadline::Elapsed, resolve::Resolved};
use crate::http::{ApiError, ErrorKind, render};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};
use tower::{BoxError, Layer, Service};

/// Body of what goes to the socket.
pub type SocketBody = UnsyncBoxBody<Bytes, io::Error>;

/// What clients are told whose request is refused for what others ask.
pub const BUSY: &str = "this node has too much to do";

/// Mark of an answer that is already in the API's words.
#[derive(Debug, Clone, Copy)]
pub struct Rendered;

/// Makes [`Answer`].
#[derive(Debug, Clone, Copy)]
pub struct AnswerLayer;

impl<S> Layer<S> for AnswerLayer {
    type Service = Answer<S>;
    fn layer(&self, inner: S) -> Answer<S> {
        Answer { inner }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Answer<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Answer<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = BoxError>,
    S::Future: Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<SocketBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<SocketBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // What is below is always ready.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let resolved = request.extensions().get::<Arc<Resolved>>().cloned();
        let (safe, version) = (request.method().is_safe(), request.version());
        let answer = self.inner.call(request);
        let answer = async move {
            let error = match answer.await {
                Ok(answer) if answer.extensions().get::<Rendered>().is_some() => {
                    return Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()));
                }
                Ok(answer) => of_status(answer.status()),
                Err(error) => {
                    let started = resolved.as_ref().is_some_and(|resolved| resolved.started.load(Ordering::Relaxed));
                    of_layer(error.as_ref(), !safe && started)
                }
            };
            let (api, pid) = resolved.as_ref().map_or((crate::http::Api::Native, None), |resolved| (resolved.api, resolved.pid()));
            let reply = render::render(api, &error.in_process(pid));
            Ok::<Response<SocketBody>, Infallible>(reply.0.map(|body| body.boxed_unsync()))
        };
        Box::pin(async move { answer.await.map(|answer| left_unread(answer, version)) })
    }
}

/// Of a body that is too large or too slow the rest is not read: where that ends the connection the answer says so, and nobody sends another request on it (RFC 9110 sections 15.5.14 and 15.5.9).
fn left_unread(mut answer: Response<SocketBody>, version: Version) -> Response<SocketBody> {
    if matches!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) && version <= Version::HTTP_11 {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn of_status(status: StatusCode) -> ApiError {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorKind::TooLarge, "the request body is too large"),
        StatusCode::INTERNAL_SERVER_ERROR => ApiError::internal("a handler panicked"),
        other => ApiError::internal(format!("a layer answered {other}")),
    }
}

/// `changes`: whether a handler that may change something has begun.
fn of_layer(error: &(dyn std::error::Error + Send + Sync + 'static), changes: bool) -> ApiError {
    if error.is::<Overloaded>() {
        ApiError::later(BUSY)
    } else if error.is::<Elapsed>() && !changes {
        ApiError::later("the request took too long")
    } else if error.is::<Elapsed>() {
        ApiError::later("the outcome is unknown after the time allowed, repeat with the same Idempotency-Key")
    } else {
        ApiError::internal(error.to_string())
    }
}
