//! Everybody else, behind the product's way to others: DID documents, presentations and a status list that are ready.

use anyhow::{Context, Result};
use bytes::Bytes;
use cellspace_actors::{
    outbound::{OutboundError, OutboundRequest, OutboundResponse},
    trust::{IssueToken, PeerError, fetch::Fetch, jwk::VerifyingKey},
};
use cellspace_schemas::Did;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, StatusCode};
use loadtest::world::{Issuer, Party, claims};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

const HOST: &str = "parties.example";
/// DID of who verifies.
pub const VERIFIER: &str = "did:web:verifier.example";

/// What others answer, by URL.
#[derive(Default)]
pub struct Web(HashMap<String, Bytes>);

impl Fetch for Web {
    fn fetch<'a>(
        &'a self,
        request: OutboundRequest,
        _: Option<&'a str>,
        _: usize,
    ) -> BoxFuture<'a, Result<OutboundResponse, OutboundError>> {
        let found = self.0.get(request.url.as_str()).cloned();
        let (status, body) = found.map_or((StatusCode::NOT_FOUND, Bytes::new()), |body| (StatusCode::OK, body));
        std::future::ready(Ok(OutboundResponse { status, headers: HeaderMap::new(), body })).boxed()
    }

    fn allows_private(&self) -> bool {
        false
    }
}

/// The verifier's own tokens for its queries: nobody here looks at them.
pub struct Ours;

impl IssueToken for Ours {
    fn issue<'a>(&'a self, _: &'a Did, _: Option<&'a str>) -> BoxFuture<'a, Result<String, PeerError>> {
        std::future::ready(Ok("token".to_owned())).boxed()
    }
}

/// A signed text with its signature and the key that made it.
pub struct Signed {
    pub text: String,
    signature: String,
    key: VerifyingKey,
}

impl Signed {
    /// A JWT, with the key that signed it.
    pub fn read(jwt: &str, key: &VerifyingKey) -> Result<Self> {
        let (text, signature) = jwt.rsplit_once('.').context("no JWT")?;
        Ok(Self { text: text.to_owned(), signature: signature.to_owned(), key: key.clone() })
    }

    /// As the product checks it, with nothing around it.
    pub fn is_good(&self) -> bool {
        self.key.algorithms().iter().any(|by| self.key.verifies(*by, self.text.as_bytes(), &self.signature))
    }
}

/// A counterparty that presents two credentials.
pub struct Counterparty {
    pub party: Arc<Party>,
    pub key: VerifyingKey,
    /// Its presentation and the credentials in it.
    pub signed: Vec<Signed>,
}

/// The counterparties, what is found of them, and who issued their credentials.
pub struct Others {
    pub web: Arc<Web>,
    pub issuer: String,
    pub counterparties: Vec<Counterparty>,
    /// One whose presentation was signed by another, and one whose credentials nobody issued.
    pub impostors: [Arc<Party>; 2],
}

fn key_seed(seed: u64, number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(seed.to_le_bytes().into_iter().chain(number.to_le_bytes())) {
        *to = from;
    }
    bytes
}

fn public_key(document: &Value) -> Result<VerifyingKey> {
    VerifyingKey::from_jwk(&document["verificationMethod"][0]["publicKeyJwk"]).context("no key")
}

impl Others {
    /// So many, with keys that follow from the seed.
    pub fn new(count: usize, seed: u64) -> Result<Self> {
        let did = format!("did:web:{HOST}:issuer");
        let list = format!("https://{HOST}/status/1");
        let issuer = Issuer::new(did.clone(), list.clone(), key_seed(seed, u64::MAX))?;
        let nobody = Issuer::new(did.clone(), list.clone(), key_seed(seed, u64::MAX - 1))?;
        let (document, mut web) = (issuer.identity.document(&[]), Web::default());
        let issued_by = public_key(&document)?;
        web.0.insert(format!("https://{HOST}/issuer/did.json"), document.to_string().into());
        web.0.insert(list, issuer.status_list().into());
        let mut counterparties = Vec::with_capacity(count);
        for number in 0..count {
            let (party, presentation) = web.add(number, seed, &issuer)?;
            let key = public_key(&serde_json::from_slice(&party.document(&[]))?)?;
            let held: Value = claims(&presentation).context("a presentation")?;
            let mut signed = vec![Signed::read(&presentation, &key)?];
            for credential in held["verifiableCredential"].as_array().context("credentials")? {
                let jwt = credential["id"].as_str().and_then(|id| id.strip_prefix("data:application/vc+jwt,"));
                signed.push(Signed::read(jwt.context("a credential")?, &issued_by)?);
            }
            counterparties.push(Counterparty { party, key, signed });
        }
        let (unsigned, presentation) = web.add(count, seed, &issuer)?;
        let (unissued, other) = web.add(count + 1, seed, &nobody)?;
        // The signature of another presentation.
        let (text, signature) =
            presentation.rsplit_once('.').zip(other.rsplit_once('.')).map(|((text, _), (_, s))| (text, s)).context("JWTs")?;
        web.0.insert(query_url(count), answer(&format!("{text}.{signature}")));
        Ok(Self { web: Arc::new(web), issuer: did, counterparties, impostors: [unsigned, unissued] })
    }
}

impl Web {
    /// A party whose credentials are by this issuer; with its presentation.
    fn add(&mut self, number: usize, seed: u64, issuer: &Issuer) -> Result<(Arc<Party>, String)> {
        let base = format!("https://{HOST}/party-{number}");
        let party = Party::new(format!("did:web:{HOST}:party-{number}"), number, key_seed(seed, number as u64))?;
        self.0.insert(format!("{base}/did.json"), party.document(&[("CredentialService", base.clone())]));
        let presented = party.presentation(issuer, VERIFIER);
        let body: Value = serde_json::from_slice(&presented)?;
        self.0.insert(query_url(number), presented);
        let jwt = body["presentation"][0].as_str().context("a presentation")?;
        Ok((Arc::new(party), jwt.to_owned()))
    }
}

fn query_url(number: usize) -> String {
    format!("https://{HOST}/party-{number}/presentations/query")
}

fn answer(presentation: &str) -> Bytes {
    let context = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld";
    serde_json::json!({"@context": [context], "type": "PresentationResponseMessage", "presentation": [presentation]}).to_string().into()
}
