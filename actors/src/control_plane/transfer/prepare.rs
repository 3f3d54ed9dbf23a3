//! What is asked of others before a decision: who sent the message, with which credentials.

use super::{Arrived, Command, Incoming, Message, Prepared};
use crate::{
    Services,
    control_plane::{
        ControlPlaneState,
        agent::Refusal as AgentRefusal,
        dsp::{Steering, incoming},
        scopes::{Scopes, scopes_for},
    },
    settings::Settings,
    trust::claimed_sender,
};
use cellspace_cluster::{CallId, PrepareError};
use cellspace_schemas::TransferId;
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
            let id = new.id.clone().unwrap_or_else(|| TransferId::from_uuid(Uuid::now_v7()));
            Prepared::Request { id, new, settings: services.settings.load() }
        }
        Command::Act { id, act } => Prepared::Act { id, act, settings: services.settings.load() },
        Command::Signal { id, signal } => Prepared::Signal { id, signal },
        Command::Receive(incoming) => {
            let sender =
                incoming::sender_of(services, snapshot, &incoming.envelope, call, |settings| asks(settings, snapshot, &incoming)).await?;
            let fresh = TransferId::from_uuid(Uuid::now_v7());
            Prepared::Receive(Box::new(Arrived { incoming: *incoming, sender, fresh, steering: steering.clone() }))
        }
    })
}

/// What the sender is asked for: what the agreement's policy names, when it asks for a transfer; no policy judges any other message. Somebody else than
/// the other party is not asked for it: that would tell that the agreement exists.
pub(super) fn asks(settings: &Settings, state: &ControlPlaneState, incoming: &Incoming) -> Scopes {
    let agreement = match &incoming.message {
        Message::Request(message) => state.negotiations.of_agreement(&message.agreement_id),
        Message::Start(_) | Message::Suspension(_) | Message::Completion(_) | Message::Termination(_) => None,
    };
    let own = agreement.filter(|n| claimed_sender(&incoming.envelope.token).as_ref() == Some(&n.counterparty));
    scopes_for(settings, &incoming.envelope.profile, own.and_then(|n| n.agreement.as_ref()).map(|a| &a.policy))
}
