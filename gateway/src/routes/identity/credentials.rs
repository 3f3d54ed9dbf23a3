//! Credentials and requests for credentials.

use super::{Listed, address, ask, read, refused, route, things};
use crate::{
    App,
    http::{Access, ApiError, Progress, Provisioner, Reply, Request, Route, Verb, Wait, read_when},
};
use cellspace_actors::credential_service::{self, Command, CredentialService, State, context, credential, holder_request};
use cellspace_schemas::{
    Timestamp,
    dcp::messages::MAX_CREDENTIALS,
    identity::{
        CredentialManifest, CredentialRequestDto, CredentialResource, OfferRule, RequestedCredential,
        credential::{MAX_CODE_BYTES, MAX_OFFER_RULES, MAX_OFFER_TYPE, MAX_OFFER_TYPES},
    },
    issuer::{CredentialId, HolderPid},
};
use http::{StatusCode, header};
use std::sync::Arc;

pub(super) fn routes() -> Vec<Route> {
    const READ: Access = Access::Scope("identity-api:credentials:read", Provisioner::Denied);
    const WRITE: Access = Access::Scope("identity-api:credentials:write", Provisioner::Denied);
    const ALL: Access = Access::Scope("identity-api:admin", Provisioner::Denied);
    vec![
        route(Verb::Get, "/credentials", ALL, |app, request| Box::pin(list_all(app, request))),
        route(Verb::Get, "/participants/{participant}/credentials/offers", READ, |app, request| Box::pin(offers(app, request))),
        route(Verb::Get, "/participants/{participant}/credentials/offers/rules", READ, |app, request| Box::pin(offer_rules(app, request))),
        route(Verb::Put, "/participants/{participant}/credentials/offers/rules", WRITE, |app, request| {
            Box::pin(set_offer_rules(app, request))
        }),
        route(Verb::Get, "/participants/{participant}/credentials", READ, |app, request| Box::pin(list(app, request))),
        route(Verb::Post, "/participants/{participant}/credentials", WRITE, |app, request| Box::pin(store(app, request, false))),
        route(Verb::Put, "/participants/{participant}/credentials", WRITE, |app, request| Box::pin(store(app, request, true))),
        route(Verb::Get, "/participants/{participant}/credentials/{credential}", READ, |app, request| Box::pin(get(app, request))),
        route(Verb::Delete, "/participants/{participant}/credentials/{credential}", WRITE, |app, request| Box::pin(delete(app, request))),
        route(Verb::Post, "/participants/{participant}/credentials/request", WRITE, |app, request| Box::pin(ask_issuer(app, request))),
        route(Verb::Get, "/participants/{participant}/credentials/request/{holder_pid}", READ, |app, request| {
            Box::pin(request_state(app, request))
        }),
    ]
}

async fn list(app: App, request: Request) -> Result<Reply, ApiError> {
    let wanted = request.query.get("type");
    let now = app.services.cluster.now();
    Reply::ok(&read(&app, &request, |state| all_of(state, wanted, now)).await?)
}

async fn list_all(app: App, request: Request) -> Result<Reply, ApiError> {
    things(&app, &request, Listed::Credentials(app.services.cluster.now())).await
}

fn all_of(state: &State, wanted: Option<&String>, now: Timestamp) -> Option<Vec<CredentialResource>> {
    let context = state.context.as_ref()?;
    let meant = state.credentials.values().filter(|c| wanted.is_none_or(|wanted| c.types.contains(wanted)));
    Some(meant.map(|c| c.resource(&context.id, now)).collect())
}

/// What issuers have offered, by issuer; no peer has such a route.
async fn offers(app: App, request: Request) -> Result<Reply, ApiError> {
    let all = read(&app, &request, |state| state.context.as_ref().map(|_| state.offers.values().cloned().collect::<Vec<_>>()));
    Reply::ok(&all.await?)
}

/// What the participant asks for by itself when it is offered; no peer has such a route.
async fn offer_rules(app: App, request: Request) -> Result<Reply, ApiError> {
    Reply::ok(&read(&app, &request, |state| state.context.as_ref().map(|context| context.offer_rules.clone())).await?)
}

async fn set_offer_rules(app: App, request: Request) -> Result<Reply, ApiError> {
    let rules: Vec<OfferRule> = request.json()?;
    if !OfferRule::are_good(&rules) {
        return Err(ApiError::invalid(format!(
            "at most {MAX_OFFER_RULES} rules, each with 1 to {MAX_OFFER_TYPES} types of at most {MAX_OFFER_TYPE} bytes"
        )));
    }
    ask(&app, &request, Command::Context(context::Command::SetOfferRules(rules))).await?;
    Ok(Reply::no_content())
}

async fn get(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: CredentialId = request.id("credential")?;
    let now = app.services.cluster.now();
    let found = read(&app, &request, |state| Some(state.credentials.get(&id)?.resource(&state.context.as_ref()?.id, now)));
    Reply::ok(&found.await?)
}

async fn store(app: App, request: Request, replace: bool) -> Result<Reply, ApiError> {
    let manifest: CredentialManifest = request.json()?;
    if replace && manifest.id.is_none() {
        return Err(ApiError::invalid("id is required"));
    }
    let raw = manifest.verifiable_credential_container.raw_vc;
    ask(&app, &request, Command::Credential(credential::Command::Store { id: manifest.id, raw, replace })).await?;
    Ok(Reply::no_content())
}

async fn delete(app: App, request: Request) -> Result<Reply, ApiError> {
    ask(&app, &request, Command::Credential(credential::Command::Delete(request.id("credential")?))).await?;
    Ok(Reply::no_content())
}

async fn ask_issuer(app: App, request: Request) -> Result<Reply, ApiError> {
    let dto: CredentialRequestDto = request.json()?;
    if dto.credentials.is_empty() || dto.credentials.len() > MAX_CREDENTIALS {
        return Err(ApiError::invalid(format!("credentials must have 1 to {MAX_CREDENTIALS} entries")));
    }
    let twice = |(n, asked): (usize, &RequestedCredential)| dto.credentials.iter().take(n).any(|other| other.id == asked.id);
    if dto.credentials.iter().enumerate().any(twice) {
        return Err(ApiError::invalid("credentials must not name a credential object twice"));
    }
    if dto.pre_authorized_code.as_ref().is_some_and(|code| !(1..=MAX_CODE_BYTES).contains(&code.expose().len())) {
        return Err(ApiError::invalid(format!("preAuthorizedCode must have 1 to {MAX_CODE_BYTES} bytes")));
    }
    let asked = holder_request::Request {
        holder_pid: dto.holder_pid,
        issuer: dto.issuer_did,
        credentials: dto.credentials,
        pre_authorized_code: dto.pre_authorized_code,
    };
    match ask(&app, &request, Command::Request(asked)).await? {
        credential_service::Reply::Requested(holder_pid) => {
            let participant = request.param("participant")?;
            let location = format!("/v1beta/participants/{participant}/credentials/request/{holder_pid}");
            Ok(Reply::empty(StatusCode::CREATED).header(header::LOCATION, &location))
        }
        credential_service::Reply::Done => Err(ApiError::internal("a credential request has no id")),
    }
}

async fn request_state(app: App, request: Request) -> Result<Reply, ApiError> {
    let holder_pid: HolderPid = request.id("holder_pid")?;
    let wait = Wait::of(&request)?;
    let address = address(&request)?;
    let view = |state: &credential_service::State| state.requests.get(&holder_pid).cloned();
    let found = read_when::<CredentialService, _>(&app.services.cluster, &address, wait.as_ref(), view, progress).await;
    let found = found.map_err(|error| ApiError::from_ask(error, refused))?;
    Reply::ok(&found.ok_or_else(|| ApiError::not_found("the credential request does not exist"))?.resource())
}

fn progress(request: &Arc<holder_request::HolderRequest>) -> Progress<'_> {
    Progress { state: request.state.name(), is_final: request.state.is_final() }
}
