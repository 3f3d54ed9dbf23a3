//! Invariant ACK, for the loss of power: what is answered was synced before, by evidence of the system calls.
//!
//! `strace` writes down what a process does to its files and when it answers. At each answer, what was written after the last completed
//! sync of its file is thrown away, and what is left is opened. That the disk keeps what it said it has synced is not shown here.

use super::{
    CHILD, child, files, is_moving, open, open_moving,
    trace::{CALLS, Disk, Image},
    value,
};
use crate::{
    KeyAlgorithm, MasterKey, Partitions, RowKey, Secret, Vault,
    embedded::EmbeddedVault,
    testkit::{
        Turn,
        turn::partition,
        vault::{path, verifies},
    },
};
use secrecy::ExposeSecret;
use std::{collections::BTreeMap, env, fs, path::Path, process::Command, sync::Arc};

const NAME: &str = "synced::what_is_answered_was_synced_before";
const WRITERS: u64 = 4;
const TURNS: u64 = 25;
const RECORDS: u64 = 8;

fn master(dir: &Path) -> MasterKey {
    MasterKey::File(dir.join("master.key"))
}

/// What has been answered so far: turns by writer, secrets, and the public keys by number.
#[derive(Debug, Clone, Default)]
struct Answered {
    turns: BTreeMap<u64, u64>,
    secrets: u64,
    keys: BTreeMap<u64, String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_was_synced_before() {
    if let Some(dir) = env::var_os(CHILD) {
        return answer(Path::new(&dir)).await;
    }
    if Command::new("strace").arg("--version").output().is_err() {
        return crate::testkit::services::skipped("strace", NAME, "apt-get install strace");
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().canonicalize().unwrap().join("data");
    // Recovery cuts the first journals, which are made 64 MiB long, to their data.
    for _ in 0..2 {
        drop((open(&data).unwrap(), EmbeddedVault::open(&data, &master(&data)).unwrap()));
    }
    let before: Image = files(&data).into_iter().map(|file| (relative(&data, &file), Arc::new(fs::read(&file).unwrap()))).collect();
    let trace = dir.path().join("trace");
    let strace = format!("exec strace -f -y -xx -s 1000000 -e trace={CALLS} -e signal=none -o '{}'", trace.display());
    let output = child(NAME, &data, &strace).output().unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complaint}");

    let mut disk = Disk::new(&data, before);
    let (mut answered, mut moments, mut counters) = (Answered::default(), Vec::new(), None);
    for line in fs::read_to_string(&trace).unwrap().lines() {
        let Some(said) = disk.follow(line) else { continue };
        for line in said.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "turn" => drop(answered.turns.insert(number(1), number(2))),
                "secret" => answered.secrets = number(1),
                "key" => drop(answered.keys.insert(number(1), words[2].to_owned())),
                "counters" => counters = Some((number(1), number(2), number(3))),
                _ => continue,
            }
            moments.push((answered.clone(), disk.image()));
        }
    }
    assert_eq!(answered.turns, (0..WRITERS).map(|writer| (writer, TURNS)).collect());
    assert_eq!((answered.secrets, answered.keys.len() as u64), (RECORDS, RECORDS));
    let (commits, syncs, bytes) = counters.unwrap();
    assert_eq!(commits, WRITERS * TURNS);
    assert!(bytes > commits * 2_048, "{bytes}");
    let journal = disk.syncs.get(Path::new("store/0.jnl")).copied().unwrap_or_default();
    assert!((1..=commits).contains(&syncs) && journal >= syncs, "{syncs} syncs counted, {journal} made");

    let mut on_their_way = 0;
    for (answered, image) in moments.iter().step_by(5).chain(moments.last()) {
        let after = tempfile::tempdir().unwrap();
        for (name, bytes) in image {
            fs::create_dir_all(after.path().join(name).parent().unwrap()).unwrap();
            fs::write(after.path().join(name), bytes.as_slice()).unwrap();
        }
        on_their_way += holds(after.path(), answered).await;
    }
    assert!(on_their_way > 0, "no power cut while rows move");
}

fn relative(dir: &Path, file: &Path) -> std::path::PathBuf {
    file.strip_prefix(dir).unwrap().to_owned()
}

/// Checks that what was answered is there; the number of partitions of which some rows have moved to the next generation and others have not.
async fn holds(dir: &Path, answered: &Answered) -> usize {
    let store = open(dir).unwrap();
    let mut on_their_way = 0;
    for (writer, turns) in &answered.turns {
        let key = partition("o", "k", &writer.to_string());
        for seq in 1..=*turns {
            let row = store.get(&key, &RowKey::new("t", &seq.to_string())).await.unwrap();
            assert_eq!(row.map(|row| row.value), Some(value("w", seq).into()), "writer {writer}, turn {seq}: {answered:?}");
        }
        on_their_way += usize::from(is_moving(&store, &key));
    }
    let vault = EmbeddedVault::open(dir, &master(dir)).unwrap();
    for n in 1..=answered.secrets {
        assert_eq!(vault.secret(&path("s", &n.to_string())).await.unwrap().expose_secret(), value("s", n), "{answered:?}");
    }
    for (n, jwk) in &answered.keys {
        let key = path("k", &n.to_string());
        let public = vault.public_key(&key).await.unwrap();
        assert_eq!(public.jwk.to_string(), *jwk);
        assert!(verifies(&public, b"m", &vault.sign(&key, b"m").await.unwrap()));
    }
    on_their_way
}

/// Writes in all ways at once, and says each answer when it has it.
async fn answer(dir: &Path) {
    let store = open_moving(dir).unwrap();
    let vault = EmbeddedVault::open(dir, &master(dir)).unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = partition("o", "k", &writer.to_string());
            let claim = store.claim(&key, 1).await.unwrap();
            for seq in 1..=TURNS {
                let turn = Turn::after(&key, claim).numbered(seq).put("t", &seq.to_string(), &value("w", seq));
                turn.delete("gone", "").applied(&store).await;
                println!("\nturn {writer} {seq}");
            }
        })
    });
    let secrets = async {
        for n in 1..=RECORDS {
            vault.put_secret(&path("s", &n.to_string()), Secret::from(value("s", n))).await.unwrap();
            println!("\nsecret {n}");
        }
    };
    let keys = async {
        for n in 1..=RECORDS {
            let public = vault.generate_key(&path("k", &n.to_string()), KeyAlgorithm::Ed25519).await.unwrap();
            println!("\nkey {n} {}", public.jwk);
        }
    };
    let (written, (), ()) = futures::join!(futures::future::join_all(writers), secrets, keys);
    for writer in written {
        writer.unwrap();
    }
    let (commits, syncs, bytes) = store.counters().read();
    println!("\ncounters {commits} {syncs} {bytes}");
}
