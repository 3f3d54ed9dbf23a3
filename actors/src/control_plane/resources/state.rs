//! Assets, policies and definitions in memory, and which of them belong together: kept as they change, never searched for.

use super::{
    atoms::Atoms,
    offered::{Offering, Offerings},
    rendered::Rendered,
    views::{Offered, OfferedAssets, View, Views},
};
use cellspace_schemas::{
    AssetId, ContractDefinitionId, PolicyDefinitionId,
    management::{Asset, ContractDefinition, PolicyDefinition},
    query_spec::{Criterion, Operator},
};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

/// A contract definition with the key of its offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferDefinition {
    /// The definition.
    pub definition: ContractDefinition,
    /// Part of its offers' ids; made once, so that they stay the same.
    pub offer_key: Uuid,
}

type DefinitionSet = RedBlackTreeSetSync<ContractDefinitionId>;

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
    /// Definitions that name an asset by its id, whether it exists or not.
    exact: HashTrieMapSync<AssetId, DefinitionSet>,
    /// Definitions with any other selector.
    general: DefinitionSet,
    /// Definitions that use a policy, by policy.
    users: HashTrieMapSync<PolicyDefinitionId, DefinitionSet>,
    /// How many definitions use a policy as their access policy.
    access_users: HashTrieMapSync<PolicyDefinitionId, usize>,
    /// Left operands of access policies, with the number of policies that name them.
    access_operands: RedBlackTreeMapSync<String, usize>,
}

/// The ids that a selector names, when it does nothing else.
pub(super) fn exact_ids(selector: &[Criterion]) -> Option<Vec<AssetId>> {
    let [criterion] = selector else {
        return None;
    };
    let left = criterion.left.to_string();
    if !["id", "@id", "https://w3id.org/edc/v0.0.1/ns/id", "edc:id"].contains(&left.as_str()) {
        return None;
    }
    let id = |value: &Value| value.as_str().and_then(|text| AssetId::new(text).ok());
    match (criterion.operator, &criterion.right) {
        (Operator::Equal, value) => id(value).map(|id| vec![id]),
        (Operator::In, Value::Array(values)) => values.iter().map(id).collect(),
        _ => None,
    }
}

impl State {
    /// All assets, by id.
    #[must_use]
    pub fn assets(&self) -> impl ExactSizeIterator<Item = &Arc<Asset>> {
        Counted(self.assets.size(), self.assets.values().map(|asset| asset.value()))
    }

    /// All policy definitions, by id.
    #[must_use]
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<PolicyDefinition>> {
        Counted(self.policies.size(), self.policies.values().map(|policy| policy.value()))
    }

    /// All contract definitions, by id.
    #[must_use]
    pub fn definitions(&self) -> impl ExactSizeIterator<Item = &Arc<OfferDefinition>> {
        Counted(self.definitions.size(), self.definitions.values().map(|offering| &offering.definition))
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
        self.users.get(policy).and_then(|users| users.first())
    }

    /// How many definitions must be matched with every asset.
    #[must_use]
    pub fn general_selectors(&self) -> usize {
        self.general.size()
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

    /// What is offered, by access policy.
    pub fn views(&self) -> impl ExactSizeIterator<Item = &View> {
        self.offers.by_access()
    }

    /// The asset with its offers, when there are any.
    #[must_use]
    pub fn offers_of(&self, asset: &AssetId) -> Option<&Offered> {
        self.offers.all().get(asset)
    }

    pub(super) fn put_asset(&mut self, asset: &Arc<Asset>) {
        let rendered = Rendered::new(asset);
        self.assets.insert_mut(asset.id.clone(), rendered.clone());
        self.offers.remove_asset(&asset.id);
        let view = asset.to_json();
        let selects = |id: &&ContractDefinitionId| {
            self.definition(id).is_some_and(|d| d.definition.assets_selector.iter().all(|criterion| criterion.matches(&view)))
        };
        let exact = self.exact.get(&asset.id).into_iter().flat_map(|named| named.iter());
        let selecting = exact.chain(self.general.iter().filter(selects));
        let offerings: Vec<Arc<Offering>> = selecting.filter_map(|id| self.definitions.get(id).cloned()).collect();
        for offering in offerings {
            self.offers.add(&rendered, &offering);
        }
    }

    pub(super) fn remove_asset(&mut self, id: &AssetId) {
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
        self.policies.insert_mut(policy.id.clone(), Rendered::new(&shared));
        if used {
            self.count_operands(&policy.id, true);
        }
        self.renew_users(&policy.id);
    }

    pub(super) fn remove_policy(&mut self, id: &PolicyDefinitionId) {
        if self.access_users.contains_key(id) {
            self.count_operands(id, false);
        }
        self.forget_atoms(id);
        self.policies.remove_mut(id);
        self.renew_users(id);
    }

    fn forget_atoms(&mut self, policy: &PolicyDefinitionId) {
        if let Some(old) = self.policies.get(policy) {
            self.atoms.forget(&old.value().policy);
        }
    }

    /// Brings the offers that use the policy together with what it is now.
    fn renew_users(&mut self, policy: &PolicyDefinitionId) {
        for id in self.users.get(policy).cloned().unwrap_or_default().iter() {
            let Some(definition) = self.definition(id).cloned() else { continue };
            let offering = self.offering(&definition);
            for asset in self.selected_by(&definition) {
                self.add_offer(&asset, &offering);
            }
            self.definitions.insert_mut(id.clone(), offering);
        }
    }

    fn offering(&self, definition: &Arc<OfferDefinition>) -> Arc<Offering> {
        let policy = |id: &PolicyDefinitionId| self.policies.get(id).cloned();
        let (access, terms) = (policy(&definition.definition.access_policy_id), policy(&definition.definition.contract_policy_id));
        Arc::new(Offering { definition: definition.clone(), access, terms })
    }

    /// Assets that have an offer by this definition.
    fn selected_by(&self, definition: &OfferDefinition) -> Vec<AssetId> {
        let id = &definition.definition.id;
        let has = |asset: &AssetId| self.offers_of(asset).is_some_and(|offered| offered.offers.contains_key(id));
        match exact_ids(&definition.definition.assets_selector) {
            Some(ids) => ids.into_iter().filter(has).collect(),
            None => self.offered().keys().filter(|asset| has(asset)).cloned().collect(),
        }
    }

    pub(super) fn put_definition(&mut self, new: &Arc<OfferDefinition>) {
        let definition = &new.definition;
        self.remove_definition(&definition.id);
        let offering = self.offering(new);
        self.definitions.insert_mut(definition.id.clone(), offering.clone());
        for policy in [&definition.access_policy_id, &definition.contract_policy_id] {
            let mut users = self.users.get(policy).cloned().unwrap_or_default();
            users.insert_mut(definition.id.clone());
            self.users.insert_mut(policy.clone(), users);
        }
        let access = &definition.access_policy_id;
        let users = self.access_users.get(access).copied().unwrap_or(0);
        self.access_users.insert_mut(access.clone(), users + 1);
        if users == 0 {
            self.count_operands(access, true);
        }
        match exact_ids(&definition.assets_selector) {
            Some(ids) => {
                for asset in ids {
                    let mut named = self.exact.get(&asset).cloned().unwrap_or_default();
                    named.insert_mut(definition.id.clone());
                    self.add_offer(&asset, &offering);
                    self.exact.insert_mut(asset, named);
                }
            }
            None => {
                self.general.insert_mut(definition.id.clone());
                let matching = self.assets().filter(|asset| {
                    let view = if definition.assets_selector.is_empty() { Value::Null } else { asset.to_json() };
                    definition.assets_selector.iter().all(|criterion| criterion.matches(&view))
                });
                for asset in matching.map(|asset| asset.id.clone()).collect::<Vec<_>>() {
                    self.add_offer(&asset, &offering);
                }
            }
        }
    }

    pub(super) fn remove_definition(&mut self, id: &ContractDefinitionId) {
        let Some(old) = self.definition(id).cloned() else {
            return;
        };
        let definition = &old.definition;
        for asset in self.selected_by(&old) {
            self.offers.remove(&asset, id);
        }
        self.definitions.remove_mut(id);
        for policy in BTreeSet::from([&definition.access_policy_id, &definition.contract_policy_id]) {
            let mut users = self.users.get(policy).cloned().unwrap_or_default();
            users.remove_mut(id);
            if users.is_empty() {
                self.users.remove_mut(policy);
            } else {
                self.users.insert_mut(policy.clone(), users);
            }
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
        match exact_ids(&definition.assets_selector) {
            Some(ids) => {
                for asset in ids {
                    let mut named = self.exact.get(&asset).cloned().unwrap_or_default();
                    named.remove_mut(id);
                    if named.is_empty() {
                        self.exact.remove_mut(&asset);
                    } else {
                        self.exact.insert_mut(asset.clone(), named);
                    }
                }
            }
            None => {
                self.general.remove_mut(id);
            }
        }
    }

    fn add_offer(&mut self, asset: &AssetId, offering: &Arc<Offering>) {
        if let Some(asset) = self.assets.get(asset) {
            self.offers.add(asset, offering);
        }
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

/// An iterator over a map of known size.
struct Counted<I>(usize, I);

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;
    fn next(&mut self) -> Option<I::Item> {
        let next = self.1.next();
        self.0 -= usize::from(next.is_some());
        next
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0, Some(self.0))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}
