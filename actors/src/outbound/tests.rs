//! What the client promises, against a server that says what it was asked.

use super::{OutboundError, OutboundHttp, OutboundOptions, OutboundRequest, TURN_BYTES, whole};
use cellspace_cluster::trace;
use cellspace_schemas::TraceContext;
use http::{Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tracing::info_span;
use url::Url;

/// A server that gives every connection this answer; its URL, and the heads of the requests.
async fn server(answer: &'static str) -> (Url, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/a", listener.local_addr().unwrap())).unwrap();
    let (sent, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            sent.send(String::from_utf8(head).unwrap().to_ascii_lowercase()).unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.flush().await.unwrap();
        }
    });
    (url, received)
}

fn get(url: &Url) -> OutboundRequest {
    OutboundRequest { method: Method::GET, url: url.clone(), bearer: None, body: None, accept: None, trace: None }
}

fn client(options: OutboundOptions) -> OutboundHttp {
    OutboundHttp::new(OutboundOptions { allow_private: true, ..options }).unwrap()
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_server_is_reached() {
    let (url, _heads) = server(EMPTY).await;
    assert_eq!(client(OutboundOptions::default()).send(get(&url)).await.unwrap().status, StatusCode::OK);
}

/// The test above in a process whose environment names proxies, none of which is there.
#[test]
fn proxies_of_the_environment_are_not_asked() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let name = concat!(module_path!(), "::a_server_is_reached");
    let output =
        command.args(["--exact", name.split_once("::").unwrap().1]).env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
async fn one_origin_and_no_other() {
    let ((url, _heads), (other, _others)) = (server(EMPTY).await, server(EMPTY).await);
    let only = OutboundHttp::towards(url.origin(), OutboundOptions::default()).unwrap();
    assert_eq!(only.send(get(&url)).await.unwrap().status, StatusCode::OK);
    for other in [other, Url::parse("https://example.com/a").unwrap()] {
        assert!(matches!(only.send(get(&other)).await, Err(OutboundError::Forbidden(_))), "{other}");
        assert!(matches!(only.post_form(other, &[]).await, Err(OutboundError::Forbidden(_))));
    }
    // A client for counterparties does not reach it.
    let public = OutboundHttp::new(OutboundOptions::default()).unwrap();
    assert!(matches!(public.send(get(&url)).await, Err(OutboundError::Forbidden(_))));
}

#[tokio::test]
async fn redirects_are_answers() {
    let (url, mut heads) = server("HTTP/1.1 302 Found\r\nlocation: /b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    assert_eq!(client(OutboundOptions::default()).send(get(&url)).await.unwrap().status, StatusCode::FOUND);
    assert!(heads.recv().await.unwrap().starts_with("get /a ") && heads.try_recv().is_err());
}

#[tokio::test]
async fn size_and_time_are_bounded() {
    let (url, _heads) = server("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\n123456789").await;
    assert_eq!(client(OutboundOptions { max_body: 9, ..OutboundOptions::default() }).send(get(&url)).await.unwrap().body.len(), 9);
    let small = client(OutboundOptions { max_body: 8, ..OutboundOptions::default() });
    assert!(matches!(small.send(get(&url)).await, Err(OutboundError::TooLarge(_, 8))));
    let usual = client(OutboundOptions::default());
    assert!(
        matches!(usual.send_unless(get(&url), None, 8).await, Err(OutboundError::TooLarge(_, 8))),
        "less is expected than could be read"
    );
    let (url, _heads) = server("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n123456789").await;
    assert!(matches!(usual.send_unless(get(&url), None, 8).await, Err(OutboundError::TooLarge(_, 8))), "no length was announced");
    let (url, _heads) = server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234").await;
    let hasty = client(OutboundOptions { timeout: Duration::from_millis(50), ..OutboundOptions::default() });
    assert!(hasty.send(get(&url)).await.is_err());
}

/// All of it is there already, and yet others run in between.
#[tokio::test]
async fn a_long_answer_leaves_others_their_turns() {
    const CHUNKS: usize = 8;
    let chunks = (0..CHUNKS).map(|_| Ok::<_, std::io::Error>(vec![0; TURN_BYTES]));
    let answer = http::Response::new(reqwest::Body::wrap_stream(futures::stream::iter(chunks)));
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let others = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let body = whole(answer.into(), "somebody", CHUNKS * TURN_BYTES).await.unwrap().body;
    others.abort();
    assert_eq!(body.len(), CHUNKS * TURN_BYTES);
    assert!(turns.load(Ordering::Relaxed) >= CHUNKS / 2, "{turns:?}");
}

#[tokio::test]
async fn a_post_has_its_headers_and_takes_the_status_alone() {
    let (url, mut heads) = server("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    let post = async |http: OutboundHttp, url: &Url| {
        let headers = http::HeaderMap::from_iter([(http::HeaderName::from_static("x-key"), http::HeaderValue::from_static("k"))]);
        http.post(url.clone(), headers, "{}".into(), None, 8).await
    };
    let usual = || client(OutboundOptions::default());
    assert_eq!(post(usual(), &url).await.unwrap().status, StatusCode::NO_CONTENT);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("post /a ") && head.contains("x-key: k\r\n") && head.contains("content-type: application/json\r\n"), "{head}");
    for long in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n123456789",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n123456789",
    ] {
        let (url, _heads) = server(long).await;
        let answer = post(usual(), &url).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    }
    let (url, mut heads) =
        server("HTTP/1.1 307 Temporary Redirect\r\nlocation: /b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    assert_eq!(post(usual(), &url).await.unwrap().status, StatusCode::TEMPORARY_REDIRECT);
    assert!(heads.recv().await.is_some() && heads.try_recv().is_err());
    let public = OutboundHttp::new(OutboundOptions::default()).unwrap();
    assert!(matches!(post(public, &url).await, Err(OutboundError::Forbidden(_))));
}

#[tokio::test]
async fn the_tag_that_is_known_is_sent() {
    let (url, mut heads) = server("HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n").await;
    let answer = client(OutboundOptions::default()).send_unless(get(&url), Some("\"7\""), usize::MAX).await.unwrap();
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    assert!(heads.recv().await.unwrap().contains("if-none-match: \"7\"\r\n"));
}

#[tokio::test]
async fn an_exchange_continues_the_span_at_work() {
    let (url, mut heads) = server(EMPTY).await;
    let http = client(OutboundOptions::default());
    let given = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let mut sent = async |request: OutboundRequest| {
        http.send(request).await.unwrap();
        let head = heads.recv().await.unwrap();
        let (_, value) = head.split_once("traceparent: ").unwrap();
        TraceContext::parse(value.lines().next().unwrap()).unwrap()
    };
    let context = sent(OutboundRequest { trace: Some(given.clone()), ..get(&url) }).await;
    assert_eq!(context.trace_id(), given.trace_id());
    assert_ne!(context, given, "a span of its own");
    let (outer, context) = trace::within(info_span!("work"), None, async { (trace::current().unwrap(), sent(get(&url)).await) }).await;
    assert_eq!(context.trace_id(), outer.trace_id());
    assert_ne!(context.trace_id(), given.trace_id());
}

/// Answers a name with a public address, then with the one that its owner really wants to be called at.
#[derive(Debug)]
struct Rebinding(Arc<AtomicUsize>);

impl Resolve for Rebinding {
    fn resolve(&self, _: Name) -> Resolving {
        let asked = self.0.fetch_add(1, Ordering::SeqCst);
        let address = if asked == 0 { [127, 0, 0, 1] } else { [127, 0, 0, 2] };
        Box::pin(async move { Ok(Box::new(std::iter::once(SocketAddr::from((address, 0)))) as Addrs) })
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_for_check_and_connection() {
    let (url, mut heads) = server(EMPTY).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let options = OutboundOptions { allow_private: true, ..OutboundOptions::default() };
    let client = OutboundHttp::resolving(options, None, Some(Arc::new(Rebinding(asked.clone())))).unwrap();
    let named = Url::parse(&format!("http://rebinding.example:{}/a", url.port().unwrap())).unwrap();
    // The server listens at the first address alone.
    assert_eq!(client.send(get(&named)).await.unwrap().status, StatusCode::OK);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(heads.recv().await.is_some());
}

#[tokio::test]
async fn credentials_in_a_url_are_not_sent() {
    let (mut url, mut heads) = server(EMPTY).await;
    url.set_username("admin").unwrap();
    let client = client(OutboundOptions::default());
    assert!(matches!(client.send(get(&url)).await, Err(OutboundError::Forbidden(_))));
    assert!(matches!(client.post_form(url, &[]).await, Err(OutboundError::Forbidden(_))));
    assert!(heads.try_recv().is_err());
}

#[tokio::test]
async fn codings_are_not_undone() {
    // gzip of one byte; whoever undid the coding would answer `a`.
    let (url, mut heads) =
        server("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\nconnection: close\r\n\r\n\x1f\x01\x02").await;
    let answer = client(OutboundOptions::default()).send(get(&url)).await.unwrap();
    assert_eq!(&answer.body[..], b"\x1f\x01\x02");
    assert!(!heads.recv().await.unwrap().contains("accept-encoding"));
}
