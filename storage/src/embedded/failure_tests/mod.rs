//! What happens when files are damaged, the disk is full, or power is lost: a clear error, never silent loss.

mod crash;
mod damage;
mod synced;
mod trace;

use super::{EmbeddedOptions, EmbeddedStore, OpenError, keys, rows::SyncedRows};
use crate::{
    EventLog, Offset, PartitionKey, Partitions, RowKey, Slots, StoreError, Topic, WakeIndex,
    testkit::{Turn, turn::partition},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

fn open(dir: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(dir, EmbeddedOptions::default())
}

/// With rows that move on as often, and as slowly, as can be.
pub(super) fn open_moving(dir: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(dir, EmbeddedOptions { deleted_rows: 3, moved_rows: 1, ..EmbeddedOptions::default() })
}

/// Whether some rows of the partition have moved to the next generation, and others have not.
pub(super) fn is_moving(store: &EmbeddedStore, key: &PartitionKey) -> bool {
    SyncedRows::read(store.shared(), keys::partition(key)).unwrap().generation().moving.is_some()
}

/// Set in a copy of this test program that a test starts: the data directory to work in.
const CHILD: &str = "CELLSPACE_TEST_CHILD";

/// The test `name` of these modules, in a process of its own that works in `dir`; `shell` is what starts it.
fn child(name: &str, dir: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", &format!("embedded::failure_tests::{name}")]).env(CHILD, dir);
    command
}

/// A row of 2 KiB that does not compress, so that a table has many blocks.
fn value(name: &str, seq: u64) -> String {
    let mut state = seq;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", state >> 32)
    });
    format!("{name} {seq} {}", words.take(256).collect::<String>())
}

/// `count` turns of one partition that delete something, each with a row named by its number and an event.
async fn write(store: &EmbeddedStore, name: &str, count: u64) {
    let key = partition("o", "k", name);
    let claim = store.claim(&key, 1).await.unwrap();
    let first = claim.head.unwrap_or_default().seq.0;
    for seq in first + 1..=first + count {
        let turn = Turn::after(&key, claim).numbered(seq).put("t", &seq.to_string(), &value(name, seq));
        turn.delete("gone", "").publish("topic", name, "event").awake().applied(store).await;
    }
    store.release(&key, claim.epoch);
}

/// Whether everything that [`write`] wrote is there. An error is an answer too; wrong data is none.
async fn complete(store: &EmbeddedStore, name: &str, count: u64) -> Result<bool, StoreError> {
    let key = partition("o", "k", name);
    let mut there = store.exists(&key).await?;
    for seq in 1..=count {
        let row = store.get(&key, &RowKey::new("t", &seq.to_string())).await?;
        there &= row.is_some_and(|row| row.value == value(name, seq));
    }
    there &= store.scan(&key, None, None, 10_000).await?.rows.len() as u64 == count;
    there &= store.audit(&key, 10_000).await?.len() as u64 == count;
    there &= store.fetch(&Topic("topic".into()), Offset(0), 10_000).await?.len() as u64 == count;
    there &= store.awake(&Slots::All, None, 10).await?.entries == [key];
    Ok(there)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub(super) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// A store whose data lies partly in tables and partly in a journal of its true length.
async fn store_of_tables_and_journal(count: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, "a", count / 2).await;
    let tables = &store.shared().tables;
    for table in [&tables.heads, &tables.rows, &tables.meta] {
        table.rotate_memtable_and_wait().unwrap();
    }
    drop(store);
    // The first journal is made 64 MiB long; recovery cuts it.
    let store = open(dir.path()).unwrap();
    write(&store, "a", count - count / 2).await;
    assert!(complete(&store, "a", count).await.unwrap());
    drop(store);
    dir
}
