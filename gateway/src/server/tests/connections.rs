//! Connections: what is kept between requests, who is cut off, and what goes on without its client.

use super::{FINISHED, GO_ON, STARTED, Setup, request, tls::Certificates, traced};
use crate::server::{Connections, Lag, Limits, activity::SocketRequest, answer::SocketBody, serve};
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use std::{convert::Infallible, io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tower::ServiceExt;

/// Sends bytes and reads until the other side closes.
pub(super) async fn exchange(connections: &Connections, bytes: &[u8]) -> String {
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

/// However requests are cut and joined on their way, each is answered, and a connection that waits for the next one ends with its listener.
#[tokio::test]
async fn connections_are_kept_between_requests() {
    // Where there are few, and where one is many.
    for connections in [Limits::default().connections, 8] {
        let limits = Limits { connections, ..Limits::default() };
        let setup = Setup::new().await;
        let connections = setup.listen(&limits).await;
        let stream = TcpStream::connect(connections.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        kept_between_requests(setup, connections, stream).await;

        let (setup, certificates) = (Setup::new().await, Certificates::new());
        let connections = setup.listen_over(Some(certificates.listener()), &limits).await;
        let stream = certificates.connect(&connections, &[b"http/1.1"]).await.unwrap();
        kept_between_requests(setup, connections, stream).await;
    }
}

async fn kept_between_requests(setup: Setup, connections: Connections, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let get = "GET /api/x/hello HTTP/1.1\r\nhost: a\r\n\r\n";
    let (begin, end) = get.split_at(20);
    let post = "POST /api/x/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 55\r\n\r\n";
    let body = "0".repeat(55);
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
            tokio::time::timeout(Duration::from_secs(30), traced(&mut stream)).await.unwrap();
        }
    }
    let started = tokio::time::Instant::now();
    connections.drain(Duration::from_secs(20)).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
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
    let connections = serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, service, 16, &Lag::default()).unwrap();
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
