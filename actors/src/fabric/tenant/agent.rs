//! The tenant's agent: dispatch, and the I/O of deployments and directory rows.

use super::{ProfileRecord, TenantState, awaited, profile, properties};
use crate::{
    Services,
    directory::DirectoryError,
    fabric::{
        OrchestrationAgent, Refusal,
        index::{self, TenantEntry},
        limits,
        orchestration::Ending,
        registry,
    },
    name,
};
use cellspace_cluster::{
    Address, Agent, AskError, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Reach, Rejection, RetryPolicy, RowOf,
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
    pub cell: Cell,
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
    /// Show a participant profile in the directory as it now is, and whose its DID is.
    IndexProfile(ParticipantProfileId, Did),
    /// Look how far the orchestrations are that a participant profile awaits.
    Check(ParticipantProfileId),
}

/// What a delivery brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The directory is up to date.
    Shown,
    /// These orchestrations ended, in the order in which they were awaited.
    Ended(Vec<OrchestrationResponse>),
    /// An orchestration is there or on its way, and none has ended.
    Running,
    /// No orchestration is there: the request for it had no effect, so far.
    Missing,
}

/// What one of the machines decided.
pub type Decided = Result<Decision<TenantAgent>, Rejection<Refusal>>;

impl TenantAgent {
    /// The DID must be one that is served here, and free. Whether it stays free shows when the participant context is made.
    async fn check_identifier(&self, did: &Did) -> Result<(), PrepareError<Refusal>> {
        let services = &self.services;
        let Some(path) = services.urls.did_path(did).filter(name::is_servable) else {
            let text = format!("the identifier must be a did:web of this installation: did:web:{}:<name>", services.urls.did_host());
            return Err(Refusal::Invalid(text).into());
        };
        match name::owner_of(services, &path).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Refusal::Conflict(format!("{did} is already in use")).into()),
            Err(e) => Err(PrepareError::Unavailable(e.to_string())),
        }
    }

    /// Looks at the orchestrations that a profile awaits.
    async fn look(&self, record: Option<&Arc<ProfileRecord>>) -> Result<Outcome, DeliveryError> {
        let (mut ended, mut running) = (Vec::new(), false);
        for id in record.into_iter().flat_map(|record| &record.awaits) {
            let address = Address::of::<OrchestrationAgent>(id);
            match self.services.cluster.query::<OrchestrationAgent, _>(&address, &Ending).await {
                Ok((_, Some(response))) => ended.push(response),
                Ok((there, None)) => running |= there,
                Err(AskError::NotRegistered) => {}
                Err(e) => return Err(DeliveryError::Retry(e.to_string())),
            }
        }
        Ok(awaited::found(ended, running, self.services.backlog.is_away()))
    }

    async fn deployment(
        &self,
        id: ParticipantProfileId,
        new: NewParticipantProfileDeployment,
    ) -> Result<Deployment, PrepareError<Refusal>> {
        check(&new).map_err(Refusal::Invalid)?;
        self.check_identifier(&new.identifier).await?;
        let registry = registry::snapshot(&self.services).await.map_err(|e| PrepareError::Unavailable(format!("the registry: {e}")))?;
        let cell = registry.cell_for(new.cell_id.as_ref())?;
        let profiles = registry.profiles_for(cell, &new.dataspace_profile_ids)?;
        Ok(Deployment {
            id,
            cell: cell.clone(),
            credentials: registry::credentials(&profiles, &new.participant_roles),
            profile_names: registry::profile_names(&profiles)?,
            profiles: profiles.iter().map(|p| p.id.clone()).collect(),
            vpa_ids: VpaType::ALL.map(|_| VpaId::from_uuid(Uuid::new_v4())).into(),
            orchestration: OrchestrationId::from_uuid(Uuid::new_v4()),
            new,
        })
    }
}

/// Checks the size of what a client says.
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
    type Outcome = Outcome;
    type Reply = Reply;
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<TenantEntry>()
    }

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
            Input::Command(Prepared::Ended(response, source, position)) => awaited::ended(state, response, source, *position, now),
            Input::Delivered(effect, outcome) => Ok(match effect.as_ref() {
                Effect::Check(id) => awaited::looked(state, id, outcome, now),
                Effect::IndexTenant | Effect::IndexProfile(..) => Decision::nothing(),
            }),
            Input::Undeliverable(effect, _) => Ok(match effect.as_ref() {
                // As good as an orchestration that runs: it is looked at again.
                Effect::Check(id) => awaited::looked(state, id, &Outcome::Running, now),
                // A row of the directory shows what it last showed; the next change brings it up to date.
                Effect::IndexTenant | Effect::IndexProfile(..) => Decision::nothing(),
            }),
            Input::Due(key) => Ok(awaited::due(state, key)),
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

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        match event {
            Event::Profile(record) => Some((record.profile.id.to_string(), record.check_at)),
            Event::ProfileRemoved(id) => Some((id.to_string(), None)),
            Event::Tenant(_) | Event::TenantRemoved => None,
        }
    }

    fn tenant(state: &TenantState) -> Option<String> {
        state.tenant.as_ref().map(|tenant| tenant.id.to_string())
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Outcome, DeliveryError>> {
        Box::pin(async move {
            let mut call = Call::by(delivery.address.to_string());
            call.trace.clone_from(&delivery.trace);
            let owner = TenantId::new(delivery.address.owner.as_str()).map_err(|e| DeliveryError::Refused(e.to_string()))?;
            let shown = match delivery.effect.as_ref() {
                Effect::IndexTenant => index::show_tenant(&self.services, &owner, &delivery.snapshot, &call).await,
                Effect::IndexProfile(id, did) => index::show_profile(&self.services, &owner, id, did, &delivery.snapshot, &call).await,
                Effect::Check(id) => return self.look(delivery.snapshot.profile(id)).await,
            };
            shown.map(|()| Outcome::Shown).map_err(DirectoryError::into)
        })
    }

    fn retry_policy(effect: &Effect) -> RetryPolicy {
        match effect {
            Effect::IndexTenant | Effect::IndexProfile(..) => index::RETRY,
            Effect::Check(_) => RetryPolicy::default(),
        }
    }
}
