//! Second layer: finds the route, opens the span, counts.
//!
//! The route is found before anything can fail, so that every error, also of the layers below, speaks the language of the route's API.

use crate::{
    http::{Api, Listener, Match, Miss, Router, Verb, wait},
    observe::trace,
};
use cellspace_cluster::link::Forwarded;
use cellspace_schemas::TraceContext;
use dashmap::DashMap;
use http::{HeaderMap, Method, Request, Response, Uri};
use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tower::{Layer, Service};
use tracing::{Instrument, Span};

/// What this layer found out; in the request's extensions.
#[derive(Debug)]
pub struct Resolved {
    /// The route, or why there is none.
    pub found: Result<Match, Miss>,
    /// Whose error bodies it gets.
    pub api: Api,
    /// Where it came in.
    pub listener: Listener,
    /// When.
    pub began: Instant,
    /// How another node has passed it on, when one has.
    pub forwarded: Option<Forwarded>,
    /// The context of the request's own span.
    pub trace: TraceContext,
    /// The request's span.
    pub span: Span,
    /// The query, without the question mark.
    pub raw_query: Option<String>,
    /// The headers, once nothing before the handler reads them any more: moved there, since a token makes copies dear.
    pub headers: Mutex<HeaderMap>,
    /// The longest time that the client may ask to wait for a state, or that what it follows or awaits may take to begin; zero when it does none of it.
    pub wait: Duration,
    /// Its place among the long polls: given back when nobody knows of the request any more.
    pub place: OnceLock<OwnedSemaphorePermit>,
    /// Whether a handler has begun: from then on the outcome of a request without an answer is unknown.
    pub started: AtomicBool,
}

impl Resolved {
    /// The process that the path names (DSP).
    #[must_use]
    pub fn pid(&self) -> Option<&str> {
        self.found.as_ref().ok()?.params.get("pid")
    }

    /// How long its client has waited by now, at whichever nodes.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let elsewhere = self.forwarded.as_ref().map_or(0, |forwarded| forwarded.waited);
        Duration::from_millis(elsewhere).saturating_add(self.began.elapsed())
    }
}

impl Listener {
    /// Its name in metrics, logs and spans.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
            Self::Ops => "ops",
        }
    }
}

/// Makes [`Resolve`].
#[derive(Clone)]
pub struct ResolveLayer {
    router: Arc<Router>,
    listener: Listener,
    tally: Arc<Tally>,
}

impl ResolveLayer {
    /// Finds routes of a listener in this table.
    #[must_use]
    pub fn new(router: Arc<Router>, listener: Listener) -> Self {
        Self { router, listener, tally: Arc::new(Tally::new(listener)) }
    }
}

impl<S> Layer<S> for ResolveLayer {
    type Service = Resolve<S>;
    fn layer(&self, inner: S) -> Resolve<S> {
        Resolve { inner, layer: self.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Resolve<S> {
    inner: S,
    layer: ResolveLayer,
}

impl ResolveLayer {
    fn resolve<B>(&self, request: &Request<B>, began: Instant) -> (Resolved, &'static str) {
        let path = request.uri().path();
        let found = self.router.find(self.listener, request.method(), path);
        let (api, route) = found
            .as_ref()
            .map_or_else(|_| (self.router.api_near(self.listener, path), "unmatched"), |found| (found.route.api, found.route.path));
        let parent = trace::incoming(request.headers());
        let participant = found.as_ref().ok().and_then(|found| found.params.get("participant"));
        let (span, trace) = trace::server_span(parent.as_ref(), request.method(), route, self.listener.name(), participant);
        let raw_query = request.uri().query().map(str::to_owned);
        let lasts = found.as_ref().is_ok_and(|found| matches!(found.route.method, Verb::Follow | Verb::Await));
        let waits = lasts
            || request.method().is_safe()
                && raw_query.as_deref().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("wait=")));
        let wait = if waits { wait::MAX_WAIT } else { Duration::ZERO };
        (
            Resolved {
                found,
                api,
                listener: self.listener,
                began,
                forwarded: request.extensions().get::<Forwarded>().cloned(),
                trace,
                span,
                raw_query,
                headers: Mutex::default(),
                wait,
                place: OnceLock::new(),
                started: AtomicBool::new(false),
            },
            route,
        )
    }
}

impl<S, B, R> Service<Request<B>> for Resolve<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let started = Instant::now();
        let (resolved, route) = self.layer.resolve(&request, started);
        let (api, method, tally) = (resolved.api, method_label(request.method()), self.layer.tally.clone());
        let span = resolved.span.clone();
        request.extensions_mut().insert(Arc::new(resolved));
        // A target like `a:1` (RFC 9112, 3.2.3) has no path, so there is no route; the filter below takes for granted that there is one.
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = Uri::default();
        }
        let entered = span.enter();
        let answer = self.inner.call(request);
        drop(entered);
        let in_flight = InFlight::new(&tally);
        let recorded = span.clone();
        Box::pin(
            async move {
                let answer = answer.await;
                drop(in_flight);
                let status = answer.as_ref().map_or(500, |answer| answer.status().as_u16());
                let elapsed = started.elapsed();
                recorded.record("http.response.status_code", status);
                if status >= 500 {
                    recorded.record("otel.status_code", "ERROR");
                }
                tally.answered(Labels { api, route, method, status }, elapsed);
                let listener = tally.listener;
                tracing::debug!(category = "app", action = "http.request", listener, route, method, status, millis = elapsed.as_millis());
                answer
            }
            .instrument(span),
        )
    }
}

/// Methods as labels: a client cannot make new ones.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// What answers are counted by. All of them come from the table, the protocol or this program, so that their number is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Labels {
    api: Api,
    route: &'static str,
    method: &'static str,
    status: u16,
}

/// The metrics of a listener; each is looked up by its labels once.
struct Tally {
    listener: &'static str,
    in_flight: Gauge,
    answers: DashMap<Labels, (Counter, Histogram)>,
}

impl Tally {
    fn new(listener: Listener) -> Self {
        let listener = listener.name();
        Self { listener, in_flight: metrics::gauge!("cellspace_http_requests_in_flight", "listener" => listener), answers: DashMap::new() }
    }

    fn answered(&self, labels: Labels, elapsed: Duration) {
        let Labels { api, route, method, status } = labels;
        let measure = |(counter, histogram): &(Counter, Histogram)| {
            counter.increment(1);
            histogram.record(elapsed.as_secs_f64());
        };
        if let Some(known) = self.answers.get(&labels) {
            return measure(&known);
        }
        let (listener, api) = (self.listener, format!("{api:?}"));
        let counter = metrics::counter!("cellspace_http_requests_total", "listener" => listener, "api" => api.clone(), "route" => route,
            "method" => method, "status" => status.to_string());
        let histogram = metrics::histogram!("cellspace_http_request_seconds", "listener" => listener, "api" => api, "route" => route, "method" => method);
        measure(&self.answers.entry(labels).or_insert((counter, histogram)));
    }
}

/// Counts a request under way, also one whose client leaves.
struct InFlight(Gauge);

impl InFlight {
    fn new(tally: &Tally) -> Self {
        tally.in_flight.increment(1.0);
        Self(tally.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
