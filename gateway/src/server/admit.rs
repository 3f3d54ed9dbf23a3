//! What is under way at once. Long polls have a bound of their own, so that waiting clients leave room for those that do something.

use super::{Limits, resolve::Resolved};
use crate::http::Listener;
use http::Request;
use metrics::Counter;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service};

/// Too much is under way.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("too many requests are under way")]
pub struct Overloaded;

/// Makes [`Admit`].
#[derive(Clone)]
pub struct AdmitLayer {
    requests: Bound,
    waits: Bound,
}

/// So many at once; the others are counted.
#[derive(Clone)]
struct Bound {
    permits: Arc<Semaphore>,
    refused: Counter,
}

impl AdmitLayer {
    /// Of a listener.
    #[must_use]
    pub fn new(listener: Listener, limits: &Limits) -> Self {
        let bound = |permits, reason: &'static str| Bound {
            permits: Arc::new(Semaphore::new(permits)),
            refused: metrics::counter!("cellspace_http_shed_total", "listener" => listener.name(), "reason" => reason),
        };
        Self { requests: bound(limits.requests, "requests"), waits: bound(limits.waits, "waits") }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;
    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner, layer: self.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Admit<S> {
    inner: S,
    layer: AdmitLayer,
}

impl<S, B> Service<Request<B>> for Admit<S>
where
    S: Service<Request<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let waits = request.extensions().get::<Arc<Resolved>>().filter(|resolved| !resolved.wait.is_zero()).cloned();
        let bound = if waits.is_some() { &self.layer.waits } else { &self.layer.requests };
        let Ok(permit) = bound.permits.clone().try_acquire_owned() else {
            bound.refused.increment(1);
            return Box::pin(async { Err(Overloaded.into()) });
        };
        // Whoever follows keeps its place when the answer has begun.
        let permit = match waits {
            Some(resolved) => resolved.place.set(permit).err(),
            None => Some(permit),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(permit);
            answer
        })
    }
}

/// Long polls by whose things they wait for: one participant's clients leave room for others'.
#[derive(Debug)]
pub struct Waiters {
    each: usize,
    counts: Mutex<HashMap<String, usize>>,
}

impl Waiters {
    /// At most so many for each.
    #[must_use]
    pub fn new(each: usize) -> Self {
        Self { each, counts: Mutex::default() }
    }

    /// Counts one until what is answered is dropped; `None` when there are too many.
    pub fn enter(self: &Arc<Self>, owner: &str) -> Option<Waiting> {
        let mut counts = self.counts.lock();
        let count = counts.entry(owner.to_owned()).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Waiting { waiters: self.clone(), owner: owner.to_owned() })
    }
}

/// One long poll under way.
#[derive(Debug)]
pub struct Waiting {
    waiters: Arc<Waiters>,
    owner: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut counts = self.waiters.counts.lock();
        if let Some(count) = counts.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.owner);
            }
        }
    }
}
