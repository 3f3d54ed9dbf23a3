//! Decisions about contract definitions.

use super::{Event, Kind, MAX_DEFINITIONS, OfferDefinition, Refusal, State, room, size};
use crate::control_plane::{ControlPlane, Created, Reply, agent::Event as AgentEvent};
use cellspace_cluster::Decision;
use cellspace_schemas::{
    ContractDefinitionId, Timestamp,
    management::{ContractDefinition, ContractDefinitionDraft},
};
use std::sync::Arc;
use uuid::Uuid;

/// The definition as it will be, when there is room for it.
fn definition(
    state: &State,
    draft: &ContractDefinitionDraft,
    id: ContractDefinitionId,
    created_at: Timestamp,
    offer_key: Uuid,
) -> Result<AgentEvent, Refusal> {
    let ContractDefinitionDraft { id: _, access_policy_id, contract_policy_id, assets_selector, private_properties } = draft.clone();
    let definition = ContractDefinition { id, access_policy_id, contract_policy_id, assets_selector, private_properties, created_at };
    let old = state.definition(&definition.id).map_or(0, |old| size::of_definition(&old.definition));
    room::for_bytes(state, old, size::of_definition(&definition))?;
    let found_by = Some(room::for_selector(state, &definition.id, &definition.assets_selector)?);
    Ok(Event::Definition(Arc::new(OfferDefinition { definition, offer_key, found_by })).into())
}

fn missing(id: &ContractDefinitionId) -> Refusal {
    Refusal::NotFound(Kind::Definition, id.to_string())
}

/// Its policies are there.
fn check(state: &State, draft: &ContractDefinitionDraft) -> Result<(), Refusal> {
    for (field, id) in [("accessPolicyId", &draft.access_policy_id), ("contractPolicyId", &draft.contract_policy_id)] {
        if state.policy(id).is_none() {
            return Err(Refusal::Dangling { field, id: id.clone() });
        }
    }
    Ok(())
}

pub(super) fn create(
    state: &State,
    draft: &ContractDefinitionDraft,
    fresh: Uuid,
    offer_key: Uuid,
    now: Timestamp,
) -> Result<Decision<ControlPlane>, Refusal> {
    let id = draft.id.clone().unwrap_or_else(|| ContractDefinitionId::from_uuid(fresh));
    if state.definition(&id).is_some() {
        return Err(Refusal::Exists(Kind::Definition, id.to_string()));
    }
    if state.definitions().len() >= MAX_DEFINITIONS {
        return Err(Refusal::Limit { what: "contract definitions", limit: MAX_DEFINITIONS });
    }
    check(state, draft)?;
    let reply = Reply::Created(Created { id: id.to_string(), created_at: now });
    Ok(Decision::action("contract.definition.created").event(definition(state, draft, id, now, offer_key)?).replying(reply))
}

pub(super) fn update(state: &State, id: &ContractDefinitionId, draft: &ContractDefinitionDraft) -> Result<Decision<ControlPlane>, Refusal> {
    let there = state.definition(id).ok_or_else(|| missing(id))?;
    check(state, draft)?;
    let event = definition(state, draft, id.clone(), there.definition.created_at, there.offer_key)?;
    Ok(Decision::action("contract.definition.updated").event(event))
}

pub(super) fn delete(state: &State, id: &ContractDefinitionId) -> Result<Decision<ControlPlane>, Refusal> {
    state.definition(id).ok_or_else(|| missing(id))?;
    Ok(Decision::action("contract.definition.deleted").event(Event::DefinitionDeleted(id.clone()).into()))
}
