//! What a connection is doing, so that one that stands still because of its client can be closed.
//!
//! A connection may stand still for as long as its client waits for us: for a handler, a long poll, the next chunk of a stream. While it is the
//! client that lets things stand (sends no request, does not read its answer), only progress keeps it open.

use super::answer::SocketBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};
use tower::Service;

/// How long, and for how many bytes, a client that is still sending gets to read an answer that did not wait for its whole request.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// A request as the stack gets it from the socket.
pub type SocketRequest = Request<RequestBody>;

/// State of one connection.
#[derive(Debug)]
pub struct Activity {
    opened: Instant,
    /// Milliseconds after `opened` of the last progress.
    progress: AtomicU64,
    /// Handlers and streams that the client waits for.
    busy: AtomicUsize,
    /// Whether a request was answered before all of it was read.
    unread: AtomicBool,
}

impl Activity {
    /// Of a connection that was just accepted.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { opened: Instant::now(), progress: AtomicU64::new(0), busy: AtomicUsize::new(0), unread: AtomicBool::new(false) })
    }

    fn advance(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progress.store(elapsed, Ordering::Relaxed);
    }

    /// Ends when the client has let everything stand for `limit`, at the latest after twice that.
    pub async fn stalled(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let since = if self.busy.load(Ordering::Relaxed) > 0 {
                now
            } else {
                self.opened + Duration::from_millis(self.progress.load(Ordering::Relaxed))
            };
            if since + limit <= now {
                return;
            }
            tokio::time::sleep_until(since + limit).await;
        }
    }
}

/// While it lives, the client waits for us.
struct Busy(Arc<Activity>);

impl Busy {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.busy.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.advance();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The stack's service on one connection.
#[derive(Debug, Clone)]
pub struct Attended<S> {
    inner: S,
    activity: Arc<Activity>,
}

impl<S> Attended<S> {
    /// Tells `activity` what `inner` does.
    pub const fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

impl<S> Service<Request<Incoming>> for Attended<S>
where
    S: Service<SocketRequest, Response = Response<SocketBody>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let activity = self.activity.clone();
        let busy = Busy::new(&activity);
        let answer = self.inner.call(request.map(|body| RequestBody { inner: body, ended: false, activity: activity.clone() }));
        Box::pin(async move {
            let answer = answer.await?;
            drop(busy);
            Ok(answer.map(|inner| AnswerBody { inner, activity, waited_for: None }))
        })
    }
}

/// Body of a request; notes when it is left unread.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    ended: bool,
    activity: Arc<Activity>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended && !self.inner.is_end_stream() {
            self.activity.unread.store(true, Ordering::Relaxed);
        }
    }
}

/// Body of an answer; the client waits for it as long as it has no next frame.
pub struct AnswerBody {
    inner: SocketBody,
    activity: Arc<Activity>,
    waited_for: Option<Busy>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            this.waited_for.get_or_insert_with(|| Busy::new(&this.activity));
            return Poll::Pending;
        };
        this.waited_for = None;
        this.activity.advance();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The socket of one connection; bytes that its client takes are progress.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    end: End,
}

#[derive(Debug)]
enum End {
    No,
    Lingers { until: Pin<Box<Sleep>>, discarded: usize },
}

impl Socket {
    /// Tells `activity` of the bytes that are written.
    pub const fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, end: End::No }
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(outcome, Poll::Ready(Ok(1..))) {
            self.activity.advance();
        }
        outcome
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// A socket that is closed with unread bytes resets its connection, and the client loses the answer: so what a client still sends after an
    /// answer that did not wait for it is read, within bounds, and thrown away.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.end, End::No) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.end = End::Lingers { until: Box::pin(tokio::time::sleep(LINGER)), discarded: 0 };
        }
        let End::Lingers { until, discarded } = &mut this.end else { return Poll::Ready(Ok(())) };
        let mut scratch = [0; 16 << 10];
        while this.activity.unread.load(Ordering::Relaxed) && *discarded < LINGER_BYTES && until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *discarded += buf.filled().len(),
                // The client has closed too, or is gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
