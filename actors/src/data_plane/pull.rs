//! A data request: checked by the token's signature and the flow's state at its owner, then opened at the source.

use super::{
    DataPlane, Full, TargetError,
    meter::Measured,
    participant, pump,
    signing_key::Claims,
    source::{Authorization, Source},
    state::DataPlaneState,
};
use crate::{ControlPlane, Services, outbound::StreamRequest};
use cellspace_cluster::{Address, AskError, PrepareError};
use cellspace_schemas::{ParticipantContextId, TraceContext, TransferId};
use cellspace_storage::VaultPath;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use secrecy::ExposeSecret;
use std::sync::Arc;

/// Headers of the client that the source sees.
const TO_SOURCE: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];
/// Headers of the source that the client sees.
const TO_CLIENT: [HeaderName; 9] = [
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// A request for data.
#[derive(Debug, Clone)]
pub struct Pull<'a> {
    /// Whose data plane.
    pub participant: &'a ParticipantContextId,
    /// Under which flow.
    pub flow: &'a TransferId,
    /// `GET` or `HEAD`.
    pub method: Method,
    /// What follows the flow in the path as received, with its leading slash, or empty.
    pub path: &'a str,
    /// The query as received.
    pub query: Option<&'a str>,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// The access token.
    pub token: Option<&'a str>,
    /// Trace to continue.
    pub trace: Option<TraceContext>,
}

/// What the client gets.
#[derive(Debug)]
pub struct Pulled {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; `None` where the answer has none.
    pub body: Option<pump::Body>,
}

/// Why there are no data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// No good token of this participant. Also for participants and flows that are not there: nobody learns which are.
    #[error("a valid access token of this data flow is required")]
    Token,
    /// A good token of another flow, or one that was replaced.
    #[error("the access token is not that of this data flow")]
    OtherToken,
    /// The flow is not `STARTED`.
    #[error("the data flow is not started")]
    NotStarted,
    /// The source does not allow the method.
    #[error("the source does not allow this method")]
    Method,
    /// The source does not open the path or query.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The source has no such thing.
    #[error("the source has nothing there")]
    NotFound,
    /// The source cannot be used.
    #[error("{0}")]
    Source(&'static str),
    /// Too many responses of the flow or participant at once.
    #[error("too many responses of this data flow or participant at once")]
    TooMany,
    /// This node cannot now.
    #[error("{0}")]
    Unavailable(String),
}

/// Opens the data: everything is checked and the source has answered; the body streams on.
///
/// # Errors
/// [`PullError`]
pub async fn pull(services: &Services, request: Pull<'_>) -> Result<Pulled, PullError> {
    match participant::find(services, request.participant).await {
        Ok(known) if known.active => {}
        // On the public side a participant that is not active does not exist.
        Ok(_) | Err(PrepareError::Refused(_)) => return Err(PullError::Token),
        Err(PrepareError::Unavailable(reason)) => return Err(PullError::Unavailable(reason)),
    }
    let agent = Address::of::<DataPlane>(request.participant);
    let state = services.cluster.snapshot::<DataPlane>(&agent).await.map_err(|error| match error {
        AskError::NotRegistered => PullError::Token,
        error => PullError::Unavailable(error.to_string()),
    })?;
    let aud = services.urls.data(request.participant, request.flow.as_str());
    let claims = verified(services, request.token).await?;
    let source = admitted(&state, &claims, request.flow, &aud)?;
    if !source.allows(&request.method) {
        return Err(PullError::Method);
    }
    let url = source.target(request.path, request.query)?;
    if services.workers.meter.is_full() {
        return Err(PullError::Unavailable("too much usage waits to be recorded".into()));
    }
    let permit = services.workers.admission.admit(request.participant, request.flow).map_err(|full| match full {
        Full::Participant => PullError::TooMany,
        Full::Node => PullError::Unavailable("this node streams as much as it can".into()),
    })?;
    let mut headers = headers_to_source(request.headers);
    if let Some(authorization) = &source.authorization {
        let (name, value) = secret(services, &agent, &state, authorization).await?;
        headers.insert(name, value);
    }
    let opening = StreamRequest { method: request.method.clone(), url, headers, trace: request.trace };
    let response = services.http.open(opening).await.map_err(|error| {
        tracing::warn!(category = "app", vpa = %Address::of::<DataPlane>(request.participant), action = "data.source_failed", flow = %request.flow, %error);
        PullError::Source("the source cannot be reached")
    })?;
    let status = passed(response.status())?;
    let headers = headers_to_client(status, response.headers());
    if request.method == Method::HEAD || !status.is_success() || status == StatusCode::NO_CONTENT {
        return Ok(Pulled { status, headers, body: None });
    }
    let measured =
        Measured::new(services.workers.meter.clone(), services.cluster.clone(), request.participant.clone(), request.flow.clone());
    let participant = Address::of::<ControlPlane>(request.participant);
    let watched = pump::Watched { participant, agent, flow: request.flow.clone(), token: claims.jti };
    let body = pump::start(services, watched, response, permit, measured);
    Ok(Pulled { status, headers, body: Some(body) })
}

async fn verified(services: &Services, token: Option<&str>) -> Result<Claims, PullError> {
    let token = token.ok_or(PullError::Token)?;
    let key = services.workers.signing_key(&*services.vault).await.map_err(|error| PullError::Unavailable(error.to_string()))?;
    key.verify(token, services.cluster.now()).map_err(|_| PullError::Token)
}

/// The source that the flow reads from, when the flow runs and the token is the one that was handed out for it.
fn admitted(state: &DataPlaneState, claims: &Claims, flow: &TransferId, aud: &str) -> Result<Arc<Source>, PullError> {
    if claims.flow != *flow || claims.aud != aud {
        return Err(PullError::OtherToken);
    }
    let flow = state.flows.get(flow).ok_or(PullError::Token)?;
    if flow.state != cellspace_schemas::dps::DataFlowState::Started {
        return Err(PullError::NotStarted);
    }
    if !flow.serves(claims.jti) || flow.terms.counter_party != claims.sub {
        return Err(PullError::OtherToken);
    }
    let source = flow.source.as_ref().and_then(|name| state.sources.get(name));
    source.cloned().ok_or(PullError::Source("the source of this data flow is not configured any more"))
}

fn headers_to_source(client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in TO_SOURCE {
        for value in client.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    // Without a wish of the client the bytes come as they are.
    headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    headers
}

async fn secret(
    services: &Services,
    agent: &Address,
    state: &DataPlaneState,
    authorization: &Authorization,
) -> Result<(HeaderName, HeaderValue), PullError> {
    let broken = PullError::Source("the source's authorization cannot be used");
    let record = state.secrets.get(&authorization.alias).cloned().ok_or_else(|| broken.clone())?;
    let path = VaultPath { owner: agent.owner.clone(), alias: record };
    let secret = services.vault.secret(&path).await.map_err(|error| {
        tracing::error!(category = "app", vpa = %agent, action = "data.secret_failed", %error);
        broken.clone()
    })?;
    let name = HeaderName::from_bytes(authorization.header.as_bytes()).map_err(|_| broken.clone())?;
    let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| broken)?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Which answers of a source are the client's business. What is between this data plane and its source stays there.
fn passed(status: StatusCode) -> Result<StatusCode, PullError> {
    match status {
        status if status.is_success() => Ok(status),
        StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => Ok(status),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(PullError::NotFound),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(PullError::Source("the source refuses this data plane")),
        _ => Err(PullError::Source("the source answered with an error")),
    }
}

fn headers_to_client(status: StatusCode, source: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in TO_CLIENT {
        // The length of an error's body says nothing about what we send.
        if name == header::CONTENT_LENGTH && !status.is_success() {
            continue;
        }
        if let Some(value) = source.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    // A token can be taken back; what a cache has, cannot.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // Data are no page: whoever opens them in a browser runs nothing of theirs.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers
}
