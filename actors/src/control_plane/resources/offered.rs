//! An offer: a contract definition with the policies that it names, brought together as they change.

use super::{rendered::Rendered, state::OfferDefinition};
use cellspace_schemas::{ContractDefinitionId, management::PolicyDefinition};
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// A definition with its policies, as far as they are there. A newer version of any of them is another one of these.
#[derive(Debug)]
pub struct Offering {
    /// The definition.
    pub definition: Arc<OfferDefinition>,
    /// Who sees what it offers.
    pub access: Option<Arc<Rendered<PolicyDefinition>>>,
    /// The terms.
    pub terms: Option<Arc<Rendered<PolicyDefinition>>>,
}

/// Offers of one asset, by the definitions that make them.
pub type Offerings = RedBlackTreeMapSync<ContractDefinitionId, Arc<Offering>>;
