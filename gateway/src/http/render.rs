//! The one place that turns `(Api, ErrorKind)` into a status and a body.

use super::{Api, ApiError, ErrorKind, Reply};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use std::time::Duration;
use uuid::Uuid;

/// JSON-LD context of DSP 2025-1 messages.
const DSP_CONTEXT: &str = "https://w3id.org/dspace/2025/1/context.jsonld";
/// Stands for the process of a party that has none: errors of processes must name both (DSP 2025-1, `contract-negotiation-error-schema.json`,
/// `transfer-error-schema.json`).
pub const NO_PROCESS: &str = "urn:uuid:00000000-0000-0000-0000-000000000000";

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
/// RFC 9457, 3.
const PROBLEM: &str = "application/problem+json";

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::BadToken,
        Self::UnknownCaller,
        Self::MissingScope,
        Self::Unauthenticated,
        Self::NotAuthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Invalid,
        Self::BodyTimeout,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::KeyReused,
        Self::TooMany,
        Self::Internal,
        Self::NotImplemented,
        Self::BadGateway,
        Self::Unavailable,
    ];

    /// The status, the same in every API.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadToken | Self::UnknownCaller | Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::MissingScope | Self::NotAuthorized => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `type` of an entry of the error array.
    const fn edc_type(self) -> &'static str {
        match self {
            Self::BadToken | Self::UnknownCaller | Self::Unauthenticated => "AuthenticationFailed",
            Self::MissingScope | Self::NotAuthorized => "NotAuthorized",
            Self::NotFound => "ObjectNotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::Invalid => "InvalidRequest",
            Self::BodyTimeout => "RequestTimeout",
            Self::Conflict => "ObjectConflict",
            Self::TooLarge => "PayloadTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::KeyReused => "IdempotencyKeyReused",
            Self::TooMany => "TooManyRequests",
            Self::Internal => "InternalError",
            Self::NotImplemented => "NotImplemented",
            Self::BadGateway => "BadGateway",
            Self::Unavailable => "ServiceUnavailable",
        }
    }

    /// `error` of an OAuth2 error (RFC 6749 5.2, RFC 6750 3.1), where the handler names no other.
    const fn oauth_code(self) -> &'static str {
        match self {
            Self::BadToken | Self::UnknownCaller => "invalid_token",
            Self::MissingScope => "insufficient_scope",
            Self::Unauthenticated => "invalid_client",
            Self::NotAuthorized => "unauthorized_client",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::MethodNotAllowed | Self::Invalid | Self::BodyTimeout | Self::TooLarge | Self::UnsupportedMediaType | Self::KeyReused => {
                "invalid_request"
            }
            Self::TooMany | Self::Unavailable => "temporarily_unavailable",
            Self::Internal | Self::NotImplemented | Self::BadGateway => "server_error",
        }
    }
}

/// The answer for an error. An internal error is logged under a fresh id, and the client sees that id alone.
#[must_use]
pub fn render(api: Api, error: &ApiError) -> Reply {
    let id = (error.kind == ErrorKind::Internal).then(Uuid::new_v4);
    if let Some(id) = id {
        tracing::error!(category = "app", error_id = %id, reason = %error.message, "internal error");
    }
    with_id(api, error, id)
}

fn with_id(api: Api, error: &ApiError, id: Option<Uuid>) -> Reply {
    let status = error.kind.status();
    let message = id.map_or_else(|| error.message.clone(), |id| format!("internal error {id}"));
    let (content_type, body) = body(api, error, message, id);
    let mut reply = Reply::bytes(status, content_type, body);
    let headers = reply.0.headers_mut();
    if matches!(error.kind, ErrorKind::BadToken | ErrorKind::UnknownCaller) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(after) = retry_after(error) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    if api == Api::OAuth {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    reply
}

/// Whole seconds for the two kinds that mean "later": at least one, unless it is said that who asks need not wait at all.
fn retry_after(error: &ApiError) -> Option<u64> {
    if !matches!(error.kind, ErrorKind::TooMany | ErrorKind::Unavailable) {
        return None;
    }
    let after = error.retry_after.unwrap_or(Duration::from_secs(1));
    if after.is_zero() {
        return Some(0);
    }
    Some(after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)))
}

fn body(api: Api, error: &ApiError, message: String, id: Option<Uuid>) -> (&'static str, String) {
    let status = error.kind.status();
    let json = |value: Value| (JSON, value.to_string());
    match api {
        Api::Management | Api::Identity | Api::IssuerAdmin | Api::Dcp | Api::Dps => match error.kind {
            ErrorKind::BadToken => json(json!({ "error": message })),
            ErrorKind::UnknownCaller | ErrorKind::MissingScope => (PLAIN, message),
            _ => json(error_array(error, message)),
        },
        Api::DspCatalog => json(dsp("CatalogError", error, message)),
        Api::DspNegotiation => json(dsp("ContractNegotiationError", error, message)),
        Api::DspTransfer => json(dsp("TransferError", error, message)),
        Api::DspVersion => json(dsp("VersionsError", error, message)),
        Api::Fabric => {
            let mut body = json!({ "error": status.canonical_reason(), "message": message, "code": status.as_u16() });
            if let (Some(id), Some(body)) = (id, body.as_object_mut()) {
                body.insert("id".to_owned(), id.to_string().into());
            }
            json(body)
        }
        Api::OAuth => json(json!({ "error": error.code.unwrap_or(error.kind.oauth_code()), "error_description": message })),
        Api::Native => {
            let mut body =
                json!({ "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "detail": message });
            if let (Some(id), Some(body)) = (id, body.as_object_mut()) {
                body.insert("instance".to_owned(), format!("urn:uuid:{id}").into());
            }
            (PROBLEM, body.to_string())
        }
    }
}

fn error_array(error: &ApiError, message: String) -> Value {
    if error.violations.is_empty() {
        return json!([{ "message": message, "type": error.kind.edc_type(), "path": null, "invalidValue": null }]);
    }
    let entry = |violation: &super::Violation| json!({ "message": violation.message, "type": "ValidationFailure", "path": violation.path, "invalidValue": violation.value });
    error.violations.iter().map(entry).collect()
}

/// An error message of DSP 2025-1; the code is the status as text, as the peers do.
fn dsp(kind: &str, error: &ApiError, message: String) -> Value {
    let reason: Vec<String> =
        if error.violations.is_empty() { vec![message] } else { error.violations.iter().map(|v| v.message.clone()).collect() };
    let mut body = Map::new();
    body.insert("@context".to_owned(), json!([DSP_CONTEXT]));
    body.insert("@type".to_owned(), kind.into());
    if matches!(kind, "ContractNegotiationError" | "TransferError") {
        let (consumer, provider) =
            error.pids.as_deref().map_or((None, None), |(consumer, provider)| (consumer.as_ref(), provider.as_ref()));
        for (name, pid) in [("consumerPid", consumer), ("providerPid", provider)] {
            body.insert(name.to_owned(), pid.map_or(NO_PROCESS, String::as_str).into());
        }
    }
    body.insert("code".to_owned(), error.kind.status().as_str().into());
    body.insert("reason".to_owned(), reason.into());
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Violation;
    use http_body_util::BodyExt;

    const APIS: [Api; 12] = [
        Api::Management,
        Api::Identity,
        Api::IssuerAdmin,
        Api::DspCatalog,
        Api::DspNegotiation,
        Api::DspTransfer,
        Api::DspVersion,
        Api::Dcp,
        Api::Dps,
        Api::Fabric,
        Api::OAuth,
        Api::Native,
    ];

    async fn shown(reply: Reply) -> (u16, String, http::HeaderMap, String) {
        let (parts, body) = reply.0.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let content_type = parts.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        (parts.status.as_u16(), content_type, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Status and the type words of each kind, as promised to clients; the table of the whole mapping.
    #[tokio::test]
    async fn every_api_and_kind() {
        let kinds = [
            (ErrorKind::BadToken, 401, "AuthenticationFailed", "invalid_token", "Unauthorized"),
            (ErrorKind::UnknownCaller, 401, "AuthenticationFailed", "invalid_token", "Unauthorized"),
            (ErrorKind::MissingScope, 403, "NotAuthorized", "insufficient_scope", "Forbidden"),
            (ErrorKind::Unauthenticated, 401, "AuthenticationFailed", "invalid_client", "Unauthorized"),
            (ErrorKind::NotAuthorized, 403, "NotAuthorized", "unauthorized_client", "Forbidden"),
            (ErrorKind::NotFound, 404, "ObjectNotFound", "not_found", "Not Found"),
            (ErrorKind::MethodNotAllowed, 405, "MethodNotAllowed", "invalid_request", "Method Not Allowed"),
            (ErrorKind::Invalid, 400, "InvalidRequest", "invalid_request", "Bad Request"),
            (ErrorKind::BodyTimeout, 408, "RequestTimeout", "invalid_request", "Request Timeout"),
            (ErrorKind::Conflict, 409, "ObjectConflict", "conflict", "Conflict"),
            (ErrorKind::TooLarge, 413, "PayloadTooLarge", "invalid_request", "Payload Too Large"),
            (ErrorKind::UnsupportedMediaType, 415, "UnsupportedMediaType", "invalid_request", "Unsupported Media Type"),
            (ErrorKind::KeyReused, 422, "IdempotencyKeyReused", "invalid_request", "Unprocessable Entity"),
            (ErrorKind::TooMany, 429, "TooManyRequests", "temporarily_unavailable", "Too Many Requests"),
            (ErrorKind::Internal, 500, "InternalError", "server_error", "Internal Server Error"),
            (ErrorKind::NotImplemented, 501, "NotImplemented", "server_error", "Not Implemented"),
            (ErrorKind::BadGateway, 502, "BadGateway", "server_error", "Bad Gateway"),
            (ErrorKind::Unavailable, 503, "ServiceUnavailable", "temporarily_unavailable", "Service Unavailable"),
        ];
        assert_eq!(kinds.map(|k| k.0), ErrorKind::ALL);
        for (kind, status, edc, oauth, phrase) in kinds {
            for api in APIS {
                let case = format!("{api:?} {kind:?}");
                let error = ApiError::new(kind, "why").with_pids(Some("c".to_owned()), Some("p".to_owned()));
                let (got, content_type, headers, body) = shown(with_id(api, &error, None)).await;
                assert_eq!(got, status, "{case}");
                assert_eq!(headers.contains_key(header::RETRY_AFTER), matches!(status, 429 | 503), "{case}");
                let plain = matches!(kind, ErrorKind::UnknownCaller | ErrorKind::MissingScope);
                let dsp = |kind: &str, pids: bool| {
                    let mut value = json!({ "@context": [DSP_CONTEXT], "@type": kind, "code": status.to_string(), "reason": ["why"] });
                    if pids {
                        value["consumerPid"] = "c".into();
                        value["providerPid"] = "p".into();
                    }
                    value
                };
                let expected = match api {
                    Api::Management | Api::Identity | Api::IssuerAdmin | Api::Dcp | Api::Dps => {
                        if plain {
                            assert_eq!((content_type.as_str(), body.as_str()), (PLAIN, "why"), "{case}");
                            continue;
                        }
                        if kind == ErrorKind::BadToken {
                            json!({ "error": "why" })
                        } else {
                            json!([{ "message": "why", "type": edc, "path": null, "invalidValue": null }])
                        }
                    }
                    Api::DspCatalog => dsp("CatalogError", false),
                    Api::DspNegotiation => dsp("ContractNegotiationError", true),
                    Api::DspTransfer => dsp("TransferError", true),
                    Api::DspVersion => dsp("VersionsError", false),
                    Api::Fabric => json!({ "error": phrase, "message": "why", "code": status }),
                    Api::OAuth => json!({ "error": oauth, "error_description": "why" }),
                    Api::Native => json!({ "type": "about:blank", "title": phrase, "status": status, "detail": "why" }),
                };
                assert_eq!(content_type, if api == Api::Native { PROBLEM } else { JSON }, "{case}");
                assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected, "{case}");
            }
        }
    }

    #[tokio::test]
    async fn errors_of_processes_name_both() {
        for api in [Api::DspNegotiation, Api::DspTransfer] {
            for (error, expected) in [
                (ApiError::later("busy"), NO_PROCESS),
                (ApiError::later("busy").in_process(None), NO_PROCESS),
                (ApiError::later("busy").in_process(Some("p-1")), "p-1"),
                (ApiError::invalid("bad").with_pids(Some("p-2".to_owned()), Some("p-2".to_owned())).in_process(Some("p-1")), "p-2"),
            ] {
                let (_, _, _, body) = shown(render(api, &error)).await;
                let body: Value = serde_json::from_str(&body).unwrap();
                assert_eq!((&body["consumerPid"], &body["providerPid"]), (&json!(expected), &json!(expected)), "{api:?}");
            }
        }
    }

    #[tokio::test]
    async fn internal_errors_show_their_id_alone() {
        for api in APIS {
            let reply = render(api, &ApiError::internal("the disk /var/x is on fire"));
            let (status, _, _, body) = shown(reply).await;
            assert_eq!(status, 500);
            assert!(!body.contains("fire") && body.contains("internal error"), "{api:?}: {body}");
        }
    }

    #[tokio::test]
    async fn violations_are_listed() {
        let violation = Violation { message: "must be a number".to_owned(), path: Some("/limit".to_owned()), value: Some(json!("x")) };
        let error = ApiError::violations(vec![violation.clone(), violation]);
        let (_, _, _, body) = shown(render(Api::Management, &error)).await;
        let entry = json!({ "message": "must be a number", "type": "ValidationFailure", "path": "/limit", "invalidValue": "x" });
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!([entry, entry]));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            assert_eq!(retry_after(&ApiError::unavailable("", Duration::from_millis(millis))), Some(seconds), "{millis}");
        }
    }
}
