//! This node as part of a cell: its life, its slots, and what it says to its peers. The rules are in [`crate::membership`]; here are the rows, the clock
//! and the tasks.

mod elsewhere;
mod finalize;
mod memory;
mod open_slots;
mod peers;
mod rounds;
mod running;
#[cfg(test)]
mod tests;
mod whereabouts;

pub use elsewhere::Elsewhere;
pub use finalize::Finalized;
pub use memory::{SlotMemory, Told};
pub use open_slots::{BootClock, Uptime};
pub use peers::{Peer, PeerError, PeerLink};
pub use whereabouts::Whereabouts;

use crate::{
    Clock, Opening, ServedBefore, Slot,
    membership::{Answer, Ended, Moment, Node, ServedLast, Terms},
    ring::NodeName,
    watched::{Watched, Watcher},
};
use cellspace_storage::{Member, Membership, Slots, View};
use memory::{Heard, MOST_TOLD};
use open_slots::OpenSlots;
use parking_lot::{Mutex, RwLock};
use running::Running;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How a node is part of a cell.
pub struct CellOptions {
    /// Its name, its own in the cell and stable over restarts.
    pub node: NodeName,
    /// Highest level of rows that this build reads.
    pub level: u16,
    /// Where its peers reach it (`host:port`).
    pub endpoint: String,
    /// The same for all nodes.
    pub terms: Terms,
    /// The rows.
    pub membership: Arc<dyn Membership>,
    /// The way to its peers.
    pub peers: Arc<dyn PeerLink>,
    /// Its clock.
    pub uptime: Arc<dyn Uptime>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// One life of a node in its cell.
pub struct Cell {
    options: CellOptions,
    /// The other cells, where there are any.
    elsewhere: OnceLock<Arc<Elsewhere>>,
    /// Whether it is to be a member.
    joins: bool,
    node: Mutex<Option<Node>>,
    open: OpenSlots,
    endpoints: RwLock<BTreeMap<Member, String>>,
    /// Version of the view that was applied last.
    version: Watched<u64>,
    /// Level at which that one has rows written.
    writes: AtomicU16,
    /// A newer view is to be looked for.
    look: Notify,
    running: Running,
    /// Slots may be about to open.
    opens: Notify,
    /// Changes when a view was taken in, and when the last turns of slots have ended: what is said to peers that ask may be another thing by then.
    turned: Watched<()>,
    /// Slots that have opened, whose agents may have to come back.
    opened: Mutex<BTreeSet<u16>>,
    woken: Notify,
    /// Slots that close, to whoever stops their agents.
    closing: mpsc::UnboundedSender<Vec<u16>>,
    closes: Mutex<Option<mpsc::UnboundedReceiver<Vec<u16>>>>,
    /// What is known beside the store.
    memory: OnceLock<Arc<dyn SlotMemory>>,
    heard: Mutex<Heard>,
    /// This life is over.
    over: CancellationToken,
    /// Why, unless it ended on its own terms.
    ended: OnceLock<Ended>,
}

impl Cell {
    /// A node that begins its life when the runtime starts.
    #[must_use]
    pub fn new(options: CellOptions) -> Arc<Self> {
        Self::with(options, true)
    }

    /// One that serves nothing and is no member: it follows the view and knows where things are done. Its level, endpoint and clock as for a member.
    #[must_use]
    pub fn outside(options: CellOptions) -> Arc<Self> {
        Self::with(options, false)
    }

    fn with(options: CellOptions, joins: bool) -> Arc<Self> {
        // Bounded: a slot closes once until it opened again.
        let (closing, closes) = mpsc::unbounded_channel();
        let uptime = options.uptime.clone();
        Arc::new(Self {
            open: OpenSlots::new(options.terms.slots, uptime),
            options,
            elsewhere: OnceLock::new(),
            joins,
            node: Mutex::new(None),
            endpoints: RwLock::default(),
            version: Watched::new(0),
            // Nothing is written before there is a view.
            writes: AtomicU16::new(0),
            look: Notify::new(),
            running: Running::default(),
            opens: Notify::new(),
            turned: Watched::new(()),
            opened: Mutex::default(),
            woken: Notify::new(),
            closing,
            closes: Mutex::new(Some(closes)),
            memory: OnceLock::new(),
            heard: Mutex::default(),
            over: CancellationToken::new(),
            ended: OnceLock::new(),
        })
    }

    /// What this node knows of slots beside the store, from now on; before the runtime starts, and once.
    pub fn remember(&self, memory: Arc<dyn SlotMemory>) {
        let _ = self.memory.set(memory);
    }

    /// A peer shows a view.
    ///
    /// # Errors
    /// [`Ended`]: this life is over.
    pub fn shown(&self, view: View) -> Result<(), Ended> {
        {
            let mut node = self.node.lock();
            let Some(node) = node.as_mut() else { return Ok(()) };
            let closes = node.learn(view, self.open.now()).inspect_err(|ended| self.end(ended))?;
            self.applied(node, &closes);
        }
        self.opens.notify_one();
        Ok(())
    }

    /// A peer that owns these slots under the view `version` asks `to` for them. While none of them is released yet it is answered when that may have changed, or
    /// after half of a renewal: who asks has nothing else to do, and asks again. `None`: that is another life of this node.
    pub async fn asked(&self, to: &Member, slots: &[u16], version: u64) -> Option<Vec<Told>> {
        let mut turns = self.turned.watch();
        let mut answers = self.answers(to, slots, version)?;
        if !slots.is_empty() && answers.iter().all(|(answer, _)| matches!(answer, Answer::NotYet | Answer::Behind)) {
            let _ = timeout(self.options.terms.renew / 2, turns.changed()).await;
            answers = self.answers(to, slots, version)?;
        }
        let mut left = MOST_TOLD;
        let told = slots.iter().zip(answers).map(|(slot, (answer, tells))| {
            let memory = (answer == Answer::Released && tells).then(|| self.tell(*slot, left)).flatten();
            left -= memory.as_ref().map_or(0, |told| told.get().len());
            Told { answer, memory }
        });
        Some(told.collect())
    }

    /// What is said of each slot now, and whether what is known of it is told too.
    fn answers(&self, to: &Member, slots: &[u16], version: u64) -> Option<Vec<(Answer, bool)>> {
        let node = self.node.lock();
        let node = node.as_ref().filter(|node| node.me() == to)?;
        if version > node.version() {
            self.look.notify_one();
        }
        Some(slots.iter().map(|slot| (node.asked(*slot, version), node.tells(*slot))).collect())
    }

    fn tell(&self, slot: u16, most: usize) -> Option<Box<RawValue>> {
        let slot = Slot::numbered(slot)?;
        self.memory.get()?.tell(self.opening(slot, self.open.opened_for(slot)?)).filter(|told| told.get().len() <= most)
    }

    /// The view that this node has applied; `None` before the first.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.node.lock().as_ref().and_then(|node| node.view().cloned())
    }

    /// Waits for a view that is newer than the one of this version; `None` when this life is over.
    pub async fn newer(&self, version: u64) -> Option<View> {
        let mut versions = self.version.watch();
        self.over.run_until_cancelled(versions.until(|applied| *applied > version)).await?;
        self.view()
    }

    /// How many slots each member owns under the view that this node has applied.
    #[must_use]
    pub fn shares(&self) -> BTreeMap<Member, usize> {
        let (node, mut shares) = (self.node.lock(), BTreeMap::new());
        for owner in node.iter().flat_map(|node| (0..self.options.terms.slots).filter_map(|slot| node.owner(slot))) {
            *shares.entry(owner.clone()).or_default() += 1;
        }
        shares
    }

    /// The other members, where they are reached.
    #[must_use]
    pub fn others(&self) -> Vec<Peer> {
        self.view().map(|view| self.peers(&view)).unwrap_or_default()
    }

    /// A slot that this node owns under the view that it has applied.
    #[must_use]
    pub fn own_slot(&self) -> Option<u16> {
        let node = self.node.lock();
        let node = node.as_ref()?;
        (0..self.options.terms.slots).find(|slot| node.owner(*slot) == Some(node.me()))
    }

    /// Whether this node is part of the view.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.node.lock().as_ref().is_some_and(Node::is_member)
    }

    /// Waits until this node has been taken in, and may act; or until its life is over. One outside waits for a view.
    pub async fn joined(&self) {
        let mut changes = self.open.watch();
        let ready = || if self.joins { self.is_member() && self.open.lease_held() } else { self.version() > 0 };
        while !ready() && !self.over.is_cancelled() {
            changes.changed().await;
        }
    }

    /// Resolves when this life is over: the process is to end.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Why this life is over; `None` while it is not, and when its own process ended it.
    #[must_use]
    pub fn why_over(&self) -> Option<&Ended> {
        self.ended.get()
    }

    fn end(&self, why: &Ended) {
        // The first reason counts.
        let _ = self.ended.set(why.clone());
        self.over.cancel();
    }

    /// Hands the slots over, and waits until this node is no member any more.
    pub(crate) async fn leave(&self) {
        if let Some(node) = self.node.lock().as_mut() {
            node.leave();
        }
        let mut changes = self.open.watch();
        let alone = || self.view().is_none_or(|view| view.deal.members().len() <= 1);
        while self.is_member() && !alone() && !self.over.is_cancelled() {
            changes.changed().await;
        }
    }

    pub(crate) fn stop(&self) {
        if let Some(elsewhere) = self.elsewhere.get() {
            elsewhere.leave_off();
        }
        self.over.cancel();
    }

    /// The view since which the slot is open here, while the lease holds.
    pub(crate) fn serves(&self, slot: Slot) -> Option<u64> {
        self.open.serves(slot)
    }

    /// Since when the slot is open here; one that is not opens now at the earliest.
    pub(crate) fn opened_at(&self, slot: Slot) -> Opening {
        match self.open.open_for(slot) {
            Some(opened) => self.opening(slot, opened),
            // What is known is of the time before.
            None => Opening { before: None, ..self.opening(slot, Duration::ZERO) },
        }
    }

    fn opening(&self, slot: Slot, opened: Duration) -> Opening {
        let (clock, now) = (self.options.clock.now(), self.open.now());
        let by_day = |moment: Moment| clock.minus(now.0.saturating_sub(moment.0)).plus(moment.0.saturating_sub(now.0));
        let others = |last: ServedLast| last.told.map_or(by_day(last.others), |told| told.min(by_day(last.others)));
        let before = self.open.served_last(slot).map(|last| ServedBefore { others: others(last), owner: last.owner });
        Opening { slot, at: clock.minus(opened), before, came: None, until: self.open.serves_until() }
    }

    /// The view that this node has applied; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.version.read()
    }

    /// Highest level of rows that this node reads.
    pub(crate) fn reads(&self) -> u16 {
        self.options.level
    }

    /// Level at which rows are written under the view that this node has applied.
    pub(crate) fn writes(&self) -> u16 {
        self.writes.load(Ordering::Acquire)
    }

    pub(crate) fn link(&self) -> &dyn PeerLink {
        &*self.options.peers
    }

    pub(crate) fn owner(&self, slot: Slot) -> Option<NodeName> {
        self.node.lock().as_ref().and_then(|node| node.owner(slot.number())).map(|member| member.node.clone())
    }

    /// Changes when slots open or the lease is renewed.
    pub(crate) fn changes(&self) -> Watcher<()> {
        self.open.watch()
    }

    /// An epoch of a newer view was found.
    pub(crate) fn look_for_newer(&self) {
        self.look.notify_one();
    }

    /// Slots as they close; for the one task that stops their agents.
    pub(crate) fn take_closes(&self) -> Option<mpsc::UnboundedReceiver<Vec<u16>>> {
        self.closes.lock().take()
    }

    /// Slots that have opened since it was asked last; for the one task that wakes their agents.
    pub(crate) async fn opened(&self) -> Slots {
        self.woken.notified().await;
        self.open.watch().until(|()| self.running.all()).await;
        let opened = std::mem::take(&mut *self.opened.lock());
        Slot::all().filter(|slot| opened.contains(&slot.number())).collect()
    }

    /// Slots that are open here, whether the lease is held or about to come back.
    pub(crate) fn open_now(&self) -> Slots {
        Slot::all().filter(|slot| self.open.is_open(*slot)).collect()
    }

    /// The last turns of these slots have ended, and nothing of them is in memory.
    pub(crate) fn ended(&self, slots: &[u16]) {
        if let Some(node) = self.node.lock().as_mut() {
            slots.iter().for_each(|slot| node.ended(*slot));
        }
        self.turned.set(());
        self.opens.notify_one();
    }

    /// A view was taken in. While the node is locked, so that no opening comes between.
    fn applied(&self, node: &Node, closes: &[u16]) {
        self.writes.store(node.view().map_or(0, |view| view.format), Ordering::Release);
        let version = node.version();
        if self.version() != version {
            self.version.set(version);
        }
        if !closes.is_empty() {
            self.open.close(closes);
            metrics::counter!("cellspace_cell_slots_closed_total").increment(closes.len() as u64);
            tracing::debug!(category = "app", version = node.version(), slots = closes.len(), "slots are handed over");
            let _ = self.closing.send(closes.to_vec());
        }
        self.turned.set(());
    }

    /// Takes in what this member has answered to a question under the view `version`; whether it released anything.
    fn take_answers(&self, by: &Member, slots: &[u16], answers: Vec<Told>, version: u64) -> bool {
        let mut node = self.node.lock();
        let Some(node) = node.as_mut() else { return false };
        let (mut heard, mut released) = (self.heard.lock(), false);
        for (slot, Told { answer, memory }) in slots.iter().zip(answers) {
            match answer {
                Answer::Released => {
                    // Not what is about an earlier time than when its last owner lost it.
                    let since = node.taken_from(*slot, Some(by)).filter(|since| *since <= version);
                    if let (Some(since), Some(told)) = (since, memory) {
                        heard.put(*slot, since, told);
                    }
                    node.released(*slot, by, version);
                    released = true;
                }
                Answer::Newer(_) => self.look.notify_one(),
                Answer::NotYet | Answer::Behind => {}
            }
        }
        released
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("node", &self.options.node).field("open", &self.open).finish_non_exhaustive()
    }
}
