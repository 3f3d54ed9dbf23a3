//! What happens when files are damaged, the disk is full, or power is lost: a clear error, never silent loss.

use super::{EmbeddedOptions, EmbeddedStore, EmbeddedVault, MasterKey, OpenError};
use crate::{
    CommitOutcome, EventLog, Group, Offset, Partitions, RowKey, Secret, StoreError, Topic, Vault, VaultError, WakeIndex,
    testkit::{Turn, random::seed, turn::partition, vault::path},
};
use fjall::{Database, KeyspaceCreateOptions};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use secrecy::ExposeSecret;
use std::{
    collections::BTreeMap,
    env,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

fn open(dir: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(dir, EmbeddedOptions::default())
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

/// `count` turns of one partition, each with a row named by its number and an event.
async fn write(store: &EmbeddedStore, name: &str, count: u64) {
    let key = partition("o", "k", name);
    let claim = store.claim(&key).await.unwrap();
    let first = claim.head.unwrap_or_default().seq.0;
    for seq in first + 1..=first + count {
        let turn = Turn::after(&key, claim).numbered(seq).put("t", &seq.to_string(), &value(name, seq));
        turn.publish("topic", name, "event").awake().applied(store).await;
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
    there &= store.awake(None, 10).await? == [key];
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

fn copy(from: &Path, to: &Path) {
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

#[derive(Debug, Clone, Copy)]
enum Damage {
    Empty,
    Half,
    /// The last byte is missing.
    Short,
    Garbage,
    /// 64 bytes in the middle.
    Middle,
    Gone,
}

impl Damage {
    const ALL: [Self; 6] = [Self::Empty, Self::Half, Self::Short, Self::Garbage, Self::Middle, Self::Gone];

    fn to(self, path: &Path) {
        let length = fs::metadata(path).unwrap().len();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let noise = |length: u64| (0..length).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 7) as u8).collect::<Vec<_>>();
        match self {
            Self::Empty => file.set_len(0).unwrap(),
            Self::Half => file.set_len(length / 2).unwrap(),
            Self::Short => file.set_len(length.saturating_sub(1)).unwrap(),
            Self::Garbage => file.write_all_at(&noise(length), 0).unwrap(),
            Self::Middle => file.write_all_at(&noise(64.min(length - length / 2)), length / 2).unwrap(),
            Self::Gone => fs::remove_file(path).unwrap(),
        }
    }
}

#[tokio::test]
async fn no_damage_of_any_file_loses_data_in_silence() {
    const COUNT: u64 = 40;
    let whole = store_of_tables_and_journal(COUNT).await;
    let mut seen = BTreeMap::new();
    for file in files(whole.path()) {
        let name = file.strip_prefix(whole.path()).unwrap();
        // Nothing is read from a lock file, and one table without rows is damaged as well as six.
        let is_lock = name.extension().is_some_and(|extension| extension == "lock");
        if is_lock || ["5", "6", "7", "8", "9"].iter().any(|table| name.starts_with(Path::new("store/keyspaces").join(table))) {
            continue;
        }
        for damage in Damage::ALL {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            damage.to(&dir.path().join(name));
            let outcome = match open(dir.path()) {
                Ok(store) => match complete(&store, "a", COUNT).await {
                    Ok(true) => "complete",
                    Ok(false) => panic!("{damage:?} of {} lost data in silence", name.display()),
                    Err(_) => "read error",
                },
                Err(OpenError::Lost { .. }) => "lost",
                Err(OpenError::Corrupt { .. }) => "corrupt",
                Err(other) => panic!("{damage:?} of {}: {other}", name.display()),
            };
            *seen.entry(outcome).or_insert(0) += 1;
            println!("{damage:?} of {}: {outcome}", name.display());
        }
    }
    // Each kind of answer occurs, so that the table is no empty one.
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), ["complete", "corrupt", "lost", "read error"], "{seen:?}");
}

#[tokio::test]
async fn a_torn_tail_that_was_never_acknowledged_is_cut_off() {
    let whole = store_of_tables_and_journal(10).await;
    let journal = whole.path().join("store/0.jnl");
    let length = fs::metadata(&journal).unwrap().len();
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    // The beginning of an entry, as a power cut leaves it.
    file.write_all_at(&[1, 5, 0, 0, 0, 9, 9], length).unwrap();
    let store = open(whole.path()).unwrap();
    assert!(complete(&store, "a", 10).await.unwrap());
    write(&store, "a", 1).await;
}

#[test]
fn what_is_no_data_directory_is_refused_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = open(&file.join("data")).unwrap_err();
    assert!(matches!(error, OpenError::Unwritable { .. }), "{error:?}");
    assert!(error.to_string().starts_with("cannot write to"), "{error}");

    let foreign = dir.path().join("foreign");
    fs::create_dir_all(foreign.join("store/keyspaces/0")).unwrap();
    fs::write(foreign.join("store/0.jnl"), "not a journal").unwrap();
    let error = open(&foreign).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert!(foreign.join("store/0.jnl").exists(), "nothing is thrown away");
}

#[tokio::test]
async fn a_first_start_that_was_killed_half_way_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    fs::create_dir_all(store.join("keyspaces")).unwrap();
    fs::write(store.join("lock"), "").unwrap();
    fs::File::create(store.join("0.jnl")).unwrap().set_len(64 << 20).unwrap();
    for version in [None, Some("")] {
        if let Some(version) = version {
            fs::write(store.join("version"), version).unwrap();
        }
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.boot(), 1);
        drop(opened);
        for file in ["store.synced", "store/version"] {
            fs::remove_file(dir.path().join(file)).unwrap();
        }
        fs::remove_dir_all(store.join("keyspaces")).unwrap();
        fs::write(store.join("0.jnl"), [0; 100]).unwrap();
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let database = Database::builder(dir.path().join("store")).open().unwrap();
    let meta = database.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
    meta.insert("format", super::values::encode_number(9)).unwrap();
    drop((meta, database));
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 9, supported: 1, .. }), "{error:?}");
}

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
    let claim = store.claim(&key).await.unwrap();
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
    poisoned(store.awake(None, 1).await.unwrap_err());
    poisoned(store.fetch(&topic, Offset(0), 1).await.unwrap_err());
    poisoned(store.wait(&topic, Offset(0)).await.unwrap_err());
    poisoned(store.committed(&topic, &group).await.unwrap_err());
    poisoned(EventLog::commit(store, &topic, &group, Offset(1)).await.unwrap_err());
    poisoned(store.meta("x").unwrap_err());
    poisoned(store.put_meta("x", "y").await.unwrap_err());
    assert!(store.claim(&key).await.is_err());
}

/// Everything on disk as of the last completed sync, by path.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn image(dir: &Path) -> Image {
    files(dir).into_iter().map(|file| (file.strip_prefix(dir).unwrap().to_owned(), fs::read(&file).unwrap())).collect()
}

/// Invariant ACK. Each answer is held against the state of the disk at the last completed sync before it: what was written later is thrown
/// away, as a power cut may do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_was_synced_before() {
    const WRITERS: u64 = 6;
    const TURNS: u64 = 8;
    let dir = tempfile::tempdir().unwrap();
    // Recovery cuts the first journal, which is made 64 MiB long, to its data.
    drop(open(dir.path()).unwrap());
    let synced = Arc::new(Mutex::new(Arc::new(Image::new())));
    let (disk, last) = (dir.path().to_owned(), synced.clone());
    let on_sync = Arc::new(move |_| *last.lock() = Arc::new(image(&disk)));
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions { on_sync: Some(on_sync), ..EmbeddedOptions::default() }).unwrap();

    // At each answer: how far each writer has been answered, and the disk.
    let answered = Arc::new(Mutex::new((BTreeMap::new(), Vec::new())));
    let writers = (0..WRITERS).map(|writer| {
        let (store, synced, answered) = (store.clone(), synced.clone(), answered.clone());
        tokio::spawn(async move {
            let key = partition("o", "k", &writer.to_string());
            let claim = store.claim(&key).await.unwrap();
            for seq in 1..=TURNS {
                let turn = Turn::after(&key, claim).numbered(seq).put("t", &seq.to_string(), &value("w", seq));
                turn.applied(&store).await;
                let mut answered = answered.lock();
                answered.0.insert(writer, seq);
                let now = (answered.0.clone(), synced.lock().clone());
                answered.1.push(now);
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    drop(store);
    let answered = std::mem::take(&mut answered.lock().1);
    assert_eq!(answered.len() as u64, WRITERS * TURNS);
    for (answers, image) in answered.iter().step_by(3).chain(answered.last()) {
        let after = tempfile::tempdir().unwrap();
        for (path, bytes) in image.iter() {
            fs::create_dir_all(after.path().join(path).parent().unwrap()).unwrap();
            fs::write(after.path().join(path), bytes).unwrap();
        }
        let store = open(after.path()).unwrap();
        for (writer, seq) in answers {
            let key = partition("o", "k", &writer.to_string());
            for seq in 1..=*seq {
                let row = store.get(&key, &RowKey::new("t", &seq.to_string())).await.unwrap();
                assert_eq!(row.map(|row| row.value), Some(value("w", seq).into()), "writer {writer}, turn {seq}");
            }
        }
    }
}

/// Set in a copy of this test program that a test starts: the data directory to work in.
const CHILD: &str = "CELLSPACE_TEST_CHILD";

/// The test `name` of this program, in a process of its own that works in `dir`.
fn child(name: &str, dir: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} exec \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", &format!("embedded::failure_tests::{name}")]).env(CHILD, dir);
    command
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
    let output = child("a_full_disk_is_a_clear_error_and_loses_nothing", dir.path(), "trap '' XFSZ; ulimit -f 2048;").output().unwrap();
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
    let claim = store.claim(&key).await.unwrap();
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
    let claim = store.claim(&key).await.unwrap();
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
        let mut child = child("killed_at_any_moment_it_keeps_what_it_answered", dir.path(), "").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let mut answered = lines.filter_map(|line| line.strip_prefix("turn ").map(|seq| seq.parse::<u64>().unwrap())).take(answers);
        let last = answered.by_ref().last().unwrap_or(landed);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(dir.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let key = partition("o", "k", "a");
        landed = store.claim(&key).await.unwrap().head.map_or(0, |head| head.seq.0);
        assert!(landed >= last, "round {round}: {landed} of {last} answered");
        assert!(landed == 0 || complete(&store, "a", landed).await.unwrap(), "round {round}");
    }
}

async fn answer_until_killed(dir: &Path) {
    let store = open(dir).unwrap();
    loop {
        write(&store, "a", 1).await;
        let head = store.claim(&partition("o", "k", "a")).await.unwrap().head.unwrap();
        println!("\nturn {}", head.seq.0);
    }
}
