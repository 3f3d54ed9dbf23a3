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
            Event::Set(negotiation) => self.replace(&negotiation.id, Some(negotiation)),
            Event::Deleted(id) => self.replace(id, None),
        }
    }

    /// Puts a negotiation, or none, in the place of what has the id. What finds it changes seldom, and is touched only then.
    fn replace(&mut self, id: &NegotiationId, new: Option<&Arc<Negotiation>>) {
        let old = self.by_id.get(id).cloned();
        let (was, is) = (old.as_deref(), new.map(|negotiation| &**negotiation));

        let (before, after) = (was.and_then(open_with), is.and_then(open_with));
        if before != after {
            before.iter().for_each(|peer| self.open.remove(peer));
            after.iter().for_each(|peer| self.open.add(peer));
        }
        if let Some(ended) = was.filter(|n| n.state.is_final()) {
            self.finished.remove_mut(&(ended.state_at, id.clone()));
        }
        let unused = |n: &&Negotiation| n.agreement.as_ref().is_none_or(|agreement| !self.in_use.contains_key(&agreement.id));
        if let Some(ended) = is.filter(|n| n.state.is_final()).filter(unused) {
            self.finished.insert_mut((ended.state_at, id.clone()));
        }
        let (before, after) = (was.and_then(correlation), is.and_then(correlation));
        if before != after {
            if let Some((peer, pid)) = before {
                self.by_counterparty.remove(peer, pid, id);
            }
            if let Some((peer, pid)) = after {
                self.by_counterparty.insert(peer, pid, id.clone());
            }
        }
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
        match new {
            Some(negotiation) => self.by_id.insert_mut(id.clone(), negotiation.clone()),
            None => {
                self.by_id.remove_mut(id);
            }
        }
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

fn open_with(negotiation: &Negotiation) -> Option<&Did> {
    (!negotiation.state.is_final()).then_some(&negotiation.counterparty)
}

/// What its counterparty calls it.
fn correlation(negotiation: &Negotiation) -> Option<(&Did, &Pid)> {
    negotiation.counterparty_pid.as_ref().map(|pid| (&negotiation.counterparty, pid))
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
