//! A deal with the rings that it is over: the owner of each slot.

use crate::ring::Ring;
use cellspace_storage::{Deal, Member, NodeName};
use parking_lot::Mutex;
use std::{collections::HashMap, ops::Range, sync::Arc};

/// Rings kept; a change of the membership needs two.
const KEPT: usize = 64;

/// Rings that were made before: each is a pure function of its members. Clones share them.
#[derive(Debug, Clone)]
pub struct Rings {
    slots: u16,
    made: Arc<Mutex<HashMap<Vec<NodeName>, Arc<Ring>>>>,
}

impl Rings {
    /// Rings of so many slots.
    #[must_use]
    pub fn new(slots: u16) -> Self {
        Self { slots, made: Arc::default() }
    }

    fn of(&self, members: &[Member]) -> Arc<Ring> {
        let names: Vec<NodeName> = members.iter().map(|member| member.node.clone()).collect();
        let mut made = self.made.lock();
        if let Some(ring) = made.get(&names) {
            return ring.clone();
        }
        if made.len() >= KEPT {
            made.clear();
        }
        let ring = Arc::new(Ring::of(&names, self.slots));
        made.insert(names, ring.clone());
        ring
    }
}

/// A deal, dealt.
#[derive(Debug, Clone)]
pub struct Dealt {
    deal: Deal,
    from: Arc<Ring>,
    to: Arc<Ring>,
    slots: u16,
}

impl Dealt {
    /// Deals the slots.
    #[must_use]
    pub fn new(deal: Deal, rings: &Rings) -> Self {
        let deal = Deal { from: in_order(deal.from), to: in_order(deal.to), mark: deal.mark };
        let from = rings.of(&deal.from);
        let to = if deal.from == deal.to { from.clone() } else { rings.of(&deal.to) };
        Self { from, to, slots: rings.slots, deal }
    }

    /// What was dealt.
    #[must_use]
    pub const fn deal(&self) -> &Deal {
        &self.deal
    }

    /// The member that owns the slot; `None` in an empty deal.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Member> {
        let (ring, members) = if slot < self.deal.mark { (&self.to, &self.deal.to) } else { (&self.from, &self.deal.from) };
        // A ring has its members in the order of their names, as the deal has them.
        members.get(ring.place(slot)?)
    }

    /// Slots outside of this range have the same owner in both.
    pub(super) fn may_differ(&self, other: &Self) -> Range<u16> {
        if self.deal.from == other.deal.from && self.deal.to == other.deal.to {
            self.deal.mark.min(other.deal.mark)..self.deal.mark.max(other.deal.mark).min(self.slots)
        } else {
            0..self.slots
        }
    }

    /// The mark after a step in which at most so many slots change their owner.
    pub(super) fn mark_after(&self, step: u16) -> u16 {
        let mut moved = 0;
        for slot in self.deal.mark..self.slots {
            let (before, after) = (self.from.place(slot), self.to.place(slot));
            if before.and_then(|n| self.deal.from.get(n)) != after.and_then(|n| self.deal.to.get(n)) {
                if moved == step {
                    return slot;
                }
                moved += 1;
            }
        }
        self.slots
    }
}

/// One life of each node, in the order of their names.
fn in_order(mut members: Vec<Member>) -> Vec<Member> {
    // Of two lives the later one.
    members.sort_by(|a, b| a.node.cmp(&b.node).then(b.incarnation.cmp(&a.incarnation)));
    members.dedup_by(|a, b| a.node == b.node);
    members
}
