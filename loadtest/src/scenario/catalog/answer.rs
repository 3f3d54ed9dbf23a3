//! As much of a catalog's answer as is held against a model.

use serde::Deserialize;

/// The catalog.
#[derive(Deserialize)]
pub struct Catalog<'a> {
    #[serde(borrow, default)]
    pub dataset: Vec<Dataset<'a>>,
}

/// A dataset; `revision` is a property that the model counts up.
#[derive(Deserialize)]
pub struct Dataset<'a> {
    #[serde(rename = "@id")]
    pub id: &'a str,
    #[serde(rename = "https://w3id.org/edc/v0.0.1/ns/revision", alias = "revision")]
    pub revision: u64,
    #[serde(borrow, rename = "hasPolicy")]
    pub offers: Vec<Offer<'a>>,
}

/// An offer of it.
#[derive(Deserialize)]
pub struct Offer<'a> {
    #[serde(rename = "@id")]
    pub id: &'a str,
}
