//! Assets with their offers, as a whole and by access policy, in the order of their ids.
//!
//! A counterparty sees all that is offered under an access policy, or nothing of it. So a page of a catalog judges each access policy once, and
//! reads only what is under those that are fulfilled, however much else there is.

use super::{
    offered::{Offering, Offerings},
    rendered::Rendered,
    row::Row,
};
use crate::control_plane::policy::Comparisons;
use cellspace_schemas::{
    AssetId, ContractDefinitionId, PolicyDefinitionId,
    management::{Asset, PolicyDefinition},
};
use rpds::RedBlackTreeMapSync;
use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

/// Offers of an asset whose row is kept at most.
const MAX_KEPT_OFFERS: usize = 4;
/// Offers of a participant whose rows are kept at most, about: they take a few MB then.
const MAX_KEPT: usize = 20_000;

/// An asset with offers of it.
#[derive(Debug, Clone)]
pub struct Offered {
    asset: Arc<Rendered<Asset>>,
    /// Never none.
    offers: Offerings,
    /// Made by the first that looks, where it is kept.
    row: Option<OnceLock<Arc<Row>>>,
}

impl Offered {
    fn new(asset: &Arc<Rendered<Asset>>, offers: Offerings, keeps_row: bool) -> Self {
        let row = (keeps_row && offers.size() <= MAX_KEPT_OFFERS).then(OnceLock::new);
        Self { asset: asset.clone(), offers, row }
    }

    /// The asset.
    #[must_use]
    pub const fn asset(&self) -> &Arc<Rendered<Asset>> {
        &self.asset
    }

    /// Its offers, never none.
    #[must_use]
    pub const fn offers(&self) -> &Offerings {
        &self.offers
    }

    /// What pages read of it.
    #[must_use]
    pub fn row(&self) -> Cow<'_, Row> {
        self.kept_row().map_or_else(|| Cow::Owned(self.new_row()), |row| Cow::Borrowed(row.as_ref()))
    }

    fn kept_row(&self) -> Option<&Arc<Row>> {
        Some(self.row.as_ref()?.get_or_init(|| Arc::new(self.new_row())))
    }

    fn new_row(&self) -> Row {
        Row::new(&self.asset, self.offers.values().map(AsRef::as_ref))
    }
}

/// Assets with offers, by id.
pub type OfferedAssets = RedBlackTreeMapSync<AssetId, Offered>;

/// An access policy, with what is judged of it in every request.
#[derive(Debug, Clone)]
pub struct Access {
    /// The policy.
    pub policy: Arc<Rendered<PolicyDefinition>>,
    /// What it comes down to, when it says no more than that.
    pub comparisons: Option<Comparisons>,
}

impl Access {
    fn of(policy: &Arc<Rendered<PolicyDefinition>>) -> Self {
        Self { policy: policy.clone(), comparisons: Comparisons::of(&policy.value().policy) }
    }
}

/// What is offered under an access policy, which may not be there.
#[derive(Debug, Clone)]
struct Under {
    access: Option<Access>,
    assets: OfferedAssets,
}

/// What is offered under an access policy.
#[derive(Debug)]
pub struct View {
    /// The policy.
    pub access: Access,
    /// What whoever fulfils it sees.
    pub assets: OfferedAssets,
    /// The row of the only asset, when there is one: of many access policies, most have one.
    pub only: Option<Arc<Row>>,
}

impl View {
    fn of(under: &Under) -> Option<Self> {
        let only = under.assets.first().filter(|_| under.assets.size() == 1);
        let only = only.and_then(|(_, offered)| offered.kept_row()).cloned();
        Some(Self { access: under.access.clone()?, assets: under.assets.clone(), only })
    }
}

/// Everything that is offered.
#[derive(Debug, Clone, Default)]
pub(super) struct Views {
    all: OfferedAssets,
    by_access: RedBlackTreeMapSync<PolicyDefinitionId, Under>,
    /// As `by_access`, as far as the policies are there, in one piece of memory: made by the first that looks after a change.
    judged: OnceLock<Arc<[View]>>,
    /// Offers of all assets.
    offers: usize,
}

impl Views {
    /// All assets with offers.
    pub(super) const fn all(&self) -> &OfferedAssets {
        &self.all
    }

    /// How many offers there are, of all assets.
    pub(super) const fn offers(&self) -> usize {
        self.offers
    }

    /// What is offered, by access policy, as far as that is there.
    pub(super) fn by_access(&self) -> &[View] {
        self.judged.get_or_init(|| self.by_access.values().filter_map(View::of).collect())
    }

    /// The access policy is another one now, or gone.
    pub(super) fn judge_by(&mut self, id: &PolicyDefinitionId, policy: Option<&Arc<Rendered<PolicyDefinition>>>) {
        self.judged.take();
        if let Some(view) = self.by_access.get_mut(id) {
            view.access = policy.map(Access::of);
        }
    }

    /// Adds an offer that is not there, under this access policy.
    pub(super) fn add(&mut self, asset: &Arc<Rendered<Asset>>, offering: &Arc<Offering>, access: Option<&Arc<Rendered<PolicyDefinition>>>) {
        self.judged.take();
        add(&mut self.all, asset, offering, false);
        self.offers += 1;
        let keeps_row = self.offers <= MAX_KEPT;
        let id = &offering.definition.definition.access_policy_id;
        if let Some(view) = self.by_access.get_mut(id) {
            add(&mut view.assets, asset, offering, keeps_row);
        } else {
            let mut assets = OfferedAssets::default();
            add(&mut assets, asset, offering, keeps_row);
            self.by_access.insert_mut(id.clone(), Under { access: access.map(Access::of), assets });
        }
    }

    #[cfg(test)]
    pub(super) const fn pretend_more(&mut self, more: usize) {
        self.offers += more;
    }

    /// Takes an offer away, if it is there.
    pub(super) fn remove(&mut self, asset: &AssetId, definition: &ContractDefinitionId) {
        let Some(old) = self.all.get(asset).and_then(|offered| offered.offers.get(definition)).cloned() else { return };
        self.judged.take();
        remove(&mut self.all, asset, definition);
        self.offers -= 1;
        let id = &old.definition.definition.access_policy_id;
        let Some(view) = self.by_access.get_mut(id) else { return };
        remove(&mut view.assets, asset, definition);
        if view.assets.is_empty() {
            self.by_access.remove_mut(id);
        }
    }

    /// Takes all offers of an asset away.
    pub(super) fn remove_asset(&mut self, asset: &AssetId) {
        let Some(old) = self.all.get(asset).cloned() else { return };
        for definition in old.offers.keys() {
            self.remove(asset, definition);
        }
    }
}

fn add(assets: &mut OfferedAssets, asset: &Arc<Rendered<Asset>>, offering: &Arc<Offering>, keeps_row: bool) {
    let definition = offering.definition.definition.id.clone();
    let mut offers = assets.get(&asset.value().id).map(|offered| offered.offers.clone()).unwrap_or_default();
    offers.insert_mut(definition, offering.clone());
    assets.insert_mut(asset.value().id.clone(), Offered::new(asset, offers, keeps_row));
}

fn remove(assets: &mut OfferedAssets, asset: &AssetId, definition: &ContractDefinitionId) {
    let Some(offered) = assets.get(asset) else { return };
    let left = Offered::new(&offered.asset, offered.offers.remove(definition), offered.row.is_some());
    if left.offers.is_empty() {
        assets.remove_mut(asset);
    } else {
        assets.insert_mut(asset.clone(), left);
    }
}
