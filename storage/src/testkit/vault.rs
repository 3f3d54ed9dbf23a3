//! Promises of [`Vault`].

use crate::{KeyAlgorithm, MASTER_KEY_BYTES, MasterKey, PublicKey, Secret, Vault, VaultError, VaultPath};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{KeyAlias, Owner};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

/// Runs all checks.
pub async fn all(vault: &dyn Vault) {
    keys_sign(vault).await;
    making_a_key_again_changes_nothing(vault).await;
    secrets_are_kept_and_replaced(vault).await;
    the_first_secret_stays(vault).await;
    owners_and_types_do_not_mix(vault).await;
    what_is_deleted_is_gone(vault).await;
    a_folder_goes_as_a_whole_and_alone(vault).await;
}

/// The record `owner/alias`.
#[must_use]
pub fn path(owner: &str, alias: &str) -> VaultPath {
    VaultPath { owner: Owner::new(owner).unwrap(), alias: KeyAlias::new(alias).unwrap() }
}

/// A master key of this byte alone.
#[must_use]
pub fn master(byte: u8) -> MasterKey {
    MasterKey::Bytes(Zeroizing::new([byte; MASTER_KEY_BYTES]))
}

/// Whether the raw JOSE signature is one of the message by the key.
#[must_use]
pub fn verifies(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(key.jwk.get(name).and_then(|v| v.as_str()).unwrap()).unwrap();
    let result = match key.algorithm {
        KeyAlgorithm::Ed25519 => {
            assert_eq!((&key.jwk["kty"], &key.jwk["crv"]), (&"OKP".into(), &"Ed25519".into()));
            UnparsedPublicKey::new(&ED25519, part("x")).verify(message, signature)
        }
        KeyAlgorithm::P256 => {
            assert_eq!((&key.jwk["kty"], &key.jwk["crv"]), (&"EC".into(), &"P-256".into()));
            let point = [&[4][..], &part("x"), &part("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        }
    };
    result.is_ok()
}

async fn keys_sign(vault: &dyn Vault) {
    let mut all = Vec::new();
    for (alias, algorithm) in [("ed", KeyAlgorithm::Ed25519), ("p256", KeyAlgorithm::P256)] {
        let path = path("tk-sign", alias);
        assert!(matches!(vault.sign(&path, b"m").await, Err(VaultError::NotFound(found)) if found == path));
        let key = vault.generate_key(&path, algorithm).await.unwrap();
        assert_eq!(key.algorithm, algorithm);
        assert_eq!(vault.public_key(&path).await.unwrap(), key);
        assert!(key.jwk.get("d").is_none(), "the private half stays inside");
        for message in [&b""[..], b"message", &[7; 10_000]] {
            let signature = vault.sign(&path, message).await.unwrap();
            assert_eq!(signature.len(), 64);
            assert!(verifies(&key, message, &signature));
            assert!(!verifies(&key, b"another", &signature));
        }
        all.push(key);
    }
    let other = vault.generate_key(&path("tk-sign", "ed2"), KeyAlgorithm::Ed25519).await.unwrap();
    assert_ne!(other, all[0], "every key is a fresh one");
}

async fn making_a_key_again_changes_nothing(vault: &dyn Vault) {
    let path = path("tk-again", "k");
    let together = [0; 8].map(|_| vault.generate_key(&path, KeyAlgorithm::Ed25519));
    let keys = futures::future::try_join_all(together).await.unwrap();
    assert!(keys.iter().all(|key| key == &keys[0]), "also when asked at once");
    let again = vault.generate_key(&path, KeyAlgorithm::P256).await.unwrap();
    assert_eq!(again, keys[0], "the key that is there, whatever was asked for");
}

async fn secrets_are_kept_and_replaced(vault: &dyn Vault) {
    let path = path("tk-secret", "s");
    assert!(matches!(vault.secret(&path).await, Err(VaultError::NotFound(_))));
    for value in ["one", "", "zwei ü\n\0", &"x".repeat(100_000)] {
        vault.put_secret(&path, Secret::from(value.to_owned())).await.unwrap();
        assert_eq!(vault.secret(&path).await.unwrap().expose_secret(), value);
    }
}

async fn the_first_secret_stays(vault: &dyn Vault) {
    let path = path("tk-first", "s");
    let together = ["a", "b", "c", "d"].map(|value| vault.first_secret(&path, Secret::from(value)));
    let found = futures::future::try_join_all(together).await.unwrap();
    let kept = vault.secret(&path).await.unwrap();
    assert!(found.iter().all(|found| found.expose_secret() == kept.expose_secret()), "all are told of the one that is there");
    assert_eq!(vault.first_secret(&path, Secret::from("later")).await.unwrap().expose_secret(), kept.expose_secret());
    vault.delete(&path).await.unwrap();
    assert_eq!(vault.first_secret(&path, Secret::from("later")).await.unwrap().expose_secret(), "later");
    assert_eq!(vault.secret(&path).await.unwrap().expose_secret(), "later");
}

async fn owners_and_types_do_not_mix(vault: &dyn Vault) {
    let (key, secret) = (path("tk-types", "key"), path("tk-types", "secret"));
    let public = vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    vault.put_secret(&secret, Secret::from("s".to_owned())).await.unwrap();
    assert!(matches!(vault.secret(&key).await, Err(VaultError::WrongType(_))));
    assert!(matches!(vault.put_secret(&key, Secret::from("x".to_owned())).await, Err(VaultError::WrongType(_))));
    assert!(matches!(vault.first_secret(&key, Secret::from("x")).await, Err(VaultError::WrongType(_))));
    assert!(matches!(vault.sign(&secret, b"m").await, Err(VaultError::WrongType(_))));
    assert!(matches!(vault.public_key(&secret).await, Err(VaultError::WrongType(_))));
    assert!(matches!(vault.generate_key(&secret, KeyAlgorithm::Ed25519).await, Err(VaultError::WrongType(_))));
    assert_eq!(vault.public_key(&key).await.unwrap(), public);
    // The same letters, cut elsewhere.
    for other in [path("tk-type", "skey"), path("tk-types-", "key"), path("tk-types", "ke"), path("tk-types", "key2")] {
        assert!(matches!(vault.public_key(&other).await, Err(VaultError::NotFound(_))), "{other:?}");
    }
}

async fn what_is_deleted_is_gone(vault: &dyn Vault) {
    let path = path("tk-delete", "k");
    vault.delete(&path).await.unwrap();
    let first = vault.generate_key(&path, KeyAlgorithm::Ed25519).await.unwrap();
    vault.sign(&path, b"m").await.unwrap();
    vault.delete(&path).await.unwrap();
    assert!(matches!(vault.sign(&path, b"m").await, Err(VaultError::NotFound(_))));
    assert!(matches!(vault.public_key(&path).await, Err(VaultError::NotFound(_))));
    let second = vault.generate_key(&path, KeyAlgorithm::Ed25519).await.unwrap();
    assert_ne!(first, second);
    vault.delete(&path).await.unwrap();
    vault.put_secret(&path, Secret::from("now a secret".to_owned())).await.unwrap();
    assert_eq!(vault.secret(&path).await.unwrap().expose_secret(), "now a secret");
}

async fn a_folder_goes_as_a_whole_and_alone(vault: &dyn Vault) {
    let folder = Owner::new("tk-folder").unwrap();
    vault.delete_folder(&folder, "").await.unwrap();
    let key = path("tk-folder", "key");
    let first = vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    vault.sign(&key, b"m").await.unwrap();
    let put = async |path: &VaultPath| vault.put_secret(path, Secret::from("s".to_owned())).await.unwrap();
    let secrets: Vec<_> = ["a", "key/1", "z"].map(|alias| path("tk-folder", alias)).into();
    // Owners whose texts stand right beside it.
    let others: Vec<_> = ["tk-folde", "tk-folder0", "tk-folder-", "tk-foldes"].map(|owner| path(owner, "key")).into();
    for path in secrets.iter().chain(&others) {
        put(path).await;
    }
    // Of a part of it only what is in that part.
    vault.delete_folder(&folder, "key/").await.unwrap();
    for (path, kept) in secrets.iter().zip([true, false, true]) {
        assert_eq!(vault.secret(path).await.is_ok(), kept, "{path:?}");
    }
    vault.sign(&key, b"m").await.unwrap();
    for _ in 0..2 {
        vault.delete_folder(&folder, "").await.unwrap();
        assert!(matches!(vault.sign(&key, b"m").await, Err(VaultError::NotFound(_))));
        assert!(matches!(vault.public_key(&key).await, Err(VaultError::NotFound(_))));
        for path in &secrets {
            assert!(matches!(vault.secret(path).await, Err(VaultError::NotFound(_))), "{path:?}");
        }
    }
    for path in &others {
        assert_eq!(vault.secret(path).await.unwrap().expose_secret(), "s", "{path:?}");
    }
    assert_ne!(vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap(), first, "the folder can be used again");
}
