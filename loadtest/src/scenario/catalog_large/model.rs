//! What each counterparty must see of a large catalog: kept by the client, and never taken from the platform.

use super::shape::{Selector, Shape, Viewer, asset_id};
use crate::{http::Answer, scenario::catalog::answer::Catalog};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, HashSet};

/// A definition of the model.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub selector: Selector,
    pub policy: usize,
}

/// A catalog as it must be now.
#[derive(Debug)]
pub struct Model {
    pub shape: Shape,
    pub definitions: Vec<Definition>,
    /// Who fulfils each access policy.
    pub admits: Vec<Option<Viewer>>,
    /// What changed assets say of themselves; 0 for all others.
    pub revisions: BTreeMap<usize, u64>,
}

/// An asset as a counterparty must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub asset: usize,
    pub revision: u64,
    pub offers: usize,
}

impl Model {
    pub fn new(shape: Shape) -> Self {
        let definition = |n| Definition { selector: shape.selector(n), policy: shape.policy(n) };
        let admits = (0..shape.policies).map(|policy| shape.admits(policy)).collect();
        Self { shape, definitions: (0..shape.definitions).map(definition).collect(), admits, revisions: BTreeMap::new() }
    }

    /// All that a counterparty sees, in the order of the catalog.
    pub fn seen_by(&self, viewer: Viewer) -> Vec<Expected> {
        let mut offers = BTreeMap::<usize, usize>::new();
        for definition in &self.definitions {
            if self.admits.get(definition.policy).copied().flatten() == Some(viewer) {
                for asset in definition.selector.selects(self.shape.definitions) {
                    *offers.entry(asset).or_default() += 1;
                }
            }
        }
        let revision = |asset| self.revisions.get(&asset).copied().unwrap_or(0);
        offers.into_iter().map(|(asset, offers)| Expected { asset, revision: revision(asset), offers }).collect()
    }
}

/// Holds a page against what must be on it; every offer has an id of its own.
///
/// # Errors
/// What is different.
pub fn compare(answer: &Answer, expected: &[Expected]) -> Result<()> {
    let catalog: Catalog<'_> = serde_json::from_slice(&answer.body).with_context(|| format!("no catalog: {}", answer.told()))?;
    let mut ids = HashSet::new();
    for (n, dataset) in catalog.dataset.iter().enumerate() {
        let Some(expected) = expected.get(n) else { break };
        let asset = asset_id(expected.asset);
        ensure!(dataset.id == asset, "dataset {n} of the page is {} and not {asset}", dataset.id);
        ensure!(dataset.revision == expected.revision, "{asset} shows revision {} and not {}", dataset.revision, expected.revision);
        ensure!(dataset.offers.len() == expected.offers, "{asset} has {} offers and not {}", dataset.offers.len(), expected.offers);
        ensure!(dataset.offers.iter().all(|offer| ids.insert(offer.id)), "an offer of {asset} has the id of another one");
    }
    let (found, wanted) = (catalog.dataset.len(), expected.len());
    ensure!(found == wanted, "the page has {found} datasets and not {wanted}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use serde_json::{Value, json};

    fn answer(datasets: &[(usize, u64, &[&str])]) -> Answer {
        let dataset = |(n, revision, offers): &(usize, u64, &[&str])| {
            let offers: Vec<Value> = offers.iter().map(|id| json!({"@id": id})).collect();
            json!({"@id": asset_id(*n), "revision": revision, "hasPolicy": offers})
        };
        let body = json!({"dataset": datasets.iter().map(dataset).collect::<Vec<_>>()}).to_string();
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::from(body) }
    }

    #[test]
    fn a_page_is_what_it_must_be_or_is_wrong() {
        let expected = [Expected { asset: 1, revision: 0, offers: 1 }, Expected { asset: 3, revision: 2, offers: 2 }];
        assert!(compare(&answer(&[(1, 0, &["a"]), (3, 2, &["b", "c"])]), &expected).is_ok());
        for (what, wrong) in [
            ("an asset is missing", answer(&[(1, 0, &["a"])])),
            ("one is there twice", answer(&[(1, 0, &["a"]), (1, 0, &["d"]), (3, 2, &["b", "c"])])),
            ("one too many", answer(&[(1, 0, &["a"]), (3, 2, &["b", "c"]), (4, 0, &["d"])])),
            ("another order", answer(&[(3, 2, &["b", "c"]), (1, 0, &["a"])])),
            ("an old revision", answer(&[(1, 0, &["a"]), (3, 1, &["b", "c"])])),
            ("an offer is missing", answer(&[(1, 0, &["a"]), (3, 2, &["b"])])),
            ("an offer is there twice", answer(&[(1, 0, &["a"]), (3, 2, &["b", "b"])])),
        ] {
            assert!(compare(&wrong, &expected).is_err(), "{what}");
        }
    }

    #[test]
    fn changes_change_what_is_seen() {
        let mut model = Model::new(Shape { definitions: 10_000, policies: 200, end: true });
        let (everywhere, end) = (model.seen_by(Viewer::Everywhere), model.seen_by(Viewer::AtTheEnd));
        assert_eq!((end.len(), end.first().map(|first| first.asset)), (50, Some(9_950)));
        assert!(everywhere.len() > 1_000, "{}", everywhere.len());
        let small = Model::new(Shape { definitions: 100, policies: 100, end: false }).seen_by(Viewer::Everywhere);
        assert!(small.len() > 30 && small.iter().any(|seen| seen.offers > 1), "{small:?}");
        assert_eq!(everywhere.first().copied(), Some(Expected { asset: 0, revision: 0, offers: 1 }));
        model.revisions.insert(0, 7);
        model.admits[0] = None;
        assert_ne!(model.seen_by(Viewer::Everywhere).first().map(|first| first.asset), Some(0));
        model.admits[0] = Some(Viewer::Everywhere);
        assert_eq!(model.seen_by(Viewer::Everywhere).first().copied(), Some(Expected { asset: 0, revision: 7, offers: 1 }));
        model.definitions[0].selector = Selector::Id(2);
        assert_ne!(model.seen_by(Viewer::Everywhere).first().map(|first| first.asset), Some(0));
    }
}
