//! Failed writes, a full disk, and the end of the process at any moment.

use super::{CHILD, child, complete, open, open_moving, value, write};
use crate::{
    CommitOutcome, EventLog, Group, MasterKey, Offset, Partitions, RowKey, Secret, Slots, StoreError, Topic, Vault, VaultError, WakeIndex,
    embedded::{EmbeddedOptions, EmbeddedStore, EmbeddedVault},
    testkit::{Turn, turn::partition, vault::path},
};
use cellspace_schemas::testkit::seed;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use secrecy::ExposeSecret;
use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    sync::Arc,
};

#[tokio::test]
async fn after_a_failed_write_everything_fails() {
    let dir = tempfile::tempdir().unwrap();
    let fails_at = Arc::new(Mutex::new(u64::MAX));
    let gate = fails_at.clone();
    let on_sync = Arc::new(move |group| assert!(group < *gate.lock(), "told to fail"));
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions { on_sync: Some(on_sync), ..EmbeddedOptions::default() }).unwrap();
    write(&store, "a", 3).await;
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.wait(&Topic("topic".into()), Offset(3)).await })
    };
    tokio::task::yield_now().await;
    let key = partition("o", "k", "a");
    let claim = store.claim(&key, 1).await.unwrap();
    *fails_at.lock() = 0;
    assert!(matches!(Turn::after(&key, claim).commit(&store).await, CommitOutcome::Unknown(reason) if reason == "told to fail"));
    *fails_at.lock() = u64::MAX;
    everything_fails(&store).await;
    assert!(matches!(waiting.await.unwrap(), Err(StoreError::Poisoned(_))), "who waits is told");
}

async fn everything_fails(store: &EmbeddedStore) {
    let (key, topic, group) = (partition("o", "k", "a"), Topic("topic".into()), Group("g".into()));
    let poisoned = |error: StoreError| assert!(matches!(error, StoreError::Poisoned(_)), "{error:?}");
    poisoned(store.health().unwrap_err());
    poisoned(store.exists(&key).await.unwrap_err());
    poisoned(store.get(&key, &RowKey::new("t", "1")).await.unwrap_err());
    poisoned(store.scan(&key, None, None, 1).await.unwrap_err());
    poisoned(store.audit(&key, 1).await.unwrap_err());
    poisoned(store.awake(&Slots::All, None, 1).await.unwrap_err());
    poisoned(store.fetch(&topic, Offset(0), 1).await.unwrap_err());
    poisoned(store.wait(&topic, Offset(0)).await.unwrap_err());
    poisoned(store.committed(&topic, &group).await.unwrap_err());
    poisoned(EventLog::commit(store, &topic, &group, Offset(1)).await.unwrap_err());
    poisoned(store.meta("x").unwrap_err());
    poisoned(store.put_meta("x", "y").await.unwrap_err());
    assert!(store.claim(&key, 1).await.is_err());
}

/// A limit on the size of files stands for the full disk. The first start is over by then; it makes a journal of 64 MiB.
#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    if let Some(dir) = env::var_os(CHILD) {
        return fill_the_disk(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let master = MasterKey::File(dir.path().join("master.key"));
    drop(open(dir.path()).unwrap());
    drop(EmbeddedVault::open(dir.path(), &master).unwrap());
    // Without the trap the system would end the process at the limit. 2048 blocks of 512 bytes or of 1 KiB, by shell.
    let output =
        child("crash::a_full_disk_is_a_clear_error_and_loses_nothing", dir.path(), "trap '' XFSZ; ulimit -f 2048; exec").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let number = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.parse().unwrap()
    };
    let (turns, secrets) = (number("turns "), number("secrets "));
    assert!(turns > 10 && secrets > 10, "{text}");

    let store = open(dir.path()).unwrap();
    let key = partition("o", "k", "a");
    let claim = store.claim(&key, 1).await.unwrap();
    let landed = claim.head.unwrap().seq.0;
    // The turn that failed may have landed: its outcome was unknown.
    assert!(landed == turns || landed == turns + 1, "{landed} of {turns}");
    assert!(complete(&store, "a", landed).await.unwrap());
    write(&store, "a", 1).await;
    let vault = EmbeddedVault::open(dir.path(), &master).unwrap();
    for n in 1..=secrets {
        assert_eq!(vault.secret(&path("o", &n.to_string())).await.unwrap().expose_secret(), value("s", n));
    }
}

async fn fill_the_disk(dir: &Path) {
    let store = open(dir).unwrap();
    let key = partition("o", "k", "a");
    let claim = store.claim(&key, 1).await.unwrap();
    let mut turns = 0;
    loop {
        let seq = turns + 1;
        let turn = Turn::after(&key, claim).numbered(seq).put("t", &seq.to_string(), &value("a", seq)).awake();
        match turn.publish("topic", "a", "event").commit(&store).await {
            CommitOutcome::Applied => turns = seq,
            CommitOutcome::Unknown(reason) => {
                assert!(reason.contains("FileTooLarge") || reason.contains("File too large"), "{reason}");
                break;
            }
            CommitOutcome::Refused(reason) | CommitOutcome::NotSent(reason) => panic!("refused: {reason}"),
            CommitOutcome::Fenced => panic!("fenced"),
        }
    }
    everything_fails(&store).await;

    let vault = EmbeddedVault::open(dir, &MasterKey::File(dir.join("master.key"))).unwrap();
    let mut secrets = 0;
    let put = |n: u64| {
        let vault = &vault;
        async move { vault.put_secret(&path("o", &n.to_string()), Secret::from(value("s", n))).await }
    };
    while put(secrets + 1).await.is_ok() {
        secrets += 1;
    }
    let poisoned = VaultError::Store(StoreError::Poisoned(String::new()));
    let same = |error: VaultError| std::mem::discriminant(&error) == std::mem::discriminant(&poisoned);
    assert!(vault.health().is_err());
    assert!(put(secrets + 1).await.is_err_and(same));
    assert!(vault.secret(&path("o", "1")).await.is_err_and(same));
    println!("\nturns {turns}\nsecrets {secrets}");
}

/// Invariant ACK, for the death of the process.
#[tokio::test]
async fn killed_at_any_moment_it_keeps_what_it_answered() {
    if let Some(dir) = env::var_os(CHILD) {
        return answer_until_killed(Path::new(&dir)).await;
    }
    let mut random = StdRng::seed_from_u64(seed());
    let dir = tempfile::tempdir().unwrap();
    let mut landed = 0;
    for round in 0..6 {
        let answers = random.random_range(0..60);
        let mut child = child("crash::killed_at_any_moment_it_keeps_what_it_answered", dir.path(), "exec");
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let mut answered = lines.filter_map(|line| line.strip_prefix("turn ").map(|seq| seq.parse::<u64>().unwrap())).take(answers);
        let last = answered.by_ref().last().unwrap_or(landed);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open_moving(dir.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let key = partition("o", "k", "a");
        landed = store.claim(&key, 1).await.unwrap().head.map_or(0, |head| head.seq.0);
        assert!(landed >= last, "round {round}: {landed} of {last} answered");
        assert!(landed == 0 || complete(&store, "a", landed).await.unwrap(), "round {round}");
    }
}

async fn answer_until_killed(dir: &Path) {
    let store = open_moving(dir).unwrap();
    loop {
        write(&store, "a", 1).await;
        let head = store.claim(&partition("o", "k", "a"), 1).await.unwrap().head.unwrap();
        println!("\nturn {}", head.seq.0);
    }
}
