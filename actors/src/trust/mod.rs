//! Who asks, with which claims, proven how: DIDs, self-issued tokens, presentations, status lists, replay protection.
//!
//! Verification is pure wherever it can be (`jws`, `keys`, `id_token`, `credential`, `presentation`, `status`, `schema`, `schema_steps`, `did`); [`Trust`] adds
//! caches, the guard against replay, and the way to others. Every refusal names the rule that was broken.

pub mod aged_cache;
mod asked;
pub mod claims;
pub mod credential;
pub mod did;
pub mod fetch;
pub mod id_token;
pub mod jwk;
pub mod jws;
pub mod keys;
pub mod peer;
pub mod presentation;
pub mod replay;
pub mod resolver;
pub mod said;
pub mod schema;
mod schema_steps;
pub mod self_issued;
pub mod since;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod verify;
#[cfg(test)]
mod world;

pub use id_token::{IdToken, claimed_sender};
pub use peer::{PeerError, VerifiedPeer, VerifyRequest};
pub use replay::UsedTokens;
pub use resolver::Resolver;
pub use self_issued::{ID_TOKEN_SECONDS, SigningKey};
pub use verify::IssueToken;

use crate::{
    Services,
    credential_service::{self, CredentialService},
};
use aged_cache::{AgedCache, FAILURE_AGE};
use cellspace_cluster::{Address, AskError, CallId};
use cellspace_schemas::{Did, ParticipantContextId, Timestamp, identity::key_pair::KeyUsage};
use credential::{Tolerance, VerifiedCredential};
use fetch::Fetch;
use futures::{FutureExt, future::BoxFuture};
use quick_cache::sync::Cache;
use replay::ReplayGuard;
use std::{sync::Arc, time::Duration};

/// Bounds and ages of the trust path.
#[derive(Debug, Clone)]
pub struct TrustOptions {
    /// Oldest status list that is relied on; a list's own `ttl` may only shorten it. One in use is asked for anew when half of it is over.
    pub status_list_age: Duration,
    /// Oldest DID document that is relied on: a key that was taken out of it counts no longer than this. One in use is asked for anew when half of it is over.
    pub did_document_age: Duration,
    /// Oldest presentation that is relied on, when nothing in it ends earlier. Zero asks for every message.
    pub presentation_age: Duration,
    /// Since when this node sees used tokens, when an earlier run may have seen some that it does not know; `None` for a new store.
    pub opened: Option<Timestamp>,
    /// Most tokens remembered against replay: 16 bytes and a little each.
    pub used_tokens: usize,
    /// Most bytes of DID documents kept.
    pub did_cache_bytes: u64,
    /// Most bytes of status lists kept.
    pub status_cache_bytes: u64,
    /// Most bytes of presentations kept, counted as if none had a credential in common with another.
    pub presentation_cache_bytes: u64,
    /// Most bytes of verified credentials kept, so that presentations may have them in common.
    pub credential_cache_bytes: u64,
    /// Most bytes of schemas kept, counted with what they are compiled to.
    pub schema_cache_bytes: u64,
    /// Accept keys from DID documents that state no verification relationship at all.
    pub lenient_relationships: bool,
    /// Accept credentials whose JWT names another id (`jti`) than they have themselves; their own counts.
    pub lenient_ids: bool,
    /// Accept credentials without looking at the schemas that they name, whatever their kinds. Peers that look at none issue such whose schema cannot be had.
    pub lenient_schemas: bool,
    /// Accept status lists with fewer than 131,072 entries, which tell more of who is on them. Peers publish such.
    pub lenient_lists: bool,
}

impl TrustOptions {
    /// What is tolerated in credentials, those that are status lists among them.
    const fn tolerance(&self) -> Tolerance {
        Tolerance { ids: self.lenient_ids, schemas: self.lenient_schemas, short_lists: self.lenient_lists }
    }
}

impl Default for TrustOptions {
    fn default() -> Self {
        Self {
            status_list_age: Duration::from_secs(5),
            did_document_age: Duration::from_secs(30),
            presentation_age: Duration::from_secs(600),
            opened: None,
            used_tokens: 1 << 20,
            did_cache_bytes: 32 << 20,
            status_cache_bytes: 64 << 20,
            presentation_cache_bytes: 384 << 20,
            credential_cache_bytes: 32 << 20,
            schema_cache_bytes: 16 << 20,
            lenient_relationships: false,
            lenient_ids: false,
            lenient_schemas: false,
            lenient_lists: false,
        }
    }
}

/// Caches and guards of the trust path; one per node.
pub struct Trust {
    /// DID documents and keys of others.
    pub resolver: Resolver,
    fetch: Arc<dyn Fetch>,
    replay: ReplayGuard,
    status_lists: status::StatusLists,
    schemas: AgedCache<schema::SchemaSource, Arc<schema::Schema>>,
    presentations: AgedCache<verify::PresentationKey, Arc<verify::Presented>>,
    scopes: asked::KnownScopes,
    /// By their signed form.
    credentials: Cache<credential::SignedForm, Arc<VerifiedCredential>, credential::ByBytes>,
    options: TrustOptions,
}

impl Trust {
    /// Reaches others through `fetch`, normally the [`crate::OutboundHttp`].
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>, options: TrustOptions) -> Self {
        let resolver = Resolver::new(fetch.clone(), &options);
        Self {
            status_lists: status::StatusLists::new(fetch.clone(), resolver.clone(), &options),
            resolver,
            replay: ReplayGuard::new(options.used_tokens, options.opened),
            schemas: AgedCache::new(1_024, options.schema_cache_bytes, FAILURE_AGE),
            // A failure belongs to one message's access token, not to the next message.
            presentations: AgedCache::new(32_768, options.presentation_cache_bytes, Duration::ZERO),
            credentials: Cache::with_weighter(8_192, options.credential_cache_bytes, credential::ByBytes),
            scopes: asked::KnownScopes::default(),
            fetch,
            options,
        }
    }
}

/// Why no self-issued token can be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// No such participant, or it is deactivated.
    #[error("no active participant context {0}")]
    NoParticipant(ParticipantContextId),
    /// It has no active key of the usage.
    #[error("participant context {0} has no active key with the usage {1}")]
    NoKey(ParticipantContextId, KeyUsage),
    /// Something underneath failed; try again later.
    #[error("{0}")]
    Unavailable(String),
}

/// The key that the participant makes signatures of this usage with now.
///
/// # Errors
/// [`TokenError`] when it is unknown, deactivated or has no active key of the usage.
pub async fn signing_key(services: &Services, participant: &ParticipantContextId, usage: KeyUsage) -> Result<SigningKey, TokenError> {
    let found = read(services, participant, |state| (state.active_context().is_some(), state.signing_key(usage))).await?;
    match found {
        (false, _) => Err(TokenError::NoParticipant(participant.clone())),
        (true, None) => Err(TokenError::NoKey(participant.clone(), usage)),
        (true, Some(key)) => Ok(key),
    }
}

/// Makes a self-issued ID token of the participant for `audience` (DCP 1.0, 4.3), with an access token for its own credential service in the
/// `token` claim that grants `scopes` (for example `org.eclipse.dspace.dcp.vc.type:MembershipCredential:read`); no `token` claim when empty.
///
/// # Errors
/// [`TokenError`] when the participant cannot sign.
pub async fn self_issued_token(
    services: &Services,
    participant: &ParticipantContextId,
    audience: &Did,
    scopes: &[String],
) -> Result<String, TokenError> {
    let key = signing_key(services, participant, KeyUsage::Token).await?;
    let (vault, now) = (services.vault.as_ref(), services.cluster.now());
    let failed = |e: cellspace_storage::VaultError| TokenError::Unavailable(e.to_string());
    let access = match scopes {
        [] => None,
        scopes => Some(key.access_token(vault, audience, scopes, now).await.map_err(failed)?),
    };
    key.id_token(vault, audience, access.as_deref(), now).await.map_err(failed)
}

/// Makes a self-issued ID token of the participant for `audience` that passes on an access `token` that the audience gave (DCP 1.0, "Presentation
/// Flow", step 6).
///
/// # Errors
/// [`TokenError`] when the participant cannot sign.
pub async fn token_with_access(
    services: &Services,
    participant: &ParticipantContextId,
    audience: &Did,
    token: Option<&str>,
) -> Result<String, TokenError> {
    let key = signing_key(services, participant, KeyUsage::Token).await?;
    let token = key.id_token(services.vault.as_ref(), audience, token, services.cluster.now()).await;
    token.map_err(|e| TokenError::Unavailable(e.to_string()))
}

/// Makes a self-issued ID token of the participant for an issuer that it asks for credentials, with the code by which that has authorized the request
/// beforehand, where it has (DCP 1.0, "Credential Request API").
///
/// # Errors
/// [`TokenError`] when the participant cannot sign.
pub async fn token_for_issuer(
    services: &Services,
    participant: &ParticipantContextId,
    issuer: &Did,
    code: Option<&str>,
) -> Result<String, TokenError> {
    let key = signing_key(services, participant, KeyUsage::Token).await?;
    let token = key.id_token_with_code(services.vault.as_ref(), issuer, code, services.cluster.now()).await;
    token.map_err(|e| TokenError::Unavailable(e.to_string()))
}

/// Verifies the bearer token of a message whose sender needs no credentials (the DCP endpoints themselves), see [`Trust::verify_id_token`].
///
/// # Errors
/// [`PeerError`] names the rule that failed.
pub async fn verify_sender(
    services: &Services,
    (participant, own_did): (&ParticipantContextId, &Did),
    token: &str,
    call: Option<CallId>,
) -> Result<IdToken, PeerError> {
    let slot = services.cluster.opened(participant);
    let verified = services.trust.verify_id_token(own_did, token, call, services.cluster.now(), slot).await;
    let verified = match verified {
        Ok(verified) => still_served(services, participant, verified).await,
        Err(error) => Err(error),
    };
    verified.inspect_err(|error| tell_refusal(own_did, None, error))
}

/// Tells the owner of the receiver, in the log, why a sender is not believed: which rule failed, or what cannot be known now.
pub fn tell_refusal(receiver: &Did, vpa: Option<&Address>, error: &PeerError) {
    let action = if matches!(error, PeerError::Refused(_)) { "peer.refused" } else { "peer.unknown" };
    tracing::info!(category = "dcp", vpa = vpa.map(tracing::field::display), %receiver, action, rule = %error);
}

/// Verifies the bearer token of a protocol message and, when `scopes` are asked for, the sender's presentation: signature, audience, replay,
/// holder binding, issuer trust, validity, status (DCP 1.0, 4 and 5; caching as the architecture's "Trust on the hot path").
///
/// A token is used up by the first verification: call this once per message, or with the id of its call.
///
/// # Errors
/// [`PeerError`] names the rule that failed.
pub async fn verify_peer(services: &Services, request: VerifyRequest<'_>) -> Result<VerifiedPeer, PeerError> {
    let tokens = OwnTokens { services, participant: request.participant };
    let verified = services.trust.verify(&request, &tokens, services.cluster.now()).await?;
    still_served(services, request.participant, verified).await
}

/// A token that was admitted while the receiver's slot was handed over may not be known where it went.
async fn still_served<T>(services: &Services, participant: &ParticipantContextId, verified: T) -> Result<T, PeerError> {
    if services.cluster.finds_elsewhere(&participant.into()).await {
        return Err(PeerError::Unreachable("the receiver is being moved".to_owned()));
    }
    Ok(verified)
}

/// The participant's own DID, from its credential service.
///
/// # Errors
/// [`TokenError::NoParticipant`] when it is unknown or deactivated.
pub async fn own_did(services: &Services, participant: &ParticipantContextId) -> Result<Did, TokenError> {
    let did = read(services, participant, |state| state.active_context().map(|context| context.did.clone())).await?;
    did.ok_or_else(|| TokenError::NoParticipant(participant.clone()))
}

/// Whether there is such a participant, and it is active: one that is not is for others as if it were not there.
///
/// # Errors
/// [`TokenError::Unavailable`] when its credential service is.
pub async fn is_active(services: &Services, participant: &ParticipantContextId) -> Result<bool, TokenError> {
    match read(services, participant, |state| state.active_context().is_some()).await {
        Err(TokenError::NoParticipant(_)) => Ok(false),
        found => found,
    }
}

async fn read<T>(
    services: &Services,
    participant: &ParticipantContextId,
    query: impl FnOnce(&credential_service::State) -> T,
) -> Result<T, TokenError> {
    let address = Address::of::<CredentialService>(participant);
    services.cluster.read::<CredentialService, T>(&address, query).await.map_err(|error| match error {
        AskError::NotRegistered => TokenError::NoParticipant(participant.clone()),
        other => TokenError::Unavailable(other.to_string()),
    })
}

/// Tokens of one of our participants.
struct OwnTokens<'a> {
    services: &'a Services,
    participant: &'a ParticipantContextId,
}

impl IssueToken for OwnTokens<'_> {
    fn issue<'a>(&'a self, audience: &'a Did, token: Option<&'a str>) -> BoxFuture<'a, Result<String, PeerError>> {
        async move {
            let issued = token_with_access(self.services, self.participant, audience, token).await;
            issued.map_err(|reason| PeerError::ours(&reason))
        }
        .boxed()
    }
}
