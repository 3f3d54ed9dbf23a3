//! A counterparty that cannot be relied on: a server with many parties, each with a DID, keys, a credential service, a status list and DSP
//! endpoints of its own, and each with one place where it does something that it must not. It speaks in bytes, since no library would say such things.

mod papers;
mod wire;

pub use wire::bomb;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::Did;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use wire::{asker, read, whole};

/// The credential that counterparties are asked for.
pub const TYPE: &str = "MembershipCredential";
/// Its scope.
pub const SCOPE: &str = "org.eclipse.dspace.dcp.vc.type:MembershipCredential:read";
/// Between two bytes of a party that is slow.
const DRIP: Duration = Duration::from_millis(50);

/// Where a party does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Its own DID document.
    Document,
    /// Its credential service.
    Presentation,
    /// The DID document of the issuer of its credential.
    IssuerDocument,
    /// The status list of its credential.
    StatusList,
    /// The schema of its credential.
    Schema,
    /// Its DSP endpoints.
    Dsp,
    /// A source of data.
    Source,
    /// Calls of its data plane.
    Plane,
    /// The token endpoint of its data plane.
    PlaneToken,
    /// Its key set.
    Jwks,
}

impl Place {
    fn of(path: &str) -> Option<(String, Self)> {
        let (name, rest) = path.trim_start_matches('/').split_once('/')?;
        let (name, place) = match (name.strip_suffix("-issuer"), rest) {
            (Some(name), "did.json") => (name, Self::IssuerDocument),
            (None, "did.json") => (name, Self::Document),
            (_, "cs/presentations/query") => (name, Self::Presentation),
            (_, "list") => (name, Self::StatusList),
            (_, "schema") => (name, Self::Schema),
            (_, "data") => (name, Self::Source),
            (_, "token") => (name, Self::PlaneToken),
            (_, "jwks") => (name, Self::Jwks),
            (_, rest) if rest.starts_with("dsp/") => (name, Self::Dsp),
            (_, rest) if rest.starts_with("flows/") => (name, Self::Plane),
            _ => return None,
        };
        Some((name.to_owned(), place))
    }
}

/// What it does there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trick {
    /// Takes the request and says nothing.
    Silent,
    /// Says a few bytes of the body and no more.
    Stalls,
    /// The body, a byte at a time and without end.
    Drips,
    /// The head, a byte at a time and without end.
    DripsHead,
    /// A body without end, as fast as it is taken.
    Endless,
    /// A head without end, as fast as it is taken.
    EndlessHead,
    /// Sends on to another server, which counts who comes.
    RedirectsAway,
    /// Sends on to where the honest answer is.
    RedirectsHere,
    /// Another protocol.
    NotHttp,
    /// A page for people.
    NotJson,
    /// 100,000 brackets.
    Deep,
    /// Numbers that no type holds.
    Numbers,
    /// Members twice: the wrong one first, the right one last.
    Twice,
    /// Closes within the head.
    CutsHead,
    /// Closes within the body.
    CutsBody,
    /// A content length shorter than the body.
    TooShort,
    /// Two content lengths.
    TwoLengths,
    /// A content coding that nobody asked for, of far more bytes than it has.
    Bomb,
    /// What belongs to another party.
    Stranger,
}

impl Trick {
    pub const ALL: [Self; 19] = [
        Self::Silent,
        Self::Stalls,
        Self::Drips,
        Self::DripsHead,
        Self::Endless,
        Self::EndlessHead,
        Self::RedirectsAway,
        Self::RedirectsHere,
        Self::NotHttp,
        Self::NotJson,
        Self::Deep,
        Self::Numbers,
        Self::Twice,
        Self::CutsHead,
        Self::CutsBody,
        Self::TooShort,
        Self::TwoLengths,
        Self::Bomb,
        Self::Stranger,
    ];

    /// Whether there is no whole answer: it may be right another time. Otherwise there is one, and it is wrong.
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Silent
            | Self::Stalls
            | Self::Drips
            | Self::DripsHead
            | Self::Endless
            | Self::EndlessHead
            | Self::RedirectsAway
            | Self::RedirectsHere
            | Self::NotHttp
            | Self::CutsHead
            | Self::CutsBody
            | Self::TwoLengths => true,
            Self::NotJson | Self::Deep | Self::Numbers | Self::Twice | Self::TooShort | Self::Bomb | Self::Stranger => false,
        }
    }
}

/// Texts that a party signs in place of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Forged {
    Credential(String),
    Presentation(String),
    List(String),
    Schema(String),
}

/// The server.
pub struct Peer {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    address: Mutex<String>,
    keys: Mutex<HashMap<String, Arc<Ed25519KeyPair>>>,
    tricks: Mutex<HashMap<(String, Place), Trick>>,
    forged: Mutex<HashMap<String, Vec<Forged>>>,
    asked: Mutex<Vec<String>>,
    news: Notify,
    away: Mutex<String>,
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A compact JWS over these texts.
pub fn sign(key: &Ed25519KeyPair, header: &str, claims: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).as_ref()))
}

/// Members added or replaced.
pub fn with(mut value: Value, change: &Value) -> Value {
    value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    value
}

impl Peer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner::default());
        *inner.address.lock() = listener.local_addr().unwrap().to_string();
        let serving = inner.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let serving = serving.clone();
                // Who is played tricks on goes away when it likes.
                tokio::spawn(async move { drop(serving.serve(socket).await) });
            }
        });
        Self { inner }
    }

    /// Sends those who are redirected there.
    pub fn send_away_to(&self, url: impl Into<String>) {
        *self.inner.away.lock() = url.into();
    }

    pub fn plays(&self, name: &str, place: Place, trick: Trick) {
        self.inner.tricks.lock().insert((name.to_owned(), place), trick);
    }

    pub fn forges(&self, name: &str, forged: Forged) {
        self.inner.forged.lock().entry(name.to_owned()).or_default().push(forged);
    }

    pub fn did(&self, name: &str) -> Did {
        Did::new(self.inner.did(name)).unwrap()
    }

    pub fn issuer(&self, name: &str) -> Did {
        self.did(&format!("{name}-issuer"))
    }

    pub fn key(&self, name: &str) -> Arc<Ed25519KeyPair> {
        self.inner.key(name)
    }

    pub fn url(&self, name: &str, path: &str) -> String {
        self.inner.url(name, path)
    }

    /// Requests that came, by path.
    pub fn asked(&self, path: &str) -> usize {
        self.inner.asked.lock().iter().filter(|asked| asked.contains(path)).count()
    }

    /// Waits until so many requests with this in their path came.
    pub async fn is_asked(&self, path: &str, times: usize) {
        loop {
            let news = self.inner.news.notified();
            if self.asked(path) >= times {
                return;
            }
            news.await;
        }
    }

    /// A self-issued ID token for `aud`, with changes.
    pub fn token(&self, name: &str, aud: &Did, change: &Value) -> String {
        let did = self.did(name);
        let claims =
            json!({"iss": did, "sub": did, "aud": aud, "jti": uuid::Uuid::new_v4(), "iat": now(), "exp": now() + 60, "token": "access"});
        self.inner.signed(name, "JWT", &with(claims, change))
    }

    pub fn credential(&self, name: &str, change: &Value) -> String {
        self.inner.signed(&format!("{name}-issuer"), "vc+jwt", &with(self.credential_claims(name), change))
    }

    pub fn credential_claims(&self, name: &str) -> Value {
        self.inner.credential(name)
    }

    pub fn presentation_claims(&self, name: &str, aud: &Did) -> Value {
        let credential = self.credential(name, &json!({}));
        self.inner.presentation(name, aud.as_str(), &credential)
    }

    pub fn list_claims(&self, name: &str) -> Value {
        self.inner.list(&format!("{name}-issuer"))
    }
}

impl Inner {
    fn did(&self, name: &str) -> String {
        format!("did:web:{}:{name}", self.address.lock().replace(':', "%3A"))
    }

    fn url(&self, name: &str, path: &str) -> String {
        format!("http://{}/{name}{path}", self.address.lock())
    }

    fn key(&self, name: &str) -> Arc<Ed25519KeyPair> {
        let mut keys = self.keys.lock();
        keys.entry(name.to_owned()).or_insert_with(|| Arc::new(Ed25519KeyPair::generate().unwrap())).clone()
    }

    fn signed(&self, name: &str, typ: &str, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": typ, "kid": format!("{}#key-1", self.did(name))});
        sign(&self.key(name), &header.to_string(), &claims.to_string())
    }
}

impl Inner {
    fn forged(&self, name: &str, pick: fn(&Forged) -> Option<&String>) -> Option<String> {
        self.forged.lock().get(name)?.iter().find_map(|forged| pick(forged).cloned())
    }

    /// What `name` would say at a place if it were honest.
    fn honest(&self, name: &str, place: Place, request: &str) -> (&'static str, String) {
        let issuer = format!("{name}-issuer");
        let json = |value: Value| ("application/json", value.to_string());
        match place {
            Place::Document => json(self.document(name)),
            Place::IssuerDocument => json(self.document(&issuer)),
            Place::Presentation => {
                let credential = self.forged(name, |f| if let Forged::Credential(text) = f { Some(text) } else { None });
                let credential = credential.unwrap_or_else(|| self.signed(&issuer, "vc+jwt", &self.credential(name)));
                let presentation = self.forged(name, |f| if let Forged::Presentation(text) = f { Some(text) } else { None });
                let presentation =
                    presentation.unwrap_or_else(|| self.signed(name, "vp+jwt", &self.presentation(name, &asker(request), &credential)));
                json(json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": "PresentationResponseMessage",
                    "presentation": [presentation]}))
            }
            Place::StatusList => {
                let list = self.forged(name, |f| if let Forged::List(text) = f { Some(text) } else { None });
                ("application/vc+jwt", list.unwrap_or_else(|| self.signed(&issuer, "vc+jwt", &self.list(&issuer))))
            }
            Place::Schema => {
                let schema = self.forged(name, |f| if let Forged::Schema(text) = f { Some(text) } else { None });
                ("application/schema+json", schema.unwrap_or_else(|| "{}".to_owned()))
            }
            Place::Dsp => json(json!({"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": "Catalog", "@id": "c",
                "participantId": self.did(name), "dataset": []})),
            Place::Source => ("text/plain", "data of the source".to_owned()),
            Place::Plane => json(json!({"state": "PREPARED"})),
            Place::PlaneToken => json(json!({"access_token": "token-of-the-plane", "token_type": "Bearer"})),
            Place::Jwks => {
                let x = URL_SAFE_NO_PAD.encode(self.key(name).public_key().as_ref());
                json(json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}))
            }
        }
    }

    async fn serve(&self, mut socket: TcpStream) -> std::io::Result<()> {
        let request = read(&mut socket).await?;
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().push(path.clone());
        self.news.notify_waiters();
        let honest = path.strip_prefix("/honest");
        let Some((name, place)) = Place::of(honest.unwrap_or(&path)) else {
            return socket.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        };
        let trick = self.tricks.lock().get(&(name.clone(), place)).copied().filter(|_| honest.is_none());
        let who = if trick == Some(Trick::Stranger) { "stranger" } else { &name };
        let (kind, body) = self.honest(who, place, &request);
        match trick {
            None | Some(Trick::Stranger) => socket.write_all(&whole(kind, "", body.as_bytes())).await,
            Some(trick) => self.play(trick, &path, kind, &body, &mut socket).await,
        }
    }
}

/// A server that nobody may come to; counts those who do.
pub async fn forbidden_ground() -> (SocketAddr, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, visits) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(0)));
    let counted = visits.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            *counted.lock() += 1;
            drop(socket);
        }
    });
    (address, visits)
}
