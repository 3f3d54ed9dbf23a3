//! What is asked of others before a decision: who sent the message, with which credentials.

use super::{Arrived, Command, Incoming, Message, Prepared, appraisal};
use crate::{
    Services,
    control_plane::{
        ControlPlaneState,
        agent::Refusal as AgentRefusal,
        dsp::{Steering, incoming},
    },
};
use cellspace_cluster::{CallId, PrepareError};
use cellspace_schemas::{AgreementId, NegotiationId, odrl::Policy};
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
            let policies = policies(snapshot, &incoming);
            let envelope = &incoming.envelope;
            let sender = incoming::sender(services, snapshot, &envelope.profile, &envelope.token, Some(call), &policies).await?;
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

/// The policies that judge the message: those of the offer that is asked for; later on those of the negotiation, so that the sender is asked for the
/// same credentials every time and one presentation serves all its messages. Somebody else is not asked for them: that would tell that the negotiation
/// exists.
fn policies<'a>(state: &'a ControlPlaneState, incoming: &'a Incoming) -> Vec<&'a Policy> {
    if let Message::Request(message) = &incoming.message {
        return appraisal::policies(state, &message.offer);
    }
    let negotiation = incoming.id.as_ref().and_then(|id| state.negotiations.get(id));
    let own = negotiation.filter(|n| incoming::claimed_sender(&incoming.envelope.token).as_ref() == Some(&n.counterparty));
    own.map(|n| appraisal::policies(state, &n.offer)).unwrap_or_default()
}
