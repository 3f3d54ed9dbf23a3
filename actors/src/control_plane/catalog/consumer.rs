//! The consumer's side: asking another participant for its catalog or a dataset.

use crate::{
    Services,
    control_plane::{ControlPlane, Participant, dsp::client::retry_after, scopes::scopes_for},
    outbound::{OutboundError, OutboundRequest},
    trust::{TokenError, self_issued_token},
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::{
    Did, ParticipantContextId, ProfileId, TraceContext,
    dsp::{
        self, MessageError,
        catalog::{CatalogRequestMessage, compacted_catalog, compacted_dataset},
    },
    management::{CatalogRequest, DatasetRequest},
};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use url::Url;

/// When who does not say so may be asked again, and the longest time that is believed.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(60);

/// Why there is no catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such participant here.
    #[error("the participant context does not exist")]
    NotFound,
    /// The request cannot be made.
    #[error("{0}")]
    Invalid(String),
    /// The participant cannot act.
    #[error("{0}")]
    NotActive(String),
    /// The counterparty did not answer with what was asked for.
    #[error("{0}")]
    BadGateway(String),
    /// It says that it cannot answer now, and may be asked again after so long.
    #[error("{0}")]
    Busy(String, Duration),
    /// It answered with more than is read.
    #[error("{0}")]
    TooLong(String),
    /// We cannot now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<TokenError> for RequestError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NoParticipant(_) | TokenError::NoKey(..) => Self::Invalid(error.to_string()),
            TokenError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// The participant, when it may act.
pub(super) async fn participant(services: &Services, id: &ParticipantContextId) -> Result<Arc<Participant>, RequestError> {
    let address = Address::of::<ControlPlane>(id);
    let read = services.cluster.read::<ControlPlane, _>(&address, |state| state.active().cloned()).await;
    match read {
        Ok(active) => active.map_err(|refusal| RequestError::NotActive(refusal.to_string())),
        Err(AskError::NotRegistered) => Err(RequestError::NotFound),
        Err(other) => Err(RequestError::Unavailable(other.to_string())),
    }
}

/// One exchange of the catalog protocol with a provider.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// Who asks.
    pub participant: &'a ParticipantContextId,
    /// Who is asked: the audience of the token.
    pub counterparty: &'a Did,
    /// Where.
    pub url: Url,
    /// The credentials that the provider may ask for.
    pub scopes: &'a [String],
    /// A POST of this message; without one a GET.
    pub body: Option<Vec<u8>>,
    /// Longest answer, in bytes.
    pub limit: usize,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

/// A provider's answer.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Its body.
    pub value: Value,
    /// Length of its body as sent.
    pub bytes: usize,
    /// Its headers.
    pub headers: HeaderMap,
}

/// Asks a provider, with a fresh token.
///
/// # Errors
/// [`RequestError`]
pub(crate) async fn exchange(services: &Services, exchange: Exchange<'_>) -> Result<Answered, RequestError> {
    let Exchange { participant, counterparty, url, scopes, body, limit, trace } = exchange;
    let token = self_issued_token(services, participant, counterparty, scopes).await?;
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let request = OutboundRequest { method, url, bearer: Some(token), body: body.map(Into::into), accept: Some("application/json"), trace };
    let response = services.http.send_unless(request, None, limit).await.map_err(|error| match error {
        OutboundError::TooLarge(..) => RequestError::TooLong(error.to_string()),
        OutboundError::Forbidden(_) | OutboundError::Unreachable(..) | OutboundError::TimedOut(_) => {
            RequestError::BadGateway(error.to_string())
        }
    })?;
    if !response.status.is_success() {
        let reasons = dsp::error::reason(&response.body).map(|told| format!(" ({told})")).unwrap_or_default();
        tracing::info!(category = "dsp", vpa = %Address::of::<ControlPlane>(participant), action = "catalog.request.failed", counterparty = %counterparty, status = response.status.as_u16());
        return Err(refused(response.status, &response.headers, &reasons));
    }
    let value = serde_json::from_slice(&response.body);
    let value = value.map_err(|_| RequestError::BadGateway("the counterparty did not answer with JSON".to_owned()))?;
    Ok(Answered { value, bytes: response.body.len(), headers: response.headers })
}

/// A counterparty's answer that is none.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap, reasons: &str) -> RequestError {
    let why = format!("the counterparty answered {}{reasons}", status.as_u16());
    if status != StatusCode::SERVICE_UNAVAILABLE {
        return RequestError::BadGateway(why);
    }
    RequestError::Busy(why, retry_after(headers).unwrap_or(SOON).clamp(SOON, LATE))
}

/// The default scopes of a profile, and these.
fn scopes_with(services: &Services, profile: &ProfileId, additional: &[String]) -> Vec<String> {
    let mut scopes = scopes_for(&services.settings.load(), profile, []).required;
    scopes.extend(additional.iter().filter(|scope| !scopes.contains(scope)).cloned().collect::<Vec<_>>());
    scopes
}

/// What a counterparty answered, in the form of the Management API.
///
/// # Errors
/// [`RequestError::BadGateway`] when it is something else.
pub(crate) fn told(
    services: &Services,
    profile: &ProfileId,
    answer: Value,
    what: &str,
    compacted: fn(Value, &[String]) -> Result<Value, MessageError>,
) -> Result<Value, RequestError> {
    let settings = services.settings.load();
    let contexts = settings.profiles.get(profile).map_or(&[][..], |profile| &profile.contexts);
    compacted(answer, contexts).map_err(|error| RequestError::BadGateway(format!("the counterparty did not answer with a {what}: {error}")))
}

/// Asks a provider for its catalog (`POST /catalog/request`); the answer in the form of the Management API.
///
/// # Errors
/// [`RequestError`]
pub async fn request_catalog(
    services: &Services,
    id: &ParticipantContextId,
    request: &CatalogRequest,
    trace: Option<TraceContext>,
) -> Result<Value, RequestError> {
    let participant = participant(services, id).await?;
    let profile = participant.profile_for(request.profile.as_ref(), &services.settings.load()).map_err(RequestError::Invalid)?;
    let message = CatalogRequestMessage { filter: request.query_spec.iter().cloned().collect() };
    let body = dsp::message::render(&message, None, services.settings.load().context(&profile))
        .map_err(|error| RequestError::Unavailable(error.to_string()))?;
    let url = request.counter_party_address.below(&["catalog", "request"]);
    let scopes = scopes_with(services, &profile, &request.additional_scopes);
    let (counterparty, body) = (&request.counter_party_id, Some(body));
    let asked = Exchange { participant: id, counterparty, url, scopes: &scopes, body, limit: usize::MAX, trace };
    told(services, &profile, exchange(services, asked).await?.value, "catalog", compacted_catalog)
}

/// Asks a provider for a dataset (`GET /catalog/datasets/{id}`); the answer in the form of the Management API.
///
/// # Errors
/// [`RequestError`]
pub async fn request_dataset(
    services: &Services,
    id: &ParticipantContextId,
    request: &DatasetRequest,
    trace: Option<TraceContext>,
) -> Result<Value, RequestError> {
    let participant = participant(services, id).await?;
    let profile = participant.profile_for(request.profile.as_ref(), &services.settings.load()).map_err(RequestError::Invalid)?;
    let url = request.counter_party_address.below(&["catalog", "datasets", request.id.as_str()]);
    let scopes = scopes_with(services, &profile, &request.additional_scopes);
    let counterparty = &request.counter_party_id;
    let asked = Exchange { participant: id, counterparty, url, scopes: &scopes, body: None, limit: usize::MAX, trace };
    told(services, &profile, exchange(services, asked).await?.value, "dataset", compacted_dataset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header};

    #[test]
    fn who_says_later_is_asked_later() {
        let told = |status, after: Option<&'static str>| {
            let after = after.map(|after| (header::RETRY_AFTER, HeaderValue::from_static(after)));
            refused(status, &HeaderMap::from_iter(after), " (why)")
        };
        let busy = |seconds| RequestError::Busy("the counterparty answered 503 (why)".to_owned(), Duration::from_secs(seconds));
        for (after, seconds) in [(None, 1), (Some("7"), 7), (Some("0"), 1), (Some("86400"), 60), (Some("tomorrow"), 1)] {
            assert_eq!(told(StatusCode::SERVICE_UNAVAILABLE, after), busy(seconds), "{after:?}");
        }
        for status in [StatusCode::BAD_GATEWAY, StatusCode::UNAUTHORIZED, StatusCode::FOUND] {
            assert!(matches!(told(status, Some("7")), RequestError::BadGateway(_)), "{status}");
        }
    }
}
