//! What a large catalog is made of, by number: assets, definitions with selectors of every kind, access policies, and who fulfils which.

use crate::world::Region;
use serde_json::{Value, json};

/// Offers that are visible to nobody but the counterparties of the end, when there are any.
pub const END: usize = 50;
/// Access policies that a counterparty fulfils.
pub const FULFILLED: usize = 20;
/// Assets that belong together: their definitions select among them.
const BLOCK: usize = 7;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// A counterparty that sees something everywhere.
    Everywhere,
    /// One that sees the last offers alone.
    AtTheEnd,
}

impl Viewer {
    /// The region that its credential names: what the policies ask for.
    pub const fn region(self) -> Region {
        match self {
            Self::Everywhere => Region(0),
            Self::AtTheEnd => Region(1),
        }
    }
}

/// Size of a catalog.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Definitions, and as many assets.
    pub definitions: usize,
    /// Distinct access policies; all of them are in use.
    pub policies: usize,
    /// Whether the last offers have policies of their own.
    pub end: bool,
}

/// How a definition selects its assets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// The asset of this number, by its id.
    Id(usize),
    /// The first two assets of this block, by a list of ids.
    Ids(usize),
    /// The assets of this block with its batch, by that property.
    Batch(usize),
    /// The assets of this block whose part begins in a way.
    Part(usize),
}

pub fn asset_id(n: usize) -> String {
    format!("asset-{n:06}")
}

pub fn definition_id(n: usize) -> String {
    format!("definition-{n:06}")
}

pub fn policy_id(n: usize) -> String {
    format!("access-{n:03}")
}

/// Properties of an asset that selectors compare.
pub fn properties(n: usize) -> [(&'static str, String); 2] {
    let (block, place) = (n / BLOCK, n % BLOCK);
    let batch = if place.is_multiple_of(2) { format!("batch-{block}") } else { format!("single-{n}") };
    let kind = if (3..6).contains(&place) { "a" } else { "z" };
    [("batch", batch), ("part", format!("part-{block:06}-{kind}{place}"))]
}

impl Selector {
    /// As a contract definition has it.
    pub fn criterion(self) -> Value {
        let (left, operator, right) = match self {
            Self::Id(n) => ("id", "=", json!(asset_id(n))),
            Self::Ids(block) => ("id", "in", json!([asset_id(block * BLOCK), asset_id(block * BLOCK + 1)])),
            Self::Batch(block) => ("batch", "=", json!(format!("batch-{block}"))),
            Self::Part(block) => ("part", "like", json!(format!("part-{block:06}-a%"))),
        };
        json!({"@type": "Criterion", "operandLeft": left, "operator": operator, "operandRight": right})
    }

    /// Numbers of the assets that it selects, as far as there are so many.
    pub fn selects(self, assets: usize) -> Vec<usize> {
        let within = |block: usize, places: &[usize]| places.iter().map(|place| block * BLOCK + place).collect();
        let selected: Vec<usize> = match self {
            Self::Id(n) => vec![n],
            Self::Ids(block) => within(block, &[0, 1]),
            Self::Batch(block) => within(block, &[0, 2, 4, 6]),
            Self::Part(block) => within(block, &[3, 4, 5]),
        };
        selected.into_iter().filter(|n| *n < assets).collect()
    }
}

impl Shape {
    /// First number of the end.
    fn end_begins(self) -> usize {
        if self.end { self.definitions.saturating_sub(END) } else { self.definitions }
    }

    /// Policies of what lies before the end.
    const fn common_policies(self) -> usize {
        if self.end { self.policies.saturating_sub(FULFILLED) } else { self.policies }
    }

    /// How the definition of this number selects.
    pub fn selector(self, n: usize) -> Selector {
        let block = n / BLOCK;
        match n % BLOCK {
            _ if n >= self.end_begins() => Selector::Id(n),
            4 => Selector::Batch(block),
            5 => Selector::Part(block),
            6 => Selector::Ids(block),
            _ => Selector::Id(n),
        }
    }

    /// The access policy of the definition of this number.
    pub fn policy(self, n: usize) -> usize {
        match n.checked_sub(self.end_begins()) {
            Some(n) => self.common_policies() + n % FULFILLED,
            None => n % self.common_policies().max(1),
        }
    }

    /// The first access policy from this number on that the viewer fulfils.
    pub fn first_admitting(self, viewer: Viewer, from: usize) -> Option<usize> {
        (from..self.policies).find(|policy| self.admits(*policy) == Some(viewer))
    }

    /// Who fulfils the access policy of this number, if anybody.
    pub const fn admits(self, policy: usize) -> Option<Viewer> {
        let common = self.common_policies();
        if policy >= common {
            Some(Viewer::AtTheEnd)
        } else if policy.is_multiple_of(common / FULFILLED) {
            Some(Viewer::Everywhere)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SHAPES: [Shape; 3] = [
        Shape { definitions: 100, policies: 100, end: false },
        Shape { definitions: 10_000, policies: 200, end: true },
        Shape { definitions: 100_000, policies: 100, end: false },
    ];

    #[test]
    fn everybody_fulfils_twenty_of_the_policies_and_all_are_in_use() {
        for shape in SHAPES {
            let used: BTreeSet<usize> = (0..shape.definitions).map(|n| shape.policy(n)).collect();
            assert_eq!(used, (0..shape.policies).collect());
            for viewer in [Viewer::Everywhere, Viewer::AtTheEnd] {
                let expected = if viewer == Viewer::Everywhere || shape.end { FULFILLED } else { 0 };
                assert_eq!(used.iter().filter(|policy| shape.admits(**policy) == Some(viewer)).count(), expected, "{shape:?}");
            }
            // What is visible everywhere is selected in every way.
            let kinds: BTreeSet<usize> = (0..shape.definitions)
                .filter(|n| shape.admits(shape.policy(*n)) == Some(Viewer::Everywhere))
                .map(|n| match shape.selector(n) {
                    Selector::Id(_) => 0,
                    Selector::Ids(_) => 1,
                    Selector::Batch(_) => 2,
                    Selector::Part(_) => 3,
                })
                .collect();
            assert_eq!(kinds.len(), 4, "{shape:?}");
        }
    }

    /// The model selects what the criteria say.
    #[test]
    fn selectors_say_what_they_select() {
        for shape in SHAPES {
            for n in (0..shape.definitions).step_by(997).chain(0..7) {
                let selector = shape.selector(n);
                let criterion = selector.criterion();
                let (operator, right) = (criterion["operator"].as_str().unwrap(), &criterion["operandRight"]);
                let holds = |asset: usize| {
                    let fields = properties(asset);
                    let left = criterion["operandLeft"].as_str().unwrap();
                    let value = fields.iter().find(|(name, _)| *name == left).map_or_else(|| asset_id(asset), |(_, value)| value.clone());
                    match operator {
                        "=" => *right == value,
                        "in" => right.as_array().unwrap().iter().any(|item| *item == value),
                        _ => value.starts_with(right.as_str().unwrap().trim_end_matches('%')),
                    }
                };
                let near = n.saturating_sub(20)..(n + 20).min(shape.definitions);
                assert_eq!(near.filter(|asset| holds(*asset)).collect::<Vec<_>>(), selector.selects(shape.definitions), "{selector:?}");
            }
        }
    }
}
