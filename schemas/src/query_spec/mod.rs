//! Queries over lists (`QuerySpec`): criteria that must all hold, sort, page. Evaluated over the JSON view of the entities.
//!
//! The same shape serves the Management API (with `@context` and `@type`) and the Identity and Issuer APIs (without).

mod criterion;
mod parse;
mod path;

pub use criterion::{Criterion, Operator};
pub use path::{FieldPath, PathRules};

use serde_json::Value;
use std::cmp::Ordering;

/// Page size when none is asked for.
pub const DEFAULT_LIMIT: usize = 50;
/// Largest page; a larger limit is taken as this one.
pub const MAX_LIMIT: usize = 10_000;
/// Criteria of one query at most.
pub const MAX_CRITERIA: usize = 32;
/// Values of an `in` list at most.
pub const MAX_LIST: usize = 1_000;

/// Direction of the sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortOrder {
    /// Smallest first.
    #[default]
    Asc,
    /// Largest first.
    Desc,
}

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub struct QuerySpec {
    /// Matches left out at the start.
    pub offset: usize,
    /// Matches returned at most.
    pub limit: usize,
    /// Field to sort by; without one the order is that of the entities.
    pub sort: Option<FieldPath>,
    /// Its direction.
    pub order: SortOrder,
    /// All must hold.
    pub filter: Vec<Criterion>,
}

impl Default for QuerySpec {
    fn default() -> Self {
        Self { offset: 0, limit: DEFAULT_LIMIT, sort: None, order: SortOrder::Asc, filter: Vec::new() }
    }
}

impl QuerySpec {
    /// Whether the entity with this view meets all criteria.
    #[must_use]
    pub fn matches(&self, view: &Value) -> bool {
        self.filter.iter().all(|criterion| criterion.matches(view))
    }

    /// The page of `items` that the query asks for. `view` gives the fields that are compared; it is not called when neither filter nor sort
    /// needs it. Entities without the sort field come last, in either direction.
    pub fn page<T>(&self, items: impl IntoIterator<Item = T>, view: impl Fn(&T) -> Value) -> Vec<T> {
        if self.filter.is_empty() && self.sort.is_none() {
            return items.into_iter().skip(self.offset).take(self.limit).collect();
        }
        let Some(sort) = &self.sort else {
            return items.into_iter().filter(|item| self.matches(&view(item))).skip(self.offset).take(self.limit).collect();
        };
        let mut found: Vec<(Option<Value>, T)> = items
            .into_iter()
            .filter_map(|item| {
                let view = view(&item);
                self.matches(&view).then(|| (sort.first(&view).cloned(), item))
            })
            .collect();
        found.sort_by(|(a, _), (b, _)| match (a, b) {
            (Some(a), Some(b)) => {
                let order = criterion::compare(a, b).unwrap_or(Ordering::Equal);
                if self.order == SortOrder::Desc { order.reverse() } else { order }
            }
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        found.into_iter().map(|(_, item)| item).skip(self.offset).take(self.limit).collect()
    }
}
