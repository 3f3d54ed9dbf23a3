//! Outermost layer: what cannot be worked off is refused, before anything of it is looked at but its route. A refusal must cost as little as can be,
//! so there is no span for it, and it is counted apart.

use super::{
    activity::RanAfter,
    answer::{BUSY, SocketBody},
    gate::Gate,
};
use crate::http::{ApiError, Listener, Router, render};
use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use http_body_util::BodyExt;
use metrics::Counter;
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower::{Layer, Service};

/// Makes [`Shed`].
#[derive(Clone)]
pub struct ShedLayer {
    gate: Arc<Gate>,
    router: Arc<Router>,
    listener: Listener,
    refused: Counter,
}

impl ShedLayer {
    /// Lets in what `gate` lets in at a listener.
    #[must_use]
    pub fn new(gate: Arc<Gate>, router: Arc<Router>, listener: Listener) -> Self {
        let refused = metrics::counter!("cellspace_http_shed_total", "listener" => listener.name(), "reason" => "lag");
        Self { gate, router, listener, refused }
    }

    fn refusal<B>(&self, request: &Request<B>) -> Response<SocketBody> {
        self.refused.increment(1);
        let path = request.uri().path();
        let found = self.router.find(self.listener, request.method(), path);
        let api = found.as_ref().map_or_else(|_| self.router.api_near(self.listener, path), |found| found.route.api);
        let pid = found.as_ref().ok().and_then(|found| found.params.get("pid"));
        render::render(api, &ApiError::later(BUSY).in_process(pid)).0.map(BodyExt::boxed_unsync)
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;
    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, layer: self.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Shed<S> {
    inner: S,
    layer: ShedLayer,
}

impl<S, B> Service<Request<B>> for Shed<S>
where
    S: Service<Request<B>, Response = Response<SocketBody>, Error = Infallible>,
{
    type Response = Response<SocketBody>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<SocketBody>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let waited = request.extensions().get::<RanAfter>().map_or(Duration::ZERO, |ran| ran.0);
        if self.layer.gate.admits(self.layer.listener, waited) {
            Either::Right(self.inner.call(request))
        } else {
            Either::Left(ready(Ok(self.layer.refusal(&request))))
        }
    }
}
