//! Serves the counterparties: DID documents, presentation queries, the issuer's status list.

use super::{Issuer, Party, claims};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::RwLock;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::net::TcpListener;

/// Issuer and counterparties, served on a free loopback port as long as the process lives.
pub struct World {
    /// The issuer that the dataspace trusts.
    pub issuer: Issuer,
    base: String,
    host: String,
    seed: u64,
    parties: RwLock<Vec<Arc<Party>>>,
    list: Bytes,
    /// Presentation queries that were answered.
    queries: AtomicU64,
    documents: AtomicU64,
}

/// 32 bytes that follow from the seed and a number.
fn key_seed(seed: u64, number: u64) -> [u8; 32] {
    StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).random()
}

impl World {
    /// A world with an issuer and so many counterparties.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn open(seed: u64, parties: usize) -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (base, host) = (format!("http://127.0.0.1:{port}"), format!("127.0.0.1%3A{port}"));
        let issuer = Issuer::new(format!("did:web:{host}:issuer"), format!("{base}/status/1"), key_seed(seed, u64::MAX))?;
        let list = issuer.status_list().into();
        let (queries, documents) = (AtomicU64::new(0), AtomicU64::new(0));
        let world = Arc::new(Self { issuer, base, host, seed, parties: RwLock::default(), list, queries, documents });
        world.grow(parties)?;
        tokio::spawn(serve(listener, world.clone()));
        Ok(world)
    }

    /// Adds so many counterparties; answers the first one's number.
    ///
    /// # Errors
    /// When a seed makes no key.
    pub fn grow(&self, more: usize) -> Result<usize> {
        let mut parties = self.parties.write();
        let first = parties.len();
        let new = (first..first + more).map(|number| {
            let party = Party::new(format!("did:web:{}:party-{number}", self.host), number, key_seed(self.seed, number as u64))?;
            Ok(Arc::new(party))
        });
        let new = new.collect::<Result<Vec<_>>>()?;
        parties.extend(new);
        Ok(first)
    }

    /// A counterparty.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn party(&self, number: usize) -> Result<Arc<Party>> {
        self.parties.read().get(number).cloned().with_context(|| format!("no party {number}"))
    }

    /// Makes ahead what a verifier will ask this counterparty for, so that signing does not fall into a measured window.
    pub fn prepare(&self, party: &Party, verifier: &str) {
        let _ = party.document(&self.services(&format!("party-{}", party.number)));
        party.present_ahead(&self.issuer, verifier);
    }

    /// Where a counterparty says that it hears messages.
    #[must_use]
    pub fn address(&self, party: &Party) -> String {
        let [_, (_, address)] = self.services(&format!("party-{}", party.number));
        address
    }

    /// How many presentation queries and DID documents were answered.
    #[must_use]
    pub fn asked(&self) -> (u64, u64) {
        (self.queries.load(Ordering::Relaxed), self.documents.load(Ordering::Relaxed))
    }

    fn answer(&self, method: &Method, path: &str, bearer: Option<&str>) -> Option<(&'static str, Bytes)> {
        let number = |path: &str| path.strip_prefix("/party-")?.split('/').next()?.parse::<usize>().ok();
        match (method, path) {
            (&Method::GET, "/status/1") => Some(("application/vc+jwt", self.list.clone())),
            (&Method::GET, "/issuer/did.json") => {
                let document = self.issuer.identity.document(&self.services("issuer"));
                Some(("application/json", document.to_string().into()))
            }
            (&Method::GET, _) if path.ends_with("/did.json") => {
                let party = self.party(number(path)?).ok()?;
                self.documents.fetch_add(1, Ordering::Relaxed);
                Some(("application/json", party.document(&self.services(&format!("party-{}", party.number)))))
            }
            (&Method::POST, _) if path.ends_with("/presentations/query") => {
                let party = self.party(number(path)?).ok()?;
                // A verifier's key is not looked up here.
                let claims: serde_json::Value = claims(bearer?)?;
                // The token of the verifier carries the access token that the party gave it.
                let (verifier, access) = (claims["iss"].as_str()?, claims["token"].as_str()?);
                self.queries.fetch_add(1, Ordering::Relaxed);
                party.gave(access).then(|| ("application/json", party.presentation(&self.issuer, verifier)))
            }
            _ => None,
        }
    }

    fn services(&self, name: &str) -> [(&'static str, String); 2] {
        [("CredentialService", format!("{}/{name}", self.base)), ("ProtocolEndpoint", format!("{}/{name}/dsp", self.base))]
    }
}

async fn serve(listener: TcpListener, world: Arc<World>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let world = world.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let world = world.clone();
            async move { Ok::<_, Infallible>(respond(&world, request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(world: &World, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    // Read whole, so that the connection can be used again.
    let _ = body.collect().await;
    let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let mut response = Response::new(Full::default());
    match world.answer(&head.method, head.uri.path(), bearer) {
        None => *response.status_mut() = StatusCode::NOT_FOUND,
        Some((kind, body)) => {
            response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
            *response.body_mut() = Full::new(body);
        }
    }
    response
}
