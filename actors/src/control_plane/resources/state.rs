//! Assets, policies and definitions in memory, and which of them belong together: kept as they change, never searched for.

use super::{
    atoms::Atoms,
    offered::{Offering, Offerings},
    postings::Postings,
    rendered::Rendered,
    selectors::{Anchor, FoundBy, Selectors},
    size,
    views::{Offered, OfferedAssets, View, Views},
};
use cellspace_schemas::{
    AssetId, ContractDefinitionId, PolicyDefinitionId,
    management::{Asset, ContractDefinition, PolicyDefinition},
    query_spec::Criterion,
};
use itertools::Either;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

/// A contract definition with the key of its offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferDefinition {
    /// The definition.
    pub definition: ContractDefinition,
    /// Part of its offers' ids; made once, so that they stay the same.
    pub offer_key: Uuid,
    /// What it is found by; chosen anew where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_by: Option<FoundBy>,
}

/// What one participant offers.
#[derive(Debug, Clone, Default)]
pub struct State {
    assets: RedBlackTreeMapSync<AssetId, Arc<Rendered<Asset>>>,
    policies: RedBlackTreeMapSync<PolicyDefinitionId, Arc<Rendered<PolicyDefinition>>>,
    definitions: Offerings,
    /// Offers of each existing asset that some definition selects.
    offers: Views,
    /// Comparisons of the policies.
    atoms: Atoms,
    /// Who may select what.
    selectors: Selectors,
    /// About how many bytes assets and definitions have.
    bytes: usize,
    /// Definitions that use a policy, by policy.
    users: Postings<PolicyDefinitionId, ContractDefinitionId>,
    /// How many definitions use a policy as their access policy.
    access_users: HashTrieMapSync<PolicyDefinitionId, usize>,
    /// Left operands of access policies, with the number of policies that name them.
    access_operands: RedBlackTreeMapSync<String, usize>,
}

impl State {
    /// All assets, by id.
    #[must_use]
    pub fn assets(&self) -> impl ExactSizeIterator<Item = &Arc<Asset>> {
        self.assets.values().map(|asset| asset.value())
    }

    /// All policy definitions, by id.
    #[must_use]
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<PolicyDefinition>> {
        self.policies.values().map(|policy| policy.value())
    }

    /// All contract definitions, by id.
    #[must_use]
    pub fn definitions(&self) -> impl ExactSizeIterator<Item = &Arc<OfferDefinition>> {
        self.definitions.values().map(|offering| &offering.definition)
    }

    /// The asset.
    #[must_use]
    pub fn asset(&self, id: &AssetId) -> Option<&Arc<Asset>> {
        self.assets.get(id).map(|asset| asset.value())
    }

    /// The policy definition.
    #[must_use]
    pub fn policy(&self, id: &PolicyDefinitionId) -> Option<&Arc<PolicyDefinition>> {
        self.policies.get(id).map(|policy| policy.value())
    }

    /// The contract definition.
    #[must_use]
    pub fn definition(&self, id: &ContractDefinitionId) -> Option<&Arc<OfferDefinition>> {
        self.definitions.get(id).map(|offering| &offering.definition)
    }

    /// A contract definition that uses the policy.
    #[must_use]
    pub fn definition_using(&self, policy: &PolicyDefinitionId) -> Option<&ContractDefinitionId> {
        self.users.at(policy).and_then(|users| users.first())
    }

    /// The access policy of an offer as it is now.
    #[must_use]
    pub fn access(&self, offering: &Offering) -> Option<&Arc<Rendered<PolicyDefinition>>> {
        self.policies.get(&offering.definition.definition.access_policy_id)
    }

    /// The terms of this id as they are now.
    #[must_use]
    pub fn terms(&self, id: &str) -> Option<&Arc<Rendered<PolicyDefinition>>> {
        self.policies.get(id)
    }

    /// Definitions that are compared with every asset.
    pub(super) fn loose_selectors(&self) -> usize {
        self.selectors.loose()
    }

    /// Ids and values that selectors list, in all.
    pub(super) const fn listed_by_selectors(&self) -> usize {
        self.selectors.listed()
    }

    /// Values that assets are kept by, to be found by selectors.
    pub(super) fn values(&self) -> usize {
        self.selectors.values()
    }

    /// How many values an asset has of each property that selectors are found by.
    pub(super) fn values_of(&self, asset: &Asset) -> impl Iterator<Item = usize> {
        self.selectors.values_of(asset)
    }

    /// About how many bytes assets and definitions have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Offers of all assets: pairs of an asset and a definition that selects it.
    #[must_use]
    pub const fn offers(&self) -> usize {
        self.offers.offers()
    }

    /// Left operands that some access policy names.
    pub fn access_operands(&self) -> impl Iterator<Item = &str> {
        self.access_operands.keys().map(String::as_str)
    }

    /// Assets that some definition selects, with their offers.
    #[must_use]
    pub const fn offered(&self) -> &OfferedAssets {
        self.offers.all()
    }

    /// What is offered, by access policy, as far as that is there.
    #[must_use]
    pub fn views(&self) -> &[View] {
        self.offers.by_access()
    }

    /// The asset with its offers, when there are any.
    #[must_use]
    pub fn offers_of(&self, asset: &AssetId) -> Option<&Offered> {
        self.offers.all().get(asset)
    }

    /// What a selector is found by, as things are now.
    pub(super) fn choose(&self, selector: &[Criterion]) -> FoundBy {
        self.selectors.choose(selector, self.assets().map(Arc::as_ref))
    }

    /// The anchor of a selector that is found so.
    pub(super) fn anchor(&self, selector: &[Criterion], found_by: FoundBy) -> Anchor {
        self.selectors.anchor(selector, found_by)
    }

    /// The anchor of a definition that is there.
    pub(super) fn anchor_of(&self, id: &ContractDefinitionId) -> Option<&Anchor> {
        self.definitions.get(id).map(|offering| &offering.anchor)
    }

    /// Definitions that select an asset with these fields.
    pub(super) fn selecting(&self, asset: &Asset) -> impl Iterator<Item = &Arc<Offering>> {
        let fields = asset.fields();
        let found = self.selectors.definitions_of(&fields, &asset.id);
        let selects = move |offering: &&Arc<Offering>| fields.meet(&offering.definition.definition.assets_selector);
        found.into_iter().filter_map(move |id| self.definitions.get(&id)).filter(selects)
    }

    /// Assets that meet a selector with this anchor.
    pub(super) fn selected<'a>(&'a self, anchor: &Anchor, selector: &'a [Criterion]) -> impl Iterator<Item = &'a Arc<Rendered<Asset>>> {
        let found = match self.selectors.assets_of(anchor) {
            Some(ids) => Either::Left(ids.into_iter().filter_map(move |id| self.assets.get(&id))),
            None => Either::Right(self.assets.values()),
        };
        found.filter(move |asset| asset.value().fields().meet(selector))
    }

    /// Assets that have an offer by this definition.
    pub(super) fn offered_by(&self, id: &ContractDefinitionId) -> Vec<AssetId> {
        let Some(anchor) = self.anchor_of(id) else { return Vec::new() };
        let has = |asset: &AssetId| self.offers_of(asset).is_some_and(|offered| offered.offers().contains_key(id));
        match self.selectors.assets_of(anchor) {
            Some(ids) => ids.into_iter().filter(has).collect(),
            None => self.offered().keys().filter(|asset| has(asset)).cloned().collect(),
        }
    }

    pub(super) fn put_asset(&mut self, asset: &Arc<Asset>) {
        self.remove_asset(&asset.id);
        self.bytes += size::of_asset(asset);
        let rendered = Rendered::new(asset);
        self.assets.insert_mut(asset.id.clone(), rendered.clone());
        self.selectors.add_asset(asset);
        for offering in self.selecting(asset).cloned().collect::<Vec<_>>() {
            let access = self.policies.get(&offering.definition.definition.access_policy_id);
            self.offers.add(&rendered, &offering, access);
        }
    }

    pub(super) fn remove_asset(&mut self, id: &AssetId) {
        let Some(old) = self.assets.get(id).cloned() else { return };
        self.bytes -= size::of_asset(old.value());
        self.selectors.remove_asset(old.value());
        self.assets.remove_mut(id);
        self.offers.remove_asset(id);
    }

    pub(super) fn put_policy(&mut self, policy: &Arc<PolicyDefinition>) {
        let used = self.access_users.contains_key(&policy.id);
        if used {
            self.count_operands(&policy.id, false);
        }
        self.forget_atoms(&policy.id);
        let shared = Arc::new(PolicyDefinition { policy: self.atoms.share(&policy.policy), ..policy.as_ref().clone() });
        let rendered = Rendered::new(&shared);
        self.offers.judge_by(&policy.id, Some(&rendered));
        self.policies.insert_mut(policy.id.clone(), rendered);
        if used {
            self.count_operands(&policy.id, true);
        }
    }

    pub(super) fn remove_policy(&mut self, id: &PolicyDefinitionId) {
        if self.access_users.contains_key(id) {
            self.count_operands(id, false);
        }
        self.forget_atoms(id);
        self.offers.judge_by(id, None);
        self.policies.remove_mut(id);
    }

    fn forget_atoms(&mut self, policy: &PolicyDefinitionId) {
        if let Some(old) = self.policies.get(policy) {
            self.atoms.forget(&old.value().policy);
        }
    }

    pub(super) fn put_definition(&mut self, new: &Arc<OfferDefinition>) {
        let definition = &new.definition;
        let old = self.take_definition(&definition.id);
        self.bytes += size::of_definition(definition);
        let selector = &definition.assets_selector;
        let anchor = self.anchor(selector, new.found_by.unwrap_or_else(|| self.choose(selector)));
        self.selectors.add(&definition.id, &anchor, self.assets.values().map(|asset| asset.value().as_ref()));
        if let Some(old) = old {
            self.selectors.release(&old.anchor);
        }
        let offering = Arc::new(Offering { definition: new.clone(), anchor });
        self.definitions.insert_mut(definition.id.clone(), offering.clone());
        for policy in [&definition.access_policy_id, &definition.contract_policy_id] {
            self.users.add(policy, definition.id.clone());
        }
        let access = &definition.access_policy_id;
        let users = self.access_users.get(access).copied().unwrap_or(0);
        self.access_users.insert_mut(access.clone(), users + 1);
        if users == 0 {
            self.count_operands(access, true);
        }
        let selected: Vec<_> = self.selected(&offering.anchor, selector).cloned().collect();
        for asset in selected {
            self.offers.add(&asset, &offering, self.policies.get(access));
        }
    }

    pub(super) fn remove_definition(&mut self, id: &ContractDefinitionId) {
        if let Some(old) = self.take_definition(id) {
            self.selectors.release(&old.anchor);
        }
    }

    /// Removes a definition with its offers, and leaves its property to be released.
    fn take_definition(&mut self, id: &ContractDefinitionId) -> Option<Arc<Offering>> {
        let old = self.definitions.get(id).cloned()?;
        for asset in self.offered_by(id) {
            self.offers.remove(&asset, id);
        }
        self.selectors.remove(id, &old.anchor);
        self.definitions.remove_mut(id);
        let definition = &old.definition.definition;
        self.bytes -= size::of_definition(definition);
        for policy in [&definition.access_policy_id, &definition.contract_policy_id] {
            self.users.remove(policy, id);
        }
        let access = &definition.access_policy_id;
        match self.access_users.get(access).copied() {
            Some(users) if users > 1 => {
                self.access_users.insert_mut(access.clone(), users - 1);
            }
            Some(_) | None => {
                self.count_operands(access, false);
                self.access_users.remove_mut(access);
            }
        }
        Some(old)
    }

    #[cfg(test)]
    pub(super) fn pretend_more_offers(&mut self, more: usize) {
        self.offers.pretend_more(more);
    }

    #[cfg(test)]
    pub(super) const fn pretend_more_bytes(&mut self, more: usize) {
        self.bytes += more;
    }

    #[cfg(test)]
    pub(super) fn pretend_more_listed(&mut self, more: usize) {
        self.selectors.pretend_more_listed(more);
    }

    #[cfg(test)]
    pub(super) fn pretend_more_values(&mut self, path: &str, more: usize) {
        self.selectors.pretend_more_values(path, more);
    }

    #[cfg(test)]
    pub(super) fn finds_nothing(&self) -> bool {
        self.selectors.is_empty()
    }

    /// Adds or takes away the operands of an access policy; one that is not there has none.
    fn count_operands(&mut self, policy: &PolicyDefinitionId, add: bool) {
        let Some(policy) = self.policy(policy).cloned() else {
            return;
        };
        let operands: BTreeSet<&str> = policy.policy.atomic_constraints().map(|constraint| constraint.left_operand.as_str()).collect();
        for operand in operands {
            let now = self.access_operands.get(operand).copied().unwrap_or(0);
            let then = if add { now + 1 } else { now.saturating_sub(1) };
            if then == 0 {
                self.access_operands.remove_mut(operand);
            } else {
                self.access_operands.insert_mut(operand.to_owned(), then);
            }
        }
    }
}
