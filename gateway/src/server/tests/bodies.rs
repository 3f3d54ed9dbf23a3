//! Bodies of requests and answers.

use super::{Setup, connections::exchange, error_type, request, shown};
use crate::server::Limits;
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::{convert::Infallible, time::Duration};
use tower::ServiceExt;

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
