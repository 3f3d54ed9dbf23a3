//! The store as a node reaches it: each request may be lost, late, or done without an answer.

use super::{bug::Bug, node::Access, store::Disk, tokens::VALID, world::World};
use cellspace_schemas::Timestamp;
use cellspace_storage::*;
use futures::{FutureExt, future::BoxFuture};
use std::{collections::BTreeMap, ops::ControlFlow, sync::atomic::Ordering::Relaxed};

/// Rows as they were.
struct Copied(BTreeMap<Vec<u8>, bytes::Bytes>);

impl Rows for Copied {
    fn values(&self, keys: &[RowKey]) -> Result<Vec<Option<bytes::Bytes>>, StoreError> {
        Ok(keys.iter().map(|key| self.0.get(key.as_bytes()).cloned()).collect())
    }

    fn has(&self, keys: &[RowKey]) -> Result<Vec<bool>, StoreError> {
        Ok(keys.iter().map(|key| self.0.contains_key(key.as_bytes())).collect())
    }

    fn each(&self, _: &str, _: Option<&str>, _: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("nobody asks here".into()))
    }

    fn each_back(&self, _: &str, _: &str, _: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("nobody asks here".into()))
    }
}

impl Partitions for Access {
    fn exists<'a>(&'a self, partition: &'a PartitionKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        let key = partition.clone();
        async move { self.read(&format!("exists {key}"), move |disk| disk.exists(&key)).await }.boxed()
    }

    fn claim<'a>(&'a self, partition: &'a PartitionKey, view: u64) -> BoxFuture<'a, Result<Claim, ClaimError>> {
        let (key, seat) = (partition.clone(), self.seat);
        async move {
            let claim = move |world: &World, disk: &mut Disk| {
                let claim = disk.claim(key.clone(), view);
                world.note(|| format!("n{seat} claims {key} under {view}: {claim:?}"));
                claim
            };
            let answer = self.world.loads(self.request(&format!("claim {partition}"), claim)).await;
            answer.unwrap_or_else(|| Err(StoreError::Unavailable("no answer".into()).into()))
        }
        .boxed()
    }

    fn scan<'a>(
        &'a self,
        partition: &'a PartitionKey,
        table: Option<&'a str>,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        let (key, table, after) = (partition.clone(), table.map(str::to_owned), after.cloned());
        async move {
            let what = format!("scan {partition}");
            let scan = self.read(&what, move |disk| disk.scan(&key, table.as_deref(), after.as_ref(), limit));
            self.world.loads(scan).await
        }
        .boxed()
    }

    fn get<'a>(&'a self, partition: &'a PartitionKey, row: &'a RowKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let (key, row) = (partition.clone(), row.clone());
        async move { self.read(&format!("get {partition}"), move |disk| disk.get(&key, &row)).await }.boxed()
    }

    fn read<'a>(&'a self, partition: &'a PartitionKey, read: ReadRows) -> BoxFuture<'a, Result<(), StoreError>> {
        let key = partition.clone();
        let rows = move |disk: &mut Disk| disk.partitions.get(&key).map(|stored| stored.rows.clone()).unwrap_or_default();
        async move { Access::read(self, &format!("read {partition}"), rows).await.map(|rows| read(&Copied(rows))) }.boxed()
    }

    fn audit<'a>(&'a self, partition: &'a PartitionKey, limit: usize) -> BoxFuture<'a, Result<Vec<(Seq, AuditRow)>, StoreError>> {
        let key = partition.clone();
        async move { Access::read(self, &format!("audit {partition}"), move |disk| disk.audit(&key, limit)).await }.boxed()
    }

    fn witness<'a>(&'a self, partition: &'a PartitionKey, seq: Seq) -> BoxFuture<'a, Result<Option<AuditRow>, StoreError>> {
        let key = partition.clone();
        async move { Access::read(self, &format!("witness {partition} {seq:?}"), move |disk| disk.witness(&key, seq)).await }.boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, CommitOutcome> {
        let (what, seat) = (format!("commit {}", batch.partition), self.seat);
        async move {
            let named = batch.clone();
            if self.request(&format!("names {what}"), move |_, disk| disk.announce(&named)).await.is_none() {
                return CommitOutcome::NotSent("what lies beside is not written".into());
            }
            if !batch.permit.is_given() {
                return CommitOutcome::Fenced;
            }
            let commit = move |world: &World, disk: &mut Disk| {
                let named = world.named(|| format!("n{seat} commits {batch:?}"));
                let outcome = disk.commit(batch);
                world.note(|| format!("{named}: {outcome:?}"));
                outcome.unwrap_or_else(|broken| {
                    world.broke(broken);
                    CommitOutcome::Fenced
                })
            };
            let unknown = || match self.world.bug {
                Some(Bug::UnknownIsFenced) => CommitOutcome::Fenced,
                _ => CommitOutcome::Unknown("no answer".into()),
            };
            self.request(&what, commit).await.unwrap_or_else(unknown)
        }
        .boxed()
    }

    /// Nothing that is in flight is stopped by it.
    fn release(&self, _: &PartitionKey, _: Epoch) {}

    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl WakeIndex for Access {
    fn awake(&self, of: &Slots, from: Option<WakeCursor>, _: usize) -> ReadWake<'_, PartitionKey> {
        let of = of.clone();
        async move { Access::read(self, "awake", move |disk| disk.awake(&of, from)).await }.boxed()
    }

    fn due(&self, of: &Slots, until: Timestamp, from: Option<WakeCursor>, _: usize) -> ReadWake<'_, DueRow> {
        let of = of.clone();
        async move { Access::read(self, "due", move |disk| disk.due(&of, until, from)).await }.boxed()
    }
}

impl Membership for Access {
    fn view(&self) -> BoxFuture<'_, Result<Option<View>, StoreError>> {
        async move { Access::read(self, "view", |disk| disk.view.clone()).await }.boxed()
    }

    fn change_view(&self, next: View) -> BoxFuture<'_, Swap> {
        let (seat, version, mark) = (self.seat, next.version, next.deal.mark);
        async move {
            let outcome = self.swap("change", move |disk| disk.change_view(next)).await;
            self.world.note(|| format!("n{seat} puts view {version} to {mark}: {outcome:?}"));
            outcome
        }
        .boxed()
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        async move { Access::read(self, "leases", |disk| disk.leases()).await }.boxed()
    }

    fn put_lease(&self, before: Option<Lease>, next: Lease) -> BoxFuture<'_, Swap> {
        let (what, early) = (format!("lease {}", next.node), self.world.is(Bug::TellsBeforeItOpens));
        let put = move |disk: &mut Disk| {
            let told = disk.view.as_ref().zip(next.until).filter(|_| early);
            let settled = told.map(|(view, until)| Settled { view: view.version, at: until.minus(VALID) });
            disk.put_lease(before.as_ref(), Lease { settled: settled.or(next.settled), ..next })
        };
        async move { self.swap(&what, put).await }.boxed()
    }
}

impl World {
    /// Part of loading an agent.
    async fn loads<T>(&self, work: impl Future<Output = T>) -> T {
        self.most_loading.fetch_max(self.loading.fetch_add(1, Relaxed) + 1, Relaxed);
        let done = work.await;
        self.loading.fetch_sub(1, Relaxed);
        done
    }
}
