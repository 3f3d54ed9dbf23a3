//! Status of credentials: list credentials over HTTP, verified, cached briefly, looked up at every use (Bitstring Status List 1.0, 3.2 "Validate
//! Algorithm", and its predecessor `StatusList2021`).

use super::{
    PeerError, Resolver, Trust, TrustOptions,
    aged_cache::{AgedCache, FAILURE_AGE, Weigh},
    credential::{Credential, Tolerance, body},
    fetch::{Fetch, get},
    jws::{Jws, JwsError, MAX_STATUS_LIST_BYTES},
    keys::SelectedKey,
    said::Said,
    since::Since,
};
use crate::outbound::OutboundResponse;
use cellspace_schemas::{
    Did, Timestamp,
    bitstring::{Bitstring, Encoding, MIN_BITS},
    dcp::Relationship,
};
use http::{StatusCode, header};
use std::{fmt::Display, sync::Arc, time::Duration};
use url::Url;

/// Longest entity tag that is kept, in bytes.
const MAX_TAG_BYTES: usize = 256;

/// A `credentialStatus` entry that can refuse a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// Which kind of list.
    pub encoding: Encoding,
    /// `revocation` or `suspension`.
    pub purpose: String,
    /// Its bit.
    pub index: usize,
    /// Where the list is.
    pub list: Url,
}

impl StatusEntry {
    /// Reads an entry: `None` when it is of no supported form, `Some(None)` when it is only informational (purposes `message` and `refresh`).
    #[must_use]
    #[allow(clippy::option_option)]
    pub fn read(entry: &Said<'_>) -> Option<Option<Self>> {
        let encoding = match entry.text_of("type")? {
            "BitstringStatusListEntry" => Encoding::Bitstring,
            "StatusList2021Entry" => Encoding::StatusList2021,
            _ => return None,
        };
        let purpose = match entry.text_of("statusPurpose")? {
            purpose @ ("revocation" | "suspension") => purpose.to_owned(),
            "message" | "refresh" => return Some(None),
            _ => return None,
        };
        // One bit per credential; larger entries exist for messages only.
        if entry.get("statusSize").is_some_and(|size| size.whole() != Some(1)) {
            return None;
        }
        let index = match entry.get("statusListIndex")? {
            Said::Text(text) => text.0.parse().ok()?,
            number => usize::try_from(number.whole()?).ok()?,
        };
        let list = Url::parse(entry.text_of("statusListCredential")?).ok()?;
        Some(Some(Self { encoding, purpose, index, list }))
    }
}

/// A verified list.
#[derive(Debug, PartialEq, Eq)]
pub struct StatusList {
    issuer: Did,
    encoding: Encoding,
    purposes: Vec<String>,
    bits: Bitstring,
    /// How long the issuer lets it be kept; zero forbids keeping it.
    ttl: Option<Duration>,
    valid_until: Option<Timestamp>,
}

/// A verified list with what is needed to ask for it again.
#[derive(Debug)]
pub struct HeldList {
    list: StatusList,
    signer: Arc<SelectedKey>,
    tag: Option<String>,
}

impl Weigh for Arc<HeldList> {
    fn weight(&self) -> u64 {
        u64::try_from(self.list.bits.as_bytes().len()).unwrap_or(u64::MAX)
    }
}

/// Why a status refuses a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    #[allow(missing_docs)]
    #[error("a status list must be a verifiable credential of type BitstringStatusListCredential or StatusList2021Credential")]
    Form,
    #[allow(missing_docs)]
    #[error("a status list must have {MIN_BITS} entries at least")]
    Length,
    #[allow(missing_docs)]
    #[error("a status list must be issued by the issuer of the credential")]
    Issuer,
    #[allow(missing_docs)]
    #[error("a status list must have the kind and purpose of the credential's entry, and its index")]
    Purpose,
    #[allow(missing_docs)]
    #[error("the credential must not be revoked")]
    Revoked,
    #[allow(missing_docs)]
    #[error("the credential must not be suspended")]
    Suspended,
}

impl StatusList {
    /// Reads a list credential, with the claims that it was read from.
    ///
    /// # Errors
    /// [`StatusError::Form`].
    pub fn read(credential: &Credential, claims: &Said<'_>) -> Result<Self, StatusError> {
        let subject = body(claims, credential.format).and_then(|vc| vc.get("credentialSubject")?.items().first());
        let subject = subject.ok_or(StatusError::Form)?;
        let has_type = |wanted: &str| credential.types.iter().any(|t| t == wanted);
        let encoding = match subject.text_of("type") {
            Some("BitstringStatusList") if has_type("BitstringStatusListCredential") => Encoding::Bitstring,
            Some("StatusList2021") if has_type("StatusList2021Credential") => Encoding::StatusList2021,
            _ => return Err(StatusError::Form),
        };
        let encoded = subject.text_of("encodedList").ok_or(StatusError::Form)?;
        // In milliseconds (Bitstring Status List 1.0, 2.2).
        let ttl = subject.get("ttl").and_then(Said::whole).map(Duration::from_millis);
        Ok(Self {
            issuer: credential.issuer.clone(),
            encoding,
            purposes: subject.get("statusPurpose").and_then(Said::texts).ok_or(StatusError::Form)?,
            bits: Bitstring::decode(encoded, encoding).map_err(|_| StatusError::Form)?,
            ttl,
            valid_until: credential.valid_until,
        })
    }

    /// Whether it is long enough to keep holders apart (Bitstring Status List 1.0, 3.2, `STATUS_LIST_LENGTH_ERROR`; `StatusList2021` has the same bound).
    ///
    /// # Errors
    /// [`StatusError::Length`].
    pub const fn check_length(&self) -> Result<(), StatusError> {
        // One bit is one entry, see [`StatusEntry::read`].
        if self.bits.len() < MIN_BITS { Err(StatusError::Length) } else { Ok(()) }
    }

    /// Whether the credential's bit is clear in this list.
    ///
    /// # Errors
    /// [`StatusError`] names the rule.
    pub fn check(&self, entry: &StatusEntry, issuer: &Did) -> Result<(), StatusError> {
        if self.issuer != *issuer {
            return Err(StatusError::Issuer);
        }
        if self.encoding != entry.encoding || !self.purposes.contains(&entry.purpose) {
            return Err(StatusError::Purpose);
        }
        match (self.bits.get(entry.index), entry.purpose.as_str()) {
            (Ok(false), _) => Ok(()),
            (Ok(true), "suspension") => Err(StatusError::Suspended),
            (Ok(true), _) => Err(StatusError::Revoked),
            (Err(_), _) => Err(StatusError::Purpose),
        }
    }
}

/// What counts when several lists are asked: the greatest.
const fn weight(outcome: &Result<Result<(), StatusError>, PeerError>) -> u8 {
    match outcome {
        Ok(Ok(())) => 0,
        Err(PeerError::TooEarly | PeerError::Unreachable(_)) => 1,
        Err(PeerError::Refused(_)) => 2,
        Ok(Err(StatusError::Form | StatusError::Length | StatusError::Issuer | StatusError::Purpose)) => 3,
        Ok(Err(StatusError::Suspended)) => 4,
        Ok(Err(StatusError::Revoked)) => 5,
    }
}

impl Trust {
    /// Checks the status of a credential in lists that are at most as old as the settings and the lists' own `ttl` allow.
    ///
    /// # Errors
    /// [`PeerError::Refused`] when it is revoked or suspended, or a list breaks a rule; [`PeerError::Unreachable`] when a list cannot be had.
    pub async fn check_status(&self, credential: &Credential, now: Timestamp) -> Result<(), PeerError> {
        self.status(credential, now).await?.map_err(|rule| PeerError::Refused(rule.to_string()))
    }

    /// As [`Self::check_status`], with the rule that refuses: one about revocation before one about suspension, and what one list says before
    /// what cannot be known of another.
    ///
    /// # Errors
    /// [`PeerError`] when a list cannot be had.
    pub async fn status(&self, credential: &Credential, now: Timestamp) -> Result<Result<(), StatusError>, PeerError> {
        match credential.status.as_slice() {
            [] => Ok(Ok(())),
            [only] => self.check_entry(only, &credential.issuer, now).await,
            several => {
                let checks = several.iter().map(|entry| self.check_entry(entry, &credential.issuer, now));
                futures::future::join_all(checks).await.into_iter().max_by_key(weight).unwrap_or(Ok(Ok(())))
            }
        }
    }

    async fn check_entry(&self, entry: &StatusEntry, issuer: &Did, now: Timestamp) -> Result<Result<(), StatusError>, PeerError> {
        let held = self.status_lists.get(&entry.list, now).await?;
        Ok(held.list.check(entry, issuer))
    }
}

/// Lists kept, about. The cache has a part for every 32 of them, on machines with many processors: the longest list must have room in one.
const LISTS: usize = 512;

/// The lists that were looked at last. A clone shares what is kept.
#[derive(Clone)]
pub(super) struct StatusLists {
    fetch: Arc<dyn Fetch>,
    resolver: Resolver,
    cache: AgedCache<Url, Arc<HeldList>>,
    age: Duration,
    tolerance: Tolerance,
}

impl StatusLists {
    pub(super) fn new(fetch: Arc<dyn Fetch>, resolver: Resolver, options: &TrustOptions) -> Self {
        let cache = AgedCache::new(LISTS, options.status_cache_bytes, FAILURE_AGE);
        Self { fetch, resolver, cache, age: options.status_list_age, tolerance: options.tolerance() }
    }

    /// The list, at most as old as the settings and its own `ttl` allow; one that is in use is asked for anew when half of that is over.
    async fn get(&self, url: &Url, now: Timestamp) -> Result<Arc<HeldList>, PeerError> {
        let load = |held| {
            let (lists, url) = (self.clone(), url.clone());
            async move {
                let held = lists.load(&url, held, now).await?;
                let age = held.list.ttl.map_or(lists.age, |ttl| ttl.min(lists.age));
                let until = held.list.valid_until.map_or(now.plus(age), |end| end.min(now.plus(age)));
                Ok((held, until))
            }
        };
        self.cache.get_renewed(url, now, load).await
    }

    /// Fetches a list; one that was held before and has not changed is used on as it is.
    async fn load(&self, url: &Url, held: Option<Arc<HeldList>>, now: Timestamp) -> Result<Arc<HeldList>, PeerError> {
        let unreachable = |cause: &dyn Display| PeerError::unreachable(format!("the status list {url} cannot be fetched"), cause);
        // Whoever signs it may take its time.
        let since = Since::new(now);
        let held = match held {
            Some(held) if self.stands(&held, now).await => Some(held),
            _ => None,
        };
        let known = held.as_ref().and_then(|held| held.tag.as_deref());
        let accept = "application/vc+jwt, application/jwt;q=0.9, */*;q=0.1";
        let response = self.fetch.fetch(get(url.clone(), accept), known, MAX_STATUS_LIST_BYTES).await.map_err(|e| unreachable(&e))?;
        match (response.status, &held) {
            (StatusCode::OK, _) => self.read(&response, since).await.map(Arc::new),
            (StatusCode::NOT_MODIFIED, Some(held)) if known.is_some() => Ok(held.clone()),
            (status, _) => Err(unreachable(&status)),
        }
    }

    /// Whether a list that was verified once would be verified now, if its bytes are still the same.
    async fn stands(&self, held: &HeldList, now: Timestamp) -> bool {
        let signer = self.resolver.key(&held.list.issuer, Some(&held.signer.url), Relationship::AssertionMethod, now).await;
        signer.is_ok_and(|signer| signer.key == held.signer.key) && held.list.valid_until.is_none_or(|until| until > now)
    }

    async fn read(&self, response: &OutboundResponse, since: Since) -> Result<HeldList, PeerError> {
        let form = || PeerError::Refused(StatusError::Form.to_string());
        let text = std::str::from_utf8(&response.body).map_err(|_| form())?.trim();
        let signed = |rule: JwsError| rule.of("status list");
        let jws = Jws::parse(text, MAX_STATUS_LIST_BYTES).map_err(signed)?;
        let kid = jws.key_id().map_err(signed)?;
        let claims: Said<'_> = jws.unverified().map_err(signed)?;
        let credential =
            Credential::read_with(&claims, self.tolerance).map_err(|rule| PeerError::Refused(format!("status list: {rule}")))?;
        if kid.is_some_and(|kid| kid.did != credential.issuer.as_str()) {
            return Err(PeerError::Refused("the key of a status list must be one of its issuer".to_owned()));
        }
        let signer = self.resolver.key(&credential.issuer, kid.map(|kid| kid.url), Relationship::AssertionMethod, since.now()).await?;
        jws.verify_signature(&signer.key).map_err(signed)?;
        credential.check_dates(since.now()).map_err(|rule| PeerError::Refused(format!("status list: {rule}")))?;
        let tag = response.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.len() <= MAX_TAG_BYTES);
        let list = StatusList::read(&credential, &claims).map_err(|_| form())?;
        if !self.tolerance.short_lists {
            list.check_length().map_err(|rule| PeerError::Refused(rule.to_string()))?;
        }
        Ok(HeldList { list, signer, tag: tag.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize as _;
    use serde_json::{Value, json};

    fn entry(kind: &str, purpose: &str, index: Value) -> Value {
        json!({"type": kind, "statusPurpose": purpose, "statusListIndex": index, "statusListCredential": "https://issuer/list"})
    }

    fn list(kind: &str, purposes: Value, set: usize) -> Result<StatusList, StatusError> {
        let encoding = if kind == "BitstringStatusList" { Encoding::Bitstring } else { Encoding::StatusList2021 };
        let mut bits = Bitstring::zeroes(64);
        bits.set(set, true).unwrap();
        let claims = json!({"type": ["VerifiableCredential", format!("{kind}Credential")], "issuer": "did:web:issuer",
            "credentialSubject": {"id": "https://issuer/list#list", "type": kind, "statusPurpose": purposes, "ttl": 2_000,
                "encodedList": bits.encode(encoding)}});
        let claims = Said::deserialize(&claims).unwrap();
        StatusList::read(&Credential::read(&claims).unwrap(), &claims)
    }

    #[allow(clippy::option_option)]
    fn read_entry(entry: &Value) -> Option<Option<StatusEntry>> {
        StatusEntry::read(&Said::deserialize(entry).unwrap())
    }

    #[test]
    fn entries_are_read() {
        for kind in ["BitstringStatusListEntry", "StatusList2021Entry"] {
            let read = read_entry(&entry(kind, "revocation", json!("7"))).unwrap().unwrap();
            assert_eq!((read.index, read.purpose.as_str()), (7, "revocation"));
            assert_eq!(read_entry(&entry(kind, "suspension", json!(7))).unwrap().unwrap().index, 7);
            assert_eq!(read_entry(&entry(kind, "message", json!("7"))), Some(None));
        }
        let mut wide = entry("BitstringStatusListEntry", "revocation", json!("7"));
        wide["statusSize"] = json!(2);
        for bad in [
            wide,
            entry("Other", "revocation", json!("7")),
            entry("BitstringStatusListEntry", "other", json!("7")),
            entry("BitstringStatusListEntry", "revocation", json!("x")),
            entry("BitstringStatusListEntry", "revocation", json!(-1)),
            json!({"type": "BitstringStatusListEntry"}),
        ] {
            assert_eq!(read_entry(&bad), None, "{bad}");
        }
    }

    #[test]
    fn every_rule_for_lists() {
        use StatusError::{Issuer, Purpose, Revoked, Suspended};
        let check = |list: &StatusList, kind: &str, purpose: &str, index: usize, issuer: &str| {
            let entry = read_entry(&entry(kind, purpose, json!(index))).unwrap().unwrap();
            list.check(&entry, &Did::new(issuer).unwrap())
        };
        for (kind, entry) in [("BitstringStatusList", "BitstringStatusListEntry"), ("StatusList2021", "StatusList2021Entry")] {
            let list = list(kind, json!(["revocation", "suspension"]), 7).unwrap();
            assert_eq!(list.ttl, Some(Duration::from_secs(2)));
            assert_eq!(check(&list, entry, "revocation", 6, "did:web:issuer"), Ok(()));
            assert_eq!(check(&list, entry, "revocation", 7, "did:web:issuer"), Err(Revoked));
            assert_eq!(check(&list, entry, "suspension", 7, "did:web:issuer"), Err(Suspended));
            assert_eq!(check(&list, entry, "revocation", 64, "did:web:issuer"), Err(Purpose));
            assert_eq!(check(&list, entry, "revocation", 6, "did:web:other"), Err(Issuer));
        }
        let only = list("BitstringStatusList", json!("revocation"), 7).unwrap();
        assert_eq!(check(&only, "BitstringStatusListEntry", "suspension", 6, "did:web:issuer"), Err(Purpose));
        assert_eq!(check(&only, "StatusList2021Entry", "revocation", 6, "did:web:issuer"), Err(Purpose));
        assert!(list("OtherList", json!("revocation"), 7).is_err());
    }
}
