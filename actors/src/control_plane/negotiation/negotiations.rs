//! All negotiations of one participant, found by every id they are asked for with.

use super::{Agreement, Negotiation};
use crate::control_plane::dsp::{Correlations, Open};
use cellspace_cluster::RowOf;
use cellspace_schemas::{AgreementId, AssetId, Did, NegotiationId, Pid, Timestamp};
use cellspace_storage::RowKey;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A change of one negotiation's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The negotiation as it now is, with its agreement.
    Set(Arc<Negotiation>),
    /// It is gone.
    Deleted(NegotiationId),
}

/// The negotiations; ids made here grow with time, so that their order is that of their beginning.
#[derive(Debug, Clone, Default)]
pub struct Negotiations {
    by_id: RedBlackTreeMapSync<NegotiationId, Arc<Negotiation>>,
    by_counterparty: Correlations<NegotiationId>,
    by_agreement: HashTrieMapSync<AgreementId, NegotiationId>,
    /// How many negotiations hold the asset.
    holding: HashTrieMapSync<AssetId, usize>,
    open: Open,
    /// Transfers under way per agreement.
    in_use: HashTrieMapSync<AgreementId, usize>,
    /// Those that ended and whose agreement nobody uses, by the time of their end.
    finished: RedBlackTreeSetSync<(Timestamp, NegotiationId)>,
}

impl Negotiations {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: &NegotiationId) -> Option<&Arc<Negotiation>> {
        self.by_id.get(id)
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Negotiation>> {
        self.by_id.values()
    }

    /// The one that `peer` calls `pid`.
    #[must_use]
    pub fn of_counterparty(&self, peer: &Did, pid: &Pid) -> Option<&Arc<Negotiation>> {
        self.by_counterparty.get(peer, pid).and_then(|id| self.by_id.get(id))
    }

    /// Those that any counterparty calls `pid`: their `correlationId`.
    pub fn correlated(&self, pid: &Pid) -> impl Iterator<Item = &Arc<Negotiation>> {
        self.by_counterparty.of_any(pid).filter_map(|id| self.by_id.get(id))
    }

    /// The one that led to the agreement, in force or not.
    #[must_use]
    pub fn of_agreement(&self, id: &AgreementId) -> Option<&Arc<Negotiation>> {
        self.by_agreement.get(id).and_then(|id| self.by_id.get(id))
    }

    /// An agreement, in force or not.
    #[must_use]
    pub fn agreement(&self, id: &AgreementId) -> Option<&Arc<Agreement>> {
        self.of_agreement(id).and_then(|n| n.agreement.as_ref())
    }

    /// All but the `kept` that ended last of those that ended and whose agreement nobody uses; what ended first comes first.
    pub fn finished(&self, kept: usize) -> impl Iterator<Item = &Arc<Negotiation>> {
        self.finished.iter().take(self.finished.size().saturating_sub(kept)).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// A transfer under the agreement has begun.
    pub fn begin_use(&mut self, agreement: &AgreementId) {
        let uses = self.in_use.get(agreement).copied().unwrap_or_default();
        self.in_use.insert_mut(agreement.clone(), uses + 1);
        if let Some(negotiation) = self.of_agreement(agreement).cloned() {
            self.finished.remove_mut(&(negotiation.state_at, negotiation.id.clone()));
        }
    }

    /// A transfer under the agreement has ended.
    pub fn end_use(&mut self, agreement: &AgreementId) {
        match self.in_use.get(agreement).copied() {
            Some(uses) if uses > 1 => self.in_use.insert_mut(agreement.clone(), uses - 1),
            Some(_) | None => {
                self.in_use.remove_mut(agreement);
                if let Some(negotiation) = self.of_agreement(agreement).cloned().filter(|n| n.state.is_final()) {
                    self.finished.insert_mut((negotiation.state_at, negotiation.id.clone()));
                }
            }
        }
    }

    /// Whether the asset is being negotiated or was agreed on, as far as that is in the state.
    #[must_use]
    pub fn holds_asset(&self, asset: &AssetId) -> bool {
        self.holding.contains_key(asset)
    }

    /// How many have not ended.
    #[must_use]
    pub const fn open(&self) -> &Open {
        &self.open
    }

    /// Folds an event into the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Set(negotiation) => {
                self.forget(&negotiation.id);
                self.remember(negotiation.clone());
            }
            Event::Deleted(id) => self.forget(id),
        }
    }

    fn remember(&mut self, negotiation: Arc<Negotiation>) {
        let id = &negotiation.id;
        if !negotiation.state.is_final() {
            self.open.add(&negotiation.counterparty);
        } else if negotiation.agreement.as_ref().is_none_or(|agreement| !self.in_use.contains_key(&agreement.id)) {
            self.finished.insert_mut((negotiation.state_at, id.clone()));
        }
        if let Some(pid) = &negotiation.counterparty_pid {
            self.by_counterparty.insert(&negotiation.counterparty, pid, id.clone());
        }
        if let Some(agreement) = &negotiation.agreement {
            self.by_agreement.insert_mut(agreement.id.clone(), id.clone());
        }
        if negotiation.holds_asset() {
            let asset = &negotiation.offer.target;
            self.holding.insert_mut(asset.clone(), self.holding.get(asset).map_or(1, |n| n + 1));
        }
        self.by_id.insert_mut(id.clone(), negotiation);
    }

    fn forget(&mut self, id: &NegotiationId) {
        let Some(old) = self.by_id.get(id).cloned() else { return };
        if !old.state.is_final() {
            self.open.remove(&old.counterparty);
        }
        self.finished.remove_mut(&(old.state_at, id.clone()));
        if let Some(pid) = &old.counterparty_pid {
            self.by_counterparty.remove(&old.counterparty, pid, id);
        }
        if let Some(agreement) = old.agreement.as_ref().filter(|agreement| self.by_agreement.get(&agreement.id) == Some(id)) {
            self.by_agreement.remove_mut(&agreement.id);
        }
        if old.holds_asset() {
            let asset = &old.offer.target;
            match self.holding.get(asset).copied() {
                Some(n) if n > 1 => self.holding.insert_mut(asset.clone(), n - 1),
                Some(_) | None => {
                    self.holding.remove_mut(asset);
                }
            }
        }
        self.by_id.remove_mut(id);
    }
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
