//! The vault that all nodes of a cell have.

use super::Keyspace;
use crate::{
    KeyAlgorithm, MasterKey, Secret, Vault, VaultError,
    scylla::driver::{ScyllaError, ScyllaVault},
    testkit::{
        self,
        vault::{master, path, verifies},
    },
};
use cellspace_schemas::testkit::seed;
use secrecy::ExposeSecret;

#[tokio::test]
async fn a_vault_in_the_keyspace_keeps_the_promises_of_all_vaults() {
    let Some(keyspace) = Keyspace::new("vault_keeps_promises").await else { return };
    let store = keyspace.open().await;
    let vault = ScyllaVault::open(&store, &master(1)).await.unwrap();
    testkit::vault::all(&vault).await;
    testkit::random_vault::run(seed(), 150, || vault.clone()).await;
    keyspace.remove().await;
}

/// Each node sees at once what another one has changed, also of a key that it has open.
#[tokio::test]
async fn nodes_have_one_vault() {
    let Some(keyspace) = Keyspace::new("nodes_have_one_vault").await else { return };
    let stores = [keyspace.open().await, keyspace.open().await];
    // Both begin at once.
    let [a, b] = &stores;
    let master = master(2);
    let (a, b) = tokio::try_join!(ScyllaVault::open(a, &master), ScyllaVault::open(b, &master)).unwrap();
    let at = path("o", "k");
    let first = a.generate_key(&at, KeyAlgorithm::Ed25519).await.unwrap();
    assert!(verifies(&first, b"m", &b.sign(&at, b"m").await.unwrap()));
    a.delete(&at).await.unwrap();
    assert!(matches!(b.sign(&at, b"m").await, Err(VaultError::NotFound(_))));
    let second = b.generate_key(&at, KeyAlgorithm::Ed25519).await.unwrap();
    assert_eq!(a.generate_key(&at, KeyAlgorithm::P256).await.unwrap(), second);
    assert!(second != first && verifies(&second, b"m", &a.sign(&at, b"m").await.unwrap()));
    let secret = path("o", "s");
    a.put_secret(&secret, Secret::from("one")).await.unwrap();
    b.put_secret(&secret, Secret::from("two")).await.unwrap();
    assert_eq!(a.secret(&secret).await.unwrap().expose_secret(), "two");
    // What the database holds says nothing.
    let held = b.0.find(&secret).await.unwrap().unwrap();
    assert!(!held.windows(3).any(|window| window == b"two"));
    keyspace.remove().await;
}

#[tokio::test]
async fn another_master_key_opens_nothing_and_a_missing_one_is_not_made() {
    let Some(keyspace) = Keyspace::new("another_master_key").await else { return };
    let (store, dir) = (keyspace.open().await, tempfile::tempdir().unwrap());
    let file = dir.path().join("master.key");
    let error = ScyllaVault::open(&store, &MasterKey::File(file.clone())).await.unwrap_err();
    assert!(matches!(error, ScyllaError::MasterKey(_)) && error.to_string().contains("is missing") && !file.exists(), "{error}");
    ScyllaVault::open(&store, &master(1)).await.unwrap();
    let error = ScyllaVault::open(&store, &master(2)).await.unwrap_err();
    assert!(matches!(error, ScyllaError::WrongMasterKey(_)), "{error}");
    ScyllaVault::open(&store, &master(1)).await.unwrap();
    keyspace.remove().await;
}
