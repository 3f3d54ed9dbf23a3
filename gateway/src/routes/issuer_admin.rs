//! Issuer admin API: holders, attestations, credential definitions, credentials and their status, issuance processes.

use super::{paging, prefixes::ISSUER_ADMIN};
use crate::{
    App,
    http::{Access, Api, ApiError, ErrorKind, Listener, Provisioner, Reply, Request, Route, Verb, route::Handler},
};
use cellspace_actors::issuer::{
    Command, Issuer, IssuerState, Refusal, admin::Command as Admin, agent::require_context, approval::Command as Verdict,
    status_list::StatusCommand,
};
use cellspace_cluster::{Address, AskError, PrepareError};
use cellspace_schemas::{
    ParticipantContextId,
    issuer::{
        CredentialDefinitionId, CredentialId, HolderId, IssuerPid,
        admin::{AttestationBody, CredentialStatusView, DefinitionBody, HolderBody, OfferBody, ReasonBody},
    },
    query_spec::PathRules,
};
use http::{StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    // Agents register holders; everything else is the issuer's own business.
    const HOLDERS_READ: Access = Access::Scope("issuer-admin-api:holders:read", Provisioner::Listed);
    const HOLDERS_WRITE: Access = Access::Scope("issuer-admin-api:holders:write", Provisioner::Listed);
    const ATTESTATIONS_READ: Access = Access::Scope("issuer-admin-api:attestations:read", Provisioner::Denied);
    const ATTESTATIONS_WRITE: Access = Access::Scope("issuer-admin-api:attestations:write", Provisioner::Denied);
    const DEFINITIONS_READ: Access = Access::Scope("issuer-admin-api:credentialdefinitions:read", Provisioner::Denied);
    const DEFINITIONS_WRITE: Access = Access::Scope("issuer-admin-api:credentialdefinitions:write", Provisioner::Denied);
    const CREDENTIALS_READ: Access = Access::Scope("issuer-admin-api:credentials:read", Provisioner::Denied);
    const CREDENTIALS_WRITE: Access = Access::Scope("issuer-admin-api:credentials:write", Provisioner::Denied);
    const PROCESSES_READ: Access = Access::Scope("issuer-admin-api:issuanceprocesses:read", Provisioner::Denied);
    const PROCESSES_WRITE: Access = Access::Scope("issuer-admin-api:issuanceprocesses:write", Provisioner::Denied);
    let route = |method, path, access, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::IssuerAdmin,
        method,
        path,
        prefixes: ISSUER_ADMIN,
        access,
        handler,
    };
    vec![
        route(Verb::Post, "/participants/{participant}/holders", HOLDERS_WRITE, |a, r| Box::pin(create_holder(a, r))),
        route(Verb::Put, "/participants/{participant}/holders", HOLDERS_WRITE, |a, r| Box::pin(update_holder(a, r))),
        route(Verb::Query, "/participants/{participant}/holders/query", HOLDERS_READ, |a, r| Box::pin(query_holders(a, r))),
        route(Verb::Get, "/participants/{participant}/holders/{holder}", HOLDERS_READ, |a, r| Box::pin(get_holder(a, r))),
        route(Verb::Delete, "/participants/{participant}/holders/{holder}", HOLDERS_WRITE, |a, r| Box::pin(delete_holder(a, r))),
        route(Verb::Post, "/participants/{participant}/attestations", ATTESTATIONS_WRITE, |a, r| Box::pin(create_attestation(a, r))),
        route(Verb::Query, "/participants/{participant}/attestations/query", ATTESTATIONS_READ, |a, r| Box::pin(query_attestations(a, r))),
        route(Verb::Delete, "/participants/{participant}/attestations/{attestation}", ATTESTATIONS_WRITE, |a, r| {
            Box::pin(delete_attestation(a, r))
        }),
        route(Verb::Post, "/participants/{participant}/credentialdefinitions", DEFINITIONS_WRITE, |a, r| Box::pin(create_definition(a, r))),
        route(Verb::Put, "/participants/{participant}/credentialdefinitions", DEFINITIONS_WRITE, |a, r| Box::pin(update_definition(a, r))),
        route(Verb::Query, "/participants/{participant}/credentialdefinitions/query", DEFINITIONS_READ, |a, r| {
            Box::pin(query_definitions(a, r))
        }),
        route(Verb::Get, "/participants/{participant}/credentialdefinitions/{definition}", DEFINITIONS_READ, |a, r| {
            Box::pin(get_definition(a, r))
        }),
        route(Verb::Delete, "/participants/{participant}/credentialdefinitions/{definition}", DEFINITIONS_WRITE, |a, r| {
            Box::pin(delete_definition(a, r))
        }),
        route(Verb::Query, "/participants/{participant}/credentials/query", CREDENTIALS_READ, |a, r| Box::pin(query_credentials(a, r))),
        route(Verb::Post, "/participants/{participant}/credentials/offer", CREDENTIALS_WRITE, |a, r| Box::pin(offer(a, r))),
        route(Verb::Post, "/participants/{participant}/credentials/{credential}/revoke", CREDENTIALS_WRITE, |a, r| {
            Box::pin(change_status(a, r, StatusCommand::Revoke))
        }),
        route(Verb::Post, "/participants/{participant}/credentials/{credential}/suspend", CREDENTIALS_WRITE, |a, r| {
            Box::pin(change_status(a, r, StatusCommand::Suspend))
        }),
        route(Verb::Post, "/participants/{participant}/credentials/{credential}/resume", CREDENTIALS_WRITE, |a, r| {
            Box::pin(change_status(a, r, StatusCommand::Resume))
        }),
        route(Verb::Get, "/participants/{participant}/credentials/{credential}/status", CREDENTIALS_READ, |a, r| {
            Box::pin(credential_status(a, r))
        }),
        route(Verb::Query, "/participants/{participant}/issuanceprocesses/query", PROCESSES_READ, |a, r| Box::pin(query_processes(a, r))),
        route(Verb::Get, "/participants/{participant}/issuanceprocesses/{process}", PROCESSES_READ, |a, r| Box::pin(get_process(a, r))),
        route(Verb::Post, "/participants/{participant}/issuanceprocesses/{process}/approve", PROCESSES_WRITE, |a, r| {
            Box::pin(approve(a, r))
        }),
        route(Verb::Post, "/participants/{participant}/issuanceprocesses/{process}/reject", PROCESSES_WRITE, |a, r| Box::pin(reject(a, r))),
    ]
}

/// What a refusal of the issuer is for its APIs.
pub(super) fn refused(refusal: Refusal) -> ApiError {
    let kind = match &refusal {
        Refusal::NoIssuer | Refusal::NotFound(..) => ErrorKind::NotFound,
        Refusal::Invalid(_) => ErrorKind::Invalid,
        Refusal::Exists(..) | Refusal::Conflict(_) => ErrorKind::Conflict,
        Refusal::Unauthorized(_) | Refusal::UnknownHolder => ErrorKind::Unauthenticated,
        Refusal::NotEntitled(_) => ErrorKind::NotAuthorized,
        Refusal::TooMany | Refusal::NoRoom => ErrorKind::TooMany,
        Refusal::NotNow(_) => ErrorKind::Unavailable,
    };
    ApiError::new(kind, refusal.to_string())
}

fn issuer(request: &Request) -> Result<ParticipantContextId, ApiError> {
    request.id("participant")
}

async fn ask(app: &App, request: &Request, command: Admin) -> Result<(), ApiError> {
    tell(app, request, Command::Admin(command)).await
}

async fn tell(app: &App, request: &Request, command: Command) -> Result<(), ApiError> {
    let address = Address::of::<Issuer>(&issuer(request)?);
    let answer = app.services.cluster.ask::<Issuer>(&address, command, request.call()?).await;
    answer.map(drop).map_err(|error| ApiError::from_ask(error, refused))
}

/// The issuer's state, for as long as its participant context is there; one that was told nothing yet is empty.
async fn snapshot(app: &App, request: &Request) -> Result<Arc<IssuerState>, ApiError> {
    require_context(&app.services, &issuer(request)?).await.map_err(|error| match error {
        PrepareError::Refused(refusal) => refused(refusal),
        PrepareError::Unavailable(reason) => ApiError::later(reason),
    })?;
    match app.services.cluster.snapshot::<Issuer>(&Address::of::<Issuer>(&issuer(request)?)).await {
        Ok(state) => Ok(state),
        Err(AskError::NotRegistered) => Ok(Arc::default()),
        Err(other) => Err(ApiError::from_ask(other, refused)),
    }
}

/// 201 with the path of what was made.
fn created(request: &Request, resource: &str, id: &str) -> Result<Reply, ApiError> {
    let prefix = ISSUER_ADMIN.first().copied().unwrap_or_default();
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let location = format!("{prefix}/participants/{}/{resource}/{}", encode(issuer(request)?.as_str()), encode(id));
    Ok(Reply::empty(StatusCode::CREATED).header(header::LOCATION, &location))
}

fn missing(what: &str, id: &str) -> ApiError {
    ApiError::not_found(format!("{what} {id:?} does not exist"))
}

/// A page of views, as the query in the body asks.
fn page<T, V: Serialize>(
    request: &Request,
    rules: &PathRules,
    items: impl Iterator<Item = T>,
    id: impl Fn(&T) -> &str,
    fields: impl Fn(&T) -> Value,
    view: impl Fn(T) -> V,
) -> Result<Reply, ApiError> {
    let query = paging::plain_query(request, rules)?;
    paging::listed(request, &query, query.page(items, fields, id), view)
}

/// The fields of an answer, for queries over it.
fn fields(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

// === holders ===

const HOLDER: PathRules = PathRules {
    fields: &["id", "holderId", "did", "holderName", "anonymous", "properties", "participantContextId", "createdAt", "lastModifiedAt"],
    free_properties: true,
};

async fn create_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: HolderBody = request.json()?;
    let reply = created(&request, "holders", body.holder_id.as_str())?;
    ask(&app, &request, Admin::CreateHolder(body)).await.map(|()| reply)
}

async fn update_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: HolderBody = request.json()?;
    ask(&app, &request, Admin::UpdateHolder(body)).await.map(|()| Reply::empty(StatusCode::OK))
}

/// The holder that the path names. A DID holds `%3A`, and clients put it into the path with or without encoding that again: both are looked for.
fn holder_id(state: &IssuerState, request: &Request) -> Result<HolderId, ApiError> {
    let decoded = request.param("holder")?;
    let raw = request.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let known = |text: &str| HolderId::new(text).ok().filter(|id| state.holders.contains_key(id));
    known(decoded).or_else(|| known(raw)).ok_or_else(|| missing("holder", decoded))
}

async fn get_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let id = holder_id(&state, &request)?;
    let holder = state.holders.get(&id).ok_or_else(|| missing("holder", id.as_str()))?;
    Reply::ok(&holder.view(&issuer))
}

async fn delete_holder(app: App, request: Request) -> Result<Reply, ApiError> {
    // An id that is not there goes to the issuer all the same, which knows a repeat by its idempotency key.
    let id = match holder_id(&*snapshot(&app, &request).await?, &request) {
        Ok(id) => id,
        Err(_) => request.id("holder")?,
    };
    ask(&app, &request, Admin::DeleteHolder(id)).await.map(|()| Reply::no_content())
}

async fn query_holders(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &HOLDER,
        state.holders.values(),
        |holder| holder.id.as_str(),
        |holder| fields(&holder.view(&issuer)),
        |holder| holder.view(&issuer),
    )
}

// === attestations ===

const ATTESTATION: PathRules =
    PathRules { fields: &["id", "attestationType", "configuration.*", "participantContextId", "createdAt"], free_properties: false };

async fn create_attestation(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: AttestationBody = request.json()?;
    let reply = created(&request, "attestations", body.id.as_str())?;
    ask(&app, &request, Admin::CreateAttestation(body)).await.map(|()| reply)
}

async fn delete_attestation(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.id("attestation")?;
    ask(&app, &request, Admin::DeleteAttestation(id)).await.map(|()| Reply::no_content())
}

async fn query_attestations(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &ATTESTATION,
        state.attestations.values(),
        |item| item.id.as_str(),
        |item| fields(&item.view(&issuer)),
        |item| item.view(&issuer),
    )
}

// === credential definitions ===

const DEFINITION: PathRules = PathRules {
    fields: &[
        "id",
        "credentialType",
        "format",
        "validity",
        "jsonSchema.*",
        "jsonSchemaUrl",
        "additionalContext",
        "attestations",
        "rules.*",
        "mappings.*",
        "approval.*",
        "anonymousAllowed",
        "participantContextId",
        "createdAt",
    ],
    free_properties: false,
};

async fn create_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: DefinitionBody = request.json()?;
    let reply = created(&request, "credentialdefinitions", body.id.as_str())?;
    ask(&app, &request, Admin::CreateDefinition(body)).await.map(|()| reply)
}

async fn update_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: DefinitionBody = request.json()?;
    ask(&app, &request, Admin::UpdateDefinition(body)).await.map(|()| Reply::empty(StatusCode::OK))
}

async fn get_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let id: CredentialDefinitionId = request.id("definition")?;
    let definition = state.definitions.get(&id).ok_or_else(|| missing("credential definition", id.as_str()))?;
    Reply::ok(&definition.view(&issuer))
}

async fn delete_definition(app: App, request: Request) -> Result<Reply, ApiError> {
    let id = request.id("definition")?;
    ask(&app, &request, Admin::DeleteDefinition(id)).await.map(|()| Reply::no_content())
}

async fn query_definitions(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &DEFINITION,
        state.definitions.values(),
        |item| item.id.as_str(),
        |item| fields(&item.view(&issuer)),
        |item| item.view(&issuer),
    )
}

// === credentials ===

const CREDENTIAL: PathRules = PathRules {
    fields: &[
        "id",
        "participantContextId",
        "issuerId",
        "holderId",
        "state",
        "status",
        "format",
        "credential.*",
        "verifiableCredential.*",
        "metadata.*",
        "timestamp",
    ],
    free_properties: false,
};

/// The credential that the path names: its id, or the URN that is its own `id`.
fn credential_id(request: &Request) -> Result<CredentialId, ApiError> {
    let text = request.param("credential")?;
    CredentialId::new(text.strip_prefix("urn:uuid:").unwrap_or(text)).map_err(|_| missing("credential", text))
}

async fn query_credentials(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let (urls, now) = (&app.services.urls, app.services.cluster.now());
    let view = |credential: &Arc<cellspace_actors::issuer::IssuedCredential>| credential.view(&issuer, urls);
    page(&request, &CREDENTIAL, state.credentials.values(), |item| item.id.as_str(), |item| item.query_view(&issuer, urls, now), view)
}

async fn offer(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: OfferBody = request.json()?;
    ask(&app, &request, Admin::Offer(body)).await.map(|()| Reply::no_content())
}

/// The reason in the body, if there is one.
fn reason(request: &Request) -> Result<Option<String>, ApiError> {
    let ReasonBody { reason } = if request.body.is_empty() { ReasonBody::default() } else { request.json()? };
    Ok(reason)
}

async fn change_status(app: App, request: Request, command: StatusCommand) -> Result<Reply, ApiError> {
    let (credential, reason) = (credential_id(&request)?, reason(&request)?);
    ask(&app, &request, Admin::ChangeStatus { credential, command, reason }).await.map(|()| Reply::no_content())
}

async fn credential_status(app: App, request: Request) -> Result<Reply, ApiError> {
    let state = snapshot(&app, &request).await?;
    let id = credential_id(&request)?;
    let credential = state.credentials.get(&id).ok_or_else(|| missing("credential", id.as_str()))?;
    Reply::ok(&CredentialStatusView { credential_id: id, status: credential.status.status().name(), reason: credential.reason.clone() })
}

// === issuance processes ===

const PROCESS: PathRules = PathRules {
    fields: &[
        "id",
        "holderId",
        "participantContextId",
        "holderPid",
        "claims.*",
        "credentialDefinitions.*",
        "credentialFormats.*",
        "state",
        "errorDetail",
        "createdAt",
        "updatedAt",
    ],
    free_properties: false,
};

async fn get_process(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    let id: IssuerPid = request.id("process")?;
    let process = state.processes.get(&id).ok_or_else(|| missing("issuance process", id.as_str()))?;
    Reply::ok(&process.view(&issuer))
}

async fn approve(app: App, request: Request) -> Result<Reply, ApiError> {
    let process = request.id("process")?;
    tell(&app, &request, Command::Verdict(Verdict::Approve(process))).await.map(|()| Reply::no_content())
}

async fn reject(app: App, request: Request) -> Result<Reply, ApiError> {
    let (process, reason) = (request.id("process")?, reason(&request)?);
    tell(&app, &request, Command::Verdict(Verdict::Reject { process, reason })).await.map(|()| Reply::no_content())
}

async fn query_processes(app: App, request: Request) -> Result<Reply, ApiError> {
    let (issuer, state) = (issuer(&request)?, snapshot(&app, &request).await?);
    page(
        &request,
        &PROCESS,
        state.processes.values(),
        |process| process.id.as_str(),
        |process| fields(&process.view(&issuer)),
        |process| process.view(&issuer),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provisioners_register_holders_and_nothing_else() {
        for route in routes() {
            let Access::Scope(scope, provisioner) = route.access else { panic!("{} is open", route.path) };
            let holders = route.path.starts_with("/participants/{participant}/holders");
            assert_eq!(provisioner == Provisioner::Listed, holders, "{}", route.path);
            let reads = route.method.is_safe();
            assert!(scope.ends_with(if reads { ":read" } else { ":write" }), "{} {scope}", route.path);
            let resource = route.path.split('/').nth(3).unwrap_or_default();
            assert!(scope.starts_with(&format!("issuer-admin-api:{resource}:")), "{} {scope}", route.path);
        }
    }
}
