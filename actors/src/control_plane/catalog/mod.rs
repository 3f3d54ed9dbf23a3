//! The catalog: what a verified counterparty may see of what the participant offers, and how others' catalogs are asked for.

mod consumer;
mod offer_id;
mod page;
mod provider;
mod render;
mod resolve;

#[cfg(test)]
mod tests;

pub use consumer::{RequestError, request_catalog, request_dataset};
pub use page::{Cursor, Page, Viewer};
pub use provider::{CatalogAnswer, CatalogCall, ServeError, serve_catalog, serve_dataset, served_profiles};
pub use resolve::{VisibleOffer, policies_of, resolve_offer};
