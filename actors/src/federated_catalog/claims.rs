//! What a participant could itself show to a provider.

use crate::{
    CredentialService, Services,
    control_plane::{
        Participant,
        catalog::RequestError,
        policy::{ParticipantAgent, uniform},
    },
    settings::TrustedIssuer,
};
use cellspace_cluster::{Address, AskError};
use std::{collections::HashSet, sync::Arc};

/// Credentials looked at, at most; the newest count, one of each issuer and kind, as in a presentation.
const MAX_HELD: usize = 32;

/// The participant with those of its credentials that count now where these issuers are trusted: judged as a provider would judge them, so that what
/// a participant has given to itself opens nothing. One of which that cannot be said now does not count.
///
/// # Errors
/// [`RequestError::Unavailable`] when its credential service cannot be asked.
pub(super) async fn own_claims(
    services: &Services,
    participant: &Participant,
    trusted: &[TrustedIssuer],
) -> Result<ParticipantAgent, RequestError> {
    let address = Address::of::<CredentialService>(&participant.id);
    let state = match services.cluster.snapshot::<CredentialService>(&address).await {
        Ok(state) => state,
        Err(AskError::NotRegistered) => Arc::default(),
        Err(other) => return Err(RequestError::Unavailable(other.to_string())),
    };
    let Some(context) = state.active_context() else { return Ok(ParticipantAgent::of(participant.identity.clone(), Vec::new())) };
    let now = services.cluster.now();
    let mut held: Vec<_> = state.credentials.values().filter(|credential| credential.is_valid(now)).collect();
    held.sort_by(|a, b| b.valid_from.cmp(&a.valid_from).then_with(|| a.id.cmp(&b.id)));
    let mut kinds = HashSet::new();
    held.retain(|credential| kinds.insert((&credential.issuer, &credential.types)));
    let mut credentials = Vec::new();
    for credential in held.into_iter().take(MAX_HELD) {
        if let Ok(verified) = services.trust.verify_held(&credential.raw, &context.did, trusted, now).await {
            credentials.push(verified.viewed(uniform));
        }
    }
    Ok(ParticipantAgent::of(context.did.clone(), credentials))
}
