//! Our messages in a negotiation.

use super::{Effect, Negotiation, Outcome, Sent};
use crate::{
    Services,
    control_plane::{
        ControlPlane,
        dsp::{Role, client},
        scopes::scopes_for,
    },
};
use cellspace_cluster::{Delivery, DeliveryError};
use cellspace_schemas::{
    MessageId, ParticipantContextId, Pid,
    dsp::{
        message::{Message, read, render},
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage, NegotiationEvent, Reasons,
        },
    },
};
use serde::Serialize;

/// A message on the wire: what it is, its text, and the path below the counterparty's address.
struct Wire {
    kind: &'static str,
    body: Vec<u8>,
    path: Vec<String>,
}

/// Sends the message of the negotiation's state. One that the negotiation has left behind is not sent any more.
///
/// # Errors
/// [`DeliveryError`]
pub async fn deliver(services: &Services, effect: &Effect, delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    let state = &delivery.snapshot;
    let current = state.negotiations.get(&effect.negotiation).filter(|n| n.step == effect.step && n.state.sends() == Some(effect.message));
    let Some(negotiation) = current else { return Ok(Outcome::NothingToTell) };
    let participant = state.participant.as_ref().ok_or_else(|| DeliveryError::Refused("the participant is gone".to_owned()))?;
    let id = MessageId::from_uuid(delivery.message_id);
    let Some(wire) = wire(services, negotiation, effect.message, &participant.id, &id)? else { return Ok(Outcome::NothingToTell) };
    let settings = services.settings.load();
    let scopes = scopes_for(&settings, &negotiation.profile, [&negotiation.offer.policy]).all();
    let segments: Vec<&str> = wire.path.iter().map(String::as_str).collect();
    let answer = client::send(
        services,
        client::Outgoing {
            participant: &participant.id,
            counterparty: &negotiation.counterparty,
            scopes: &scopes,
            url: negotiation.address.below(&segments),
            body: wire.body,
            kind: wire.kind,
            trace: delivery.trace.clone(),
        },
    )
    .await?;
    // The first message is answered with the process that it began. An answer that cannot be read is no reason to send again: the counterparty names
    // its process in its next message.
    let pid = read::<ContractNegotiation>(&answer, &[]).ok().map(|process| match negotiation.role {
        Role::Consumer => process.body.provider_pid,
        Role::Provider => process.body.consumer_pid,
    });
    Ok(Outcome::Taken { pid })
}

fn text<T: Message + Serialize>(body: &T, id: &MessageId, path: Vec<String>) -> Result<Option<Wire>, DeliveryError> {
    let text = render(body, Some(id)).map_err(|e| DeliveryError::Refused(format!("the message cannot be written: {e}")))?;
    Ok(Some(Wire { kind: T::TYPE, body: text, path }))
}

/// `None` when there is nobody to tell: the counterparty never said what it calls the process, so it has none.
fn wire(
    services: &Services,
    negotiation: &Negotiation,
    message: Sent,
    participant: &ParticipantContextId,
    id: &MessageId,
) -> Result<Option<Wire>, DeliveryError> {
    let n = negotiation;
    let ours = Pid::from(&n.id);
    let base = || ["negotiations".to_owned()].to_vec();
    let callback =
        || services.urls.dsp(participant, &n.profile).parse().map_err(|e| DeliveryError::Refused(format!("callback address: {e}")));
    let Some(theirs) = n.counterparty_pid.clone() else {
        return match message {
            Sent::Request => {
                let first = ContractRequestMessage {
                    consumer_pid: ours,
                    provider_pid: None,
                    offer: n.offer.clone(),
                    callback_address: Some(callback()?),
                };
                text(&first, id, [base(), vec!["request".to_owned()]].concat())
            }
            Sent::Offer | Sent::Accepted | Sent::Agreement | Sent::Verification | Sent::Finalized | Sent::Termination => Ok(None),
        };
    };
    let path = |rest: &[&str]| [base(), vec![theirs.to_string()], rest.iter().map(|s| (*s).to_owned()).collect()].concat();
    let (consumer_pid, provider_pid) = match n.role {
        Role::Consumer => (ours, theirs.clone()),
        Role::Provider => (theirs.clone(), ours),
    };
    match message {
        Sent::Request => {
            let body =
                ContractRequestMessage { consumer_pid, provider_pid: Some(provider_pid), offer: n.offer.clone(), callback_address: None };
            text(&body, id, path(&["request"]))
        }
        Sent::Offer => {
            let body =
                ContractOfferMessage { provider_pid, consumer_pid: Some(consumer_pid), offer: n.offer.clone(), callback_address: None };
            text(&body, id, path(&["offers"]))
        }
        Sent::Accepted => text(
            &ContractNegotiationEventMessage { provider_pid, consumer_pid, event_type: NegotiationEvent::Accepted },
            id,
            path(&["events"]),
        ),
        Sent::Agreement => {
            let Some(agreement) = &n.agreement else { return Ok(None) };
            text(&ContractAgreementMessage { provider_pid, consumer_pid, agreement: agreement.to_message() }, id, path(&["agreement"]))
        }
        Sent::Verification => {
            text(&ContractAgreementVerificationMessage { provider_pid, consumer_pid }, id, path(&["agreement", "verification"]))
        }
        Sent::Finalized => {
            let body = ContractNegotiationEventMessage { provider_pid, consumer_pid, event_type: NegotiationEvent::Finalized };
            text(&body, id, path(&["events"]))
        }
        Sent::Termination => {
            let reason = n.error_detail.as_ref().map_or_else(Reasons::default, Reasons::of);
            text(&ContractNegotiationTerminationMessage { provider_pid, consumer_pid, code: None, reason }, id, path(&["termination"]))
        }
    }
}
