//! Our messages and data plane calls in a transfer.

use super::{Effect, Notice, Outcome, PlaneCall, Task, Transfer, monitor};
use crate::{
    Services,
    control_plane::{
        ControlPlane,
        data_planes::client as plane,
        dsp::client::{self, Head, Wire},
        scopes::{RequestScope, scopes_of_request},
    },
};
use cellspace_cluster::{Delivery, DeliveryError};
use cellspace_schemas::{
    MessageId, Pid,
    dps::DataFlowBaseMessage,
    dsp::{
        reasons::Reasons,
        transfer::{
            TransferCompletionMessage, TransferProcess, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
};
use serde_json::{Map, Value};

/// Sends the message, or calls the data plane. What the transfer has left behind is not sent any more.
///
/// # Errors
/// [`DeliveryError`]
pub async fn deliver(services: &Services, effect: &Effect, delivery: &Delivery<'_, ControlPlane>) -> Result<Outcome, DeliveryError> {
    let Some(transfer) = delivery.snapshot.transfers.get(&effect.transfer) else { return Ok(Outcome::NothingToTell) };
    match &effect.task {
        Task::Tell(step, message) if transfer.message == Some(*step) => tell(services, transfer, message, delivery).await,
        Task::Tell(..) => Ok(Outcome::NothingToTell),
        Task::Look => Ok(monitor::looked(&delivery.snapshot, transfer, &services.settings.load(), services.cluster.now())),
        // A flow that is ended needs no other call; but a call that a later one builds on must come before it.
        Task::Call(_, PlaneCall::Terminate(_)) => call(services, transfer, effect, delivery).await,
        Task::Call(..) if transfer.state.is_terminating() => Ok(Outcome::NothingToTell),
        Task::Call(..) => call(services, transfer, effect, delivery).await,
    }
}

async fn tell(
    services: &Services,
    transfer: &Transfer,
    message: &Notice,
    delivery: &Delivery<'_, ControlPlane>,
) -> Result<Outcome, DeliveryError> {
    let participant = delivery.snapshot.known().ok_or_else(|| DeliveryError::Refused("the participant is gone".to_owned()))?;
    let settings = services.settings.load();
    let policy = delivery.snapshot.negotiations.agreement(&transfer.agreement).map(|a| &a.policy);
    let scopes = scopes_of_request(&settings, &transfer.profile, RequestScope::TransferProcess, policy).all();
    let callback = services.urls.dsp(&participant.id, &settings.path_of(&transfer.profile));
    let id = MessageId::from_uuid(delivery.message_id);
    let head = Head { id: &id, context: settings.context(&transfer.profile) };
    let Some(wire) = wire(transfer, message, &callback, head)? else { return Ok(Outcome::NothingToTell) };
    let to = client::Outgoing {
        participant: &participant.id,
        counterparty: &transfer.counterparty,
        address: &transfer.address,
        contract: Some(&transfer.agreement),
        scopes: &scopes,
        pids: transfer.pids(),
        contexts: settings.profiles.get(&transfer.profile).map_or(&[][..], |profile| &profile.contexts),
        attempt: delivery.attempt,
        trace: delivery.trace.clone(),
    };
    Ok(Outcome::Taken { pid: client::send::<TransferProcess>(services, to, wire).await? })
}

/// `None` when there is nobody to tell: the counterparty never said what it calls the process, so it has none.
pub(super) fn wire(t: &Transfer, message: &Notice, callback: &str, head: Head<'_>) -> Result<Option<Wire>, DeliveryError> {
    if let Notice::Request(data_address) = message {
        let callback_address = callback.parse().map_err(|e| DeliveryError::Refused(format!("callback address: {e}")))?;
        let request = TransferRequestMessage {
            consumer_pid: Pid::from(&t.id),
            agreement_id: t.agreement.clone(),
            format: t.transfer_type.clone(),
            data_address: data_address.clone(),
            callback_address,
        };
        return Wire::new(&request, head, &["transfers", "request"]).map(Some);
    }
    let Some(theirs) = &t.counterparty_pid else { return Ok(None) };
    let path = |last| ["transfers", theirs.as_str(), last];
    let (consumer_pid, provider_pid) = t.pids().shown();
    let reasons = |reason: &Option<String>| reason.as_ref().map_or_else(Reasons::default, Reasons::of);
    match message {
        Notice::Request(_) => return Ok(None),
        Notice::Start(data_address) => {
            Wire::new(&TransferStartMessage { provider_pid, consumer_pid, data_address: data_address.clone() }, head, &path("start"))
        }
        Notice::Suspension(reason) => {
            let body = TransferSuspensionMessage { provider_pid, consumer_pid, code: None, reason: reasons(reason) };
            Wire::new(&body, head, &path("suspension"))
        }
        Notice::Completion => Wire::new(&TransferCompletionMessage { provider_pid, consumer_pid }, head, &path("completion")),
        Notice::Termination(reason) => {
            let body = TransferTerminationMessage { provider_pid, consumer_pid, code: None, reason: reasons(reason) };
            Wire::new(&body, head, &path("termination"))
        }
    }
    .map(Some)
}

async fn call(
    services: &Services,
    transfer: &Transfer,
    effect: &Effect,
    delivery: &Delivery<'_, ControlPlane>,
) -> Result<Outcome, DeliveryError> {
    let Task::Call(_, call) = &effect.task else { return Ok(Outcome::NothingToTell) };
    let participant = delivery.snapshot.known().ok_or_else(|| DeliveryError::Refused("the participant is gone".to_owned()))?;
    let registered = transfer.data_plane.as_ref().and_then(|bound| delivery.snapshot.data_planes.of(bound));
    let registered = registered.ok_or_else(|| DeliveryError::Refused("the data plane is no longer registered".to_owned()))?;
    let flow = |claims: &Map<String, Value>| DataFlowBaseMessage {
        message_id: MessageId::from_uuid(delivery.message_id),
        participant_id: participant.identity.to_string(),
        counter_party_id: transfer.counterparty.to_string(),
        dataspace_context: transfer.profile.clone(),
        process_id: transfer.id.clone(),
        agreement_id: transfer.agreement.clone(),
        dataset_id: transfer.asset.clone(),
        profile: transfer.transfer_type.clone(),
        claims: claims.clone(),
        metadata: transfer.metadata.properties.clone(),
        labels: transfer.metadata.labels.clone(),
    };
    let signal = plane::call(
        services,
        plane::Call {
            participant: &participant.id,
            plane: registered,
            transfer: &transfer.id,
            message_id: MessageId::from_uuid(delivery.message_id),
            flow: &flow,
            call,
            trace: delivery.trace.clone(),
        },
    )
    .await?;
    Ok(Outcome::Answered(signal))
}
