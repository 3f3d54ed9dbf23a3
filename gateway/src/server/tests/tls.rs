//! Listeners with a certificate: what is spoken, who is let in, who takes its time.

use super::{Setup, connections::exchange};
use crate::{
    crypto,
    server::{Connections, Lag, Limits, ListenerTls, TlsFiles, activity::SocketRequest, answer::SocketBody, serve},
};
use bytes::Bytes;
use cellspace_cluster::{Clock, SystemClock, link::Authority};
use futures::future::join_all;
use http::{Response, Version};
use http_body_util::{BodyExt, Full};
use reqwest::Client;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{convert::Infallible, fs, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, and what it has given to the listeners.
pub(super) struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    pub(super) fn new() -> Self {
        crypto::install();
        let certificates = Self { dir: tempfile::tempdir().unwrap() };
        certificates.replace(true, true);
        certificates
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a new authority in the place of the one before, and what it gives out in the place of these files.
    fn replace(&self, certificate: bool, key: bool) {
        let made = Authority::make("c", SystemClock.now()).unwrap();
        let authority = Authority::open("c", &made.certificate, &made.key).unwrap();
        let issued = authority.issue_to(&["localhost".to_owned(), "127.0.0.1".to_owned()], SystemClock.now()).unwrap();
        fs::write(self.file("ca.pem"), made.certificate).unwrap();
        for (name, text) in [("c.pem", issued.certificate.clone()), ("k.pem", issued.key.clone())] {
            if (name == "c.pem" && certificate) || (name == "k.pem" && key) {
                fs::write(self.file(name), text).unwrap();
            }
        }
        fs::write(self.file("next-c.pem"), issued.certificate).unwrap();
    }

    pub(super) fn listener(&self) -> Arc<ListenerTls> {
        ListenerTls::load(TlsFiles { certificate: self.file("c.pem"), key: self.file("k.pem") }).unwrap()
    }

    /// One that believes the present authority alone.
    fn client(&self, change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Client {
        change(Client::builder().tls_certs_only(crypto::authorities(&self.file("ca.pem")).unwrap())).build().unwrap()
    }

    /// A connection after its handshake, in which this is offered to be spoken.
    pub(super) async fn connect(&self, connections: &Connections, spoken: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for authority in cellspace_cluster::link::certificates(&self.file("ca.pem")).unwrap() {
            roots.add(authority).unwrap();
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = spoken.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(connections.address()).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

fn hello(connections: &Connections) -> String {
    format!("https://localhost:{}/api/x/hello", connections.address().port())
}

#[tokio::test]
async fn a_client_speaks_what_it_likes_best_and_believes_whom_it_knows() {
    let (setup, certificates) = (Setup::new().await, Certificates::new());
    let connections = setup.listen_over(Some(certificates.listener()), &Limits::default()).await;
    let url = hello(&connections);
    for (client, version) in [
        (certificates.client(|any| any), Version::HTTP_2),
        (certificates.client(|any| any.http1_only()), Version::HTTP_11),
        (certificates.client(|any| any.tls_version_max(reqwest::tls::Version::TLS_1_2)), Version::HTTP_2),
    ] {
        for _ in 0..2 {
            let answer = client.get(&url).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        }
    }
    // One that says nothing of it speaks HTTP/1.1.
    let mut stream = certificates.connect(&connections, &[]).await.unwrap();
    stream.write_all(b"GET /api/x/hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(certificates.connect(&connections, &[b"h3"]).await.is_err(), "nothing in common");
    // Another's authority, another's name, and no encryption at all: each is told so at once.
    assert!(Certificates::new().client(|any| any).get(&url).send().await.is_err());
    let elsewhere = url.replace("localhost", "elsewhere");
    let named = certificates.client(|any| any.resolve("elsewhere", connections.address()));
    assert!(named.get(&elsewhere).send().await.is_err());
    let plain = timeout(PATIENCE, exchange(&connections, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")).await.unwrap();
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
    connections.drain(Duration::from_secs(5)).await;
    setup.end().await;
}

/// What new connections are shown is what the files hold; while they do not fit together it is what they held before.
#[tokio::test]
async fn certificates_are_read_anew_when_they_change() {
    let (setup, certificates) = (Setup::new().await, Certificates::new());
    let connections = setup.listen_over(Some(certificates.listener()), &Limits::default()).await;
    let url = hello(&connections);
    let before = certificates.client(|any| any.pool_max_idle_per_host(0));
    assert_eq!(before.get(&url).send().await.unwrap().status().as_u16(), 200);
    certificates.replace(false, true);
    let after = certificates.client(|any| any.pool_max_idle_per_host(0));
    // Long enough that the files were looked at.
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!(before.get(&url).send().await.unwrap().status().as_u16(), 200);
        assert!(after.get(&url).send().await.is_err());
    }
    fs::copy(certificates.file("next-c.pem"), certificates.file("c.pem")).unwrap();
    let changed = async { while after.get(&url).send().await.is_err() {} };
    timeout(PATIENCE, changed).await.unwrap();
    assert!(before.get(&url).send().await.is_err());
    connections.drain(Duration::from_secs(5)).await;
    setup.end().await;
}

/// Those who do not go on with their handshake keep nobody out, however many they are.
#[tokio::test]
async fn handshakes_that_take_their_time_make_room() {
    let (setup, certificates) = (Setup::new().await, Certificates::new());
    let connections = setup.listen_over(Some(certificates.listener()), &Limits { connections: 16, ..Limits::default() }).await;
    let silent = join_all((0..48).map(|_| TcpStream::connect(connections.address()))).await;
    let mut silent: Vec<TcpStream> = silent.into_iter().map(Result::unwrap).collect();
    for stream in &mut silent {
        // A beginning of a record of 64 bytes.
        stream.write_all(&[22, 3, 1, 0, 64]).await.unwrap();
    }
    let client = certificates.client(|any| any);
    // Their time is not over.
    let answer = timeout(Duration::from_secs(8), client.get(hello(&connections)).send()).await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    // The first of them were told to go.
    assert_eq!(timeout(PATIENCE, silent[0].read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
    drop(silent);
    connections.drain(Duration::from_secs(5)).await;
    setup.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_takes_no_place_for_ever() {
    let certificates = Certificates::new();
    let service = tower::service_fn(|_: SocketRequest| async {
        let body: SocketBody = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        Ok::<_, Infallible>(Response::new(body))
    });
    let tls = Some(certificates.listener());
    let connections = serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), tls, service, 16, &Lag::default()).unwrap();
    let began = Instant::now();
    assert_eq!(exchange(&connections, &[22, 3, 1]).await, "");
    // Not as one that stands still after it.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    connections.drain(Duration::from_secs(5)).await;
}

/// An answer that is taken slowly comes whole, and what is asked after it is answered, on a connection that keeps nothing between requests.
#[tokio::test]
async fn what_is_encrypted_waits_for_its_reader() {
    let (setup, certificates) = (Setup::new().await, Certificates::new());
    let limits = Limits { connections: 8, body: 8 << 20, ..Limits::default() };
    let connections = setup.listen_over(Some(certificates.listener()), &limits).await;
    let mut stream = certificates.connect(&connections, &[b"http/1.1"]).await.unwrap();
    let length = 6 << 20;
    for _ in 0..2 {
        let head = format!("POST /api/x/echo HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![1; length]).await.unwrap();
        stream.flush().await.unwrap();
        let (mut read, mut bytes) = (0, vec![0; 1_000]);
        while read < length {
            let got = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
            assert!(got > 0, "cut off after {read}");
            read += bytes[..got].iter().filter(|byte| **byte == 1).count();
            tokio::task::yield_now().await;
        }
        assert_eq!(read, length);
    }
    connections.drain(Duration::from_secs(5)).await;
    setup.end().await;
}
