//! The stack around handlers that misbehave, and clients that do.

use super::{
    Connections, Gateway, Lag, Limits,
    activity::{Activity, SocketRequest},
    answer::SocketBody,
    serve, stack,
};
use crate::{
    App, Node, NodeConfig, Ports,
    http::{Access, Api, ApiError, Body, Listener, Reply, Request as Matched, Route, Router, Verb, route::Handler},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, mpsc},
};
use tokio_util::task::TaskTracker;
use tower::{BoxError, Service, ServiceExt};

static STARTED: Notify = Notify::const_new();
static GO_ON: Semaphore = Semaphore::const_new(0);
static FINISHED: Notify = Notify::const_new();

fn hello(_: App, request: Matched) -> BoxFuture<'static, Result<Reply, ApiError>> {
    async move { Ok(Reply::bytes(StatusCode::OK, "text/plain", request.trace.map(|t| t.as_str().to_owned()).unwrap_or_default())) }.boxed()
}

fn panics(_: App, _: Matched) -> BoxFuture<'static, Result<Reply, ApiError>> {
    async { panic!("a secret of the handler") }.boxed()
}

fn never(_: App, _: Matched) -> BoxFuture<'static, Result<Reply, ApiError>> {
    futures::future::pending().boxed()
}

fn slow_change(_: App, _: Matched) -> BoxFuture<'static, Result<Reply, ApiError>> {
    async {
        STARTED.notify_one();
        GO_ON.acquire().await.unwrap().forget();
        FINISHED.notify_one();
        Ok(Reply::no_content())
    }
    .boxed()
}

fn streams(_: App, _: Matched) -> BoxFuture<'static, Result<Reply, ApiError>> {
    async {
        let chunks = futures::stream::iter((0..3).map(|n| Ok(Bytes::from(format!("chunk {n};")))));
        Ok(Reply(Response::new(Body::told(chunks))))
    }
    .boxed()
}

fn echo(_: App, request: Matched) -> BoxFuture<'static, Result<Reply, ApiError>> {
    async move { Ok(Reply::bytes(StatusCode::OK, "application/octet-stream", request.body)) }.boxed()
}

fn table() -> Vec<Route> {
    let route = |api, method, path, handler: Handler| Route {
        listener: Listener::Admin,
        api,
        method,
        path,
        prefixes: &["/api/x"],
        access: Access::Open,
        handler,
    };
    vec![
        route(Api::Management, Verb::Get, "/hello", hello),
        route(Api::Management, Verb::Await, "/participants/{participant}/awaited", never),
        route(Api::Management, Verb::Get, "/panic", panics),
        route(Api::Management, Verb::Post, "/panic", panics),
        route(Api::Management, Verb::Get, "/never", never),
        route(Api::Management, Verb::Get, "/participants/{participant}/never", never),
        route(Api::Management, Verb::Post, "/never", never),
        route(Api::Management, Verb::Post, "/change", slow_change),
        route(Api::Management, Verb::Get, "/stream", streams),
        route(Api::Management, Verb::Post, "/echo", echo),
        Route { listener: Listener::Public, ..route(Api::DspCatalog, Verb::Post, "/echo", echo) },
        Route { listener: Listener::Ops, ..route(Api::Native, Verb::Get, "/hello", hello) },
    ]
}

struct Setup {
    node: Node,
    _dir: tempfile::TempDir,
    tasks: TaskTracker,
}

impl Setup {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(NodeConfig { ports: Ports::Free, ..NodeConfig::new(dir.path()) }).await.unwrap();
        Self { node, _dir: dir, tasks: TaskTracker::new() }
    }

    fn service<B>(
        &self,
        limits: &Limits,
    ) -> impl Service<Request<B>, Response = Response<SocketBody>, Error = Infallible, Future: Send + 'static> + Clone + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        self.service_at(&self.gateway(limits), Listener::Admin, limits)
    }

    fn gateway(&self, limits: &Limits) -> Gateway {
        Gateway::new(self.node.app.clone(), self.tasks.clone(), limits)
    }

    fn service_at<B>(
        &self,
        gateway: &Gateway,
        listener: Listener,
        limits: &Limits,
    ) -> impl Service<Request<B>, Response = Response<SocketBody>, Error = Infallible, Future: Send + 'static> + Clone + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        stack(gateway.clone(), Arc::new(Router::new(table()).unwrap()), listener, limits)
    }

    /// The same on a socket.
    async fn listen(&self, limits: &Limits) -> Connections {
        serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), self.service(limits), limits.connections, &Lag::default()).unwrap()
    }

    async fn end(self) {
        self.node.drain(Duration::from_secs(5)).await;
    }
}

fn request(method: Method, path: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(format!("/api/x{path}")).body(Full::default()).unwrap()
}

async fn shown(response: Response<SocketBody>) -> (u16, HeaderMap, Bytes) {
    let (parts, body) = response.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes())
}

fn error_type(body: &Bytes) -> String {
    serde_json::from_slice::<Value>(body).unwrap()[0]["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn panics_are_errors_of_the_api_and_tell_nothing() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits::default());
    for method in [Method::GET, Method::POST] {
        let (status, _, body) = shown(service.clone().oneshot(request(method, "/panic")).await.unwrap()).await;
        assert_eq!((status, error_type(&body).as_str()), (500, "InternalError"));
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
    setup.end().await;
}

#[tokio::test]
async fn late_answers_are_503_and_say_whether_the_outcome_is_known() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits { deadline: Duration::from_millis(20), ..Limits::default() });
    for (method, known) in [(Method::GET, true), (Method::POST, false)] {
        let (status, headers, body) = shown(service.clone().oneshot(request(method, "/never")).await.unwrap()).await;
        assert_eq!((status, error_type(&body).as_str()), (503, "ServiceUnavailable"));
        assert_eq!(headers[header::RETRY_AFTER], "1");
        assert_eq!(String::from_utf8_lossy(&body).contains("Idempotency-Key"), !known);
    }
    setup.end().await;
}

#[tokio::test]
async fn too_much_at_once_is_refused_at_once() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits { requests: 1, ..Limits::default() });
    let mut first = service.clone().oneshot(request(Method::GET, "/never")).boxed();
    assert!(futures::poll!(&mut first).is_pending());
    let (status, headers, _) = shown(service.clone().oneshot(request(Method::GET, "/hello")).await.unwrap()).await;
    assert_eq!((status, headers.contains_key(header::RETRY_AFTER)), (503, true));
    drop(first);
    assert_eq!(service.oneshot(request(Method::GET, "/hello")).await.unwrap().status(), StatusCode::OK);
    setup.end().await;
}

/// Two hundred tasks of connections that were woken and do not run.
async fn crowd(lag: &Lag) -> Vec<BoxFuture<'static, ()>> {
    let go = Arc::new(Notify::new());
    let task = |go: Arc<Notify>| async move { go.notified().await };
    let mut tasks: Vec<_> = (0..200).map(|_| lag.clone().watch(Activity::new(), task(go.clone())).boxed()).collect();
    for task in &mut tasks {
        assert!(futures::poll!(task).is_pending());
    }
    go.notify_waiters();
    tasks
}

#[tokio::test]
async fn what_cannot_be_worked_off_is_refused_before_it_is_read() {
    let setup = Setup::new().await;
    tokio::time::pause();
    let limits = Limits::default();
    let gateway = setup.gateway(&limits);
    let public = || {
        let body: http_body_util::combinators::BoxBody<Bytes, Infallible> = BodyExt::boxed(StreamBody::new(futures::stream::pending()));
        let endless = Request::builder().method(Method::POST).uri("/api/x/echo").body(body).unwrap();
        setup.service_at(&gateway, Listener::Public, &limits).oneshot(endless).boxed()
    };
    let get = |listener| setup.service_at(&gateway, listener, &limits).oneshot(request(Method::GET, "/hello"));
    let crowd = crowd(gateway.gate.lag()).await;
    for _ in 0..2 {
        assert!(futures::poll!(&mut public()).is_pending(), "let in, it waits for its body");
        tokio::time::advance(Duration::from_millis(250)).await;
    }
    let (status, headers, body) = shown(public().await.unwrap()).await;
    assert_eq!((status, headers[header::RETRY_AFTER].to_str().unwrap()), (503, "1"));
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["@type"], "CatalogError");
    for goes_on in [Listener::Admin, Listener::Ops] {
        assert_eq!(get(goes_on).await.unwrap().status(), StatusCode::OK, "{goes_on:?}");
    }
    drop(crowd);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(futures::poll!(&mut public()).is_pending(), "it is over");
    tokio::time::resume();
    setup.end().await;
}

#[tokio::test]
async fn waiting_clients_leave_room() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits { requests: 1, waits: 2, waits_each: 1, ..Limits::default() });
    let call = |path| service.clone().oneshot(request(Method::GET, path)).boxed();
    let mut first = call("/participants/a/never?wait=X");
    assert!(futures::poll!(&mut first).is_pending());
    // One participant has its share, another one its own, and then the listener has enough.
    let (status, headers, body) = shown(call("/participants/a/never?wait=X").await.unwrap()).await;
    assert_eq!((status, error_type(&body).as_str(), headers.contains_key(header::RETRY_AFTER)), (429, "TooManyRequests", true));
    // What awaits others counts with them, whatever its method.
    let awaits = |path| service.clone().oneshot(request(Method::POST, path)).boxed();
    assert_eq!(awaits("/participants/a/awaited").await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    let mut second = awaits("/participants/b/awaited");
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(call("/participants/c/never?wait=X").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    // Whoever does not wait is served all the same; a wait on something that changes is none.
    assert_eq!(call("/hello").await.unwrap().status(), StatusCode::OK);
    let echo = service.clone().oneshot(request(Method::POST, "/echo?wait=X"));
    assert_eq!(echo.await.unwrap().status(), StatusCode::OK);
    drop(first);
    let mut again = call("/participants/a/never?wait=X");
    assert!(futures::poll!(&mut again).is_pending());
    setup.end().await;
}

#[tokio::test]
async fn bodies_that_do_not_arrive_are_408() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits { body_time: Duration::from_millis(20), ..Limits::default() });
    let body: http_body_util::combinators::BoxBody<Bytes, Infallible> = BodyExt::boxed(StreamBody::new(futures::stream::pending()));
    let late = Request::builder().method(Method::POST).uri("/api/x/echo").body(body).unwrap();
    let (status, _, body) = shown(service.oneshot(late).await.unwrap()).await;
    assert_eq!((status, error_type(&body).as_str()), (408, "RequestTimeout"));
    // Nothing has begun, so that nothing is unknown.
    let service = setup.service(&Limits { deadline: Duration::from_millis(20), ..Limits::default() });
    let body: http_body_util::combinators::BoxBody<Bytes, Infallible> = BodyExt::boxed(StreamBody::new(futures::stream::pending()));
    let late = Request::builder().method(Method::POST).uri("/api/x/echo").body(body).unwrap();
    let (status, _, body) = shown(service.oneshot(late).await.unwrap()).await;
    assert_eq!((status, String::from_utf8_lossy(&body).contains("unknown")), (503, false));
    setup.end().await;
}

/// Sends bytes and reads until the other side closes.
async fn exchange(connections: &Connections, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(connections.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn targets_without_a_path_are_400() {
    let setup = Setup::new().await;
    let connections = setup.listen(&Limits::default()).await;
    for target in ["GET a:1", "CONNECT a:1", "OPTIONS *"] {
        let answer = exchange(&connections, format!("{target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
    }
    connections.drain(Duration::from_secs(5)).await;
    setup.end().await;
}

/// Reads an answer to its `text/plain` body's end, which is that of a trace context.
async fn traced(stream: &mut TcpStream) -> String {
    let (mut answer, mut bytes) = (String::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        if let Some((head, body)) = answer.split_once("\r\n\r\n")
            && body.len() == 55
        {
            assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
            return answer;
        }
    }
}

/// However requests are cut and joined on their way, each is answered, and a connection that waits for the next one ends with its listener.
#[tokio::test]
async fn connections_are_kept_between_requests() {
    // Where there are few, and where one is many.
    for connections in [Limits::default().connections, 8] {
        kept_between_requests(&Limits { connections, ..Limits::default() }).await;
    }
}

async fn kept_between_requests(limits: &Limits) {
    let setup = Setup::new().await;
    let connections = setup.listen(limits).await;
    let get = "GET /api/x/hello HTTP/1.1\r\nhost: a\r\n\r\n";
    let (begin, end) = get.split_at(20);
    let post = "POST /api/x/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 55\r\n\r\n";
    let body = "0".repeat(55);
    let mut stream = TcpStream::connect(connections.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for (sent, answered) in [
        (get.to_owned(), true),
        (get.to_owned(), true),
        (format!("{get}{begin}"), true),
        (end.to_owned(), true),
        (begin.to_owned(), false),
        (format!("{end}{post}"), true),
        (format!("{body}{begin}"), true),
        (end.to_owned(), true),
    ] {
        stream.write_all(sent.as_bytes()).await.unwrap();
        if answered {
            traced(&mut stream).await;
        }
    }
    let started = tokio::time::Instant::now();
    connections.drain(Duration::from_secs(20)).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    setup.end().await;
}

/// The answer to a request that is not read whole reaches a client that sends first and reads then.
#[tokio::test]
async fn refusals_of_large_bodies_are_read() {
    let setup = Setup::new().await;
    let connections = setup.listen(&Limits { body: 8, ..Limits::default() }).await;
    let length = 4 << 20;
    let mut bytes = format!("POST /api/x/echo HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    let answer = exchange(&connections, &bytes).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("PayloadTooLarge"), "{answer}");
    connections.drain(Duration::from_secs(5)).await;
    setup.end().await;
}

/// Tells when it is dropped.
struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_stand_still_are_cut_and_those_that_wait_are_not() {
    let (sent, mut dropped) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: SocketRequest| {
        let guard = Dropped(sent.clone());
        async move {
            let body: SocketBody = match request.uri().path() {
                "/endless" => {
                    let chunks = futures::stream::repeat_with(move || {
                        let _held = &guard;
                        Ok::<_, io::Error>(Frame::data(Bytes::from_static(&[0; 16 << 10])))
                    });
                    StreamBody::new(chunks).boxed_unsync()
                }
                "/slow-stream" => {
                    let later = futures::stream::once(async {
                        tokio::time::sleep(Duration::from_secs(600)).await;
                        Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"at last")))
                    });
                    StreamBody::new(later.boxed()).boxed_unsync()
                }
                _ => {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                    Full::new(Bytes::from_static(b"at last")).map_err(|never| match never {}).boxed_unsync()
                }
            };
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let connections = serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), service, 16, &Lag::default()).unwrap();
    let minute = |started: tokio::time::Instant| started.elapsed() < Duration::from_secs(70);
    for silent in ["", "PRI * HT", "GET / HT"] {
        let started = tokio::time::Instant::now();
        assert_eq!(exchange(&connections, silent.as_bytes()).await, "", "{silent}");
        assert!(minute(started), "{silent}: {:?}", started.elapsed());
    }
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    // A stream that nobody reads.
    let started = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(connections.address()).await.unwrap();
    stream.write_all(get("/endless").as_bytes()).await.unwrap();
    dropped.recv().await.unwrap();
    assert!(minute(started), "{:?}", started.elapsed());
    for waits in ["/slow-answer", "/slow-stream"] {
        let answer = exchange(&connections, get(waits).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("at last"), "{waits}: {answer}");
    }
    connections.drain(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_change_ends_although_its_client_left() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits::default());
    let client = tokio::spawn(service.oneshot(request(Method::POST, "/change")));
    STARTED.notified().await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    GO_ON.add_permits(1);
    tokio::time::timeout(Duration::from_secs(30), FINISHED.notified()).await.expect("the change went on");
    setup.tasks.close();
    setup.tasks.wait().await;
    setup.end().await;
}

#[tokio::test]
async fn bodies_pass_whole() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits { body: 8, ..Limits::default() });
    let call = |request| service.clone().oneshot(request);
    let (_, headers, body) = shown(call(request(Method::GET, "/stream")).await.unwrap()).await;
    assert_eq!((body.as_ref(), headers.get(header::CONTENT_LENGTH)), (&b"chunk 0;chunk 1;chunk 2;"[..], None));
    let (_, headers, whole) = shown(call(request(Method::GET, "/hello")).await.unwrap()).await;
    assert_eq!(headers[header::CONTENT_LENGTH], whole.len().to_string().as_str());
    let (status, headers, body) = shown(call(request(Method::HEAD, "/hello")).await.unwrap()).await;
    assert_eq!((status, headers[header::CONTENT_LENGTH].to_str().unwrap(), body.len()), (200, whole.len().to_string().as_str(), 0));

    let service = setup.service(&Limits { body: 8, ..Limits::default() });
    let post = |body| {
        let body: http_body_util::combinators::BoxBody<Bytes, Infallible> = body;
        service.clone().oneshot(Request::builder().method(Method::POST).uri("/api/x/echo").body(body).unwrap())
    };
    // In chunks, so that nothing tells the length beforehand.
    let chunks = |count: usize| {
        BodyExt::boxed(StreamBody::new(futures::stream::repeat(Bytes::from_static(b"1234")).take(count).map(|c| Ok(Frame::data(c)))))
    };
    let (status, _, body) = shown(post(chunks(2)).await.unwrap()).await;
    assert_eq!((status, body.as_ref()), (200, &b"12341234"[..]));
    let (status, _, body) = shown(post(chunks(3)).await.unwrap()).await;
    assert_eq!((status, error_type(&body).as_str()), (413, "PayloadTooLarge"));
    setup.end().await;
}

#[tokio::test]
async fn every_request_has_a_span_of_its_own_in_the_callers_trace() {
    let setup = Setup::new().await;
    let service = setup.service(&Limits::default());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut traced = request(Method::GET, "/hello");
    traced.headers_mut().insert("traceparent", parent.parse().unwrap());
    let (_, _, seen) = shown(service.clone().oneshot(traced).await.unwrap()).await;
    assert_eq!(seen[..35], parent.as_bytes()[..35]);
    assert_ne!(seen, parent.as_bytes());
    let (_, _, fresh) = shown(service.clone().oneshot(request(Method::GET, "/hello")).await.unwrap()).await;
    assert_eq!(fresh.len(), parent.len());
    let (status, _, body) = shown(service.oneshot(request(Method::GET, "/nothing")).await.unwrap()).await;
    assert_eq!((status, error_type(&body).as_str()), (404, "ObjectNotFound"));
    setup.end().await;
}
