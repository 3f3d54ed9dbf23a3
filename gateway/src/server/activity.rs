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
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};
use tokio_rustls::server::TlsStream;
use tower::Service;

/// How long, and for how many bytes, a client that is still sending gets to read an answer that did not wait for its whole request.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// A request as the stack gets it from the socket.
pub type SocketRequest = Request<RequestBody>;

/// In a request's extensions: what its connection waited for its turn before the request was read.
#[derive(Debug, Clone, Copy)]
pub struct RanAfter(pub Duration);

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
    /// Microseconds that the connection waited for its turn when it ran last.
    waited: AtomicU64,
    /// Exchanges that are not over: bodies of requests and answers that somebody holds, and what makes answers of requests.
    exchanges: AtomicUsize,
    /// Whether an exchange was over since the connection rested.
    answered: AtomicBool,
    /// Whether the socket took not all that was to be written, or is being closed.
    writing: AtomicBool,
}

impl Activity {
    /// Of a connection that was just accepted.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            progress: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            unread: AtomicBool::new(false),
            waited: AtomicU64::new(0),
            exchanges: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
            writing: AtomicBool::new(false),
        })
    }

    /// The connection runs, after it has waited so long for its turn.
    pub fn ran_after(&self, waited: Duration) {
        self.waited.store(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it waited for its last turn.
    #[must_use]
    pub fn ran_last_after(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// From now on, the next exchange is waited for.
    pub fn rest(&self) {
        self.answered.store(false, Ordering::Relaxed);
    }

    /// Whether all that came since [`rest`](Self::rest) was answered, and something was: when HTTP/1.1 has nothing to do then, it waits for a request
    /// of which nothing or only a part was read.
    #[must_use]
    pub fn rests(&self) -> bool {
        let at_work = self.exchanges.load(Ordering::Relaxed) > 0 || self.writing.load(Ordering::Relaxed);
        self.answered.load(Ordering::Relaxed) && !at_work
    }

    fn advance(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progress.store(elapsed, Ordering::Relaxed);
    }

    /// When there was progress last.
    #[must_use]
    pub fn progressed_at(&self) -> Instant {
        self.opened + Duration::from_millis(self.progress.load(Ordering::Relaxed))
    }

    /// Ends when the client has let everything stand for `limit`, at the latest after twice that.
    pub async fn stalled(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let since = if self.busy.load(Ordering::Relaxed) > 0 { now } else { self.progressed_at() };
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

/// While it lives, an exchange is not over.
#[derive(Debug)]
struct Exchange(Arc<Activity>);

impl Exchange {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.exchanges.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
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

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let activity = self.activity.clone();
        request.extensions_mut().insert(RanAfter(activity.ran_last_after()));
        let (busy, exchange) = (Busy::new(&activity), Exchange::new(&activity));
        let answer = self.inner.call(request.map(|body| RequestBody { inner: body, ended: false, exchange: Exchange::new(&activity) }));
        Box::pin(async move {
            let answer = answer.await?;
            drop(busy);
            Ok(answer.map(|inner| AnswerBody { inner, exchange, waited_for: None }))
        })
    }
}

/// Body of a request; notes when it is left unread.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    ended: bool,
    exchange: Exchange,
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
            self.exchange.0.unread.store(true, Ordering::Relaxed);
        }
    }
}

/// Body of an answer; the client waits for it as long as it has no next frame.
pub struct AnswerBody {
    inner: SocketBody,
    exchange: Exchange,
    waited_for: Option<Busy>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            this.waited_for.get_or_insert_with(|| Busy::new(&this.exchange.0));
            return Poll::Pending;
        };
        this.waited_for = None;
        this.exchange.0.advance();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a connection's bytes come and go by.
#[derive(Debug)]
pub enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted. On the heap: it is much larger.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Read at once of what waits for its turn: it is kept until then.
const FIRST: usize = 64;

/// The socket of one connection; bytes that its client takes are progress.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    activity: Arc<Activity>,
    /// What was read already and is to be read again.
    before: Bytes,
    end: End,
}

#[derive(Debug)]
enum End {
    No,
    Lingers { until: Pin<Box<Sleep>>, discarded: usize },
}

impl Socket {
    /// Tells `activity` of the bytes that are written.
    pub const fn new(stream: Stream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, before: Bytes::new(), end: End::No }
    }

    /// Reads these bytes first: they were read already.
    pub fn read_before(&mut self, bytes: Bytes) {
        // None of them may still hold the buffer that they were read into.
        self.before = if bytes.is_empty() { Bytes::new() } else { bytes };
    }

    /// Waits until there is something to read, or the client has closed.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn readable(&mut self) -> io::Result<()> {
        if !self.before.is_empty() {
            return Ok(());
        }
        match &mut self.stream {
            Stream::Plain(stream) => stream.readable().await,
            // What the socket has is not what is said: it may be part of a record, and what is said may have been taken from the socket before.
            Stream::Tls(stream) => {
                self.before = Box::pin(async {
                    let mut first = [0; FIRST];
                    let length = stream.read(&mut first).await?;
                    Ok::<_, io::Error>(Bytes::copy_from_slice(first.get(..length).unwrap_or_default()))
                })
                .await?;
                Ok(())
            }
        }
    }

    /// Says that no more comes, where that is said: otherwise its client could take it for cut off.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn close(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(stream) => stream.shutdown().await,
        }
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(outcome, Poll::Ready(Ok(1..))) {
            self.activity.advance();
        }
        self.activity.writing.store(outcome.is_pending(), Ordering::Relaxed);
        outcome
    }
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let length = self.before.len().min(buf.remaining());
            buf.put_slice(&self.before.split_to(length));
            return Poll::Ready(Ok(()));
        }
        self.stream.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.wrote(outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => {
                // What was taken to be written may wait in here still.
                let outcome = Pin::new(stream).poll_flush(cx);
                self.activity.writing.store(outcome.is_pending(), Ordering::Relaxed);
                outcome
            }
        }
    }

    /// A socket that is closed with unread bytes resets its connection, and the client loses the answer: so what a client still sends after an
    /// answer that did not wait for it is read, within bounds, and thrown away.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.activity.writing.store(true, Ordering::Relaxed);
        if matches!(this.end, End::No) {
            ready!(this.stream.poll_shutdown(cx))?;
            this.end = End::Lingers { until: Box::pin(tokio::time::sleep(LINGER)), discarded: 0 };
        }
        let End::Lingers { until, discarded } = &mut this.end else { return Poll::Ready(Ok(())) };
        let mut scratch = [0; 16 << 10];
        while this.activity.unread.load(Ordering::Relaxed) && *discarded < LINGER_BYTES && until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(this.stream.poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *discarded += buf.filled().len(),
                // The client has closed too, or is gone.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
