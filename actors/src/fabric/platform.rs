//! The platform's own HTTP APIs as a client: what activity agents and deployments act through. Every call carries a token of its own, minted
//! for exactly what the call is about.

use crate::{
    OutboundHttp, PublicUrls, Services,
    access::{AccessClaims, TokenIssuer},
    outbound::{Certificate, OutboundOptions, OutboundRequest},
};
use cellspace_cluster::Cluster;
use cellspace_schemas::{ParticipantContextId, TraceContext};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// A call may wait at the other end for as long as the API allows (60 s).
const TIMEOUT: Duration = Duration::from_secs(70);
/// Largest answer read.
const MAX_BODY: usize = 4 << 20;
/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(120);
/// Characters of another API's error text that are passed on.
const MAX_REASON: usize = 300;

/// In whose name a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    /// The fabric itself, for settings of a cell.
    Admin {
        /// The only scopes.
        scope: &'static str,
    },
    /// An activity agent: a provisioner bound to one participant context.
    Agent {
        /// The participant context.
        participant: &'a ParticipantContextId,
        /// The only scopes.
        scope: &'static str,
    },
    /// An activity agent on behalf of the participant, where no provisioner may go (credentials, data planes).
    Participant {
        /// The participant context.
        participant: &'a ParticipantContextId,
        /// The only scopes.
        scope: &'static str,
    },
}

impl Caller<'_> {
    fn claims(&self) -> AccessClaims {
        let (sub, scope, role) = match self {
            Self::Admin { scope } => ("fabric", scope, "admin"),
            Self::Agent { participant, scope } => (participant.as_str(), scope, "provisioner"),
            Self::Participant { participant, scope } => (participant.as_str(), scope, "participant"),
        };
        AccessClaims { sub: sub.to_owned(), scope: (*scope).to_owned(), role: Some(role.to_owned()), ..AccessClaims::default() }
    }
}

/// Why a call did not do what it was for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It may work later.
    #[error("{0}")]
    Retry(String),
    /// It will not.
    #[error("{0}")]
    Refused(String),
}

/// An answer of any status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Body; `null` when it is empty or no JSON.
    pub body: Value,
    /// What was called, for error texts.
    what: String,
}

impl Answer {
    /// The answer, when it says that the call was done.
    ///
    /// # Errors
    /// [`CallError::Retry`] for what may pass: 401 (a participant that is being made is not known everywhere at once), 408, 425, 429 and
    /// 5xx; [`CallError::Refused`] for every other status.
    pub fn done(self) -> Result<Self, CallError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let text = format!("{} answered {}: {}", self.what, self.status.as_u16(), reason(&self.body));
        let passes = matches!(self.status.as_u16(), 401 | 408 | 425 | 429) || self.status.is_server_error();
        Err(if passes { CallError::Retry(text) } else { CallError::Refused(text) })
    }

    /// As [`Self::done`], but 404 counts as done: what was to be taken away is not there.
    ///
    /// # Errors
    /// As [`Self::done`].
    pub fn gone(self) -> Result<(), CallError> {
        if self.status == StatusCode::NOT_FOUND { Ok(()) } else { self.done().map(|_| ()) }
    }

    /// As [`Self::gone`], for a call in the name of the participant whose thing it was: 401 and 403 count as done too, since they say that the
    /// participant context is gone or deactivated, and with it what was to be taken away. The reason is logged.
    ///
    /// # Errors
    /// As [`Self::done`].
    pub fn gone_with_owner(self) -> Result<(), CallError> {
        if matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let (call, status, reason) = (&self.what, self.status.as_u16(), reason(&self.body));
            tracing::warn!(category = "app", action = "disposal.nothing-left", call, status, reason, "nothing is left to be taken away");
            return Ok(());
        }
        self.gone()
    }
}

/// The error text in any of the APIs' error bodies.
fn reason(body: &Value) -> String {
    let entry = body.get(0).unwrap_or(body);
    let text = ["message", "detail", "error", "title"].iter().find_map(|key| entry.get(key)?.as_str()).or(body.as_str());
    text.unwrap_or("no reason given").chars().take(MAX_REASON).collect()
}

/// Makes tokens for calls.
pub trait Credentials: Send + Sync + 'static {
    /// A token that says this.
    fn token(&self, claims: AccessClaims) -> BoxFuture<'_, Result<String, String>>;
}

struct Minted {
    tokens: Arc<TokenIssuer>,
    cluster: Cluster,
}

impl Credentials for Minted {
    fn token(&self, claims: AccessClaims) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move { self.tokens.mint(claims, self.cluster.now(), LIFETIME).await.map_err(|e| e.to_string()) })
    }
}

/// The client.
pub struct Platform {
    http: OutboundHttp,
    urls: Arc<PublicUrls>,
    credentials: Arc<dyn Credentials>,
}

impl Platform {
    /// A client with tokens of the embedded token service. The installation's own addresses may be private.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(services: &Services) -> Result<Self, reqwest::Error> {
        let minted = Minted { tokens: services.tokens.clone(), cluster: services.cluster.clone() };
        Self::with_credentials(services.urls.clone(), Arc::new(minted), services.own.authorities().to_vec())
    }

    /// A client with tokens from elsewhere, which believes these authorities beside those that the system believes.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn with_credentials(
        urls: Arc<PublicUrls>,
        credentials: Arc<dyn Credentials>,
        authorities: Vec<Certificate>,
    ) -> Result<Self, reqwest::Error> {
        let http = OutboundHttp::new(OutboundOptions { timeout: TIMEOUT, max_body: MAX_BODY, allow_private: true, authorities })?;
        Ok(Self { http, urls, credentials })
    }

    /// Where the platform is.
    #[must_use]
    pub fn urls(&self) -> &PublicUrls {
        &self.urls
    }

    /// One call to the admin listener; any status is an answer.
    ///
    /// # Errors
    /// [`CallError::Retry`] when there is no answer.
    pub async fn call(
        &self,
        caller: &Caller<'_>,
        method: Method,
        path: &str,
        body: Option<Value>,
        trace: Option<&TraceContext>,
    ) -> Result<Answer, CallError> {
        let token = self.credentials.token(caller.claims()).await.map_err(CallError::Retry)?;
        self.send(method, self.urls.admin(path), Some(token), body, trace).await
    }

    /// Makes a thing under an id of its own: a POST of `body` to `collection`. `None` when this call made it; what is there under `own`
    /// otherwise (409), `null` when it is not to be seen there.
    ///
    /// # Errors
    /// [`CallError`] as of [`Answer::done`].
    pub async fn ensure(
        &self,
        caller: &Caller<'_>,
        collection: &str,
        own: &str,
        body: Value,
        trace: Option<&TraceContext>,
    ) -> Result<Option<Value>, CallError> {
        let answer = self.call(caller, Method::POST, collection, Some(body), trace).await?;
        if answer.status != StatusCode::CONFLICT {
            return answer.done().map(|_| None);
        }
        self.find(caller, own, trace).await.map(|found| Some(found.unwrap_or(Value::Null)))
    }

    /// Reads a thing; `None` when it is not there.
    ///
    /// # Errors
    /// [`CallError`] as of [`Answer::done`].
    pub async fn find(&self, caller: &Caller<'_>, path: &str, trace: Option<&TraceContext>) -> Result<Option<Value>, CallError> {
        let answer = self.call(caller, Method::GET, path, None, trace).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { Ok(Some(answer.done()?.body)) }
    }

    /// A document on the public listener.
    ///
    /// # Errors
    /// [`CallError::Retry`] when there is no answer.
    pub async fn public(&self, path: &str, trace: Option<&TraceContext>) -> Result<Answer, CallError> {
        self.send(Method::GET, self.urls.public(path), None, None, trace).await
    }

    async fn send(
        &self,
        method: Method,
        url: String,
        bearer: Option<String>,
        body: Option<Value>,
        trace: Option<&TraceContext>,
    ) -> Result<Answer, CallError> {
        let url = url::Url::parse(&url).map_err(|e| CallError::Refused(format!("{url:?} is no URL: {e}")))?;
        let what = format!("{method} {}", url.path());
        let body = body.map(|body| body.to_string().into());
        let request = OutboundRequest { method, url, bearer, body, accept: Some("application/json"), trace: trace.cloned() };
        let response = self.http.send(request).await.map_err(|e| CallError::Retry(format!("{what}: {e}")))?;
        let body = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        Ok(Answer { status: response.status, body, what })
    }
}

/// A path segment, percent-encoded.
#[must_use]
pub fn segment(text: impl AsRef<str>) -> String {
    percent_encoding::utf8_percent_encode(text.as_ref(), percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: Value) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), body, what: "GET /x".to_owned() }
    }

    #[test]
    fn statuses() {
        for status in [200, 201, 202, 204] {
            assert!(answer(status, Value::Null).done().is_ok(), "{status}");
        }
        for status in [401, 408, 425, 429, 500, 502, 503] {
            assert!(matches!(answer(status, Value::Null).done(), Err(CallError::Retry(_))), "{status}");
        }
        for status in [400, 403, 404, 409, 422, 302] {
            assert!(matches!(answer(status, Value::Null).done(), Err(CallError::Refused(_))), "{status}");
        }
        assert_eq!(answer(404, Value::Null).gone(), Ok(()));
        assert!(answer(409, Value::Null).gone().is_err());
    }

    #[test]
    fn reasons_of_every_error_body() {
        for body in
            [json!([{"message": "why", "type": "ObjectConflict"}]), json!({"error": "Bad", "message": "why"}), json!({"error": "why"})]
        {
            assert_eq!(reason(&body), "why");
        }
        assert_eq!(reason(&Value::Null), "no reason given");
        assert_eq!(reason(&json!({"detail": "x".repeat(1000)})).len(), MAX_REASON);
    }

    #[test]
    fn callers_are_bound() {
        let pc = ParticipantContextId::new("pc-1").unwrap();
        let claims = Caller::Agent { participant: &pc, scope: "identity-api:admin" }.claims();
        assert_eq!(
            (claims.sub.as_str(), claims.role.as_deref(), claims.scope.as_str()),
            ("pc-1", Some("provisioner"), "identity-api:admin")
        );
        let claims = Caller::Participant { participant: &pc, scope: "identity-api:credentials:write" }.claims();
        assert_eq!((claims.sub.as_str(), claims.role.as_deref()), ("pc-1", Some("participant")));
        assert_eq!(segment("did:web:a%3A1"), "did%3Aweb%3Aa%253A1");
    }
}
