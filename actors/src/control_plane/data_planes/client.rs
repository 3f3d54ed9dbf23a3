//! Calls of data planes (data plane signaling, "Data Plane Endpoint").

use super::{Authorization, DataPlane};
use crate::{
    Services,
    access::AccessClaims,
    control_plane::{
        dsp::client::judge,
        transfer::{PlaneCall, Signal},
    },
    outbound::{OutboundError, OutboundRequest},
};
use bytes::Bytes;
use cellspace_cluster::{Address, DeliveryError};
use cellspace_schemas::{
    MessageId, ParticipantContextId, TraceContext, TransferId,
    dps::{
        DataFlowBaseMessage, DataFlowResumeMessage, DataFlowStartMessage, DataFlowStartedNotificationMessage, DataFlowState,
        DataFlowStatusMessage, DataFlowStatusResponseMessage, DataFlowSuspendMessage, DataFlowTerminateMessage,
    },
    dsp::BaseUrl,
};
use cellspace_storage::VaultPath;
use http::{HeaderMap, Method, StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// What our own data plane asks a token for.
const SCOPE: &str = "data-plane-api:write";
/// How long a token for one call is good.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);
/// Longest access token that is taken from a foreign token endpoint, in bytes.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Type of the tokens that are exchanged (RFC 8693, 3).
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What came back.
type Answer = Result<(StatusCode, HeaderMap, Bytes), OutboundError>;

/// One call.
pub struct Call<'a> {
    /// For whom.
    pub participant: &'a ParticipantContextId,
    /// Whom.
    pub plane: &'a DataPlane,
    /// About which transfer.
    pub transfer: &'a TransferId,
    /// The message's id, the same on every attempt.
    pub message_id: MessageId,
    /// What prepare and start say about the flow, with these claims of the counterparty.
    pub flow: &'a (dyn Fn(&Map<String, Value>) -> DataFlowBaseMessage + Send + Sync),
    /// What.
    pub call: &'a PlaneCall,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

/// Calls the data plane once, and says what its answer means.
///
/// # Errors
/// [`DeliveryError`]
pub async fn call(services: &Services, call: Call<'_>) -> Result<Signal, DeliveryError> {
    let (path, body) = request(&call)?;
    let answer = judge(send(services, &call, Method::POST, &path, Some(body)).await?);
    let action = path.last().map_or("call", String::as_str);
    let failure = answer.as_ref().err().map(ToString::to_string);
    tracing::info!(category = "app", vpa = %Address::of::<crate::ControlPlane>(call.participant), action, plane = %call.plane.id, transfer = %call.transfer, failure, "called");
    match answer {
        Ok((status, body)) => signal(call.call, status, &body),
        // A flow that is over, or was never there, refuses to be ended.
        Err(DeliveryError::Refused(_)) if matches!(call.call, PlaneCall::Terminate(_)) && is_over(services, &call).await? => {
            Ok(Signal::Done)
        }
        Err(error) => Err(error),
    }
}

async fn send(
    services: &Services,
    call: &Call<'_>,
    method: Method,
    path: &[String],
    body: Option<Vec<u8>>,
) -> Result<Answer, DeliveryError> {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let request = OutboundRequest {
        method,
        url: call.plane.endpoint.below(&segments),
        bearer: Some(token(services, call.participant, call.plane).await?),
        body: body.map(Into::into),
        accept: Some("application/json"),
        trace: call.trace.clone(),
    };
    // A plane without authorization is this installation's own, wherever that is; every other one is a party like a counterparty.
    let http = if call.plane.authorization.is_none() { &services.own } else { &services.http };
    Ok(http.send(request).await.map(|a| (a.status, a.headers, a.body)))
}

/// Whether the data plane has no such flow, or one in a final state.
async fn is_over(services: &Services, call: &Call<'_>) -> Result<bool, DeliveryError> {
    let path = [call.transfer.to_string(), "status".to_owned()];
    Ok(says_over(&send(services, call, Method::GET, &path, None).await?))
}

fn says_over(answer: &Answer) -> bool {
    match answer {
        Ok((StatusCode::NOT_FOUND, ..)) => true,
        Ok((status, _, body)) if status.is_success() => {
            serde_json::from_slice::<DataFlowStatusResponseMessage>(body).is_ok_and(|status| status.state.is_final())
        }
        Ok(_) | Err(_) => false,
    }
}

fn request(call: &Call<'_>) -> Result<(Vec<String>, Vec<u8>), DeliveryError> {
    let id = &call.message_id;
    let about = |word: &str| vec![call.transfer.to_string(), word.to_owned()];
    let suspend = |reason: &Option<String>| DataFlowSuspendMessage { message_id: id.clone(), reason: reason.clone() };
    Ok(match call.call {
        PlaneCall::Prepare => (vec!["prepare".to_owned()], json(&(call.flow)(&Map::new()))?),
        PlaneCall::Start { claims, data_address } => {
            let start = DataFlowStartMessage { flow: (call.flow)(claims), data_address: data_address.clone() };
            (vec!["start".to_owned()], json(&start)?)
        }
        PlaneCall::Started(address) => {
            (about("started"), json(&DataFlowStartedNotificationMessage { message_id: id.clone(), data_address: address.clone() })?)
        }
        PlaneCall::Suspend(reason) => (about("suspend"), json(&suspend(reason))?),
        PlaneCall::Resume(address) => {
            (about("resume"), json(&DataFlowResumeMessage { message_id: id.clone(), data_address: address.clone() })?)
        }
        PlaneCall::Terminate(reason) => {
            let terminate: DataFlowTerminateMessage = suspend(reason);
            (about("terminate"), json(&terminate)?)
        }
        PlaneCall::Completed => (about("completed"), b"{}".to_vec()),
    })
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, DeliveryError> {
    serde_json::to_vec(body).map_err(|e| DeliveryError::Refused(format!("the message cannot be written: {e}")))
}

/// What an answer means. Only prepare, start and resume have a body that counts.
///
/// # Errors
/// [`DeliveryError::Refused`] when it cannot be read, or says something else than was asked for.
pub fn signal(call: &PlaneCall, status: StatusCode, body: &[u8]) -> Result<Signal, DeliveryError> {
    let message = || {
        serde_json::from_slice::<DataFlowStatusMessage>(body)
            .map_err(|e| DeliveryError::Refused(format!("the data plane's answer cannot be read: {e}")))
    };
    let unexpected = |state: DataFlowState| Err(DeliveryError::Refused(format!("the data plane answered {}", state.name())));
    match call {
        PlaneCall::Prepare | PlaneCall::Start { .. } if status == StatusCode::ACCEPTED => Ok(Signal::Pending),
        PlaneCall::Prepare => {
            let message = message()?;
            match message.state {
                DataFlowState::Prepared => Ok(Signal::Prepared(message.data_address)),
                DataFlowState::Preparing => Ok(Signal::Pending),
                state @ (DataFlowState::Initialized
                | DataFlowState::Starting
                | DataFlowState::Started
                | DataFlowState::Suspended
                | DataFlowState::Completed
                | DataFlowState::Terminated) => unexpected(state),
            }
        }
        PlaneCall::Start { .. } => {
            let message = message()?;
            match message.state {
                DataFlowState::Started => Ok(Signal::Started(message.data_address)),
                DataFlowState::Starting => Ok(Signal::Pending),
                state @ (DataFlowState::Initialized
                | DataFlowState::Preparing
                | DataFlowState::Prepared
                | DataFlowState::Suspended
                | DataFlowState::Completed
                | DataFlowState::Terminated) => unexpected(state),
            }
        }
        // The answer to resume has the same shape; data planes that leave it out have nothing to say.
        PlaneCall::Resume(_) => Ok(message().map_or(Signal::Done, |message| Signal::Started(message.data_address))),
        PlaneCall::Started(_) | PlaneCall::Suspend(_) | PlaneCall::Terminate(_) | PlaneCall::Completed => Ok(Signal::Done),
    }
}

/// The platform's own data plane gets the platform's tokens, every other one those of its authorization (data plane signaling, "Authorization").
async fn token(services: &Services, participant: &ParticipantContextId, plane: &DataPlane) -> Result<String, DeliveryError> {
    match &plane.authorization {
        // Registration saw to it; but the base URL may have changed since.
        None if !plane.endpoint.is_within(&services.urls.admin) => {
            Err(DeliveryError::Refused("the data plane is outside this installation and has no authorization".to_owned()))
        }
        None => minted(services, participant, SCOPE, None).await,
        Some(Authorization::ClientCredentials { token_endpoint, client_id, secret, .. }) => {
            let path = VaultPath { owner: participant.into(), alias: secret.clone() };
            let secret = services.vault.secret(&path).await.map_err(|e| DeliveryError::Retry(format!("no client secret: {e}")))?;
            let form = [("grant_type", "client_credentials"), ("client_id", client_id.as_str()), ("client_secret", secret.expose_secret())];
            granted(services, token_endpoint, &form).await
        }
        // What we exchange is a token of the embedded token service, good at the broker alone; it speaks for our signaling endpoint.
        Some(Authorization::TokenExchange { endpoint, .. }) => {
            let subject = minted(services, participant, "", Some(endpoint.url().to_string())).await?;
            let own = services.urls.signaling(participant);
            let form = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", subject.as_str()),
                ("subject_token_type", JWT),
                ("requested_token_type", JWT),
                ("resource", own.as_str()),
                ("audience", plane.id.as_str()),
                ("scope", SCOPE),
            ];
            granted(services, endpoint, &form).await
        }
    }
}

/// A token of the embedded token service for the participant.
async fn minted(
    services: &Services,
    participant: &ParticipantContextId,
    scope: &str,
    aud: Option<String>,
) -> Result<String, DeliveryError> {
    let (sub, role) = (participant.to_string(), Some("participant".to_owned()));
    let claims = AccessClaims { sub, scope: scope.to_owned(), role, aud, ..AccessClaims::default() };
    let minted = services.tokens.mint(claims, services.cluster.now(), TOKEN_LIFETIME).await;
    minted.map_err(|e| DeliveryError::Retry(format!("no token: {e}")))
}

/// What a token endpoint grants.
async fn granted(services: &Services, endpoint: &BaseUrl, form: &[(&str, &str)]) -> Result<String, DeliveryError> {
    let answer = services.http.post_form(endpoint.url().clone(), form).await;
    let (_, body) = judge(answer.map(|a| (a.status, a.headers, a.body))).map_err(|e| match e {
        // Credentials may be put right at the token service meanwhile.
        // Nor does it say anything about the data plane's host that the token service cannot be reached.
        DeliveryError::Refused(reason) | DeliveryError::Unreachable(reason) => DeliveryError::Retry(format!("the token endpoint {reason}")),
        later => later,
    })?;
    access_token(&body).ok_or_else(|| DeliveryError::Retry("the token endpoint gave no usable token".to_owned()))
}

/// The token in a token endpoint's answer (RFC 6749, 5.1), when it is of a usable length.
#[must_use]
pub fn access_token(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct TokenAnswer {
        access_token: String,
    }
    let TokenAnswer { access_token } = serde_json::from_slice(body).ok()?;
    (!access_token.is_empty() && access_token.len() <= MAX_TOKEN_BYTES).then_some(access_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flows_that_are_over() {
        let said = |status: u16, body: &'static str| -> Answer {
            Ok((StatusCode::from_u16(status).unwrap(), HeaderMap::new(), Bytes::from_static(body.as_bytes())))
        };
        for (status, body, over) in [
            (404, "", true),
            (200, r#"{"dataFlowId": "t", "state": "COMPLETED"}"#, true),
            (200, r#"{"dataFlowId": "t", "state": "TERMINATED"}"#, true),
            (200, r#"{"dataFlowId": "t", "state": "STARTED"}"#, false),
            (200, "{}", false),
            (400, r#"{"dataFlowId": "t", "state": "COMPLETED"}"#, false),
            (503, "", false),
        ] {
            assert_eq!(says_over(&said(status, body)), over, "{status} {body}");
        }
        assert!(!says_over(&Err(OutboundError::TimedOut("x".into()))));
    }

    #[test]
    fn answers() {
        let start = PlaneCall::Start { claims: Map::new(), data_address: None };
        let said =
            |call: &PlaneCall, status: u16, body: Value| signal(call, StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes());
        assert_eq!(said(&PlaneCall::Prepare, 200, json!({"state": "PREPARED"})), Ok(Signal::Prepared(None)));
        assert_eq!(said(&PlaneCall::Prepare, 202, json!({"state": "PREPARING"})), Ok(Signal::Pending));
        assert_eq!(said(&PlaneCall::Prepare, 202, json!({})), Ok(Signal::Pending));
        assert_eq!(said(&start, 200, json!({"state": "STARTED"})), Ok(Signal::Started(None)));
        assert_eq!(said(&start, 202, json!({"state": "STARTING", "dataFlowId": "x"})), Ok(Signal::Pending));
        assert_eq!(said(&PlaneCall::Resume(None), 200, json!({"state": "STARTED"})), Ok(Signal::Started(None)));
        for call in [PlaneCall::Resume(None), PlaneCall::Started(None), PlaneCall::Suspend(None), PlaneCall::Completed] {
            assert_eq!(said(&call, 200, json!({})), Ok(Signal::Done), "{call:?}");
        }
        for (call, body) in
            [(&PlaneCall::Prepare, json!({"state": "STARTED"})), (&start, json!({"state": "TERMINATED"})), (&start, json!({}))]
        {
            assert!(matches!(said(call, 200, body.clone()), Err(DeliveryError::Refused(_))), "{call:?} {body}");
        }
    }
}
