//! The registry's agent: dispatch of commands and outcomes, and the I/O of deployments.

use super::{CellRecord, RegistryState, cells, definitions, profiles, settings};
use crate::{
    Services, directory,
    fabric::{
        Refusal, index,
        platform::{CallError, Platform},
    },
};
use cellspace_cluster::{
    Address, Agent, AskError, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Query, Reach, Rejection, RetryPolicy, RowOf,
};
use cellspace_schemas::{
    Owner, Timestamp,
    fabric::{
        ActivityDefinition, ActivityType, Cell, CellId, DataspaceProfile, DataspaceProfileId, DeploymentId, NewCell, NewDataspaceProfile,
        OrchestrationTemplate, TemplateRef,
    },
};
use cellspace_storage::{AgentKind, RowKey};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

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
#[must_use]
pub fn address() -> Address {
    Address::of::<FabricRegistry>(Owner::installation())
}

/// The newest state of the registry; empty before anything was registered.
///
/// # Errors
/// [`AskError`] when the registry cannot answer.
pub async fn snapshot(services: &Services) -> Result<Arc<RegistryState>, AskError<Refusal>> {
    match services.cluster.snapshot_anywhere::<FabricRegistry, _>(&address(), &Whole).await {
        Err(AskError::NotRegistered) => Ok(Arc::default()),
        answer => answer,
    }
}

/// Asks the registry.
///
/// # Errors
/// [`AskError`] of the registry; removing from a registry that was never written answers that there is no such agent.
pub async fn ask(services: &Services, command: Command, call: Call) -> Result<Reply, AskError<Refusal>> {
    services.cluster.ask_anywhere::<FabricRegistry>(&address(), command, call).await
}

/// All that is registered, for other nodes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Whole;

impl Query<FabricRegistry> for Whole {
    const NAME: &'static str = "whole";
    /// As rows have it.
    type Answer = Vec<Event>;

    fn answer(&self, state: &RegistryState) -> Vec<Event> {
        let cells = state.cells.values().cloned().map(Event::Cell);
        let profiles = state.profiles.values().cloned().map(Event::Profile);
        let activities = state.activities.values().cloned().map(Event::Activity);
        cells.chain(profiles).chain(activities).chain(state.templates.values().cloned().map(Event::Template)).collect()
    }
}

/// A request to the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Registers a cell.
    CreateCell(NewCell),
    /// Stops a cell from taking participants, and removes it when it has none.
    DeleteCell(CellId),
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

#[cfg(test)]
impl Prepared {
    /// A command as if it had been prepared.
    pub(super) const fn new(command: Command, fresh: Uuid, running: Arc<str>, in_use: bool) -> Self {
        Self { command, fresh, running, in_use }
    }
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

/// A change of the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// A cell as it now is.
    Cell(Arc<CellRecord>),
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
    /// Look whether participant profiles are in a cell that is to be removed.
    Vacate(CellId),
}

/// What a delivery brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The settings are in the cell.
    Deployed,
    /// No participant profile is in the cell.
    Vacant,
    /// Participant profiles are in the cell.
    InUse,
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
            | Command::DeleteCell(_)
            | Command::CreateProfile(_)
            | Command::Deploy(..)
            | Command::DefineActivity(_)
            | Command::RemoveActivity(_)
            | Command::Define(_) => return Ok(false),
        };
        directory::references(&self.services, &reference).await.map_err(|e| PrepareError::Unavailable(e.to_string()))
    }

    /// Writes the settings of the profile's name into the cell. A deployment that is gone by now has nothing to write.
    async fn deploy(
        &self,
        delivery: &Delivery<'_, Self>,
        profile: &DataspaceProfileId,
        deployment: &DeploymentId,
    ) -> Result<(), DeliveryError> {
        let snapshot = &delivery.snapshot;
        let Some(profile) = snapshot.profiles.get(profile) else { return Ok(()) };
        let Some(deployment) = profile.deployments.iter().find(|d| d.id == *deployment) else { return Ok(()) };
        let name = settings::profile_name(&profile.properties).map_err(|e| DeliveryError::Refused(e.to_string()))?;
        let settings = settings::gather(snapshot, &name, &deployment.external_cell_id);
        settings::write(&self.platform, &settings, delivery.trace.as_ref()).await.map_err(|e| match e {
            CallError::Retry(reason) => DeliveryError::Retry(reason),
            CallError::Refused(reason) => DeliveryError::Refused(reason),
        })
    }
}

impl Agent for FabricRegistry {
    const KIND: AgentKind = AgentKind("fabric-registry");
    type State = RegistryState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = Outcome;
    type Reply = Reply;
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<Whole>()
    }

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
                Command::DeleteCell(id) => cells::delete(state, id, now),
                Command::CreateProfile(new) => profiles::create(state, new, *fresh),
                Command::RemoveProfile(id) => profiles::remove(state, id, *in_use),
                Command::Deploy(profile, cell) => profiles::deploy(state, profile, cell, *fresh, now),
                Command::DefineActivity(definition) => definitions::define_activity(state, definition),
                Command::RemoveActivity(name) => definitions::remove_activity(state, name),
                Command::Define(template) => definitions::define(state, template, *fresh),
                Command::RemoveTemplate(id) => definitions::remove(state, id, *in_use),
            },
            Input::Delivered(effect, outcome) => match effect.as_ref() {
                Effect::Deploy { profile, deployment, version } => profiles::deployed(state, profile, deployment, *version, Ok(()), now),
                Effect::Vacate(cell) => cells::looked(state, cell, *outcome == Outcome::InUse, now),
            },
            Input::Undeliverable(effect, reason) => match effect.as_ref() {
                Effect::Deploy { profile, deployment, version } => {
                    profiles::deployed(state, profile, deployment, *version, Err(reason), now)
                }
                // Nobody knows whether participants are in the cell, so it stays.
                Effect::Vacate(cell) => cells::looked(state, cell, true, now),
            },
            // The registry has no deadlines.
            Input::Due(_) => Ok(Decision::nothing()),
        }
    }

    fn apply(state: &mut RegistryState, event: &Event) {
        match event {
            Event::Cell(record) => state.cells.insert_mut(record.cell.id.clone(), record.clone()),
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
            Event::Cell(record) => RowOf::Put(RowKey::new("cell", record.cell.id.as_str())),
            Event::CellRemoved(id) => RowOf::Delete(RowKey::new("cell", id.as_str())),
            Event::Profile(profile) => RowOf::Put(RowKey::new("dataspace-profile", profile.id.as_str())),
            Event::ProfileRemoved(id) => RowOf::Delete(RowKey::new("dataspace-profile", id.as_str())),
            Event::Activity(definition) => RowOf::Put(RowKey::new("activity-definition", definition.activity_type.as_str())),
            Event::ActivityRemoved(name) => RowOf::Delete(RowKey::new("activity-definition", name.as_str())),
            Event::Template(template) => RowOf::Put(RowKey::new("template", template.id.as_ref().map_or("", TemplateRef::as_str))),
            Event::TemplateRemoved(id) => RowOf::Delete(RowKey::new("template", id.as_str())),
        }
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Outcome, DeliveryError>> {
        Box::pin(async move {
            match delivery.effect.as_ref() {
                Effect::Deploy { profile, deployment, .. } => {
                    self.deploy(&delivery, profile, deployment).await?;
                    Ok(Outcome::Deployed)
                }
                Effect::Vacate(cell) => {
                    let in_use = directory::references(&self.services, &directory::reference::cell(cell)).await;
                    Ok(if in_use.map_err(DeliveryError::from)? { Outcome::InUse } else { Outcome::Vacant })
                }
            }
        })
    }

    fn retry_policy(effect: &Effect) -> RetryPolicy {
        match effect {
            Effect::Deploy { .. } => RetryPolicy::default(),
            Effect::Vacate(_) => index::RETRY,
        }
    }
}
