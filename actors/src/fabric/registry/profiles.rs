//! Dataspace profiles and their deployments to cells.

use super::{
    RegistryState,
    agent::{Decided, Effect, Event, Reply},
    settings,
};
use crate::fabric::{Refusal, limits};
use cellspace_cluster::Decision;
use cellspace_schemas::{
    Timestamp,
    fabric::{
        CellId, DataspaceDeployment, DataspaceProfile, DataspaceProfileId, DeploymentId, DeploymentState, NewDataspaceProfile, Properties,
    },
};
use std::sync::Arc;
use uuid::Uuid;

fn profile<'a>(state: &'a RegistryState, id: &DataspaceProfileId) -> Result<&'a Arc<DataspaceProfile>, Refusal> {
    state.profiles.get(id).ok_or_else(|| Refusal::NotFound(format!("the dataspace profile {id} does not exist")))
}

fn check(new: &NewDataspaceProfile) -> Result<(), String> {
    limits::properties("properties of a dataspace profile", &new.properties)?;
    limits::words("artifacts", &new.artifacts)?;
    limits::words("protocolStack", &new.dataspace_spec.protocol_stack)?;
    let specs = &new.dataspace_spec.credential_specs;
    if specs.len() > limits::MAX_SPECS {
        return Err(format!("a dataspace profile may have at most {} credential specs", limits::MAX_SPECS));
    }
    for (n, spec) in specs.iter().enumerate() {
        limits::words("a credential spec", [&spec.id, &spec.credential_type, &spec.format].into_iter().chain(&spec.role))?;
        if spec.id.is_empty() || spec.format.is_empty() {
            return Err("a credential spec needs id, type, issuer and format".to_owned());
        }
        if !settings::is_credential_type(&spec.credential_type) {
            return Err(format!("{:?} is no credential type: letters, digits, '_', '-' and '.' are allowed", spec.credential_type));
        }
        if specs.iter().take(n).any(|other| other.id == spec.id && other.issuer == spec.issuer) {
            return Err(format!("the credential spec {:?} of {} is there twice", spec.id, spec.issuer));
        }
    }
    Ok(())
}

/// Makes a dataspace profile known.
pub fn create(state: &RegistryState, new: &NewDataspaceProfile, fresh: Uuid) -> Decided {
    if state.profiles.size() >= limits::MAX_REGISTERED {
        return Err(Refusal::Invalid(format!("at most {} dataspace profiles can be registered", limits::MAX_REGISTERED)).into());
    }
    check(new).map_err(Refusal::Invalid)?;
    settings::profile_name(&new.properties)?;
    let profile = DataspaceProfile {
        id: DataspaceProfileId::from_uuid(fresh),
        version: 0,
        dataspace_spec: new.dataspace_spec.clone(),
        artifacts: new.artifacts.clone(),
        properties: new.properties.clone(),
        deployments: Vec::new(),
    };
    let event = Event::Profile(Arc::new(profile.clone()));
    Ok(Decision::action("dataspace-profile.created").event(event).replying(Reply::Profile(profile)))
}

/// Forgets a dataspace profile; whether participant profiles refer to it was asked before. What it brought to cells stays there.
pub fn remove(state: &RegistryState, id: &DataspaceProfileId, in_use: bool) -> Decided {
    profile(state, id)?;
    if in_use {
        return Err(Refusal::Conflict(format!("participant profiles refer to the dataspace profile {id}")).into());
    }
    Ok(Decision::action("dataspace-profile.deleted").event(Event::ProfileRemoved(id.clone())))
}

/// The deployment as `change` leaves it.
fn with_deployment(profile: &DataspaceProfile, id: &DeploymentId, change: impl FnOnce(&mut DataspaceDeployment)) -> Event {
    let mut profile = profile.clone();
    profile.version += 1;
    if let Some(deployment) = profile.deployments.iter_mut().find(|d| d.id == *id) {
        deployment.version += 1;
        change(deployment);
    }
    Event::Profile(Arc::new(profile))
}

/// Brings the profile's settings to a cell; once more when they are already there.
pub fn deploy(state: &RegistryState, id: &DataspaceProfileId, cell: &CellId, fresh: Uuid, now: Timestamp) -> Decided {
    let profile = profile(state, id)?;
    let cell = state.cell_for(Some(cell))?;
    let (event, deployment, version) = match profile.deployments.iter().find(|d| d.cell_id == cell.id) {
        // any state -> pending
        Some(known) => {
            let event = with_deployment(profile, &known.id, |d| {
                (d.state, d.state_timestamp) = (DeploymentState::Pending, now);
                d.properties.remove("error");
            });
            (event, known.id.clone(), known.version + 1)
        }
        // (none) -> pending
        None => {
            let deployment = DataspaceDeployment {
                id: DeploymentId::from_uuid(fresh),
                version: 0,
                state: DeploymentState::Pending,
                state_timestamp: now,
                cell_id: cell.id.clone(),
                external_cell_id: cell.external_id.clone(),
                properties: Properties::new(),
            };
            let mut profile = profile.as_ref().clone();
            profile.version += 1;
            profile.deployments.push(deployment.clone());
            (Event::Profile(Arc::new(profile)), deployment.id, 0)
        }
    };
    let effect = Effect::Deploy { profile: id.clone(), deployment, version };
    Ok(Decision::action("dataspace-profile.deploying").event(event).effect(format!("cell/{}", cell.external_id), effect))
}

/// The outcome of a deployment: `Err` says why it failed. One that was started anew meanwhile is answered by its own outcome.
pub fn deployed(
    state: &RegistryState,
    id: &DataspaceProfileId,
    deployment: &DeploymentId,
    version: i64,
    outcome: Result<(), &str>,
    now: Timestamp,
) -> Decided {
    let Some(profile) = state.profiles.get(id) else { return Ok(Decision::nothing()) };
    if !profile.deployments.iter().any(|d| d.id == *deployment && d.version == version && d.state == DeploymentState::Pending) {
        return Ok(Decision::nothing());
    }
    Ok(match outcome {
        // pending -> active
        Ok(()) => Decision::action("dataspace-profile.deployed")
            .event(with_deployment(profile, deployment, |d| (d.state, d.state_timestamp) = (DeploymentState::Active, now))),
        // pending -> error
        Err(reason) => Decision::action("dataspace-profile.deployment-failed").event(with_deployment(profile, deployment, |d| {
            (d.state, d.state_timestamp) = (DeploymentState::Error, now);
            d.properties.insert("error".to_owned(), reason.into());
        })),
    })
}
