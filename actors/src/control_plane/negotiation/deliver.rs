//! Our messages in a negotiation.

use super::{Effect, Negotiation, Outcome, Sent};
use crate::{
    Services,
    control_plane::{
        ControlPlane,
        dsp::client::{self, Head, Wire},
        scopes::{RequestScope, scopes_of_request},
    },
};
use cellspace_cluster::{Delivery, DeliveryError};
use cellspace_schemas::{
    MessageId, Pid,
    dsp::{
        BaseUrl,
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiation, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage, NegotiationEvent,
        },
        reasons::Reasons,
    },
};

/// Sends the message of the negotiation's state. One that the negotiation has left behind is not sent any more.
///
/// # Errors
/// [`DeliveryError`]
pub async fn deliver(services: &Services, effect: &Effect, delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    let state = &delivery.snapshot;
    let current = state.negotiations.get(&effect.negotiation).filter(|n| n.step == effect.step && n.state.sends() == Some(effect.message));
    let Some(negotiation) = current else { return Ok(Outcome::NothingToTell) };
    let participant = state.known().ok_or_else(|| DeliveryError::Refused("the participant is gone".to_owned()))?;
    let (settings, id) = (services.settings.load(), MessageId::from_uuid(delivery.message_id));
    let callback = services.urls.dsp(&participant.id, &settings.path_of(&negotiation.profile));
    let head = Head { id: &id, context: settings.context(&negotiation.profile) };
    let Some(wire) = wire(negotiation, effect.message, &callback, head)? else { return Ok(Outcome::NothingToTell) };
    let request = RequestScope::ContractNegotiation;
    let scopes = scopes_of_request(&settings, &negotiation.profile, request, [&negotiation.offer.policy]).all();
    let to = client::Outgoing {
        participant: &participant.id,
        counterparty: &negotiation.counterparty,
        address: &negotiation.address,
        contract: negotiation.agreement.as_ref().map(|a| &a.id),
        scopes: &scopes,
        pids: negotiation.pids(),
        contexts: settings.profiles.get(&negotiation.profile).map_or(&[][..], |profile| &profile.contexts),
        attempt: delivery.attempt,
        trace: delivery.trace.clone(),
    };
    Ok(Outcome::Taken { pid: client::send::<ContractNegotiation>(services, to, wire).await? })
}

/// `None` when there is nobody to tell: the counterparty never said what it calls the process, so it has none.
pub(super) fn wire(n: &Negotiation, message: Sent, callback: &str, head: Head<'_>) -> Result<Option<Wire>, DeliveryError> {
    let offer = || n.offer.clone();
    let Some(theirs) = &n.counterparty_pid else {
        let first = || -> Result<(Pid, Option<BaseUrl>), DeliveryError> {
            let callback = callback.parse().map_err(|e| DeliveryError::Refused(format!("callback address: {e}")))?;
            Ok((Pid::from(&n.id), Some(callback)))
        };
        return match message {
            Sent::Request => {
                let (consumer_pid, callback_address) = first()?;
                let body = ContractRequestMessage { consumer_pid, provider_pid: None, offer: offer(), callback_address };
                Wire::new(&body, head, &["negotiations", "request"]).map(Some)
            }
            Sent::Offer => {
                let (provider_pid, callback_address) = first()?;
                let body = ContractOfferMessage { provider_pid, consumer_pid: None, offer: offer(), callback_address };
                Wire::new(&body, head, &["negotiations", "offers"]).map(Some)
            }
            Sent::Accepted | Sent::Agreement | Sent::Verification | Sent::Finalized | Sent::Termination => Ok(None),
        };
    };
    let path = |last| ["negotiations", theirs.as_str(), last];
    let (consumer_pid, provider_pid) = n.pids().shown();
    match message {
        Sent::Request => {
            let body = ContractRequestMessage { consumer_pid, provider_pid: Some(provider_pid), offer: offer(), callback_address: None };
            Wire::new(&body, head, &path("request"))
        }
        Sent::Offer => {
            let body = ContractOfferMessage { provider_pid, consumer_pid: Some(consumer_pid), offer: offer(), callback_address: None };
            Wire::new(&body, head, &path("offers"))
        }
        Sent::Accepted | Sent::Finalized => {
            let event_type = if message == Sent::Accepted { NegotiationEvent::Accepted } else { NegotiationEvent::Finalized };
            Wire::new(&ContractNegotiationEventMessage { provider_pid, consumer_pid, event_type }, head, &path("events"))
        }
        Sent::Agreement => {
            let Some(agreement) = &n.agreement else { return Ok(None) };
            Wire::new(&ContractAgreementMessage { provider_pid, consumer_pid, agreement: agreement.to_message() }, head, &path("agreement"))
        }
        Sent::Verification => {
            let path = ["negotiations", theirs.as_str(), "agreement", "verification"];
            Wire::new(&ContractAgreementVerificationMessage { provider_pid, consumer_pid }, head, &path)
        }
        Sent::Termination => {
            let reason = n.error_detail.as_ref().map_or_else(Reasons::default, Reasons::of);
            let body = ContractNegotiationTerminationMessage { provider_pid, consumer_pid, code: None, reason };
            Wire::new(&body, head, &path("termination"))
        }
    }
    .map(Some)
}
