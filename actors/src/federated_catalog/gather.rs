//! The pages of a catalog as one catalog. Pure.

use super::{MAX_DATASETS, MAX_VIEW, agent::Sighted};
use cellspace_schemas::{Did, dsp::BaseUrl};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{collections::HashSet, sync::Arc};
use xxhash_rust::xxh3::xxh3_128;

/// What a catalog offers, in lists.
const LISTS: [&str; 2] = ["dataset", "catalog"];

/// The pages so far.
#[derive(Debug)]
pub(super) struct Gathered {
    target: Did,
    catalog: Option<Map<String, Value>>,
    /// Of which list, and which id.
    known: HashSet<(&'static str, String)>,
    items: usize,
    /// Of the answers.
    bytes: usize,
    /// Of the view's text.
    kept: usize,
    cut: bool,
}

/// Why there is no view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the counterparty did not answer with a catalog")]
    NoCatalog,
    #[error("the counterparty answered with the catalog of another one")]
    OfAnother,
    #[error("the counterparty's catalog is longer than {MAX_VIEW} bytes")]
    TooLong,
}

impl Gathered {
    /// No page of this target yet.
    pub(super) fn of(target: Did) -> Self {
        Self { target, catalog: None, known: HashSet::new(), items: 0, bytes: 0, kept: 0, cut: false }
    }

    /// How long the next page may be.
    pub(super) const fn room(&self) -> usize {
        MAX_VIEW.saturating_sub(self.bytes)
    }

    /// Whether there is anything yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.catalog.is_none()
    }

    /// Takes a page, in the form of the Management API, that had so many bytes.
    ///
    /// # Errors
    /// When it is none of the target's: whose a catalog is, offers are asked for with.
    pub(super) fn add(&mut self, page: Value, bytes: usize) -> Result<(), Unusable> {
        let Value::Object(mut page) = page else { return Err(Unusable::NoCatalog) };
        let whose = page.entry("participantId").or_insert_with(|| self.target.as_str().into());
        if whose.as_str() != Some(self.target.as_str()) {
            return Err(Unusable::OfAnother);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let items = LISTS.map(|list| (list, page.remove(list)));
        if self.catalog.is_none() {
            self.kept = length(&page);
        }
        let catalog = self.catalog.get_or_insert(page);
        for (list, items) in items {
            let Some(Value::Array(items)) = items else { continue };
            if !catalog.contains_key(list) {
                // As text: a name, a colon, the brackets and a comma.
                self.kept = self.kept.saturating_add(list.len() + 6);
            }
            let Value::Array(all) = catalog.entry(list).or_insert_with(|| Value::Array(Vec::new())) else { continue };
            for item in items {
                // What came on an earlier page is known.
                let id = item.get("@id").and_then(Value::as_str);
                if id.is_some_and(|id| !self.known.insert((list, id.to_owned()))) {
                    continue;
                }
                // And the comma.
                let kept = self.kept.saturating_add(length(&item)).saturating_add(1);
                if self.items >= MAX_DATASETS || kept > MAX_VIEW {
                    self.cut = true;
                    break;
                }
                (self.items, self.kept) = (self.items + 1, kept);
                all.push(item);
            }
        }
        Ok(())
    }

    /// There is more than can be read.
    pub(super) const fn cut(&mut self) {
        self.cut = true;
    }

    /// Whether nothing more is to be read.
    pub(super) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// The view of a target that takes messages here.
    ///
    /// # Errors
    /// When there is none, or it is too long with nothing in its lists.
    pub(super) fn sighted(self, address: BaseUrl) -> Result<Sighted, Unusable> {
        let catalog = Value::Object(self.catalog.ok_or(Unusable::NoCatalog)?).to_string();
        if catalog.len() > MAX_VIEW {
            return Err(Unusable::TooLong);
        }
        let digest = format!("{:032x}", xxh3_128(catalog.as_bytes()));
        Ok(Sighted { address, catalog: Arc::from(catalog), digest, cut: self.cut })
    }
}

/// Length as text.
fn length(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::LazyLock;

    static TARGET: LazyLock<Did> = LazyLock::new(|| "did:web:x".parse().unwrap());

    fn page(ids: std::ops::Range<usize>) -> Value {
        let datasets: Vec<Value> = ids.map(|n| json!({"@id": format!("d{n}"), "@type": "Dataset"})).collect();
        json!({"@type": "Catalog", "@id": "c", "participantId": "did:web:x", "dataset": datasets})
    }

    fn view(gathered: Gathered) -> (Value, bool) {
        let sighted = gathered.sighted("https://x.example".parse().unwrap()).unwrap();
        (serde_json::from_str(&sighted.catalog).unwrap(), sighted.cut)
    }

    #[test]
    fn pages_are_one_catalog() {
        let mut gathered = Gathered::of(TARGET.clone());
        assert!(gathered.is_empty() && gathered.room() == MAX_VIEW);
        gathered.add(page(0..3), 100).unwrap();
        // A dataset that moved to the next page meanwhile is there once; one without an id cannot be told from others.
        let mut second = page(2..5);
        second["catalog"] = json!([{"@type": "Catalog", "@id": "inner"}]);
        second["dataset"].as_array_mut().unwrap().extend([json!({"@type": "Dataset"}), json!({"@type": "Dataset"})]);
        gathered.add(second, 100).unwrap();
        assert_eq!((gathered.room(), gathered.is_cut()), (MAX_VIEW - 200, false));
        let (catalog, cut) = view(gathered);
        assert_eq!(
            (catalog["dataset"].as_array().map(Vec::len), catalog["catalog"].as_array().map(Vec::len), cut),
            (Some(7), Some(1), false)
        );
        assert_eq!((&catalog["@id"], &catalog["participantId"]), (&json!("c"), &json!("did:web:x")));
    }

    #[test]
    fn a_catalog_is_that_of_its_target() {
        for (whose, expected) in [
            (json!({}), Ok(())),
            (json!({"participantId": "did:web:x"}), Ok(())),
            (json!({"participantId": "did:web:y"}), Err(Unusable::OfAnother)),
            (json!({"participantId": ["did:web:x"]}), Err(Unusable::OfAnother)),
            (json!({"participantId": null}), Err(Unusable::OfAnother)),
        ] {
            let mut gathered = Gathered::of(TARGET.clone());
            assert_eq!(gathered.add(whose.clone(), 1), expected, "{whose}");
            assert_eq!(gathered.is_empty(), expected.is_err());
            if expected.is_ok() {
                assert_eq!(gathered.add(json!({"participantId": "did:web:y"}), 1), Err(Unusable::OfAnother), "nor is a later page");
                assert_eq!(view(gathered).0["participantId"], "did:web:x");
            }
        }
    }

    #[test]
    fn the_same_catalog_has_the_same_digest() {
        let digest = |pages: &[Value]| {
            let mut gathered = Gathered::of(TARGET.clone());
            pages.iter().for_each(|page| gathered.add(page.clone(), 1).unwrap());
            gathered.sighted("https://x.example".parse().unwrap()).unwrap().digest
        };
        assert_eq!(digest(&[page(0..4)]), digest(&[page(0..2), page(1..4)]));
        assert_ne!(digest(&[page(0..4)]), digest(&[page(0..3)]));
    }

    #[test]
    fn a_view_is_bounded() {
        let mut gathered = Gathered::of(TARGET.clone());
        gathered.add(page(0..MAX_DATASETS), 1).unwrap();
        assert!(!gathered.is_cut());
        gathered.add(page(MAX_DATASETS - 1..MAX_DATASETS), 1).unwrap();
        assert!(!gathered.is_cut(), "it is known");
        gathered.add(page(MAX_DATASETS..MAX_DATASETS + 1), 1).unwrap();
        assert!(gathered.is_cut());
        let (catalog, cut) = view(gathered);
        assert_eq!((catalog["dataset"].as_array().map(Vec::len), cut), (Some(MAX_DATASETS), true));
        let address: BaseUrl = "https://x.example".parse().unwrap();
        assert_eq!(Gathered::of(TARGET.clone()).sighted(address.clone()), Err(Unusable::NoCatalog));
        // What is kept may be longer than what was sent.
        let mut gathered = Gathered::of(TARGET.clone());
        let mut long = page(0..100);
        long["dataset"].as_array_mut().unwrap().iter_mut().for_each(|item| item["x"] = "x".repeat(MAX_VIEW / 50).into());
        gathered.add(long, 1).unwrap();
        let sighted = gathered.sighted(address.clone()).unwrap();
        assert!(sighted.cut && sighted.catalog.len() <= MAX_VIEW && sighted.catalog.len() > MAX_VIEW / 10 * 9, "{}", sighted.catalog.len());
        let mut long = page(0..1);
        long["x"] = "x".repeat(MAX_VIEW).into();
        let mut gathered = Gathered::of(TARGET.clone());
        gathered.add(long, 1).unwrap();
        assert_eq!(gathered.sighted(address), Err(Unusable::TooLong));
    }
}
