//! All negotiations of one participant, found by every id they are asked for with.

use super::{Agreement, Negotiation};
use crate::control_plane::dsp::{Process, Processes};
use cellspace_cluster::RowOf;
use cellspace_schemas::{AgreementId, AssetId, Did, NegotiationId, Pid, Timestamp};
use cellspace_storage::RowKey;
use rpds::HashTrieMapSync;
use serde::{Deserialize, Serialize};
use std::{ops::Deref, sync::Arc};

/// A change of one negotiation's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The negotiation as it now is, with its agreement.
    Set(Arc<Negotiation>),
    /// It is gone.
    Deleted(NegotiationId),
}

/// The negotiations, and what else they are found by. What they have in common with transfers is asked of them as of those.
#[derive(Debug, Clone, Default)]
pub struct Negotiations {
    all: Processes<Negotiation>,
    by_agreement: HashTrieMapSync<AgreementId, NegotiationId>,
    /// How many negotiations hold the asset.
    holding: HashTrieMapSync<AssetId, usize>,
    /// Transfers under way per agreement.
    in_use: HashTrieMapSync<AgreementId, usize>,
}

impl Deref for Negotiations {
    type Target = Processes<Negotiation>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Process for Negotiation {
    type Id = NegotiationId;

    fn open_with(&self) -> Option<&Did> {
        (!self.state.is_final()).then_some(&self.counterparty)
    }

    fn correlation(&self) -> Option<(&Did, &Pid)> {
        self.counterparty_pid.as_ref().map(|pid| (&self.counterparty, pid))
    }

    fn rests_since(&self) -> Option<Timestamp> {
        self.state.is_final().then_some(self.state_at)
    }
}

impl Negotiations {
    /// The one that led to the agreement, in force or not.
    #[must_use]
    pub fn of_agreement(&self, id: &AgreementId) -> Option<&Arc<Negotiation>> {
        self.by_agreement.get(id).and_then(|id| self.get(id))
    }

    /// An agreement, in force or not.
    #[must_use]
    pub fn agreement(&self, id: &AgreementId) -> Option<&Arc<Agreement>> {
        self.of_agreement(id).and_then(|n| n.agreement.as_ref())
    }

    /// A transfer under the agreement has begun.
    pub fn begin_use(&mut self, agreement: &AgreementId) {
        let uses = self.in_use.get(agreement).copied().unwrap_or_default();
        self.in_use.insert_mut(agreement.clone(), uses + 1);
        if let Some(negotiation) = self.by_agreement.get(agreement) {
            self.all.set_used(negotiation, true);
        }
    }

    /// A transfer under the agreement has ended.
    pub fn end_use(&mut self, agreement: &AgreementId) {
        match self.in_use.get(agreement).copied() {
            Some(uses) if uses > 1 => self.in_use.insert_mut(agreement.clone(), uses - 1),
            Some(_) | None => {
                self.in_use.remove_mut(agreement);
                if let Some(negotiation) = self.by_agreement.get(agreement) {
                    self.all.set_used(negotiation, false);
                }
            }
        }
    }

    /// Whether the asset is being negotiated or was agreed on, as far as that is in the state.
    #[must_use]
    pub fn holds_asset(&self, asset: &AssetId) -> bool {
        self.holding.contains_key(asset)
    }

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Set(negotiation) => self.replace(&negotiation.id, Some(negotiation)),
            Event::Deleted(id) => self.replace(id, None),
        }
    }

    /// Puts a negotiation, or none, in the place of what has the id.
    fn replace(&mut self, id: &NegotiationId, new: Option<&Arc<Negotiation>>) {
        let old = self.get(id).cloned();
        let (was, is) = (old.as_deref(), new.map(|negotiation| &**negotiation));

        let (before, after) = (was.and_then(agreed), is.and_then(agreed));
        if before != after {
            if let Some(agreement) = before.filter(|agreement| self.by_agreement.get(*agreement) == Some(id)) {
                self.by_agreement.remove_mut(agreement);
            }
            if let Some(agreement) = after {
                self.by_agreement.insert_mut(agreement.clone(), id.clone());
            }
        }
        let (before, after) = (was.and_then(held), is.and_then(held));
        if before != after {
            before.iter().for_each(|asset| self.release(asset));
            if let Some(asset) = after {
                self.holding.insert_mut(asset.clone(), self.holding.get(asset).map_or(1, |n| n + 1));
            }
        }
        let is_used = is.and_then(agreed).is_some_and(|agreement| self.in_use.contains_key(agreement));
        self.all.replace(id, new, is_used);
    }

    fn release(&mut self, asset: &AssetId) {
        match self.holding.get(asset).copied() {
            Some(n) if n > 1 => self.holding.insert_mut(asset.clone(), n - 1),
            Some(_) | None => {
                self.holding.remove_mut(asset);
            }
        }
    }
}

fn agreed(negotiation: &Negotiation) -> Option<&AgreementId> {
    negotiation.agreement.as_ref().map(|agreement| &agreement.id)
}

fn held(negotiation: &Negotiation) -> Option<&AssetId> {
    negotiation.holds_asset().then_some(&negotiation.offer.target)
}

/// Which row the event writes.
#[must_use]
pub fn row(event: &Event) -> RowOf {
    match event {
        Event::Set(negotiation) => RowOf::Put(RowKey::new(super::TABLE, negotiation.id.as_str())),
        Event::Deleted(id) => RowOf::Delete(RowKey::new(super::TABLE, id.as_str())),
    }
}

/// The deadline that the event's negotiation now has.
#[must_use]
pub fn deadline(event: &Event) -> (&NegotiationId, Option<Timestamp>) {
    match event {
        Event::Set(negotiation) => (&negotiation.id, negotiation.due()),
        Event::Deleted(id) => (id, None),
    }
}
