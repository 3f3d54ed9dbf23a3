//! Counterparties that want to hold the platform up: their DID documents, or their presentations, come slowly, without end, or not at all.

use crate::world::Party;
use anyhow::{Context, Result};
use bytes::Bytes;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Document,
    Presentation,
}

/// How it does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// A byte now and then.
    Slowly,
    /// As fast as it is taken, for ever.
    Endlessly,
    /// Not even a head.
    Silently,
}

const KINDS: [(What, How); 6] = [
    (What::Document, How::Slowly),
    (What::Document, How::Endlessly),
    (What::Document, How::Silently),
    (What::Presentation, How::Slowly),
    (What::Presentation, How::Endlessly),
    (What::Presentation, How::Silently),
];
/// Between two bytes of a slow one.
const DRIP: Duration = Duration::from_millis(100);
/// Longest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// A host of each kind.
pub struct Hostile {
    seed: u64,
    ports: Vec<u16>,
    next: AtomicUsize,
    called: AtomicU64,
}

impl Hostile {
    /// Serves them on free loopback ports as long as the process lives.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn open(seed: u64) -> Result<Arc<Self>> {
        let mut listeners = Vec::new();
        for kind in KINDS {
            listeners.push((kind, TcpListener::bind("127.0.0.1:0").await?));
        }
        let ports = listeners.iter().map(|(_, listener)| Ok(listener.local_addr()?.port())).collect::<Result<_>>()?;
        let hostile = Arc::new(Self { seed, ports, next: AtomicUsize::new(0), called: AtomicU64::new(0) });
        for (kind, listener) in listeners {
            let hostile = hostile.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    hostile.called.fetch_add(1, Ordering::Relaxed);
                    let hostile = hostile.clone();
                    // Ends when the platform closes.
                    tokio::spawn(async move { hostile.serve(stream, kind).await });
                }
            });
        }
        Ok(hostile)
    }

    /// Another counterparty each time, of one kind after the other.
    ///
    /// # Errors
    /// When its seed makes no key.
    pub fn guest(&self) -> Result<Party> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let port = *self.ports.get(number % KINDS.len()).context("a port")?;
        self.party(port, number)
    }

    /// Connections that the platform made.
    pub fn called(&self) -> u64 {
        self.called.load(Ordering::Relaxed)
    }

    fn party(&self, port: u16, number: usize) -> Result<Party> {
        let mut seed = [0x5a; 32];
        for (to, from) in seed.iter_mut().zip(self.seed.to_le_bytes().into_iter().chain(number.to_le_bytes())) {
            *to = from;
        }
        Party::new(format!("did:web:127.0.0.1%3A{port}:guest-{number}"), number, seed)
    }

    async fn serve(&self, mut stream: TcpStream, (what, how): (What, How)) -> io::Result<()> {
        let asked = head(&mut stream).await?;
        let port = stream.local_addr()?.port();
        let number = asked.split("/guest-").nth(1).and_then(|rest| rest.split(['/', ' ']).next()?.parse().ok());
        let is_document = asked.split(' ').nth(1).is_some_and(|path| path.ends_with("/did.json"));
        match number {
            Some(number) if is_document && what == What::Presentation => {
                let party = self.party(port, number).map_err(io::Error::other)?;
                let base = format!("http://127.0.0.1:{port}/guest-{number}");
                give(&mut stream, &party.document(&[("CredentialService", base.clone()), ("ProtocolEndpoint", format!("{base}/dsp"))]))
                    .await
            }
            _ => withhold(&mut stream, how).await,
        }
    }
}

/// The head of a request, as text.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn give(stream: &mut TcpStream, body: &Bytes) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// Until the other side has had enough.
async fn withhold(stream: &mut TcpStream, how: How) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match how {
        How::Slowly => {
            stream.write_all(format!("{head}content-length: 100000\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(b" ").await?;
                sleep(DRIP).await;
            }
        }
        How::Endlessly => {
            stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        How::Silently => {
            let mut rest = [0; 1_024];
            while stream.read(&mut rest).await? > 0 {}
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    async fn ask(port: u16, path: &str) -> (String, bool) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let reads = async { while heard.len() < 4 << 20 && stream.read_buf(&mut heard).await.unwrap() > 0 {} };
        let ended = timeout(Duration::from_millis(200), reads).await.is_ok();
        (String::from_utf8(heard).unwrap(), ended)
    }

    #[tokio::test]
    async fn each_kind_withholds_what_it_says() {
        let hostile = Hostile::open(7).await.unwrap();
        for (n, (what, how)) in KINDS.into_iter().enumerate() {
            let port = hostile.ports[n];
            let guest = hostile.guest().unwrap();
            assert_eq!(guest.identity.did, format!("did:web:127.0.0.1%3A{port}:guest-{n}"));
            let (document, ended) = ask(port, &format!("/guest-{n}/did.json")).await;
            if what == What::Presentation {
                assert!(ended && document.contains(&guest.identity.did), "{document}");
            }
            let path = if what == What::Document { "did.json" } else { "presentations/query" };
            let (heard, _) = ask(port, &format!("/guest-{n}/{path}")).await;
            match how {
                How::Slowly => assert!(heard.contains("content-length: 100000") && heard.len() < 1_000, "{heard}"),
                How::Endlessly => assert!(heard.len() >= 4 << 20, "{}", heard.len()),
                How::Silently => assert_eq!(heard, ""),
            }
        }
        assert_eq!(hostile.called(), 12);
    }
}
