//! Last station: authenticate, authorise, read the body, run the handler.
//!
//! A handler that may change something runs in a task of its own: a client that leaves, and the request's deadline, end the waiting but never
//! the work half-way. What such a client missed it learns by repeating with the same `Idempotency-Key`. What only reads runs in place and ends with
//! its client, long waits included.

use super::{
    Limits,
    admit::{Waiters, Waiting},
    answer::Rendered,
    gate::Gate,
    nodes::{Nodes, Whole},
    resolve::Resolved,
};
use crate::{
    App,
    auth::{Caller, Need},
    http::{Access, Api, ApiError, Body, ErrorKind, Match, Miss, Principal, Reply, Request, Verb, render, request::bearer},
};
use bytes::{Buf, Bytes, BytesMut};
use cellspace_cluster::{Whereabouts, trace};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::Body as _;
use http_body_util::{BodyDataStream, LengthLimitError};
use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use url::form_urlencoded;
use warp::Filter;

/// How often a request that went to another node in the last moment may come back.
const TURNS: usize = 3;

/// Everything that requests of all listeners share.
#[derive(Clone)]
pub struct Gateway {
    /// For handlers.
    pub app: App,
    /// What the executor can do.
    pub gate: Arc<Gate>,
    /// Handlers that run on when their client has left; a drain waits for them.
    tasks: TaskTracker,
    waiters: Arc<Waiters>,
    body_time: Duration,
    /// Where there are other nodes.
    nodes: Option<Arc<Nodes>>,
}

impl Gateway {
    /// `tasks` hears of handlers that run on when their client has left.
    #[must_use]
    pub fn new(app: App, tasks: TaskTracker, limits: &Limits) -> Self {
        Self { app, gate: Gate::new(), tasks, waiters: Arc::new(Waiters::new(limits.waits_each)), body_time: limits.body_time, nodes: None }
    }

    /// With other nodes, which answer for owners whose slots they serve.
    #[must_use]
    pub fn among(self, nodes: Arc<Nodes>) -> Self {
        Self { nodes: Some(nodes), ..self }
    }

    /// The one filter: every path, every method.
    pub fn filter(self) -> impl Filter<Extract = (warp::reply::Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
        let gateway = Arc::new(self);
        warp::path::full().and(warp::method()).and(warp::ext::get::<Arc<Resolved>>()).and(warp::body::stream()).then(
            move |path: warp::path::FullPath, method, resolved: Arc<Resolved>, body| {
                let gateway = gateway.clone();
                async move {
                    let head = method == Method::HEAD;
                    let answer = gateway.answer(path.as_str(), method, &resolved, body).await;
                    into_warp(answer.unwrap_or_else(|error| refuse(resolved.api, &error.in_process(resolved.pid()))), head)
                }
            },
        )
    }

    async fn answer<D: Buf, E: std::error::Error + Send + Sync + 'static>(
        &self,
        path: &str,
        mut method: Method,
        resolved: &Arc<Resolved>,
        body: impl Stream<Item = Result<D, E>>,
    ) -> Result<Reply, ApiError> {
        let mut headers = std::mem::take(&mut *resolved.headers.lock());
        let found = match &resolved.found {
            Ok(found) => found,
            Err(Miss::NotFound) => return Err(ApiError::not_found("no such route")),
            Err(Miss::Malformed) => return Err(ApiError::invalid("the path is not valid")),
            Err(Miss::Method(allowed)) => {
                let error = ApiError::new(ErrorKind::MethodNotAllowed, format!("the route has {allowed}"));
                return Ok(refuse(resolved.api, &error).header(header::ALLOW, allowed));
            }
        };
        let (mut body, mut collected) = (pin!(body), None);
        let among = self.nodes.as_ref().and_then(|nodes| Some((nodes, nodes.whose(found, resolved)?)));
        let Some((nodes, whose)) = among else {
            return self.here(path, &method, headers, resolved, found, body, &mut collected).await;
        };
        match nodes.way(&whose, resolved).await {
            Whereabouts::Here => {}
            Whereabouts::Nowhere(reason) => return nodes.not_now(resolved, &reason),
            Whereabouts::There(..) => {
                // Where a token is needed, nobody has a body taken in without a good one; what it is good for is judged there. On routes that are open
                // to all a body is bounded as it is where it is answered.
                self.caller(found, &headers).await?;
                let whole = Whole { method, path: path.to_owned(), headers, body: self.collect(body.as_mut()).await? };
                if let Some(reply) = nodes.pass_on(&whose, &whole, resolved).await? {
                    return Ok(reply);
                }
                (method, headers, collected) = (whole.method, whole.headers, Some(whole.body));
            }
        }
        for _ in 0..TURNS {
            let error = match self.here(path, &method, headers.clone(), resolved, found, body.as_mut(), &mut collected).await {
                // What failed before its body was read is not passed on: there is nothing to pass on yet.
                Err(error) if error.not_executed && collected.is_some() && nodes.is_elsewhere(&whose) => error,
                // It went there in the middle of this: who comes again is answered there. Nobody does it in the sender's place, whose token may be used up. What
                // is not over soon, wherever, says so itself.
                Err(error) if error.is_soon_over() && nodes.is_elsewhere(&whose) => return Err(error.at_once()),
                end => return end,
            };
            // It was here, and went to another node before its agent could take it. Nobody waits for long at a node that may be about to end: who passed it on
            // looks again itself.
            if resolved.forwarded.is_some() && !resolved.wait.is_zero() {
                return nodes.not_now(resolved, &error.message);
            }
            let body = collected.clone().unwrap_or_default();
            let whole = Whole { method, path: path.to_owned(), headers, body };
            if let Some(reply) = nodes.pass_on(&whose, &whole, resolved).await? {
                return Ok(reply);
            }
            (method, headers) = (whole.method, whole.headers);
        }
        nodes.not_now(resolved, "the agent is being moved")
    }

    /// Answers on this node; a body that was `collected` before is not read again.
    #[allow(clippy::too_many_arguments)] // all that a request is, in its parts
    async fn here<D: Buf, E: std::error::Error + Send + Sync + 'static>(
        &self,
        path: &str,
        method: &Method,
        headers: HeaderMap,
        resolved: &Arc<Resolved>,
        found: &Match,
        body: impl Stream<Item = Result<D, E>>,
        collected: &mut Option<Bytes>,
    ) -> Result<Reply, ApiError> {
        let principal = self.admit(found, &headers).await?;
        let waiting = if resolved.wait.is_zero() { None } else { Some(self.wait_for(found, principal.as_ref())?) };
        let body = match collected {
            Some(body) => body.clone(),
            None => collected.insert(self.collect(body).await?).clone(),
        };
        // Only where there are others can it turn out to be somebody's elsewhere.
        let whole = self.nodes.as_ref().filter(|nodes| nodes.whose(found, resolved).is_none());
        let whole = whole.map(|nodes| {
            (nodes.clone(), Whole { method: method.clone(), path: path.to_owned(), headers: headers.clone(), body: body.clone() })
        });
        let request = Request {
            method: method.clone(),
            path: path.to_owned(),
            params: found.params.clone(),
            query: query(resolved.raw_query.as_deref()),
            raw_query: resolved.raw_query.clone(),
            headers,
            body,
            principal,
            trace: Some(resolved.trace.clone()),
            waited: resolved.waited(),
        };
        let work = trace::scope(resolved.trace.clone(), (found.route.handler)(self.app.clone(), request));
        if found.route.method == Verb::Follow {
            return Ok(work.await?.holding((waiting, resolved.clone())));
        }
        if found.route.method.is_safe() {
            return work.await;
        }
        resolved.started.store(true, Ordering::Relaxed);
        // Its place among the long polls, if it has one, is taken for as long as it goes on.
        let place = (waiting, resolved.clone());
        let work = async move {
            let _place = place;
            work.await
        };
        let task = self.tasks.spawn(work.instrument(resolved.span.clone()));
        let done = task.await.unwrap_or_else(|e| Err(ApiError::internal(format!("a handler panicked: {e}"))));
        match (done, whole) {
            (Err(ApiError { elsewhere: Some(whose), .. }), Some((nodes, whole))) => {
                let passed_on = nodes.pass_on(&whose, &whole, resolved).await?;
                // It has come here meanwhile: the client's next request finds it.
                passed_on.map_or_else(|| nodes.not_now(resolved, "the agent is being moved"), Ok)
            }
            (done, _) => done,
        }
    }

    /// The whole body, as long as it comes in time.
    async fn collect<D: Buf, E: std::error::Error + Send + Sync + 'static>(
        &self,
        body: impl Stream<Item = Result<D, E>>,
    ) -> Result<Bytes, ApiError> {
        let body = tokio::time::timeout(self.body_time, collect(body)).await;
        body.map_err(|_| ApiError::new(ErrorKind::BodyTimeout, "the request body did not arrive in time"))?
    }

    fn wait_for(&self, found: &Match, principal: Option<&Principal>) -> Result<Waiting, ApiError> {
        let owner = found.params.get("participant").or_else(|| found.params.get("tenant"));
        let owner = owner.or_else(|| principal.map(|principal| principal.subject.as_str())).unwrap_or_default();
        self.waiters.enter(owner).ok_or_else(|| ApiError::new(ErrorKind::TooMany, "too many requests wait for this participant"))
    }

    /// Whose the token is, when the route asks for one.
    async fn caller<'a>(&self, found: &'a Match, headers: &HeaderMap) -> Result<Option<(Caller, Need<'a>)>, ApiError> {
        let (Access::Scope(..), Some(need)) = (found.route.access, Need::of(found)) else { return Ok(None) };
        let token = bearer(headers).ok_or_else(|| ApiError::new(ErrorKind::BadToken, "an access token is required"))?;
        Ok(Some((self.app.verifier.verify(token).await?, need)))
    }

    /// Who calls, when the route asks.
    async fn admit(&self, found: &Match, headers: &HeaderMap) -> Result<Option<Principal>, ApiError> {
        let Some((caller, need)) = self.caller(found, headers).await? else { return Ok(None) };
        self.app.known.authorize(&caller, &need).await.map(Some)
    }
}

/// Query parameters, percent-decoded; the last of a name wins.
#[must_use]
pub fn query(raw: Option<&str>) -> HashMap<String, String> {
    raw.map(|raw| form_urlencoded::parse(raw.as_bytes()).into_owned().collect()).unwrap_or_default()
}

/// The whole body; its length is bounded by a layer before.
async fn collect<D: Buf, E: std::error::Error + Send + Sync + 'static>(body: impl Stream<Item = Result<D, E>>) -> Result<Bytes, ApiError> {
    let mut body = pin!(body);
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|e| body_error(&e))?;
        let chunk = chunk.copy_to_bytes(chunk.remaining());
        // Most bodies are one chunk, which is taken as it is.
        match (first.take(), all.is_empty()) {
            (None, true) => first = Some(chunk),
            (before, _) => {
                all.extend_from_slice(&before.unwrap_or_default());
                all.extend_from_slice(&chunk);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

fn body_error(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return ApiError::new(ErrorKind::TooLarge, "the request body is too large");
        }
        cause = error.source();
    }
    ApiError::invalid("the request body did not arrive whole")
}

fn refuse(api: Api, error: &ApiError) -> Reply {
    render::render(api, error)
}

/// A handler's answer in warp's type. The length is told where it is known, since warp's streams do not know theirs.
fn into_warp(reply: Reply, head: bool) -> warp::reply::Response {
    let (parts, body) = reply.0.into_parts();
    let length = body.size_hint().exact();
    let mut response = match body {
        _ if head => warp::reply::Reply::into_response(http::Response::new(Bytes::new())),
        Body::Whole(bytes) => warp::reply::Reply::into_response(http::Response::new(bytes)),
        Body::Told(body) => warp::reply::Reply::into_response(warp::reply::stream(BodyDataStream::new(body))),
    };
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    *response.extensions_mut() = parts.extensions;
    response.extensions_mut().insert(Rendered);
    let bodiless = parts.status == http::StatusCode::NO_CONTENT || parts.status == http::StatusCode::NOT_MODIFIED;
    if let Some(length) = length.filter(|_| !bodiless) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response.headers_mut().entry(NO_SNIFF).or_insert(HeaderValue::from_static("nosniff"));
    response
}

/// Keeps browsers from guessing types of what counterparties and sources wrote.
const NO_SNIFF: HeaderName = header::X_CONTENT_TYPE_OPTIONS;
