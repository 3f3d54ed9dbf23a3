//! The accept loop of one listener: bounded connections, clients that stand still cut off, graceful end.

use super::{
    activity::{Activity, SocketRequest},
    answer::SocketBody,
    connection::Protocols,
    lag::Lag,
    tls::{Handshake, ListenerTls},
};
use cellspace_cluster::link::Strangers;
use http::Response;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

/// Time for a client that neither asks for anything nor takes its answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Of the connections that there may be, one in so many are few.
const FEW: usize = 16;
/// One in so many may be at its handshake: who takes its time there makes room for the next, and keeps nobody out.
const SHAKING: usize = 8;
/// Pause after a failed accept, for example without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener that is being served.
pub struct Connections {
    address: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Connections {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets requests under way end for at most `limit`, then closes what is left.
    pub async fn drain(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Serves a bound listener in the background, encrypted where there is a certificate; `lag` hears what its connections wait for their turn.
///
/// # Errors
/// When the socket has no address.
pub fn serve<S>(
    listener: TcpListener,
    tls: Option<Arc<ListenerTls>>,
    service: S,
    max_connections: usize,
    lag: &Lag,
) -> std::io::Result<Connections>
where
    S: Service<SocketRequest, Response = Response<SocketBody>, Error = Infallible> + Clone + Send + Unpin + 'static,
    S::Future: Send + 'static,
{
    let connections = Connections {
        address: listener.local_addr()?,
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (stop, cut, tasks) = (connections.stop.clone(), connections.cut.clone(), connections.tasks.clone());
    connections.tasks.spawn(accept(listener, tls, service, max_connections, lag.clone(), stop, cut, tasks));
    Ok(connections)
}

#[allow(clippy::too_many_arguments, reason = "the parts of one listener")]
async fn accept<S>(
    listener: TcpListener,
    tls: Option<Arc<ListenerTls>>,
    service: S,
    max_connections: usize,
    lag: Lag,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
) where
    S: Service<SocketRequest, Response = Response<SocketBody>, Error = Infallible> + Clone + Send + Unpin + 'static,
    S::Future: Send + 'static,
{
    let protocols = Arc::new(Protocols::new(max_connections / FEW));
    let places = Arc::new(Semaphore::new(max_connections));
    let mut strangers = Strangers::new((max_connections / SHAKING).max(1));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(category = "app", %error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        prepare(&stream);
        let activity = Activity::new();
        let handshake = tls.clone().map(|tls| Handshake { tls, stranger: strangers.enter() });
        // On the heap: what is moved from one future into another takes room in both.
        let connection =
            Box::pin(protocols.clone().serve(stream, handshake, service.clone(), activity.clone(), tasks.clone(), stop.clone()));
        let cut = cut.clone();
        let watched = activity.clone();
        tasks.spawn(lag.clone().watch(watched, async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = activity.stalled(STALL_TIMEOUT) => tracing::debug!(category = "app", "a client stood still"),
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(category = "app", %error, "connection ended");
                }
            }
            drop(place);
        }));
    }
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(category = "app", %error, "no TCP_NODELAY");
    }
}
