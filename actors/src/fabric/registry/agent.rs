//! The registry's agent: dispatch of commands and outcomes, and the I/O of deployments.

use super::{RegistryState, cells, definitions, profiles, settings};
use crate::{
    Services, directory,
    fabric::platform::{CallError, Platform},
};
use cellspace_cluster::{Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RowOf};
use cellspace_schemas::{
    Owner, Timestamp,
    fabric::{
        ActivityDefinition, ActivityType, Cell, CellId, DataspaceProfile, DataspaceProfileId, DeploymentId, NewCell, NewDataspaceProfile,
        OrchestrationTemplate, TemplateRef,
    },
    ids::IdError,
};
use cellspace_storage::{AgentKind, RowKey};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// Owner of what belongs to the whole installation.
const OWNER: &str = "installation";

/// The registry of the installation.
pub struct FabricRegistry {
    services: Services,
    platform: Arc<Platform>,
}

impl FabricRegistry {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub fn new(services: Services, platform: Arc<Platform>) -> Self {
        Self { services, platform }
    }
}

/// Where the registry is.
///
/// # Errors
/// Never.
pub fn address() -> Result<Address, IdError> {
    Ok(Address::of::<FabricRegistry>(Owner::new(OWNER)?))
}

/// A request to the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Registers a cell.
    CreateCell(NewCell),
    /// Stops a cell from taking participants.
    RetireCell(CellId),
    /// Lets it take them again.
    RestoreCell(CellId),
    /// Removes a retired cell.
    RemoveCell(CellId),
    /// Makes a dataspace profile known.
    CreateProfile(NewDataspaceProfile),
    /// Forgets one.
    RemoveProfile(DataspaceProfileId),
    /// Brings one to a cell.
    Deploy(DataspaceProfileId, CellId),
    /// Makes an activity type known.
    DefineActivity(ActivityDefinition),
    /// Forgets one.
    RemoveActivity(ActivityType),
    /// Makes the orchestration types of a template known.
    Define(OrchestrationTemplate),
    /// Forgets a template.
    RemoveTemplate(TemplateRef),
}

/// A request with what others said about it.
#[derive(Debug)]
pub struct Prepared {
    command: Command,
    /// A fresh id.
    fresh: Uuid,
    /// The cell that runs.
    running: Arc<str>,
    /// Whether the directory has rows that refer to what is to be removed.
    in_use: bool,
}

/// Answer to a command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Done; nothing to say.
    #[default]
    Done,
    /// The cell.
    Cell(Cell),
    /// The dataspace profile.
    Profile(DataspaceProfile),
    /// The template's id.
    Template(TemplateRef),
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What the path names is not there.
    #[error("{0}")]
    NotFound(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It does not go with what is there.
    #[error("{0}")]
    Conflict(String),
}

/// A change of the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// A cell as it now is.
    Cell(Arc<Cell>),
    /// A cell is gone.
    CellRemoved(CellId),
    /// A dataspace profile as it now is.
    Profile(Arc<DataspaceProfile>),
    /// A dataspace profile is gone.
    ProfileRemoved(DataspaceProfileId),
    /// An activity definition.
    Activity(Arc<ActivityDefinition>),
    /// An activity definition is gone.
    ActivityRemoved(ActivityType),
    /// A template; its id is always there.
    Template(Arc<OrchestrationTemplate>),
    /// A template is gone.
    TemplateRemoved(TemplateRef),
}

/// Something to do after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Write a dataspace profile's settings into a cell.
    Deploy {
        /// The profile.
        profile: DataspaceProfileId,
        /// The deployment.
        deployment: DeploymentId,
        /// Its version: a deployment started anew has another one.
        version: i64,
    },
}

/// What one of the machines decided.
pub type Decided = Result<Decision<FabricRegistry>, Rejection<Refusal>>;

impl FabricRegistry {
    /// Whether the directory has rows that refer to what the command removes.
    async fn in_use(&self, command: &Command) -> Result<bool, PrepareError<Refusal>> {
        let reference = match command {
            Command::RemoveProfile(id) => directory::reference::dataspace_profile(id),
            Command::RemoveTemplate(id) => directory::reference::template(id),
            Command::CreateCell(_)
            | Command::RetireCell(_)
            | Command::RestoreCell(_)
            | Command::RemoveCell(_)
            | Command::CreateProfile(_)
            | Command::Deploy(..)
            | Command::DefineActivity(_)
            | Command::RemoveActivity(_)
            | Command::Define(_) => return Ok(false),
        };
        directory::references(&self.services, &reference).await.map_err(|e| PrepareError::Unavailable(e.to_string()))
    }
}

impl Agent for FabricRegistry {
    const KIND: AgentKind = AgentKind("fabric-registry");
    type State = RegistryState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = ();
    type Reply = Reply;
    type Refusal = Refusal;

    fn creates(command: &Command) -> bool {
        matches!(command, Command::CreateCell(_) | Command::CreateProfile(_) | Command::DefineActivity(_) | Command::Define(_))
    }

    fn prepare<'a>(
        &'a self,
        _address: &'a Address,
        _snapshot: Arc<RegistryState>,
        command: Command,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        Box::pin(async move {
            let in_use = self.in_use(&command).await?;
            Ok(Prepared { command, fresh: Uuid::new_v4(), running: self.services.cell.clone(), in_use })
        })
    }

    fn decide(state: &RegistryState, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(Prepared { command, fresh, running, in_use }) => match command {
                Command::CreateCell(new) => cells::create(state, new, running, *fresh, now),
                Command::RetireCell(id) => cells::retire(state, id, now),
                Command::RestoreCell(id) => cells::restore(state, id, now),
                Command::RemoveCell(id) => cells::remove(state, id),
                Command::CreateProfile(new) => profiles::create(state, new, *fresh),
                Command::RemoveProfile(id) => profiles::remove(state, id, *in_use),
                Command::Deploy(profile, cell) => profiles::deploy(state, profile, cell, *fresh, now),
                Command::DefineActivity(definition) => definitions::define_activity(state, definition),
                Command::RemoveActivity(name) => definitions::remove_activity(state, name),
                Command::Define(template) => definitions::define(state, template, *fresh),
                Command::RemoveTemplate(id) => definitions::remove(state, id, *in_use),
            },
            Input::Delivered(effect, ()) => {
                let Effect::Deploy { profile, deployment, version } = effect.as_ref();
                profiles::deployed(state, profile, deployment, *version, Ok(()), now)
            }
            Input::Undeliverable(effect, reason) => {
                let Effect::Deploy { profile, deployment, version } = effect.as_ref();
                profiles::deployed(state, profile, deployment, *version, Err(reason), now)
            }
            // The registry has no deadlines.
            Input::Due(_) => Ok(Decision::nothing()),
        }
    }

    fn apply(state: &mut RegistryState, event: &Event) {
        match event {
            Event::Cell(cell) => state.cells.insert_mut(cell.id.clone(), cell.clone()),
            Event::CellRemoved(id) => {
                state.cells.remove_mut(id);
            }
            Event::Profile(profile) => state.profiles.insert_mut(profile.id.clone(), profile.clone()),
            Event::ProfileRemoved(id) => {
                state.profiles.remove_mut(id);
            }
            Event::Activity(definition) => state.activities.insert_mut(definition.activity_type.clone(), definition.clone()),
            Event::ActivityRemoved(name) => {
                state.activities.remove_mut(name);
            }
            Event::Template(template) => {
                if let Some(id) = &template.id {
                    state.templates.insert_mut(id.clone(), template.clone());
                }
            }
            Event::TemplateRemoved(id) => {
                state.templates.remove_mut(id);
            }
        }
    }

    fn row(event: &Event) -> RowOf {
        match event {
            Event::Cell(cell) => RowOf::Put(RowKey::new("cell", cell.id.as_str())),
            Event::CellRemoved(id) => RowOf::Delete(RowKey::new("cell", id.as_str())),
            Event::Profile(profile) => RowOf::Put(RowKey::new("dataspace-profile", profile.id.as_str())),
            Event::ProfileRemoved(id) => RowOf::Delete(RowKey::new("dataspace-profile", id.as_str())),
            Event::Activity(definition) => RowOf::Put(RowKey::new("activity-definition", definition.activity_type.as_str())),
            Event::ActivityRemoved(name) => RowOf::Delete(RowKey::new("activity-definition", name.as_str())),
            Event::Template(template) => RowOf::Put(RowKey::new("template", template.id.as_ref().map_or("", TemplateRef::as_str))),
            Event::TemplateRemoved(id) => RowOf::Delete(RowKey::new("template", id.as_str())),
        }
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let Effect::Deploy { profile, deployment, .. } = delivery.effect.as_ref();
            let snapshot = &delivery.snapshot;
            let Some(profile) = snapshot.profiles.get(profile) else { return Ok(()) };
            let Some(deployment) = profile.deployments.iter().find(|d| d.id == *deployment) else { return Ok(()) };
            let name = settings::profile_name(&profile.properties).map_err(|e| DeliveryError::Refused(e.to_string()))?;
            let settings = settings::gather(snapshot, &name, &deployment.external_cell_id);
            settings::write(&self.platform, &settings, delivery.trace.as_ref()).await.map_err(|e| match e {
                CallError::Retry(reason) => DeliveryError::Retry(reason),
                CallError::Refused(reason) => DeliveryError::Refused(reason),
            })
        })
    }
}
