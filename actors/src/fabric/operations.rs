//! Operations of the fabric's APIs that take more than one agent: a row in the directory is reserved before its object is made.

use super::{
    FabricRegistry, OrchestrationAgent, TenantAgent, index, limits, orchestration,
    registry::{self, RegistryState},
    tenant,
};
use crate::{
    Services,
    derived_id::id_of,
    directory::{self, DirectoryError, NewRow, reference},
};
use cellspace_cluster::{Address, AskError, Call};
use cellspace_schemas::fabric::{
    CellId, NewParticipantProfileDeployment, NewTenant, Orchestration, OrchestrationId, OrchestrationManifest, ParticipantProfile,
    ParticipantProfileId, Tenant, TenantId,
};
use std::{sync::Arc, time::Duration};

/// When to try again after the directory was out of reach.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why an operation was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OperationError {
    /// The registry refused, or could not answer.
    #[error(transparent)]
    Registry(#[from] AskError<registry::Refusal>),
    /// The tenant refused, or could not answer.
    #[error(transparent)]
    Tenant(#[from] AskError<tenant::Refusal>),
    /// The orchestration refused, or could not answer.
    #[error(transparent)]
    Orchestration(#[from] AskError<orchestration::Refusal>),
    /// The directory has the id for something else, or could not answer.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<tenant::Refusal> for OperationError {
    fn from(refusal: tenant::Refusal) -> Self {
        Self::Tenant(AskError::Refused(refusal))
    }
}

fn unavailable<R: std::error::Error>(reason: impl ToString) -> AskError<R> {
    AskError::Unavailable { reason: reason.to_string(), retry_after: RETRY_AFTER }
}

/// The newest state of the registry; empty before anything was registered.
///
/// # Errors
/// [`AskError`] when the registry cannot answer.
pub async fn registry(services: &Services) -> Result<Arc<RegistryState>, AskError<registry::Refusal>> {
    match services.cluster.snapshot::<FabricRegistry>(&registry::address().map_err(unavailable)?).await {
        Err(AskError::NotRegistered) => Ok(Arc::default()),
        answer => answer,
    }
}

/// Asks the registry.
///
/// # Errors
/// [`AskError`] of the registry; removing from a registry that was never written is refused as not found.
pub async fn ask_registry(
    services: &Services,
    command: registry::Command,
    call: Call,
) -> Result<registry::Reply, AskError<registry::Refusal>> {
    services.cluster.ask::<FabricRegistry>(&registry::address().map_err(unavailable)?, command, call).await
}

/// Makes a tenant.
///
/// # Errors
/// [`OperationError`] of the directory or the tenant.
pub async fn create_tenant(services: &Services, new: NewTenant, call: Call) -> Result<Tenant, OperationError> {
    let id = TenantId::from_uuid(id_of("tenant", &call));
    directory::reserve(services, index::tenant_row(&id), &call).await?;
    let reply = services.cluster.ask::<TenantAgent>(&Address::of::<TenantAgent>(&id), tenant::Command::Create(new), call).await?;
    match reply {
        tenant::Reply::Tenant(tenant) => Ok(tenant),
        tenant::Reply::Done | tenant::Reply::Profile(_) => Err(mismatch()),
    }
}

fn mismatch() -> OperationError {
    OperationError::Tenant(AskError::Unknown { reason: "the stored answer is of another operation".to_owned() })
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
    let there = services.cluster.read::<TenantAgent, _>(&address, |state| state.tenant.is_some()).await?;
    if !there {
        return Err(tenant::Refusal::NotFound(format!("the tenant {tenant} does not exist")).into());
    }
    let id = ParticipantProfileId::from_uuid(id_of(&format!("participant-profile/{tenant}"), &call));
    let cell_of = |state: &tenant::TenantState| state.profile(&id)?.profile.vpas.first().map(|vpa| vpa.cell_id.clone());
    let rows = if let Some(cell) = services.cluster.read::<TenantAgent, _>(&address, cell_of).await? {
        // A repeat, which the tenant answers; its command must be the first one again.
        new.cell_id.get_or_insert(cell);
        Vec::new()
    } else {
        let cell = registry(services).await?.cell_for(new.cell_id.as_ref()).map_err(tenant::Refusal::from)?;
        new.cell_id = Some(cell.id.clone());
        let rows = vec![
            index::identifier_row(tenant, &id, &new.identifier),
            index::profile_row(tenant, &id, Some(&cell.id), &new.dataspace_profile_ids),
        ];
        for row in &rows {
            directory::reserve(services, row.clone(), &call).await?;
        }
        rows
    };
    let command = tenant::Command::Deploy(id, Box::new(new));
    match services.cluster.ask::<TenantAgent>(&address, command, call.clone()).await {
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

async fn release(services: &Services, rows: Vec<NewRow>, call: &Call) {
    for row in rows {
        if let Err(error) = directory::release(services, row, call).await {
            tracing::warn!(category = "app", action = "directory.release", %error, "a reservation ends by itself");
        }
    }
}

/// Deletes a cell without participant profiles in it. Repeatable: what an earlier call left half-done is finished.
///
/// # Errors
/// [`OperationError`]; a conflict when participant profiles are in the cell.
pub async fn delete_cell(services: &Services, id: CellId, call: Call) -> Result<(), OperationError> {
    // The three steps are one operation, so the key of the call cannot stand for one of them; each step bears repeats.
    let step = Call { idempotency: None, ..call };
    ask_registry(services, registry::Command::RetireCell(id.clone()), step.clone()).await?;
    if directory::references(services, &reference::cell(&id)).await? {
        ask_registry(services, registry::Command::RestoreCell(id.clone()), step).await?;
        let refusal = registry::Refusal::Conflict(format!("participant profiles are in the cell {id}"));
        return Err(AskError::Refused(refusal).into());
    }
    ask_registry(services, registry::Command::RemoveCell(id), step).await?;
    Ok(())
}

/// Starts an orchestration that a client asks for directly.
///
/// # Errors
/// [`OperationError`] of the registry or the orchestration; invalid when there is no definition for it.
pub async fn start_orchestration(
    services: &Services,
    manifest: OrchestrationManifest,
    call: Call,
) -> Result<Orchestration, OperationError> {
    let invalid = |text: String| OperationError::from(AskError::Refused(registry::Refusal::Invalid(text)));
    limits::properties("the payload", &manifest.payload).map_err(invalid)?;
    limits::words("correlationId", [&manifest.correlation_id]).map_err(invalid)?;
    let id = manifest.id.clone();
    let address = Address::of::<OrchestrationAgent>(&id);
    if registry(services).await?.definition(&manifest.orchestration_type).is_none() && !exists(services, &id).await? {
        return Err(invalid(format!("no orchestration definition for {}", manifest.orchestration_type)));
    }
    // Results concern whoever reads the orchestration, and no tenant.
    let start = orchestration::Command::Start(Box::new(OrchestrationManifest { tenant_id: None, ..manifest }));
    match services.cluster.ask::<OrchestrationAgent>(&address, start, call).await? {
        orchestration::Reply::Orchestration(orchestration) => Ok(*orchestration),
        orchestration::Reply::Done => Err(mismatch()),
    }
}

/// Id of an orchestration that a client's call starts without naming one.
#[must_use]
pub fn orchestration_id(call: &Call) -> OrchestrationId {
    OrchestrationId::from_uuid(id_of("orchestration", call))
}

async fn exists(services: &Services, id: &OrchestrationId) -> Result<bool, AskError<orchestration::Refusal>> {
    services.cluster.exists(&Address::of::<OrchestrationAgent>(id)).await.map_err(unavailable)
}
