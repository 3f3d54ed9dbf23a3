//! Messages to holders: credentials and rejections (DCP 1.0, 6.5) and offers (6.6).

use super::{
    Issuer, IssuerState, Process,
    agent::{Effect, issuer_of},
    credential::keep_revocation_alone,
    hook,
    issuance::State,
    signing,
};
use crate::{
    Services,
    outbound::OutboundRequest,
    trust::{self, PeerError},
};
use cellspace_cluster::{Address, Delivery, DeliveryError};
use cellspace_schemas::{
    Did, ParticipantContextId, SecretText, TraceContext,
    dcp::{
        CredentialContainer, CredentialMessage, CredentialOfferMessage, DeliveryStatus,
        messages::{OfferedCredential, context, types},
    },
    identity::key_pair::KeyUsage,
    issuer::{CredentialDefinitionId, IssuerPid},
};
use http::{Method, StatusCode};
use serde::Serialize;

/// Service of a holder's DID document that takes credentials and offers.
const CREDENTIAL_SERVICE: &str = "CredentialService";
/// A refusal that may be a matter of order or of a cache (the holder does not yet know that its request was accepted, or cannot resolve our DID)
/// is believed after so many attempts: about three seconds.
const SOFT_REFUSALS: u32 = 6;

/// Carries out an effect.
///
/// # Errors
/// [`DeliveryError`]
pub async fn deliver(services: &Services, delivery: Delivery<'_, Issuer>) -> Result<(), DeliveryError> {
    let issuer = issuer_of(delivery.address).map_err(|refusal| DeliveryError::Refused(refusal.to_string()))?;
    let to = |holder| Recipient { services, issuer: &issuer, holder, trace: delivery.trace.as_ref(), attempt: delivery.attempt };
    match delivery.effect.as_ref() {
        Effect::Deliver { process, token } => {
            let process = ready(&delivery.snapshot, process)?;
            let message = credential_message(services, &issuer, &delivery.snapshot, process).await?;
            to(&process.holder_did).post("credentials", &message, token.as_ref().map(SecretText::expose), "issuance.deliver").await
        }
        Effect::Reject { process, token } => {
            let known = delivery.snapshot.processes.get(process);
            let process = known.ok_or_else(|| DeliveryError::Refused(format!("issuance process {process} does not exist")))?;
            let message = rejection(process);
            to(&process.holder_did).post("credentials", &message, token.as_ref().map(SecretText::expose), "issuance.reject").await
        }
        Effect::Ask(ask) => hook::tell(services, &issuer, &delivery, ask).await,
        Effect::Offer { holder, credentials, reason } => {
            let did = trust::own_did(services, &issuer).await.map_err(|e| DeliveryError::Retry(e.to_string()))?;
            let offered = |id: &CredentialDefinitionId| Some(delivery.snapshot.definitions.get(id)?.offered(&issuer, &services.urls));
            let message = offer_message(did, credentials, reason.as_deref(), offered);
            to(holder).post("offers", &message, None, "credential.offer").await
        }
    }
}

/// The process, unless it was given up since.
fn ready<'a>(state: &'a IssuerState, pid: &IssuerPid) -> Result<&'a Process, DeliveryError> {
    let process = state.processes.get(pid).ok_or_else(|| DeliveryError::Refused(format!("issuance process {pid} does not exist")))?;
    match process.state {
        State::Approved | State::Delivered => Ok(process),
        State::Submitted | State::Errored => Err(DeliveryError::Refused("the issuance was given up".to_owned())),
    }
}

async fn credential_message(
    services: &Services,
    issuer: &ParticipantContextId,
    state: &IssuerState,
    process: &Process,
) -> Result<CredentialMessage, DeliveryError> {
    let key = trust::signing_key(services, issuer, KeyUsage::Credentials).await.map_err(|e| DeliveryError::Retry(e.to_string()))?;
    let mut credentials = Vec::with_capacity(process.requested.len());
    for requested in &process.requested {
        let missing = || DeliveryError::Refused(format!("credential {} does not exist", requested.credential));
        let credential = state.credentials.get(&requested.credential).ok_or_else(missing)?;
        let mut claims = credential.jwt_claims(issuer, &services.urls);
        if services.dcp.single_status {
            keep_revocation_alone(&mut claims);
        }
        let payload = signing::sign(services.vault.as_ref(), &key, credential.format, &claims)
            .await
            .map_err(|e| DeliveryError::Retry(e.to_string()))?;
        credentials.push(CredentialContainer {
            credential_type: credential.credential_type.clone(),
            format: services.dcp.spelling_of(credential.format).to_owned(),
            payload,
        });
    }
    Ok(CredentialMessage {
        context: context(),
        message_type: types::CredentialMessage,
        issuer_pid: process.id.to_string(),
        holder_pid: process.holder_pid.to_string(),
        status: DeliveryStatus::Issued,
        rejection_reason: None,
        credentials,
    })
}

fn rejection(process: &Process) -> CredentialMessage {
    CredentialMessage {
        context: context(),
        message_type: types::CredentialMessage,
        issuer_pid: process.id.to_string(),
        holder_pid: process.holder_pid.to_string(),
        status: DeliveryStatus::Rejected,
        rejection_reason: Some(process.error.clone().unwrap_or_default()),
        credentials: Vec::new(),
    }
}

/// With all that is known of what is offered; of a definition that has gone since, its id.
pub(super) fn offer_message(
    issuer: Did,
    credentials: &[CredentialDefinitionId],
    reason: Option<&str>,
    offered: impl Fn(&CredentialDefinitionId) -> Option<OfferedCredential>,
) -> CredentialOfferMessage {
    let object = |id: &CredentialDefinitionId| {
        let object = offered(id).unwrap_or_else(|| OfferedCredential { id: id.to_string(), ..OfferedCredential::default() });
        OfferedCredential { offer_reason: reason.map(str::to_owned), ..object }
    };
    CredentialOfferMessage {
        context: context(),
        message_type: types::CredentialOfferMessage,
        id: None,
        issuer,
        credentials: credentials.iter().map(object).collect(),
    }
}

/// A holder as the receiver of one attempt.
struct Recipient<'a> {
    services: &'a Services,
    issuer: &'a ParticipantContextId,
    holder: &'a Did,
    trace: Option<&'a TraceContext>,
    attempt: u32,
}

impl Recipient<'_> {
    /// Posts a message to the holder's credential service, authenticated by an ID token of the issuer that carries `token`.
    async fn post(
        &self,
        path: &str,
        message: &(impl Serialize + Sync),
        token: Option<&str>,
        action: &'static str,
    ) -> Result<(), DeliveryError> {
        let services = self.services;
        let below = services.trust.resolver.below(self.holder, CREDENTIAL_SERVICE, &[path], services.cluster.now()).await;
        let url = below.map_err(|error| match error {
            // Its document may not be published yet.
            PeerError::Refused(rule) => self.soft_refusal(rule),
            PeerError::Unreachable(reason) => DeliveryError::Unreachable(reason),
            PeerError::TooEarly => DeliveryError::Retry(error.to_string()),
        })?;
        let bearer = trust::token_with_access(services, self.issuer, self.holder, token).await;
        let bearer = bearer.map_err(|e| DeliveryError::Retry(e.to_string()))?;
        let body = serde_json::to_vec(message).map_err(|e| DeliveryError::Refused(e.to_string()))?;
        let request = OutboundRequest {
            method: Method::POST,
            url,
            bearer: Some(bearer),
            body: Some(body.into()),
            accept: Some("application/json"),
            trace: self.trace.cloned(),
        };
        let response = services.http.send(request).await?;
        tracing::info!(category = "dcp", vpa = %Address::of::<super::Issuer>(self.issuer), action, counterparty = %self.holder, status = response.status.as_u16(), attempt = self.attempt);
        self.outcome(response.status)
    }

    fn outcome(&self, status: StatusCode) -> Result<(), DeliveryError> {
        let reason = format!("the holder's credential service answered {status}");
        match status {
            s if s.is_success() => Ok(()),
            s if s.is_server_error() => Err(DeliveryError::Retry(reason)),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => Err(DeliveryError::Retry(reason)),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT => {
                Err(self.soft_refusal(reason))
            }
            _ => Err(DeliveryError::Refused(reason)),
        }
    }

    const fn soft_refusal(&self, reason: String) -> DeliveryError {
        if self.attempt < SOFT_REFUSALS { DeliveryError::Retry(reason) } else { DeliveryError::Refused(reason) }
    }
}
