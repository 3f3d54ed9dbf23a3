//! What a participant offers: assets, policy definitions, contract definitions.

mod assets;
mod atoms;
mod definitions;
pub(super) mod offer_id;
mod offered;
mod policies;
mod postings;
mod rendered;
mod room;
mod row;
mod selectors;
mod size;
mod state;
mod views;

#[cfg(test)]
mod tests;

pub use offered::{Offering, Offerings};
pub use rendered::Rendered;
pub use row::Row;
pub use selectors::FoundBy;
pub use state::{OfferDefinition, State};
pub use views::{Access, Offered, OfferedAssets, View};

use super::{
    ControlPlaneState,
    agent::{Decided, Refusal as AgentRefusal},
};
use cellspace_cluster::RowOf;
use cellspace_schemas::{
    AssetId, ContractDefinitionId, PolicyDefinitionId, Timestamp,
    management::{Asset, AssetDraft, ContractDefinitionDraft, PolicyDefinition, PolicyDefinitionDraft},
};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use uuid::Uuid;

/// Tables of assets, policy definitions and contract definitions.
pub const TABLES: [&str; 3] = ["asset", "policy", "contract-definition"];
/// Assets of one participant at most. They and the contract definitions are all in memory while the participant is, and read when it comes back into it:
/// a hundred thousand of each take seconds and some hundred megabytes.
pub const MAX_ASSETS: usize = 100_000;
/// Contract definitions of one participant at most.
pub const MAX_DEFINITIONS: usize = 100_000;
/// Policy definitions of one participant at most: a catalog request judges those that some offer has as its access policy.
pub const MAX_POLICIES: usize = 10_000;
/// Bytes of one participant's assets and contract definitions at most, about.
pub const MAX_BYTES: usize = 256 << 20;
/// Offers of one participant at most: pairs of an asset and a contract definition that selects it. Each is kept.
pub const MAX_OFFERS: usize = 1_000_000;
/// Contract definitions of one participant at most whose selector has nothing that assets are found by: each is compared with every asset that changes.
pub const MAX_LOOSE_SELECTORS: usize = 500;
/// Ids and values at most that the selectors of one participant are found by, one for each item of an `in` list.
pub const MAX_LISTED: usize = 1_000_000;
/// Values at most by which the assets of one participant are found: what each has of the properties that selectors are found by.
pub const MAX_VALUES: usize = 1_000_000;
/// Values of one such property in one asset at most: so many places change when the asset does. What selects by a property of which an asset has more is
/// compared with every asset.
pub const MAX_VALUES_OF_ASSET: usize = 128;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An asset.
    Asset,
    /// A policy definition.
    Policy,
    /// A contract definition.
    Definition,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asset => "asset",
            Self::Policy => "policy definition",
            Self::Definition => "contract definition",
        })
    }
}

/// A request about what is offered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Makes an asset.
    CreateAsset(AssetDraft),
    /// Replaces an asset.
    UpdateAsset(AssetId, AssetDraft),
    /// Removes an asset.
    DeleteAsset(AssetId),
    /// Makes a policy definition.
    CreatePolicy(PolicyDefinitionDraft),
    /// Replaces a policy definition.
    UpdatePolicy(PolicyDefinitionId, PolicyDefinitionDraft),
    /// Removes a policy definition.
    DeletePolicy(PolicyDefinitionId),
    /// Makes a contract definition.
    CreateDefinition(ContractDefinitionDraft),
    /// Replaces a contract definition.
    UpdateDefinition(ContractDefinitionId, ContractDefinitionDraft),
    /// Removes a contract definition.
    DeleteDefinition(ContractDefinitionId),
}

/// A request with what must be fresh.
#[derive(Debug)]
pub struct Prepared {
    /// The request.
    pub command: Command,
    /// Id of what is made, when the client gave none.
    pub fresh_id: Uuid,
    /// Makes the offer ids of a new contract definition unguessable.
    pub offer_key: Uuid,
}

/// A change of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The asset as it now is.
    Asset(Arc<Asset>),
    /// The asset is gone.
    AssetDeleted(AssetId),
    /// The policy definition as it now is.
    Policy(Arc<PolicyDefinition>),
    /// The policy definition is gone.
    PolicyDeleted(PolicyDefinitionId),
    /// The contract definition as it now is.
    Definition(Arc<OfferDefinition>),
    /// The contract definition is gone.
    DefinitionDeleted(ContractDefinitionId),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is one already.
    #[error("{0} {1} exists")]
    Exists(Kind, String),
    /// There is none.
    #[error("{0} {1} does not exist")]
    NotFound(Kind, String),
    /// It is referred to.
    #[error("{kind} {id} cannot be deleted while {by} refers to it")]
    Referenced {
        /// What.
        kind: Kind,
        /// Which.
        id: String,
        /// By what.
        by: String,
    },
    /// It names something that is not there.
    #[error("{field} names the policy definition {id}, which does not exist: create it first")]
    Dangling {
        /// In which field.
        field: &'static str,
        /// Which.
        id: PolicyDefinitionId,
    },
    /// Too many.
    #[error("a participant has at most {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
}

/// Brings fresh ids.
#[must_use]
pub fn prepare(command: Command) -> Prepared {
    Prepared { command, fresh_id: Uuid::new_v4(), offer_key: Uuid::new_v4() }
}

/// Decides on a request. Pure.
///
/// # Errors
/// [`Refusal`]
pub fn decide(state: &ControlPlaneState, prepared: &Prepared, now: Timestamp) -> Decided {
    if state.participant.is_none() {
        return Err(AgentRefusal::from(super::participant::Refusal::NotFound).into());
    }
    let fresh = prepared.fresh_id;
    let decided = match &prepared.command {
        Command::CreateAsset(draft) => assets::create(state, draft, fresh, now),
        Command::UpdateAsset(id, draft) => assets::update(state, id, draft),
        Command::DeleteAsset(id) => assets::delete(state, id),
        Command::CreatePolicy(draft) => policies::create(&state.resources, draft, fresh, now),
        Command::UpdatePolicy(id, draft) => policies::update(&state.resources, id, draft),
        Command::DeletePolicy(id) => policies::delete(&state.resources, id),
        Command::CreateDefinition(draft) => definitions::create(&state.resources, draft, fresh, prepared.offer_key, now),
        Command::UpdateDefinition(id, draft) => definitions::update(&state.resources, id, draft),
        Command::DeleteDefinition(id) => definitions::delete(&state.resources, id),
    };
    decided.map_err(|refusal| AgentRefusal::from(refusal).into())
}

/// Folds an event into the state.
pub fn apply(state: &mut ControlPlaneState, event: &Event) {
    let resources = &mut state.resources;
    match event {
        Event::Asset(asset) => resources.put_asset(asset),
        Event::AssetDeleted(id) => resources.remove_asset(id),
        Event::Policy(policy) => resources.put_policy(policy),
        Event::PolicyDeleted(id) => resources.remove_policy(id),
        Event::Definition(definition) => resources.put_definition(definition),
        Event::DefinitionDeleted(id) => resources.remove_definition(id),
    }
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    let [asset, policy, definition] = TABLES;
    match event {
        Event::Asset(a) => RowOf::Put(RowKey::new(asset, a.id.as_str())),
        Event::AssetDeleted(id) => RowOf::Delete(RowKey::new(asset, id.as_str())),
        Event::Policy(p) => RowOf::Put(RowKey::new(policy, p.id.as_str())),
        Event::PolicyDeleted(id) => RowOf::Delete(RowKey::new(policy, id.as_str())),
        Event::Definition(d) => RowOf::Put(RowKey::new(definition, d.definition.id.as_str())),
        Event::DefinitionDeleted(id) => RowOf::Delete(RowKey::new(definition, id.as_str())),
    }
}
