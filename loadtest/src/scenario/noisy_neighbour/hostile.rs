//! Counterparties that want to hold the platform up or lead it astray: their DID documents, or their presentations, do not come, or are not theirs, or are nothing.

use crate::world::{Party, now};
use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::json;
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

/// What does not come as it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Document,
    Presentation,
}

/// What comes in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// A byte now and then.
    Slow,
    /// As much as is taken, for ever.
    Endless,
    /// Not even a head.
    Silent,
    /// A redirect to an address that is private.
    Redirecting,
    /// That of another one.
    Anothers,
    /// Bytes that mean nothing.
    Garbage,
    /// Nothing but depth.
    Deep,
    /// The beginning, and then the connection's end.
    ClosedEarly,
}

const HOWS: [How; 8] = [How::Slow, How::Endless, How::Silent, How::Redirecting, How::Anothers, How::Garbage, How::Deep, How::ClosedEarly];
/// How many kinds there are: everything of both.
const KINDS: usize = 2 * HOWS.len();

fn kinds() -> impl Iterator<Item = (What, How)> {
    [What::Document, What::Presentation].into_iter().flat_map(|what| HOWS.into_iter().map(move |how| (what, how)))
}

/// More than a parser may follow, and less than a document may have.
const DEPTH: usize = 10_000;
/// Between two bytes of a slow one.
const DRIP: Duration = Duration::from_millis(100);
/// Longest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// A host of each kind.
pub struct Hostile {
    seed: u64,
    ports: Vec<u16>,
    next: AtomicUsize,
    called: [AtomicU64; KINDS],
    /// Where redirects lead: nobody may come there.
    trap: u16,
    trapped: AtomicU64,
}

impl Hostile {
    /// Serves them on free loopback ports as long as the process lives.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn open(seed: u64) -> Result<Arc<Self>> {
        let mut listeners = Vec::new();
        for kind in kinds() {
            listeners.push((kind, TcpListener::bind("127.0.0.1:0").await?));
        }
        let trap = TcpListener::bind("127.0.0.1:0").await?;
        let ports = listeners.iter().map(|(_, listener)| Ok(listener.local_addr()?.port())).collect::<Result<_>>()?;
        let (next, called, trapped) = (AtomicUsize::new(0), Default::default(), AtomicU64::new(0));
        let hostile = Arc::new(Self { seed, ports, next, called, trap: trap.local_addr()?.port(), trapped });
        let watched = hostile.clone();
        tokio::spawn(async move {
            while trap.accept().await.is_ok() {
                watched.trapped.fetch_add(1, Ordering::Relaxed);
            }
        });
        for (n, (kind, listener)) in listeners.into_iter().enumerate() {
            let hostile = hostile.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let hostile = hostile.clone();
                    // Ends when the platform closes.
                    tokio::spawn(async move { hostile.serve(stream, n, kind).await });
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
        let port = *self.ports.get(number % KINDS).context("a port")?;
        self.party(port, number)
    }

    /// How often the platform asked each kind for what does not come as it must, by the kind's name.
    pub fn called(&self) -> impl Iterator<Item = (String, u64)> {
        let named = kinds().map(|(what, how)| format!("{what:?} {how:?}"));
        named.zip(self.called.iter().map(|called| called.load(Ordering::Relaxed)))
    }

    /// Redirects to a private address that it followed.
    pub fn trapped(&self) -> u64 {
        self.trapped.load(Ordering::Relaxed)
    }

    fn party(&self, port: u16, number: usize) -> Result<Party> {
        let mut seed = [0x5a; 32];
        for (to, from) in seed.iter_mut().zip(self.seed.to_le_bytes().into_iter().chain(number.to_le_bytes())) {
            *to = from;
        }
        Party::new(format!("did:web:127.0.0.1%3A{port}:guest-{number}"), number, seed)
    }

    async fn serve(&self, mut stream: TcpStream, n: usize, (what, how): (What, How)) -> io::Result<()> {
        let asked = head(&mut stream).await?;
        let port = stream.local_addr()?.port();
        let number = asked.split("/guest-").nth(1).and_then(|rest| rest.split(['/', ' ']).next()?.parse().ok());
        let is_document = asked.split(' ').nth(1).is_some_and(|path| path.ends_with("/did.json"));
        if let Some(called) = self.called.get(n).filter(|_| is_document == (what == What::Document)) {
            called.fetch_add(1, Ordering::Relaxed);
        }
        match number {
            Some(number) if is_document && what == What::Presentation => give(&mut stream, &self.document(port, number)?).await,
            Some(number) if how == How::Anothers => {
                let another = if is_document { self.document(port, number + 1)? } else { self.presentation(port, number + 1)? };
                give(&mut stream, &another).await
            }
            _ => withhold(&mut stream, how, self.trap).await,
        }
    }

    fn document(&self, port: u16, number: usize) -> io::Result<Bytes> {
        let party = self.party(port, number).map_err(io::Error::other)?;
        let base = format!("http://127.0.0.1:{port}/guest-{number}");
        Ok(party.document(&[("CredentialService", base.clone()), ("ProtocolEndpoint", format!("{base}/dsp"))]))
    }

    /// What this one would present, whoever asks.
    fn presentation(&self, port: u16, number: usize) -> io::Result<Bytes> {
        let party = self.party(port, number).map_err(io::Error::other)?;
        let presentation = json!({
            "@context": ["https://www.w3.org/ns/credentials/v2"], "type": ["VerifiablePresentation"], "holder": party.identity.did,
            "iss": party.identity.did, "iat": now(), "exp": now() + 3_600, "verifiableCredential": [],
        });
        let presentation = party.identity.typed("vp+jwt", &presentation);
        let context = ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"];
        Ok(json!({"@context": context, "type": "PresentationResponseMessage", "presentation": [presentation]}).to_string().into())
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
async fn withhold(stream: &mut TcpStream, how: How, trap: u16) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match how {
        How::Redirecting => {
            let head =
                format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{trap}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.shutdown().await
        }
        How::Deep => give(stream, &format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)).into()).await,
        // What is another one's is given, not withheld; to a path of nobody this is all that is said.
        How::Garbage | How::Anothers => give(stream, &Bytes::from_static(&[0xff; 1_024])).await,
        How::ClosedEarly => {
            stream.write_all(format!("{head}content-length: 100000\r\n\r\n{{").as_bytes()).await?;
            stream.shutdown().await
        }
        How::Slow => {
            stream.write_all(format!("{head}content-length: 100000\r\n\r\n").as_bytes()).await?;
            loop {
                stream.write_all(b" ").await?;
                sleep(DRIP).await;
            }
        }
        How::Endless => {
            stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        How::Silent => {
            let mut rest = [0; 1_024];
            while stream.read(&mut rest).await? > 0 {}
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::claims;
    use serde_json::Value;
    use tokio::time::timeout;

    async fn ask(port: u16, path: &str) -> (String, bool) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let reads = async { while heard.len() < 4 << 20 && stream.read_buf(&mut heard).await.unwrap() > 0 {} };
        let ended = timeout(Duration::from_millis(200), reads).await.is_ok();
        (String::from_utf8_lossy(&heard).into_owned(), ended)
    }

    /// Claims of the presentation in an answer.
    fn presented(body: &str) -> String {
        let answer: Value = serde_json::from_str(body).unwrap();
        claims::<Value>(answer["presentation"][0].as_str().unwrap()).unwrap().to_string()
    }

    #[tokio::test]
    async fn each_kind_withholds_what_it_says() {
        let hostile = Hostile::open(7).await.unwrap();
        for (n, (what, how)) in kinds().enumerate() {
            let port = hostile.ports[n];
            let guest = hostile.guest().unwrap();
            assert_eq!(guest.identity.did, format!("did:web:127.0.0.1%3A{port}:guest-{n}"));
            let (document, whole) = ask(port, &format!("/guest-{n}/did.json")).await;
            if what == What::Presentation {
                assert!(whole && document.contains(&guest.identity.did), "{document}");
            }
            let path = if what == What::Document { "did.json" } else { "presentations/query" };
            let (heard, ended) = ask(port, &format!("/guest-{n}/{path}")).await;
            match how {
                How::Slow => assert!(heard.contains("content-length: 100000") && heard.len() < 1_000 && !ended, "{heard}"),
                How::Endless => assert!(heard.len() >= 4 << 20, "{}", heard.len()),
                How::Silent => assert!(heard.is_empty() && !ended, "{heard}"),
                How::Redirecting => {
                    assert!(heard.contains(&format!("302 Found\r\nlocation: http://127.0.0.1:{}/", hostile.trap)), "{heard}")
                }
                How::Anothers => {
                    let (own, other) = (format!("guest-{n}\""), format!("guest-{}", n + 1));
                    let body = heard.split("\r\n\r\n").nth(1).unwrap();
                    let shown = if what == What::Document { body.to_owned() } else { presented(body) };
                    assert!(shown.contains(&other) && !shown.contains(&own), "{shown}");
                }
                How::Garbage => assert!(ended && serde_json::from_str::<Value>(heard.split("\r\n\r\n").nth(1).unwrap()).is_err()),
                How::Deep => assert!(ended && heard.ends_with(&"]".repeat(DEPTH)), "{}", heard.len()),
                How::ClosedEarly => assert!(ended && heard.ends_with("content-length: 100000\r\n\r\n{"), "{heard}"),
            }
        }
        let called: Vec<_> = hostile.called().collect();
        let asked = |name: &str| if name.starts_with("Document") { 2 } else { 1 };
        assert!(called.iter().all(|(name, calls)| *calls == asked(name)) && called.len() == KINDS, "{called:?}");
        assert_eq!((hostile.trapped(), called[0].0.as_str()), (0, "Document Slow"));
        TcpStream::connect(("127.0.0.1", hostile.trap)).await.unwrap();
        while hostile.trapped() == 0 {
            tokio::task::yield_now().await;
        }
    }
}
