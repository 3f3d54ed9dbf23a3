//! An offer: a contract definition, and how the assets that it selects are found.

use super::{selectors::Anchor, state::OfferDefinition};
use cellspace_schemas::ContractDefinitionId;
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// A definition in use. Its policies are looked up when somebody looks at the offer, so that a policy changes at the same cost however many offers it has.
#[derive(Debug)]
pub struct Offering {
    /// The definition.
    pub definition: Arc<OfferDefinition>,
    /// What it is found by.
    pub(super) anchor: Anchor,
}

/// Offers of one asset, by the definitions that make them.
pub type Offerings = RedBlackTreeMapSync<ContractDefinitionId, Arc<Offering>>;
