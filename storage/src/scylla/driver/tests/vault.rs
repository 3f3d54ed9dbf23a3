//! The vault that all nodes of a cell have.

use super::{
    Keyspace, SOON,
    proxy::{Passage, Proxy},
};
use crate::{
    KeyAlgorithm, MasterKey, Secret, Vault, VaultError,
    scylla::driver::{ScyllaError, ScyllaStore, ScyllaVault},
    testkit::{
        self,
        vault::{master, path, verifies},
    },
};
use cellspace_schemas::testkit::seed;
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn a_vault_in_the_keyspace_keeps_the_promises_of_all_vaults() {
    let Some(keyspace) = Keyspace::new("vault_keeps_promises").await else { return };
    let store = keyspace.open().await;
    let vault = ScyllaVault::open(&store, &master(1)).await.unwrap();
    testkit::vault::all(&vault).await;
    testkit::random_vault::run(seed(), 150, || vault.clone()).await;
    keyspace.remove().await;
}

/// Nodes that have the vault open go on with it, and start again with the new key alone.
#[tokio::test]
async fn a_vault_gets_another_master_key_while_nodes_use_it() {
    let Some(keyspace) = Keyspace::new("a_vault_gets_another_master_key").await else { return };
    let store = keyspace.open().await;
    let (first, second, third) = (master(1), master(2), master(3));
    assert!(matches!(ScyllaVault::rekey(&store, &first, &second).await, Err(ScyllaError::NoVault(_))));
    let vault = ScyllaVault::open(&store, &first).await.unwrap();
    let (key, secret) = (path("o", "k"), path("o", "s"));
    let public = vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    vault.put_secret(&secret, Secret::from("kept")).await.unwrap();
    assert!(matches!(ScyllaVault::rekey(&store, &second, &third).await, Err(ScyllaError::WrongMasterKey(_))));
    assert!(matches!(ScyllaVault::rekey(&store, &first, &first).await, Err(ScyllaError::MasterKey(_))));
    let nowhere = MasterKey::File("/nowhere/master.key".into());
    assert!(matches!(ScyllaVault::rekey(&store, &first, &nowhere).await, Err(ScyllaError::MasterKey(_))));

    // Of two at once one does it, and the vault is under that one's key.
    let (to_second, to_third) = tokio::join!(ScyllaVault::rekey(&store, &first, &second), ScyllaVault::rekey(&store, &first, &third));
    let (now, other) = match (to_second, to_third) {
        (Ok(()), Err(ScyllaError::WrongMasterKey(_))) => (second, third),
        (Err(ScyllaError::WrongMasterKey(_)), Ok(())) => (third, second),
        both => panic!("{both:?}"),
    };
    for old in [&first, &other] {
        assert!(matches!(ScyllaVault::open(&store, old).await, Err(ScyllaError::WrongMasterKey(_))));
    }
    let again = ScyllaVault::open(&store, &now).await.unwrap();
    vault.put_secret(&path("o", "later"), Secret::from("from before")).await.unwrap();
    assert_eq!(again.secret(&path("o", "later")).await.unwrap().expose_secret(), "from before");
    assert_eq!(again.secret(&secret).await.unwrap().expose_secret(), "kept");
    assert!(verifies(&public, b"m", &again.sign(&key, b"m").await.unwrap()));
    for _ in 0..2 {
        // Also by one that has not heard that it has been done.
        ScyllaVault::rekey(&store, &now, &first).await.unwrap();
    }
    ScyllaVault::open(&store, &first).await.unwrap();
    keyspace.remove().await;
}

/// A key that signs much is looked at once in a while, and what is removed here counts here at once.
#[tokio::test]
async fn a_key_signs_for_a_moment_without_another_look() {
    let Some(mut keyspace) = Keyspace::new("a_key_signs_for_a_moment").await else { return };
    keyspace.0.key_known = Duration::from_secs(3_600);
    let stores = [keyspace.open().await, keyspace.open().await];
    let [a, b] = [ScyllaVault::open(&stores[0], &master(1)).await.unwrap(), ScyllaVault::open(&stores[1], &master(1)).await.unwrap()];
    let at = path("o", "k");
    let first = a.generate_key(&at, KeyAlgorithm::Ed25519).await.unwrap();
    b.sign(&at, b"m").await.unwrap();
    a.delete(&at).await.unwrap();
    assert!(matches!(a.sign(&at, b"m").await, Err(VaultError::NotFound(_))));
    assert!(verifies(&first, b"m", &b.sign(&at, b"m").await.unwrap()), "it is not read again");
    assert!(matches!(b.public_key(&at).await, Err(VaultError::NotFound(_))), "who asks for more than a signature looks");
    let second = b.generate_key(&at, KeyAlgorithm::Ed25519).await.unwrap();
    for vault in [&a, &b] {
        assert!(verifies(&second, b"m", &vault.sign(&at, b"m").await.unwrap()));
    }
    b.delete_folder(&at.owner, "").await.unwrap();
    assert!(matches!(b.sign(&at, b"m").await, Err(VaultError::NotFound(_))));
    keyspace.remove().await;
}

/// A removal may count although nobody has waited for its outcome.
#[tokio::test]
async fn a_key_whose_removal_is_not_waited_for_is_looked_at_again() {
    let Some(mut keyspace) = Keyspace::new("a_removal_is_not_waited_for").await else { return };
    keyspace.0.key_known = Duration::from_secs(3_600);
    let proxy = Proxy::new(&keyspace.0.contact_points[0]).await;
    let mut by_proxy = keyspace.0.clone();
    by_proxy.contact_points = vec![proxy.address.clone()];
    let stores = [ScyllaStore::open(by_proxy).await.unwrap(), keyspace.open().await];
    let [vault, beside] =
        [ScyllaVault::open(&stores[0], &master(1)).await.unwrap(), ScyllaVault::open(&stores[1], &master(1)).await.unwrap()];
    let at = path("o", "k");
    vault.generate_key(&at, KeyAlgorithm::Ed25519).await.unwrap();
    vault.sign(&at, b"m").await.unwrap();
    proxy.set(Passage::Held);
    assert!(timeout(Duration::from_millis(200), vault.delete(&at)).await.is_err());
    proxy.set(Passage::Open);
    let removed = async {
        while beside.public_key(&at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, removed).await.unwrap();
    assert!(matches!(vault.sign(&at, b"m").await, Err(VaultError::NotFound(_))));
    keyspace.remove().await;
}

/// Each node sees what another one has changed as soon as it looks, also of a key that it has open.
#[tokio::test]
async fn nodes_have_one_vault() {
    let Some(mut keyspace) = Keyspace::new("nodes_have_one_vault").await else { return };
    keyspace.0.key_known = Duration::ZERO;
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
