//! The simulated store: linearizable rows, a conditional write for each claim and each turn, and the invariants that are seen where all commits land.
//! Whether and when a request comes to be executed, and whether its answer is ever heard, is the world's business.

use super::{
    agent::{JOBS, Job, Parcel, Step},
    bug::Bug,
    tokens::Token,
};
use bytes::Bytes;
use cellspace_schemas::{Owner, Timestamp};
use cellspace_storage::*;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const OUTBOX: &str = "~outbox";
/// Entries of a page of the wake index.
const WAKE_PAGE: usize = 1;

#[derive(Default, Clone)]
pub struct Stored {
    claimed: Epoch,
    pub head: Option<Head>,
    pub rows: BTreeMap<Vec<u8>, Bytes>,
    audit: BTreeMap<Seq, AuditRow>,
    pub wake: Wake,
    /// Rows of the wake index of commits that are on their way: they are written first.
    coming: Vec<(Epoch, Seq, Wake)>,
    /// Jobs as stored, by id.
    pub jobs: BTreeMap<u32, Job>,
    /// Undelivered rows in order: by id, the parcel.
    pub outbox: BTreeMap<String, Parcel>,
}

impl Stored {
    /// What the index says: of the last commit, and of those that can still land.
    fn wakes(&self) -> impl Iterator<Item = Wake> {
        let seq = self.head.unwrap_or_default().seq;
        let coming = self.coming.iter().filter(move |(epoch, of, _)| *epoch >= self.claimed && *of > seq);
        std::iter::once(self.wake).chain(coming.map(|(_, _, wake)| *wake))
    }
}

/// A row as the runtime writes it.
#[derive(Deserialize)]
struct Sealed<T> {
    body: T,
}

#[derive(Deserialize)]
struct OutboxRow {
    effect: Parcel,
}

fn body<T: for<'de> Deserialize<'de>>(value: &[u8]) -> T {
    serde_json::from_slice::<Sealed<T>>(value).unwrap().body
}

/// What others got of the effects, by owner, job and lane.
#[derive(Default)]
pub struct Receivers {
    pub attempts: BTreeMap<(String, u32, String), u32>,
    /// Taken, or refused for good.
    pub ended: BTreeSet<(String, u32, String)>,
    /// Seen at all.
    seen: BTreeSet<(String, u32, String)>,
}

pub fn key(parcel: &Parcel) -> (String, u32, String) {
    (parcel.owner.clone(), parcel.id, parcel.lane.clone())
}

#[derive(Default)]
pub struct Disk {
    pub partitions: BTreeMap<PartitionKey, Stored>,
    pub view: Option<View>,
    leases: BTreeMap<NodeName, Lease>,
    /// Effects whose commit has landed.
    landed: BTreeSet<(String, u32, String)>,
    pub receivers: Receivers,
    pub commits: u64,
    /// By the tokens' numbers: those that were used, and the job for which they were shown.
    tokens: BTreeMap<u32, (Token, Owner, u32)>,
    bug: Option<Bug>,
}

impl Disk {
    pub fn of(bug: Option<Bug>) -> Self {
        Self { bug, ..Self::default() }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub fn claim(&mut self, key: PartitionKey, view: u64) -> Result<Claim, ClaimError> {
        let stored = self.partitions.entry(key).or_default();
        let Some(epoch) = stored.claimed.claimed_under(view) else { return Err(ClaimError::Newer { held: stored.claimed }) };
        stored.claimed = epoch;
        Ok(Claim { epoch, head: stored.head, wake: stored.wake })
    }

    /// A commit is about to be sent: the wake index names it from now on, whenever it lands.
    pub fn announce(&mut self, batch: &Batch) {
        let stored = self.partitions.entry(batch.partition.clone()).or_default();
        let (claimed, seq) = (stored.claimed, stored.head.unwrap_or_default().seq);
        stored.coming.retain(|(epoch, of, _)| *epoch >= claimed && *of > seq);
        stored.coming.push((batch.epoch, batch.seq, batch.wake));
    }

    pub fn exists(&self, key: &PartitionKey) -> bool {
        self.partitions.get(key).is_some_and(|stored| stored.head.is_some())
    }

    pub fn scan(&self, key: &PartitionKey, table: Option<&str>, after: Option<&RowKey>, limit: usize) -> RowPage {
        let Some(stored) = self.partitions.get(key) else { return RowPage::default() };
        let meant = |row: &RowKey| table.map_or(!row.table().starts_with(APART), |table| row.table() == table);
        let mut rows: Vec<Row> = stored
            .rows
            .iter()
            .map(|(key, value)| Row { key: RowKey::from_bytes(key.clone().into()), value: value.clone() })
            .filter(|row| after.is_none_or(|after| row.key > *after) && meant(&row.key))
            .collect();
        if self.is(Bug::ShufflesOutbox) {
            // Their ids are as they were, what they say is another's.
            let of_outbox: Vec<usize> = (0..rows.len()).filter(|n| rows[*n].key.table() == OUTBOX).collect();
            let values: Vec<Bytes> = of_outbox.iter().rev().map(|n| rows[*n].value.clone()).collect();
            of_outbox.into_iter().zip(values).for_each(|(n, value)| rows[n].value = value);
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        RowPage { rows, more }
    }

    pub fn get(&self, key: &PartitionKey, row: &RowKey) -> Option<Row> {
        let value = self.partitions.get(key)?.rows.get(row.as_bytes())?.clone();
        Some(Row { key: row.clone(), value })
    }

    pub fn witness(&self, key: &PartitionKey, seq: Seq) -> Option<AuditRow> {
        self.partitions.get(key)?.audit.get(&seq).cloned()
    }

    pub fn audit(&self, key: &PartitionKey, limit: usize) -> Vec<(Seq, AuditRow)> {
        let all = self.partitions.get(key).into_iter().flat_map(|stored| stored.audit.iter().rev());
        all.take(limit).map(|(seq, row)| (*seq, row.clone())).collect()
    }

    pub fn awake(&self, of: &Slots, from: Option<WakeCursor>) -> WakePage<PartitionKey> {
        let found = |(key, stored): &(&PartitionKey, &Stored)| {
            stored.wakes().any(|wake| wake.awake) && of.have(&key.owner) && !self.is(Bug::MissesAwake)
        };
        self.page(self.partitions.iter().filter(found).map(|(key, _)| (key, key.clone())), from)
    }

    pub fn due(&self, of: &Slots, until: Timestamp, from: Option<WakeCursor>) -> WakePage<DueRow> {
        let all = self.partitions.iter().filter(|(key, _)| of.have(&key.owner) && !self.is(Bug::MissesDue));
        let due = all.filter_map(|(key, stored)| {
            stored.wakes().filter_map(|wake| wake.due).min().map(|due| (key, DueRow { due, partition: key.clone() }))
        });
        self.page(due.filter(|(_, row)| row.due <= until), from)
    }

    /// Small ones, in the order of the keys' texts: a page goes on behind the last key, whatever was written meanwhile.
    fn page<'a, T>(&self, all: impl Iterator<Item = (&'a PartitionKey, T)>, from: Option<WakeCursor>) -> WakePage<T> {
        let behind = |place: &String| from.as_ref().is_none_or(|from| place.as_bytes() > from.place());
        let mut all: Vec<(String, T)> = all.map(|(key, entry)| (key.to_string(), entry)).filter(|(place, _)| behind(place)).collect();
        all.sort_by(|(one, _), (two, _)| one.cmp(two));
        let next = (all.len() > WAKE_PAGE && !self.is(Bug::LosesPages)).then(|| WakeCursor::new(all[WAKE_PAGE - 1].0.clone()));
        all.truncate(WAKE_PAGE);
        WakePage { entries: all.into_iter().map(|(_, entry)| entry).collect(), next }
    }

    pub fn put_lease(&mut self, before: Option<&Lease>, next: Lease) -> Swap {
        if next.revoked && self.is(Bug::NeverBuries) {
            return Swap::Refused;
        }
        let state = |lease: &Lease| (lease.incarnation, lease.counter, lease.revoked);
        if self.leases.get(&next.node).map(state) != before.map(state) {
            return Swap::Refused;
        }
        self.leases.insert(next.node.clone(), next);
        Swap::Applied
    }

    pub fn change_view(&mut self, next: View) -> Swap {
        if self.view.as_ref().map_or(0, |view| view.version) + 1 != next.version {
            return Swap::Refused;
        }
        self.view = Some(next);
        Swap::Applied
    }

    pub fn leases(&self) -> Vec<Lease> {
        self.leases.values().cloned().collect()
    }

    /// Tokens that were used for the owners of a slot.
    pub fn used(&self, slot: Slot) -> impl Iterator<Item = &Token> {
        self.tokens.values().filter(move |(_, owner, _)| Slot::of(owner) == slot).map(|(token, _, _)| token)
    }

    /// Writes a turn. An invariant that it breaks is the error.
    pub fn commit(&mut self, batch: Batch) -> Result<CommitOutcome, String> {
        if self.is(Bug::AppliesNothing) && batch.seq.0.is_multiple_of(7) {
            return Ok(CommitOutcome::Applied);
        }
        let (forgets, over) = (self.is(Bug::ForgetsOutbox), self.is(Bug::CommitsOverClaims));
        let place = batch.partition.to_string();
        let stored = self.partitions.entry(batch.partition.clone()).or_default();
        let head = stored.head.unwrap_or_default();
        let fits = stored.claimed == batch.epoch && head.seq.next() == batch.seq;
        if !fits && !over {
            return Ok(CommitOutcome::Fenced);
        }
        if stored.audit.contains_key(&batch.seq) || batch.epoch < head.epoch || batch.seq != head.seq.next() {
            return Err(format!("FENCE: {place} has commit {:?} and gets {:?} of {:?}", head, batch.seq, batch.epoch));
        }
        stored.head = Some(Head { epoch: batch.epoch, seq: batch.seq });
        stored.wake = batch.wake;
        stored.audit.insert(batch.seq, batch.audit);
        let letters: BTreeSet<String> =
            batch.rows.iter().map(RowChange::key).filter(|key| key.table().starts_with(APART)).map(|key| key.id().to_owned()).collect();
        for change in batch.rows {
            match change {
                RowChange::Put(row, value) => {
                    if row.table() == JOBS {
                        let job: Job = body(&value);
                        check(&place, batch.partition.owner.as_str(), stored.jobs.get(&job.id), &job)?;
                        if let Some(token) = &job.token {
                            let used = (token.clone(), batch.partition.owner.clone(), job.id);
                            let (_, _, first) = self.tokens.entry(token.number).or_insert(used);
                            if *first != job.id {
                                return Err(format!("TOKEN: {place} executes command {} with {token:?}, used by {first}", job.id));
                            }
                        }
                        stored.jobs.insert(job.id, job);
                    } else if row.table() == OUTBOX {
                        let parcel = body::<OutboxRow>(&value).effect;
                        if parcel.owner != batch.partition.owner.as_str() {
                            return Err(format!("ISOLATION: {place} has an effect of {}", parcel.owner));
                        }
                        self.landed.insert(key(&parcel));
                        stored.outbox.insert(row.id().to_owned(), parcel);
                        if forgets {
                            continue;
                        }
                    }
                    stored.rows.insert(row.as_bytes().to_vec(), value);
                }
                RowChange::Delete(row) => {
                    if row.table() == OUTBOX
                        && let Some(parcel) = stored.outbox.remove(row.id())
                        && !letters.contains(row.id())
                        && !self.receivers.ended.contains(&key(&parcel))
                    {
                        return Err(format!("OUTBOX: {place} drops {parcel:?}, which nobody got"));
                    }
                    stored.rows.remove(row.as_bytes());
                }
            }
        }
        self.commits += 1;
        Ok(CommitOutcome::Applied)
    }

    /// An effect leaves its node.
    pub fn sent(&self, parcel: &Parcel) -> Result<(), String> {
        if self.landed.contains(&key(parcel)) { Ok(()) } else { Err(format!("EFFECT: {parcel:?} is sent before its commit")) }
    }

    /// An effect arrives; whether it has an end with that.
    pub fn arrived(&mut self, parcel: &Parcel, ends: bool) -> Result<(), String> {
        let this = key(parcel);
        if self.receivers.seen.insert(this.clone()) {
            let of_owner = self.partitions.iter().filter(|(key, _)| key.owner.as_str() == parcel.owner);
            let lane: Vec<&Parcel> =
                of_owner.flat_map(|(_, stored)| stored.outbox.values()).filter(|other| other.lane == parcel.lane).collect();
            // What is stored is in the order of the rows. One that was given up may come late.
            let place = lane.iter().position(|other| other.id == parcel.id).unwrap_or(0);
            if let Some(before) = lane[..place].iter().find(|other| !self.receivers.ended.contains(&key(other))) {
                return Err(format!("OUTBOX: {parcel:?} arrives before {before:?}"));
            }
        }
        if ends {
            self.receivers.ended.insert(this);
        }
        Ok(())
    }
}

fn check(place: &str, owner: &str, before: Option<&Job>, job: &Job) -> Result<(), String> {
    if job.owner != owner {
        return Err(format!("ISOLATION: {place} has a job of {}", job.owner));
    }
    let known = before.map_or(&[][..], |job| job.path.as_slice());
    if !job.path.starts_with(known) {
        return Err(format!("ACK: {place} loses what job {} was: {known:?}, then {:?}", job.id, job.path));
    }
    let steps = job.path.iter().enumerate().map(|(n, step)| (n.checked_sub(1).map(|n| job.path[n]), *step));
    let illegal = steps.skip(known.len()).find(|(before, step): &(Option<Step>, Step)| !step.may_follow(*before));
    match illegal {
        Some((before, Step::Noted | Step::Requested | Step::Waiting)) => {
            Err(format!("FENCE: {place} executes command {} again after {before:?}", job.id))
        }
        Some((before, step)) => Err(format!("STATE: {place} takes job {} from {before:?} to {step:?}", job.id)),
        None => Ok(()),
    }
}
