//! The hook of an approval: a service that is told that a request waits. It decides by the Issuer admin API, now or another day.

use super::{Issuer, IssuerState, approval::Answer};
use crate::{Services, signed_post, trust};
use cellspace_cluster::{Delivery, DeliveryError, RetryPolicy};
use cellspace_schemas::{
    ParticipantContextId,
    identity::key_pair::KeyUsage,
    issuer::{CredentialDefinitionId, IssuerPid},
};
use serde_json::{Value, json};
use std::time::Duration;

/// What the signed text is, in the header of its signature.
const TYPE: &str = "issuance-process+json";
/// What happened to the process, in the body.
const EVENT: &str = "IssuanceProcessSubmitted";
/// A service is waited for most of a day; whoever looks for requests that wait finds them all the same.
pub const RETRY: RetryPolicy =
    RetryPolicy { first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(60), attempts: 1_000 };

/// Tells the hook of a definition of a process, while its question is open.
///
/// # Errors
/// [`DeliveryError`]
pub async fn tell(
    services: &Services,
    issuer: &ParticipantContextId,
    delivery: &Delivery<'_, Issuer>,
    process: &IssuerPid,
    definition: &CredentialDefinitionId,
) -> Result<(), DeliveryError> {
    let state = &delivery.snapshot;
    let hook = state.definitions.get(definition).and_then(|definition| definition.approval.as_ref()?.hook.clone());
    let hook = hook.ok_or_else(|| DeliveryError::Refused(format!("credential definition {definition} has no hook any more")))?;
    let payload = payload(state, issuer, process).ok_or_else(|| DeliveryError::Refused("the request is decided".to_owned()))?;
    let body = json!({"id": delivery.message_id, "at": services.cluster.now().millis(), "type": EVENT, "payload": payload});
    let key = trust::signing_key(services, issuer, KeyUsage::Token).await.map_err(|e| DeliveryError::Retry(e.to_string()))?;
    let post = signed_post::Post { url: hook.clone(), headers: http::HeaderMap::new(), body: body.to_string().into_bytes(), typ: TYPE };
    let outcome = signed_post::send(services, &key, post, delivery.trace.clone()).await;
    let reason = outcome.as_ref().err().map(ToString::to_string);
    tracing::info!(category = "dcp", vpa = %delivery.address, action = "issuance.hook", %process, host = hook.host_str(), reason, "sent");
    outcome
}

/// What is decided about; `None` when nothing is, any more.
fn payload(state: &IssuerState, issuer: &ParticipantContextId, process: &IssuerPid) -> Option<Value> {
    let process = state.processes.get(process)?;
    let Some(Answer::Open(question)) = &process.answer else { return None };
    let name = state.holders.get(&process.holder).map(|holder| holder.name.as_str());
    let credentials = process.requested.iter().zip(&question.subjects).map(|(requested, shown)| {
        let credential_type = state.definitions.get(&requested.definition).map(|definition| definition.credential_type.as_str());
        json!({
            "id": requested.definition, "credentialType": credential_type, "format": requested.format.name(),
            "credentialSubject": shown.subject, "name": shown.name, "description": shown.description,
        })
    });
    let credentials: Vec<Value> = credentials.collect();
    Some(json!({
        "participantContextId": issuer, "issuanceProcessId": process.id, "holderPid": process.holder_pid, "createdAt": process.created_at,
        "holder": {"id": process.holder, "did": process.holder_did, "name": name}, "claims": *process.claims,
        "credentials": credentials, "decideUntil": question.until,
    }))
}
