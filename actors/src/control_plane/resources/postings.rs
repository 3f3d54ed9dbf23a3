//! Ids by what they have in common.

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::{borrow::Borrow, ops::Bound};

/// Ids in their order.
pub(super) type Ids<Id> = RedBlackTreeSetSync<Id>;

/// Ids by key.
#[derive(Debug, Clone)]
pub(super) struct Postings<K: Ord, Id: Ord>(RedBlackTreeMapSync<K, Ids<Id>>);

impl<K: Ord, Id: Ord> Default for Postings<K, Id> {
    fn default() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }
}

impl<K: Ord + Clone, Id: Ord + Clone> Postings<K, Id> {
    pub(super) fn add(&mut self, key: &K, id: Id) {
        if let Some(ids) = self.0.get_mut(key) {
            ids.insert_mut(id);
        } else {
            let mut ids = Ids::new_sync();
            ids.insert_mut(id);
            self.0.insert_mut(key.clone(), ids);
        }
    }

    pub(super) fn remove(&mut self, key: &K, id: &Id) {
        let Some(ids) = self.0.get_mut(key) else { return };
        ids.remove_mut(id);
        if ids.is_empty() {
            self.0.remove_mut(key);
        }
    }

    /// Those with this key.
    pub(super) fn at<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Ids<Id>>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<Id: Ord + Clone> Postings<String, Id> {
    /// Those with a key that begins with this.
    pub(super) fn beginning_with<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a Ids<Id>> {
        let from = self.0.range::<str, _>((Bound::Included(beginning), Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(beginning)).map(|(_, ids)| ids)
    }

    /// Those with a key that this text begins with.
    pub(super) fn beginnings_of<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Ids<Id>> {
        let mut upto = Some(text);
        std::iter::from_fn(move || {
            loop {
                let (key, ids) = self.0.range::<str, _>((Bound::Unbounded, Bound::Included(upto?))).next_back()?;
                let shared = common_beginning(key, text);
                // No longer beginning of the text has a key, and a shorter one lies before all that begins with it.
                if shared.len() < key.len() {
                    upto = Some(shared);
                } else {
                    upto = shared.char_indices().next_back().and_then(|(last, _)| shared.get(..last));
                    return Some(ids);
                }
            }
        })
    }
}

/// What both begin with, of `text`.
fn common_beginning<'a>(other: &str, text: &'a str) -> &'a str {
    let differs = text.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    let end = differs.map_or_else(|| text.len().min(other.len()), |((at, _), _)| at);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use itertools::Itertools;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(cellspace_schemas::testkit::proptest_config())]

        #[test]
        fn found_is_what_a_scan_finds(
            changes in prop::collection::vec((any::<bool>(), "[abé]{0,4}", 0..4_u8), 0..40), text in "[abé]{0,5}"
        ) {
            let (mut postings, mut model) = (Postings::default(), BTreeSet::new());
            for (add, key, id) in changes {
                if add {
                    postings.add(&key, id);
                    model.insert((key, id));
                } else {
                    postings.remove(&key, &id);
                    model.remove(&(key, id));
                }
            }
            let scanned = |found: &dyn Fn(&str) -> bool| model.iter().filter(|(key, _)| found(key)).map(|(_, id)| *id).sorted().collect::<Vec<_>>();
            let ids = |found: Vec<&Ids<u8>>| found.into_iter().flatten().copied().sorted().collect::<Vec<_>>();
            prop_assert_eq!(ids(postings.at(&text).into_iter().collect()), scanned(&|key| key == text));
            prop_assert_eq!(ids(postings.beginning_with(&text).collect()), scanned(&|key| key.starts_with(&text)));
            prop_assert_eq!(ids(postings.beginnings_of(&text).collect()), scanned(&|key| text.starts_with(key)));
            for (key, id) in model {
                postings.remove(&key, &id);
            }
            prop_assert!(postings.is_empty());
        }
    }
}
