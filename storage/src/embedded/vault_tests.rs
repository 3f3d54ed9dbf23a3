//! The embedded vault: the shared checks, and what only a vault in files promises.

use super::{EmbeddedVault, OpenError, tests::settles};
use crate::{
    KeyAlgorithm, MasterKey, Secret, StoreError, Vault, VaultError,
    testkit::{
        self,
        vault::{master, path, verifies},
    },
};
use cellspace_schemas::testkit::seed;
use secrecy::ExposeSecret;
use std::{fs, path::Path};

#[tokio::test]
async fn keeps_the_promises_of_all_vaults() {
    let dir = tempfile::tempdir().unwrap();
    testkit::vault::all(&EmbeddedVault::open(dir.path(), &master(1)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_agree_with_the_model() {
    let dir = tempfile::tempdir().unwrap();
    testkit::random_vault::run(seed(), 600, || EmbeddedVault::open(dir.path(), &master(1)).unwrap()).await;
}

#[tokio::test]
async fn keys_and_secrets_are_there_after_reopening_and_only_with_the_master_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = MasterKey::File(dir.path().join("master.key"));
    let (key, secret) = (path("o", "key"), path("o", "secret"));
    let vault = EmbeddedVault::open(dir.path(), &file).unwrap();
    let public = vault.generate_key(&key, KeyAlgorithm::P256).await.unwrap();
    vault.put_secret(&secret, Secret::from("hush, hush".to_owned())).await.unwrap();
    assert!(matches!(EmbeddedVault::open(dir.path(), &file), Err(OpenError::Locked { .. })));
    drop(vault);

    let vault = EmbeddedVault::open(dir.path(), &file).unwrap();
    assert_eq!(vault.public_key(&key).await.unwrap(), public);
    assert!(verifies(&public, b"m", &vault.sign(&key, b"m").await.unwrap()));
    assert_eq!(vault.secret(&secret).await.unwrap().expose_secret(), "hush, hush");
    drop(vault);

    let wrong = EmbeddedVault::open(dir.path(), &master(1)).unwrap_err();
    assert!(matches!(wrong, OpenError::WrongMasterKey { .. }), "{wrong:?}");
    assert!(wrong.to_string().contains("the master key does not open the vault"), "{wrong}");
    fs::remove_file(dir.path().join("master.key")).unwrap();
    assert!(matches!(EmbeddedVault::open(dir.path(), &file), Err(OpenError::BadMasterKey(_))));
    assert!(!dir.path().join("master.key").exists(), "a new key would hide that the old one is missing");
}

#[tokio::test]
async fn another_master_key_takes_the_place_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (file, next) = (MasterKey::File(dir.path().join("master.key")), MasterKey::File(dir.path().join("keys/next.key")));
    let (key, secret) = (path("o", "key"), path("o", "secret"));
    assert!(matches!(EmbeddedVault::rekey(dir.path(), &file, &next), Err(OpenError::BadMasterKey(_))), "there is no vault");
    assert!(!dir.path().join("master.key").exists());
    let vault = EmbeddedVault::open(dir.path(), &file).unwrap();
    let public = vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    vault.put_secret(&secret, Secret::from("hush".to_owned())).await.unwrap();
    assert!(matches!(EmbeddedVault::rekey(dir.path(), &file, &next), Err(OpenError::Locked { .. })), "it is open");
    drop(vault);
    assert!(matches!(EmbeddedVault::rekey(dir.path(), &master(1), &next), Err(OpenError::WrongMasterKey { .. })));
    assert!(!dir.path().join("keys/next.key").exists(), "no key for what did not happen");
    assert!(matches!(EmbeddedVault::rekey(dir.path(), &file, &file), Err(OpenError::BadMasterKey(_))));
    // There and back, to a key that is made and to one that is given.
    for (from, to) in [(&file, &next), (&next, &master(9)), (&master(9), &file)] {
        EmbeddedVault::rekey(dir.path(), from, to).unwrap();
        assert!(matches!(EmbeddedVault::open(dir.path(), from), Err(OpenError::WrongMasterKey { .. })));
        let vault = EmbeddedVault::open(dir.path(), to).unwrap();
        assert_eq!(vault.public_key(&key).await.unwrap(), public);
        assert_eq!(vault.secret(&secret).await.unwrap().expose_secret(), "hush");
    }
}

#[tokio::test]
async fn nothing_readable_lies_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    vault.put_secret(&path("o", "s"), Secret::from("PLAINTEXT-MARKER".to_owned())).await.unwrap();
    vault.generate_key(&path("o", "k"), KeyAlgorithm::Ed25519).await.unwrap();
    drop(vault);
    let mut files = Vec::new();
    collect(dir.path(), &mut files);
    let holds = |needle: &[u8]| files.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle));
    assert!(holds(b"root"), "the search reads the records");
    assert!(!holds(b"PLAINTEXT-MARKER"));
    // The head of every PKCS#8 document of an Ed25519 key: OID 1.3.101.112.
    assert!(!holds(&[0x06, 0x03, 0x2b, 0x65, 0x70]));
}

fn collect(dir: &Path, files: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(fs::read(path).unwrap());
        }
    }
}

#[tokio::test]
async fn a_record_moved_to_another_owner_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    let (mine, theirs) = (path("mine", "s"), path("theirs", "s"));
    vault.put_secret(&mine, Secret::from("s".to_owned())).await.unwrap();
    vault.copy_record(&mine, &theirs);
    let error = vault.secret(&theirs).await.unwrap_err();
    assert!(error.to_string().contains("does not open"), "{error}");
    vault.delete(&theirs).await.unwrap();
    assert_eq!(vault.secret(&mine).await.unwrap().expose_secret(), "s");
}

#[tokio::test]
async fn lost_keys_show_at_opening() {
    let dir = tempfile::tempdir().unwrap();
    drop(EmbeddedVault::open(dir.path(), &master(1)).unwrap());
    fs::remove_dir_all(dir.path().join("vault")).unwrap();
    let lost = EmbeddedVault::open(dir.path(), &master(1)).unwrap_err();
    assert!(matches!(lost, OpenError::Lost { .. }), "{lost:?}");
}

#[tokio::test]
async fn settling_leaves_little_to_bring_back() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    vault.fill(&path("o", "x").owner, 20_000);
    assert!(vault.in_journals() > 1_000_000, "{}", vault.in_journals());
    vault.settle();
    settles(|| vault.in_journals());
    vault.put_secret(&path("p", "s"), Secret::from("s".to_owned())).await.unwrap();
    assert_eq!(vault.count(), 20_001, "it goes on");
}

#[tokio::test]
async fn a_large_folder_goes_in_parts_also_when_a_record_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    let (owner, stays) = (path("o", "x").owner, path("p", "s"));
    vault.put_secret(&stays, Secret::from("s".to_owned())).await.unwrap();
    vault.fill(&owner, 3_000);
    vault.copy_record(&stays, &path("o", "damaged"));
    vault.delete_folder(&owner, "").await.unwrap();
    assert_eq!(vault.count(), 1);
    drop(vault);
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    assert_eq!(vault.count(), 1, "durably");
    assert_eq!(vault.secret(&stays).await.unwrap().expose_secret(), "s");
}

#[tokio::test]
async fn a_key_read_while_it_is_removed_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    let key = path("o", "k");
    vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    let place = vault.keys().get_value_or_guard_async(&key).await.err().unwrap();
    let read = vault.read_record(&key);
    vault.delete(&key).await.unwrap();
    assert!(place.insert(read).is_err(), "its place is gone");
    assert!(matches!(vault.sign(&key, b"m").await, Err(VaultError::NotFound(_))));
}

fn is_poisoned<T>(result: Result<T, VaultError>) -> bool {
    matches!(result, Err(VaultError::Store(StoreError::Poisoned(_))))
}

#[tokio::test]
async fn after_a_panic_in_a_write_everything_fails() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    let (key, secret) = (path("o", "k"), path("o", "s"));
    vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    vault.put_secret(&secret, Secret::from("s".to_owned())).await.unwrap();
    vault.sign(&key, b"m").await.unwrap();
    vault.health().unwrap();
    vault.panic_in_a_write();
    assert!(matches!(vault.health(), Err(StoreError::Poisoned(reason)) if reason == "told to fail"));
    assert!(is_poisoned(vault.sign(&key, b"m").await), "also with a key in memory");
    assert!(is_poisoned(vault.public_key(&key).await));
    assert!(is_poisoned(vault.secret(&secret).await));
    assert!(is_poisoned(vault.put_secret(&secret, Secret::from("t".to_owned())).await));
    assert!(is_poisoned(vault.generate_key(&path("o", "k2"), KeyAlgorithm::P256).await));
    assert!(is_poisoned(vault.delete(&key).await));
    assert!(is_poisoned(vault.delete_folder(&key.owner, "").await));
    drop(vault);
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    assert_eq!(vault.secret(&secret).await.unwrap().expose_secret(), "s");
}

#[tokio::test]
async fn a_failure_of_the_databases_own_threads_shows_in_health() {
    let dir = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(dir.path(), &master(1)).unwrap();
    vault.put_secret(&path("o", "s"), Secret::from("s".to_owned())).await.unwrap();
    vault.health().unwrap();
    // Where tables are written.
    fs::remove_dir_all(dir.path().join("vault/keyspaces")).unwrap();
    vault.flush();
    while vault.health().is_ok() {
        std::thread::yield_now();
    }
    assert!(matches!(vault.health(), Err(StoreError::Poisoned(_))));
    assert!(is_poisoned(vault.secret(&path("o", "s")).await));
}
