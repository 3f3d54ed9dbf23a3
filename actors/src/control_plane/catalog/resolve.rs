//! From an offer id to the offer, for a counterparty that may see it.

use crate::{
    control_plane::{
        ControlPlaneState,
        policy::{Evaluation, ParticipantAgent, PolicyScope, is_fulfilled},
        resources::{OfferDefinition, offer_id},
    },
    settings::Settings,
};
use cellspace_schemas::{
    OfferId, Timestamp,
    management::Asset,
    odrl::{Policy, PolicyType, Rule},
};
use std::sync::Arc;

/// An offer that the counterparty may see.
#[derive(Debug, Clone)]
pub struct VisibleOffer {
    /// What is offered.
    pub asset: Arc<Asset>,
    /// The terms, as they stand in the catalog: a `Set` without parties and target.
    pub policy: Policy,
}

/// The terms as they are offered: an offer has at least one permission or prohibition (DSP 2025-1, contract schema), so that terms without any
/// are spelled as what they mean, the permission to use.
#[must_use]
pub(super) fn offered_terms(policy: &Policy) -> Policy {
    let mut terms =
        Policy { kind: PolicyType::Set, id: None, target: None, assigner: None, assignee: None, timestamp: None, ..policy.clone() };
    if terms.permission.is_empty() && terms.prohibition.is_empty() {
        terms.permission.push(Rule { action: "use".to_owned(), constraint: Vec::new(), duty: Vec::new() });
    }
    terms
}

/// The existing offer with this id, whoever asks.
fn existing<'s>(state: &'s ControlPlaneState, id: &OfferId) -> Option<(&'s Arc<OfferDefinition>, &'s Arc<Asset>)> {
    let (definition, asset, key) = offer_id::parts(id)?;
    let resources = &state.resources;
    let definition = resources.definition(&definition).filter(|definition| definition.offer_key == key)?;
    resources.offers_of(&asset).filter(|offered| offered.offers().contains_key(&definition.definition.id))?;
    Some((definition, resources.asset(&asset)?))
}

/// The offer, when the counterparty fulfils its access policy. An offer that is hidden from it and one that does not exist are the same `None`.
/// Whether it fulfils the contract policy is another question, asked with [`PolicyScope::ContractNegotiation`].
#[must_use]
pub fn resolve_offer(
    state: &ControlPlaneState,
    settings: &Settings,
    id: &OfferId,
    agent: &ParticipantAgent,
    now: Timestamp,
) -> Option<VisibleOffer> {
    let (definition, asset) = existing(state, id)?;
    let definition = &definition.definition;
    let access = state.resources.policy(&definition.access_policy_id)?;
    if !is_fulfilled(&access.policy, &Evaluation::new(PolicyScope::Catalog, settings, agent, now)) {
        return None;
    }
    let contract = state.resources.policy(&definition.contract_policy_id)?;
    Some(VisibleOffer { asset: asset.clone(), policy: offered_terms(&contract.policy) })
}
