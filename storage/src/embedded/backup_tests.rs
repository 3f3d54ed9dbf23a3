//! A data directory in a backup, and back.

use super::backup::{DataDirectory, Restoring};
use crate::{
    EmbeddedOptions, EmbeddedStore, EmbeddedVault, EventLog, Group, MasterKey, Offset, OpenError, Partitions, Secret, Slots, Topic, Vault,
    VaultPath, WakeIndex,
    backup::{BackupError, FORMAT, Header, Reader, Writer},
    testkit::turn::{Turn, partition},
};
use cellspace_schemas::{KeyAlias, Owner, Timestamp};
use secrecy::ExposeSecret;
use std::path::Path;

fn open(dir: &Path) -> EmbeddedStore {
    // Rows move on often, one with each commit.
    EmbeddedStore::open(dir, EmbeddedOptions { deleted_rows: 2, moved_rows: 1, ..EmbeddedOptions::default() }).unwrap()
}

fn secret() -> VaultPath {
    VaultPath { owner: Owner::new("o").unwrap(), alias: KeyAlias::new("a").unwrap() }
}

fn back_up(dir: &Path) -> Vec<u8> {
    let header = Header { format: FORMAT, installation: None, keyspace: None, cell: None, taken_at: Timestamp(1) };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    DataDirectory::open(dir).unwrap().write(&mut writer).unwrap();
    writer.finish().unwrap().1
}

fn restore(backup: &[u8], dir: &Path) -> Result<(), BackupError> {
    let mut reader = Reader::new(backup)?;
    let mut restoring = Restoring::begin(dir)?;
    while let Some(record) = reader.record()? {
        restoring.take(record)?;
    }
    restoring.finish()
}

#[tokio::test]
async fn all_that_is_kept_comes_back() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (key, t, g, master) = (partition("o", "k", "n"), Topic("t".into()), Group("g".into()), MasterKey::File(from.path().join("m")));
    assert!(matches!(DataDirectory::open(from.path()), Err(BackupError::Nothing(_))));
    let store = open(from.path());
    store.put_meta("public-url", "u").await.unwrap();
    let claim = store.claim(&key, store.boot()).await.unwrap();
    let first = ["a", "b", "c", "d"].iter().fold(Turn::after(&key, claim), |turn, id| turn.put("t", id, "1"));
    first.due(9).applied(&store).await;
    for (n, id) in (2..).zip(["a", "b", "c", "d"]) {
        Turn::after(&key, claim).numbered(n).delete("t", id).put("t", &format!("{id}{id}"), "2").due(9).applied(&store).await;
    }
    let last = Turn::after(&key, claim).numbered(6).put("t", "aa", "3").awake().due(7);
    last.publish("t", "k", "e1").publish("t", "k", "e2").applied(&store).await;
    store.committed(&t, &g).await.unwrap();
    EventLog::commit(&store, &t, &g, Offset(1)).await.unwrap();
    let vault = EmbeddedVault::open(from.path(), &master).unwrap();
    vault.put_secret(&secret(), Secret::from("s".to_owned())).await.unwrap();
    assert!(matches!(DataDirectory::open(from.path()), Err(BackupError::Open(OpenError::Locked { .. }))), "a node has it");
    let boot = store.boot();
    drop((store, vault));

    let backup = back_up(from.path());
    restore(&backup, to.path()).unwrap();
    assert!(matches!(restore(&backup, to.path()), Err(BackupError::NotEmpty(_))));
    let lines = |backup: &[u8]| {
        let mut lines: Vec<_> =
            backup.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"{\"end\"")).map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&back_up(to.path())), lines(&backup), "a backup of what was restored is the same, whatever generations rows were in");
    let (store, vault) = (open(to.path()), EmbeddedVault::open(to.path(), &master).unwrap());
    assert!(store.boot() > boot);
    assert_eq!(store.meta("public-url").unwrap().as_deref(), Some("u"));
    let rows = store.scan(&key, None, None, 10).await.unwrap().rows;
    let rows: Vec<_> = rows.iter().map(|row| (row.key.id(), &row.value[..])).collect();
    assert_eq!(rows, [("aa", &b"3"[..]), ("bb", &b"2"[..]), ("cc", &b"2"[..]), ("dd", &b"2"[..])]);
    assert_eq!(store.awake(&Slots::All, None, 10).await.unwrap().entries, std::slice::from_ref(&key));
    assert_eq!(store.due(&Slots::All, Timestamp(8), None, 10).await.unwrap().entries.len(), 1, "the last deadline alone");
    assert_eq!(store.due(&Slots::All, Timestamp(99), None, 10).await.unwrap().entries.len(), 1);
    assert_eq!((store.audit(&key, 10).await.unwrap().len(), store.committed(&t, &g).await.unwrap()), (6, Offset(1)));
    assert_eq!(store.fetch(&t, Offset(1), 10).await.unwrap()[0].payload, "e2");
    assert_eq!(vault.secret(&secret()).await.unwrap().expose_secret(), "s");
    // It goes on from there.
    let claim = store.claim(&key, store.boot()).await.unwrap();
    Turn::after(&key, claim).numbered(7).put("t", "x", "4").publish("t", "k", "e3").applied(&store).await;
    assert_eq!(store.fetch(&t, Offset(2), 10).await.unwrap()[0].offset, Offset(3));
}

#[tokio::test]
async fn what_is_not_whole_is_not_there() {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    open(from.path()).put_meta("public-url", "u").await.unwrap();
    let mut backup = back_up(from.path());
    let at = backup.windows(3).position(|bytes| bytes == b"\"u\"").unwrap() + 1;
    backup[at] = b'v';
    assert!(matches!(restore(&backup, to.path()), Err(BackupError::Damaged(_))));
    assert_eq!(open(to.path()).meta("public-url").unwrap(), None);
}
