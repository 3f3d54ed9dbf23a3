//! A keyspace in a backup, and back.

use super::{Keyspace, log};
use crate::{
    APART, Dead, Deal, EventLog, Incarnation, KeyAlgorithm, Lease, Member, Membership, NodeName, Offset, Partitions, Seq, Settled, Slots,
    Swap, Topic, Vault, View, WakeIndex,
    backup::{BackupError, FORMAT, Header, Reader, Writer},
    scylla::driver::{ScyllaError, ScyllaStore, ScyllaVault},
    testkit::{
        turn::{Turn, partition, rows},
        vault::{master, path},
    },
};
use cellspace_schemas::Timestamp;
use std::{sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

async fn back_up(store: &ScyllaStore) -> Vec<u8> {
    let header = Header { format: FORMAT, installation: None, keyspace: None, cell: None, taken_at: Timestamp(1) };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    store.back_up(&mut writer).await.unwrap();
    writer.finish().unwrap().1
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
