//! The tenant itself: made, changed, deleted. Pure.

use super::{
    TenantState,
    agent::{Decided, Effect, Event, Reply},
};
use crate::fabric::{Refusal, limits};
use cellspace_cluster::Decision;
use cellspace_schemas::fabric::{NewTenant, Tenant, TenantId, TenantPropertiesDiff};
use std::sync::Arc;

/// Lane of the directory row of the tenant.
const LANE: &str = "directory/tenant";

/// The tenant, when it is there.
pub fn tenant(state: &TenantState) -> Result<&Arc<Tenant>, Refusal> {
    state.tenant.as_ref().ok_or_else(|| Refusal::NotFound("the tenant does not exist".to_owned()))
}

fn set(action: &'static str, tenant: Tenant) -> Decided {
    limits::properties("properties of a tenant", &tenant.properties).map_err(Refusal::Invalid)?;
    let event = Event::Tenant(Arc::new(tenant.clone()));
    Ok(Decision::action(action).event(event).effect(LANE, Effect::IndexTenant).replying(Reply::Tenant(tenant)))
}

/// (none) -> there
pub fn create(state: &TenantState, id: &TenantId, new: &NewTenant) -> Decided {
    if state.tenant.is_some() {
        return Err(Refusal::Conflict(format!("the tenant {id} exists")).into());
    }
    set("tenant.created", Tenant { id: id.clone(), version: 0, properties: new.properties.clone() })
}

/// there -> there
pub fn patch(state: &TenantState, diff: &TenantPropertiesDiff) -> Decided {
    let mut tenant = tenant(state)?.as_ref().clone();
    for key in &diff.removed {
        tenant.properties.remove(key);
    }
    tenant.properties.extend(diff.properties.clone());
    tenant.version += 1;
    set("tenant.changed", tenant)
}

/// there -> (none), together with the profiles that have been disposed of
pub fn delete(state: &TenantState) -> Decided {
    tenant(state)?;
    if state.profiles.values().any(|record| record.is_live()) {
        return Err(Refusal::Invalid("the tenant has participants: dispose of them first".to_owned()).into());
    }
    let mut decision = Decision::action("tenant.deleted").event(Event::TenantRemoved).effect(LANE, Effect::IndexTenant);
    for (id, record) in &state.profiles {
        // The row of its DID goes too: its removal at the disposal may not have been delivered yet, and this one takes its place.
        let index = Effect::IndexProfile(id.clone(), record.profile.identifier.clone());
        decision = decision.event(Event::ProfileRemoved(id.clone())).effect(super::profile::lane(id), index);
    }
    Ok(decision)
}
