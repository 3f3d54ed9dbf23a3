//! Decisions about assets.

use super::{Event, Kind, MAX_ASSETS, Refusal, room, size};
use crate::control_plane::{ControlPlane, ControlPlaneState, Created, Reply, agent::Event as AgentEvent};
use cellspace_cluster::Decision;
use cellspace_schemas::{
    AssetId, Timestamp,
    management::{Asset, AssetDraft},
};
use std::sync::Arc;
use uuid::Uuid;

/// The asset as it will be, when there is room for it, its values and its offers.
fn asset(state: &ControlPlaneState, draft: &AssetDraft, id: AssetId, created_at: Timestamp) -> Result<AgentEvent, Refusal> {
    let AssetDraft { id: _, is_catalog, properties, private_properties, dataplane_metadata } = draft.clone();
    let asset = Asset { id, is_catalog, properties, private_properties, dataplane_metadata, created_at };
    let resources = &state.resources;
    room::for_bytes(resources, resources.asset(&asset.id).map_or(0, |old| size::of_asset(old)), size::of_asset(&asset))?;
    room::for_values(resources, &asset)?;
    let old = || resources.offers_of(&asset.id).map_or(0, |offered| offered.offers().size());
    room::for_offers(resources, resources.definitions().len(), old, || resources.selecting(&asset))?;
    Ok(Event::Asset(Arc::new(asset)).into())
}

fn missing(id: &AssetId) -> Refusal {
    Refusal::NotFound(Kind::Asset, id.to_string())
}

pub(super) fn create(
    state: &ControlPlaneState,
    draft: &AssetDraft,
    fresh: Uuid,
    now: Timestamp,
) -> Result<Decision<ControlPlane>, Refusal> {
    let id = draft.id.clone().unwrap_or_else(|| AssetId::from_uuid(fresh));
    if state.resources.asset(&id).is_some() {
        return Err(Refusal::Exists(Kind::Asset, id.to_string()));
    }
    if state.resources.assets().len() >= MAX_ASSETS {
        return Err(Refusal::Limit { what: "assets", limit: MAX_ASSETS });
    }
    let reply = Reply::Created(Created { id: id.to_string(), created_at: now });
    Ok(Decision::action("asset.created").event(asset(state, draft, id, now)?).replying(reply))
}

pub(super) fn update(state: &ControlPlaneState, id: &AssetId, draft: &AssetDraft) -> Result<Decision<ControlPlane>, Refusal> {
    let there = state.resources.asset(id).ok_or_else(|| missing(id))?;
    Ok(Decision::action("asset.updated").event(asset(state, draft, id.clone(), there.created_at)?))
}

pub(super) fn delete(state: &ControlPlaneState, id: &AssetId) -> Result<Decision<ControlPlane>, Refusal> {
    state.resources.asset(id).ok_or_else(|| missing(id))?;
    if state.holds_asset(id) {
        return Err(Refusal::Referenced { kind: Kind::Asset, id: id.to_string(), by: "an agreement or a running negotiation".to_owned() });
    }
    Ok(Decision::action("asset.deleted").event(Event::AssetDeleted(id.clone()).into()))
}
