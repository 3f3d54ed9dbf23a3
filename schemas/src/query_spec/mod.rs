//! Queries over lists (`QuerySpec`): criteria that must all hold, sort, page. Evaluated over the JSON view of the entities.
//!
//! The same shape serves the Management API (with `@context` and `@type`) and the Identity and Issuer APIs (without).

mod criterion;
mod lookup;
mod order;
mod page;
mod parse;
mod path;

pub use criterion::{Criterion, Operator};
pub use lookup::Lookup;
pub use order::SORTED_CHARACTERS;
pub use page::{COUNTED, Cursor, Page};
pub use path::{EDC_NAMESPACE, FieldPath, PathRules};

use serde_json::Value;

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
    /// Field to sort by; without one the order is that of the ids. Entities without the field come last, in either direction.
    pub sort: Option<FieldPath>,
    /// Its direction.
    pub order: SortOrder,
    /// All must hold.
    pub filter: Vec<Criterion>,
    /// The page before; without one the list begins at its beginning.
    pub after: Option<Cursor>,
}

impl Default for QuerySpec {
    fn default() -> Self {
        Self { offset: 0, limit: DEFAULT_LIMIT, sort: None, order: SortOrder::Asc, filter: Vec::new(), after: None }
    }
}

impl QuerySpec {
    /// The same without criteria, for entities that are known to meet them all.
    #[must_use]
    pub fn unfiltered(&self) -> Self {
        Self { filter: Vec::new(), ..self.clone() }
    }

    /// Whether the entity with this view meets all criteria.
    #[must_use]
    pub fn matches(&self, view: &Value) -> bool {
        self.filter.iter().all(|criterion| criterion.matches(view))
    }
}
