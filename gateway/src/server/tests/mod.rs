//! The stack around handlers that misbehave, and clients that do.

mod bodies;
mod connections;
mod limits;
mod tls;

use super::{Connections, Gateway, Lag, Limits, ListenerTls, answer::SocketBody, serve, stack};
use crate::{
    App, Node, NodeConfig, Ports,
    http::{Access, Api, ApiError, Body, Listener, Reply, Request as Matched, Route, Router, Verb, route::Handler},
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpListener,
    sync::{Notify, Semaphore},
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
        self.listen_over(None, limits).await
    }

    async fn listen_over(&self, tls: Option<Arc<ListenerTls>>, limits: &Limits) -> Connections {
        serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), tls, self.service(limits), limits.connections, &Lag::default()).unwrap()
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
    let service = setup.service(&Limits { deadline: Duration::from_millis(500), ..Limits::default() });
    for (method, known) in [(Method::GET, true), (Method::POST, false)] {
        let (status, headers, body) = shown(service.clone().oneshot(request(method, "/never")).await.unwrap()).await;
        assert_eq!((status, error_type(&body).as_str()), (503, "ServiceUnavailable"));
        assert_eq!(headers[header::RETRY_AFTER], "1");
        assert_eq!(String::from_utf8_lossy(&body).contains("Idempotency-Key"), !known);
    }
    setup.end().await;
}

/// Reads an answer to its `text/plain` body's end, which is that of a trace context.
async fn traced(stream: &mut (impl AsyncRead + Unpin)) -> String {
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
