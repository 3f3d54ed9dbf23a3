//! The route table: one module per API, each with a `routes()` list.

pub mod prefixes;
pub mod token;
pub mod token_admin;

use crate::http::Route;

/// Every operation of the platform.
#[must_use]
pub fn all() -> Vec<Route> {
    let mut all = Vec::new();
    all.extend(token::routes());
    all.extend(token_admin::routes());
    all
}
