//! The embedded token service: `client_credentials` (RFC 6749, 4.4), token exchange (RFC 8693), its keys.

use super::prefixes::TOKEN_SERVICE;
use crate::{
    App,
    auth::{Claims, Origin, Scope},
    http::{Access, Api, ApiError, ErrorKind, Listener, Reply, Request, Route, Verb},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use cellspace_actors::access::{
    AccessClaims,
    clients::{self, Client, ClientRole, Clients, ClientsState, mapping::ExchangeError},
};
use cellspace_cluster::AskError;
use cellspace_schemas::{ClientId, ParticipantContextId};
use http::{StatusCode, header};
use serde_json::json;
use std::{collections::HashMap, time::Duration};
use url::form_urlencoded;

/// How long tokens live.
const LIFETIME: Duration = Duration::from_secs(3600);
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, path, handler| Route {
        listener: Listener::Admin,
        api: Api::OAuth,
        method,
        path,
        prefixes: TOKEN_SERVICE,
        access: Access::Open,
        handler,
    };
    vec![
        route(Verb::Post, "/token", |app, request| Box::pin(token(app, request))),
        route(Verb::Get, "/.well-known/jwks.json", |app, _| Box::pin(async move { Reply::ok(&app.services.tokens.jwks()) })),
        route(Verb::Get, "/health", |_, _| Box::pin(async { Reply::ok(&json!({ "message": "OK" })) })),
    ]
}

/// Fields of a form.
pub type Form = HashMap<String, String>;

async fn token(app: App, request: Request) -> Result<Reply, ApiError> {
    let form = form(&request)?;
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => client_credentials(&app, &request, &form).await,
        Some(EXCHANGE) => exchange(&app, &form).await,
        Some(_) => Err(bad("unsupported_grant_type", "grant_type must be client_credentials or token exchange")),
        None => Err(ApiError::invalid("grant_type is required")),
    }
}

fn bad(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::invalid(message).with_code(code)
}

/// The form of the body; a parameter may not occur twice (RFC 6749, 3.2).
///
/// # Errors
/// Invalid request.
pub fn form(request: &Request) -> Result<Form, ApiError> {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(ApiError::invalid("the body must be application/x-www-form-urlencoded"));
    }
    let mut form = Form::new();
    for (name, value) in form_urlencoded::parse(&request.body).into_owned() {
        if form.insert(name.clone(), value).is_some() {
            return Err(ApiError::invalid(format!("{name} occurs twice")));
        }
    }
    Ok(form)
}

fn scopes(form: &Form) -> Vec<&str> {
    form.get("scope").map(|scope| scope.split_ascii_whitespace().collect()).unwrap_or_default()
}

/// Reads the clients; an installation without clients is one where nobody is known.
pub(super) async fn read<T: Default>(app: &App, query: impl FnOnce(&ClientsState) -> T) -> Result<T, ApiError> {
    match app.services.cluster.read::<Clients, _>(&clients::address(), query).await {
        Ok(found) => Ok(found),
        Err(AskError::NotRegistered) => Ok(T::default()),
        Err(other) => Err(ApiError::from_ask(other, |refusal| ApiError::internal(refusal.to_string()))),
    }
}

// === client_credentials ===

async fn client_credentials(app: &App, request: &Request, form: &Form) -> Result<Reply, ApiError> {
    let refused = || ApiError::new(ErrorKind::Unauthenticated, "the client is unknown or its secret is wrong");
    let (id, secret) = credentials(request, form)?;
    let id: ClientId = id.parse().map_err(|_| refused())?;
    let client = read(app, |state| state.client(&id).cloned()).await?.filter(|client| client.secret.proves(&secret)).ok_or_else(refused)?;
    let scope = narrowed(&client, &scopes(form))?;
    let claims = AccessClaims {
        sub: client.participant.as_ref().map_or_else(|| client.id.to_string(), ToString::to_string),
        scope: scope.join(" "),
        role: client.role.map(|role| role.claim().to_owned()),
        aud: form.get("audience").cloned(),
        participant_context_id: None,
    };
    answer(app, claims, &client.id, json!({})).await
}

/// Client id and secret: HTTP Basic, or in the form (RFC 6749, 2.3.1).
///
/// # Errors
/// Unauthenticated.
pub fn credentials(request: &Request, form: &Form) -> Result<(String, String), ApiError> {
    let missing = || ApiError::new(ErrorKind::Unauthenticated, "client_id and client_secret are required");
    let Some(value) = request.headers.get(header::AUTHORIZATION) else {
        let (id, secret) = form.get("client_id").zip(form.get("client_secret")).ok_or_else(missing)?;
        return Ok((id.clone(), secret.clone()));
    };
    let basic = || {
        let (scheme, value) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
        let (id, secret) = text.split_once(':')?;
        let decoded = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned());
        Some((decoded(id)?, decoded(secret)?))
    };
    basic().ok_or_else(missing)
}

/// The requested scopes, each within what the client holds; all it holds without a request.
fn narrowed(client: &Client, requested: &[&str]) -> Result<Vec<String>, ApiError> {
    if requested.is_empty() {
        return Ok(client.scopes.clone());
    }
    let held: Vec<Scope> = client.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect();
    let granted = |wanted: &str| {
        let within = Scope::parse(wanted).is_some_and(|wanted| held.iter().any(|held| held.grants(&wanted)));
        within || client.scopes.iter().any(|held| held == wanted)
    };
    let refused = requested.iter().find(|wanted| !granted(wanted));
    match refused {
        Some(scope) => Err(bad("invalid_scope", format!("the client does not hold the scope {scope}"))),
        None => Ok(requested.iter().map(|scope| (*scope).to_owned()).collect()),
    }
}

// === token exchange ===

async fn exchange(app: &App, form: &Form) -> Result<Reply, ApiError> {
    let required = |name: &str| form.get(name).filter(|v| !v.is_empty()).ok_or_else(|| ApiError::invalid(format!("{name} is required")));
    let refused = || bad("invalid_grant", "the subject token must be a valid token of a client that may exchange it");
    let (subject, origin) = match app.verifier.claims(required("subject_token")?).await {
        Ok(verified) => verified,
        Err(error) if error.kind == ErrorKind::BadToken => return Err(refused()),
        Err(error) => return Err(error),
    };
    let id: ClientId = client_of(&subject, origin).and_then(|id| id.parse().ok()).ok_or_else(refused)?;
    let participant: ParticipantContextId = required("resource")?.parse().map_err(|e| ApiError::invalid(format!("resource: {e}")))?;
    let (requested, audience) = (scopes(form), form.get("audience").map(String::as_str));
    let found = read(app, |state| {
        let exchanged = |role: Option<ClientRole>| Some((role, state.exchange(&id, &participant, &requested, audience)));
        match (origin, state.client(&id)) {
            (Origin::Embedded, Some(client)) if client.may_exchange => exchanged(client.role),
            // Nobody proves to be a client of ours but by its secret, whatever other issuers call their subjects.
            (Origin::Embedded, _) | (Origin::Foreign, Some(_)) => None,
            (Origin::Foreign, None) => exchanged(None),
        }
    });
    let (role, granted) = found.await?.ok_or_else(refused)?;
    let granted = granted.map_err(|error| match error {
        ExchangeError::NoMapping => ApiError::new(ErrorKind::NotAuthorized, error.to_string()),
        ExchangeError::Scope(_) => bad("invalid_scope", error.to_string()),
        ExchangeError::Audience(_) => bad("invalid_target", error.to_string()),
    })?;
    let claims = AccessClaims {
        sub: participant.to_string(),
        scope: granted.join(" "),
        // An agent's token stays a provisioner's, bound to the participant; for the others the scopes alone say what they may.
        role: role.filter(|role| *role == ClientRole::Provisioner).map(|role| role.claim().to_owned()),
        aud: form.get("audience").cloned(),
        participant_context_id: Some(participant),
    };
    answer(app, claims, &id, json!({ "issued_token_type": JWT })).await
}

/// The client that a subject token is of: the one that asked our own token service for it; at another issuer its subject, which names a workload.
/// A token that acts for a participant is not a way to another.
fn client_of(subject: &Claims, origin: Origin) -> Option<&str> {
    let sub = subject.sub.as_deref().filter(|_| subject.participant_context_id.is_none())?;
    match origin {
        Origin::Embedded => subject.client_id.as_deref().filter(|client| *client == sub),
        Origin::Foreign => Some(sub),
    }
}

async fn answer(app: &App, claims: AccessClaims, client: &ClientId, mut body: serde_json::Value) -> Result<Reply, ApiError> {
    let (now, scope) = (app.services.cluster.now(), claims.scope.clone());
    let token = app.services.tokens.mint_for_client(claims, client.as_str(), now, LIFETIME).await;
    let token = token.map_err(ApiError::later)?;
    body["access_token"] = token.into();
    body["token_type"] = "Bearer".into();
    body["expires_in"] = LIFETIME.as_secs().into();
    body["scope"] = scope.into();
    Ok(Reply::json(StatusCode::OK, &body)?.header(header::CACHE_CONTROL, "no-store"))
}
