//! Which definitions may select an asset, and which assets a definition may select, without looking at all of them.
//!
//! A definition is found by one of its criteria, its anchor: the ids that it names, the values that it wants of a property, or what the property's text
//! must begin with. Assets are kept by the properties that are some definition's anchor, and by no others. What is found is a little more than what is
//! selected: whoever asks compares.

use super::{
    MAX_VALUES, MAX_VALUES_OF_ASSET,
    postings::{Ids, Postings},
};
use cellspace_schemas::{
    AssetId, ContractDefinitionId,
    management::{Asset, AssetFields},
    query_spec::{Criterion, FieldPath, Lookup},
};
use itertools::{Either, Itertools};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Properties by which assets are kept, at most: each is looked at when an asset changes.
const MAX_PROPERTIES: usize = 64;

/// A property, and how its values are looked up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Property {
    path: Arc<FieldPath>,
    lookup: Lookup,
}

/// By which of its criteria a definition is found. What else is there when it is written decides, so it is kept with the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundBy {
    /// The one at this place of the selector.
    Criterion(usize),
    /// None: it is compared with every asset.
    Nothing,
}

/// What a definition is found by.
#[derive(Debug, Clone)]
pub(super) enum Anchor {
    /// Ids of assets, whether they exist or not.
    Named(Vec<AssetId>),
    /// Keys of a property.
    Keyed(Property, Vec<String>),
    /// Nothing: it is compared with every asset.
    Loose,
}

impl Anchor {
    fn of(criterion: &Criterion) -> Option<Self> {
        if let Some(ids) = criterion.ids() {
            // What can be no id is the id of none.
            return Some(Self::Named(ids.iter().filter_map(|id| AssetId::new(id).ok()).collect()));
        }
        let (property, keys) = keyed(criterion)?;
        Some(Self::Keyed(property, keys))
    }

    /// Ids and keys that it lists.
    pub(super) const fn listed(&self) -> usize {
        match self {
            Self::Named(ids) => ids.len(),
            Self::Keyed(_, keys) => keys.len(),
            Self::Loose => 0,
        }
    }
}

/// The property that a criterion is about, and its keys.
fn keyed(criterion: &Criterion) -> Option<(Property, Vec<String>)> {
    let (lookup, keys) = criterion.keys()?;
    Some((Property { path: Arc::new(criterion.left.clone()), lookup }, keys))
}

/// Definitions and assets by one property.
#[derive(Debug, Clone)]
struct Index {
    property: Property,
    definitions: Postings<String, ContractDefinitionId>,
    assets: Postings<String, AssetId>,
    /// Values that these assets have of it.
    values: usize,
    /// Definitions whose anchor this is.
    anchored: usize,
}

impl Index {
    /// What an asset has of the property.
    fn values<'a>(&self, fields: &'a AssetFields<'_>) -> Vec<&'a Value> {
        fields.values(&self.property.path)
    }

    /// Keys of these values, once each.
    fn keys(&self, values: Vec<&Value>) -> Vec<String> {
        values.into_iter().filter_map(|value| self.property.lookup.key(value)).sorted().dedup().collect()
    }

    fn definitions_at<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a ContractDefinitionId> {
        let found = match self.property.lookup {
            Lookup::Equal => Either::Left(self.definitions.at(key).into_iter()),
            Lookup::Beginning => Either::Right(self.definitions.beginnings_of(key)),
        };
        found.flat_map(Ids::iter)
    }

    fn assets_at<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a AssetId> {
        let found = match self.property.lookup {
            Lookup::Equal => Either::Left(self.assets.at(key).into_iter()),
            Lookup::Beginning => Either::Right(self.assets.beginning_with(key)),
        };
        found.flat_map(Ids::iter)
    }
}

/// The index.
#[derive(Debug, Clone, Default)]
pub(super) struct Selectors {
    named: Postings<AssetId, ContractDefinitionId>,
    keyed: RedBlackTreeMapSync<Property, Index>,
    loose: Ids<ContractDefinitionId>,
    /// Ids and keys that anchors list.
    listed: usize,
}

impl Selectors {
    /// Chooses what a selector is found by: ids if it names any, else the keys that fewest definitions have by now. `assets` are those that are there.
    pub(super) fn choose<'a>(&self, selector: &[Criterion], assets: impl Iterator<Item = &'a Asset>) -> FoundBy {
        if let Some(named) = selector.iter().position(|criterion| criterion.ids().is_some()) {
            return FoundBy::Criterion(named);
        }
        let candidates = selector.iter().enumerate().filter_map(|(at, criterion)| {
            let (property, keys) = keyed(criterion)?;
            Some(match self.keyed.get(&property) {
                Some(index) => (keys.iter().filter_map(|key| index.definitions.at(key)).map(Ids::size).sum::<usize>(), at, None),
                None => (0, at, Some(property)),
            })
        });
        // One new property is looked at, since that looks at all assets.
        let mut assets = Some(assets);
        let mut has_room = |new: &Property| assets.take().is_some_and(|assets| self.has_room(new, assets));
        let found = candidates.sorted_by_key(|(alike, ..)| *alike).find(|(.., new)| new.as_ref().is_none_or(&mut has_room));
        found.map_or(FoundBy::Nothing, |(_, at, _)| FoundBy::Criterion(at))
    }

    /// Whether assets can be kept by one property more.
    fn has_room<'a>(&self, property: &Property, mut assets: impl Iterator<Item = &'a Asset>) -> bool {
        let mut all = self.values();
        self.keyed.size() < MAX_PROPERTIES
            && assets.all(|asset| {
                let values = asset.fields().values(&property.path).len();
                all += values;
                values <= MAX_VALUES_OF_ASSET && all <= MAX_VALUES
            })
    }

    /// The anchor of a selector that is found so.
    pub(super) fn anchor(&self, selector: &[Criterion], found_by: FoundBy) -> Anchor {
        let FoundBy::Criterion(at) = found_by else { return Anchor::Loose };
        match selector.get(at).and_then(Anchor::of) {
            Some(Anchor::Keyed(property, keys)) => {
                // One path for all that share it.
                let property = self.keyed.get(&property).map_or(property, |index| index.property.clone());
                Anchor::Keyed(property, keys)
            }
            Some(anchor) => anchor,
            None => Anchor::Loose,
        }
    }

    /// Values that assets are kept by.
    pub(super) fn values(&self) -> usize {
        self.keyed.values().map(|index| index.values).sum()
    }

    /// How many values an asset has of each property that assets are kept by.
    pub(super) fn values_of(&self, asset: &Asset) -> impl Iterator<Item = usize> {
        let fields = asset.fields();
        self.keyed.values().map(move |index| index.values(&fields).len())
    }

    /// Definitions that are compared with every asset.
    pub(super) fn loose(&self) -> usize {
        self.loose.size()
    }

    /// Ids and keys that the anchors of all definitions list.
    pub(super) const fn listed(&self) -> usize {
        self.listed
    }

    /// Adds a definition with its anchor; `assets` are those that are there.
    pub(super) fn add<'a>(&mut self, id: &ContractDefinitionId, anchor: &Anchor, assets: impl Iterator<Item = &'a Asset>) {
        self.listed += anchor.listed();
        match anchor {
            Anchor::Named(ids) => {
                for asset in ids {
                    self.named.add(asset, id.clone());
                }
            }
            Anchor::Keyed(property, keys) => {
                if !self.keyed.contains_key(property) {
                    self.keep(property, assets);
                }
                let Some(index) = self.keyed.get_mut(property) else { return };
                index.anchored += 1;
                for key in keys {
                    index.definitions.add(key, id.clone());
                }
            }
            Anchor::Loose => self.loose.insert_mut(id.clone()),
        }
    }

    /// Keeps all assets by a property from now on.
    fn keep<'a>(&mut self, property: &Property, assets: impl Iterator<Item = &'a Asset>) {
        let mut index =
            Index { property: property.clone(), definitions: Postings::default(), assets: Postings::default(), values: 0, anchored: 0 };
        for asset in assets {
            let fields = asset.fields();
            let values = index.values(&fields);
            index.values += values.len();
            for key in index.keys(values) {
                index.assets.add(&key, asset.id.clone());
            }
        }
        self.keyed.insert_mut(property.clone(), index);
    }

    /// Takes a definition away that was added with this anchor; the property is kept until it is [released](Self::release), in case it is needed again.
    pub(super) fn remove(&mut self, id: &ContractDefinitionId, anchor: &Anchor) {
        self.listed -= anchor.listed();
        match anchor {
            Anchor::Named(ids) => {
                for asset in ids {
                    self.named.remove(asset, id);
                }
            }
            Anchor::Keyed(property, keys) => {
                let Some(index) = self.keyed.get_mut(property) else { return };
                index.anchored -= 1;
                for key in keys {
                    index.definitions.remove(key, id);
                }
            }
            Anchor::Loose => {
                self.loose.remove_mut(id);
            }
        }
    }

    /// Keeps assets no longer by the property of this anchor, unless a definition has it.
    pub(super) fn release(&mut self, anchor: &Anchor) {
        let Anchor::Keyed(property, _) = anchor else { return };
        if self.keyed.get(property).is_some_and(|index| index.anchored == 0) {
            self.keyed.remove_mut(property);
        }
    }

    /// Adds an asset.
    pub(super) fn add_asset(&mut self, asset: &Asset) {
        self.each_index(asset, |index, values, keys| {
            index.values += values;
            keys.iter().for_each(|key| index.assets.add(key, asset.id.clone()));
        });
    }

    /// Takes an asset away as it was added.
    pub(super) fn remove_asset(&mut self, asset: &Asset) {
        self.each_index(asset, |index, values, keys| {
            index.values -= values;
            keys.iter().for_each(|key| index.assets.remove(key, &asset.id));
        });
    }

    /// Changes each index of a property that the asset has, told how many values and which keys.
    fn each_index(&mut self, asset: &Asset, mut change: impl FnMut(&mut Index, usize, &[String])) {
        let fields = asset.fields();
        let values = self.keyed.values().map(|index| (index, index.values(&fields))).filter(|(_, values)| !values.is_empty());
        let found: Vec<_> = values.map(|(index, values)| (index.property.clone(), values.len(), index.keys(values))).collect();
        for (property, values, keys) in found {
            let Some(index) = self.keyed.get_mut(&property) else { continue };
            change(index, values, &keys);
        }
    }

    /// Definitions that may select the asset, once each.
    pub(super) fn definitions_of(&self, fields: &AssetFields<'_>, id: &AssetId) -> Vec<ContractDefinitionId> {
        let named = self.named.at(id).into_iter().flat_map(Ids::iter);
        let mut found: Vec<_> = named.chain(self.loose.iter()).cloned().collect();
        for index in self.keyed.values() {
            for key in index.keys(index.values(fields)) {
                found.extend(index.definitions_at(&key).cloned());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Assets that a definition with this anchor may select, once each; `None` for all of them.
    pub(super) fn assets_of(&self, anchor: &Anchor) -> Option<Vec<AssetId>> {
        match anchor {
            Anchor::Named(ids) => Some(ids.clone()),
            Anchor::Keyed(property, keys) => {
                let index = self.keyed.get(property)?;
                let found = keys.iter().flat_map(|key| index.assets_at(key));
                Some(found.sorted().dedup().cloned().collect())
            }
            Anchor::Loose => None,
        }
    }

    #[cfg(test)]
    pub(super) const fn pretend_more_listed(&mut self, more: usize) {
        self.listed += more;
    }

    #[cfg(test)]
    pub(super) fn pretend_more_values(&mut self, path: &str, more: usize) {
        let property = Property { path: Arc::new(path.parse().unwrap()), lookup: Lookup::Equal };
        self.keyed.get_mut(&property).unwrap().values += more;
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.keyed.is_empty() && self.loose.is_empty() && self.listed == 0
    }
}
