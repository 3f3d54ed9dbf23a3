//! Secure token service: self-issued ID tokens for a participant's own clients (DCP 1.0, "Using the OAuth 2 Client Credential Grant").

use super::{prefixes::STS, token::form};
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb},
};
use cellspace_actors::{
    credential_service::sts::{self, EXPIRES_IN, StsError, TokenRequest},
    trust::TokenError,
};
use cellspace_schemas::{
    Did, Owner,
    dcp::{CredentialScope, messages::MAX_SCOPES},
};
use http::header;
use serde_json::json;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![Route {
        listener: Listener::Admin,
        api: Api::OAuth,
        method: Verb::Post,
        path: "/token",
        prefixes: STS,
        access: Access::Open,
        handler: |app, request| Box::pin(token(app, request)),
    }]
}

async fn token(app: App, request: Request) -> Result<Reply, ApiError> {
    let form = form(&request)?;
    let required = |name: &str| form.get(name).filter(|v| !v.is_empty()).ok_or_else(|| ApiError::invalid(format!("{name} is required")));
    if required("grant_type")? != "client_credentials" {
        return Err(ApiError::invalid("grant_type must be client_credentials").with_code("unsupported_grant_type"));
    }
    let audience = Did::new(required("audience")?).map_err(|_| ApiError::invalid("audience must be a DID"))?;
    let scopes: Vec<String> =
        form.get("bearer_access_scope").map(|text| text.split_ascii_whitespace().map(str::to_owned).collect()).unwrap_or_default();
    if scopes.len() > MAX_SCOPES || scopes.iter().any(|scope| CredentialScope::parse(scope).is_err()) {
        return Err(ApiError::invalid("bearer_access_scope must be a list of DCP scopes").with_code("invalid_scope"));
    }
    let wanted = TokenRequest {
        client: required("client_id")?,
        secret: required("client_secret")?,
        audience: &audience,
        scopes,
        token: form.get("token").map(String::as_str),
    };
    if let Ok(participant) = Owner::new(wanted.client) {
        request.is_of(&app, participant).await?;
    }
    let token = sts::token(&app.services, &wanted).await.map_err(|error| match error {
        StsError::InvalidClient | StsError::Token(TokenError::NoParticipant(_)) => {
            ApiError::new(ErrorKind::Unauthenticated, "the client is unknown or its secret is wrong")
        }
        StsError::Token(error) => ApiError::not_now(error),
    })?;
    let body = json!({"access_token": token, "expires_in": EXPIRES_IN, "token_type": "Bearer"});
    Ok(Reply::ok(&body)?.header(header::CACHE_CONTROL, "no-store"))
}
