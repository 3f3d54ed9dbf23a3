//! Which node owns which slot: a pure function of the membership view.

use crate::slot::{SLOTS, Slot};
pub use cellspace_storage::NodeName;
use consistent_hash::{Node, RingHash, StaticHashRing};
use std::hash::{Hash, Hasher};

/// Points of a node on the ring.
const POINTS: usize = 512;

/// Numbered state of the membership. An embedded node lives in a constant view of itself alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Raised by every change.
    pub version: u64,
    /// Members that own slots.
    pub members: Vec<NodeName>,
}

impl View {
    /// The view of a node that is alone.
    #[must_use]
    pub fn alone(node: NodeName) -> Self {
        Self { version: 0, members: vec![node] }
    }
}

/// xxh3 over a fixed encoding, so that two nodes of different builds agree (the ring's default hash promises no such thing).
struct Xxh3;

/// Feeds what `Hash` writes into xxh3, numbers as little endian.
struct Bytes(xxhash_rust::xxh3::Xxh3);

impl Hasher for Bytes {
    fn finish(&self) -> u64 {
        self.0.digest()
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn write_usize(&mut self, n: usize) {
        self.0.update(&(n as u64).to_le_bytes());
    }
}

/// A node or a slot on the ring, written byte by byte: the derived `Hash` of a text has no promised encoding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Vec<u8>);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl RingHash for Xxh3 {
    fn hash_item<T: Hash>(&self, item: &T) -> u64 {
        let mut hasher = Bytes(xxhash_rust::xxh3::Xxh3::new());
        item.hash(&mut hasher);
        hasher.finish()
    }
    fn hash_vnode<T: Hash>(&self, node: &T, vnode_seq: usize) -> u64 {
        let mut hasher = Bytes(xxhash_rust::xxh3::Xxh3::new());
        hasher.write_usize(vnode_seq);
        node.hash(&mut hasher);
        hasher.finish()
    }
}

/// Owner of every slot in one view.
#[derive(Debug, Clone)]
pub struct Ring {
    members: Vec<NodeName>,
    owners: Vec<Option<usize>>,
}

impl Ring {
    /// Deals the slots along each slot's candidate order, under a cap of `max(ceil(fair), floor(1.05 x fair))` slots a node.
    #[must_use]
    pub fn of(view: &View) -> Self {
        let mut members = view.members.clone();
        members.sort();
        members.dedup();
        let nodes = members.iter().enumerate().map(|(n, name)| Node::new(Key(name.0.as_bytes().to_vec())).value(n).quantity(POINTS));
        let ring: StaticHashRing<_, _, Xxh3> = StaticHashRing::new(Xxh3, nodes);
        let cap = cap(members.len());
        let mut held = vec![0_usize; members.len()];
        let owners = Slot::all()
            .map(|slot| {
                let key = Key(slot.number().to_le_bytes().to_vec());
                let owner = ring.calc_candidates(&key).map(|node| node.value).find(|n| held.get(*n).is_some_and(|h| *h < cap));
                if let Some(held) = owner.and_then(|n| held.get_mut(n)) {
                    *held += 1;
                }
                owner
            })
            .collect();
        Self { members, owners }
    }

    /// The node that owns the slot; `None` in an empty view.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&NodeName> {
        let owner = self.owners.get(usize::from(slot.number())).copied().flatten()?;
        self.members.get(owner)
    }
}

/// Most slots one of `nodes` may own.
fn cap(nodes: usize) -> usize {
    let slots = usize::from(SLOTS);
    let fair_up = slots.div_ceil(nodes.max(1));
    let with_room = slots * 105 / (100 * nodes.max(1));
    fair_up.max(with_room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn view(nodes: std::ops::Range<usize>) -> View {
        View { version: 1, members: nodes.map(|n| NodeName(format!("node-{n}"))).collect() }
    }

    fn shares(ring: &Ring) -> HashMap<NodeName, usize> {
        let mut shares = HashMap::new();
        for slot in Slot::all() {
            *shares.entry(ring.owner(slot).unwrap().clone()).or_default() += 1;
        }
        shares
    }

    #[test]
    fn every_slot_has_an_owner_and_no_node_more_than_the_cap() {
        for nodes in 1..=16 {
            let shares = shares(&Ring::of(&view(0..nodes)));
            assert_eq!(shares.values().sum::<usize>(), usize::from(SLOTS));
            assert!(shares.values().all(|share| *share <= cap(nodes)), "{nodes} nodes: {shares:?}");
        }
        assert!(Ring::of(&view(0..0)).owner(Slot::of(&cellspace_schemas::Owner::new("a").unwrap())).is_none());
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let mut turned = view(0..7);
        turned.members.reverse();
        let (a, b) = (Ring::of(&view(0..7)), Ring::of(&turned));
        assert!(Slot::all().all(|slot| a.owner(slot) == b.owner(slot)));
    }

    #[test]
    fn a_joining_node_moves_little_more_than_its_share() {
        let (before, after) = (Ring::of(&view(0..12)), Ring::of(&view(0..13)));
        let moved = Slot::all().filter(|slot| before.owner(*slot) != after.owner(*slot)).count();
        assert!(moved <= usize::from(SLOTS) * 12 / 100, "{moved} slots moved, ideal {}", usize::from(SLOTS) / 13);
    }

    /// Two builds must agree on placement: these owners never change.
    #[test]
    fn golden() {
        let ring = Ring::of(&view(0..5));
        let owners: Vec<&str> = Slot::all().step_by(512).map(|slot| ring.owner(slot).unwrap().0.as_str()).collect();
        assert_eq!(owners, GOLDEN);
    }

    const GOLDEN: [&str; 8] = ["node-2", "node-0", "node-1", "node-4", "node-1", "node-3", "node-4", "node-2"];
}
