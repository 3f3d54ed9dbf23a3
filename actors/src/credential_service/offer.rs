//! Offers of issuers (DCP 1.0, "Credential Offer"): kept, and shown to nobody but the participant's own side. Nothing follows by itself: which
//! credentials a participant asks for is decided by its own side.

use super::{Event, Refusal, State, agent::Decided};
use cellspace_cluster::{Decision, RowOf};
use cellspace_schemas::{Did, Timestamp, issuer::CredentialDefinitionId};
use cellspace_storage::RowKey;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Table of its rows.
pub const TABLE: &str = "offer";
/// Issuers whose offers are kept, one each; for another one the oldest goes.
pub const MAX_OFFERS: usize = 64;

/// What an issuer offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Who.
    pub issuer: Did,
    /// Credential objects of its metadata.
    pub credentials: Vec<CredentialDefinitionId>,
    /// When it came.
    #[serde(default)]
    pub received_at: Timestamp,
}

/// Changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OfferEvent {
    /// The issuer's newest offer.
    Kept(Arc<Offer>),
    /// It is gone.
    Removed(Did),
}

/// An offer came from its verified issuer.
///
/// # Errors
/// [`Refusal::NoContext`]
pub fn decide(state: &State, offer: &Offer, now: Timestamp) -> Decided {
    if state.active_context().is_none() {
        return Err(Refusal::NoContext.into());
    }
    let mut decision = Decision::action("credential.offered");
    if !state.offers.contains_key(&offer.issuer)
        && state.offers.size() >= MAX_OFFERS
        && let Some(oldest) = state.offers.values().min_by_key(|offer| offer.received_at)
    {
        decision = decision.event(Event::Offer(OfferEvent::Removed(oldest.issuer.clone())));
    }
    Ok(decision.event(Event::Offer(OfferEvent::Kept(Arc::new(Offer { received_at: now, ..offer.clone() })))))
}

/// Folds.
pub fn apply(state: &mut State, event: &OfferEvent) {
    match event {
        OfferEvent::Kept(offer) => state.offers.insert_mut(offer.issuer.clone(), offer.clone()),
        OfferEvent::Removed(issuer) => {
            state.offers.remove_mut(issuer);
        }
    }
}

/// Its row.
#[must_use]
pub fn row(event: &OfferEvent) -> RowOf {
    match event {
        OfferEvent::Kept(offer) => RowOf::Put(RowKey::new(TABLE, offer.issuer.as_str())),
        OfferEvent::Removed(issuer) => RowOf::Delete(RowKey::new(TABLE, issuer.as_str())),
    }
}
