//! A keyspace in a backup, and back.

use super::{Keyspace, log};
use crate::{
    APART, CellName, Dead, Deal, EventLog, Home, Homes, Incarnation, KeyAlgorithm, Lease, Member, Membership, Movable, NodeName, Offset,
    PartitionKey, Partitions, Phase, Seal, Seq, Settled, Slots, Standing, Swap, Topic, Vault, View, WakeIndex,
    backup::{BackupError, FORMAT, Header, Reader, Record, Writer},
    scylla::driver::{ScyllaError, ScyllaStore, ScyllaVault},
    testkit::{
        turn::{Turn, partition, rows},
        vault::{master, path},
    },
};
use cellspace_schemas::Timestamp;
use std::{sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

const HEADER: Header = Header { format: FORMAT, installation: None, keyspace: None, cell: None, taken_at: Timestamp(1) };

async fn written(store: &ScyllaStore) -> Result<Vec<u8>, BackupError> {
    let mut writer = Writer::new(Vec::new(), &HEADER)?;
    store.back_up(&mut writer).await?;
    Ok(writer.finish()?.1)
}

async fn back_up(store: &ScyllaStore) -> Vec<u8> {
    written(store).await.unwrap()
}

/// Takes all records in.
async fn restore(backup: &[u8], store: &ScyllaStore) -> Result<(), BackupError> {
    let mut reader = Reader::new(backup)?;
    let mut restoring = store.begin_restoring().await?;
    while let Some(record) = reader.record()? {
        restoring.take(record).await?;
    }
    restoring.finish().await
}

#[tokio::test]
async fn all_that_is_in_a_keyspace_comes_back() {
    let Some(mut from) = Keyspace::new("all_that_is_in_a_keyspace").await else { return };
    let Some(to) = Keyspace::new("into_another_keyspace").await else { return };
    // Rows are moved.
    from.0.deleted_rows = 5;
    let (store, key, idle, apart) = (from.open().await, partition("o", "k", "n"), partition("o", "idle", ""), format!("{APART}a"));
    store.put_meta("url", "u").await.unwrap();
    let claim = store.claim(&key, store.boot()).await.unwrap();
    for n in 1..=40_u64 {
        let turn = Turn::after(&key, claim).numbered(n).put("t", &n.to_string(), "v").put(&apart, "x", &n.to_string());
        let turn = if n > 1 { turn.delete("t", &(n - 1).to_string()) } else { turn };
        turn.publish("t", "k", &format!("{n}a")).publish("t", "k", &format!("{n}b")).awake().due(7).applied(&store).await;
    }
    store.claim(&idle, store.boot()).await.unwrap();
    let (vault, path) = (ScyllaVault::open(&store, &master(1)).await.unwrap(), path("o", "a"));
    let public = vault.generate_key(&path, KeyAlgorithm::Ed25519).await.unwrap();
    let member = Member { node: NodeName("n".into()), incarnation: Incarnation(3) };
    let deal = Deal { from: vec![member.clone()], to: vec![member], mark: 0 };
    for version in 1..=5 {
        let dead = vec![Dead { member: deal.to[0].clone(), until: Timestamp(7), settled: None }];
        let view = View { version, format: 1, deal: deal.clone(), past: Vec::new(), dead };
        assert_eq!(store.change_view(view).await, Swap::Applied);
    }
    let lease = Lease {
        node: NodeName("n".into()),
        incarnation: Incarnation(3),
        counter: 9,
        revoked: false,
        level: 1,
        endpoint: "h:1".to_owned(),
        until: Some(Timestamp(8)),
        settled: Some(Settled { view: 5, at: Timestamp(6) }),
        follows: Some(2),
    };
    assert_eq!(store.put_lease(None, lease.clone()).await, Swap::Applied);
    let backup = back_up(&store).await;
    drop((vault, store));
    drop(from.open().await);

    let store = to.open().await;
    restore(&backup, &store).await.unwrap();
    assert!(matches!(restore(&backup, &store).await, Err(BackupError::NotEmpty(_))));
    let view = store.view().await.unwrap().unwrap();
    // Of when something was served nothing is told: it may have been later.
    let silent = Lease { until: None, settled: None, ..lease };
    assert_eq!((view.version, &view.deal, view.dead, store.leases().await.unwrap()), (5, &deal, Vec::new(), vec![silent]));
    let vault = ScyllaVault::open(&store, &master(1)).await.unwrap();
    assert_eq!(vault.public_key(&path).await.unwrap(), public);
    drop((vault, store));
    let store = to.open().await;
    assert!(store.boot() > 1, "epochs go on from there");
    assert_eq!(store.meta("url").await.unwrap().as_deref(), Some("u"));
    for (table, expected) in [("t", ("t", "40", "v")), (apart.as_str(), (apart.as_str(), "x", "40"))] {
        let found = rows(&store, &key, Some(table)).await;
        assert_eq!(found, [(expected.0.to_owned(), expected.1.to_owned(), expected.2.to_owned())]);
    }
    assert!(!store.exists(&idle).await.unwrap());
    assert_eq!(store.awake(&Slots::All, None, 10).await.unwrap().entries, std::slice::from_ref(&key));
    assert_eq!(store.due(&Slots::All, Timestamp(7), None, 10).await.unwrap().entries.len(), 1);
    assert_eq!(store.audit(&key, 100).await.unwrap().len(), 40);
    assert!(store.witness(&key, Seq(40)).await.unwrap().is_some());
    // What waited for the log goes there, and the partition goes on.
    let (dir, topic) = (tempfile::tempdir().unwrap(), Topic("t".into()));
    let log = log(&dir);
    store.publish_to(Arc::new(log.clone()));
    tokio::time::timeout(PATIENCE, log.wait(&topic, Offset(79))).await.unwrap().unwrap();
    let events: Vec<_> = log.fetch(&topic, Offset(0), 100).await.unwrap().into_iter().map(|event| event.payload).collect();
    assert_eq!(events, (1..=40).flat_map(|n| [format!("{n}a"), format!("{n}b")]).collect::<Vec<_>>());
    let claim = store.claim(&key, store.boot()).await.unwrap();
    assert_eq!(claim.head.map(|head| head.seq), Some(Seq(40)));
    Turn::after(&key, claim).numbered(41).put("t", "41", "v").applied(&store).await;
    assert_eq!(store.due(&Slots::All, Timestamp(7), None, 10).await.unwrap().entries.len(), 0, "a commit without deadline");
    from.remove().await;
    to.remove().await;
}

/// Where a backup goes: as the first of a partition comes, somebody writes there.
struct Disturbing {
    store: ScyllaStore,
    next: Option<Turn>,
}

impl std::io::Write for Disturbing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(turn) = self.next.take_if(|_| String::from_utf8_lossy(bytes).contains("partition")) {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(turn.applied(&self.store)));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A partition of two commits is in no backup.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_ends_the_backup() {
    let Some(keyspace) = Keyspace::new("what_is_written_meanwhile").await else { return };
    let (store, key) = (keyspace.open().await, partition("o", "k", "n"));
    let claim = store.claim(&key, store.boot()).await.unwrap();
    Turn::after(&key, claim).put("t", "1", "v").applied(&store).await;
    let next = Some(Turn::after(&key, claim).numbered(2).put("t", "2", "v"));
    let mut writer = Writer::new(Disturbing { store: store.clone(), next }, &HEADER).unwrap();
    let ended = store.back_up(&mut writer).await.unwrap_err().to_string();
    assert!(ended.contains("somebody writes k/o/n while the backup is made"), "{ended}");
    back_up(&store).await;
    keyspace.remove().await;
}

/// What a restore leaves behind that did not end is opened by nobody, and is no place for another one.
#[tokio::test]
async fn half_a_backup_is_not_opened() {
    let Some(from) = Keyspace::new("a_whole_keyspace").await else { return };
    let Some(to) = Keyspace::new("half_a_backup").await else { return };
    let store = from.open().await;
    store.put_meta("url", "u").await.unwrap();
    let (backup, restored) = (back_up(&store).await, to.open().await);
    let mut reader = Reader::new(backup.as_slice()).unwrap();
    // One of two that begin together restores.
    let (one, two) = futures::join!(restored.begin_restoring(), restored.begin_restoring());
    let (mut restoring, refused) = match one {
        Ok(restoring) => (restoring, two),
        refused => (two.unwrap(), refused),
    };
    assert!(matches!(refused, Err(BackupError::NotEmpty(_))));
    while let Some(record) = reader.record().unwrap() {
        restoring.take(record).await.unwrap();
    }
    drop(restoring);
    assert!(matches!(ScyllaStore::open(to.0.clone()).await, Err(ScyllaError::Restoring(_))));
    assert!(matches!(restored.begin_restoring().await, Err(BackupError::NotEmpty(_))));
    from.remove().await;
    to.remove().await;
}

async fn seal_on(store: &ScyllaStore, key: &PartitionKey) -> Seal {
    store.standing(key).await.unwrap().seal.unwrap()
}

/// The partitions that are in it.
fn partitions(backup: &[u8]) -> Vec<PartitionKey> {
    let mut reader = Reader::new(backup).unwrap();
    let records = std::iter::from_fn(|| reader.record().unwrap());
    let key = |record| if let Record::Partition { key, .. } = record { Some(key) } else { None };
    records.filter_map(key).collect()
}

/// The cell that somebody has left keeps a seal over nothing for good.
#[tokio::test]
async fn who_has_gone_to_another_cell_is_in_that_ones_backup_alone_and_homes_come_back() {
    let Some(here) = Keyspace::new("who_has_gone_to_another_cell").await else { return };
    let Some(there) = Keyspace::new("is_in_that_ones_backup").await else { return };
    let Some(again) = Keyspace::new("and_homes_come_back").await else { return };
    let (a, b, stays, gone) = (here.open().await, there.open().await, partition("stays", "k", ""), partition("gone", "k", ""));
    for key in [&stays, &gone] {
        let claim = a.claim(key, 7).await.unwrap();
        Turn::after(key, claim).put("t", "1", "v").applied(&a).await;
    }
    // Partitions that were never written are sealed as well.
    for key in [&gone, &partition("gone", "other", "")] {
        a.seal(key, 3).await.unwrap();
    }
    a.copy_sealed(&b, &gone, Standing::default()).await.unwrap();
    b.unseal(&gone, seal_on(&b, &gone).await).await.unwrap();
    a.clear(&gone, seal_on(&a, &gone).await).await.unwrap();
    let cell = |name: &str| CellName(name.to_owned());
    let home = |version| Home { cell: cell("b"), version, came: Some(Timestamp(5)), phase: Phase::Settled };
    for version in 1..=4 {
        assert_eq!(Homes::put(&a, &gone.owner, &home(version)).await, Swap::Applied);
    }
    let backup = back_up(&a).await;
    assert_eq!((partitions(&backup), partitions(&back_up(&b).await)), (vec![stays.clone()], vec![gone.clone()]));

    let store = again.open().await;
    restore(&backup, &store).await.unwrap();
    assert_eq!(rows(&store, &stays, None).await.len(), 1);
    assert_eq!(store.standing(&gone).await.unwrap(), Standing::default(), "as in a cell that never had it");
    assert_eq!(Homes::of(&store, &stays.owner).await.unwrap(), None);
    assert_eq!(Homes::of(&store, &gone.owner).await.unwrap(), Some(home(4)));
    // It may come back there, and its home is changed as before.
    let next = home(4).next(&cell("b"), Phase::Copying { to: cell("a") });
    assert_eq!(Homes::put(&store, &gone.owner, &next).await, Swap::Applied);
    b.seal(&gone, 6).await.unwrap();
    b.copy_sealed(&store, &gone, Standing::default()).await.unwrap();
    store.unseal(&gone, seal_on(&store, &gone).await).await.unwrap();
    assert_eq!(rows(&store, &gone, None).await, rows(&b, &gone, None).await);
    for keyspace in [here, there, again] {
        keyspace.remove().await;
    }
}

/// Whether there is no backup, because this participant is on its way.
async fn is_refused(store: &ScyllaStore, moved: &PartitionKey) -> bool {
    let Err(error) = written(store).await else { return false };
    assert!(matches!(&error, BackupError::Moving(owner) if *owner == moved.owner), "{error}");
    assert!(error.to_string().contains("`cellspace admin move p --to CELL`"), "{error}");
    true
}

#[tokio::test]
async fn a_participant_on_its_way_is_in_no_backup() {
    let Some(here) = Keyspace::new("a_participant_on_its_way").await else { return };
    let Some(there) = Keyspace::new("is_in_no_backup").await else { return };
    let (a, b, key) = (here.open().await, there.open().await, partition("p", "k", ""));
    let refused = async || (is_refused(&a, &key).await, is_refused(&b, &key).await);
    let claim = a.claim(&key, 7).await.unwrap();
    Turn::after(&key, claim).put("t", "1", "v").applied(&a).await;
    assert_eq!(refused().await, (false, false));
    a.copy_ahead(&b, &key, Standing::default(), 1).await.unwrap();
    assert_eq!(refused().await, (false, true), "half a copy");
    a.seal(&key, 2).await.unwrap();
    assert_eq!(refused().await, (true, true));
    a.copy_sealed(&b, &key, b.standing(&key).await.unwrap()).await.unwrap();
    assert_eq!(refused().await, (true, true), "two, and either may be the one that counts");
    b.unseal(&key, seal_on(&b, &key).await).await.unwrap();
    assert_eq!(refused().await, (true, false));
    a.clear(&key, seal_on(&a, &key).await).await.unwrap();
    assert_eq!(refused().await, (false, false));
    // Where homes are, also of one of whom no partition there says anything.
    let (main, to) = (CellName("a".to_owned()), CellName("b".to_owned()));
    let phases = [
        Phase::Copying { to: to.clone() },
        Phase::Moving { to: to.clone(), since: None },
        Phase::Moved { from: to.clone() },
        Phase::Returning { to },
        Phase::Settled,
    ];
    for (version, phase) in (1..).zip(phases) {
        let home = Home { cell: main.clone(), version, came: None, phase };
        assert_eq!(Homes::put(&a, &key.owner, &home).await, Swap::Applied);
        assert_eq!(refused().await, (home.phase != Phase::Settled, false), "{home:?}");
    }
    here.remove().await;
    there.remove().await;
}
