//! Queries and pages of the fabric's lists.

use super::{Predicate, PredicateError};
use serde::{Deserialize, Serialize};

/// Entries on a page at most, and when a query does not say.
pub const MAX_LIMIT: u32 = 10_000;

/// A query as posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Text of the [`Predicate`].
    pub predicate: String,
    /// Entries to skip.
    #[serde(default)]
    pub offset: i64,
    /// Entries wanted; 0 or more than [`MAX_LIMIT`] means [`MAX_LIMIT`].
    #[serde(default)]
    pub limit: i64,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The predicate is wrong.
    #[error(transparent)]
    Predicate(#[from] PredicateError),
    /// A negative or absurd number.
    #[error("{0} must be a number from 0 to 4294967295")]
    Range(&'static str),
}

/// Which part of a result is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Entries to skip.
    pub offset: u32,
    /// Entries wanted, 1 to [`MAX_LIMIT`].
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { offset: 0, limit: MAX_LIMIT }
    }
}

impl Page {
    /// From the numbers of a query.
    ///
    /// # Errors
    /// [`QueryError::Range`] names the number that is out of range.
    pub fn new(offset: i64, limit: i64) -> Result<Self, QueryError> {
        let offset = u32::try_from(offset).map_err(|_| QueryError::Range("offset"))?;
        let limit = u32::try_from(limit).map_err(|_| QueryError::Range("limit"))?;
        Ok(Self { offset, limit: if limit == 0 { MAX_LIMIT } else { limit.min(MAX_LIMIT) } })
    }

    /// Value of the `Link` header (RFC 8288) with `self`, `first`, `last`, and `prev` and `next` where they exist.
    #[must_use]
    pub fn links(self, path: &str, total: usize) -> String {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let last = total.saturating_sub(1) / self.limit * self.limit;
        let link = |offset: u32, rel: &str| format!("<{path}?offset={offset}&limit={}>; rel=\"{rel}\"", self.limit);
        let mut links = vec![link(self.offset, "self")];
        if self.offset.saturating_add(self.limit) < total {
            links.push(link(self.offset + self.limit, "next"));
        }
        if self.offset > 0 {
            links.push(link(self.offset.saturating_sub(self.limit), "prev"));
        }
        links.push(link(0, "first"));
        links.push(link(last, "last"));
        links.join(", ")
    }
}

impl Query {
    /// Checks predicate and page.
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong.
    pub fn parse(&self) -> Result<(Predicate, Page), QueryError> {
        Ok((self.predicate.parse()?, Page::new(self.offset, self.limit)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(Page::new(0, 0), Ok(Page { offset: 0, limit: MAX_LIMIT }));
        assert_eq!(Page::new(5, 10_001), Ok(Page { offset: 5, limit: MAX_LIMIT }));
        assert_eq!(Page::new(-1, 1), Err(QueryError::Range("offset")));
        assert_eq!(Page::new(0, -1), Err(QueryError::Range("limit")));
    }

    #[test]
    fn links_lead_through_all_pages() {
        let page = Page { offset: 2, limit: 2 };
        assert_eq!(
            page.links("/tenants", 5),
            "</tenants?offset=2&limit=2>; rel=\"self\", </tenants?offset=4&limit=2>; rel=\"next\", \
             </tenants?offset=0&limit=2>; rel=\"prev\", </tenants?offset=0&limit=2>; rel=\"first\", </tenants?offset=4&limit=2>; rel=\"last\""
        );
        let only = Page { offset: 0, limit: 50 }.links("/tenants", 0);
        assert!(!only.contains("next") && !only.contains("prev") && only.contains("offset=0&limit=50>; rel=\"last\""));
    }
}
