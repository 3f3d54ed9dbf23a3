//! Status list credentials of hosted issuers, for every verifier.

use super::prefixes::STATUS_LISTS;
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb},
};
use cellspace_actors::issuer::{PublishError, StatusListId};
use http::{HeaderMap, StatusCode, header};

const VC_JWT: &str = "application/vc+jwt";
const JSON: &str = "application/json";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![Route {
        listener: Listener::Public,
        api: Api::Native,
        method: Verb::Get,
        path: "/{issuer}/{list}",
        prefixes: STATUS_LISTS,
        access: Access::Open,
        handler: |app, request| Box::pin(status_list(app, request)),
    }]
}

/// The two forms of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As its issuer signed it.
    Signed,
    /// What it says.
    Plain,
}

async fn status_list(app: App, request: Request) -> Result<Reply, ApiError> {
    let missing = || ApiError::not_found("the status list does not exist");
    let form = accepted(&request.headers)
        .ok_or_else(|| ApiError::new(ErrorKind::UnsupportedMediaType, format!("a status list is {VC_JWT} or {JSON}")))?;
    let issuer = request.id("issuer").map_err(|_| missing())?;
    let id: StatusListId = request.id("list").map_err(|_| missing())?;
    let publisher = &app.services.status_lists;
    let list = publisher.list(&app.services, &issuer, id).await.map_err(|error| match error {
        PublishError::Unknown => missing(),
        PublishError::Unavailable(cause) => ApiError::not_now(cause),
    })?;
    let (content_type, body, tag) = match form {
        Form::Signed => (VC_JWT, &list.jwt, format!("\"{}-jwt\"", list.tag)),
        Form::Plain => (JSON, &list.json, format!("\"{}-json\"", list.tag)),
    };
    let reply = if matches(&request.headers, &tag) {
        Reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        Reply::bytes(StatusCode::OK, content_type, body.clone())
    };
    let age = format!("public, max-age={}", publisher.age().as_secs());
    Ok(reply.header(header::ETAG, &tag).header(header::CACHE_CONTROL, &age).header(header::VARY, "accept"))
}

/// The form that `Accept` likes best, the signed one if it does not say; `None` when it takes neither.
#[must_use]
pub fn accepted(headers: &HeaderMap) -> Option<Form> {
    let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if values.peek().is_none() {
        return Some(Form::Signed);
    }
    let ranges = values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let form = match parts.next()?.to_ascii_lowercase().as_str() {
            VC_JWT | "application/jwt" | "application/*" | "*/*" => Form::Signed,
            JSON => Form::Plain,
            _ => return None,
        };
        let quality = parts.find_map(|parameter| parameter.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
        (quality > 0.0).then_some((form, quality))
    });
    // The first one of the best.
    ranges
        .fold(None, |best: Option<(Form, f32)>, range| if best.is_some_and(|best| best.1 >= range.1) { best } else { Some(range) })
        .map(|best| best.0)
}

/// Whether the client has this very form (RFC 9110, 13.1.2).
#[must_use]
pub fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        accepted(&headers)
    }

    #[test]
    fn forms_by_accept() {
        assert_eq!(accepted(&HeaderMap::new()), Some(Form::Signed));
        for (accept, expected) in [
            ("*/*", Some(Form::Signed)),
            ("application/vc+jwt", Some(Form::Signed)),
            ("application/vc+jwt, application/jwt;q=0.9, */*;q=0.1", Some(Form::Signed)),
            ("application/json", Some(Form::Plain)),
            ("application/json; charset=utf-8", Some(Form::Plain)),
            ("application/json;q=0.5, application/vc+jwt;q=0.4", Some(Form::Plain)),
            ("text/html, application/json;q=0", None),
            ("text/html", None),
            ("application/json;q=high", None),
            ("", None),
        ] {
            assert_eq!(form(accept), expected, "{accept}");
        }
    }

    #[test]
    fn tags_are_compared_without_weakness() {
        let known = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, text.parse().unwrap());
            matches(&headers, "\"1-jwt\"")
        };
        assert!(known("\"1-jwt\"") && known("\"0-jwt\", W/\"1-jwt\"") && known("*"));
        assert!(!known("\"1-json\"") && !matches(&HeaderMap::new(), "\"1-jwt\""));
    }
}
