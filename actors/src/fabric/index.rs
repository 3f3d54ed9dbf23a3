//! How tenants, participant profiles and orchestrations show in the directory.

use super::{OrchestrationAgent, TenantAgent, orchestration::RunState, tenant::TenantState};
use crate::{
    Services,
    directory::{self, DirectoryError, Holder, Kind, NewRow, reference},
};
use cellspace_cluster::{Call, Query, RetryPolicy};
use cellspace_schemas::{
    Did,
    fabric::{CellId, DataspaceProfileId, OrchestrationId, ParticipantProfileId, TenantId},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Rows are brought up to date for longer than any outage of a shard should last: about four hours.
pub const RETRY: RetryPolicy =
    RetryPolicy { first_pause: Duration::from_millis(50), longest_pause: Duration::from_secs(60), attempts: 250 };

/// An object as the directory shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Raised by every change.
    pub version: i64,
    /// What the API shows.
    pub body: Arc<Value>,
}

fn entry(version: i64, body: impl serde::Serialize) -> Entry {
    Entry { version, body: Arc::new(json!(body)) }
}

/// The tenant, when it is there.
#[must_use]
pub fn tenant(state: &TenantState) -> Option<Entry> {
    state.tenant.as_ref().map(|tenant| entry(tenant.version, tenant.as_ref()))
}

/// A participant profile, when it is there.
#[must_use]
pub fn profile(state: &TenantState, id: &ParticipantProfileId) -> Option<Entry> {
    state.profile(id).map(|record| entry(record.profile.version, record.view()))
}

/// The claim of a participant profile on its DID, until it has been disposed of.
#[must_use]
pub fn identifier(state: &TenantState, id: &ParticipantProfileId) -> Option<Entry> {
    let record = state.profile(id).filter(|record| record.is_live())?;
    Some(entry(0, json!({"tenantId": record.profile.tenant_id, "participantProfileId": id})))
}

/// The orchestration, when it is there.
#[must_use]
pub fn orchestration(state: &RunState) -> Option<Entry> {
    let run = state.run.as_ref()?;
    let body = json!({
        "id": run.manifest.id, "correlationId": run.manifest.correlation_id, "definitionId": run.manifest.orchestration_type,
        "orchestrationType": run.manifest.orchestration_type, "state": run.state, "stateTimestamp": run.state_timestamp.to_rfc3339(),
        "createdTimestamp": run.created.to_rfc3339(),
    });
    Some(entry(run.version, body))
}

/// What a tenant has under an id in the directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TenantEntry {
    /// Itself.
    Tenant,
    /// A participant profile.
    Profile(ParticipantProfileId),
    /// The claim of a participant profile on its DID.
    Identifier(ParticipantProfileId),
}

impl Query<TenantAgent> for TenantEntry {
    const NAME: &'static str = "entry";
    type Answer = Option<Entry>;

    fn answer(&self, state: &TenantState) -> Self::Answer {
        match self {
            Self::Tenant => tenant(state),
            Self::Profile(id) => profile(state, id),
            Self::Identifier(id) => identifier(state, id),
        }
    }
}

/// What an orchestration has in the directory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OrchestrationEntry;

impl Query<OrchestrationAgent> for OrchestrationEntry {
    const NAME: &'static str = "entry";
    type Answer = Option<Entry>;

    fn answer(&self, state: &RunState) -> Self::Answer {
        orchestration(state)
    }
}

/// Row of a tenant.
#[must_use]
pub fn tenant_row(id: &TenantId) -> NewRow {
    NewRow { kind: Kind::Tenant, id: id.as_str().into(), holder: Some(Holder::from(id.clone())), references: Vec::new() }
}

/// Row of a participant profile in a cell and in dataspaces.
#[must_use]
pub fn profile_row(tenant: &TenantId, id: &ParticipantProfileId, cell: Option<&CellId>, dataspaces: &[DataspaceProfileId]) -> NewRow {
    let references = cell.map(reference::cell).into_iter().chain(dataspaces.iter().map(reference::dataspace_profile));
    let holder = Some(Holder::from(tenant.clone()));
    NewRow { kind: Kind::ParticipantProfile, id: id.as_str().into(), holder, references: references.collect() }
}

/// Row that makes a DID the profile's own.
#[must_use]
pub fn identifier_row(tenant: &TenantId, id: &ParticipantProfileId, did: &Did) -> NewRow {
    let holder = Some(Holder { tenant: tenant.clone(), profile: Some(id.clone()) });
    NewRow { kind: Kind::Identifier, id: did.as_str().into(), holder, references: Vec::new() }
}

async fn show(services: &Services, row: NewRow, entry: Option<Entry>, call: &Call) -> Result<(), DirectoryError> {
    match entry {
        Some(Entry { version, body }) => directory::put(services, row, version, body, call).await,
        None => directory::remove(services, row, call).await,
    }
}

/// Brings the tenant's row up to date.
///
/// # Errors
/// [`DirectoryError`] of the shard.
pub async fn show_tenant(services: &Services, id: &TenantId, state: &TenantState, call: &Call) -> Result<(), DirectoryError> {
    show(services, tenant_row(id), tenant(state), call).await
}

/// Brings a participant profile's rows up to date.
///
/// # Errors
/// [`DirectoryError`] of a shard.
pub async fn show_profile(
    services: &Services,
    owner: &TenantId,
    id: &ParticipantProfileId,
    did: &Did,
    state: &TenantState,
    call: &Call,
) -> Result<(), DirectoryError> {
    let Some(record) = state.profile(id) else {
        show(services, profile_row(owner, id, None, &[]), None, call).await?;
        return show(services, identifier_row(owner, id, did), None, call).await;
    };
    let cell = record.profile.vpas.first().map(|vpa| &vpa.cell_id).filter(|_| record.is_live());
    let dataspaces = if record.is_live() { record.dataspace_profile_ids.as_slice() } else { &[] };
    show(services, profile_row(owner, id, cell, dataspaces), profile(state, id), call).await?;
    show(services, identifier_row(owner, id, did), identifier(state, id), call).await
}

/// Brings an orchestration's row up to date.
///
/// # Errors
/// [`DirectoryError`] of the shard.
pub async fn show_orchestration(services: &Services, id: &OrchestrationId, state: &RunState, call: &Call) -> Result<(), DirectoryError> {
    let template = state.run.as_ref().and_then(|run| run.template.as_ref()).map(reference::template);
    let row = NewRow { kind: Kind::Orchestration, id: id.as_str().into(), holder: None, references: template.into_iter().collect() };
    show(services, row, orchestration(state), call).await
}
