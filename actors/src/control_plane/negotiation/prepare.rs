//! What is asked of others before a decision: who sent the message, with which credentials.

use super::{Act, Arrived, Command, Incoming, Message, NewNegotiation, Prepared, appraisal};
use crate::{
    Services,
    control_plane::{
        ControlPlaneState,
        agent::Refusal as AgentRefusal,
        dsp::{Role, Steering, incoming},
        scopes::{Scopes, scopes_for},
    },
    settings::Settings,
    trust::claimed_sender,
};
use cellspace_cluster::{CallId, PrepareError};
use cellspace_schemas::{AgreementId, NegotiationId, dsp::negotiation::NegotiationEvent};
use std::sync::Arc;
use uuid::Uuid;

/// Verifies the sender of a message, and brings fresh ids.
///
/// # Errors
/// Refused when the sender is; unavailable when it cannot be verified now.
pub async fn prepare(
    services: &Services,
    steering: &Arc<dyn Steering>,
    snapshot: &ControlPlaneState,
    command: Command,
    call: CallId,
) -> Result<Prepared, PrepareError<AgentRefusal>> {
    Ok(match command {
        Command::Request(new) => begin(services, Role::Consumer, new),
        Command::Offer(new) => begin(services, Role::Provider, new),
        Command::Act { id, act } => Prepared::Act { id, act, seen: None },
        Command::Accept { id, seen } => Prepared::Act { id, act: Box::new(Act::Accept), seen },
        Command::Agree { id, seen } => Prepared::Act { id, act: Box::new(Act::Agree(AgreementId::from_uuid(Uuid::now_v7()))), seen },
        Command::Delete(id) => Prepared::Delete(id),
        Command::Retire { agreement, reason } => Prepared::Retire { agreement, reason },
        Command::Receive(incoming) => {
            let sender =
                incoming::sender_of(services, snapshot, &incoming.envelope, call, |settings| asks(settings, snapshot, &incoming)).await?;
            Prepared::Receive(Box::new(Arrived {
                incoming: *incoming,
                sender,
                fresh: NegotiationId::from_uuid(Uuid::now_v7()),
                fresh_agreement: AgreementId::from_uuid(Uuid::now_v7()),
                steering: steering.clone(),
            }))
        }
    })
}

fn begin(services: &Services, role: Role, new: Box<NewNegotiation>) -> Prepared {
    let id = new.id.clone().unwrap_or_else(|| NegotiationId::from_uuid(Uuid::now_v7()));
    Prepared::Begin { id, role, new, settings: services.settings.load() }
}

/// What the sender is asked for: policies judge requests and acceptances alone.
pub(super) fn asks(settings: &Settings, state: &ControlPlaneState, incoming: &Incoming) -> Scopes {
    let profile = &incoming.envelope.profile;
    match &incoming.message {
        Message::Request(message) => appraisal::asks(settings, state, profile, &message.offer),
        Message::Event(message) if message.event_type == NegotiationEvent::Accepted => {
            // What was offered to one is nothing that another is asked for.
            let sender = claimed_sender(&incoming.envelope.token);
            let accepted = incoming.id.as_ref().and_then(|id| state.negotiations.get(id));
            let accepted = accepted.filter(|n| n.role == Role::Provider && sender.as_ref() == Some(&n.counterparty));
            scopes_for(settings, profile, accepted.map(|n| &n.offer.policy))
        }
        Message::Offer(_) | Message::Agreement(_) | Message::Verification(_) | Message::Event(_) | Message::Termination(_) => {
            scopes_for(settings, profile, [])
        }
    }
}
