//! The listening end: who may speak, and what is answered.

use super::{
    forwarded::{Forwarded, Requests},
    identity::{Identity, Tls},
    name::PeerName,
    places::{OF_ONE, STRANGERS, Strangers},
    wire::{self, AGE, ASK, Asked, CALL, LinkBody, NEWS, PARKED, SHOW, WIRE_VERSION},
};
use crate::{
    Cluster, Parked,
    admission::{Entered, Keyed},
    cell::{Cell, Elsewhere},
    remote::{AgentAnswer, AgentCall},
};
use cellspace_storage::{View, slot::SLOTS};
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Time for the handshake, and to tell somebody that it is no peer.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time for a peer to leave a connection that ends, and again for the last answer to be on its way.
const LEAVE: Duration = Duration::from_secs(2);
/// Time for a message to arrive.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Between two pings, and how long their answer may take.
const PING: Duration = Duration::from_secs(5);
/// Largest head of a message, in bytes.
const MAX_HEAD: u32 = 80 << 10;
/// What one peer may have under way at once; what is done for it has bounds of its own.
const MAX_STREAMS: u32 = 8_192;
/// Pause after a failed accept, for example without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener for peers, which ends when this is dropped.
#[derive(Debug)]
pub struct LinkServer {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Who answers what peers say.
#[derive(Clone)]
pub struct Answers {
    /// What concerns the membership.
    pub cell: Arc<Cell>,
    /// What agents are asked for.
    pub agents: Cluster,
    /// Requests of clients, and news.
    pub requests: Arc<dyn Requests>,
}

/// What all connections have in common.
struct Desk {
    identity: Arc<Identity>,
    answers: Answers,
    places: Arc<Keyed<PeerName>>,
    version: u16,
    age: Duration,
    stop: CancellationToken,
}

/// Why a message is not taken: `(status, reason)`.
type Refused = (StatusCode, String);

impl LinkServer {
    /// Listens to peers of the cell from now on.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn serve(listener: TcpListener, identity: Arc<Identity>, answers: Answers) -> io::Result<Self> {
        Self::speaking(listener, identity, answers, WIRE_VERSION, AGE)
    }

    /// One that speaks another version, and ends connections at another age.
    pub(super) fn speaking(
        listener: TcpListener,
        identity: Arc<Identity>,
        answers: Answers,
        version: u16,
        age: Duration,
    ) -> io::Result<Self> {
        let server = Self { address: listener.local_addr()?, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let desk = Arc::new(Desk { identity, answers, places: Keyed::new(OF_ONE), version, age, stop: server.stop.clone() });
        server.tasks.spawn(accept(listener, desk, server.tasks.clone()));
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing new, and ends when all that is under way was answered, or at `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(category = "app", "drain gave up on peers' messages that were not answered in time");
        }
    }
}

impl Drop for LinkServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>, tasks: TaskTracker) {
    let mut strangers = Strangers::new(STRANGERS);
    let stop = desk.stop.clone();
    loop {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { return };
        match accepted {
            Ok((stream, from)) => {
                let (desk, stranger) = (desk.clone(), strangers.enter());
                tasks.spawn(async move {
                    if let Err(reason) = desk.serve(stream, stranger).await {
                        tracing::warn!(category = "app", action = "link.refused", %from, reason, "a connection to the peers' port ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(category = "app", %error, "a peer's connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Desk {
    async fn serve(self: Arc<Self>, stream: TcpStream, stranger: Arc<CancellationToken>) -> Result<(), String> {
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let shaking = timeout(HANDSHAKE, async {
            let tls = self.identity.tls().await;
            let stream = TlsAcceptor::from(tls.server.clone()).accept(stream).await.map_err(|error| wire::causes(&error))?;
            Ok::<_, String>((stream, tls))
        });
        let shaken = stranger.run_until_cancelled(shaking).await.ok_or("too many others came before its handshake had ended")?;
        let (stream, tls) = shaken.map_err(|_| "no handshake in time".to_owned())??;
        let entered = self.peer(&stream).and_then(|peer| {
            let place = self.places.enter(peer.clone()).ok_or_else(|| format!("node {} has too many connections", peer.node()))?;
            Ok((peer, place))
        });
        match entered {
            Ok((peer, place)) => {
                drop(stranger);
                self.converse(stream, Ok(peer), &tls, Some(place)).await
            }
            Err(reason) => {
                let told = timeout(HANDSHAKE, self.converse(stream, Err(reason.clone()), &tls, None));
                let _ = stranger.run_until_cancelled(told).await;
                Err(reason)
            }
        }
    }

    /// Answers whoever it is, until the connection ends; from some time on only what is under way.
    async fn converse(
        self: &Arc<Self>,
        stream: TlsStream<TcpStream>,
        from: Result<PeerName, String>,
        tls: &Arc<Tls>,
        place: Option<Entered<PeerName>>,
    ) -> Result<(), String> {
        let (from, under_way) = (Arc::new(from), TaskTracker::new());
        let service = service_fn(|request| {
            let (desk, from) = (self.clone(), from.clone());
            let taken = (!under_way.is_closed()).then(|| under_way.token());
            async move { Ok::<_, Infallible>(desk.answer(&from, request, taken).await) }
        });
        let mut http = Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
        http.max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD);
        http.initial_stream_window_size(wire::STREAM_WINDOW).initial_connection_window_size(wire::CONNECTION_WINDOW);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let enough = async {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.identity.replaced(tls) => {}
                () = sleep(self.age) => {}
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = enough => {
                // What is under way may last: the next connection does not wait for its place.
                drop(place);
                connection.as_mut().graceful_shutdown();
                // A peer may not hear of it, or not say so: it holds the connection no longer than what is under way lasts.
                let left = async {
                    sleep(LEAVE).await;
                    under_way.close();
                    under_way.wait().await;
                    sleep(LEAVE).await;
                };
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = left => Ok(()),
                }
            }
        };
        ended.map_err(|error| wire::causes(&error))
    }

    fn peer(&self, stream: &TlsStream<TcpStream>) -> Result<PeerName, String> {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        self.identity.peer(shown.ok_or("no certificate was shown")?)
    }

    /// `taken` is held until the answer has gone; without it the connection takes nothing any more.
    async fn answer(
        &self,
        from: &Result<PeerName, String>,
        request: Request<Incoming>,
        taken: Option<TaskTrackerToken>,
    ) -> Response<LinkBody> {
        let answered = match &taken {
            Some(_) => self.take(from, request).await,
            None => Err((StatusCode::SERVICE_UNAVAILABLE, "this connection ends".to_owned())),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err((status, reason)) => {
                let mut response = Response::new(wire::body(reason.clone()));
                *response.status_mut() = status;
                // So that nobody takes it for the answer to a request that was passed on.
                Forwarded::not_here(&mut response, &reason);
                response
            }
        };
        Forwarded::tell(&mut response);
        wire::mark(response.headers_mut(), self.version);
        response.map(|body| wire::holding(body, taken))
    }

    async fn take(&self, from: &Result<PeerName, String>, mut request: Request<Incoming>) -> Result<Response<LinkBody>, Refused> {
        let refused = |status| move |reason: String| (status, reason);
        let from = from.as_ref().map_err(|reason| (StatusCode::FORBIDDEN, reason.clone()))?;
        wire::check(request.headers(), self.version).map_err(refused(StatusCode::UPGRADE_REQUIRED))?;
        if let Some(how) = Forwarded::take(request.headers_mut()) {
            let how = how.map_err(refused(StatusCode::BAD_REQUEST))?;
            wire::strip(request.headers_mut());
            return Ok(self.answers.requests.forwarded(how, request).await);
        }
        let path = request.uri().path().to_owned();
        let is_beside = from.cell() == self.identity.me().cell();
        if !is_beside && [SHOW, ASK, PARKED].contains(&path.as_str()) {
            return Err((StatusCode::FORBIDDEN, format!("{from} is of another cell, which has slots of its own")));
        }
        let limit = wire::most_answered(&path);
        let said = timeout(ARRIVAL, wire::collect(request.into_body(), wire::most(&path))).await;
        let said = said.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the message did not arrive in time".to_owned()))?;
        let said = said.map_err(refused(StatusCode::PAYLOAD_TOO_LARGE))?;
        let unreadable = refused(StatusCode::BAD_REQUEST);
        let Answers { cell, agents, .. } = &self.answers;
        let answer = match path.as_str() {
            SHOW => {
                let view: View = wire::read(&said).map_err(unreadable)?;
                cell.shown(view).map_err(|ended| (StatusCode::GONE, ended.to_string()))?;
                wire::write(&(), limit)
            }
            ASK => {
                let asked: Asked = wire::read(&said).map_err(unreadable)?;
                if asked.slots.len() > usize::from(SLOTS) {
                    return Err((StatusCode::BAD_REQUEST, format!("{} slots, there are at most {SLOTS}", asked.slots.len())));
                }
                let answers = cell.asked(&asked.to, &asked.slots, asked.version).await;
                wire::write(&answers.ok_or((StatusCode::GONE, "another life of this node is meant".to_owned()))?, limit)
            }
            NEWS => {
                let news: String = wire::read(&said).map_err(unreadable)?;
                match Elsewhere::told(&news) {
                    Some(owner) => agents.take_in(&owner).await.map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?,
                    None if is_beside || self.answers.requests.is_of_all(&news) => self.answers.requests.announced(news).await,
                    None => return Err((StatusCode::FORBIDDEN, format!("{from} is of another cell, which has other news"))),
                }
                wire::write(&(), limit)
            }
            CALL => {
                let call: AgentCall = wire::read(&said).map_err(unreadable)?;
                // Whatever becomes of its answer, it may have been executed.
                let answer = agents.called(call).await;
                wire::write(&answer, limit).or_else(|reason| wire::write(&AgentAnswer::Unknown(reason), limit))
            }
            PARKED => wire::write(&agents.parked().into_iter().map(Parked::from).collect::<Vec<_>>(), limit),
            other => return Err((StatusCode::NOT_FOUND, format!("nothing is known of {other}"))),
        };
        answer.map(|said| Response::new(wire::body(said))).map_err(refused(StatusCode::INTERNAL_SERVER_ERROR))
    }
}
