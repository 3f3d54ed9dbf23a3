//! Moves of owners between the cells of an installation, by any node of any of them. What is next is decided by [`cellspace_storage::relocation`] from what is there;
//! nothing of a move is in memory alone.

mod left;
#[cfg(all(feature = "scylla", feature = "kafka"))]
pub(super) mod lives;
mod members;
mod sealed;
mod stuck;
mod told;

use super::Directory;
use cellspace_cluster::{Cluster, Elsewhere, Peer, PeerLink};
use cellspace_schemas::Owner;
use cellspace_storage::{
    CellName, Home, Member, Movable, NodeName, PartitionKey, Phase, Standing, StoreError, Swap,
    relocation::{Seen, Side, Step, Want, decide},
};
use futures::{
    StreamExt, TryStreamExt,
    future::{BoxFuture, FutureExt},
    stream,
};
use parking_lot::Mutex;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use told::Told;

/// How long one call goes on, so that whoever asks hears of it.
const LONGEST: Duration = Duration::from_secs(20);
/// Pause before it is looked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Partitions that are looked at, sealed or copied at once.
const AT_ONCE: usize = 4;
/// Rows of homes that are read at once for a list.
const LOOKS: usize = 16;

/// The stores of all cells of the installation.
pub trait Cells: Send + Sync + 'static {
    /// The store of one of them.
    fn store(&self, cell: &CellName) -> Option<&dyn Movable>;

    /// Copies a partition that is served from one to another, over one that stands there as it was seen to, for this version of the owner's home.
    fn copy_ahead<'a>(
        &'a self,
        from: &'a CellName,
        to: &'a CellName,
        partition: &'a PartitionKey,
        over: Standing,
        version: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Copies what is left of a sealed one.
    fn copy<'a>(
        &'a self,
        from: &'a CellName,
        to: &'a CellName,
        partition: &'a PartitionKey,
        over: Standing,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The members of the cell as its rows have them now, and where they are reached.
    fn members<'a>(&'a self, cell: &'a CellName) -> BoxFuture<'a, Result<Vec<(Member, String)>, StoreError>>;

    /// Whether this life of a node of the cell is over, as far as the cell's database says; answers at once. Who has not renewed its lease for as long as one lasts, since this
    /// was asked first, has it taken away, however many of the cell these are: it serves nothing any more, should it go on.
    fn is_over<'a>(&'a self, cell: &'a CellName, member: &'a Member) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Brings to the log what commits of a partition have left on its way there, in a cell of which every node is gone.
    fn publish<'a>(&'a self, cell: &'a CellName, partition: &'a PartitionKey) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// How far a move has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveReport {
    /// Whether the owner is there, and nothing of it anywhere else.
    pub done: bool,
    /// The cell that has it.
    pub cell: CellName,
    /// While its rows are copied, which takes as long as it takes, and it is served: how many were looked at. It grows as long as that comes further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copying: Option<u64>,
    /// What it waits for; it goes on when it is asked for again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Why it was given up: the owner is served where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<String>,
}

/// A cell, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellReport {
    /// Its name.
    pub cell: CellName,
    /// Its members; `None` while they are not known.
    pub nodes: Option<usize>,
}

/// Where a participant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HomeReport {
    /// Id of the participant context.
    pub participant: Owner,
    /// The cell that has it.
    pub cell: CellName,
}

/// Why there is no move.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The installation has one cell.
    #[error("this installation has one cell")]
    OneCell,
    /// There is no such cell.
    #[error("the installation has no cell {0}, as far as this node knows")]
    UnknownCell(CellName),
    /// There is nothing to be moved.
    #[error("there is no participant {0}")]
    Unknown(Owner),
    /// It is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What keeps a move from going on now.
type Waits = String;

struct Mover<'a> {
    cluster: &'a Cluster,
    elsewhere: &'a Elsewhere,
    cells: &'a dyn Cells,
    link: &'a dyn PeerLink,
    me: &'a NodeName,
    /// Members of this node's cell but this node.
    others: Vec<Peer>,
    /// Whether this node is one.
    is_member: bool,
    owner: &'a Owner,
    /// Of the partitions that an owner may have.
    kinds: Vec<&'static str>,
    /// What members have answered to.
    told: Mutex<Told>,
    /// Why cells did not answer at the last look.
    away: Mutex<BTreeMap<CellName, Waits>>,
}

impl Directory {
    /// Brings a participant to another cell, or goes on with that; answers after a while, however far it has come.
    ///
    /// # Errors
    /// [`MoveError`]
    pub async fn move_to(&self, cluster: &Cluster, owner: &Owner, kind: &str, wanted: &CellName) -> Result<MoveReport, MoveError> {
        let mover = self.mover(cluster, owner).ok_or(MoveError::OneCell)?;
        let store = |cell| mover.cells.store(cell).ok_or_else(|| MoveError::UnknownCell(cell.clone()));
        store(wanted)?;
        let home = mover.elsewhere.home(owner).await?;
        let partition = PartitionKey { owner: owner.clone(), kind: kind.to_owned(), name: String::new() };
        if store(&home.cell)?.standing(&partition).await?.seq.is_none() {
            return Err(MoveError::Unknown(owner.clone()));
        }
        Ok(mover.go_on(Want::To(wanted.clone()), LONGEST).await)
    }

    /// Whether the installation has several cells.
    pub fn is_among_cells(&self) -> bool {
        self.cell.elsewhere().is_some()
    }

    /// The cells of the installation, where it has several, with the members that each has.
    pub fn all_cells(&self) -> Vec<CellReport> {
        let Some(elsewhere) = self.cell.elsewhere() else { return Vec::new() };
        let own = CellReport { cell: elsewhere.own().clone(), nodes: Some(self.cell.others().len() + usize::from(self.cell.is_member())) };
        let others = elsewhere.names().map(|cell| CellReport { cell: cell.clone(), nodes: elsewhere.members(cell).map(|all| all.len()) });
        let mut all: Vec<_> = std::iter::once(own).chain(others).collect();
        all.sort_by(|a, b| a.cell.cmp(&b.cell));
        all
    }

    /// The cells that have these owners.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn homes(&self, owners: Vec<Owner>) -> Result<Vec<HomeReport>, StoreError> {
        let Some(elsewhere) = self.cell.elsewhere() else { return Ok(Vec::new()) };
        let look = |owner: Owner| async move {
            let home = elsewhere.rows().of(&owner).await?;
            let cell = home.map_or_else(|| elsewhere.main().clone(), |home| home.cell);
            Ok(HomeReport { participant: owner, cell })
        };
        let looks: Vec<_> = owners.into_iter().map(|owner| look(owner).boxed()).collect();
        stream::iter(looks).buffered(LOOKS).try_collect().await
    }

    fn mover<'a>(&'a self, cluster: &'a Cluster, owner: &'a Owner) -> Option<Mover<'a>> {
        let (elsewhere, cells) = self.cell.elsewhere().zip(self.cells.as_ref())?;
        let (others, is_member) = (self.cell.others(), self.cell.is_member());
        let (kinds, told, away) = (cluster.kinds(), Mutex::default(), Mutex::default());
        Some(Mover { cluster, elsewhere, cells: &**cells, link: &*self.link, me: self.me(), others, is_member, owner, kinds, told, away })
    }
}

impl Mover<'_> {
    /// Does what is next until nothing is, or for so long.
    async fn go_on(&self, mut want: Want, longest: Duration) -> MoveReport {
        let (until, mut given_up) = (Instant::now() + longest, None);
        let mut report = MoveReport { done: false, cell: self.elsewhere.own().clone(), copying: None, waits: None, given_up: None };
        loop {
            let waits = match self.look(&want).await {
                Err(waits) => Some(waits),
                Ok((home, copying, steps)) => {
                    (report.cell, report.copying) = (home.cell.clone(), copying);
                    if steps.is_empty() {
                        return MoveReport { done: given_up.is_none(), given_up, waits: None, ..report };
                    }
                    let gives_up = |step: &Step| matches!(step, Step::Record(Home { phase: Phase::Returning { .. }, .. }));
                    // Here, or on another node.
                    if given_up.is_none() && (matches!(home.phase, Phase::Returning { .. }) || steps.iter().any(gives_up)) {
                        given_up = Some(report.waits.take().unwrap_or_else(|| "it was to stay, or took too long".to_owned()));
                        want = Want::Settle;
                    }
                    // Whoever goes on finds how far it has come.
                    match timeout_at(until, self.act(&home, &steps)).await {
                        Ok(done) => done.err(),
                        Err(_) if report.copying.is_some() => Some("its rows are being copied, and it is served meanwhile".to_owned()),
                        Err(_) => Some("it takes its time".to_owned()),
                    }
                }
            };
            let Some(waits) = waits else { continue };
            report.waits = Some(waits);
            if Instant::now() >= until {
                return report;
            }
            sleep(PAUSE).await;
        }
    }

    /// What there is, how far a copy is, and what is next: cells first, then the row.
    async fn look(&self, want: &Want) -> Result<(Home, Option<u64>, Vec<Step>), Waits> {
        let before = self.elsewhere.home(self.owner).await.map_err(told)?;
        let wanted = match (want, &before.phase) {
            (Want::To(cell), Phase::Settled) => Some(cell),
            _ => None,
        };
        let (mut cells, mut away) = (BTreeMap::new(), BTreeMap::new());
        for cell in before.cells().chain(wanted) {
            let is_there = async {
                let side = self.side(cell).await?;
                // Nothing begins, nor is sealed, for a cell that serves nobody.
                if *cell != before.cell && matches!(before.phase, Phase::Settled | Phase::Copying { .. } | Phase::Moving { .. }) {
                    self.reach(cell, before.version).await?;
                }
                Ok::<_, Waits>(side)
            };
            match is_there.await {
                Ok(side) => drop(cells.insert(cell.clone(), side)),
                Err(reason) => {
                    tracing::debug!(category = "app", owner = %self.owner, %cell, reason, "a cell does not answer");
                    away.insert(cell.clone(), reason);
                }
            }
        }
        *self.away.lock() = away;
        let home = self.elsewhere.home(self.owner).await.map_err(told)?;
        if home != before {
            return Err("others go on with it too".to_owned());
        }
        let overdue = self.sealed_until(&home).is_some_and(|until| Instant::now() >= until);
        let seen = Seen { cells, overdue };
        let (copying, steps) = (seen.passed(&home), decide(&home, want, &seen));
        Ok((home, copying, steps))
    }

    /// Until when it may be sealed; `None` while it is not.
    fn sealed_until(&self, home: &Home) -> Option<Instant> {
        let Phase::Moving { since, .. } = home.phase else { return None };
        let (known, age) = (self.elsewhere.since(self.owner, home.version), since.map(|since| self.cluster.now().since(since)));
        Some(sealed::until(known, age, Instant::now()))
    }

    async fn side(&self, cell: &CellName) -> Result<Side, Waits> {
        let store = self.store(cell)?;
        let looks: Vec<_> =
            self.partitions().map(|key| async move { store.standing(&key).await.map(|standing| (key, standing)) }.boxed()).collect();
        stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await.map_err(told)
    }

    /// All steps, which were decided on at one look.
    async fn act(&self, home: &Home, steps: &[Step]) -> Result<(), Waits> {
        let under_way: Vec<_> = steps.iter().map(|step| self.step(home, step).boxed()).collect();
        let done = stream::iter(under_way).buffer_unordered(AT_ONCE).try_collect::<()>().await;
        let is_news = |step: &Step| matches!(step, Step::Unseal { .. } | Step::Record(Home { phase: Phase::Moved { .. }, .. }));
        if done.is_ok() && steps.iter().any(is_news) {
            // It is decided, or open: whoever has something of it to do finds it, and nobody looks for it elsewhere.
            self.tell_all().await;
        }
        done
    }

    async fn step(&self, home: &Home, step: &Step) -> Result<(), Waits> {
        let (owner, name) = (self.owner, step.name());
        tracing::debug!(category = "app", action = "owner.relocation_step", %owner, step = name, version = home.version);
        let outcome = self.take(home, step).await;
        tracing::debug!(category = "app", action = "owner.relocation_step_ended", %owner, step = name, version = home.version);
        outcome
    }

    async fn take(&self, home: &Home, step: &Step) -> Result<(), Waits> {
        match step {
            Step::Record(next) => self.record(home, next.clone()).await,
            Step::Seal { cell, partition, version } => self.store(cell)?.seal(partition, *version).await.map_err(told),
            Step::Unseal { cell, partition, seal } => self.store(cell)?.unseal(partition, *seal).await.map_err(told),
            Step::CopyAhead { from, to, partition, over, version } => {
                self.cells.copy_ahead(from, to, partition, *over, *version).await.map_err(told)
            }
            Step::Copy { from, to, partition, over } => self.cells.copy(from, to, partition, *over).await.map_err(told),
            Step::Clear { cell, partition, seal } => self.store(cell)?.clear(partition, *seal).await.map_err(told),
            Step::Await(cell) => Err(match self.away.lock().get(cell) {
                Some(reason) => format!("cell {cell} does not answer: {reason}"),
                None => format!("cell {cell} does not answer"),
            }),
            Step::AwaitEvents(cell) => self.events(cell, home.version).await,
            Step::Occupied(cell) => Err(format!("cell {cell} serves agents of an owner of that name")),
        }
    }

    async fn record(&self, home: &Home, mut next: Home) -> Result<(), Waits> {
        match &mut next.phase {
            // What was loaded before the seals is in memory still, and would be read.
            Phase::Moved { from } => {
                self.tell(from, home.version).await?;
                next.came = Some(self.cluster.now());
            }
            // Who does not answer is waited for while the owner is served, and not under the seal.
            Phase::Moving { since, .. } => {
                self.answers(&home.cell, home.version).await?;
                *since = Some(self.cluster.now());
            }
            Phase::Copying { .. } | Phase::Returning { .. } | Phase::Settled => {}
        }
        match self.elsewhere.rows().put(self.owner, &next).await {
            Swap::Applied => {
                let (owner, cell) = (self.owner, &next.cell);
                tracing::info!(category = "audit", action = "owner.relocation", %owner, %cell, before = ?home.phase, now = ?next.phase, version = next.version);
                Ok(())
            }
            // Whoever it was, the row is read again.
            Swap::Refused => Err("others go on with it too".to_owned()),
            Swap::Unknown(reason) => Err(reason),
        }
    }

    /// Of every kind, whether there or not: none may begin in the cell that the owner leaves.
    fn partitions(&self) -> impl Iterator<Item = PartitionKey> {
        self.kinds.iter().map(|kind| PartitionKey { owner: self.owner.clone(), kind: (*kind).to_owned(), name: String::new() })
    }

    fn store(&self, cell: &CellName) -> Result<&dyn Movable, Waits> {
        self.cells.store(cell).ok_or_else(|| format!("this node does not know cell {cell}"))
    }
}

fn told(error: StoreError) -> Waits {
    error.to_string()
}

#[cfg(test)]
mod tests;
