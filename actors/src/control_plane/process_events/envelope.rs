//! What is told of an event. What a process is told by does not change once an event has happened to it, so that an event is told alike whenever that is.

use super::{
    super::{
        negotiation::{Agreement, Negotiation},
        transfer::Transfer,
    },
    Process,
};
use cellspace_schemas::{ParticipantContextId, Timestamp, management::ProcessEvent};
use serde_json::{Map, Value, json};

/// The envelope: `{id, at, type, payload}`, `at` in milliseconds.
#[must_use]
pub fn envelope(id: &str, at: Timestamp, event: ProcessEvent, payload: &Value) -> Value {
    json!({"id": id, "at": at.millis(), "type": event.kind(), "payload": payload})
}

/// What is told of an event of a negotiation.
#[must_use]
pub fn of_negotiation(event: ProcessEvent, n: &Negotiation, participant: &ParticipantContextId) -> Value {
    let mut payload = json!({
        "participantContextId": participant.as_str(),
        "contractNegotiationId": n.id.as_str(),
        "type": n.role.name(),
        "counterPartyId": n.counterparty.as_str(),
        "counterPartyAddress": n.address.as_str(),
        "protocol": n.profile.as_str(),
        "assetId": n.offer.target.as_str(),
    });
    let agreed = matches!(event, ProcessEvent::NegotiationAgreed | ProcessEvent::NegotiationVerified | ProcessEvent::NegotiationFinalized);
    let why = n.finding.as_deref().or(n.error_detail.as_deref()).filter(|_| event == ProcessEvent::NegotiationTerminated);
    let theirs = n.counterparty_pid.as_ref().filter(|_| event != ProcessEvent::NegotiationInitiated);
    add(
        &mut payload,
        [
            ("correlationId", theirs.map(|pid| pid.as_str().into())),
            ("contractAgreement", n.agreement.as_ref().filter(|_| agreed).map(|agreement| of_agreement(agreement))),
            ("errorDetail", why.map(Value::from)),
        ],
    );
    payload
}

fn of_agreement(agreement: &Agreement) -> Value {
    json!({
        "id": agreement.id.as_str(),
        "assetId": agreement.asset.as_str(),
        "providerId": agreement.provider.as_str(),
        "consumerId": agreement.consumer.as_str(),
        "contractSigningDate": agreement.signed_at.seconds(),
        "policy": agreement.policy.to_plain(),
    })
}

/// What is told of an event of a transfer. A data address is not: who holds it is the data plane.
#[must_use]
pub fn of_transfer(event: ProcessEvent, t: &Transfer, participant: &ParticipantContextId) -> Value {
    let mut payload = json!({
        "participantContextId": participant.as_str(),
        "transferProcessId": t.id.as_str(),
        "type": t.role.name(),
        "counterPartyId": t.counterparty.as_str(),
        "protocol": t.profile.as_str(),
        "assetId": t.asset.as_str(),
        "contractId": t.agreement.as_str(),
        "transferType": t.transfer_type.as_str(),
    });
    let why = t.error_detail.as_deref().filter(|_| event == ProcessEvent::TransferTerminated);
    let begun = matches!(event, ProcessEvent::TransferInitiated | ProcessEvent::TransferPrepared);
    let theirs = t.counterparty_pid.as_ref().filter(|_| !begun);
    add(&mut payload, [("correlationId", theirs.map(|pid| pid.as_str().into())), ("errorDetail", why.map(Value::from))]);
    payload
}

/// What can be told of an event whose process is not there any more.
#[must_use]
pub fn of_gone(process: &Process, participant: &ParticipantContextId) -> Value {
    let name = match process {
        Process::Negotiation(_) => "contractNegotiationId",
        Process::Transfer(_) => "transferProcessId",
    };
    let mut payload = Map::new();
    payload.insert("participantContextId".to_owned(), participant.as_str().into());
    payload.insert(name.to_owned(), process.id().into());
    payload.into()
}

fn add<const N: usize>(payload: &mut Value, optional: [(&str, Option<Value>); N]) {
    if let Some(fields) = payload.as_object_mut() {
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
}
