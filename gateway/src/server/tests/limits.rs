//! What is let in, and what is refused while more comes.

use super::{Setup, error_type, request, shown};
use crate::{
    http::Listener,
    server::{Lag, Limits, activity::Activity},
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::Notify;
use tower::ServiceExt;

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
