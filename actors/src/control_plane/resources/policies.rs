//! Decisions about policy definitions.

use super::{Event, Kind, MAX_POLICIES, Refusal, State};
use crate::control_plane::{ControlPlane, Created, Reply, agent::Event as AgentEvent};
use cellspace_cluster::Decision;
use cellspace_schemas::{
    PolicyDefinitionId, Timestamp,
    management::{PolicyDefinition, PolicyDefinitionDraft},
};
use std::sync::Arc;
use uuid::Uuid;

fn policy(draft: &PolicyDefinitionDraft, id: PolicyDefinitionId, created_at: Timestamp) -> AgentEvent {
    let PolicyDefinitionDraft { id: _, policy, private_properties } = draft.clone();
    Event::Policy(Arc::new(PolicyDefinition { id, policy, private_properties, created_at })).into()
}

fn missing(id: &PolicyDefinitionId) -> Refusal {
    Refusal::NotFound(Kind::Policy, id.to_string())
}

pub(super) fn create(state: &State, draft: &PolicyDefinitionDraft, fresh: Uuid, now: Timestamp) -> Result<Decision<ControlPlane>, Refusal> {
    let id = draft.id.clone().unwrap_or_else(|| PolicyDefinitionId::from_uuid(fresh));
    if state.policy(&id).is_some() {
        return Err(Refusal::Exists(Kind::Policy, id.to_string()));
    }
    if state.policies().len() >= MAX_POLICIES {
        return Err(Refusal::Limit { what: "policy definitions", limit: MAX_POLICIES });
    }
    let reply = Reply::Created(Created { id: id.to_string(), created_at: now });
    Ok(Decision::action("policy.definition.created").event(policy(draft, id, now)).replying(reply))
}

pub(super) fn update(state: &State, id: &PolicyDefinitionId, draft: &PolicyDefinitionDraft) -> Result<Decision<ControlPlane>, Refusal> {
    let there = state.policy(id).ok_or_else(|| missing(id))?;
    Ok(Decision::action("policy.definition.updated").event(policy(draft, id.clone(), there.created_at)))
}

pub(super) fn delete(state: &State, id: &PolicyDefinitionId) -> Result<Decision<ControlPlane>, Refusal> {
    state.policy(id).ok_or_else(|| missing(id))?;
    if let Some(definition) = state.definition_using(id) {
        let by = format!("{} {definition}", Kind::Definition);
        return Err(Refusal::Referenced { kind: Kind::Policy, id: id.to_string(), by });
    }
    Ok(Decision::action("policy.definition.deleted").event(Event::PolicyDeleted(id.clone()).into()))
}
