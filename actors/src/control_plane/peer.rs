//! Verification of the sender of a protocol message.

use super::{
    Participant,
    policy::{ParticipantAgent, uniform},
    scopes::Scopes,
};
use crate::{
    Services,
    settings::Settings,
    trust::{PeerError, VerifyRequest, verify_peer},
};
use cellspace_cluster::CallId;
use cellspace_schemas::ProfileId;

/// A message's token, and what its sender is asked for.
#[derive(Debug, Clone, Copy)]
pub struct PeerCall<'a> {
    /// Who received the message.
    pub participant: &'a Participant,
    /// In which profile: its trusted issuers count.
    pub profile: &'a ProfileId,
    /// The bearer token.
    pub token: &'a str,
    /// The call that is prepared, when it is one.
    pub call: Option<CallId>,
    /// The credentials asked for.
    pub scopes: &'a Scopes,
    /// Whether an absent optional credential may be believed for a while: for catalogs only.
    pub believe_absence: bool,
}

/// Verifies the sender (DCP 1.0) and gives it the form that policies are evaluated on.
///
/// # Errors
/// [`PeerError`] names the rule that failed.
pub async fn verify(services: &Services, settings: &Settings, call: PeerCall<'_>) -> Result<ParticipantAgent, PeerError> {
    let trusted = settings.profiles.get(call.profile).map_or(&[][..], |profile| &profile.trusted_issuers);
    let request = VerifyRequest {
        participant: &call.participant.id,
        own_did: &call.participant.identity,
        token: call.token,
        call: call.call,
        required: &call.scopes.required,
        optional: &call.scopes.optional,
        named: &call.scopes.named,
        trusted_issuers: trusted,
        slot: services.cluster.opened(&call.participant.id),
        believe_absence: call.believe_absence,
    };
    let peer = verify_peer(services, request).await?;
    Ok(ParticipantAgent::of(peer.did, peer.credentials.iter().map(|credential| credential.viewed(uniform)).collect()))
}
