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
use quick_cache::{Weighter, sync::Cache};
use std::{sync::Arc, time::Duration};

/// How long a served list credential is valid. Half of it is left when it is signed anew.
const VALIDITY: Duration = Duration::from_secs(3600);
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

#[derive(Clone)]
struct ByBytes;

impl<K> Weighter<K, Arc<PublishedList>> for ByBytes {
    fn weight(&self, _: &K, list: &Arc<PublishedList>) -> u64 {
        (list.jwt.len() + list.json.len()) as u64
    }
}

/// Signed lists.
struct Kept(Cache<(ParticipantContextId, StatusListId), Arc<PublishedList>, ByBytes>);

impl Default for Kept {
    fn default() -> Self {
        Self(Cache::with_weighter(KEPT, MAX_KEPT_BYTES, ByBytes))
    }
}

impl Kept {
    /// The list, made when what is kept is not current. Of many who ask for one list only one makes it, the others wait; who wants a later state than
    /// was being made has it made anew.
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
            let making = async { make().await.map(Arc::new) };
            let list = self.0.get_or_insert_async(key, making).await?;
            if is_current(&list) {
                return Ok(list);
            }
            self.0.remove_if(key, |list| !is_current(list));
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
        let unavailable = |error: &dyn std::error::Error| PublishError::Unavailable(error.to_string());
        let (bits, encoding) = (content.bits, id.encoding());
        // Once: most of the work is to compress the bits. Milliseconds for a large list: no thread of the executor is held up by it.
        let encoded = tokio::task::spawn_blocking(move || bits.encode(encoding)).await.map_err(|e| unavailable(&e))?;
        let list = ListCredential { id, url: &url, issuer: &key.did, encoded: &encoded, ttl, valid_from: now, valid_until };
        let credential = list.credential();
        let json = serde_json::to_vec(&credential).map_err(|e| unavailable(&e))?;
        let claims = list.jwt_claims(credential);
        let jwt = signing::sign(services.vault.as_ref(), key, id.format, &claims).await.map_err(|e| unavailable(&e))?;
        tracing::debug!(category = "dcp", vpa = %Address::of::<Issuer>(issuer), action = "statuslist.signed", list = %id, version = content.version);
        let tag = format!("{}-{}", content.version, now.millis());
        Ok(PublishedList { jwt: jwt.into(), json: json.into(), tag, version: content.version, kid: key.kid.clone(), signed_at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::Purpose;
    use cellspace_schemas::dcp::CredentialFormat;
    use parking_lot::Mutex;

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
