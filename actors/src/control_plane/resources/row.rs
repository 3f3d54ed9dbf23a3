//! What pages of a catalog read of an asset with its offers.

use super::{Offering, Rendered, offer_id::write_offer_id};
use cellspace_schemas::management::Asset;
use smallvec::SmallVec;
use std::sync::Arc;

/// An asset with some of its offers. The ids are in one piece of memory: a page reads many of these, and most of its time would go by waiting for memory.
#[derive(Debug, Clone)]
pub struct Row {
    asset: Arc<Rendered<Asset>>,
    is_catalog: bool,
    /// Whether the asset says which data planes it is for.
    has_hints: bool,
    /// The asset's id, then the id and the terms of each offer.
    text: Box<str>,
    id_end: usize,
    /// Where the id and the terms of each offer end.
    ends: SmallVec<[(usize, usize); 1]>,
}

impl Row {
    /// Of an asset with these offers.
    pub fn new<'a>(asset: &Arc<Rendered<Asset>>, offers: impl Iterator<Item = &'a Offering>) -> Self {
        let value = asset.value();
        let (mut text, mut ends) = (value.id.to_string(), SmallVec::new());
        for offering in offers {
            write_offer_id(&mut text, &offering.definition.definition.id, &value.id, offering.definition.offer_key);
            let id_end = text.len();
            text.push_str(offering.definition.definition.contract_policy_id.as_str());
            ends.push((id_end, text.len()));
        }
        let has_hints = value.dataplane_metadata.as_ref().is_some_and(|m| !(m.labels.is_empty() && m.profiles.is_empty()));
        Self { asset: asset.clone(), is_catalog: value.is_catalog, has_hints, text: text.into(), id_end: value.id.as_str().len(), ends }
    }

    /// The asset.
    #[must_use]
    pub const fn asset(&self) -> &Arc<Rendered<Asset>> {
        &self.asset
    }

    /// The asset's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text.get(..self.id_end).unwrap_or_default()
    }

    /// Whether the asset is the catalog of another service.
    #[must_use]
    pub const fn is_catalog(&self) -> bool {
        self.is_catalog
    }

    /// Whether the asset says which data planes it is for.
    #[must_use]
    pub const fn has_hints(&self) -> bool {
        self.has_hints
    }

    /// The id of each offer, and the id of the policy that are its terms.
    pub fn offers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = self.id_end;
        self.ends.iter().filter_map(move |&(id_end, terms_end)| {
            let offer = Some((self.text.get(start..id_end)?, self.text.get(id_end..terms_end)?));
            start = terms_end;
            offer
        })
    }
}
