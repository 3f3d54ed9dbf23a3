//! The rounds of a node: renew, read, apply, act.

use super::{Cell, CellOptions, Peer};
use crate::{
    Slot,
    membership::{Ended, Moment, Node, Rings, next_life},
};
use cellspace_storage::{Lease, Member, StoreError, Swap, View};
use futures::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Looks at the rows in one round, each after something was changed.
const LOOKS: usize = 3;
/// Because of news that do not come the rows are looked at so many times, at most, for each renewal.
const LOOKS_BETWEEN: u32 = 3;
/// Between two questions to a peer for the same slots.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Cell {
    /// Renews and looks at the rows, for as long as this life lasts.
    pub(crate) async fn run(self: Arc<Self>) {
        let asking = tokio::spawn(self.clone().open_slots());
        let rounds = async {
            let mut rested = Moment::default();
            let ended = loop {
                // A round that took long is followed by the next at once.
                let next = self.open.now() + self.options.terms.renew;
                if let Err(ended) = self.round_until(next, &mut rested).await {
                    break ended;
                }
            };
            tracing::error!(category = "app", node = %self.options.node, reason = %ended, "this node is no part of the cell any more");
            self.end(&ended);
        };
        // Who stops on its own terms goes on renewing until its process ends.
        let _ = self.over.run_until_cancelled(rounds).await;
        self.over.cancel();
        self.open.end();
        asking.abort();
    }

    /// Looks at the rows of another cell, for as long as this node lives. What it cannot read it does not count on, and looks at again: that cell may be given rows of
    /// before once more, and nothing of this node's own ends with it.
    pub(super) async fn follow(self: Arc<Self>) {
        let rounds = async {
            let (mut was_read, mut rested) = (true, Moment::default());
            loop {
                let next = self.open.now() + self.options.terms.renew;
                let outcome = self.round_until(next, &mut rested).await;
                if let Err(reason) = &outcome {
                    if was_read {
                        tracing::error!(category = "app", %reason, "the nodes of another cell are not known to this one");
                    }
                    *self.node.lock() = None;
                    self.version.set(0);
                    sleep(next.0.saturating_sub(self.open.now().0)).await;
                }
                was_read = outcome.is_ok();
            }
        };
        self.over.run_until_cancelled(rounds).await;
    }

    async fn round_until(&self, next: Moment, rested: &mut Moment) -> Result<(), Ended> {
        if self.joins {
            self.renew().await;
        } else {
            self.watch();
        }
        self.look().await?;
        self.look_until(next, rested).await
    }

    /// Looks for news that somebody waits for, when this node is to go on with a hand-over, and when another one is to be judged, until it is time for the next
    /// renewal. Nothing is renewed for it, and however many wait, the rows are read once for all of them. A hand-over has many steps, of which a process that is no
    /// member hears in this way alone: the next is looked for at once, and only after there was nothing new not before `rested`.
    async fn look_until(&self, next: Moment, rested: &mut Moment) -> Result<(), Ended> {
        let pause = self.options.terms.renew / LOOKS_BETWEEN;
        let until = |moment: Moment| moment.0.saturating_sub(self.open.now().0);
        while !until(next).is_zero() {
            let due = self.node.lock().as_ref().and_then(|node| node.acts_at(self.open.now())).map_or(next, |due| due.min(next));
            if timeout(until(due), self.look.notified()).await.is_err() && until(next).is_zero() {
                break;
            }
            sleep(until(*rested).min(until(next))).await;
            let before = self.version();
            // No renewal waits for it: what it has not found by then the next round finds.
            if let Ok(looked) = timeout(until(next), self.look()).await {
                looked?;
            }
            if self.version() == before {
                *rested = self.open.now() + pause;
            }
        }
        Ok(())
    }

    pub(super) async fn look(&self) -> Result<(), Ended> {
        for _ in 0..LOOKS {
            if !self.look_once().await? {
                break;
            }
        }
        Ok(())
    }

    fn watch(&self) {
        let CellOptions { node, level, terms, .. } = &self.options;
        let outside = || Node::outside(node.clone(), *level, terms.clone(), Rings::new(terms.slots), self.open.now());
        self.node.lock().get_or_insert_with(outside);
    }

    pub(super) async fn renew(&self) {
        if !self.is_born() && !self.be_born().await {
            return;
        }
        let Some((before, next)) = self.node.lock().as_mut().map(|node| node.renewal(self.open.now(), self.options.clock.now())) else {
            return;
        };
        let outcome = self.swap(self.options.membership.put_lease(Some(before), next)).await;
        if let Some(node) = self.node.lock().as_mut() {
            node.renewed(&outcome);
        }
    }

    fn is_born(&self) -> bool {
        self.node.lock().is_some()
    }

    /// Takes the node's row for this life; only what is known to have taken place counts.
    async fn be_born(&self) -> bool {
        let Some(leases) = self.read(self.options.membership.leases()).await else { return false };
        let (before, next) = next_life(&self.options.node, self.options.level, &self.options.endpoint, self.options.clock.now(), &leases);
        if self.swap(self.options.membership.put_lease(before.clone(), next.clone())).await != Swap::Applied {
            return false;
        }
        let terms = self.options.terms.clone();
        *self.node.lock() = Some(Node::new(before, next, terms.clone(), Rings::new(terms.slots), self.open.now()));
        true
    }

    /// Reads the rows and does what follows; whether anything was changed.
    async fn look_once(&self) -> Result<bool, Ended> {
        // In this order: what is said of the lease is not older than the view.
        let Some(view) = self.read(self.options.membership.view()).await else { return Ok(false) };
        let Some(leases) = self.read(self.options.membership.leases()).await else { return Ok(false) };
        *self.endpoints.write() = endpoints(&leases);
        let step = {
            let mut node = self.node.lock();
            let Some(node) = node.as_mut() else { return Ok(false) };
            let step = node.observed(view, &leases, self.open.now())?;
            self.applied(node, &step.closes);
            self.open.renew(node);
            step
        };
        self.opens.notify_one();
        for (before, next) in &step.revokes {
            tracing::warn!(category = "app", node = %next.node, "a node stands still: its lease is taken away");
            self.swap(self.options.membership.put_lease(Some(before.clone()), next.clone())).await;
        }
        let acted = !step.revokes.is_empty() || step.change.is_some();
        if let Some(view) = step.change
            && self.swap(self.options.membership.change_view(view.clone())).await == Swap::Applied
        {
            tracing::info!(category = "app", version = view.version, mark = view.deal.mark, "the membership changed");
            self.shown(view.clone())?;
            self.show(&view).await;
        }
        Ok(acted)
    }

    /// A store that does not answer within a lease has lost it: what was sent may still land.
    pub(super) async fn swap(&self, write: impl Future<Output = Swap>) -> Swap {
        timeout(self.options.terms.lease, write).await.unwrap_or_else(|_| Swap::Unknown("no answer in time".to_owned()))
    }

    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        match timeout(self.options.terms.lease, read).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::warn!(category = "app", %error, "the membership cannot be read");
                None
            }
            Err(_) => {
                tracing::warn!(category = "app", "the membership was not read in time");
                None
            }
        }
    }

    /// Whoever is not reached in a moment finds the view in its next round.
    pub(super) async fn show(&self, view: &View) {
        let peers = self.peers(view);
        join_all(peers.iter().map(|peer| timeout(self.options.terms.renew, self.options.peers.show(peer, view)))).await;
    }

    /// The same with other news, for the nodes of all cells of the installation.
    pub(crate) async fn announce(&self, news: &str) {
        let Some(view) = self.view() else { return };
        let mut peers = self.peers(&view);
        if let Some(elsewhere) = self.elsewhere() {
            for cell in elsewhere.names() {
                match elsewhere.members(cell) {
                    Some(members) => peers.extend(members),
                    None => {
                        tracing::warn!(category = "app", %cell, news, "the nodes of another cell, which are not known, did not hear of news")
                    }
                }
            }
        }
        let told = peers.iter().map(|peer| timeout(self.options.terms.renew, self.options.peers.announce(peer, news)));
        for (peer, told) in peers.iter().zip(join_all(told).await) {
            if !matches!(told, Ok(Ok(()))) {
                tracing::debug!(category = "app", peer = %peer.member.node, news, "a peer did not hear of news");
            }
        }
    }

    /// All members of the view but this node.
    pub(super) fn peers(&self, view: &View) -> Vec<Peer> {
        let me = self.node.lock().as_ref().map(|node| node.me().clone());
        let endpoints = self.endpoints.read();
        let peer = |member| Some(Peer { endpoint: endpoints.get(member)?.clone(), member: member.clone(), cell: None });
        view.deal.members().into_iter().filter(|member| Some(*member) != me.as_ref()).filter_map(peer).collect()
    }

    /// Opens slots as soon as nobody else can serve them. Nobody's answer is waited for before others are asked, and heard.
    async fn open_slots(self: Arc<Self>) {
        let this = &*self;
        let (mut asking, mut asked) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            let waiting = this.open_free();
            let mut opens_in = Duration::MAX;
            if let Some((asks, version, opens_by)) = waiting {
                opens_in = opens_by.0.saturating_sub(this.open.now().0).min(this.options.terms.renew);
                let mut by_member: BTreeMap<Member, Vec<u16>> = BTreeMap::new();
                for (member, slot) in asks {
                    if !asked.contains(&(member.clone(), slot)) {
                        by_member.entry(member).or_default().push(slot);
                    }
                }
                for (member, slots) in by_member {
                    // Where it is reached is known with the next look at the rows, if not now.
                    let Some(endpoint) = this.endpoints.read().get(&member).cloned() else { continue };
                    asked.extend(slots.iter().map(|slot| (member.clone(), *slot)));
                    asking.push(this.ask_for(Peer { member, endpoint, cell: None }, slots, version));
                }
            }
            tokio::select! {
                biased;
                Some((member, slots)) = asking.next(), if !asking.is_empty() => {
                    asked.retain(|(of, slot)| *of != member || !slots.contains(slot));
                }
                () = this.opens.notified() => {}
                () = sleep(opens_in), if opens_in < Duration::MAX => {}
            }
        }
    }

    /// Asks a peer for slots once, and takes in what it answers: who was asked for what. Where nothing was released it lasts a moment at least.
    async fn ask_for(&self, peer: Peer, slots: Vec<u16>, version: u64) -> (Member, Vec<u16>) {
        let again = Instant::now() + ASK_AGAIN;
        let answers = timeout(self.options.terms.renew, self.options.peers.ask(&peer, &slots, version)).await;
        if !self.take_answers(&peer.member, &slots, answers.ok().and_then(Result::ok).unwrap_or_default(), version) {
            sleep_until(again).await;
        }
        (peer.member, slots)
    }

    /// What was told of slots that open now.
    fn hear(&self, slots: &[u16], node: &Node) {
        let Some(memory) = self.memory.get() else { return };
        let (mut heard, mut told_of) = (self.heard.lock(), 0);
        for slot in slots.iter().filter_map(|slot| Slot::numbered(*slot)) {
            let told = heard.take(slot.number(), node.taken_from(slot.number(), None));
            told_of += usize::from(told.is_some());
            memory.hear(slot, told.as_deref());
        }
        tracing::debug!(category = "app", version = node.version(), slots = slots.len(), told_of, "slots open");
    }

    /// Opens what is free; whom to ask for the rest, under which view, and when one of them opens at the latest. `None`: nothing waits for others.
    pub(super) fn open_free(&self) -> Option<(Vec<(Member, u16)>, u64, Moment)> {
        let mut node = self.node.lock();
        let node = node.as_mut()?;
        let opened = node.open_free(self.open.now());
        if !opened.is_empty() {
            self.hear(&opened, node);
            self.open.open(&opened, node);
            self.opened.lock().extend(opened);
            self.woken.notify_one();
        }
        Some((node.asks(), node.version(), node.opens_by()?))
    }
}

/// Where each present life of a node is reached.
fn endpoints(leases: &[Lease]) -> BTreeMap<Member, String> {
    leases.iter().map(|lease| (lease.member(), lease.endpoint.clone())).collect()
}
