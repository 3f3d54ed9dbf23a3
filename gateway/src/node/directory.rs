//! The nodes of a cell as an operator sees them, and what one is told by way of another.

use super::{Cells, NodeStore, Roles, seat::Seated};
use cellspace_cluster::{Cell, Finalized, NodeName, Parked, PeerError, PeerLink, Told, link::Link, membership::Answer};
use cellspace_storage::{Lease, Member, Membership, StoreError, View};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// What a node says to one that is to drain.
pub const DRAIN: &str = "drain";
/// What a node's setting in the keyspace is called before its name.
const ABOUT: &str = "node:";

/// A node, as it was seen just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Its name.
    pub node: NodeName,
    /// Its present life.
    pub incarnation: u64,
    /// What it does; empty until it has said so.
    pub roles: Vec<String>,
    /// Slots that it owns.
    pub slots: usize,
    /// Whether its lease is renewed.
    pub lease: LeaseState,
    /// Highest level of rows that it reads.
    pub level: u16,
    /// Where its peers reach it.
    pub endpoint: String,
    /// How it stands to the cell.
    pub state: NodeState,
    /// The build that it runs; empty until it has said so.
    pub version: String,
}

/// The level at which the members of a cell write rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelReport {
    /// The level.
    pub level: u16,
    /// Whether it was raised just now.
    pub raised: bool,
    /// Processes of an earlier build than others, on account of which it is not higher.
    pub held_back_by: Vec<NodeName>,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// It is renewed.
    Renewed,
    /// Nobody renews it.
    Still,
    /// The others have taken it away.
    Revoked,
}

/// How a node stands to its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It has its share of the slots.
    Member,
    /// Slots are handed over to it.
    Joining,
    /// It hands its slots over.
    Leaving,
    /// It has no slots: it is about to come, has left, or is dead.
    Outside,
}

/// What a node says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    roles: Vec<String>,
    version: String,
}

/// The nodes of the cell that this one is in.
pub struct Directory {
    pub(super) cell: Arc<Cell>,
    pub(super) link: Arc<Link>,
    /// The stores of all cells, where there are several.
    pub(super) cells: Option<Arc<dyn Cells>>,
    membership: Arc<dyn Membership>,
    store: NodeStore,
    me: NodeName,
    roles: Roles,
    /// Within this time a lease is renewed that is renewed at all.
    renewed_within: Duration,
    /// Cancelled when this node is to drain.
    pub drained: CancellationToken,
}

/// Why a node was not told.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// No member has this name.
    #[error("{0} is no member of the cell")]
    Unknown(NodeName),
    /// It is not reached.
    #[error("{0} is not reached: {1}")]
    NotReached(NodeName, PeerError),
}

impl Directory {
    pub(super) fn new(seated: &Seated, store: NodeStore) -> Self {
        let Seated { seat, link, cell, .. } = seated;
        Self {
            cell: cell.clone(),
            link: link.clone(),
            cells: seat.beside.as_ref().map(|beside| beside.cells.clone()),
            membership: seat.membership.clone(),
            store,
            me: seat.identity.me().node().clone(),
            roles: seat.roles,
            renewed_within: seat.terms.renew * 3,
            drained: CancellationToken::new(),
        }
    }

    /// This node.
    #[must_use]
    pub const fn me(&self) -> &NodeName {
        &self.me
    }

    /// Says what this node does.
    pub(super) async fn tell(&self) -> Result<(), StoreError> {
        let roles = self.roles.names().into_iter().map(str::to_owned).collect();
        let about = About { roles, version: env!("CARGO_PKG_VERSION").to_owned() };
        let text = serde_json::to_string(&about).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        self.store.put_meta(&format!("{ABOUT}{}", self.me), &text).await
    }

    /// All nodes that hold a lease or once did, in order of their names. Takes as long as a renewal may, to see which of them renew.
    ///
    /// # Errors
    /// [`StoreError`] when the rows cannot be read.
    pub async fn list(&self) -> Result<Vec<NodeReport>, StoreError> {
        let before = self.membership.leases().await?;
        tokio::time::sleep(self.renewed_within).await;
        let (view, leases) = (self.membership.view().await?, self.membership.leases().await?);
        let shares = self.cell.shares();
        let mut nodes = Vec::with_capacity(leases.len());
        for lease in &leases {
            let about = self.store.meta(&format!("{ABOUT}{}", lease.node)).await?;
            let about = about.and_then(|text| serde_json::from_str(&text).ok());
            nodes.push(report(lease, &before, view.as_ref(), &shares, about));
        }
        Ok(nodes)
    }

    /// What this node does.
    #[must_use]
    pub const fn roles(&self) -> Roles {
        self.roles
    }

    /// Whether any slot is this node's under the view that it knows.
    #[must_use]
    pub fn owns_slots(&self) -> bool {
        self.cell.own_slot().is_some()
    }

    /// Whether the others go on without this node: some of them serve what is its own under the view that it knows, or none of them is reached. `false` where there are
    /// no others.
    pub async fn others_go_on(&self) -> bool {
        let Some(view) = self.cell.view() else { return false };
        let (Some(slot), peers) = (self.cell.own_slot(), self.cell.others()) else { return !self.cell.is_member() };
        let asked = peers.iter().map(|peer| self.link.ask(peer, std::slice::from_ref(&slot), view.version));
        let answers = join_all(asked).await;
        let newer = |told: &Told| matches!(told.answer, Answer::Newer(version) if version > view.version);
        let reached = answers.iter().any(Result::is_ok);
        answers.iter().flatten().flatten().any(newer) || !(reached || peers.is_empty())
    }

    /// Whether any member of the cell is reached; where there is none, whether the rows can be read.
    pub async fn others_are_reached(&self) -> bool {
        let peers = self.cell.others();
        if peers.is_empty() {
            return self.membership.view().await.is_ok();
        }
        let version = self.cell.version();
        let asked = peers.iter().map(|peer| self.link.ask(peer, &[0], version));
        join_all(asked).await.iter().any(Result::is_ok)
    }

    /// Raises the level at which the members write rows to what all of them read.
    ///
    /// # Errors
    /// [`StoreError`] when the rows of the membership cannot be read or changed.
    pub async fn finalize(&self) -> Result<LevelReport, StoreError> {
        let Finalized { level, raised, behind } = self.cell.finalize().await?;
        Ok(LevelReport { level, raised, held_back_by: behind })
    }

    /// The agents that are parked at each of the other members, or why it does not say.
    pub async fn parked_elsewhere(&self) -> Vec<(NodeName, Result<Vec<Parked>, PeerError>)> {
        let asked = self.cell.others().into_iter().map(async |peer| {
            let parked = self.link.parked(&peer).await;
            (peer.member.node, parked)
        });
        join_all(asked).await
    }

    /// Tells a member to hand its slots over and to end. A process that is a gateway alone is none.
    ///
    /// # Errors
    /// [`TellError`]
    pub async fn drain(&self, node: &NodeName) -> Result<(), TellError> {
        if *node == self.me && self.roles.runtime {
            self.drained.cancel();
            return Ok(());
        }
        let peer = self.cell.others().into_iter().find(|peer| peer.member.node == *node).ok_or_else(|| TellError::Unknown(node.clone()))?;
        self.link.announce(&peer, DRAIN).await.map_err(|error| TellError::NotReached(node.clone(), error))
    }
}

fn report(lease: &Lease, before: &[Lease], view: Option<&View>, shares: &BTreeMap<Member, usize>, about: Option<About>) -> NodeReport {
    let member = lease.member();
    let among = |members: fn(&View) -> &[Member]| view.is_some_and(|view| members(view).contains(&member));
    let state = match (among(|view| &view.deal.from), among(|view| &view.deal.to)) {
        (true, true) => NodeState::Member,
        (false, true) => NodeState::Joining,
        (true, false) => NodeState::Leaving,
        (false, false) => NodeState::Outside,
    };
    let renewed = before.iter().find(|earlier| earlier.node == lease.node).is_none_or(|earlier| earlier.counter != lease.counter);
    let lease_state = match (lease.revoked, renewed) {
        (true, _) => LeaseState::Revoked,
        (false, true) => LeaseState::Renewed,
        (false, false) => LeaseState::Still,
    };
    let About { roles, version } = about.unwrap_or(About { roles: Vec::new(), version: String::new() });
    NodeReport {
        incarnation: lease.incarnation.0,
        roles,
        slots: shares.get(&member).copied().unwrap_or(0),
        lease: lease_state,
        level: lease.level,
        endpoint: lease.endpoint.clone(),
        state,
        node: member.node,
        version,
    }
}

/// Whenever a member is gone, one of those that are left brings the events to the log that it has left behind.
pub(super) async fn adopt_events(cell: Arc<Cell>, store: NodeStore, me: NodeName, stop: CancellationToken) {
    let (mut version, mut members) = (0, Vec::new());
    while let Some(Some(view)) = stop.run_until_cancelled(cell.newer(version)).await {
        let now: Vec<Member> = view.deal.members().into_iter().cloned().collect();
        let is_first = now.first().is_some_and(|member| member.node == me);
        if is_first && members.iter().any(|member| !now.contains(member)) {
            store.adopt_events();
        }
        (version, members) = (view.version, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_storage::{Deal, Incarnation};

    #[test]
    fn a_node_is_told_of_as_the_rows_have_it() {
        let member = |node: &str, incarnation| Member { node: NodeName(node.to_owned()), incarnation: Incarnation(incarnation) };
        let lease = |node: &str, counter, revoked| Lease { counter, revoked, ..Lease::first(member(node, 2), 1, "h:1") };
        let from = vec![member("a", 2), member("b", 2)];
        let view = View {
            version: 3,
            format: 1,
            deal: Deal { from, to: vec![member("a", 2), member("c", 2)], mark: 7 },
            past: Vec::new(),
            dead: Vec::new(),
        };
        let shares = BTreeMap::from([(member("a", 2), 5), (member("a", 1), 9)]);
        let told = |now: Lease, before: &[Lease]| {
            let report = report(&now, before, Some(&view), &shares, None);
            (report.state, report.lease, report.slots)
        };
        let was = [lease("a", 1, false), lease("b", 1, false), lease("d", 1, false)];
        assert_eq!(told(lease("a", 2, false), &was), (NodeState::Member, LeaseState::Renewed, 5));
        assert_eq!(told(lease("b", 1, false), &was), (NodeState::Leaving, LeaseState::Still, 0));
        assert_eq!(told(lease("c", 0, false), &was), (NodeState::Joining, LeaseState::Renewed, 0));
        assert_eq!(told(lease("d", 1, true), &was), (NodeState::Outside, LeaseState::Revoked, 0));
    }
}
