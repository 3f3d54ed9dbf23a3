//! One error type for every handler; `render` turns it into the status and body of each API (the only place that does).

use cellspace_schemas::Owner;
use serde_json::Value;
use std::time::Duration;

/// What went wrong, independent of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 401: the access token of a scoped route is missing or refused.
    BadToken,
    /// 401: the token is good, but its subject is no participant context.
    UnknownCaller,
    /// 403: the token lacks the scope.
    MissingScope,
    /// 401: a protocol's own token or a client's credentials are missing or refused.
    Unauthenticated,
    /// 403
    NotAuthorized,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 400
    Invalid,
    /// 408: the body did not arrive in time.
    BodyTimeout,
    /// 409
    Conflict,
    /// 413
    TooLarge,
    /// 415
    UnsupportedMediaType,
    /// 422: an idempotency key with another body.
    KeyReused,
    /// 429
    TooMany,
    /// 500
    Internal,
    /// 501
    NotImplemented,
    /// 502
    BadGateway,
    /// 503
    Unavailable,
}

/// One violated rule of a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// What the rule is.
    pub message: String,
    /// JSON path of the offending value.
    pub path: Option<String>,
    /// The value.
    pub value: Option<Value>,
}

impl From<cellspace_schemas::Violation> for Violation {
    fn from(violation: cellspace_schemas::Violation) -> Self {
        let cellspace_schemas::Violation { message, path, value } = violation;
        Self { message, path: Some(path), value }
    }
}

impl From<Vec<cellspace_schemas::Violation>> for ApiError {
    fn from(violations: Vec<cellspace_schemas::Violation>) -> Self {
        Self::violations(violations.into_iter().map(Violation::from).collect())
    }
}

/// An error answer.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// What kind.
    pub kind: ErrorKind,
    /// For the client; lower case, no full stop.
    pub message: String,
    /// One entry per violation, for [`ErrorKind::Invalid`] of the management APIs.
    pub violations: Vec<Violation>,
    /// For 429 and 503.
    pub retry_after: Option<Duration>,
    /// `(consumerPid, providerPid)` of DSP errors; boxed, since most errors have none and every handler returns one.
    pub pids: Option<Box<(Option<String>, Option<String>)>>,
    /// Whose the request is, when that turned out to be somebody whose agents are on another node: nothing was done, it is passed on.
    pub elsewhere: Option<Box<Owner>>,
    /// Nothing was done, since an agent could not take it now; by another node it may.
    pub not_executed: bool,
    /// OAuth2 error code, where the kind alone does not say it (RFC 6749 5.2), for example `invalid_grant`.
    pub code: Option<&'static str>,
}

impl ApiError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            pids: None,
            elsewhere: None,
            not_executed: false,
            code: None,
        }
    }
    /// 400
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }
    /// 404
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }
    /// 409
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }
    /// 500; the message is logged, the client gets an error id.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
    /// 503 with `Retry-After`.
    #[must_use]
    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorKind::Unavailable, message) }
    }
    /// 503 for what passes by itself: the client may try again in a second.
    #[must_use]
    pub fn later(reason: impl std::fmt::Display) -> Self {
        Self::unavailable(reason.to_string(), Duration::from_secs(1))
    }
    /// The same for what was not done at all, so that another node may do it.
    #[must_use]
    pub fn not_executed(reason: impl std::fmt::Display) -> Self {
        Self { not_executed: true, ..Self::later(reason) }
    }
    /// The same error of one of several steps: those before it may have been done, and no other node may begin with the first.
    #[must_use]
    pub fn of_a_step(self) -> Self {
        Self { not_executed: false, ..self }
    }
    /// Whether it is one that is over in a second, as far as is known.
    #[must_use]
    pub fn is_soon_over(&self) -> bool {
        self.kind == ErrorKind::Unavailable && self.retry_after.is_none_or(|after| after <= Duration::from_secs(1))
    }
    /// The same error, which may be over by now: who is told to come again need not wait.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { retry_after: Some(Duration::ZERO), ..self }
    }
    /// 503 for who is outside of the installation: the cause is for our own log alone.
    #[must_use]
    pub fn not_now(cause: impl std::fmt::Display) -> Self {
        tracing::warn!(category = "app", action = "request.not_answered", %cause);
        Self::later("the request cannot be answered now, try again later")
    }
    /// 400 with one entry per violation.
    #[must_use]
    pub fn violations(violations: Vec<Violation>) -> Self {
        Self { violations, ..Self::new(ErrorKind::Invalid, "the request is not valid") }
    }
    /// Names the OAuth2 error code.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
    /// Names the process of a DSP error.
    #[must_use]
    pub fn with_pids(mut self, consumer: Option<String>, provider: Option<String>) -> Self {
        self.pids = Some(Box::new((consumer, provider)));
        self
    }

    /// Names the process of a DSP error by the one in its request's path, unless it is named already.
    #[must_use]
    pub fn in_process(self, pid: Option<&str>) -> Self {
        match pid {
            Some(pid) if self.pids.is_none() => self.with_pids(Some(pid.to_owned()), Some(pid.to_owned())),
            _ => self,
        }
    }

    /// Maps a runtime error; `refused` says what the agent's refusal is for this API.
    pub fn from_ask<R: std::error::Error>(error: cellspace_cluster::AskError<R>, refused: impl FnOnce(R) -> Self) -> Self {
        use cellspace_cluster::AskError;
        match error {
            AskError::Refused(refusal) => refused(refusal),
            AskError::NotRegistered => Self::not_found("not found"),
            AskError::KeyReused => Self::new(ErrorKind::KeyReused, "the Idempotency-Key was used with another request"),
            AskError::TooMany { retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(ErrorKind::TooMany, "too many requests for this participant") }
            }
            AskError::Unavailable { reason, retry_after } => Self { not_executed: true, ..Self::unavailable(reason, retry_after) },
            AskError::Parked { reason } => Self::later(format_args!("the agent is parked: {reason}")),
            AskError::Unknown { reason } => {
                Self::later(format_args!("the outcome is unknown, repeat with the same Idempotency-Key: {reason}"))
            }
        }
    }
}

impl ApiError {
    /// As [`Self::from_ask`], for who is outside of the installation: what fails within it is for our own log alone.
    pub fn from_ask_outside<R: std::error::Error>(error: cellspace_cluster::AskError<R>, refused: impl FnOnce(R) -> Self) -> Self {
        use cellspace_cluster::AskError;
        match error {
            // Not said to be not executed: the sender's token may be used up, and whoever takes it a second time refuses it.
            AskError::Unavailable { reason, retry_after } => Self { retry_after: Some(retry_after), ..Self::not_now(reason) },
            AskError::Parked { reason } => Self::not_now(format_args!("the agent is parked: {reason}")),
            AskError::Unknown { reason } => {
                Self { message: "the outcome is unknown, send the same once more".to_owned(), ..Self::not_now(reason) }
            }
            other => Self::from_ask(other, refused),
        }
    }
}

impl From<cellspace_actors::trust::PeerError> for ApiError {
    /// 401 when the sender's proof is refused; 503 when it could not be looked at, so that the sender tries again with a fresh token.
    fn from(error: cellspace_actors::trust::PeerError) -> Self {
        use cellspace_actors::trust::PeerError;
        match error {
            PeerError::Refused(rule) => Self::new(ErrorKind::Unauthenticated, rule),
            PeerError::TooEarly => Self::not_executed(error),
            PeerError::Unreachable(_) => Self::later(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_cluster::AskError;

    #[derive(Debug, thiserror::Error)]
    #[error("refused for a reason")]
    struct Refusal;

    /// Of what fails within the installation nobody outside hears; what is refused is told.
    #[test]
    fn causes_of_our_own_stay_inside() {
        let outside = |error| ApiError::from_ask_outside(error, |refusal: Refusal| ApiError::invalid(refusal.to_string()));
        let (reason, second) = (|| "/var/lib/cellspace/store: no space left".to_owned(), Duration::from_secs(7));
        let unavailable = AskError::Unavailable { reason: reason(), retry_after: second };
        for error in [unavailable, AskError::Parked { reason: reason() }, AskError::Unknown { reason: reason() }] {
            let told = outside(error);
            assert_eq!(told.kind, ErrorKind::Unavailable);
            assert!(told.retry_after.is_some() && !told.message.contains("store"), "{}", told.message);
        }
        assert_eq!(outside(AskError::Unavailable { reason: reason(), retry_after: second }).retry_after, Some(second));
        assert_eq!(outside(AskError::Refused(Refusal)).message, "refused for a reason");
        assert!(!ApiError::not_now(reason()).message.contains("store"));
    }
}
