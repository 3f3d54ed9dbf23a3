//! The accept loop of one listener: bounded connections, clients that stand still cut off, graceful end.

use super::{
    activity::{Activity, Attended, Socket, SocketRequest},
    answer::SocketBody,
};
use http::Response;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

/// Time for a client to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for a client that neither asks for anything nor takes its answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pings of an HTTP/2 client that waits for us. Longer than [`STALL_TIMEOUT`], so that pings are no progress.
const PING_INTERVAL: Duration = Duration::from_secs(45);
/// Largest head, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
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

/// Serves a bound listener in the background.
///
/// # Errors
/// When the socket has no address.
pub fn serve<S>(listener: TcpListener, service: S, max_connections: usize) -> std::io::Result<Connections>
where
    S: Service<SocketRequest, Response = Response<SocketBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let connections = Connections {
        address: listener.local_addr()?,
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (stop, cut, tasks) = (connections.stop.clone(), connections.cut.clone(), connections.tasks.clone());
    connections.tasks.spawn(accept(listener, service, max_connections, stop, cut, tasks));
    Ok(connections)
}

async fn accept<S>(
    listener: TcpListener,
    service: S,
    max_connections: usize,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
) where
    S: Service<SocketRequest, Response = Response<SocketBody>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    let places = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
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
        let service = TowerToHyperService::new(Attended::new(service.clone(), activity.clone()));
        let socket = TokioIo::new(Socket::new(stream, activity.clone()));
        let connection = graceful.watch(builder.serve_connection(socket, service).into_owned());
        let cut = cut.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = activity.stalled(STALL_TIMEOUT) => tracing::debug!(category = "app", "a client stood still"),
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(category = "app", %error, "connection ended");
                }
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = cut.cancelled() => {}
        () = graceful.shutdown() => {}
    }
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(category = "app", %error, "no TCP_NODELAY");
    }
}
