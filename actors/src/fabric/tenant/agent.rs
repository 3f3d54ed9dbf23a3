//! The tenant's agent: dispatch, and the I/O of deployments and directory rows.

use super::{ProfileRecord, TenantState, profile, properties};
use crate::{
    Services,
    directory::DirectoryError,
    fabric::{
        FabricRegistry, index, limits,
        registry::{self, RegistryState},
    },
    name::{self, Name},
};
use cellspace_cluster::{
    Address, Agent, AskError, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Rejection, RetryPolicy, RowOf,
};
use cellspace_schemas::{
    Did, EventPosition, ProfileId, Timestamp,
    fabric::{
        Cell, CredentialSpec, DataspaceProfileId, NewParticipantProfileDeployment, NewTenant, OrchestrationId, OrchestrationResponse,
        ParticipantProfile, ParticipantProfileId, Tenant, TenantId, TenantPropertiesDiff, VpaId, VpaType,
    },
};
use cellspace_storage::{AgentKind, RowKey};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// A tenant; the owner of its address is the tenant id.
pub struct TenantAgent {
    services: Services,
}

impl TenantAgent {
    /// The agent with the services that its I/O uses.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

/// A request to a tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Makes it.
    Create(NewTenant),
    /// Changes its properties.
    Patch(TenantPropertiesDiff),
    /// Deletes it, when it has no participants.
    Delete,
    /// Makes a participant profile, whose rows in the directory are reserved, and deploys it.
    Deploy(ParticipantProfileId, Box<NewParticipantProfileDeployment>),
    /// Disposes of one.
    Dispose(ParticipantProfileId),
    /// An orchestration ended: the response, and source and position of the event that said so.
    Ended(Box<OrchestrationResponse>, String, EventPosition),
}

/// A deployment with everything it needs from the registry.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Id of the new profile.
    pub id: ParticipantProfileId,
    /// What was asked for.
    pub new: NewParticipantProfileDeployment,
    /// The cell.
    pub cell: Arc<Cell>,
    /// The dataspaces.
    pub profiles: Vec<DataspaceProfileId>,
    /// Their names in the cell.
    pub profile_names: Vec<ProfileId>,
    /// Credentials to request.
    pub credentials: Vec<CredentialSpec>,
    /// Fresh ids of the agents, one per [`VpaType`].
    pub vpa_ids: Vec<VpaId>,
    /// Fresh id of the orchestration.
    pub orchestration: OrchestrationId,
}

/// A request with what others said about it.
#[derive(Debug)]
pub enum Prepared {
    /// Makes the tenant of this id.
    Create(TenantId, NewTenant),
    /// Changes its properties.
    Patch(TenantPropertiesDiff),
    /// Deletes it.
    Delete,
    /// Makes a participant profile.
    Deploy(Box<Deployment>),
    /// Disposes of one, by this fresh orchestration.
    Dispose(ParticipantProfileId, OrchestrationId),
    /// An orchestration ended.
    Ended(Box<OrchestrationResponse>, String, EventPosition),
}

/// Answer to a command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Done; nothing to say.
    #[default]
    Done,
    /// The tenant.
    Tenant(Tenant),
    /// The participant profile.
    Profile(ParticipantProfile),
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

impl From<registry::Refusal> for Refusal {
    fn from(refusal: registry::Refusal) -> Self {
        match refusal {
            registry::Refusal::NotFound(text) | registry::Refusal::Invalid(text) => Self::Invalid(text),
            registry::Refusal::Conflict(text) => Self::Conflict(text),
        }
    }
}

/// A change of the tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The tenant as it now is.
    Tenant(Arc<Tenant>),
    /// It is gone.
    TenantRemoved,
    /// A participant profile as it now is.
    Profile(Arc<ProfileRecord>),
    /// One is gone.
    ProfileRemoved(ParticipantProfileId),
}

/// Something to do after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Show the tenant in the directory as it now is.
    IndexTenant,
    /// Show a participant profile in the directory as it now is.
    IndexProfile(ParticipantProfileId),
}

/// What one of the machines decided.
pub type Decided = Result<Decision<TenantAgent>, Rejection<Refusal>>;

impl TenantAgent {
    async fn registry(&self) -> Result<Arc<RegistryState>, PrepareError<Refusal>> {
        let unavailable = |e: String| PrepareError::Unavailable(format!("the registry: {e}"));
        let address = registry::address().map_err(|e| unavailable(e.to_string()))?;
        match self.services.cluster.snapshot::<FabricRegistry>(&address).await {
            Ok(snapshot) => Ok(snapshot),
            Err(AskError::NotRegistered) => Ok(Arc::default()),
            Err(e) => Err(unavailable(e.to_string())),
        }
    }

    /// The DID must be one that is served here, and free. Whether it stays free shows when the participant context is made.
    async fn check_identifier(&self, did: &Did) -> Result<(), PrepareError<Refusal>> {
        let services = &self.services;
        let Some(path) = services.urls.did_path(did).filter(name::is_servable) else {
            let text = format!("the identifier must be a did:web of this installation: did:web:{}:<name>", services.urls.did_host());
            return Err(Refusal::Invalid(text).into());
        };
        match services.cluster.read::<Name, _>(&Address::of::<Name>(path), |state| state.participant().is_some()).await {
            Ok(false) | Err(AskError::NotRegistered) => Ok(()),
            Ok(true) => Err(Refusal::Conflict(format!("{did} is already in use")).into()),
            Err(e) => Err(PrepareError::Unavailable(e.to_string())),
        }
    }

    async fn deployment(
        &self,
        id: ParticipantProfileId,
        new: NewParticipantProfileDeployment,
    ) -> Result<Deployment, PrepareError<Refusal>> {
        check(&new).map_err(Refusal::Invalid)?;
        self.check_identifier(&new.identifier).await?;
        let registry = self.registry().await?;
        let cell = registry.cell_for(new.cell_id.as_ref()).map_err(Refusal::from)?;
        let profiles = registry.profiles_for(&new.dataspace_profile_ids).map_err(Refusal::from)?;
        Ok(Deployment {
            id,
            cell,
            credentials: registry::credentials(&profiles, &new.participant_roles),
            profile_names: registry::profile_names(&profiles).map_err(Refusal::from)?,
            profiles: profiles.iter().map(|p| p.id.clone()).collect(),
            vpa_ids: VpaType::ALL.map(|_| VpaId::from_uuid(Uuid::new_v4())).into(),
            orchestration: OrchestrationId::from_uuid(Uuid::new_v4()),
            new,
        })
    }
}

fn check(new: &NewParticipantProfileDeployment) -> Result<(), String> {
    limits::properties("properties of a participant profile", &new.properties)?;
    limits::words("participantRoles", new.participant_roles.keys())?;
    for roles in new.participant_roles.values() {
        limits::words("participantRoles", roles)?;
    }
    limits::words("vpaProperties", new.vpa_properties.keys())?;
    limits::properties("vpaProperties", &new.vpa_properties.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect())
}

impl Agent for TenantAgent {
    const KIND: AgentKind = AgentKind("tenant");
    type State = TenantState;
    type Command = Command;
    type Prepared = Prepared;
    type Event = Event;
    type Effect = Effect;
    type Outcome = ();
    type Reply = Reply;
    type Refusal = Refusal;

    fn creates(command: &Command) -> bool {
        matches!(command, Command::Create(_))
    }

    fn prepare<'a>(
        &'a self,
        address: &'a Address,
        _snapshot: Arc<TenantState>,
        command: Command,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Prepared, PrepareError<Refusal>>> {
        Box::pin(async move {
            Ok(match command {
                Command::Create(new) => {
                    let id = TenantId::new(address.owner.as_str()).map_err(|e| Refusal::Invalid(e.to_string()))?;
                    Prepared::Create(id, new)
                }
                Command::Patch(diff) => Prepared::Patch(diff),
                Command::Delete => Prepared::Delete,
                Command::Deploy(id, new) => Prepared::Deploy(Box::new(self.deployment(id, *new).await?)),
                Command::Dispose(id) => Prepared::Dispose(id, OrchestrationId::from_uuid(Uuid::new_v4())),
                Command::Ended(response, source, position) => Prepared::Ended(response, source, position),
            })
        })
    }

    fn decide(state: &TenantState, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(Prepared::Create(id, new)) => properties::create(state, id, new),
            Input::Command(Prepared::Patch(diff)) => properties::patch(state, diff),
            Input::Command(Prepared::Delete) => properties::delete(state),
            Input::Command(Prepared::Deploy(deployment)) => profile::deploy(state, deployment, now),
            Input::Command(Prepared::Dispose(id, orchestration)) => profile::dispose(state, id, orchestration, now),
            Input::Command(Prepared::Ended(response, source, position)) => profile::ended(state, response, source, *position, now),
            // A row of the directory shows what it last showed; the next change brings it up to date.
            Input::Delivered(_, ()) | Input::Undeliverable(..) | Input::Due(_) => Ok(Decision::nothing()),
        }
    }

    fn apply(state: &mut TenantState, event: &Event) {
        match event {
            Event::Tenant(tenant) => state.tenant = Some(tenant.clone()),
            Event::TenantRemoved => state.tenant = None,
            Event::Profile(record) => state.profiles.insert_mut(record.profile.id.clone(), record.clone()),
            Event::ProfileRemoved(id) => {
                state.profiles.remove_mut(id);
            }
        }
    }

    fn row(event: &Event) -> RowOf {
        match event {
            Event::Tenant(_) => RowOf::Put(RowKey::new("tenant", "")),
            Event::TenantRemoved => RowOf::Delete(RowKey::new("tenant", "")),
            Event::Profile(record) => RowOf::Put(RowKey::new("participant-profile", record.profile.id.as_str())),
            Event::ProfileRemoved(id) => RowOf::Delete(RowKey::new("participant-profile", id.as_str())),
        }
    }

    fn tenant(state: &TenantState) -> Option<String> {
        state.tenant.as_ref().map(|tenant| tenant.id.to_string())
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let mut call = Call::by(delivery.address.to_string());
            call.trace.clone_from(&delivery.trace);
            let owner = TenantId::new(delivery.address.owner.as_str()).map_err(|e| DeliveryError::Refused(e.to_string()))?;
            let shown = match delivery.effect.as_ref() {
                Effect::IndexTenant => index::show_tenant(&self.services, &owner, &delivery.snapshot, &call).await,
                Effect::IndexProfile(id) => index::show_profile(&self.services, &owner, id, &delivery.snapshot, &call).await,
            };
            shown.map_err(DirectoryError::into)
        })
    }

    fn retry_policy(_effect: &Effect) -> RetryPolicy {
        index::RETRY
    }
}
