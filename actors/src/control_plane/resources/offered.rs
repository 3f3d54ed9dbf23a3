//! An asset with what it is offered under, looked up at most once per version of the resources.

use super::{rendered::Rendered, state::OfferDefinition};
use cellspace_schemas::{
    ContractDefinitionId,
    management::{Asset, PolicyDefinition},
};
use parking_lot::Mutex;
use rpds::RedBlackTreeSetSync;
use std::sync::{Arc, OnceLock};

/// Definitions that select an asset, by id.
pub(super) type DefinitionSet = RedBlackTreeSetSync<ContractDefinitionId>;

/// An asset and its offers.
#[derive(Debug)]
pub struct OfferedAsset {
    /// The asset.
    pub asset: Arc<Rendered<Asset>>,
    /// Its offers, in the order of their definitions; one whose policies are not there is none.
    pub offers: Vec<Offering>,
}

/// An offer of an asset.
#[derive(Debug)]
pub struct Offering {
    /// The definition that makes it.
    pub definition: Arc<OfferDefinition>,
    /// Who sees it.
    pub access: Arc<PolicyDefinition>,
    /// Its terms.
    pub terms: Arc<Rendered<PolicyDefinition>>,
    text: OnceLock<Box<str>>,
}

impl Offering {
    pub(super) const fn new(
        definition: Arc<OfferDefinition>,
        access: Arc<PolicyDefinition>,
        terms: Arc<Rendered<PolicyDefinition>>,
    ) -> Self {
        Self { definition, access, terms, text: OnceLock::new() }
    }

    /// The text that `render` makes of it, at most once; every caller must ask with the same function.
    pub fn text(&self, render: impl FnOnce(&Self) -> String) -> &str {
        self.text.get_or_init(|| render(self).into())
    }
}

/// Definitions that select an asset, with what was last looked up about them.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    pub(super) definitions: DefinitionSet,
    /// With the version it was looked up at. Snapshots share it: it only saves the looking up.
    found: Arc<Mutex<Option<(u64, Arc<OfferedAsset>)>>>,
}

impl Selected {
    pub(super) fn by(definitions: DefinitionSet) -> Self {
        Self { definitions, found: Arc::default() }
    }

    /// Whether the definition is among them.
    #[must_use]
    pub fn contains(&self, definition: &ContractDefinitionId) -> bool {
        self.definitions.contains(definition)
    }

    /// What was looked up at this version; `look_up` is asked when it was not.
    pub(super) fn at(&self, version: u64, look_up: impl FnOnce() -> Option<OfferedAsset>) -> Option<Arc<OfferedAsset>> {
        if let Some((at, found)) = &*self.found.lock()
            && *at == version
        {
            return Some(found.clone());
        }
        let found = Arc::new(look_up()?);
        *self.found.lock() = Some((version, found.clone()));
        Some(found)
    }
}
