//! Our messages and data plane calls in a transfer.

use super::{Effect, Notice, Outcome, PlaneCall, Task, Transfer};
use crate::{
    Services,
    control_plane::{
        ControlPlane,
        data_planes::client as plane,
        dsp::{Role, client},
        scopes::scopes_for,
    },
};
use cellspace_cluster::{Delivery, DeliveryError};
use cellspace_schemas::{
    MessageId, Pid,
    dps::DataFlowBaseMessage,
    dsp::{
        message::{Message as Typed, read, render},
        negotiation::Reasons,
        transfer::{
            TransferCompletionMessage, TransferProcess, TransferRequestMessage, TransferStartMessage, TransferSuspensionMessage,
            TransferTerminationMessage,
        },
    },
};
use serde::Serialize;
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
    let participant = delivery.snapshot.participant.as_ref().ok_or_else(|| DeliveryError::Refused("the participant is gone".to_owned()))?;
    let settings = services.settings.load();
    let policy = delivery.snapshot.negotiations.agreement(&transfer.agreement).map(|a| &a.policy);
    let scopes = scopes_for(&settings, &transfer.profile, policy).all();
    let id = MessageId::from_uuid(delivery.message_id);
    let callback = services.urls.dsp(&participant.id, &transfer.profile);
    let Some((kind, body, path)) = wire(transfer, message, &callback, &id)? else { return Ok(Outcome::NothingToTell) };
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let answer = client::send(
        services,
        client::Outgoing {
            participant: &participant.id,
            counterparty: &transfer.counterparty,
            scopes: &scopes,
            url: transfer.address.below(&segments),
            body,
            kind,
            trace: delivery.trace.clone(),
        },
    )
    .await?;
    // An answer that cannot be read is no reason to send again: the counterparty names its process in its next message.
    let pid = read::<TransferProcess>(&answer, &[]).ok().map(|process| match transfer.role {
        Role::Consumer => process.body.provider_pid,
        Role::Provider => process.body.consumer_pid,
    });
    Ok(Outcome::Taken { pid })
}

/// What a message is, its text, and the path below the counterparty's address.
type Wire = (&'static str, Vec<u8>, Vec<String>);

fn text<T: Typed + Serialize>(body: &T, id: &MessageId, path: Vec<String>) -> Result<Option<Wire>, DeliveryError> {
    let text = render(body, Some(id)).map_err(|e| DeliveryError::Refused(format!("the message cannot be written: {e}")))?;
    Ok(Some((T::TYPE, text, path)))
}

/// `None` when there is nobody to tell: the counterparty never said what it calls the process, so it has none.
fn wire(t: &Transfer, message: &Notice, callback: &str, id: &MessageId) -> Result<Option<Wire>, DeliveryError> {
    let ours = Pid::from(&t.id);
    if let Notice::Request(data_address) = message {
        let callback_address = callback.parse().map_err(|e| DeliveryError::Refused(format!("callback address: {e}")))?;
        let request = TransferRequestMessage {
            consumer_pid: ours,
            agreement_id: t.agreement.clone(),
            format: t.transfer_type.clone(),
            data_address: data_address.clone(),
            callback_address,
        };
        return text(&request, id, vec!["transfers".to_owned(), "request".to_owned()]);
    }
    let Some(theirs) = t.counterparty_pid.clone() else { return Ok(None) };
    let path = |last: &str| vec!["transfers".to_owned(), theirs.to_string(), last.to_owned()];
    let (consumer_pid, provider_pid) = match t.role {
        Role::Consumer => (ours, theirs.clone()),
        Role::Provider => (theirs.clone(), ours),
    };
    let reasons = |reason: &Option<String>| reason.as_ref().map_or_else(Reasons::default, Reasons::of);
    match message {
        Notice::Request(_) => Ok(None),
        Notice::Start(data_address) => {
            text(&TransferStartMessage { provider_pid, consumer_pid, data_address: data_address.clone() }, id, path("start"))
        }
        Notice::Suspension(reason) => {
            text(&TransferSuspensionMessage { provider_pid, consumer_pid, code: None, reason: reasons(reason) }, id, path("suspension"))
        }
        Notice::Completion => text(&TransferCompletionMessage { provider_pid, consumer_pid }, id, path("completion")),
        Notice::Termination(reason) => {
            text(&TransferTerminationMessage { provider_pid, consumer_pid, code: None, reason: reasons(reason) }, id, path("termination"))
        }
    }
}

async fn call(
    services: &Services,
    transfer: &Transfer,
    effect: &Effect,
    delivery: &Delivery<'_, ControlPlane>,
) -> Result<Outcome, DeliveryError> {
    let Task::Call(_, call) = &effect.task else { return Ok(Outcome::NothingToTell) };
    let participant = delivery.snapshot.participant.as_ref().ok_or_else(|| DeliveryError::Refused("the participant is gone".to_owned()))?;
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
