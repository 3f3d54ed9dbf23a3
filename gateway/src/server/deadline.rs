//! The time a request may take until its answer begins. What streams afterwards is not cut.

use super::resolve::Resolved;
use cellspace_cluster::link::Forwarded;
use http::Request;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower::{BoxError, Layer, Service};

/// The time is over.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request took too long")]
pub struct Elapsed;

/// Makes [`Deadline`].
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    /// How long, not counting the time that a client asks to wait for a state.
    pub limit: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;
    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, limit: self.limit }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
    limit: Duration,
}

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    S::Response: 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let wait = request.extensions().get::<Arc<Resolved>>().map_or(Duration::ZERO, |resolved| resolved.wait);
        let own = self.limit.saturating_add(wait);
        // Nobody waits longer for it than the node that passed it on.
        let limit = request.extensions().get::<Forwarded>().map_or(own, |forwarded| own.min(forwarded.time()));
        let answer = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(Elapsed.into()),
            }
        })
    }
}
