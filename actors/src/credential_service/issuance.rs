//! The holder's I/O of DCP issuance: sending requests, verifying what comes back.

use super::{
    Refusal, State,
    agent::Outcome,
    credential::StoredCredential,
    holder_request::{Acknowledged, Delivered},
    offer::{Offer, OfferedObject},
    watch::HeldStatus,
};
use crate::{
    Services,
    outbound::{OutboundError, OutboundRequest},
    trust::{PeerError, TokenError, credential::VerifiedCredential, status::StatusError, token_for_issuer, verify_sender},
};
use cellspace_cluster::{Address, CallId, DeliveryError, PrepareError};
use cellspace_schemas::{
    Did, ParticipantContextId, SecretText, TraceContext,
    dcp::{
        self, CredentialContainer, CredentialFormat, CredentialMessage, CredentialRequestMessage, DeliveryStatus,
        messages::{self, CredentialReference, MAX_CREDENTIALS},
    },
    identity::RequestedCredential,
    issuer::{
        CredentialDefinitionId, CredentialId, HolderPid, IssuerPid,
        metadata::{OtherIssuer, OtherObject, OtherStatus, RequestStatus},
    },
    json,
};
use http::{HeaderMap, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use url::Url;
use uuid::Uuid;

/// Attempts at a request that the issuer does not accept yet: it may not see our DID document already.
const PATIENCE: u32 = 5;
/// Longest metadata of an issuer that is read, in bytes.
const MAX_METADATA: usize = 1 << 20;
/// Longest part of a counterparty's answer that is kept as a reason, in characters.
const MAX_REASON: usize = 300;

/// A request to be sent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Who asks.
    pub participant: &'a ParticipantContextId,
    /// Its id of the request.
    pub holder_pid: &'a HolderPid,
    /// Whom it asks.
    pub issuer: &'a Did,
    /// For what.
    pub credentials: &'a [CredentialDefinitionId],
    /// The code by which the issuer has authorized it beforehand.
    pub code: Option<&'a SecretText>,
}

/// Sends a `CredentialRequestMessage` to the issuer's `IssuerService`. A repeat carries the same holderPid.
///
/// # Errors
/// [`DeliveryError`]: refused when the issuer says so for good.
pub async fn send(
    services: &Services,
    request: &Outgoing<'_>,
    attempt: u32,
    trace: Option<TraceContext>,
) -> Result<Acknowledged, DeliveryError> {
    let not_yet = |reason: String| if attempt < PATIENCE { DeliveryError::Retry(reason) } else { DeliveryError::Refused(reason) };
    let url = below_issuer(services, request.issuer, &["credentials"]).await.map_err(|e| match e {
        PeerError::Refused(reason) => not_yet(reason),
        PeerError::Unreachable(reason) => DeliveryError::Unreachable(reason),
        PeerError::TooEarly => DeliveryError::Retry(e.to_string()),
    })?;
    let token = bearer(services, request.participant, request.issuer, request.code).await?;
    let message = CredentialRequestMessage {
        context: messages::context(),
        message_type: messages::types::CredentialRequestMessage,
        holder_pid: request.holder_pid.to_string(),
        credentials: request.credentials.iter().map(|id| CredentialReference { id: id.to_string() }).collect(),
    };
    let body = serde_json::to_vec(&message).map_err(|e| DeliveryError::Refused(e.to_string()))?;
    let outbound = OutboundRequest {
        method: Method::POST,
        url,
        bearer: Some(token),
        body: Some(body.into()),
        accept: Some("application/json"),
        trace,
    };
    let response = services.http.send(outbound).await?;
    tracing::info!(category = "dcp", action = "credentials.request", counterparty = %request.issuer, vpa = %Address::of::<super::CredentialService>(request.participant),
        status = response.status.as_u16());
    let said = || {
        let text: String = String::from_utf8_lossy(&response.body).chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        format!("the issuer answered {}: {text}", response.status)
    };
    match response.status {
        status if status.is_success() => Ok(Acknowledged { issuer_pid: located(&response.headers) }),
        StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => Err(not_yet(said())),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(DeliveryError::Retry(said())),
        status if status.is_client_error() => Err(DeliveryError::Refused(said())),
        _ => Err(DeliveryError::Retry(said())),
    }
}

/// The issuer's id of a request that it took, by where it says that the request is (DCP 1.0, 6.4).
#[must_use]
pub fn located(headers: &HeaderMap) -> Option<IssuerPid> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let last = location.trim_end_matches('/').rsplit('/').next()?;
    IssuerPid::new(percent_decode_str(last).decode_utf8().ok()?).ok()
}

/// Asks an issuer what has become of a request that it took (DCP 1.0, 6.8); `None` when it knows none, or does not say it.
///
/// # Errors
/// [`DeliveryError`]
pub async fn request_status(
    services: &Services,
    participant: &ParticipantContextId,
    issuer: &Did,
    issuer_pid: &IssuerPid,
    trace: Option<TraceContext>,
) -> Result<Option<RequestStatus>, DeliveryError> {
    let url = below_issuer(services, issuer, &["requests", issuer_pid.as_str()]).await.map_err(|e| match e {
        PeerError::Unreachable(reason) => DeliveryError::Unreachable(reason),
        PeerError::Refused(_) | PeerError::TooEarly => DeliveryError::Retry(e.to_string()),
    })?;
    let token = bearer(services, participant, issuer, None).await?;
    let request = OutboundRequest { method: Method::GET, url, bearer: Some(token), body: None, accept: Some("application/json"), trace };
    let answer = services.http.send(request).await?;
    tracing::info!(category = "dcp", action = "credentials.request.status", counterparty = %issuer, vpa = %Address::of::<super::CredentialService>(participant),
        status = answer.status.as_u16());
    match answer.status {
        StatusCode::OK => {
            Ok(dcp::read::<OtherStatus>(&answer.body).ok().filter(|said| said.issuer_pid == issuer_pid.as_str()).map(|said| said.status))
        }
        // It may not see our DID document just now.
        StatusCode::UNAUTHORIZED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(DeliveryError::Retry(format!("the issuer answered {}", answer.status)))
        }
        status if status.is_client_error() || status.is_success() => Ok(None),
        status => Err(DeliveryError::Retry(format!("the issuer answered {status}"))),
    }
}

/// What is made of an issuer's answer about a request: that it knows none is believed when it has said so for a while, as it may be switched off for a moment;
/// what cannot be asked for as long is asked another time.
///
/// # Errors
/// [`DeliveryError`] when it is to be asked again soon.
pub fn believed(asked: Result<Option<RequestStatus>, DeliveryError>, attempt: u32) -> Result<Outcome, DeliveryError> {
    match asked {
        Ok(None) if attempt < PATIENCE => Err(DeliveryError::Retry("the issuer knows no such request".to_owned())),
        Ok(status) => Ok(Outcome::Request(status)),
        Err(DeliveryError::Refused(_)) => Ok(Outcome::Done),
        Err(_) if attempt >= PATIENCE => Ok(Outcome::Done),
        Err(error) => Err(error),
    }
}

/// URL of a path below an issuer's service.
async fn below_issuer(services: &Services, issuer: &Did, segments: &[&str]) -> Result<Url, PeerError> {
    services.trust.resolver.below(issuer, "IssuerService", segments, services.cluster.now()).await
}

/// The token of a message to an issuer.
async fn bearer(
    services: &Services,
    participant: &ParticipantContextId,
    issuer: &Did,
    code: Option<&SecretText>,
) -> Result<String, DeliveryError> {
    token_for_issuer(services, participant, issuer, code.map(SecretText::expose)).await.map_err(|e| match e {
        TokenError::NoParticipant(_) => DeliveryError::Refused(e.to_string()),
        TokenError::NoKey(..) | TokenError::Unavailable(_) => DeliveryError::Retry(e.to_string()),
    })
}

/// The objects of an offer that can be asked for, as the offer describes them, and where it does not (DCP 1.0, 6.6.1: it may hold their ids alone), as the
/// issuer's metadata does. Those of the offer's own when the issuer has no such metadata, or none that may be had: the offer is kept all the same.
///
/// # Errors
/// Unavailable when the issuer cannot be asked now: it offers again.
pub async fn offered(services: &Services, offer: &Offer) -> Result<Vec<RequestedCredential>, PrepareError<Refusal>> {
    let is_whole = |id: &CredentialDefinitionId| offer.object(id).is_some_and(OfferedObject::is_whole);
    let described = if offer.credentials.iter().all(is_whole) { Ok(Vec::new()) } else { supported(services, &offer.issuer).await };
    let described = match described {
        Ok(described) => described,
        Err(PeerError::Refused(reason)) => {
            tracing::info!(category = "dcp", action = "credential.offer.not_followed", counterparty = %offer.issuer, %reason);
            Vec::new()
        }
        Err(error @ (PeerError::Unreachable(_) | PeerError::TooEarly)) => {
            tracing::info!(category = "dcp", action = "credential.offer.not_followed", counterparty = %offer.issuer, reason = %error);
            return Err(PrepareError::Unavailable("the metadata of the issuer cannot be had".to_owned()));
        }
    };
    let object = |id: &CredentialDefinitionId| {
        let (offered, described) = (offer.object(id), described.iter().find(|object| object.id == id.as_str()));
        let of = |profile: Option<&str>| profile.and_then(CredentialFormat::parse);
        let format = of(offered.and_then(|object| object.profile.as_deref())).or_else(|| of(described?.profile.as_deref()))?;
        let credential_type =
            offered.and_then(|object| object.credential_type.as_ref()).or_else(|| described.map(|object| &object.credential_type))?;
        Some(RequestedCredential { format, credential_type: credential_type.clone(), id: id.clone() })
    };
    // A request names each once.
    let ids = offer.credentials.iter().enumerate().filter(|(n, id)| !offer.credentials.iter().take(*n).any(|other| other == *id));
    Ok(ids.filter_map(|(_, id)| object(id)).collect())
}

/// What may not be called, or is too long, is so the next time as well.
fn no_metadata(error: OutboundError) -> PeerError {
    match error {
        OutboundError::Forbidden(_) | OutboundError::TooLarge(..) => PeerError::Refused(error.to_string()),
        OutboundError::Unreachable(..) | OutboundError::TimedOut(_) => PeerError::Unreachable(error.to_string()),
    }
}

/// What the issuer's metadata say that it issues.
async fn supported(services: &Services, issuer: &Did) -> Result<Vec<OtherObject>, PeerError> {
    let wrong = |reason: &str| PeerError::Refused(format!("the metadata of the issuer {reason}"));
    let url = below_issuer(services, issuer, &["metadata"]).await?;
    let request = OutboundRequest { method: Method::GET, url, bearer: None, body: None, accept: Some("application/json"), trace: None };
    let answer = services.http.send_unless(request, None, MAX_METADATA).await.map_err(no_metadata)?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            return Err(PeerError::Unreachable(format!("status {}", answer.status)));
        }
        status if status.is_server_error() => return Err(PeerError::Unreachable(format!("status {status}"))),
        status => return Err(wrong(&format!("is answered by {status}"))),
    }
    let described: OtherIssuer = json::from_slice(&answer.body).map_err(|_| wrong("must be an IssuerMetadata"))?;
    if described.issuer == *issuer { Ok(described.credentials_supported) } else { Err(wrong("must be that of the issuer")) }
}

/// Verifies a delivery: who sends it, that it answers a request of ours, and each credential: signature, issuer, holder, that it has not expired.
///
/// # Errors
/// [`Refusal`] names the rule, or says that the issuer's DID document is out of reach.
pub async fn verify_delivery(
    services: &Services,
    state: &State,
    token: &str,
    call: CallId,
    message: CredentialMessage,
) -> Result<Delivered, PrepareError<Refusal>> {
    let context = state.active_context().ok_or(Refusal::NoContext)?;
    let now = services.cluster.now();
    let sender = verify_sender(services, (&context.id, &context.did), token, Some(call)).await.map_err(Refusal::Sender)?;
    let known = HolderPid::new(&message.holder_pid).ok().and_then(|pid| state.requests.get(&pid)).filter(|r| r.issuer == sender.issuer);
    let holder_pid = known.ok_or(Refusal::NoRequest)?.holder_pid.clone();
    let issuer_pid = IssuerPid::new(&message.issuer_pid).map_err(|e| Refusal::BadCredential(format!("issuerPid: {e}")))?;
    let outcome = match message.status {
        DeliveryStatus::Rejected => {
            let reason: String =
                message.rejection_reason.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            Err(if reason.is_empty() {
                "the issuer rejected the request".to_owned()
            } else {
                format!("the issuer rejected the request: {reason}")
            })
        }
        DeliveryStatus::Issued => {
            if message.credentials.is_empty() || message.credentials.len() > MAX_CREDENTIALS {
                return Err(Refusal::BadCredential(format!("a delivery holds 1 to {MAX_CREDENTIALS} credentials")).into());
            }
            let checks = message.credentials.into_iter().map(|container| async {
                let verified = verify(services, &context.did, &container.payload, Some((&sender.issuer, &container))).await?;
                let id = CredentialId::from_uuid(Uuid::new_v4());
                let stored = StoredCredential::new(id, &verified, &context.did, container.payload, Some(holder_pid.clone()), now);
                Ok::<_, PrepareError<Refusal>>(Arc::new(stored))
            });
            Ok(futures::future::try_join_all(checks).await?)
        }
    };
    Ok(Delivered { issuer: sender.issuer, issuer_pid, holder_pid, outcome })
}

/// Verifies a credential that the participant stores by itself.
///
/// # Errors
/// As [`verify_delivery`].
pub async fn verify_given(
    services: &Services,
    holder: &Did,
    id: CredentialId,
    raw: String,
) -> Result<StoredCredential, PrepareError<Refusal>> {
    let verified = verify(services, holder, &raw, None).await?;
    Ok(StoredCredential::new(id, &verified, holder, raw, None, services.cluster.now()))
}

/// What its issuer's status lists say of a credential that is held; `None` when they cannot be believed, or had: it is looked up again another day.
///
/// # Errors
/// [`DeliveryError`] when it may be tried again now.
pub async fn look_at_status(services: &Services, held: &StoredCredential, attempt: u32) -> Result<Option<HeldStatus>, DeliveryError> {
    let now = services.cluster.now();
    let status = async {
        let verified = services.trust.verify_credential(&held.raw, now, |_| Ok(())).await?;
        services.trust.status(&verified.credential, now).await
    };
    let reason = match status.await {
        Ok(Ok(())) => return Ok(Some(HeldStatus::Active)),
        Ok(Err(StatusError::Revoked)) => return Ok(Some(HeldStatus::Revoked)),
        Ok(Err(StatusError::Suspended)) => return Ok(Some(HeldStatus::Suspended)),
        Ok(Err(rule @ (StatusError::Form | StatusError::Length | StatusError::Issuer | StatusError::Purpose))) => rule.to_string(),
        Err(PeerError::Unreachable(reason)) if attempt < PATIENCE => return Err(DeliveryError::Unreachable(reason)),
        Err(error @ PeerError::TooEarly) if attempt < PATIENCE => return Err(DeliveryError::Retry(error.to_string())),
        Err(error) => error.to_string(),
    };
    tracing::info!(category = "dcp", action = "credential.status.unknown", counterparty = %held.issuer, credential = %held.id, %reason);
    Ok(None)
}

async fn verify(
    services: &Services,
    holder: &Did,
    jwt: &str,
    delivered: Option<(&Did, &CredentialContainer)>,
) -> Result<Arc<VerifiedCredential>, PrepareError<Refusal>> {
    let now = services.cluster.now();
    let verified = services.trust.verify_credential(jwt, now, |credential| {
        credential.check_holder(holder)?;
        // One that is not valid yet is held, and presented from then on.
        credential.check_end(now)?;
        let Some((issuer, container)) = delivered else { return Ok(()) };
        let rule = if credential.issuer != *issuer {
            "a delivered credential must be issued by the sender"
        } else if CredentialFormat::parse(&container.format) != Some(credential.format) {
            "the format of a delivered credential must be the one it names"
        } else if !credential.types.contains(&container.credential_type) {
            "the credentialType of a delivered credential must be one of its types"
        } else {
            return Ok(());
        };
        Err(PeerError::Refused(rule.to_owned()))
    });
    verified.await.map_err(|error| match error {
        PeerError::Refused(rule) => Refusal::BadCredential(rule).into(),
        PeerError::TooEarly | PeerError::Unreachable(_) => Refusal::Sender(error).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_an_issuer_knows_nothing_is_believed_after_a_while() {
        let down = || Err(DeliveryError::Unreachable("down".to_owned()));
        assert!(believed(Ok(None), 1).is_err() && believed(down(), 1).is_err());
        assert!(matches!(believed(Ok(Some(RequestStatus::Rejected)), 1), Ok(Outcome::Request(Some(RequestStatus::Rejected)))));
        assert!(matches!(believed(Ok(None), PATIENCE), Ok(Outcome::Request(None))));
        // Nothing is known, and nothing is lost: it is asked another time.
        assert!(matches!(believed(down(), PATIENCE), Ok(Outcome::Done)));
        assert!(matches!(believed(Err(DeliveryError::Refused("inactive".to_owned())), 1), Ok(Outcome::Done)));
    }

    #[test]
    fn metadata_that_can_never_be_had_is_none() {
        let of = |error| match no_metadata(error) {
            PeerError::Refused(_) => true,
            PeerError::Unreachable(_) | PeerError::TooEarly => false,
        };
        let at = || "http://127.0.0.1/".to_owned();
        assert!(of(OutboundError::Forbidden(at())) && of(OutboundError::TooLarge(at(), MAX_METADATA)));
        assert!(!of(OutboundError::Unreachable(at(), "refused".to_owned())) && !of(OutboundError::TimedOut(at())));
    }
}
