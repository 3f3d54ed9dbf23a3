//! Who asks, with which claims, proven how: DIDs, self-issued tokens, presentations, status lists, replay protection.

pub mod jwk;
pub mod jws;
pub mod peer;
#[cfg(test)]
pub(crate) mod testing;

pub use peer::{PeerError, VerifiedPeer, VerifyRequest};

use crate::Services;
use cellspace_schemas::{Did, ParticipantContextId};

/// Caches and guards of the trust path; one per node.
#[derive(Default)]
pub struct Trust {}

/// Why no self-issued token can be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// No such participant, or it is deactivated.
    #[error("no active participant context {0}")]
    NoParticipant(ParticipantContextId),
    /// It has no active key.
    #[error("participant context {0} has no active signing key")]
    NoKey(ParticipantContextId),
    /// Something underneath failed; try again later.
    #[error("{0}")]
    Unavailable(String),
}

/// Makes a self-issued ID token of the participant for `audience` (DCP 1.0, 4.3), with an access token for its own credential service in the
/// `token` claim that grants `scopes` (for example `org.eclipse.dspace.dcp.vc.type:MembershipCredential:read`); no `token` claim when empty.
///
/// # Errors
/// [`TokenError`] when the participant cannot sign.
#[allow(clippy::todo, clippy::unused_async, unused_variables)]
pub async fn self_issued_token(
    services: &Services,
    participant: &ParticipantContextId,
    audience: &Did,
    scopes: &[String],
) -> Result<String, TokenError> {
    todo!()
}

/// Verifies the bearer token of a protocol message and, when `scopes` are asked for, the sender's presentation: signature, audience, replay,
/// holder binding, issuer trust, validity, status (DCP 1.0, 4 and 5; caching as the architecture's "Trust on the hot path").
///
/// # Errors
/// [`PeerError`] names the rule that failed.
#[allow(clippy::todo, clippy::unused_async, unused_variables)]
pub async fn verify_peer(services: &Services, request: VerifyRequest<'_>) -> Result<VerifiedPeer, PeerError> {
    todo!()
}

/// The participant's own DID, from its credential service.
///
/// # Errors
/// [`TokenError::NoParticipant`] when it is unknown or deactivated.
#[allow(clippy::todo, clippy::unused_async, unused_variables)]
pub async fn own_did(services: &Services, participant: &ParticipantContextId) -> Result<Did, TokenError> {
    todo!()
}
