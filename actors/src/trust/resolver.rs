//! DID documents of others: fetched, checked, cached.

use super::{
    PeerError, TrustOptions,
    aged_cache::{AgedCache, FAILURE_AGE, Weigh},
    did::{Location, locate},
    fetch::{Fetch, get},
    keys::{DocumentKeys, KeyError, SelectedKey},
};
use cellspace_schemas::{
    Did, Timestamp,
    dcp::{DidDocument, Relationship, did_document::MAX_BYTES},
    json,
};
use http::StatusCode;
use std::{fmt::Display, sync::Arc, time::Duration};
use url::Url;

/// What is read of an answer at most: of a document that is too long enough to say so, of one without end no more.
const MAX_READ: usize = 4 * MAX_BYTES;

/// Bytes of what is known of documents that were looked at once more within the last second.
const NEWER_BYTES: u64 = 2 << 20;

/// Finds documents and keys of DIDs. A clone shares what is kept.
#[derive(Clone)]
pub struct Resolver {
    fetch: Arc<dyn Fetch>,
    cache: AgedCache<Did, Resolved>,
    /// Of which documents a newer one was asked for.
    newer: AgedCache<Did, Looked>,
    age: Duration,
    lenient: bool,
}

#[derive(Clone)]
struct Resolved {
    keys: Arc<DocumentKeys>,
    bytes: u64,
}

impl Resolved {
    fn new(document: DidDocument, bytes: u64) -> Self {
        Self { keys: Arc::new(DocumentKeys::of(document)), bytes }
    }
}

impl Weigh for Resolved {
    fn weight(&self) -> u64 {
        // The text, what was read of it, and its keys.
        self.bytes * 3
    }
}

/// A document was looked at once more.
#[derive(Clone)]
struct Looked;

impl Weigh for Looked {
    fn weight(&self) -> u64 {
        0
    }
}

impl Resolver {
    pub(super) fn new(fetch: Arc<dyn Fetch>, options: &TrustOptions) -> Self {
        let cache = AgedCache::new(16_384, options.did_cache_bytes, FAILURE_AGE);
        let newer = AgedCache::new(8_192, NEWER_BYTES, FAILURE_AGE);
        Self { fetch, cache, newer, age: options.did_document_age, lenient: options.lenient_relationships }
    }

    /// The document of a DID, at most as old as the settings allow: what was taken out of one counts no longer than that. One that is in use is loaded anew
    /// when half of that is over.
    ///
    /// # Errors
    /// [`PeerError::Refused`] when there is none or its id is another; [`PeerError::Unreachable`] when it cannot be fetched now.
    pub async fn document(&self, did: &Did, now: Timestamp) -> Result<Arc<DocumentKeys>, PeerError> {
        let load = |_| {
            let (resolver, did) = (self.clone(), did.clone());
            async move { Ok((resolver.load(&did).await?, now.plus(resolver.age))) }
        };
        Ok(self.cache.get_renewed(did, now, load).await?.keys)
    }

    /// The key that a signature of `did` must verify with: the one with this DID URL, or its only one. A key that the cached document does not have is
    /// looked for once more in a fresh one, so that a rotation is seen at once; at most once a second per DID. The cached one stays for all others when
    /// there is none to be had.
    ///
    /// # Errors
    /// As [`Self::document`], also when the fresh one cannot be fetched, and [`PeerError::Refused`] with the rule that no key meets.
    pub async fn key(
        &self,
        did: &Did,
        url: Option<&str>,
        relationship: Relationship,
        now: Timestamp,
    ) -> Result<Arc<SelectedKey>, PeerError> {
        let selected = self.document(did, now).await?.select(url, relationship, self.lenient);
        let selected = match selected {
            Err(KeyError::Unknown | KeyError::Relationship(_)) => {
                self.look_again(did, now).await?;
                self.document(did, now).await?.select(url, relationship, self.lenient)
            }
            other => other,
        };
        selected.map_err(|rule| PeerError::Refused(rule.to_string()))
    }

    /// Loads a document that is not fresh anew, once for all who ask; what comes takes its place.
    async fn look_again(&self, did: &Did, now: Timestamp) -> Result<(), PeerError> {
        let Some(held) = self.cache.older(did, FAILURE_AGE, now) else { return Ok(()) };
        let load = |_| async {
            let loaded = self.load(did).await;
            let looked = loaded.as_ref().map(|_| (Looked, now.plus(FAILURE_AGE))).map_err(Clone::clone);
            self.cache.replace(did, &held, loaded.map(|resolved| (resolved, now.plus(self.age))), now);
            looked
        };
        self.newer.get(did, now, load).await.map(|Looked| ())
    }

    /// URL of a service of the DID.
    ///
    /// # Errors
    /// As [`Self::document`], and [`PeerError::Refused`] when it has no such service.
    pub async fn service(&self, did: &Did, service_type: &str, now: Timestamp) -> Result<Url, PeerError> {
        let document = self.document(did, now).await?;
        let missing = || PeerError::Refused(format!("the DID document of {did} must have a service of type {service_type} with a URL"));
        document.service(service_type).cloned().ok_or_else(missing)
    }

    /// URL of a path below a service of the DID.
    ///
    /// # Errors
    /// As [`Self::service`].
    pub async fn below(&self, did: &Did, service_type: &str, segments: &[&str], now: Timestamp) -> Result<Url, PeerError> {
        let mut url = self.service(did, service_type, now).await?;
        // What cannot be a base is no service; the root alone ends in a slash.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        Ok(url)
    }

    async fn load(&self, did: &Did) -> Result<Resolved, PeerError> {
        match locate(did, self.fetch.allows_private()) {
            None => Err(PeerError::Refused("the DID must be a did:web or did:key".to_owned())),
            Some(Location::Contained(document)) => Ok(Resolved::new(*document, 1024)),
            Some(Location::Web(urls)) => {
                let mut outcome = Err(PeerError::Unreachable(format!("the DID document of {did} cannot be fetched")));
                for url in urls {
                    outcome = self.download(did, url).await;
                    // A wrong answer is one.
                    if !matches!(outcome, Err(PeerError::Unreachable(_))) {
                        break;
                    }
                }
                outcome
            }
        }
    }

    async fn download(&self, did: &Did, url: Url) -> Result<Resolved, PeerError> {
        let unreachable = |cause: &dyn Display| PeerError::unreachable(format!("the DID document of {did} cannot be fetched"), cause);
        let request = get(url, "application/did+json, application/json");
        let response = self.fetch.fetch(request, None, MAX_READ).await.map_err(|e| unreachable(&e))?;
        match response.status {
            StatusCode::OK => {}
            // Some peers answer 204 for a DID they do not have.
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::NO_CONTENT => {
                return Err(PeerError::Refused(format!("the DID {did} must have a published document")));
            }
            other => return Err(unreachable(&other)),
        }
        if response.body.len() > MAX_BYTES {
            return Err(PeerError::Refused(format!("a DID document has at most {MAX_BYTES} bytes")));
        }
        let document: DidDocument =
            json::from_slice(&response.body).map_err(|_| PeerError::Refused(format!("the document of {did} must be a DID document")))?;
        if document.id != *did {
            return Err(PeerError::Refused(format!("the id of the DID document of {did} must be that DID")));
        }
        let bytes = u64::try_from(response.body.len()).unwrap_or(u64::MAX);
        Ok(Resolved::new(document, bytes))
    }
}
