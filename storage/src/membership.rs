//! Where a cell's membership is kept: one view, and one lease of each node.
//!
//! Both are changed by compare-and-set alone, and reads see the last change (linearizable on each row). What the rows mean, and who may change them when,
//! is the runtime's business.

use crate::StoreError;
use cellspace_schemas::Timestamp;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Name of a node, stable over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of a node's present life: raised by each start, so that what an earlier process of the same name does is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// One life of a node, as a view names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Which node; placement hashes this alone.
    pub node: NodeName,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// Who owns the slots: those numbered below `mark` are dealt over `to`, all others over `from`. Settled while both are the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Deal {
    /// Members before the change under way, in order of their names.
    pub from: Vec<Member>,
    /// Members after it, in order of their names.
    pub to: Vec<Member>,
    /// First slot that has not changed yet.
    pub mark: u16,
}

impl Deal {
    /// The nodes of [`Self::members`].
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<&NodeName> {
        self.from.iter().chain(&self.to).map(|member| &member.node).collect()
    }

    /// Everybody who may own a slot, in order.
    #[must_use]
    pub fn members(&self) -> BTreeSet<&Member> {
        self.from.iter().chain(&self.to).collect()
    }
}

/// The view row: numbered state of the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Raised by one with each change; the first view has 1.
    pub version: u64,
    /// Level at which rows are written: no member reads less.
    pub format: u16,
    /// Who owns the slots.
    pub deal: Deal,
    /// The deals of the versions just before, the newest last: who comes from one of them knows who owned what in between.
    pub past: Vec<Deal>,
    /// Members whose leases ended last without their leave, the newest last: what is known of when they served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<Dead>,
}

impl View {
    /// Earlier deals that a view keeps.
    pub const PAST: usize = 8;
    /// Dead members that a view names.
    pub const DEAD: usize = 16;
}

/// What is known of when a member served its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// Who it was.
    pub member: Member,
    /// [`Lease::until`]: by then it had stopped, by its own clock.
    pub until: Timestamp,
    /// [`Lease::settled`]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// Since when a node has had all that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The version of a view that it has applied.
    pub view: u64,
    /// By then everything that it owns under that view was open, so that all others had stopped to serve it: the time of day by its own clock.
    pub at: Timestamp,
}

/// The lease row of a node. Who holds it is alive as long as its counter moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose.
    pub node: NodeName,
    /// Which life of it; only this one renews.
    pub incarnation: Incarnation,
    /// Raised by one with each renewal.
    pub counter: u64,
    /// Taken away by the others: this life serves nothing any more.
    pub revoked: bool,
    /// Highest level of rows that this life reads.
    pub level: u16,
    /// Where its peers reach it (`host:port`).
    pub endpoint: String,
    /// The time of day by the node's own clock when the lease that this renewal gives has ended, no less than in any row of this node before; `None` in a row of an earlier
    /// build.
    pub until: Option<Timestamp>,
    /// Since when the node has had all that it owned when this renewal began; while something is still to open, what was told of that before, be it by an earlier life.
    pub settled: Option<Settled>,
    /// The counter of the row of the life before, in whose place the first row of this life was put; `None` in the first life, and in a row of an earlier build.
    pub follows: Option<u64>,
}

impl Lease {
    /// The first row of a life, which tells nothing beside.
    #[must_use]
    pub fn first(member: Member, level: u16, endpoint: &str) -> Self {
        let Member { node, incarnation } = member;
        let endpoint = endpoint.to_owned();
        Self { node, incarnation, counter: 0, revoked: false, level, endpoint, until: None, settled: None, follows: None }
    }

    /// Whose it is, as a view names it.
    #[must_use]
    pub fn member(&self) -> Member {
        Member { node: self.node.clone(), incarnation: self.incarnation }
    }

    /// What this row tells of a life of its node, when it is the last row of that one or a later one; nothing when it is of an earlier build.
    #[must_use]
    pub fn dead(&self, member: &Member) -> Option<Dead> {
        Some(Dead { member: member.clone(), until: self.until?, settled: self.settled })
    }
}

/// What is known of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// It took place.
    Applied,
    /// Something else was there. By now what was to be put may be: by the same request, sent again on its way.
    Refused,
    /// It may have taken place, or still may.
    Unknown(String),
}

/// Membership of one cell.
pub trait Membership: Send + Sync + 'static {
    /// The view; `None` before the first.
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>>;

    /// Puts the view in the place of the one numbered one less; a view numbered 1 in the place of none.
    fn change_view(&self, next: View) -> BoxFuture<'_, Swap>;

    /// All lease rows, in order of the nodes' names.
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>>;

    /// Puts the row in the place of one with incarnation, counter and revocation of `before`; of none, when that is `None`.
    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap>;
}
