//! The hook of an approval: a service that is told that a request waits. It decides by the Issuer admin API, now or another day.

use super::{
    Issuer, IssuerState, Process,
    approval::{Answer, Question},
};
use crate::{Services, derived_id::derived_id, signed_post, trust};
use cellspace_cluster::{Delivery, DeliveryError, RetryPolicy};
use cellspace_schemas::{
    Did, ParticipantContextId,
    identity::key_pair::KeyUsage,
    issuer::{CredentialDefinitionId, IssuerPid},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// What the signed text is, in the header of its signature.
const TYPE: &str = "issuance-process+json";
/// What happened to the process, in the body.
const EVENT: &str = "IssuanceProcessSubmitted";
/// A service is waited for most of a day; whoever looks for requests that wait finds them all the same.
pub const RETRY: RetryPolicy =
    RetryPolicy { first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(60), attempts: 1_000 };

/// That a hook is to be told that a process waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    /// Which process.
    pub process: IssuerPid,
    /// The first of its definitions with the hook.
    pub definition: CredentialDefinitionId,
    /// Which hook, by its [`hook_id`]: where it is, is nobody's business but the issuer's.
    pub hook: Uuid,
    /// Whose.
    pub issuer: Did,
}

/// What a hook is known by.
pub(super) fn hook_id(hook: &Url) -> Uuid {
    derived_id(&[hook.as_str()])
}

impl Ask {
    /// What is to be decided; `None` when nothing is, any more.
    fn question<'a>(&self, state: &'a IssuerState) -> Option<(&'a Process, &'a Question)> {
        let process = state.processes.get(&self.process)?;
        let Some(Answer::Open(question)) = &process.answer else { return None };
        Some((process, question))
    }

    /// Who is told: the hook, for as long as a definition of the process has it, else the one that the first has by now. `None` when there is nobody any more,
    /// or nothing to decide.
    #[must_use]
    pub fn target<'a>(&self, state: &'a IssuerState) -> Option<&'a Url> {
        let (process, _) = self.question(state)?;
        let hook = |definition| state.definitions.get(definition)?.approval.as_ref()?.hook.as_ref();
        let same = process.requested.iter().filter_map(|requested| hook(&requested.definition)).find(|hook| hook_id(hook) == self.hook);
        same.or_else(|| hook(&self.definition))
    }
}

/// Tells a hook of a process, while there is something to decide.
///
/// # Errors
/// [`DeliveryError`]
pub async fn tell(
    services: &Services,
    issuer: &ParticipantContextId,
    delivery: &Delivery<'_, Issuer>,
    ask: &Ask,
) -> Result<(), DeliveryError> {
    let state = &delivery.snapshot;
    let Some((hook, payload)) = ask.target(state).cloned().zip(payload(state, issuer, ask)) else {
        return Ok(());
    };
    let body = json!({"id": delivery.message_id, "at": services.cluster.now().millis(), "type": EVENT, "payload": payload});
    let key = trust::signing_key(services, issuer, KeyUsage::Token).await.map_err(|e| DeliveryError::Retry(e.to_string()))?;
    let post = signed_post::Post { url: hook.clone(), headers: http::HeaderMap::new(), body: body.to_string().into_bytes(), typ: TYPE };
    let outcome = signed_post::send(services, &key, post, delivery.trace.clone()).await;
    let reason = outcome.as_ref().err().map(ToString::to_string);
    tracing::info!(category = "dcp", vpa = %delivery.address, action = "issuance.hook", process = %ask.process, host = hook.host_str(), reason, "sent");
    outcome
}

/// What is decided about; `None` when nothing is, any more.
fn payload(state: &IssuerState, issuer: &ParticipantContextId, ask: &Ask) -> Option<Value> {
    let (process, question) = ask.question(state)?;
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
