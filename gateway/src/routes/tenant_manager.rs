//! Tenant manager: cells, dataspace profiles, tenants, participant profiles.

use super::{paging::TOTAL, prefixes::TENANT_MANAGER};
use crate::{
    App,
    http::{
        Access, Api, ApiError, Listener, Provisioner, Reply, Request, Route, Verb,
        route::Handler,
        wait::{Progress, Wait, read_when},
    },
};
use cellspace_actors::{
    directory::{self, Kind},
    fabric::{
        FabricRegistry, Refusal, TenantAgent,
        operations::{self, OperationError},
        registry, tenant,
    },
};
use cellspace_cluster::{Address, AskError};
use cellspace_schemas::fabric::{
    CellId, DataspaceProfile, DataspaceProfileId, DeploymentState, NewCell, NewDataspaceDeployment, NewDataspaceProfile,
    NewParticipantProfileDeployment, NewTenant, Page, ParticipantProfile, ParticipantProfileId, Predicate, Query, TenantId,
    TenantPropertiesDiff,
};
use http::{StatusCode, header};
use std::sync::Arc;

const READ: &str = "tenant-manager-api:read";
const WRITE: &str = "tenant-manager-api:write";
const PROFILE: &str = "/tenants/{tenant}/participant-profiles/{profile}";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method, path, scope, handler: Handler| Route {
        listener: Listener::Admin,
        api: Api::Fabric,
        method,
        path,
        prefixes: TENANT_MANAGER,
        access: Access::Scope(scope, Provisioner::Listed),
        handler,
    };
    vec![
        route(Verb::Get, "/cells", READ, |app, request| Box::pin(list_cells(app, request))),
        route(Verb::Post, "/cells", WRITE, |app, request| Box::pin(create_cell(app, request))),
        route(Verb::Delete, "/cells/{cell}", WRITE, |app, request| Box::pin(delete_cell(app, request))),
        route(Verb::Get, "/dataspace-profiles", READ, |app, request| Box::pin(list_dataspaces(app, request))),
        route(Verb::Post, "/dataspace-profiles", WRITE, |app, request| Box::pin(create_dataspace(app, request))),
        route(Verb::Get, "/dataspace-profiles/{dataspace}", READ, |app, request| Box::pin(get_dataspace(app, request))),
        route(Verb::Delete, "/dataspace-profiles/{dataspace}", WRITE, |app, request| Box::pin(delete_dataspace(app, request))),
        route(Verb::Post, "/dataspace-profiles/{dataspace}/deployments", WRITE, |app, request| Box::pin(deploy_dataspace(app, request))),
        route(Verb::Get, "/tenants", READ, |app, request| Box::pin(list_tenants(app, request))),
        route(Verb::Post, "/tenants", WRITE, |app, request| Box::pin(create_tenant(app, request))),
        route(Verb::Query, "/tenants/query", READ, |app, request| Box::pin(query_tenants(app, request))),
        route(Verb::Get, "/tenants/{tenant}", READ, |app, request| Box::pin(get_tenant(app, request))),
        route(Verb::Patch, "/tenants/{tenant}", WRITE, |app, request| Box::pin(patch_tenant(app, request))),
        route(Verb::Delete, "/tenants/{tenant}", WRITE, |app, request| Box::pin(delete_tenant(app, request))),
        route(Verb::Get, "/tenants/{tenant}/participant-profiles", READ, |app, request| Box::pin(list_profiles(app, request))),
        route(Verb::Post, "/tenants/{tenant}/participant-profiles", WRITE, |app, request| Box::pin(deploy_profile(app, request))),
        route(Verb::Get, PROFILE, READ, |app, request| Box::pin(get_profile(app, request))),
        route(Verb::Delete, PROFILE, WRITE, |app, request| Box::pin(dispose_profile(app, request))),
        route(Verb::Query, "/participant-profiles/query", READ, |app, request| Box::pin(query_profiles(app, request))),
    ]
}

/// What a refusal of the fabric's agents is for its APIs.
fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotFound(text) => ApiError::not_found(text),
        Refusal::Invalid(text) => ApiError::invalid(text),
        Refusal::Conflict(text) => ApiError::conflict(text),
    }
}

/// An error of an agent of the fabric.
pub(super) fn from_agent(error: AskError<Refusal>) -> ApiError {
    ApiError::from_ask(error, refused)
}

/// An error of an operation over several agents.
pub(super) fn from_operation(error: OperationError) -> ApiError {
    let error = match error {
        OperationError::Agent(error) => from_agent(error),
        OperationError::Directory(error) => from_directory(error),
    };
    error.of_a_step()
}

fn from_directory(error: directory::DirectoryError) -> ApiError {
    match error {
        directory::DirectoryError::Taken(_) => ApiError::conflict(error.to_string()),
        directory::DirectoryError::Unavailable(_) => ApiError::later(error),
    }
}

/// One page of a list or query, with paging headers.
pub(super) async fn page(app: &App, request: &Request, kind: Kind, predicate: &Predicate, page: Page) -> Result<Reply, ApiError> {
    let found = directory::query(&app.services, kind, predicate, page).await.map_err(from_directory)?;
    let reply = Reply::ok(&found.bodies)?.header(header::LINK, &page.links(&request.path, found.total));
    Ok(reply.header(TOTAL, &found.total.to_string()))
}

/// A query as posted.
pub(super) async fn query(app: &App, request: &Request, kind: Kind) -> Result<Reply, ApiError> {
    let (predicate, wanted) = request.json::<Query>()?.parse().map_err(|e| ApiError::invalid(e.to_string()))?;
    page(app, request, kind, &predicate, wanted).await
}

fn page_of(request: &Request) -> Result<Page, ApiError> {
    let number = |name: &'static str| match request.query.get(name) {
        None => Ok(0),
        Some(text) => text.parse::<i64>().map_err(|_| ApiError::invalid(format!("{name} must be a number"))),
    };
    Page::new(number("offset")?, number("limit")?).map_err(|e| ApiError::invalid(e.to_string()))
}

// === cells ===

async fn list_cells(app: App, _request: Request) -> Result<Reply, ApiError> {
    let state = registry::snapshot(&app.services).await.map_err(from_agent)?;
    Reply::ok(&state.cells.values().map(|record| &record.cell).collect::<Vec<_>>())
}

async fn create_cell(app: App, request: Request) -> Result<Reply, ApiError> {
    let new: NewCell = request.json()?;
    let asked = registry::ask(&app.services, registry::Command::CreateCell(new), request.call()?).await;
    match asked.map_err(from_agent)? {
        registry::Reply::Cell(cell) => Reply::json(StatusCode::CREATED, &cell),
        registry::Reply::Done | registry::Reply::Profile(_) | registry::Reply::Template(_) => Err(mismatch()),
    }
}

async fn delete_cell(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: CellId = request.id("cell")?;
    operations::delete_cell(&app.services, id, request.call()?).await.map_err(from_operation)?;
    Ok(Reply::empty(StatusCode::OK))
}

/// A stored answer under an idempotency key that belongs to another operation.
pub(super) fn mismatch() -> ApiError {
    ApiError::internal("the agent's answer is of another operation")
}

// === dataspace profiles ===

async fn list_dataspaces(app: App, _request: Request) -> Result<Reply, ApiError> {
    let state = registry::snapshot(&app.services).await.map_err(from_agent)?;
    Reply::ok(&state.profiles.values().collect::<Vec<_>>())
}

async fn create_dataspace(app: App, request: Request) -> Result<Reply, ApiError> {
    let new: NewDataspaceProfile = request.json()?;
    let asked = registry::ask(&app.services, registry::Command::CreateProfile(new), request.call()?).await;
    match asked.map_err(from_agent)? {
        registry::Reply::Profile(profile) => Reply::json(StatusCode::CREATED, &profile),
        registry::Reply::Done | registry::Reply::Cell(_) | registry::Reply::Template(_) => Err(mismatch()),
    }
}

async fn get_dataspace(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: DataspaceProfileId = request.id("dataspace")?;
    let address = registry::address();
    let wait = Wait::of(&request)?;
    let view = |state: &registry::RegistryState| state.profiles.get(&id).cloned();
    match read_when::<FabricRegistry, _>(&app.services.cluster, &address, wait.as_ref(), view, deployed).await {
        Ok(Some(profile)) => Reply::ok(&profile),
        Ok(None) | Err(AskError::NotRegistered) => Err(ApiError::not_found(format!("the dataspace profile {id} does not exist"))),
        Err(error) => Err(from_agent(error)),
    }
}

/// How far the last deployment is: that is what a client waits for.
fn deployed(profile: &Arc<DataspaceProfile>) -> Progress<'_> {
    let state = profile.deployments.last().map_or(DeploymentState::Initial, |deployment| deployment.state);
    Progress { state: state.as_str(), is_final: is_settled(state) }
}

async fn delete_dataspace(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: DataspaceProfileId = request.id("dataspace")?;
    let asked = registry::ask(&app.services, registry::Command::RemoveProfile(id), request.call()?).await;
    asked.map_err(from_agent)?;
    Ok(Reply::empty(StatusCode::OK))
}

async fn deploy_dataspace(app: App, request: Request) -> Result<Reply, ApiError> {
    let body: NewDataspaceDeployment = request.json()?;
    // The body decides, as with the peers; a body without a profile means the one of the path.
    let profile = match body.profile_id {
        Some(id) => id,
        None => request.id("dataspace")?,
    };
    let asked = registry::ask(&app.services, registry::Command::Deploy(profile, body.cell_id), request.call()?).await;
    asked.map_err(from_agent)?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

// === tenants ===

fn tenant_of(request: &Request) -> Result<(TenantId, Address), ApiError> {
    let id: TenantId = request.id("tenant")?;
    let address = Address::of::<TenantAgent>(&id);
    Ok((id, address))
}

fn no_tenant(id: &TenantId) -> ApiError {
    ApiError::not_found(format!("the tenant {id} does not exist"))
}

async fn list_tenants(app: App, request: Request) -> Result<Reply, ApiError> {
    page(&app, &request, Kind::Tenant, &Predicate::All, page_of(&request)?).await
}

async fn query_tenants(app: App, request: Request) -> Result<Reply, ApiError> {
    query(&app, &request, Kind::Tenant).await
}

async fn create_tenant(app: App, request: Request) -> Result<Reply, ApiError> {
    let new: NewTenant = request.json()?;
    let tenant = operations::create_tenant(&app.services, new, request.call()?).await.map_err(from_operation)?;
    Reply::json(StatusCode::CREATED, &tenant)
}

async fn get_tenant(app: App, request: Request) -> Result<Reply, ApiError> {
    let (id, address) = tenant_of(&request)?;
    match app.services.cluster.read::<TenantAgent, _>(&address, |state| state.tenant.clone()).await {
        Ok(Some(tenant)) => Reply::ok(&tenant),
        Ok(None) | Err(AskError::NotRegistered) => Err(no_tenant(&id)),
        Err(error) => Err(from_agent(error)),
    }
}

async fn ask_tenant(app: &App, request: &Request, command: tenant::Command) -> Result<tenant::Reply, ApiError> {
    let (id, address) = tenant_of(request)?;
    match app.services.cluster.ask::<TenantAgent>(&address, command, request.call()?).await {
        Err(AskError::NotRegistered) => Err(no_tenant(&id)),
        answer => answer.map_err(from_agent),
    }
}

async fn patch_tenant(app: App, request: Request) -> Result<Reply, ApiError> {
    let diff: TenantPropertiesDiff = request.json()?;
    match ask_tenant(&app, &request, tenant::Command::Patch(diff)).await? {
        tenant::Reply::Tenant(tenant) => Reply::ok(&tenant),
        tenant::Reply::Done | tenant::Reply::Profile(_) => Err(mismatch()),
    }
}

async fn delete_tenant(app: App, request: Request) -> Result<Reply, ApiError> {
    ask_tenant(&app, &request, tenant::Command::Delete).await?;
    Ok(Reply::empty(StatusCode::OK))
}

// === participant profiles ===

async fn list_profiles(app: App, request: Request) -> Result<Reply, ApiError> {
    let (id, address) = tenant_of(&request)?;
    let list = |state: &tenant::TenantState| state.tenant.is_some().then(|| state.list());
    match app.services.cluster.read::<TenantAgent, _>(&address, list).await {
        Ok(Some(profiles)) => Reply::ok(&profiles),
        Ok(None) | Err(AskError::NotRegistered) => Err(no_tenant(&id)),
        Err(error) => Err(from_agent(error)),
    }
}

async fn query_profiles(app: App, request: Request) -> Result<Reply, ApiError> {
    query(&app, &request, Kind::ParticipantProfile).await
}

async fn deploy_profile(app: App, request: Request) -> Result<Reply, ApiError> {
    let id: TenantId = request.id("tenant")?;
    let new: NewParticipantProfileDeployment = request.json()?;
    let profile = operations::deploy_profile(&app.services, &id, new, request.call()?).await.map_err(from_operation)?;
    Reply::json(StatusCode::ACCEPTED, &profile)
}

async fn get_profile(app: App, request: Request) -> Result<Reply, ApiError> {
    let (_, address) = tenant_of(&request)?;
    let id: ParticipantProfileId = request.id("profile")?;
    let wait = Wait::of(&request)?;
    let view = |state: &tenant::TenantState| state.profile(&id).map(|record| record.view());
    match read_when::<TenantAgent, _>(&app.services.cluster, &address, wait.as_ref(), view, progress).await {
        Ok(Some(profile)) => Reply::ok(&profile),
        Ok(None) | Err(AskError::NotRegistered) => Err(ApiError::not_found(format!("the participant profile {id} does not exist"))),
        Err(error) => Err(from_agent(error)),
    }
}

/// Where a wait ends: the profile stays as it is until somebody asks for something else.
fn progress(profile: &ParticipantProfile) -> Progress<'_> {
    let state = profile.state();
    Progress { state: state.as_str(), is_final: is_settled(state) }
}

const fn is_settled(state: DeploymentState) -> bool {
    match state {
        DeploymentState::Active | DeploymentState::Disposed | DeploymentState::Error => true,
        DeploymentState::Initial
        | DeploymentState::Pending
        | DeploymentState::Disposing
        | DeploymentState::Locked
        | DeploymentState::Offline => false,
    }
}

async fn dispose_profile(app: App, request: Request) -> Result<Reply, ApiError> {
    let (tenant, id): (TenantId, ParticipantProfileId) = (request.id("tenant")?, request.id("profile")?);
    let profile = operations::dispose_profile(&app.services, &tenant, id, request.call()?).await.map_err(from_operation)?;
    Reply::json(StatusCode::ACCEPTED, &profile)
}
