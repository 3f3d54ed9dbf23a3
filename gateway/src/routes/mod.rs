//! The route table: one module per API, each with a `routes()` list.

pub mod prefixes;

use crate::http::Route;

/// Every operation of the platform.
#[must_use]
pub fn all() -> Vec<Route> {
    Vec::new()
}
