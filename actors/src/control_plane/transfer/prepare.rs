//! What is asked of others before a decision: who sent the message, with which credentials.

use super::{Arrived, Command, Incoming, Message, Prepared};
use crate::{
    Services,
    control_plane::{
        ControlPlaneState,
        agent::Refusal as AgentRefusal,
        dsp::{Steering, incoming},
    },
};
use cellspace_cluster::{CallId, PrepareError};
use cellspace_schemas::{TransferId, odrl::Policy};
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
            Prepared::Request { id, new }
        }
        Command::Act { id, act } => Prepared::Act { id, act },
        Command::Signal { id, signal } => Prepared::Signal { id, signal },
        Command::Receive(incoming) => {
            let policies = policies(snapshot, &incoming);
            let envelope = &incoming.envelope;
            let sender = incoming::sender(services, snapshot, &envelope.profile, &envelope.token, Some(call), &policies).await?;
            let fresh = TransferId::from_uuid(Uuid::now_v7());
            Prepared::Receive(Box::new(Arrived { incoming: *incoming, sender, fresh, steering: steering.clone() }))
        }
    })
}

/// The policy that judges the message: that of the agreement. Somebody else than the other party is not asked for what it names: that would tell that
/// the agreement exists.
fn policies<'a>(state: &'a ControlPlaneState, incoming: &'a Incoming) -> Vec<&'a Policy> {
    let agreement = match &incoming.message {
        Message::Request(message) => Some(&message.agreement_id),
        Message::Start(_) | Message::Suspension(_) | Message::Completion(_) | Message::Termination(_) => {
            incoming.id.as_ref().and_then(|id| state.transfers.get(id)).map(|t| &t.agreement)
        }
    };
    let negotiation = agreement.and_then(|id| state.negotiations.of_agreement(id));
    let own = negotiation.filter(|n| incoming::claimed_sender(&incoming.envelope.token).as_ref() == Some(&n.counterparty));
    own.and_then(|n| n.agreement.as_ref()).map(|a| &a.policy).into_iter().collect()
}
