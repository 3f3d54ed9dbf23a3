//! Messages of counterparties on their way to a decision: who sent them, proven how.

use super::Mark;
use crate::{
    Services,
    control_plane::{
        ControlPlaneState, Participant,
        agent::Refusal as AgentRefusal,
        peer::{self, PeerCall},
        policy::ParticipantAgent,
        scopes::Scopes,
    },
    settings::{DataspaceProfile, Settings},
    trust::{PeerError, tell_refusal},
};
use cellspace_cluster::{Address, CallId, PrepareError};
use cellspace_schemas::{Did, ProfileId, SecretText};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What every received message comes with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// The profile in its path.
    pub profile: ProfileId,
    /// The bearer token it came with; empty when there was none.
    pub token: SecretText,
    /// What a repeat of it is known by.
    pub mark: Mark,
}

/// Why a message of a counterparty is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such participant, profile or process, or a process of another counterparty: all of them look the same.
    #[error("not found")]
    NotFound,
    /// The token or the presentation is refused.
    #[error("{0}")]
    Unauthenticated(String),
    /// The message is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The policies changed while the sender was verified: it may send again.
    #[error("the policies have just changed, send the message again")]
    Changed,
    /// The sender cannot be verified now: it may send again.
    #[error("{0}")]
    NotNow(String),
    /// It cannot be known whether the token was used before; it was not used up by this.
    #[error("{0}")]
    TooEarly(String),
    /// Others must end before one more begins.
    #[error("too many open processes")]
    TooMany,
}

/// A verified sender.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Who, with which credentials.
    pub agent: ParticipantAgent,
    /// The scopes it was asked for.
    pub asked: Scopes,
    /// The settings that this was done with.
    pub settings: Arc<Settings>,
}

impl Sender {
    /// Its DID.
    #[must_use]
    pub fn did(&self) -> &Did {
        self.agent.did()
    }

    /// The sender, when it was asked for all these credentials; policies may have changed since.
    ///
    /// # Errors
    /// [`Refusal::Changed`]
    pub fn asked_for(&self, needed: &Scopes) -> Result<&Self, Refusal> {
        if self.asked.cover(needed) { Ok(self) } else { Err(Refusal::Changed) }
    }

    /// What a data plane is told about it.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        self.agent.claims()
    }
}

/// The participant and the profile that a message is for.
///
/// # Errors
/// [`Refusal::NotFound`] when the participant is not active or not associated with the profile, or the profile is gone.
pub fn receiver<'a>(
    state: &'a ControlPlaneState,
    settings: &'a Settings,
    profile: &ProfileId,
) -> Result<(&'a Participant, &'a DataspaceProfile), Refusal> {
    let participant = state.active().map_err(|_| Refusal::NotFound)?;
    let known = settings.profiles.get(profile).filter(|_| participant.uses(profile, settings));
    Ok((participant.as_ref(), known.ok_or(Refusal::NotFound)?))
}

/// A message as far as its sender is to be proven.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// The profile in its path.
    pub profile: &'a ProfileId,
    /// Its bearer token, which is used up by the verification.
    pub token: &'a str,
    /// The call that is prepared, when it is one.
    pub call: Option<CallId>,
    /// Whether an absent optional credential may be believed for a while.
    pub believe_absence: bool,
}

/// Verifies the sender of a message, who is asked for these scopes.
///
/// # Errors
/// [`Refusal`], [`Refusal::NotNow`] when its DID document, its credentials or a status list are out of reach.
pub async fn sender(
    services: &Services,
    state: &ControlPlaneState,
    proof: Proof<'_>,
    asks: impl FnOnce(&Settings) -> Scopes + Send,
) -> Result<Sender, PrepareError<Refusal>> {
    let settings = services.settings.load();
    let (participant, _) = receiver(state, &settings, proof.profile)?;
    let asked = asks(&settings);
    let call = PeerCall {
        participant,
        profile: proof.profile,
        token: proof.token,
        call: proof.call,
        scopes: &asked,
        believe_absence: proof.believe_absence,
    };
    let verified = peer::verify(services, &settings, call).await;
    let vpa = Address::of::<crate::ControlPlane>(&participant.id);
    match verified.inspect_err(|error| tell_refusal(&participant.identity, Some(&vpa), error)) {
        Ok(agent) => Ok(Sender { agent, asked, settings }),
        Err(PeerError::Refused(rule)) => Err(Refusal::Unauthenticated(rule).into()),
        Err(error @ PeerError::TooEarly) => Err(Refusal::TooEarly(error.to_string()).into()),
        Err(error @ PeerError::Unreachable(_)) => Err(Refusal::NotNow(error.to_string()).into()),
    }
}

/// As [`sender`], for a message that is a command.
///
/// # Errors
/// As [`sender`].
pub(in crate::control_plane) async fn sender_of(
    services: &Services,
    state: &ControlPlaneState,
    envelope: &Envelope,
    call: CallId,
    asks: impl FnOnce(&Settings) -> Scopes + Send,
) -> Result<Sender, PrepareError<AgentRefusal>> {
    let proof = Proof { profile: &envelope.profile, token: envelope.token.expose(), call: Some(call), believe_absence: false };
    sender(services, state, proof, asks).await.map_err(|error| match error {
        PrepareError::Refused(refusal) => AgentRefusal::from(refusal).into(),
        PrepareError::Unavailable(reason) => PrepareError::Unavailable(reason),
    })
}
