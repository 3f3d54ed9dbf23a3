//! Status lists as they are served: signed once per version, kept in a bounded cache.

use super::{
    Issuer, StatusListId,
    list_credential::ListCredential,
    signing,
    status_list::{ListBits, ListContent},
};
use crate::{
    Services,
    trust::{self, TokenError},
};
use bytes::Bytes;
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{ParticipantContextId, Timestamp, identity::key_pair::KeyUsage};
use cellspace_storage::Vault;
use quick_cache::{Weighter, sync::Cache};
use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

/// How long a served list credential is valid. Half of it is left when it is signed anew. Verifiers that ignore its `ttl`, as the DCP profile says, keep it until
/// then: within this time they see a revocation.
const VALIDITY: Duration = Duration::from_secs(300);
/// Bytes of signed lists kept at most. A list of a million credentials is some 400 KiB in both its forms when half of them are revoked.
const MAX_KEPT_BYTES: u64 = 64 << 20;
/// Lists expected among them: few, so that the largest one has room.
const KEPT: usize = 64;

/// A status list credential, signed and in its JSON form.
#[derive(Debug)]
pub struct PublishedList {
    /// The signed credential, compact.
    pub jwt: Bytes,
    /// The same credential without proof.
    pub json: Bytes,
    /// Tells this list's states and signatures apart.
    pub tag: String,
    version: u64,
    kid: String,
    signed_at: Timestamp,
}

impl PublishedList {
    /// Whether it says what the list says now, or later, by the key that the issuer signs with now, for long enough.
    fn is_current(&self, version: u64, kid: &str, now: Timestamp) -> bool {
        self.version >= version && self.kid == kid && now.since(self.signed_at) < VALIDITY / 2
    }
}

/// Why a list is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no such list, or no such issuer.
    #[error("the status list does not exist")]
    Unknown,
    /// Try again later.
    #[error("{0}")]
    Unavailable(String),
}

/// What came of making a list. A failure stays until those have it who waited.
#[derive(Clone)]
enum Made {
    List(Arc<PublishedList>),
    Failure(Arc<PublishError>),
}

#[derive(Clone)]
struct ByBytes;

impl<K> Weighter<K, Made> for ByBytes {
    fn weight(&self, _: &K, made: &Made) -> u64 {
        match made {
            Made::List(list) => (list.jwt.len() + list.json.len()) as u64,
            Made::Failure(_) => 1,
        }
    }
}

/// Signed lists.
struct Kept(Cache<(ParticipantContextId, StatusListId), Made, ByBytes>);

impl Default for Kept {
    fn default() -> Self {
        Self(Cache::with_weighter(KEPT, MAX_KEPT_BYTES, ByBytes))
    }
}

impl Kept {
    /// The list, made when what is kept is not current. Of many who ask for one list only one makes it, the others wait, also for its failure, which nobody
    /// sees who comes later; who wants a later state than was being made has it made anew.
    async fn current<F>(
        &self,
        key: &(ParticipantContextId, StatusListId),
        is_current: impl Fn(&PublishedList) -> bool,
        make: impl Fn() -> F,
    ) -> Result<Arc<PublishedList>, PublishError>
    where
        F: Future<Output = Result<PublishedList, PublishError>>,
    {
        loop {
            let making = async {
                let made = make().await.map(Arc::new);
                Ok::<_, Infallible>(made.map_or_else(|failure| Made::Failure(Arc::new(failure)), Made::List))
            };
            match self.0.get_or_insert_async(key, making).await {
                Ok(Made::List(list)) if is_current(&list) => return Ok(list),
                Ok(Made::List(_)) => drop(self.0.remove_if(key, |made| matches!(made, Made::List(list) if !is_current(list)))),
                Ok(Made::Failure(failure)) => {
                    self.0.remove_if(key, |made| matches!(made, Made::Failure(other) if Arc::ptr_eq(other, &failure)));
                    return Err(PublishError::clone(&failure));
                }
                Err(never) => match never {},
            }
        }
    }
}

/// Serves the status lists of all issuers of a node.
pub struct StatusListPublisher {
    age: Duration,
    bits: ListBits,
    kept: Kept,
}

impl Default for StatusListPublisher {
    /// Verifiers may keep lists for five seconds.
    fn default() -> Self {
        Self::new(Duration::from_secs(5), ListBits::default())
    }
}

impl StatusListPublisher {
    /// Lists of so many bits that verifiers may keep for `age`.
    #[must_use]
    pub fn new(age: Duration, bits: ListBits) -> Self {
        Self { age, bits, kept: Kept::default() }
    }

    /// How many bits lists have.
    #[must_use]
    pub const fn bits(&self) -> ListBits {
        self.bits
    }

    /// How long a verifier may keep a list.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// The list as it is now.
    ///
    /// # Errors
    /// [`PublishError`]
    pub async fn list(
        &self,
        services: &Services,
        issuer: &ParticipantContextId,
        id: StatusListId,
    ) -> Result<Arc<PublishedList>, PublishError> {
        let address = Address::of::<Issuer>(issuer);
        let snapshot = services.cluster.snapshot::<Issuer>(&address).await.map_err(|error| match error {
            AskError::NotRegistered => PublishError::Unknown,
            other => PublishError::Unavailable(other.to_string()),
        })?;
        let version = snapshot.lists.version(id).ok_or(PublishError::Unknown)?;
        let key = trust::signing_key(services, issuer, KeyUsage::Credentials).await.map_err(|error| match error {
            TokenError::NoParticipant(_) => PublishError::Unknown,
            TokenError::NoKey(..) | TokenError::Unavailable(_) => PublishError::Unavailable(error.to_string()),
        })?;
        let now = services.cluster.now();
        let make = || async {
            let content = snapshot.lists.content(id, self.bits).ok_or(PublishError::Unknown)?;
            self.publish(services, issuer, id, content, &key, now).await
        };
        self.kept.current(&(issuer.clone(), id), |list| list.is_current(version, &key.kid, now), make).await
    }

    async fn publish(
        &self,
        services: &Services,
        issuer: &ParticipantContextId,
        id: StatusListId,
        content: ListContent,
        key: &trust::SigningKey,
        now: Timestamp,
    ) -> Result<PublishedList, PublishError> {
        let url = services.urls.status_list(issuer, &id.to_string());
        let (ttl, valid_until) = (self.age, now.plus(VALIDITY));
        let (bits, encoding) = (content.bits, id.encoding());
        // Once: most of the work is to compress the bits. Milliseconds for a large list: no thread of the executor is held up by it.
        let encoded = tokio::task::spawn_blocking(move || bits.encode(encoding)).await.map_err(|e| unavailable(&e))?;
        let list = ListCredential { id, url: &url, issuer: &key.did, encoded: &encoded, ttl, valid_from: now, valid_until };
        let (jwt, json) = forms(services.vault.as_ref(), key, &list).await?;
        tracing::debug!(category = "dcp", vpa = %Address::of::<Issuer>(issuer), action = "statuslist.signed", list = %id, version = content.version);
        let tag = format!("{}-{}", content.version, now.millis());
        Ok(PublishedList { jwt, json, tag, version: content.version, kid: key.kid.clone(), signed_at: now })
    }
}

fn unavailable(error: &dyn Error) -> PublishError {
    PublishError::Unavailable(error.to_string())
}

/// A list in its signed and its plain form, each in no more memory than it is long.
async fn forms(vault: &dyn Vault, key: &trust::SigningKey, list: &ListCredential<'_>) -> Result<(Bytes, Bytes), PublishError> {
    let credential = list.credential();
    let json = serde_json::to_vec(&credential).map_err(|e| unavailable(&e))?;
    let claims = list.jwt_claims(credential);
    let jwt = signing::sign(vault, key, list.id.format, &claims).await.map_err(|e| unavailable(&e))?;
    Ok((jwt.into_bytes().into_boxed_slice().into(), json.into_boxed_slice().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        issuer::{
            Purpose,
            status_list::{Slot, StatusChanges, StatusCommand, StatusLists},
            testing::did,
        },
        trust::testing::TestVault,
    };
    use cellspace_schemas::dcp::CredentialFormat;
    use cellspace_storage::KeyAlgorithm;
    use parking_lot::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn one_makes_a_list_and_a_later_state_is_made_anew() {
        let kept = Kept::default();
        let id = StatusListId { format: CredentialFormat::Vc2Jose, purpose: Purpose::Revocation, number: 1 };
        let key = (ParticipantContextId::new("issuer").unwrap(), id);
        let made = Mutex::new(Vec::new());
        let ask = |version: u64| {
            let (kept, key, made) = (&kept, &key, &made);
            let make = move || async move {
                made.lock().push(version);
                // Others get their turn, so that they really wait.
                tokio::task::yield_now().await;
                let empty = Bytes::new;
                let signed_at = Timestamp(0);
                Ok(PublishedList { jwt: empty(), json: empty(), tag: String::new(), version, kid: "k1".to_owned(), signed_at })
            };
            async move { kept.current(key, |list| list.is_current(version, "k1", Timestamp(0)), make).await.unwrap().version }
        };
        // Two before a change, two after it, at the same time.
        assert_eq!(futures::join!(ask(3), ask(3), ask(4), ask(4)), (3, 3, 4, 4));
        assert_eq!(*made.lock(), [3, 4]);
        // Who has not seen the change takes the later state.
        assert_eq!((ask(3).await, made.lock().len()), (4, 2));
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_those_who_wait_and_by_nobody_else() {
        let (kept, made, open) = (Kept::default(), AtomicUsize::new(0), Notify::new());
        let id = StatusListId { format: CredentialFormat::Vc2Jose, purpose: Purpose::Revocation, number: 1 };
        let key = (ParticipantContextId::new("issuer").unwrap(), id);
        let ask = || {
            let make = || async {
                made.fetch_add(1, Ordering::SeqCst);
                open.notified().await;
                Err(PublishError::Unavailable("no vault".to_owned()))
            };
            kept.current(&key, |_| true, make)
        };
        let failure = || Some(PublishError::Unavailable("no vault".to_owned()));
        for round in 1..3 {
            let opened = async {
                while made.load(Ordering::SeqCst) < round {
                    tokio::task::yield_now().await;
                }
                open.notify_one();
            };
            let together = futures::future::join_all((0..10).map(|_| async { ask().await.err() }));
            let (failures, ()) = futures::join!(together, opened);
            assert!(failures.into_iter().all(|told| told == failure()));
            assert_eq!(made.load(Ordering::SeqCst), round);
        }
    }

    /// A million credentials at the worst, where nothing can be compressed: with the places, the bits of both purposes, and both forms of both lists.
    #[tokio::test]
    async fn all_that_is_kept_of_a_million_entries_is_less_than_two_mebibytes() {
        let (mut lists, bits) = (StatusLists::default(), ListBits::new(1 << 20).unwrap());
        let revoked = StatusChanges::default().after(StatusCommand::Revoke).unwrap();
        let both = StatusChanges::default().after(StatusCommand::Suspend).and_then(|changes| changes.after(StatusCommand::Revoke)).unwrap();
        let suspended = StatusChanges::default().after(StatusCommand::Suspend).unwrap();
        let mut random = 1_u64;
        for index in 0..1_000_000 {
            // Marsaglia's xorshift.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let now = [StatusChanges::default(), revoked, suspended, both][usize::try_from(random >> 62).unwrap()];
            lists.note(CredentialFormat::Vc2Jose, Slot { number: 1, index }, StatusChanges::default(), now);
        }
        let (vault, path) = (TestVault::default(), TestVault::path("issuer", "key-1"));
        vault.generate_key(&path, KeyAlgorithm::P256).await.unwrap();
        let key = trust::SigningKey { kid: format!("{}#key-1", did("issuer")), did: did("issuer"), path, algorithm: KeyAlgorithm::P256 };
        let mut kept = lists.bytes();
        for purpose in Purpose::ALL {
            let id = StatusListId { format: CredentialFormat::Vc2Jose, purpose, number: 1 };
            let content = lists.content(id, bits).unwrap();
            assert_eq!(content.bits.len(), 1 << 20);
            let encoded = &content.bits.encode(id.encoding());
            let (ttl, valid_until) = (Duration::from_secs(5), Timestamp(1));
            let url = "https://cells.example/statuslist/issuer/bssl-revocation-1";
            let list = ListCredential { id, url, issuer: &key.did, encoded, ttl, valid_from: Timestamp(0), valid_until };
            let (jwt, json) = forms(&vault, &key, &list).await.unwrap();
            kept += jwt.len() + json.len();
        }
        assert!((1 << 20..2 << 20).contains(&kept), "{kept}");
    }

    #[test]
    fn a_list_is_signed_anew_by_content_key_and_age() {
        let signed_at = Timestamp(1_790_000_000_000);
        let empty = Bytes::new;
        let list = PublishedList { jwt: empty(), json: empty(), tag: String::new(), version: 3, kid: "k1".to_owned(), signed_at };
        let half = VALIDITY / 2;
        for (version, kid, age, current) in [
            (3, "k1", Duration::ZERO, true),
            (3, "k1", half - Duration::from_millis(1), true),
            (3, "k1", half, false),
            (4, "k1", Duration::ZERO, false),
            (2, "k1", Duration::ZERO, true),
            (3, "k2", Duration::ZERO, false),
        ] {
            assert_eq!(list.is_current(version, kid, signed_at.plus(age)), current, "{version} {kid} {age:?}");
        }
    }
}
