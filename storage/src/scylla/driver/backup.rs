//! The partitions of a keyspace in a backup, and how they come back. Nobody serves the keyspace meanwhile.

use super::{
    ScyllaStore,
    commit::{blob, int, number, of},
    hours::{Class, bucket, hour_of},
    marks::Mark,
    partitions::{Part, StoredRow, key},
    store::{Conditional, Inner, RESTORING, unavailable},
};
use crate::{
    Epoch, Head, Home, Lease, Membership, PartitionKey, Phase, Publication, Seal, Seq, StoreError, Swap, VaultPath, View, Wake,
    backup::{BackupError, Blob, Record, Writer, damaged},
    relocation::copying::AUDIT,
};
use cellspace_schemas::{KeyAlias, Owner};
use futures::{StreamExt, TryStreamExt, stream};
use scylla::{DeserializeRow, value::CqlValue};
use std::{io::Write, num::NonZeroU64, pin::pin, sync::Arc};

/// Rows of a partition that are written together, and their bytes at most.
const ROWS: usize = 32;
const BYTES: usize = 4 << 20;

#[derive(DeserializeRow)]
struct Named {
    owner: String,
    kind: String,
    name: String,
}

#[derive(DeserializeRow)]
struct Setting {
    name: String,
    value: Option<String>,
}

#[derive(DeserializeRow)]
struct Sealed {
    owner: String,
    alias: String,
    record: Option<Vec<u8>>,
}

impl Named {
    fn key(self) -> Result<PartitionKey, StoreError> {
        let owner = Owner::new(self.owner).map_err(|_| StoreError::Corrupt("a partition names no owner".to_owned()))?;
        Ok(PartitionKey { owner, kind: self.kind, name: self.name })
    }
}

fn busy(partition: &PartitionKey) -> BackupError {
    StoreError::Unavailable(format!("somebody writes {partition} while the backup is made")).into()
}

impl ScyllaStore {
    /// Writes all that is in the keyspace, each partition as of one commit.
    ///
    /// # Errors
    /// [`BackupError`] of the file or the database, also when somebody writes meanwhile; [`BackupError::Moving`] names somebody who is on the way to
    /// another cell.
    pub async fn back_up<W: Write>(&self, out: &mut Writer<W>) -> Result<(), BackupError> {
        let inner = self.inner();
        out.put(&Record::Keyspace)?;
        out.put(&Record::Boot(self.boot()))?;
        let mut settings = inner.stream::<Setting>(inner.statements.settings.clone(), ()).await?;
        while let Some(Setting { name, value }) = settings.try_next().await? {
            out.put(&Record::Setting { name, value: value.unwrap_or_default() })?;
        }
        // As they were when all nodes were down: those that start find what a cell finds that was down.
        if let Some(view) = self.view().await? {
            out.put(&Record::View(view))?;
        }
        for lease in self.leases().await? {
            out.put(&Record::Lease(lease))?;
        }
        inner.write_homes(out).await?;
        let mut partitions = inner.stream::<Named>(inner.statements.partitions.clone(), ()).await?;
        while let Some(named) = partitions.try_next().await? {
            inner.write_partition(named.key()?, out).await?;
        }
        inner.write_waiting(out).await?;
        let mut records = inner.stream::<Sealed>(inner.statements.records.clone(), ()).await?;
        while let Some(Sealed { owner, alias, record }) = records.try_next().await? {
            let nowhere = |_| StoreError::Corrupt("a record of the vault has no place".to_owned());
            let path = VaultPath { owner: Owner::new(owner).map_err(nowhere)?, alias: KeyAlias::new(alias).map_err(nowhere)? };
            out.put(&Record::CellVaultRecord { path, sealed: Blob(record.unwrap_or_default()) })?;
        }
        Ok(())
    }

    /// Begins to restore a keyspace, which must hold nothing.
    ///
    /// # Errors
    /// [`BackupError::NotEmpty`]; [`BackupError::Store`]
    pub async fn begin_restoring(&self) -> Result<RestoringKeyspace, BackupError> {
        let inner = self.inner().clone();
        let keyspace = format!("the keyspace {}", inner.options.keyspace);
        let held = inner.many::<Named>(&inner.statements.partitions, (), 1).await?.len()
            + inner.many::<Setting>(&inner.statements.settings, (), 1).await?.len();
        if held > 0 {
            return Err(BackupError::NotEmpty(keyspace.into()));
        }
        // Until the end nobody opens it, nor restores into it.
        match inner.conditional(&inner.statements.first_setting, (RESTORING, "")).await.map_err(unavailable)? {
            Some(Conditional::Applied) => {}
            Some(Conditional::NotApplied) => return Err(BackupError::NotEmpty(keyspace.into())),
            None => return Err(StoreError::Unavailable("the database's answer cannot be read".to_owned()).into()),
        }
        let hour = inner.hour();
        let store = self.clone();
        Ok(RestoringKeyspace { store, inner, hour, partition: None, rows: Vec::new(), bytes: 0, waiting: None })
    }
}

/// What became of a row that nobody else writes.
fn applied(swap: Swap) -> Result<(), BackupError> {
    match swap {
        Swap::Applied => Ok(()),
        Swap::Refused => Err(StoreError::Unavailable("somebody writes the keyspace meanwhile".to_owned()).into()),
        Swap::Unknown(why) => Err(StoreError::Unavailable(why).into()),
    }
}

impl Inner {
    /// Of owners who are in a cell for good: while one is on its way the cells' partitions do not say what its home says.
    async fn write_homes<W: Write>(&self, out: &mut Writer<W>) -> Result<(), BackupError> {
        let mut homes = self.homes().await?;
        while let Some((owner, home)) = homes.try_next().await? {
            let Home { cell, version, came, phase: Phase::Settled } = home else { return Err(BackupError::Moving(owner)) };
            let unnumbered = || StoreError::Corrupt(format!("the home of {owner} has no version"));
            let version = NonZeroU64::new(version).ok_or_else(unnumbered)?;
            out.put(&Record::Home { owner, cell, version, came })?;
        }
        Ok(())
    }

    async fn write_partition<W: Write>(&self, partition: PartitionKey, out: &mut Writer<W>) -> Result<(), BackupError> {
        let before = self.head(&partition).await?;
        if Seal::of(before.fence).is_some() {
            // A seal over nothing says that the owner is elsewhere, which its home says too. What is under one is half of a move.
            let is_gone = before.head.is_none() && !self.holds(&partition).await?;
            return if is_gone { Ok(()) } else { Err(BackupError::Moving(partition.owner)) };
        }
        // Claimed, and never written.
        let Some(head) = before.head else { return Ok(()) };
        out.put(&Record::Partition { key: partition.clone(), head, wake: before.at.wake() })?;
        let (owner, kind, name) = key(&partition);
        for (part, generation) in [(Part::Read as i8, before.at.rows.number), (Part::Apart as i8, 0), (AUDIT, 0)] {
            let mut rows = self.stream::<StoredRow>(self.statements.part.clone(), (owner, kind, name, part, generation)).await?;
            while let Some(StoredRow { key, value }) = rows.try_next().await? {
                let value = Blob(value.unwrap_or_default());
                out.put(&if part == AUDIT { Record::Audit { seq: seq(&key)?, value } } else { Record::Row { key: Blob(key), value } })?;
            }
        }
        let after = self.head(&partition).await?;
        if after == before { Ok(()) } else { Err(busy(&partition)) }
    }

    /// Events of commits that the log has not got.
    async fn write_waiting<W: Write>(&self, out: &mut Writer<W>) -> Result<(), BackupError> {
        let mut looked: Option<(PartitionKey, Mark, bool)> = None;
        let mut hours = pin!(self.hours_of(Class::Publications, 0..super::hours::BUCKETS, i64::MAX));
        while let Some((bucket, hour)) = hours.try_next().await? {
            let mut events = self.stored_publications(bucket, hour).await?;
            while let Some(landed) = events.try_next().await? {
                let known = looked.take().filter(|(partition, mark, _)| (partition, *mark) == (&landed.partition, landed.mark));
                let has_landed = match known {
                    Some((_, _, has_landed)) => has_landed,
                    None => self.has_landed(&landed.partition, &landed.mark).await?,
                };
                for Publication { topic, key, payload } in landed.events.into_iter().filter(|_| has_landed) {
                    let (partition, payload) = (landed.partition.clone(), (&*payload).into());
                    out.put(&Record::Waiting { partition, seq: landed.mark.seq, topic, key, payload })?;
                }
                looked = Some((landed.partition, landed.mark, has_landed));
            }
        }
        Ok(())
    }
}

fn seq(key: &[u8]) -> Result<Seq, StoreError> {
    let number = key.try_into().map(u64::from_be_bytes);
    number.map(Seq).map_err(|_| StoreError::Corrupt("a stored audit row cannot be read".to_owned()))
}

/// A row to write: part, key, value, and the mark of an audit row.
type Written = (i8, Vec<u8>, Vec<u8>, Option<Mark>);

/// A keyspace that comes back.
pub struct RestoringKeyspace {
    store: ScyllaStore,
    inner: Arc<Inner>,
    hour: i64,
    partition: Option<PartitionKey>,
    rows: Vec<Written>,
    bytes: usize,
    /// The commit of the last event that waits, and the number of that event in it.
    waiting: Option<(PartitionKey, Seq, i32)>,
}

impl RestoringKeyspace {
    /// Takes a record in, those of a partition in their order.
    ///
    /// # Errors
    /// [`BackupError`]: the keyspace is of no use then.
    pub async fn take(&mut self, record: Record) -> Result<(), BackupError> {
        let inner = self.inner.clone();
        match record {
            Record::Keyspace => Ok(()),
            Record::Setting { name, value } => Ok(inner.run(&inner.statements.put_setting, (name, value)).await?),
            Record::Boot(boot) => Ok(inner.count_boots(boot).await?),
            // The cell may have gone on after the backup: what its rows tell of when something was served is of a time before.
            Record::View(view) => applied(inner.put_first_view(&View { dead: Vec::new(), ..view }).await),
            Record::Lease(lease) => applied(self.store.put_lease(None, Lease { until: None, settled: None, ..lease }).await),
            Record::Home { owner, cell, version, came } => {
                let home = Home { cell, version: version.get(), came, phase: Phase::Settled };
                applied(inner.put_first_home(&owner, &home).await)
            }
            Record::Partition { key, head, wake } => {
                self.flush().await?;
                self.begin(&key, head, wake).await?;
                self.partition = Some(key);
                Ok(())
            }
            Record::Row { key: Blob(key), value: Blob(value) } => self.row((Part::of(&key) as i8, key, value, None)).await,
            Record::Audit { seq, value: Blob(value) } => {
                self.row((AUDIT, seq.0.to_be_bytes().to_vec(), value, Some(self.witness(seq)))).await
            }
            Record::Waiting { partition, seq, topic, key: event, payload: Blob(payload) } => {
                self.flush().await?;
                let last = self.waiting.take().filter(|(before, of, _)| (before, *of) == (&partition, seq));
                let n = last.map_or(0, |(_, _, n)| n + 1);
                let ((owner, kind, name), bucket, mark) = (key(&partition), bucket(&partition), self.witness(seq));
                inner.know(Class::Publications, bucket, mark.hour).await?;
                let values = (bucket, mark.hour, owner, kind, name, mark.encode(), n, topic.0, event, payload);
                inner.run(&inner.statements.add_publication, values).await?;
                self.waiting = Some((partition, seq, n));
                Ok(())
            }
            Record::CellVaultRecord { path, sealed: Blob(sealed) } => {
                self.flush().await?;
                Ok(inner.run(&inner.statements.put_record, (path.owner.as_str(), path.alias.as_str(), sealed)).await?)
            }
            Record::Topic { .. } | Record::Group { .. } | Record::Event { .. } | Record::VaultRoot(_) | Record::VaultRecord { .. } => {
                Err(damaged("a record of a data directory is in the keyspace"))
            }
        }
    }

    /// Writes the rest; only then the keyspace can be opened.
    ///
    /// # Errors
    /// [`BackupError::Store`]
    pub async fn finish(mut self) -> Result<(), BackupError> {
        self.flush().await?;
        let removed = self.inner.conditional(&self.inner.statements.remove_setting, (RESTORING,)).await.map_err(unavailable)?;
        removed.map(drop).ok_or_else(|| StoreError::Unavailable("the database's answer cannot be read".to_owned()).into())
    }

    /// By which a commit of before is known: that of its audit row, and of its events that wait.
    fn witness(&self, seq: Seq) -> Mark {
        Mark { hour: self.hour, epoch: Epoch::default(), seq }
    }

    /// The index first: what the head names is there.
    async fn begin(&self, partition: &PartitionKey, head: Head, wake: Wake) -> Result<(), BackupError> {
        let (inner, bucket, (owner, kind, name)) = (&self.inner, bucket(partition), key(partition));
        let mark = Mark { hour: self.hour, epoch: head.epoch, seq: head.seq };
        let awake = wake.awake.then_some(mark);
        let due = wake.due.map(|due| (due, Mark { hour: hour_of(due).max(mark.hour), ..mark }));
        if let Some(mark) = awake {
            inner.know(Class::Awake, bucket, mark.hour).await?;
            inner.run(&inner.statements.add_awake, (bucket, mark.hour, owner, kind, name, mark.encode())).await?;
        }
        if let Some((due, mark)) = due {
            inner.know(Class::Due, bucket, mark.hour).await?;
            inner.run(&inner.statements.add_due, (bucket, mark.hour, due.0, owner, kind, name, mark.encode())).await?;
        }
        let set = [
            number(head.epoch.view),
            number(head.epoch.count),
            number(head.seq.0),
            awake.and_then(|mark| blob(&mark.encode())),
            due.map(|(due, _)| CqlValue::BigInt(due.0)),
            due.and_then(|(_, mark)| blob(&mark.encode())),
            int(0),
        ];
        let answer = inner.conditional(&inner.statements.commit, of(set, partition, [None, None, None])).await.map_err(unavailable)?;
        match answer {
            Some(Conditional::Applied) => Ok(()),
            Some(Conditional::NotApplied) | None => Err(busy(partition)),
        }
    }

    async fn row(&mut self, row: Written) -> Result<(), BackupError> {
        self.bytes += row.1.len() + row.2.len();
        self.rows.push(row);
        if self.rows.len() >= ROWS || self.bytes >= BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), BackupError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let partition = self.partition.as_ref().ok_or_else(|| damaged("a row belongs to nothing"))?;
        let ((owner, kind, name), inner) = (key(partition), &self.inner);
        let write = |(part, key, value, mark): Written| async move {
            match mark {
                Some(mark) => inner.run(&inner.statements.audit, (owner, kind, name, key, value, mark.encode())).await,
                None => inner.run(&inner.statements.put, (owner, kind, name, part, 0_i32, key, value)).await,
            }
        };
        Ok(stream::iter(rows.into_iter().map(write)).buffer_unordered(ROWS).try_collect::<()>().await?)
    }
}
