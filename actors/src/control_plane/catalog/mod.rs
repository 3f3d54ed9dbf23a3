//! The catalog: what a verified counterparty may see of what the participant offers, and how others' catalogs are asked for.

mod consumer;
mod discovery;
mod merged;
mod page;
mod provider;
mod render;
mod resolve;

#[cfg(test)]
mod tests;

/// The id of a definition's offer of an asset.
#[cfg(test)]
pub(super) fn testing_offer_id(definition: &str, asset: &str, key: u128) -> String {
    super::resources::offer_id::offer_id(&definition.parse().unwrap(), &asset.parse().unwrap(), uuid::Uuid::from_u128(key))
}

pub(crate) use consumer::{Exchange, exchange, told};
pub use consumer::{RequestError, request_catalog, request_dataset};
pub use discovery::{discover, in_common};
pub use page::{Cursor, Page, Viewer};
pub use provider::{CatalogAnswer, CatalogCall, NotServed, serve_catalog, serve_dataset, served_profiles};
pub use resolve::{VisibleOffer, resolve_offer};
