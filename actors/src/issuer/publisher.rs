//! Status lists as they are served: signed once per version, kept in a bounded cache.

use super::{Issuer, StatusListId, list_credential::ListCredential, signing, status_list::ListContent};
use crate::{
    Services,
    trust::{self, TokenError},
};
use bytes::Bytes;
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{ParticipantContextId, Timestamp, identity::key_pair::KeyUsage};
use std::{sync::Arc, time::Duration};

/// How long a served list credential is valid. Half of it is left when it is signed anew.
const VALIDITY: Duration = Duration::from_secs(3600);
/// Signed lists kept at most: about 20 KiB each when half full of revocations, much less otherwise.
const MAX_KEPT: usize = 512;

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
    /// Whether it says what the list says now, by the key that the issuer signs with now, for long enough.
    fn is_current(&self, version: u64, kid: &str, now: Timestamp) -> bool {
        self.version == version && self.kid == kid && now.since(self.signed_at) < VALIDITY / 2
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

/// Serves the status lists of all issuers of a node.
pub struct StatusListPublisher {
    age: Duration,
    kept: quick_cache::sync::Cache<(ParticipantContextId, StatusListId), Arc<PublishedList>>,
}

impl Default for StatusListPublisher {
    /// Verifiers may keep lists for five seconds.
    fn default() -> Self {
        Self::new(Duration::from_secs(5))
    }
}

impl StatusListPublisher {
    /// Lists that verifiers may keep for `age`.
    #[must_use]
    pub fn new(age: Duration) -> Self {
        Self { age, kept: quick_cache::sync::Cache::new(MAX_KEPT) }
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
        let cached = self.kept.get(&(issuer.clone(), id));
        if let Some(list) = cached.filter(|list| list.is_current(version, &key.kid, now)) {
            return Ok(list);
        }
        let content = snapshot.lists.content(id).ok_or(PublishError::Unknown)?;
        let list = Arc::new(self.publish(services, issuer, id, &content, &key, now).await?);
        self.kept.insert((issuer.clone(), id), list.clone());
        Ok(list)
    }

    async fn publish(
        &self,
        services: &Services,
        issuer: &ParticipantContextId,
        id: StatusListId,
        content: &ListContent,
        key: &trust::SigningKey,
        now: Timestamp,
    ) -> Result<PublishedList, PublishError> {
        let url = services.urls.status_list(issuer, &id.to_string());
        let (ttl, valid_until) = (self.age, now.plus(VALIDITY));
        let list = ListCredential { id, url: &url, issuer: &key.did, content, ttl, valid_from: now, valid_until };
        let unavailable = |error: &dyn std::error::Error| PublishError::Unavailable(error.to_string());
        let jwt = signing::sign(services.vault.as_ref(), key, id.format, &list.jwt_claims()).await.map_err(|e| unavailable(&e))?;
        let json = serde_json::to_vec(&list.credential()).map_err(|e| unavailable(&e))?;
        tracing::debug!(category = "dcp", vpa = %Address::of::<Issuer>(issuer), action = "statuslist.signed", list = %id, version = content.version);
        let tag = format!("{}-{}", content.version, now.millis());
        Ok(PublishedList { jwt: jwt.into(), json: json.into(), tag, version: content.version, kid: key.kid.clone(), signed_at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (3, "k2", Duration::ZERO, false),
        ] {
            assert_eq!(list.is_current(version, kid, signed_at.plus(age)), current, "{version} {kid} {age:?}");
        }
    }
}
