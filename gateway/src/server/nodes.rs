//! Requests of owners whose slots other nodes of the cell serve: passed on as they came in, and answered as they are there.
//!
//! What was not taken there is tried again where the slot is by then, by the node that the client asked; of what may have been taken, only what changes
//! nothing is.

use super::{crowd::Crowd, resolve::Resolved, stack::Limits};
use crate::http::{ApiError, Body, Listener, Match, Reply, owner};
use bytes::Bytes;
use cellspace_cluster::{
    Cell, Peer, PeerError, Slot, Whereabouts,
    link::{BoxError, Forwarded, Link, LinkBody},
    remote::{millis, time_there},
};
use cellspace_schemas::Owner;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyDataStream, BodyExt, Full};
use parking_lot::Mutex;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use sync_wrapper::SyncStream;
use tokio::{sync::Semaphore, time::Instant};

/// Headers that are about one connection (RFC 9113, 8.2.2), and the length, which the body has.
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::EXPECT,
    header::CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
];
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Requests that are tried again at once, as a share of all.
const AGAIN_SHARE: usize = 4;

/// A request as it came in.
#[derive(Debug)]
pub struct Whole {
    /// Method.
    pub method: Method,
    /// Path as received.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// The other nodes of a cell.
pub struct Nodes {
    cell: Arc<Cell>,
    link: Arc<Link>,
    deadline: Duration,
    /// For requests that were not taken where they were sent, until they are answered: those of a node that is gone leave room for all others.
    again: Semaphore,
    places: usize,
    /// Those who found none.
    crowd: Mutex<Crowd>,
}

impl Nodes {
    /// Reached by this link; an answer begins within the limits' deadline.
    #[must_use]
    pub fn new(cell: Arc<Cell>, link: Arc<Link>, limits: &Limits) -> Self {
        let (places, crowd) = (limits.requests / AGAIN_SHARE, Mutex::new(Crowd::new(Instant::now())));
        Self { cell, link, deadline: limits.deadline, again: Semaphore::new(places), places, crowd }
    }

    /// Whose the request is, when that says where it is answered.
    #[must_use]
    pub fn whose(&self, found: &Match, resolved: &Resolved) -> Option<Owner> {
        resolved.forwarded.as_ref().map_or_else(|| owner::owner(found), |forwarded| Some(forwarded.owner.clone()))
    }

    /// Where it is answered.
    pub async fn way(&self, whose: &Owner, resolved: &Resolved) -> Whereabouts {
        let (view, hops) = resolved.forwarded.as_ref().map_or((0, 0), |forwarded| (forwarded.view, forwarded.hops));
        let until = self.until(resolved);
        match self.cell.located(whose, view, hops, until).await {
            Whereabouts::Here if !self.cell.runs_all(until).await => Whereabouts::Nowhere("the node is starting".to_owned()),
            way => way,
        }
    }

    /// Whether it is answered by another node by now.
    #[must_use]
    pub fn is_elsewhere(&self, whose: &Owner) -> bool {
        self.cell.is_away(whose)
    }

    /// When it is to be answered.
    fn until(&self, resolved: &Resolved) -> Instant {
        resolved.began + resolved.forwarded.as_ref().map_or(self.deadline + resolved.wait, Forwarded::time)
    }

    /// The answer of the node where it is answered; `None` when that is this one by now.
    ///
    /// # Errors
    /// Unavailable: nothing was done, or it is not known whether it was.
    pub async fn pass_on(&self, whose: &Owner, request: &Whole, resolved: &Arc<Resolved>) -> Result<Option<Reply>, ApiError> {
        let until = self.until(resolved);
        let mut moved_by = self.cell.moved_by(until);
        let (waits, safe) = (!resolved.wait.is_zero(), resolved.found.as_ref().is_ok_and(|found| found.route.method.is_safe()));
        let mut again = None;
        loop {
            let (peer, hops) = match self.way(whose, resolved).await {
                Whereabouts::There(peer, hops) => (peer, hops),
                Whereabouts::Here => return Ok(None),
                Whereabouts::Nowhere(reason) => return self.not_now(resolved, &reason).map(Some),
            };
            let version = self.cell.version_of(&peer);
            resolved.started.store(!safe, Ordering::Relaxed);
            let sent = Instant::now();
            let outcome = self.send(&peer, hops, whose, until, request, resolved).await;
            if waits {
                // While it waited there nothing was moved.
                moved_by = until.min(moved_by + sent.elapsed());
            }
            let told = |outcome: &'static str| metrics::counter!("cellspace_http_forwarded_total", "outcome" => outcome).increment(1);
            match outcome {
                Ok(reply) => {
                    told("answered");
                    return Ok(Some(reply));
                }
                Err(PeerError::Lost(reason)) if !safe => {
                    told("lost");
                    return Err(unknown(resolved, &reason));
                }
                Err(PeerError::NotDone(reason) | PeerError::Lost(reason)) => {
                    told("not_taken");
                    resolved.started.store(false, Ordering::Relaxed);
                    // Whoever passed it on to this node looks again itself.
                    if resolved.forwarded.is_some() || Instant::now() >= moved_by {
                        return self.not_now(resolved, &reason).map(Some);
                    }
                    // Waits have a bound of their own.
                    if again.is_none() && !waits {
                        match self.again.try_acquire() {
                            Ok(place) => again = Some(place),
                            Err(_) => return self.turned_away(whose, resolved, &reason).map(Some),
                        }
                    }
                    self.cell.news_of(whose, &peer, version, moved_by).await;
                }
            }
        }
    }

    /// What is said where it is answered nowhere now.
    ///
    /// # Errors
    /// Unavailable, to the client; the node that passed it on is told that nothing was done.
    pub fn not_now(&self, resolved: &Resolved, reason: &str) -> Result<Reply, ApiError> {
        if resolved.forwarded.is_some() {
            let mut reply = Reply::empty(StatusCode::SERVICE_UNAVAILABLE);
            Forwarded::not_here(&mut reply.0, reason);
            return Ok(reply);
        }
        Err(if resolved.listener == Listener::Public { ApiError::not_now(reason) } else { ApiError::later(reason) })
    }

    /// The same for one of many who wait for a node that is gone, who are not to come again all at once.
    fn turned_away(&self, whose: &Owner, resolved: &Resolved, reason: &str) -> Result<Reply, ApiError> {
        let (number, found_dead) = (u64::from(Slot::of(whose).number()), self.cell.found_dead_within());
        let after = self.crowd.lock().come_again(Instant::now(), number, found_dead, self.places);
        self.not_now(resolved, reason).map_err(|error| ApiError { retry_after: Some(after), ..error })
    }

    async fn send(
        &self,
        peer: &Peer,
        hops: u8,
        whose: &Owner,
        until: Instant,
        request: &Whole,
        resolved: &Arc<Resolved>,
    ) -> Result<Reply, PeerError> {
        let left = time_there(until);
        let how = Forwarded {
            listener: resolved.listener.name().to_owned(),
            owner: whose.clone(),
            view: self.cell.version_of(peer),
            hops,
            left: millis(left),
            waited: millis(resolved.waited()),
        };
        let sent = request.sent(peer, resolved).map_err(|error| PeerError::NotDone(error.to_string()))?;
        let answer = self.link.forward(peer, &how, sent).await?;
        let chunks = |body| SyncStream::new(BodyDataStream::new(body));
        let mut reply = Reply(answer.map(|body| Body::told(futures::TryStreamExt::map_err(chunks(body), std::io::Error::other))));
        if !resolved.wait.is_zero() {
            // Whoever follows keeps its place while the answer goes on.
            reply = reply.holding(resolved.clone());
        }
        Ok(reply)
    }
}

fn unknown(resolved: &Resolved, reason: &str) -> ApiError {
    if resolved.listener == Listener::Public {
        return ApiError { message: "the outcome is unknown, send the same once more".to_owned(), ..ApiError::not_now(reason) };
    }
    ApiError::later(format_args!("the outcome is unknown, repeat with the same Idempotency-Key: {reason}"))
}

impl Whole {
    fn sent(&self, peer: &Peer, resolved: &Resolved) -> Result<Request<LinkBody>, http::Error> {
        let query = resolved.raw_query.as_deref().map_or_else(String::new, |query| format!("?{query}"));
        let uri = format!("https://{}{}{query}", peer.member.node, self.path);
        let body = Full::new(self.body.clone()).map_err(|never| -> BoxError { match never {} }).boxed_unsync();
        let mut request = Request::builder().method(self.method.clone()).uri(uri).body(body)?;
        let mut headers = self.headers.clone();
        for name in OF_CONNECTION {
            headers.remove(name);
        }
        if let Ok(trace) = HeaderValue::from_str(resolved.trace.as_str()) {
            headers.insert(TRACEPARENT, trace);
        }
        *request.headers_mut() = headers;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::resolve::ResolveLayer, *};
    use crate::http::Router;
    use cellspace_storage::{Incarnation, Member, NodeName};
    use http::Response;
    use std::convert::Infallible;
    use tower::{Layer, ServiceExt};

    /// Spans of the other node are within that of the request here, not beside it.
    #[tokio::test]
    async fn what_is_passed_on_goes_on_with_the_trace_of_the_request() {
        const CLIENTS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let found = tower::service_fn(async |request: Request<()>| {
            Ok::<_, Infallible>(Response::new(request.extensions().get::<Arc<Resolved>>().unwrap().clone()))
        });
        let router = Arc::new(Router::new(Vec::new()).unwrap());
        let request = Request::get("/x?a=b").header(TRACEPARENT, CLIENTS).header(header::CONNECTION, "close").body(()).unwrap();
        let headers = request.headers().clone();
        let resolved = ResolveLayer::new(router, Listener::Admin).layer(found).oneshot(request).await.unwrap().into_body();
        let member = Member { node: NodeName("b".to_owned()), incarnation: Incarnation(1) };
        let peer = Peer { member, endpoint: String::new(), cell: None };
        let whole = Whole { method: Method::GET, path: "/x".to_owned(), headers, body: Bytes::new() };
        let sent = whole.sent(&peer, &resolved).unwrap();
        assert_eq!((sent.uri().to_string(), sent.headers().len()), ("https://b/x?a=b".to_owned(), 1));
        let trace = sent.headers()[TRACEPARENT].to_str().unwrap();
        assert_eq!(trace, resolved.trace.as_str());
        assert!(trace != CLIENTS && trace[..36] == CLIENTS[..36], "{trace}");
    }
}
