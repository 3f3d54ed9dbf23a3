//! Operations of the fabric's APIs that take more than one agent: a row in the directory is reserved before its object is made.

use super::{
    FabricRegistry, OrchestrationAgent, Refusal, TenantAgent, index, limits, orchestration,
    registry::{self, RegistryState},
    tenant,
};
use crate::{
    Services,
    derived_id::id_of,
    directory::{self, DirectoryError, NewRow},
};
use cellspace_cluster::{Address, AskError, Call};
use cellspace_schemas::fabric::{
    CellId, NewParticipantProfileDeployment, NewTenant, Orchestration, OrchestrationId, OrchestrationManifest, ParticipantProfile,
    ParticipantProfileId, Tenant, TenantId, keys,
};
use std::time::Duration;

/// When to try again after something was out of reach.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// When to try again after too much waited for the event log.
const RETRY_LATER: Duration = Duration::from_secs(10);

/// Why an operation was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OperationError {
    /// An agent of the fabric refused, or could not answer.
    #[error(transparent)]
    Agent(#[from] AskError<Refusal>),
    /// The directory has the id for something else, or could not answer.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<Refusal> for OperationError {
    fn from(refusal: Refusal) -> Self {
        Self::Agent(AskError::Refused(refusal))
    }
}

/// Refuses something new while too much waits for the event log.
fn room(services: &Services) -> Result<(), OperationError> {
    if services.backlog.is_full() {
        let reason = "too much provisioning waits for the event log, which is out of reach or slow".to_owned();
        return Err(AskError::Unavailable { reason, retry_after: RETRY_LATER }.into());
    }
    Ok(())
}

fn mismatch() -> OperationError {
    OperationError::Agent(AskError::Unknown { reason: "the stored answer is of another operation".to_owned() })
}

/// Makes a tenant.
///
/// # Errors
/// [`OperationError`] of the directory or the tenant.
pub async fn create_tenant(services: &Services, new: NewTenant, call: Call) -> Result<Tenant, OperationError> {
    let id = TenantId::from_uuid(id_of("tenant", &call));
    directory::reserve(services, index::tenant_row(&id), &call).await?;
    let reply = services.cluster.ask_anywhere::<TenantAgent>(&Address::of::<TenantAgent>(&id), tenant::Command::Create(new), call).await?;
    match reply {
        tenant::Reply::Tenant(tenant) => Ok(tenant),
        tenant::Reply::Done | tenant::Reply::Profile(_) => Err(mismatch()),
    }
}

/// Makes a participant profile and asks for its deployment. The DID and the place in the cell are reserved first, so that of two profiles
/// with one DID only one is made, and no cell goes away under a profile.
///
/// # Errors
/// [`OperationError`] of the registry, the directory or the tenant.
pub async fn deploy_profile(
    services: &Services,
    tenant: &TenantId,
    mut new: NewParticipantProfileDeployment,
    call: Call,
) -> Result<ParticipantProfile, OperationError> {
    let address = Address::of::<TenantAgent>(tenant);
    match services.cluster.read::<TenantAgent, _>(&address, |state| state.tenant.is_some()).await {
        Ok(true) => {}
        Ok(false) | Err(AskError::NotRegistered) => return Err(no_tenant(tenant).into()),
        Err(error) => return Err(error.into()),
    }
    let id = ParticipantProfileId::from_uuid(id_of(&format!("participant-profile/{tenant}"), &call));
    let cell_of = |state: &tenant::TenantState| state.profile(&id)?.profile.vpas.first().map(|vpa| vpa.cell_id.clone());
    let rows = if let Some(cell) = services.cluster.read::<TenantAgent, _>(&address, cell_of).await? {
        // A repeat, which the tenant answers; its command must be the first one again.
        new.cell_id.get_or_insert(cell);
        Vec::new()
    } else {
        room(services)?;
        let registry = registry::snapshot(services).await?;
        let cell = registry.cell_for(new.cell_id.as_ref())?;
        // Refused before anything is reserved; the tenant looks again afterwards.
        let dataspaces: Vec<_> = registry.profiles_for(cell, &new.dataspace_profile_ids)?.iter().map(|p| p.id.clone()).collect();
        new.cell_id = Some(cell.id.clone());
        let rows = vec![index::identifier_row(tenant, &id, &new.identifier), index::profile_row(tenant, &id, Some(&cell.id), &dataspaces)];
        for row in &rows {
            directory::reserve(services, row.clone(), &call).await?;
        }
        rows
    };
    let command = tenant::Command::Deploy(id, Box::new(new));
    match services.cluster.ask_anywhere::<TenantAgent>(&address, command, call.clone()).await {
        Ok(tenant::Reply::Profile(profile)) => Ok(profile),
        Ok(tenant::Reply::Done | tenant::Reply::Tenant(_)) => Err(mismatch()),
        Err(error) => {
            // Not made, for sure: what was reserved is given back at once. In all other cases the reservation is checked in time.
            if matches!(error, AskError::Refused(_) | AskError::NotRegistered | AskError::KeyReused) {
                release(services, rows, &call).await;
            }
            Err(error.into())
        }
    }
}

/// Asks for the disposal of a participant profile.
///
/// # Errors
/// [`OperationError`] of the tenant.
pub async fn dispose_profile(
    services: &Services,
    tenant: &TenantId,
    id: ParticipantProfileId,
    call: Call,
) -> Result<ParticipantProfile, OperationError> {
    room(services)?;
    match services.cluster.ask::<TenantAgent>(&Address::of::<TenantAgent>(tenant), tenant::Command::Dispose(id), call).await {
        Ok(tenant::Reply::Profile(profile)) => Ok(profile),
        Ok(tenant::Reply::Done | tenant::Reply::Tenant(_)) => Err(mismatch()),
        Err(AskError::NotRegistered) => Err(no_tenant(tenant).into()),
        Err(error) => Err(error.into()),
    }
}

fn no_tenant(tenant: &TenantId) -> Refusal {
    Refusal::NotFound(format!("the tenant {tenant} does not exist"))
}

async fn release(services: &Services, rows: Vec<NewRow>, call: &Call) {
    for row in rows {
        if let Err(error) = directory::release(services, row, call).await {
            tracing::warn!(category = "app", action = "directory.release", %error, "a reservation ends by itself");
        }
    }
}

/// Deletes a cell without participant profiles in it: waits until the registry has come to the end of the deletion.
///
/// # Errors
/// [`OperationError`]; a conflict when participant profiles are in the cell.
pub async fn delete_cell(services: &Services, id: CellId, call: Call) -> Result<(), OperationError> {
    let timeout = call.timeout;
    registry::ask(services, registry::Command::DeleteCell(id.clone()), call).await?;
    let gone = |state: &RegistryState| match state.cells.get(&id) {
        None => Some(true),
        Some(record) => record.before.is_none().then_some(false),
    };
    match services.cluster.wait::<FabricRegistry, _>(&registry::address(), timeout, gone).await? {
        Some(true) => Ok(()),
        Some(false) => Err(Refusal::Conflict(format!("participant profiles are in the cell {id}")).into()),
        None => Err(unavailable("the cell is still being deleted").into()),
    }
}

fn unavailable(reason: impl ToString) -> AskError<Refusal> {
    AskError::Unavailable { reason: reason.to_string(), retry_after: RETRY_AFTER }
}

/// Who asks for an orchestration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// May say what earlier orchestrations brought about: activity agents act for the participant context that is named there.
    Admin,
    /// May not.
    Provisioner,
}

/// Keys of a payload that say which participant context activity agents act for.
const RESERVED: [&str; 2] = [keys::PARTICIPANT_CONTEXT_ID, keys::VPA_STATE];

/// Starts an orchestration that a client asks for directly.
///
/// # Errors
/// [`OperationError`] of the registry or the orchestration; invalid when there is no definition for it, or the payload has a key that is not
/// the asker's to set.
pub async fn start_orchestration(
    services: &Services,
    manifest: OrchestrationManifest,
    asker: Asker,
    call: Call,
) -> Result<Orchestration, OperationError> {
    limits::properties("the payload", &manifest.payload).map_err(Refusal::Invalid)?;
    limits::words("correlationId", [&manifest.correlation_id]).map_err(Refusal::Invalid)?;
    if let Some(key) = RESERVED.into_iter().find(|key| asker != Asker::Admin && manifest.payload.contains_key(*key)) {
        return Err(Refusal::Invalid(format!("the payload may not have the key {key:?}: only an admin may set it")).into());
    }
    let id = manifest.id.clone();
    let address = Address::of::<OrchestrationAgent>(&id);
    let known = registry::snapshot(services).await?.definition(&manifest.orchestration_type).is_some();
    if (!known || services.backlog.is_full()) && !exists(services, &id).await? {
        if !known {
            return Err(Refusal::Invalid(format!("no orchestration definition for {}", manifest.orchestration_type)).into());
        }
        room(services)?;
    }
    // Results concern whoever reads the orchestration, and no tenant.
    let start = orchestration::Command::Start(Box::new(OrchestrationManifest { tenant_id: None, ..manifest }));
    match services.cluster.ask_anywhere::<OrchestrationAgent>(&address, start, call).await? {
        orchestration::Reply::Orchestration(orchestration) => Ok(*orchestration),
        orchestration::Reply::Done | orchestration::Reply::Attempt(_) => Err(mismatch()),
    }
}

/// Id of an orchestration that a client's call starts without naming one.
#[must_use]
pub fn orchestration_id(call: &Call) -> OrchestrationId {
    OrchestrationId::from_uuid(id_of("orchestration", call))
}

async fn exists(services: &Services, id: &OrchestrationId) -> Result<bool, AskError<Refusal>> {
    services.cluster.exists(&Address::of::<OrchestrationAgent>(id)).await.map_err(unavailable)
}
