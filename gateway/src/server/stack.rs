//! The stack, from the socket to the handler.

use super::{
    admit::AdmitLayer,
    answer::{AnswerLayer, SocketBody},
    deadline::DeadlineLayer,
    dispatch::Gateway,
    resolve::{ResolveLayer, Resolved},
    shed::ShedLayer,
};
use crate::http::{Listener, Router};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use std::{any::Any, convert::Infallible, sync::Arc, time::Duration};
use tower::{BoxError, Service, ServiceBuilder};
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer};

/// Bounds of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub body: usize,
    /// Time for a request's body to arrive.
    pub body_time: Duration,
    /// Requests under way at once, long polls not counted; more are answered 503 at once.
    pub requests: usize,
    /// Long polls under way at once; more are answered 503 at once.
    pub waits: usize,
    /// Of these, for the things of one participant or tenant; more are answered 429.
    pub waits_each: usize,
    /// Time until an answer begins. Longer than the runtime's own, whose error says more.
    pub deadline: Duration,
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            body_time: Duration::from_secs(15),
            requests: 4_096,
            waits: 2_048,
            waits_each: 128,
            deadline: Duration::from_secs(35),
            connections: 8_192,
        }
    }
}

/// The service of one listener.
pub fn stack<B>(
    gateway: Gateway,
    router: Arc<Router>,
    listener: Listener,
    limits: &Limits,
) -> impl Service<Request<B>, Response = Response<SocketBody>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static + use<B>
where
    B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BoxError>,
{
    ServiceBuilder::new()
        // more than can be worked off: 503 now rather than late
        .layer(ShedLayer::new(gateway.gate.clone(), router.clone(), listener))
        // which route, which trace; counts
        .layer(ResolveLayer::new(router, listener))
        // errors and bare answers from below, in the API's words
        .layer(AnswerLayer)
        // too much at once: 503
        .layer(AdmitLayer::new(listener, limits))
        // too slow: 503, the work goes on
        .layer(DeadlineLayer { limit: limits.deadline })
        // a bug: 500 with an id, neighbours unaffected
        .layer(CatchPanicLayer::custom(panicked))
        // counts the body's bytes: 413
        .layer(RequestBodyLimitLayer::new(limits.body))
        // authenticate, authorise, handle
        .map_request(hand_over_headers)
        .service(warp::service(gateway.filter()))
}

/// To the handler, which needs no copy of them.
fn hand_over_headers<B>(mut request: Request<B>) -> Request<B> {
    let headers = std::mem::take(request.headers_mut());
    if let Some(resolved) = request.extensions().get::<Arc<Resolved>>() {
        *resolved.headers.lock() = headers;
    }
    request
}

/// Says nothing: the layer above writes the answer.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response<Empty<Bytes>> {
    let what = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    tracing::error!(category = "app", panic = what, "a handler panicked");
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
