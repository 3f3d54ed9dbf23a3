//! The calling end: one connection to each peer, made when it is needed.

use super::{
    forwarded::Forwarded,
    identity::{Identity, Tls},
    name::PeerName,
    wire::{self, AGE, ASK, Asked, CALL, LinkBody, NEWS, PARKED, SHOW, WIRE_VERSION},
};
use crate::{
    Parked,
    cell::{Peer, PeerError, PeerLink, Told},
    remote::{AgentAnswer, AgentCall, GRACE},
};
use bytes::Bytes;
use cellspace_storage::{CellName, NodeName, View};
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

/// Time for a connection to be there.
const CONNECT: Duration = Duration::from_secs(2);
/// Time for a message to be answered.
const ANSWER: Duration = Duration::from_secs(2);
/// After a connection failed, who comes within this time is told the same.
const FAILED: Duration = Duration::from_millis(100);
/// Between two pings, and how long their answer may take: a peer that went without a word is noticed soon.
const PING: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Peers that are remembered; above, those without a connection are forgotten.
const LINES: usize = 256;

/// The way to the other nodes of a cell.
pub struct Link {
    identity: Arc<Identity>,
    lines: Mutex<HashMap<(Option<CellName>, NodeName, Traffic), Arc<Line>>>,
    version: u16,
    /// After so long nothing new goes over a connection. Before the peer ends it: of what it does not take then it is not known whether it did.
    age: Duration,
}

/// What goes over a connection: hand-overs never wait behind what clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Traffic {
    Membership,
    Work,
}

/// To one life of a node at one place.
struct Line {
    peer: Peer,
    state: tokio::sync::Mutex<State>,
}

enum State {
    Closed,
    /// With the certificates that it was made with, and when.
    Open(SendRequest<LinkBody>, Arc<Tls>, Instant),
    Failed(Instant, PeerError),
}

impl Link {
    /// For the node that has this identity.
    #[must_use]
    pub fn new(identity: Arc<Identity>) -> Arc<Self> {
        Self::speaking(identity, WIRE_VERSION, AGE * 4 / 5)
    }

    /// One that speaks another version, and leaves connections at another age.
    pub(super) fn speaking(identity: Arc<Identity>, version: u16, age: Duration) -> Arc<Self> {
        Arc::new(Self { identity, lines: Mutex::default(), version, age })
    }

    fn line(&self, to: &Peer, traffic: Traffic) -> Arc<Line> {
        let mut lines = self.lines.lock();
        let key = (to.cell.clone(), to.member.node.clone(), traffic);
        if let Some(line) = lines.get(&key).filter(|line| line.peer == *to) {
            return line.clone();
        }
        if lines.len() >= LINES {
            let is_open =
                |line: &Line| line.state.try_lock().is_ok_and(|state| matches!(&*state, State::Open(open, ..) if !open.is_closed()));
            lines.retain(|_, line| is_open(line));
        }
        let line = Arc::new(Line { peer: to.clone(), state: tokio::sync::Mutex::new(State::Closed) });
        lines.insert(key, line.clone());
        line
    }

    /// A connection to the peer; one caller makes it, others wait for that.
    async fn connection(&self, to: &Peer, traffic: Traffic) -> Result<SendRequest<LinkBody>, PeerError> {
        let line = self.line(to, traffic);
        let mut state = line.state.lock().await;
        match &*state {
            State::Open(open, with, since) if !open.is_closed() && self.identity.is_current(with) && since.elapsed() < self.age => {
                return Ok(open.clone());
            }
            State::Failed(at, error) if at.elapsed() < FAILED => return Err(error.clone()),
            // What is under way on it goes on.
            State::Open(..) | State::Failed(..) | State::Closed => {}
        }
        let dialed = timeout(CONNECT, self.dial(to)).await;
        match dialed.unwrap_or_else(|_| Err(format!("{} at {} is not reached in time", to.member.node, to.endpoint))) {
            Ok((open, with)) => {
                *state = State::Open(open.clone(), with, Instant::now());
                Ok(open)
            }
            Err(reason) => {
                tracing::debug!(category = "app", peer = %to.member.node, endpoint = to.endpoint, reason, "a peer is not reached");
                let error = PeerError::NotDone(reason);
                *state = State::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    async fn dial(&self, to: &Peer) -> Result<(SendRequest<LinkBody>, Arc<Tls>), String> {
        let failed = |error: &(dyn std::error::Error + 'static)| format!("{} at {}: {}", to.member.node, to.endpoint, wire::causes(error));
        let cell = to.cell.as_ref().map_or(self.identity.me().cell(), |cell| cell.0.as_str());
        let name = PeerName::new(cell, &to.member.node).map_err(|e| failed(&e))?;
        let name = ServerName::try_from(name.dns()).map_err(|e| failed(&e))?;
        let stream = TcpStream::connect(&to.endpoint).await.map_err(|e| failed(&e))?;
        stream.set_nodelay(true).map_err(|e| failed(&e))?;
        let with = self.identity.tls().await;
        let tls = TlsConnector::from(with.client.clone()).connect(name, stream).await.map_err(|e| failed(&e))?;
        let mut http = Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING_TIMEOUT).keep_alive_while_idle(true);
        http.initial_stream_window_size(wire::STREAM_WINDOW).initial_connection_window_size(wire::CONNECTION_WINDOW);
        let (open, connection) = http.handshake(TokioIo::new(tls)).await.map_err(|e| failed(&e))?;
        let peer = to.member.node.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(category = "app", %peer, reason = wire::causes(&error), "the connection to a peer ended");
            }
        });
        Ok((open, with))
    }

    /// Sends a request, and gives the head of its answer with what follows.
    async fn send(&self, to: &Peer, traffic: Traffic, mut request: Request<LinkBody>) -> Result<Response<Incoming>, PeerError> {
        wire::mark(request.headers_mut(), self.version);
        let mut open = self.connection(to, traffic).await?;
        let mut sent = open.try_send_request(request).await;
        // What comes back was never sent. A peer ends each connection after a while: this one is over then, and the next takes it.
        if let Err(error) = &mut sent
            && let Some(request) = error.take_message()
        {
            sent = self.connection(to, traffic).await?.try_send_request(request).await;
        }
        let answer = sent.map_err(|error| {
            let reason = wire::causes(error.error());
            if error.message().is_some() { PeerError::NotDone(reason) } else { PeerError::Lost(reason) }
        })?;
        wire::check(answer.headers(), self.version).map_err(PeerError::NotDone)?;
        Ok(answer)
    }

    /// Passes a request on as it came in, and gives the head of its answer with what follows. What the peer did not take is [`PeerError::NotDone`].
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn forward(&self, to: &Peer, how: &Forwarded, mut request: Request<LinkBody>) -> Result<Response<Incoming>, PeerError> {
        wire::strip(request.headers_mut());
        how.put(request.headers_mut());
        let mut answer = self.send(to, Traffic::Work, request).await?;
        if let Some(reason) = Forwarded::elsewhere(&mut answer) {
            return Err(PeerError::NotDone(reason));
        }
        wire::strip(answer.headers_mut());
        Ok(answer)
    }

    /// The agents that are parked at the peer; [`crate::Cluster::parked`] there.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn parked(&self, to: &Peer) -> Result<Vec<Parked>, PeerError> {
        self.tell(to, PARKED, &(), ANSWER).await
    }

    /// A request without anything that nodes add.
    #[cfg(test)]
    pub(super) async fn send_as_it_is(&self, to: &Peer, request: Request<LinkBody>) -> Result<Response<Incoming>, PeerError> {
        self.send(to, Traffic::Work, request).await
    }

    async fn tell<T: DeserializeOwned>(&self, to: &Peer, path: &str, message: &impl Serialize, time: Duration) -> Result<T, PeerError> {
        let traffic = if [CALL, PARKED].contains(&path) { Traffic::Work } else { Traffic::Membership };
        let call = async {
            let bytes = wire::write(message, wire::most(path)).map_err(PeerError::NotDone)?;
            let request = Request::post(format!("https://{}{path}", to.member.node)).body(wire::body(bytes));
            let answer = self.send(to, traffic, request.map_err(|error| PeerError::NotDone(error.to_string()))?).await?;
            let status = answer.status();
            let said: Bytes = wire::collect(answer.into_body(), wire::most_answered(path)).await.map_err(PeerError::Lost)?;
            match status {
                status if status.is_success() => wire::read(&said).map_err(PeerError::Lost),
                status if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE => {
                    Err(PeerError::NotDone(String::from_utf8_lossy(&said).into_owned()))
                }
                _ => Err(PeerError::Lost(String::from_utf8_lossy(&said).into_owned())),
            }
        };
        timeout(time, call).await.unwrap_or_else(|_| Err(PeerError::Lost("no answer in time".to_owned())))
    }
}

impl PeerLink for Link {
    fn show<'a>(&'a self, to: &'a Peer, view: &'a View) -> BoxFuture<'a, Result<(), PeerError>> {
        Box::pin(self.tell(to, SHOW, view, ANSWER))
    }

    fn ask<'a>(&'a self, to: &'a Peer, slots: &'a [u16], version: u64) -> BoxFuture<'a, Result<Vec<Told>, PeerError>> {
        Box::pin(async move {
            let asked = Asked { to: to.member.clone(), slots: slots.to_vec(), version };
            let answers: Vec<Told> = self.tell(to, ASK, &asked, ANSWER).await?;
            if answers.len() == slots.len() { Ok(answers) } else { Err(PeerError::Lost("not all slots are answered for".to_owned())) }
        })
    }

    fn announce<'a>(&'a self, to: &'a Peer, news: &'a str) -> BoxFuture<'a, Result<(), PeerError>> {
        Box::pin(async move { self.tell(to, NEWS, &news, ANSWER).await })
    }

    fn call<'a>(&'a self, to: &'a Peer, call: &'a AgentCall) -> BoxFuture<'a, Result<AgentAnswer, PeerError>> {
        Box::pin(self.tell(to, CALL, call, call.time() + GRACE))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("identity", &self.identity).finish_non_exhaustive()
    }
}
