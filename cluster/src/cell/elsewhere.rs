//! Other cells of the installation: which owners they serve, and where in them something is done.
//!
//! An owner's row says which cell has it; without one that is the main cell. Rows are read when owners are asked for, and remembered for a while, for so many owners
//! and no more. What is remembered is a hint: where an owner has been, its partitions are sealed, and a cell that does not have it says so. Then the row is read again.

use super::{Cell, Peer, Whereabouts};
use crate::{Slot, ask::HELD};
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::{CellName, Home, Homes, Phase, StoreError};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// What news of an owner's row begin with; the owner follows.
const NEWS: &str = "home:";
/// Owners whose row is remembered at most, and for how long.
const REMEMBERED: usize = 16_384;
const BELIEVED: Duration = Duration::from_secs(300);
/// Owners that wait for somebody to go on with what has sealed them.
const STUCK: usize = 256;

#[derive(Debug, Clone)]
struct Hint {
    cell: CellName,
    came: Option<Timestamp>,
    read: Instant,
}

/// The cells of an installation, as a node of one of them knows them.
pub struct Elsewhere {
    rows: Arc<dyn Homes>,
    own: CellName,
    main: CellName,
    hints: Cache<Owner, Hint>,
    /// Versions of rows under which owners are on their way, and since when this node knows.
    under_way: Cache<Owner, (u64, Instant)>,
    /// The other cells, followed from outside.
    cells: BTreeMap<CellName, Arc<Cell>>,
    stuck: mpsc::Sender<Owner>,
    found: Mutex<Option<mpsc::Receiver<Owner>>>,
}

impl Elsewhere {
    /// For a node of the cell `own`.
    #[must_use]
    pub fn new(rows: Arc<dyn Homes>, own: CellName, main: CellName, cells: BTreeMap<CellName, Arc<Cell>>) -> Arc<Self> {
        let (stuck, found) = mpsc::channel(STUCK);
        let (hints, under_way) = (Cache::new(REMEMBERED), Cache::new(STUCK * 4));
        Arc::new(Self { rows, own, main, hints, under_way, cells, stuck, found: Mutex::new(Some(found)) })
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &dyn Homes {
        &*self.rows
    }

    /// This node's cell.
    #[must_use]
    pub const fn own(&self) -> &CellName {
        &self.own
    }

    /// The cell of owners without a row.
    #[must_use]
    pub const fn main(&self) -> &CellName {
        &self.main
    }

    /// Whether it is the one that has what was not moved.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.own == self.main
    }

    /// The names of the other cells.
    pub fn names(&self) -> impl Iterator<Item = &CellName> {
        self.cells.keys()
    }

    /// What is told of a change of the owner's row.
    #[must_use]
    pub fn news(owner: &Owner) -> String {
        format!("{NEWS}{owner}")
    }

    /// Whose row has changed, when the news are of that.
    #[must_use]
    pub fn told(news: &str) -> Option<Owner> {
        Owner::new(news.strip_prefix(NEWS)?).ok()
    }

    /// The members of another cell, where they are reached; `None` while its view is not known.
    #[must_use]
    pub fn members(&self, cell: &CellName) -> Option<Vec<Peer>> {
        let found = self.cells.get(cell).filter(|found| found.version() > 0)?;
        Some(found.others().into_iter().map(|peer| Peer { cell: Some(cell.clone()), ..peer }).collect())
    }

    /// Owners found sealed that nobody has elsewhere; for the one task that goes on with what has sealed them.
    pub fn take_stuck(&self) -> Option<mpsc::Receiver<Owner>> {
        self.found.lock().take()
    }

    /// Since when this node knows that the owner's row has this version.
    #[must_use]
    pub fn since(&self, owner: &Owner, version: u64) -> Instant {
        match self.under_way.get(owner) {
            Some((known, since)) if known == version => since,
            Some(_) | None => {
                let now = Instant::now();
                self.under_way.insert(owner.clone(), (version, now));
                now
            }
        }
    }

    /// Reads the owner's row.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn home(&self, owner: &Owner) -> Result<Home, StoreError> {
        let home = self.rows.of(owner).await?.unwrap_or_else(|| Home::first(self.main.clone()));
        // One that is on its way is somewhere else in a moment.
        if matches!(home.phase, Phase::Moving { .. }) {
            self.forget(owner);
        } else {
            self.hints.insert(owner.clone(), Hint { cell: home.cell.clone(), came: home.came, read: Instant::now() });
        }
        Ok(home)
    }

    fn hint(&self, owner: &Owner) -> Option<Hint> {
        self.hints.get(owner).filter(|hint| hint.read.elapsed() < BELIEVED)
    }

    pub(crate) fn forget(&self, owner: &Owner) {
        self.hints.remove(owner);
    }

    /// Which cell has it, by what is remembered or by its row.
    async fn cell_of(&self, owner: &Owner, until: Instant) -> Result<CellName, String> {
        if let Some(hint) = self.hint(owner) {
            return Ok(hint.cell);
        }
        match timeout_at(until, self.home(owner)).await {
            Ok(Ok(home)) => Ok(home.cell),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the store did not say in time which cell has the owner".to_owned()),
        }
    }

    /// Whether this cell has the owner, by what is remembered or by its row; as far as is known, when that is not read in time.
    async fn has(&self, owner: &Owner, until: Instant) -> bool {
        self.cell_of(owner, until).await.map_or_else(|_| self.is_here(owner), |cell| cell == self.own)
    }

    /// Whether this cell has the owner, as far as is known: the main one has those of which nothing is.
    fn is_here(&self, owner: &Owner) -> bool {
        self.hint(owner).map_or_else(|| self.is_main(), |hint| hint.cell == self.own)
    }

    pub(crate) fn is_gone(&self, owner: &Owner) -> bool {
        self.hint(owner).is_some_and(|hint| hint.cell != self.own)
    }

    /// When the owner came here from another cell; now, when that is not known.
    pub(crate) fn came(&self, owner: &Owner, now: Timestamp) -> Option<Timestamp> {
        self.hint(owner).map_or(Some(now), |hint| hint.came)
    }

    /// Whether this cell is to serve the owner, by its row.
    pub(crate) async fn is_served(&self, owner: &Owner) -> Result<bool, StoreError> {
        let home = self.home(owner).await?;
        Ok(home.cell == self.own && !matches!(home.phase, Phase::Moving { .. }))
    }

    pub(crate) async fn found_sealed(&self, owner: &Owner) {
        match self.home(owner).await {
            // When there are too many, those that are asked for again come again.
            Ok(home) if home.cell == self.own || !matches!(home.phase, Phase::Settled | Phase::Copying { .. }) => {
                drop(self.stuck.try_send(owner.clone()));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(category = "app", %owner, %error, "where an owner is cannot be read"),
        }
    }

    /// Where in another cell it is done; `None`: in this one.
    async fn located(&self, owner: &Owner, hops: u8, until: Instant) -> Option<Whereabouts> {
        // Who has sent it here has looked at the row since.
        if hops > 0 && self.is_gone(owner) {
            self.forget(owner);
        }
        let cell = match self.cell_of(owner, until).await {
            Ok(cell) if cell == self.own => return None,
            Ok(cell) => cell,
            Err(reason) => return Some(Whereabouts::Nowhere(reason)),
        };
        if hops > 0 {
            return Some(Whereabouts::Nowhere(format!("the owner is in cell {cell}")));
        }
        let Some(other) = self.cells.get(&cell) else { return Some(Whereabouts::Nowhere(format!("this node does not know cell {cell}"))) };
        if other.version() == 0 {
            return Some(Whereabouts::Nowhere(format!("the nodes of cell {cell} are not known to this one")));
        }
        Some(match other.located_here(Slot::of(owner), 0, 0, until).await {
            Whereabouts::There(peer, hops) => Whereabouts::There(Peer { cell: Some(cell), ..peer }, hops),
            Whereabouts::Here => Whereabouts::Nowhere(format!("cell {cell} has no members")),
            nowhere @ Whereabouts::Nowhere(_) => nowhere,
        })
    }

    /// Follows the other cells from now on.
    pub(crate) fn follow(&self) {
        for cell in self.cells.values() {
            tokio::spawn(cell.clone().follow());
        }
    }

    pub(super) fn leave_off(&self) {
        self.cells.values().for_each(|cell| cell.stop());
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Elsewhere");
        shown.field("own", &self.own).field("main", &self.main).field("cells", &self.cells.keys()).finish_non_exhaustive()
    }
}

impl Cell {
    /// The installation has several cells. Before the node begins its life.
    pub fn among(&self, elsewhere: Arc<Elsewhere>) {
        // Said once, where the node is put together.
        let _ = self.elsewhere.set(elsewhere);
    }

    /// The other cells; `None` in an installation of one.
    pub fn elsewhere(&self) -> Option<&Arc<Elsewhere>> {
        self.elsewhere.get()
    }

    /// Whether another node owns the owner's slot, or another cell has it, by the owner's row where nothing is remembered of it.
    pub(crate) async fn finds_away(&self, owner: &Owner) -> bool {
        match self.elsewhere.get() {
            Some(elsewhere) if !elsewhere.has(owner, Instant::now() + HELD).await => true,
            Some(_) | None => self.is_elsewhere(Slot::of(owner)),
        }
    }

    /// The same without a look: as far as is known. For what was done already, of which it is asked whether it may have been at the wrong place.
    pub fn is_away(&self, owner: &Owner) -> bool {
        self.elsewhere.get().is_some_and(|elsewhere| !elsewhere.is_here(owner)) || self.is_elsewhere(Slot::of(owner))
    }

    /// Where what is an owner's, and came over `hops` hops from a node that has applied the view `version` of this cell, is to be done. Looks for a newer view
    /// first, where there is one.
    pub async fn located(&self, owner: &Owner, version: u64, hops: u8, until: Instant) -> Whereabouts {
        if let Some(elsewhere) = self.elsewhere.get()
            && let Some(there) = elsewhere.located(owner, hops, until).await
        {
            return there;
        }
        self.located_here(Slot::of(owner), version, hops, until).await
    }

    fn cell_of(&self, peer: &Peer) -> &Self {
        let other = peer.cell.as_ref().and_then(|name| self.elsewhere.get()?.cells.get(name));
        other.map_or(self, |other| other)
    }

    /// The view of the peer's cell that this node has applied.
    #[must_use]
    pub fn version_of(&self, peer: &Peer) -> u64 {
        self.cell_of(peer).version()
    }

    /// The peer did not take what is this owner's: the owner's row is read again, and a newer view of the peer's cell than `version` looked for, and waited for a moment.
    pub async fn news_of(&self, owner: &Owner, peer: &Peer, version: u64, until: Instant) {
        if let Some(elsewhere) = self.elsewhere.get() {
            elsewhere.forget(owner);
            let is_still = |cell: CellName| cell == *peer.cell.as_ref().unwrap_or(&elsewhere.own);
            if elsewhere.cell_of(owner, until).await.is_ok_and(|cell| !is_still(cell)) {
                return;
            }
        }
        self.cell_of(peer).news(version, until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_storage::Swap;
    use futures::future::BoxFuture;
    use std::collections::HashMap;

    #[derive(Default)]
    struct Rows {
        homes: Mutex<HashMap<Owner, Home>>,
        reads: Mutex<usize>,
    }

    impl Homes for Rows {
        fn of<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Home>, StoreError>> {
            *self.reads.lock() += 1;
            let found = self.homes.lock().get(owner).cloned();
            Box::pin(async move { Ok(found) })
        }

        fn put<'a>(&'a self, _: &'a Owner, _: &'a Home) -> BoxFuture<'a, Swap> {
            Box::pin(async { Swap::Refused })
        }
    }

    fn cell(name: &str) -> CellName {
        CellName(name.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn rows_are_read_once_in_a_while_and_what_is_remembered_has_a_bound() {
        let rows = Arc::new(Rows::default());
        let node = Elsewhere::new(rows.clone(), cell("b"), cell("a"), BTreeMap::new());
        let (one, until) = (Owner::new("p/1").unwrap(), Instant::now() + Duration::from_secs(3_600));
        let cell_of = async |owner: &Owner| node.cell_of(owner, until).await.unwrap();
        assert!(!node.is_here(&one), "what is not known is in the main cell");
        assert_eq!(node.came(&one, Timestamp(7)), Some(Timestamp(7)), "it may have come just now");
        assert_eq!((cell_of(&one).await, cell_of(&one).await, *rows.reads.lock()), (cell("a"), cell("a"), 1));
        assert_eq!(node.came(&one, Timestamp(7)), None);
        let moved = Home { came: Some(Timestamp(5)), ..Home::first(cell("a")).next(&cell("b"), Phase::Moved { from: cell("a") }) };
        rows.homes.lock().insert(one.clone(), moved.clone());
        tokio::time::advance(BELIEVED).await;
        // What is not believed any more is no reason to send anything elsewhere.
        assert!(!node.is_here(&one) && node.has(&one, until).await);
        assert_eq!((cell_of(&one).await, *rows.reads.lock()), (cell("b"), 2));
        assert!(node.is_here(&one) && node.came(&one, Timestamp(7)) == Some(Timestamp(5)) && node.is_served(&one).await.unwrap());
        // On its way: nothing is remembered, nor is it woken.
        let leaves = moved.next(&cell("b"), Phase::Moving { to: cell("a"), since: None });
        rows.homes.lock().insert(one.clone(), leaves);
        assert!(!node.is_served(&one).await.unwrap() && node.hint(&one).is_none());
        // Found sealed here it is told to whoever goes on; elsewhere it is not.
        let mut stuck = node.take_stuck().unwrap();
        node.found_sealed(&one).await;
        node.found_sealed(&Owner::new("p/2").unwrap()).await;
        assert_eq!((stuck.try_recv().ok(), stuck.try_recv().ok()), (Some(one), None));
        for n in 0..2 * REMEMBERED {
            cell_of(&Owner::new(format!("o/{n}")).unwrap()).await;
        }
        assert!(node.hints.len() <= REMEMBERED);
    }

    #[test]
    fn news_say_whose_they_are() {
        let owner = Owner::new("p/1").unwrap();
        assert_eq!(Elsewhere::told(&Elsewhere::news(&owner)), Some(owner));
        assert!(Elsewhere::told("settings").is_none() && Elsewhere::told("home:").is_none());
    }
}
