//! One connection, from its first byte to its end.
//!
//! Between two requests of HTTP/1.1 the protocol's state with its buffers, some 25 KiB, is given back: at once while there are many connections, else
//! when the connection has been idle for a moment. What is left of one that stands idle, or whose next request waits for its turn among many, is its
//! socket and its task.

use super::{
    activity::{Activity, Attended, Socket, SocketRequest, Stream},
    answer::SocketBody,
    tls::Handshake,
};
use futures::FutureExt;
use http::Response;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{BoxError, Service};

/// Time for a client to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two pings of an HTTP/2 client that waits for us. Longer than the time after which one that lets everything stand is cut off, so that
/// pings are no progress.
const PING_INTERVAL: Duration = Duration::from_secs(45);
/// How long a connection keeps its protocol's state after a request, as long as there are few.
const MOMENT: Duration = Duration::from_secs(1);
/// Largest head, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// How a client begins that speaks HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How connections are served: with the same bounds at every listener.
pub struct Protocols {
    http1: http1::Builder,
    /// For those that begin like HTTP/2.
    any: auto::Builder<TokioExecutor>,
    /// So many connections are few.
    few: usize,
}

/// How polling HTTP/1.1 ended.
enum Served {
    /// The connection ended.
    Whole(hyper::Result<()>),
    /// All that came was answered.
    SoFar,
}

impl Protocols {
    /// For a listener with at most `few` connections most of the time.
    #[must_use]
    pub fn new(few: usize) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD);
        let mut any = auto::Builder::new(TokioExecutor::new());
        any.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
        any.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
        Self { http1, any, few }
    }

    /// Serves a connection to its end, after its handshake, where there is one. It is one of `all`; with `stop`, to the end of what is under way.
    ///
    /// # Errors
    /// What ended it before its time.
    pub async fn serve<S>(
        self: Arc<Self>,
        stream: TcpStream,
        handshake: Option<Handshake>,
        service: S,
        activity: Arc<Activity>,
        all: TaskTracker,
        stop: CancellationToken,
    ) -> Result<(), BoxError>
    where
        S: Service<SocketRequest, Response = Response<SocketBody>, Error = Infallible> + Clone + Send + Unpin + 'static,
        S::Future: Send + 'static,
    {
        let service = TowerToHyperService::new(Attended::new(service, activity.clone()));
        let mut stopped = pin!(stop.cancelled_owned().fuse());
        let (stream, is_http2) = match handshake {
            None => {
                let mut first = [0; PREFACE.len()];
                let known = tokio::select! {
                    () = &mut stopped => return Ok(()),
                    peeked = stream.peek(&mut first) => peeked?,
                };
                (Stream::Plain(stream), known > 0 && PREFACE.starts_with(first.get(..known).unwrap_or_default()))
            }
            // On the heap: it is over soon.
            Some(handshake) => tokio::select! {
                () = &mut stopped => return Ok(()),
                shaken = Box::pin(handshake.of(stream)) => shaken?,
            },
        };
        let mut socket = Socket::new(stream, activity.clone());
        if is_http2 {
            // On the heap: the task is as large as all that it may hold itself.
            let mut connection = Box::pin(self.any.serve_connection(TokioIo::new(socket), service));
            let end = poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    connection.as_mut().graceful_shutdown();
                }
                connection.as_mut().poll(cx)
            });
            return end.await;
        }
        loop {
            activity.rest();
            let mut connection = Box::new(self.http1.serve_connection(TokioIo::new(socket), service.clone()));
            let mut stopping = false;
            let mut moment = None;
            let served = poll_fn(|cx| {
                if !stopping && stopped.as_mut().poll(cx).is_ready() {
                    stopping = true;
                    Pin::new(&mut *connection).graceful_shutdown();
                }
                match Pin::new(&mut *connection).poll(cx) {
                    Poll::Ready(end) => Poll::Ready(Served::Whole(end)),
                    Poll::Pending if !stopping && activity.rests() => {
                        if all.len() > self.few {
                            return Poll::Ready(Served::SoFar);
                        }
                        // The timer of a connection in use is moved on when it fires, not with every request.
                        let moment = moment.get_or_insert_with(|| Box::pin(sleep_until(activity.progressed_at() + MOMENT)));
                        while moment.as_mut().poll(cx).is_ready() {
                            let over = activity.progressed_at() + MOMENT;
                            if over <= Instant::now() {
                                return Poll::Ready(Served::SoFar);
                            }
                            moment.as_mut().reset(over);
                        }
                        Poll::Pending
                    }
                    Poll::Pending => Poll::Pending,
                }
            });
            match served.await {
                Served::Whole(end) => return Ok(end?),
                Served::SoFar => {}
            }
            let parts = connection.into_parts();
            socket = parts.io.into_inner();
            socket.read_before(parts.read_buf);
            tokio::select! {
                () = &mut stopped => {}
                readable = socket.readable() => {
                    readable?;
                    continue;
                }
            }
            return Ok(socket.close().await?);
        }
    }
}
