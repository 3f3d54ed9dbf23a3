//! A random-operations run against a model in memory, with reopenings.

use super::{
    turn::{Turn, partition, rows},
    wake_index,
};
use crate::{
    AuditRow, Claim, CommitOutcome, DueRow, EventLog, Group, Head, Offset, PartitionKey, Partitions, RowKey, Rows, Seq, Topic, Wake,
    WakeIndex,
};
use cellspace_schemas::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::{collections::BTreeMap, ops::ControlFlow};

pub use cellspace_schemas::testkit::seed;

/// What the model knows of a partition.
#[derive(Debug, Clone, Default)]
struct Model {
    head: Option<Head>,
    rows: BTreeMap<(String, String), String>,
    audit: Vec<(Seq, AuditRow)>,
    wake: Wake,
    /// The claim that may write, if any.
    claim: Option<Claim>,
    /// Claims that may not any more.
    stale: Vec<Claim>,
}

#[derive(Debug, Default)]
struct TopicModel {
    events: Vec<(String, String)>,
    groups: BTreeMap<String, u64>,
    /// Up to where events may be gone: every group known at some time had passed them. A group that joins later finds what is left.
    trimmed: u64,
}

/// A run in progress.
struct Run<S, L> {
    random: StdRng,
    store: S,
    log: L,
    partitions: BTreeMap<PartitionKey, Model>,
    topics: BTreeMap<String, TopicModel>,
    keys: Vec<PartitionKey>,
    values: u64,
}

const TABLES: [&str; 4] = ["a", "ab", "b", APARTS];
/// One that is apart.
const APARTS: &str = "\u{7f}a";
const TOPICS: [&str; 2] = ["tk.random", "tk.random.x"];
const GROUPS: [&str; 2] = ["g", "h"];

/// Runs `steps` operations; `open` opens the store anew each time, after the last one was dropped. `log` is what the commits' events are in at once, if they are.
pub async fn run<S: Partitions + WakeIndex>(
    seed: u64,
    steps: usize,
    mut open: impl AsyncFnMut() -> S,
    log: impl Fn(&S) -> Option<&dyn EventLog>,
) {
    let names = ["", "a", "a\0", "ab", "b"];
    let keys = ["tk-o", "tk-o2"].into_iter().flat_map(|owner| names.map(|name| partition(owner, "k", name))).collect();
    let mut run = Run {
        random: StdRng::seed_from_u64(seed),
        store: open().await,
        log,
        partitions: BTreeMap::new(),
        topics: BTreeMap::new(),
        keys,
        values: 0,
    };
    for step in 0..steps {
        match run.random.random_range(0..100) {
            0..10 => run.claim().await,
            10..13 => run.release(),
            13..55 => run.commit().await,
            55..62 => run.commit_stale().await,
            62..72 => run.burst().await,
            72..80 => run.read().await,
            80..87 => run.consume().await,
            87..97 => run.fetch().await,
            97..99 => run.check().await,
            _ => {
                drop(run.store);
                run.store = open().await;
                for model in run.partitions.values_mut() {
                    model.stale.extend(model.claim.take());
                }
                run.check().await;
            }
        }
        run.store.health().unwrap_or_else(|error| panic!("step {step}: {error}"));
    }
    run.check().await;
}

impl<S: Partitions + WakeIndex, L: Fn(&S) -> Option<&dyn EventLog>> Run<S, L> {
    fn key(&mut self) -> PartitionKey {
        self.keys.choose(&mut self.random).expect("there are keys").clone()
    }

    async fn claim(&mut self) {
        let key = self.key();
        let claim = self.store.claim(&key, 1).await.unwrap();
        let model = self.partitions.entry(key).or_default();
        assert_eq!(claim.head, model.head);
        assert!(model.head.is_none_or(|head| claim.epoch > head.epoch));
        if let Some(last) = model.claim.replace(claim) {
            assert!(claim.epoch > last.epoch);
            model.stale.push(last);
        }
    }

    fn release(&mut self) {
        let key = self.key();
        if let Some(model) = self.partitions.get_mut(&key)
            && let Some(claim) = model.claim.take()
        {
            self.store.release(&key, claim.epoch);
            model.stale.push(claim);
        }
    }

    /// A turn that must land, and its place in the model; a claim comes first when there is none.
    async fn turn(&mut self, key: &PartitionKey) -> Turn {
        if self.partitions.get(key).is_none_or(|model| model.claim.is_none()) {
            let claim = self.store.claim(key, 1).await.unwrap();
            self.partitions.entry(key.clone()).or_default().claim = Some(claim);
        }
        let model = self.partitions.get_mut(key).expect("made above");
        let claim = model.claim.expect("claimed above");
        let seq = model.head.unwrap_or_default().seq.next();
        let mut turn = Turn::after(key, claim).numbered(seq.0);
        for _ in 0..self.random.random_range(0..6) {
            let table = *TABLES.choose(&mut self.random).expect("not empty");
            let id = self.random.random_range(0..12_u32).to_string();
            if self.random.random_bool(0.3) {
                turn = turn.delete(table, &id);
                model.rows.remove(&(table.to_owned(), id));
            } else {
                self.values += 1;
                let value = format!("{}{}", self.values, "x".repeat(self.random.random_range(0..300)));
                turn = turn.put(table, &id, &value);
                model.rows.insert((table.to_owned(), id), value);
            }
        }
        model.wake = Wake::default();
        if self.random.random_bool(0.3) {
            turn = turn.awake();
            model.wake.awake = true;
        }
        if self.random.random_bool(0.3) {
            let due = self.random.random_range(-5..100);
            turn = turn.due(due);
            model.wake.due = Some(Timestamp(due));
        }
        model.head = Some(Head { epoch: claim.epoch, seq });
        model.audit.push((seq, AuditRow(format!("audit {}", seq.0).into())));
        turn
    }

    async fn commit(&mut self) {
        let key = self.key();
        let mut turn = self.turn(&key).await;
        let events = if (self.log)(&self.store).is_some() { self.random.random_range(0..3) } else { 0 };
        for _ in 0..events {
            let topic = *TOPICS.choose(&mut self.random).expect("not empty");
            self.values += 1;
            let event = (key.name.clone(), self.values.to_string());
            turn = turn.publish(topic, &event.0, &event.1);
            self.topics.entry(topic.to_owned()).or_default().events.push(event);
        }
        turn.applied(&self.store).await;
    }

    /// An older activation, or a wrong number: nothing of it may be seen, which the other steps check.
    async fn commit_stale(&mut self) {
        let key = self.key();
        let Some(model) = self.partitions.get(&key) else { return };
        let next = model.head.unwrap_or_default().seq.next().0;
        let (claim, seq) = match (model.stale.choose(&mut self.random), model.claim) {
            (Some(stale), _) => (*stale, next),
            (None, Some(claim)) => (claim, if self.random.random_bool(0.5) { next + 1 } else { next - 1 }),
            (None, None) => return,
        };
        let turn = Turn::after(&key, claim).numbered(seq).put("a", "1", "stale").delete("a", "2").awake().due(3);
        let turn = turn.publish(TOPICS[0], "stale", "stale");
        assert_eq!(turn.commit(&self.store).await, CommitOutcome::Fenced);
    }

    /// Commits of several partitions at once, and a claim racing one of them.
    async fn burst(&mut self) {
        let keys: Vec<PartitionKey> = {
            let count = self.random.random_range(2..self.keys.len());
            self.keys.sample(&mut self.random, count).cloned().collect()
        };
        let racing = keys.first().expect("two at least");
        let before = self.partitions.get(racing).cloned().unwrap_or_default();
        let mut turns = Vec::new();
        for key in &keys {
            turns.push(self.turn(key).await);
        }
        let commits = futures::future::join_all(turns.into_iter().map(|turn| Partitions::commit(&self.store, turn.batch())));
        let (outcomes, claim) = futures::join!(commits, self.store.claim(racing, 1));
        let claim = claim.unwrap();
        for (key, outcome) in keys.iter().zip(outcomes) {
            let model = self.partitions.get_mut(key).expect("has a turn");
            match outcome {
                CommitOutcome::Applied => {}
                // The racing claim came first, and nothing of the turn may be there.
                CommitOutcome::Fenced if key == racing => {
                    *model = Model { claim: model.claim, stale: std::mem::take(&mut model.stale), ..before.clone() };
                }
                other => panic!("{key}: {other:?}"),
            }
        }
        let model = self.partitions.get_mut(racing).expect("has a turn");
        assert_eq!(claim.head, model.head, "a claim sees what landed before it");
        model.stale.extend(model.claim.replace(claim));
    }

    async fn read(&mut self) {
        let key = self.key();
        let default = Model::default();
        let model = self.partitions.get(&key).unwrap_or(&default);
        assert_eq!(self.store.exists(&key).await.unwrap(), model.head.is_some());
        let (table, id) = (*TABLES.choose(&mut self.random).expect("not empty"), self.random.random_range(0..12_u32).to_string());
        let found = self.store.get(&key, &RowKey::new(table, &id)).await.unwrap();
        let found = found.map(|row| String::from_utf8(row.value.to_vec()).unwrap());
        assert_eq!(found.as_ref(), model.rows.get(&(table.to_owned(), id)));
        let limit = self.random.random_range(0..5);
        let expect: Vec<_> = model.audit.iter().rev().take(limit).cloned().collect();
        assert_eq!(self.store.audit(&key, limit).await.unwrap(), expect);
        let expect: Vec<_> = model.rows.iter().filter(|((t, _), _)| t == table).map(flat).collect();
        assert_eq!(rows(&self.store, &key, Some(table)).await, expect);
        let from = self.random.random_range(0..12_u32).to_string();
        let ids = |wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
            model.rows.keys().filter(|(t, id)| t == table && wanted(id)).map(|(_, id)| id.clone()).collect()
        };
        let (behind, mut before) = (ids(&|id| *id > *from), ids(&|id| *id < *from));
        before.reverse();
        assert_eq!(around(&self.store, &key, table, from).await, (behind, before), "{table}");
    }

    async fn consume(&mut self) {
        let Some(log) = (self.log)(&self.store) else { return };
        let topic = *TOPICS.choose(&mut self.random).expect("not empty");
        let group = *GROUPS.choose(&mut self.random).expect("not empty");
        let model = self.topics.entry(topic.to_owned()).or_default();
        let (t, g) = (Topic(topic.to_owned()), Group(group.to_owned()));
        let position = *model.groups.entry(group.to_owned()).or_default();
        assert_eq!(log.committed(&t, &g).await.unwrap(), Offset(position));
        let to = self.random.random_range(0..=model.events.len() as u64);
        log.commit(&t, &g, Offset(to)).await.unwrap();
        model.groups.insert(group.to_owned(), position.max(to));
        model.trimmed = model.trimmed.max(model.groups.values().min().copied().unwrap_or(0));
    }

    /// Events that a known group still needs are all there, in order; what all have passed may be gone.
    async fn fetch(&mut self) {
        let Some(log) = (self.log)(&self.store) else { return };
        let topic = *TOPICS.choose(&mut self.random).expect("not empty");
        let empty = TopicModel::default();
        let model = self.topics.get(topic).unwrap_or(&empty);
        let after = self.random.random_range(0..=model.events.len());
        let after = after.max(usize::try_from(model.trimmed).unwrap());
        let events = log.fetch(&Topic(topic.to_owned()), Offset(after as u64), 10).await.unwrap();
        let found: Vec<_> = events.into_iter().map(|e| (e.offset.0, e.key, String::from_utf8(e.payload.to_vec()).unwrap())).collect();
        let expect = model.events.iter().enumerate().skip(after).take(10);
        let expect: Vec<_> = expect.map(|(n, (key, payload))| (n as u64 + 1, key.clone(), payload.clone())).collect();
        assert_eq!(found, expect, "{topic} after {after}");
    }

    /// Everything.
    async fn check(&mut self) {
        for (key, model) in &self.partitions {
            let (apart, expect): (Vec<_>, Vec<_>) = model.rows.iter().map(flat).partition(|(table, _, _)| table == APARTS);
            assert_eq!(rows(&self.store, key, None).await, expect, "{key:?}");
            assert_eq!(rows(&self.store, key, Some(APARTS)).await, apart, "{key:?}");
            let expect: Vec<_> = model.audit.iter().rev().cloned().collect();
            assert_eq!(self.store.audit(key, usize::MAX).await.unwrap(), expect, "{key:?}");
        }
        let awake: Vec<_> = self.partitions.iter().filter(|(_, model)| model.wake.awake).map(|(key, _)| key.clone()).collect();
        assert_eq!(wake_index::awake(&self.store, 3).await, awake);
        let until = Timestamp(self.random.random_range(-6..101));
        let due = self.partitions.iter().filter_map(|(key, model)| Some((model.wake.due.filter(|due| *due <= until)?, key.clone())));
        let mut due: Vec<_> = due.collect();
        due.sort();
        let found = wake_index::due(&self.store, until.0, 3).await;
        assert_eq!(found.into_iter().map(|DueRow { due, partition }| (due, partition)).collect::<Vec<_>>(), due);
    }
}

/// Ids of the rows of a table that are behind an id, and of those in front of it, from the last one on.
async fn around(store: &dyn Partitions, key: &PartitionKey, table: &'static str, id: String) -> (Vec<String>, Vec<String>) {
    let (tell, told) = std::sync::mpsc::channel();
    let read = move |rows: &dyn Rows| {
        let (mut behind, mut before) = (Vec::new(), Vec::new());
        let to = |ids: &mut Vec<String>, id: &str| {
            ids.push(id.to_owned());
            ControlFlow::Continue(())
        };
        let each = rows.each(table, Some(&id), &mut |id, _| to(&mut behind, id));
        each.and(rows.each_back(table, &id, &mut |id, _| to(&mut before, id))).unwrap();
        tell.send((behind, before)).unwrap();
    };
    store.read(key, Box::new(read)).await.unwrap();
    told.recv().unwrap()
}

fn flat(((table, id), value): (&(String, String), &String)) -> (String, String, String) {
    (table.clone(), id.clone(), value.clone())
}
