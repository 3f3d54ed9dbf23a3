//! What a process of a cell opens before it joins the others.

use super::{
    Beside, CellConfig, Cells, NodeConfig, NodeStore, Seat, Shared, StartError,
    cell_config::LONGEST_LEASE,
    moving::lives::{Life, Lives},
    store::{CELL, INSTALLATION},
    vault::NodeVault,
};
use cellspace_cluster::{
    link::{CertificateFiles, Identity, PeerName},
    membership::Terms,
};
use cellspace_storage::{
    CellName, EventLog, Lease, MasterKey, Member, Membership, Movable, NodeName, PartitionKey, ScyllaOptions, ScyllaStore, Standing,
    StoreError, Swap,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Setting of the keyspace: the terms that the cell began with.
const TERMS: &str = "terms";

impl CellConfig {
    /// Opens what it shares with the others, and is ready to sit down beside them.
    ///
    /// # Errors
    /// [`StartError`]
    pub(super) async fn open(self, config: &NodeConfig) -> Result<(Shared, Seat), StartError> {
        self.check()?;
        let name = PeerName::new(&config.cell, &self.node)?;
        let file = |ending: &str| self.certificates.join(format!("{}{ending}", self.node));
        let files = CertificateFiles { authority: self.certificates.join("ca.pem"), certificate: file(".pem"), key: file("-key.pem") };
        let identity = Identity::among(name, files, self.others.iter().map(|(cell, _)| cell.0.clone()).collect())?;
        let own = CellName(config.cell.clone());
        let others = keyspaces(config, &self.others).await?;
        let main = self.main.clone().unwrap_or_else(|| own.clone());
        let (shared, rows) = Shared::open_in_cell(config, &self.node, others.get(&main), &others).await?;
        let beside = (!self.others.is_empty()).then(|| beside(&rows, own, main, others, shared.store.events()));
        let membership: Arc<dyn Membership> = Arc::new(rows);
        let wanted = told(&self.terms);
        let known = shared.store.first_meta(TERMS, &wanted).await?;
        if known != wanted {
            return Err(StartError::OtherTerms { known, wanted });
        }
        let Self { listen, endpoint, terms, roles, .. } = self;
        Ok((shared, Seat { identity, listen, endpoint, terms, membership, roles, beside }))
    }
}

impl CellConfig {
    /// Gives the vault of the cells another master key, from the one of the configuration; the keyspace that it is in.
    ///
    /// # Errors
    /// [`StartError`], also when the vault is not in a keyspace.
    pub async fn rekey(&self, config: &NodeConfig, new: &MasterKey) -> Result<String, StartError> {
        config.check()?;
        self.check()?;
        let (own, _) = opened(config).await?;
        let others = keyspaces(config, &self.others).await?;
        let main = self.main.as_ref().and_then(|main| others.get(main)).unwrap_or(&own);
        NodeVault::rekey_in_cell(config, main, new).await?;
        Ok(main.keyspace().to_owned())
    }

    /// Puts its terms in the place of those that the cell keeps, which is answered; `None` when these are the same. Every process of the cell that serves slots must have ended, which is
    /// looked at for as long as a lease lasts, and none may start meanwhile.
    ///
    /// # Errors
    /// [`StartError::CellRuns`] names one that has not.
    pub async fn change_terms(&self, config: &NodeConfig) -> Result<Option<String>, StartError> {
        config.check()?;
        self.check()?;
        let (store, known) = opened(config).await?;
        let wanted = told(&self.terms);
        if known == wanted {
            return Ok(None);
        }
        let Ended { store, .. } = Ended::over(store, &known).await?;
        if store.next_meta(TERMS, &known, &wanted).await? { Ok(Some(known)) } else { Err(StartError::Setting(TERMS)) }
    }
}

/// The keyspace of the cell, and the terms that it keeps.
async fn opened(config: &NodeConfig) -> Result<(ScyllaStore, String), StartError> {
    let options = config.scylla.clone().ok_or(StartError::CellNeeds("a database (cassandra-nodes)"))?;
    let (keyspace, store) = (options.keyspace.clone(), ScyllaStore::open(options).await?);
    NodeStore::is_of_cell(config, &keyspace, store.meta(CELL).await?)?;
    let known = store.meta(TERMS).await?.ok_or(StartError::Setting(TERMS))?;
    Ok((store, known))
}

/// The keyspace of a cell of which every process that serves slots has ended.
pub struct Ended {
    /// The keyspace.
    pub store: ScyllaStore,
    leases: Vec<Lease>,
}

impl Ended {
    /// Opens it, and looks for as long as a lease lasts.
    ///
    /// # Errors
    /// [`StartError::CellRuns`] names one that has not ended.
    pub async fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let (store, known) = opened(config).await?;
        Self::over(store, &known).await
    }

    async fn over(store: ScyllaStore, terms: &str) -> Result<Self, StartError> {
        let leases = store.leases().await?;
        tokio::time::sleep(patience(terms)).await;
        let ended = Self { store, leases };
        ended.still().await?;
        Ok(ended)
    }

    /// Whether that is so since it was looked at first: who starts takes a lease before it serves.
    ///
    /// # Errors
    /// [`StartError::CellRuns`] names one that was started.
    pub async fn still(&self) -> Result<(), StartError> {
        match self.store.leases().await?.into_iter().find(|lease| !self.leases.contains(lease)) {
            Some(lease) => Err(StartError::CellRuns(lease.node)),
            None => Ok(()),
        }
    }
}

fn told(Terms { renew, lease, margin, pace, step, .. }: &Terms) -> String {
    format!("renew {renew:?}, lease {lease:?}, margin {margin:?}, pace {pace:?}, step {step}")
}

/// Lease and margin of terms as they are told; the longest there may be, of what cannot be read.
fn patience(told: &str) -> Duration {
    let of = |name: &str| {
        let text = told.split(", ").find_map(|term| term.strip_prefix(name)?.strip_prefix(' '))?;
        let (number, unit) = text.strip_suffix("ms").map_or((text.strip_suffix('s')?, 1.0), |number| (number, 1_000.0));
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? / unit).ok()
    };
    of("lease").and_then(|lease| Some(lease + of("margin")?)).unwrap_or(LONGEST_LEASE * 2)
}

impl Shared {
    /// Opens the keyspace, the Kafka and the vault that the processes of a cell share, for the one that is called `node`; and the rows of its membership.
    ///
    /// # Errors
    /// [`StartError`]
    async fn open_in_cell(
        config: &NodeConfig,
        node: &NodeName,
        main: Option<&ScyllaStore>,
        others: &Keyspaces,
    ) -> Result<(Self, ScyllaStore), StartError> {
        let mut known = Vec::new();
        for other in others.values() {
            known.extend(other.meta(INSTALLATION).await?);
        }
        config.check()?;
        let (store, rows) = NodeStore::open_in_cell(config, node, main, &known).await?;
        // Keys and secrets of all cells are in one place, so that a move leaves them where they are.
        let vault = NodeVault::open_in_cell(config, main.unwrap_or(&rows)).await?;
        Ok((Self { store, vault, closes: true }, rows))
    }
}

/// The stores of cells.
type Keyspaces = BTreeMap<CellName, ScyllaStore>;

/// The stores of all cells, and the log of events that they have in common.
struct AllCells {
    stores: Keyspaces,
    log: Arc<dyn EventLog>,
    /// Of nodes that do not answer; one of each at most.
    lives: Mutex<Lives>,
}

impl AllCells {
    fn get(&self, cell: &CellName) -> Result<&ScyllaStore, StoreError> {
        self.stores.get(cell).ok_or_else(|| StoreError::Unavailable(format!("this node does not know cell {cell}")))
    }
}

impl Cells for AllCells {
    fn store(&self, cell: &CellName) -> Option<&dyn Movable> {
        self.stores.get(cell).map(|store| store as &dyn Movable)
    }

    fn copy_ahead<'a>(
        &'a self,
        from: &'a CellName,
        to: &'a CellName,
        partition: &'a PartitionKey,
        over: Standing,
        version: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.get(from)?.copy_ahead(self.get(to)?, partition, over, version).await })
    }

    fn copy<'a>(
        &'a self,
        from: &'a CellName,
        to: &'a CellName,
        partition: &'a PartitionKey,
        over: Standing,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.get(from)?.copy_sealed(self.get(to)?, partition, over).await })
    }

    fn members<'a>(&'a self, cell: &'a CellName) -> BoxFuture<'a, Result<Vec<(Member, String)>, StoreError>> {
        Box::pin(async move {
            let store = self.get(cell)?;
            let (view, leases) = (store.view().await?, store.leases().await?);
            let endpoint = |member: &Member| {
                leases.iter().find(|lease| lease.member() == *member).map(|lease| lease.endpoint.clone()).unwrap_or_default()
            };
            let members = view.iter().flat_map(|view| view.deal.members());
            Ok(members.map(|member| (member.clone(), endpoint(member))).collect())
        })
    }

    fn is_over<'a>(&'a self, cell: &'a CellName, member: &'a Member) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let store = self.get(cell)?;
            let lease = store.leases().await?.into_iter().find(|lease| lease.node == member.node);
            let patience = patience(&store.meta(TERMS).await?.unwrap_or_default());
            let life = self.lives.lock().look(cell, member, lease, patience, Instant::now());
            Ok(match life {
                Life::Over => true,
                Life::Open => false,
                Life::Still(lease) => {
                    let revoked = Lease { revoked: true, ..lease.clone() };
                    store.put_lease(Some(lease), revoked).await == Swap::Applied
                }
            })
        })
    }

    fn publish<'a>(&'a self, cell: &'a CellName, partition: &'a PartitionKey) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.get(cell)?.publish_left(partition, &*self.log).await })
    }
}

async fn keyspaces(config: &NodeConfig, others: &[(CellName, String)]) -> Result<Keyspaces, StartError> {
    let mut stores = BTreeMap::new();
    for (cell, keyspace) in others {
        let options = config.scylla.clone().ok_or(StartError::CellNeeds("a database (cassandra-nodes)"))?;
        stores.insert(cell.clone(), ScyllaStore::open(ScyllaOptions { keyspace: keyspace.clone(), ..options }).await?);
    }
    Ok(stores)
}

fn beside(rows: &ScyllaStore, own: CellName, main: CellName, mut stores: Keyspaces, log: Arc<dyn EventLog>) -> Beside {
    let others = stores.iter().map(|(cell, store)| (cell.clone(), Arc::new(store.clone()) as Arc<dyn Membership>)).collect();
    stores.insert(own.clone(), rows.clone());
    let homes = stores.get(&main).unwrap_or(rows).clone();
    Beside { own, main, homes: Arc::new(homes), others, cells: Arc::new(AllCells { stores, log, lives: Mutex::default() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_terms_says_how_long_a_lease_lasts() {
        let ms = Duration::from_millis;
        let terms = |lease, margin| Terms { lease, margin, ..Terms::default() };
        for (lease, margin) in [(ms(2_000), ms(250)), (ms(1_500), ms(1_500)), (ms(60_000), ms(7_500))] {
            assert_eq!(patience(&told(&terms(lease, margin))), lease + margin);
        }
        assert_eq!(patience("something else"), LONGEST_LEASE * 2);
    }
}
