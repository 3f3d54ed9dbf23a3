//! Damaged, truncated, missing and foreign files.

use super::{complete, copy, files, open, store_of_tables_and_journal, value, write};
use crate::{
    KeyAlgorithm, MasterKey, Secret, StoreError, Vault, VaultError,
    embedded::{EmbeddedVault, OpenError, values::encode_number},
    testkit::vault::path,
};
use fjall::{Database, KeyspaceCreateOptions};
use secrecy::ExposeSecret;
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

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

const RECORDS: u64 = 30;

fn master() -> MasterKey {
    MasterKey::Bytes(Zeroizing::new([1; 32]))
}

/// A vault whose records lie partly in tables and partly in a journal of its true length.
async fn vault_of_tables_and_journal() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for half in [1..=RECORDS / 2, RECORDS / 2 + 1..=RECORDS] {
        let vault = EmbeddedVault::open(dir.path(), &master()).unwrap();
        for n in half {
            vault.put_secret(&path("o", &n.to_string()), Secret::from(value("s", n))).await.unwrap();
            if n == 1 {
                vault.generate_key(&path("o", "key"), KeyAlgorithm::Ed25519).await.unwrap();
                vault.flush_and_wait();
            }
        }
    }
    // The first journal is made 64 MiB long; recovery cuts it.
    drop(EmbeddedVault::open(dir.path(), &master()).unwrap());
    dir
}

/// Whether every record is there. An error is an answer too; a record that is missing is none.
async fn records_complete(vault: &EmbeddedVault) -> Result<bool, VaultError> {
    for n in 1..=RECORDS {
        match vault.secret(&path("o", &n.to_string())).await {
            Ok(secret) if secret.expose_secret() == value("s", n) => {}
            Ok(_) | Err(VaultError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    match vault.sign(&path("o", "key"), b"m").await {
        Err(VaultError::NotFound(_)) => Ok(false),
        signed => signed.map(|_| true),
    }
}

#[tokio::test]
async fn no_damage_of_the_vault_loses_records_in_silence() {
    let whole = vault_of_tables_and_journal().await;
    let mut seen = BTreeMap::new();
    for file in files(whole.path()) {
        let name = file.strip_prefix(whole.path()).unwrap();
        if name.extension().is_some_and(|extension| extension == "lock") {
            continue;
        }
        for damage in Damage::ALL {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            damage.to(&dir.path().join(name));
            let outcome = match EmbeddedVault::open(dir.path(), &master()) {
                Ok(vault) => match records_complete(&vault).await {
                    Ok(true) => "complete",
                    Ok(false) => panic!("{damage:?} of {} lost records in silence", name.display()),
                    Err(VaultError::Store(StoreError::Corrupt(_))) => "read error",
                    Err(other) => panic!("{damage:?} of {}: {other}", name.display()),
                },
                Err(OpenError::Lost { .. }) => "lost",
                Err(OpenError::Corrupt { .. }) => "corrupt",
                Err(other) => panic!("{damage:?} of {}: {other}", name.display()),
            };
            *seen.entry(outcome).or_insert(0) += 1;
            println!("{damage:?} of {}: {outcome}", name.display());
        }
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), ["complete", "corrupt", "lost", "read error"], "{seen:?}");
}

/// Whatever byte of a record is another: the record is refused with its name, and its neighbours are served.
#[tokio::test]
async fn a_changed_record_is_refused_by_name_and_alone() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master()).unwrap();
    let (key, secret) = (path("o", "key"), path("o", "secret"));
    vault.put_secret(&secret, Secret::from("s".to_owned())).await.unwrap();
    vault.generate_key(&key, KeyAlgorithm::P256).await.unwrap();
    for at in [0, 5, 15, 40] {
        vault.flip(&key, at);
        let error = vault.sign(&key, b"m").await.unwrap_err();
        assert!(matches!(&error, VaultError::Store(StoreError::Corrupt(reason)) if reason.contains("o/key")), "{at}: {error}");
        assert!(
            matches!(vault.generate_key(&key, KeyAlgorithm::P256).await, Err(VaultError::Store(StoreError::Corrupt(_)))),
            "not replaced"
        );
        vault.flip(&key, at);
        vault.sign(&key, b"m").await.unwrap();
    }
    vault.flip(&key, 1);
    assert_eq!(vault.secret(&secret).await.unwrap().expose_secret(), "s");
    vault.health().unwrap();
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
    meta.insert("format", encode_number(9)).unwrap();
    drop((meta, database));
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 9, supported: 2, .. }), "{error:?}");
}
