//! The machine of a participant profile: its four agents change state together. Pure.

use super::{
    ProfileRecord, TenantAgent, TenantState,
    agent::{Decided, Deployment, Effect, Event, Reply},
    awaited,
    properties::tenant,
};
use crate::fabric::{Refusal, limits, topics};
use cellspace_cluster::{Decision, Fact};
use cellspace_schemas::{
    Timestamp,
    fabric::{
        DeploymentState, OrchestrationId, OrchestrationManifest, OrchestrationType, ParticipantProfile, ParticipantProfileId, Properties,
        VirtualParticipantAgent, VpaType, keys,
    },
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// Lane of the directory rows of a profile.
pub fn lane(id: &ParticipantProfileId) -> String {
    format!("directory/{id}")
}

/// The profile with all agents in `to`.
pub(super) fn moved(record: &ProfileRecord, to: DeploymentState, now: Timestamp) -> ProfileRecord {
    let mut record = record.clone();
    record.profile.version += 1;
    (record.check_at, record.missed) = (awaited::check_at(to, now), 0);
    for vpa in &mut record.profile.vpas {
        (vpa.state, vpa.state_timestamp, vpa.version) = (to, now, vpa.version + 1);
    }
    record
}

/// The profile in `error`, for this reason.
pub(super) fn failed(record: &ProfileRecord, reason: String, now: Timestamp) -> ProfileRecord {
    let mut record = moved(record, DeploymentState::Error, now);
    (record.profile.error, record.profile.error_detail) = (true, reason);
    record
}

/// Stores the profile, shows it in the directory, and tells whoever is interested.
pub(super) fn set(action: &'static str, record: ProfileRecord) -> Decision<TenantAgent> {
    let profile = &record.profile;
    let state = profile.state();
    let data = json!({
        "tenantId": profile.tenant_id, "participantProfileId": profile.id, "identifier": profile.identifier, "state": state,
        "vpas": profile.vpas.iter().map(|vpa| json!({"id": vpa.id, "type": vpa.vpa_type, "cellId": vpa.cell_id})).collect::<Vec<_>>(),
        keys::PARTICIPANT_CONTEXT_ID: record.outputs.get(keys::PARTICIPANT_CONTEXT_ID),
    });
    let fact = |topic: &'static str, kind| Fact { topic: topic.into(), key: profile.id.to_string(), kind, data: data.clone() };
    let usage = match state {
        DeploymentState::Active => Some(fact(topics::USAGE, topics::PARTICIPANT_ACTIVE)),
        DeploymentState::Disposed => Some(fact(topics::USAGE, topics::PARTICIPANT_DISPOSED)),
        DeploymentState::Initial
        | DeploymentState::Pending
        | DeploymentState::Disposing
        | DeploymentState::Locked
        | DeploymentState::Offline
        | DeploymentState::Error => None,
    };
    let mut decision = Decision::action(action).fact(fact(topics::LIFECYCLE, topics::PROFILE_CHANGED));
    if let Some(usage) = usage {
        decision = decision.fact(usage);
    }
    let (lane, index) = (lane(&profile.id), Effect::IndexProfile(profile.id.clone(), profile.identifier.clone()));
    decision.effect(lane, index).event(Event::Profile(Arc::new(record)))
}

/// The request for an orchestration about the profile.
pub(super) fn request(record: &ProfileRecord, id: &OrchestrationId, orchestration: &str) -> Result<Fact, Refusal> {
    let profile = &record.profile;
    let mut payload = Properties::new();
    payload.insert(keys::PARTICIPANT_ID.to_owned(), profile.identifier.to_string().into());
    payload.insert(keys::VPA_DATA.to_owned(), json!(record.manifests()));
    payload.insert(keys::VPA_CREDENTIALS.to_owned(), json!(record.credentials));
    payload.insert(keys::PROFILES.to_owned(), json!(record.profile_names));
    if orchestration == keys::DISPOSE && !record.outputs.is_empty() {
        payload.insert(keys::VPA_STATE.to_owned(), record.outputs.clone().into());
    }
    let manifest = OrchestrationManifest {
        id: id.clone(),
        correlation_id: profile.id.to_string(),
        orchestration_type: OrchestrationType::new(orchestration).map_err(|e| Refusal::Invalid(e.to_string()))?,
        payload,
        tenant_id: Some(profile.tenant_id.clone()),
    };
    let (topic, kind) = (topics::REQUESTS.into(), topics::ORCHESTRATION_REQUESTED);
    Ok(Fact { topic, key: profile.id.to_string(), kind, data: json!(manifest) })
}

/// (none) -> pending: the orchestration is asked for in the same turn.
pub fn deploy(state: &TenantState, deployment: &Deployment, now: Timestamp) -> Decided {
    let tenant = tenant(state)?;
    let Deployment { id, new, cell, profiles, profile_names, credentials, vpa_ids, orchestration } = deployment;
    if state.profiles.contains_key(id) {
        return Err(Refusal::Conflict(format!("the participant profile {id} exists")).into());
    }
    if state.profiles.values().filter(|record| record.is_live()).count() >= limits::MAX_PROFILES {
        return Err(Refusal::Invalid(format!("a tenant may have at most {} participants", limits::MAX_PROFILES)).into());
    }
    let vpas = VpaType::ALL.into_iter().zip(vpa_ids).map(|(vpa_type, vpa_id)| VirtualParticipantAgent {
        id: vpa_id.clone(),
        version: 0,
        vpa_type,
        cell_id: cell.id.clone(),
        state: DeploymentState::Pending,
        state_timestamp: now,
        properties: new.vpa_properties.get(vpa_type.as_str()).cloned().unwrap_or_default(),
    });
    let mut properties = new.properties.clone();
    // What a deployment brought about is the platform's word alone: disposals act on it.
    properties.remove(keys::VPA_STATE);
    let profile = ParticipantProfile {
        id: id.clone(),
        version: 0,
        identifier: new.identifier.clone(),
        tenant_id: tenant.id.clone(),
        participant_roles: new.participant_roles.clone(),
        vpas: vpas.collect(),
        properties,
        error: false,
        error_detail: String::new(),
    };
    let record = ProfileRecord {
        profile: profile.clone(),
        dataspace_profile_ids: profiles.clone(),
        profile_names: profile_names.clone(),
        credentials: credentials.clone(),
        external_cell_id: cell.external_id.clone(),
        created: now,
        awaits: [Some(orchestration.clone()), orchestration.compensation()].into_iter().flatten().collect(),
        marks: BTreeMap::new(),
        outputs: Properties::new(),
        check_at: awaited::check_at(DeploymentState::Pending, now),
        missed: 0,
    };
    let fact = request(&record, orchestration, keys::DEPLOY)?;
    Ok(set("participant-profile.deploying", record).fact(fact).replying(Reply::Profile(profile)))
}

/// Starts the disposal.
pub fn dispose(state: &TenantState, id: &ParticipantProfileId, orchestration: &OrchestrationId, now: Timestamp) -> Decided {
    tenant(state)?;
    let record = state.profiles.get(id).ok_or_else(|| Refusal::NotFound(format!("the participant profile {id} does not exist")))?;
    match record.profile.state() {
        // active, error, locked, offline -> disposing
        DeploymentState::Active | DeploymentState::Error | DeploymentState::Locked | DeploymentState::Offline => {
            let mut record = moved(record, DeploymentState::Disposing, now);
            (record.profile.error, record.profile.error_detail) = (false, String::new());
            (record.awaits, record.marks) = (vec![orchestration.clone()], BTreeMap::new());
            let fact = request(&record, orchestration, keys::DISPOSE)?;
            let profile = record.view();
            Ok(set("participant-profile.disposing", record).fact(fact).replying(Reply::Profile(profile)))
        }
        // disposing -> disposing, disposed -> disposed: asked for before
        DeploymentState::Disposing | DeploymentState::Disposed => Ok(Decision::reply(Reply::Profile(record.view()))),
        DeploymentState::Initial | DeploymentState::Pending => {
            Err(Refusal::Conflict(format!("the participant profile {id} is still being deployed: wait until it is active or in error"))
                .into())
        }
    }
}
