//! What is asked of others before a decision: who sent the message, with which credentials.

use super::{Arrived, Command, Incoming, Message, Prepared, appraisal};
use crate::{
    Services,
    control_plane::{
        ControlPlaneState,
        agent::Refusal as AgentRefusal,
        dsp::{Steering, incoming},
        scopes::{Scopes, scopes_for},
    },
    settings::Settings,
};
use cellspace_cluster::{CallId, PrepareError};
use cellspace_schemas::{AgreementId, NegotiationId};
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
        Command::Request(new) => {
            let id = new.id.clone().unwrap_or_else(|| NegotiationId::from_uuid(Uuid::now_v7()));
            Prepared::Request { id, new }
        }
        Command::Act { id, act } => Prepared::Act { id, act },
        Command::Delete(id) => Prepared::Delete(id),
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

/// What the sender is asked for: policies judge requests alone.
pub(super) fn asks(settings: &Settings, state: &ControlPlaneState, incoming: &Incoming) -> Scopes {
    let profile = &incoming.envelope.profile;
    match &incoming.message {
        Message::Request(message) => appraisal::asks(settings, state, profile, &message.offer),
        Message::Offer(_) | Message::Agreement(_) | Message::Verification(_) | Message::Event(_) | Message::Termination(_) => {
            scopes_for(settings, profile, [])
        }
    }
}
