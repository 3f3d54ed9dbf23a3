//! A request as a handler sees it, and what a handler answers.

use super::{ApiError, Body, ErrorKind, Params, Principal};
use crate::App;
use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use cellspace_cluster::IdempotencyKey;
use cellspace_schemas::{Owner, TraceContext, json};
use futures::{Stream, StreamExt};
use http::{HeaderMap, Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, time::Duration};
use sync_wrapper::SyncStream;

/// A matched request with its whole body (bounded by the listener).
#[derive(Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path as received.
    pub path: String,
    /// Values of the route's `{name}` segments, percent-decoded.
    pub params: Params,
    /// Query parameters, percent-decoded; the last one wins.
    pub query: HashMap<String, String>,
    /// Raw query, without the question mark.
    pub raw_query: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// The caller; `None` on routes with [`super::Access::Open`].
    pub principal: Option<Principal>,
    /// Trace to continue.
    pub trace: Option<TraceContext>,
    /// How long its client has waited before it was begun here: another node may have had it until then.
    pub waited: Duration,
}

impl Request {
    /// A path parameter; the route's template must name it.
    ///
    /// # Errors
    /// Internal error when the template does not.
    pub fn param(&self, name: &'static str) -> Result<&str, ApiError> {
        self.params.get(name).ok_or_else(|| ApiError::internal(format!("route without parameter {name}")))
    }

    /// A path parameter as an identifier; text that can be no identifier names nothing.
    ///
    /// # Errors
    /// Not found.
    pub fn id<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, ApiError> {
        let text = self.param(name)?;
        text.parse().map_err(|_| ApiError::not_found(format!("{name} {text:?} does not exist")))
    }

    /// Says whose the request is, where only its body tells: before anything is done for it. On another node than that owner's it is passed on.
    ///
    /// # Errors
    /// To be handed back as it is.
    pub async fn is_of(&self, app: &App, owner: impl Into<Owner> + Send) -> Result<(), ApiError> {
        let owner = owner.into();
        if !app.services.cluster.finds_elsewhere(&owner).await {
            return Ok(());
        }
        Err(ApiError { elsewhere: Some(Box::new(owner)), ..ApiError::later("the agent is on another node") })
    }

    /// The body as JSON, nested at most [`json::MAX_DEPTH`] levels.
    ///
    /// # Errors
    /// Invalid request with the position of the mistake.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        json::from_slice(&self.body).map_err(|e| ApiError::invalid(format!("malformed body: {e}")))
    }

    /// The token of `Authorization: Bearer <token>`, when there is one.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        bearer(&self.headers)
    }

    /// As [`Request::bearer`], where nothing is answered without one.
    ///
    /// # Errors
    /// 401
    pub fn require_bearer(&self) -> Result<&str, ApiError> {
        let missing = || ApiError::new(ErrorKind::Unauthenticated, "an Authorization header with a Bearer token is required");
        self.bearer().ok_or_else(missing)
    }

    /// Circumstances of the command that this request becomes: actor, trace, `Idempotency-Key`.
    ///
    /// # Errors
    /// Invalid request when the key is malformed.
    pub fn call(&self) -> Result<cellspace_cluster::Call, ApiError> {
        let mut call = self.call_without_key();
        call.idempotency = self.bound_key(&[])?;
        Ok(call)
    }

    /// As [`Request::call`], for a command that has an id of its own to be known again by.
    #[must_use]
    pub fn call_without_key(&self) -> cellspace_cluster::Call {
        let mut call = cellspace_cluster::Call::by(self.actor());
        call.trace.clone_from(&self.trace);
        call
    }

    /// A name for what one step of the request makes: the same whenever the same client sends the same body with the same `Idempotency-Key`. `None`
    /// without a key.
    ///
    /// # Errors
    /// Invalid request when the key is malformed.
    pub fn name_of(&self, step: &str) -> Result<Option<String>, ApiError> {
        Ok(self.bound_key(&[step.as_bytes(), &self.body])?.map(|key| key.as_str().to_owned()))
    }

    fn actor(&self) -> &str {
        self.principal.as_ref().map_or("anonymous", |p| p.subject.as_str())
    }

    /// The client's key, bound to the client and to what else is given: a hash of all, since names of clients may be long.
    fn bound_key(&self, more: &[&[u8]]) -> Result<Option<IdempotencyKey>, ApiError> {
        let Some(value) = self.headers.get("idempotency-key") else { return Ok(None) };
        let malformed =
            || ApiError::invalid(format!("Idempotency-Key must be 1 to {} visible ASCII characters", IdempotencyKey::MAX_BYTES));
        let key = value.to_str().ok().and_then(IdempotencyKey::parse).ok_or_else(malformed)?;
        let mut all = Context::new(&SHA256);
        all.update(self.actor().as_bytes());
        for part in [key.as_str().as_bytes()].iter().chain(more) {
            all.update(&[0]);
            all.update(part);
        }
        Ok(IdempotencyKey::parse(&URL_SAFE_NO_PAD.encode(all.finish())))
    }
}

/// The token of `Authorization: Bearer <token>`, when there is one.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// A handler's answer.
#[derive(Debug)]
pub struct Reply(pub http::Response<Body>);

impl Reply {
    /// An answer with this body.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = http::Response::new(Body::Whole(body.into()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        Self(response)
    }

    /// What is told while it comes.
    #[must_use]
    pub fn stream(content_type: &'static str, chunks: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        let mut response = http::Response::new(Body::told(SyncStream::new(chunks.map(Ok))));
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        Self(response)
    }

    /// Keeps something until the whole answer was told, or nobody listens to it any more.
    #[must_use]
    pub fn holding(self, kept: impl Send + Sync + 'static) -> Self {
        Self(self.0.map(|body| body.holding(kept)))
    }

    /// JSON with this status.
    ///
    /// # Errors
    /// Internal error when the value cannot be written as JSON.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(value).map_err(|e| ApiError::internal(e.to_string()))?;
        Ok(Self::bytes(status, "application/json", body))
    }

    /// 200 with JSON.
    ///
    /// # Errors
    /// Internal error when the value cannot be written as JSON.
    pub fn ok(value: &impl Serialize) -> Result<Self, ApiError> {
        Self::json(StatusCode::OK, value)
    }

    /// A status without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        let mut response = http::Response::new(Body::Whole(Bytes::new()));
        *response.status_mut() = status;
        Self(response)
    }

    /// 204.
    #[must_use]
    pub fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// Adds a header; one that cannot be written is left out.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }
}
