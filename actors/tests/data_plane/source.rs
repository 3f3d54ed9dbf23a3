//! A small HTTP source on a free port.

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{net::TcpListener, sync::Semaphore};

type Body = BoxBody<Bytes, io::Error>;

/// Size of `/file.bin`.
pub const FILE_BYTES: usize = 3_000_017;
/// Size of `/large.bin`: more than all sockets between can hold.
pub const LARGE_BYTES: usize = 128 << 20;
const CHUNK: usize = 64 << 10;

#[derive(Clone)]
pub struct Source {
    pub address: SocketAddr,
    /// A permit for each endless response that was dropped.
    pub left: Arc<Semaphore>,
    /// A permit lets a response of `/broken` break.
    pub breaks: Arc<Semaphore>,
    /// Requests that came.
    pub requests: Arc<AtomicUsize>,
    /// Bytes of `/large.bin` that were taken from here.
    pub produced: Arc<AtomicUsize>,
}

impl Source {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = Self {
            address: listener.local_addr().unwrap(),
            left: Arc::new(Semaphore::new(0)),
            breaks: Arc::new(Semaphore::new(0)),
            requests: Arc::default(),
            produced: Arc::default(),
        };
        let serving = source.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let source = serving.clone();
                let service = service_fn(move |request| {
                    let source = source.clone();
                    async move { Ok::<_, io::Error>(source.answer(&request)) }
                });
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        source
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let seen = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        self.requests.fetch_add(1, Ordering::SeqCst);
        match request.uri().path() {
            "/file.bin" => file(request),
            "/large.bin" => self.large(),
            "/endless" => self.endless(),
            // Says what the source saw of the request.
            path if path.starts_with("/echo") => {
                let names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
                let text = format!(
                    "{} {} key={} query={} headers={}",
                    request.method(),
                    path,
                    seen("x-api-key"),
                    request.uri().query().unwrap_or_default(),
                    names.join(",")
                );
                let mut response = whole(StatusCode::OK, text);
                response.headers_mut().insert("x-internal", "7".parse().unwrap());
                response.headers_mut().insert(header::SET_COOKIE, "a=b".parse().unwrap());
                response.headers_mut().insert(header::CACHE_CONTROL, "public".parse().unwrap());
                response
            }
            "/moved" => {
                let mut response = whole(StatusCode::FOUND, "");
                response.headers_mut().insert(header::LOCATION, "http://127.0.0.1:1/".parse().unwrap());
                response
            }
            "/broken" => self.broken(),
            "/error" => whole(StatusCode::INTERNAL_SERVER_ERROR, "stack trace of the source"),
            "/denied" => whole(StatusCode::UNAUTHORIZED, "no"),
            _ => whole(StatusCode::NOT_FOUND, "nothing"),
        }
    }

    /// Half of what its length says; the rest never comes.
    fn broken(&self) -> Response<Body> {
        let breaks = self.breaks.clone();
        let chunks = stream::unfold(false, move |begun| {
            let breaks = breaks.clone();
            async move {
                if begun {
                    breaks.acquire().await.unwrap().forget();
                    return Some((Err(io::Error::other("broken")), true));
                }
                Some((Ok(Frame::data(Bytes::from_static(b"half"))), true))
            }
        });
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(chunks)));
        response.headers_mut().insert(header::CONTENT_LENGTH, "8".parse().unwrap());
        response
    }

    fn large(&self) -> Response<Body> {
        let produced = self.produced.clone();
        let chunks = stream::unfold(0, move |sent| {
            let produced = produced.clone();
            async move {
                (sent < LARGE_BYTES).then(|| {
                    produced.fetch_add(CHUNK, Ordering::SeqCst);
                    (Ok(Frame::data(Bytes::from_static(&[7; CHUNK]))), sent + CHUNK)
                })
            }
        });
        Response::new(BodyExt::boxed(StreamBody::new(chunks)))
    }

    fn endless(&self) -> Response<Body> {
        struct Left(Arc<Semaphore>);
        impl Drop for Left {
            fn drop(&mut self) {
                self.0.add_permits(1);
            }
        }
        let chunks = stream::unfold(Left(self.left.clone()), |left| async move {
            tokio::task::yield_now().await;
            Some((Ok(Frame::data(Bytes::from_static(b"more and more"))), left))
        });
        Response::new(BodyExt::boxed(StreamBody::new(chunks)))
    }
}

/// Byte `n` of `/file.bin`.
pub fn file_bytes() -> Vec<u8> {
    (0..FILE_BYTES).map(|n| (n % 251) as u8).collect()
}

fn file(request: &Request<Incoming>) -> Response<Body> {
    let all = file_bytes();
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    let range = text(header::RANGE).and_then(|r| r.strip_prefix("bytes=")).and_then(|r| r.split_once('-'));
    let range = range.map(|(from, to)| (from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap()));
    let mut response = match range {
        _ if text(header::IF_NONE_MATCH) == Some("\"v1\"") => whole(StatusCode::NOT_MODIFIED, ""),
        Some((from, _)) if from >= all.len() => {
            let mut response = whole(StatusCode::RANGE_NOT_SATISFIABLE, "");
            response.headers_mut().insert(header::CONTENT_RANGE, format!("bytes */{FILE_BYTES}").parse().unwrap());
            response
        }
        Some((from, to)) => {
            let mut response = whole(StatusCode::PARTIAL_CONTENT, all[from..=to].to_vec());
            response.headers_mut().insert(header::CONTENT_RANGE, format!("bytes {from}-{to}/{FILE_BYTES}").parse().unwrap());
            response
        }
        None if request.method() == Method::HEAD => {
            let mut response = whole(StatusCode::OK, "");
            response.headers_mut().insert(header::CONTENT_LENGTH, FILE_BYTES.into());
            response
        }
        None => whole(StatusCode::OK, all),
    };
    response.headers_mut().insert(header::ETAG, "\"v1\"".parse().unwrap());
    response.headers_mut().insert(header::ACCEPT_RANGES, "bytes".parse().unwrap());
    response
}

fn whole(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(BodyExt::boxed(Full::new(body.into()).map_err(|never| match never {})));
    *response.status_mut() = status;
    response
}
