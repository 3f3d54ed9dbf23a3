use super::{Login, ParticipantLogin, RemoteVault, RemoteVaultOptions, public_key};
use crate::{
    KeyAlgorithm, Secret, StoreError, Vault, VaultError, VaultPath,
    testkit::{
        self,
        remote_vault::Double,
        vault::{path, verifies},
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{Owner, testkit::seed};
use serde_json::{Value, json};
use std::{env, io::Write, time::Duration};

#[tokio::test]
async fn keeps_the_promises_of_all_vaults() {
    let double = Double::start().await;
    testkit::vault::all(&RemoteVault::new(double.options()).unwrap()).await;
    assert_eq!(double.logins(), 1);
    // All of it lies in the installation's folder and its own mounts, and of secrets and names nothing is in a path.
    for path in double.paths.lock().iter() {
        let allowed = ["secret/data/cellspace/", "secret/metadata/cellspace/", "transit/keys/k", "transit/sign/k", "auth/kubernetes/login"];
        assert!(allowed.iter().any(|start| path.starts_with(start)) && !path.contains("tk-"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_agree_with_the_model() {
    let double = Double::start().await;
    testkit::random_vault::run(seed(), 150, || RemoteVault::new(double.options()).unwrap()).await;
    let double = Double::start().await;
    testkit::random_vault::run(seed(), 150, || RemoteVault::new(double.options_apart()).unwrap()).await;
}

/// Each owner is let into its folder alone, and what is asked for in the name of one is asked for with its token.
async fn owners_are_apart(vault: &RemoteVault) {
    testkit::vault::all(vault).await;
    let owners = ["tk-one", "TK-ONE", "tk-two", "installation"].map(|owner| path(owner, "secret").owner);
    for owner in &owners {
        vault.put_secret(&path(owner.as_str(), "secret"), Secret::from(owner.to_string())).await.unwrap();
        vault.generate_key(&path(owner.as_str(), "key"), KeyAlgorithm::Ed25519).await.unwrap();
    }
    for (who, whose) in owners.iter().flat_map(|who| owners.iter().map(move |whose| (who, whose))) {
        let (read, signed) =
            (vault.read_as(who, &path(whose.as_str(), "secret")).await, vault.sign_as(who, &path(whose.as_str(), "key")).await);
        if who == whose {
            assert_eq!((read.unwrap(), signed.unwrap()), (200, 200), "{who}");
        } else {
            for refused in [read, signed] {
                let refused = refused.unwrap_err().to_string();
                assert!(refused.contains("policy does not allow"), "{who} to {whose}: {refused}");
            }
        }
    }
    for owner in &owners {
        vault.delete_folder(owner, "").await.unwrap();
    }
}

#[tokio::test]
async fn the_vault_lets_each_participant_into_its_folder_alone() {
    let double = Double::start().await;
    let vault = RemoteVault::new(double.options_apart()).unwrap();
    owners_are_apart(&vault).await;
    // Once for the node, and once for each owner, however much was done.
    let (logins, key) = (double.logins(), path("tk-many", "k"));
    let all = futures::future::join_all((0..16).map(|_| vault.generate_key(&key, KeyAlgorithm::Ed25519))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(double.logins(), logins + 1, "many at once sign in once");
    // Tokens that the vault has forgotten are exchanged, the node's too.
    let pausing = RemoteVaultOptions { login_pause: Duration::ZERO, ..double.options_apart() };
    let vault = RemoteVault::new(pausing).unwrap();
    vault.sign(&key, b"m").await.unwrap();
    double.told.lock().forget_tokens = true;
    vault.sign(&key, b"m").await.unwrap();
    assert_eq!(double.logins(), logins + 1 + 4);
    // Who cannot sign in is unavailable, and nobody else's token serves instead.
    let nobody = Some(ParticipantLogin { mount: "participants".to_owned(), role: "other".to_owned() });
    let vault = RemoteVault::new(RemoteVaultOptions { participants: nobody, ..double.options_apart() }).unwrap();
    let refused = vault.sign(&key, b"m").await.unwrap_err();
    assert!(refused.to_string().contains("refuses the login with 400"), "{refused}");
    vault.health().expect("one that is not let in says nothing of the vault");
    vault.generate_key(&path("installation", "k"), KeyAlgorithm::Ed25519).await.unwrap();
}

/// The same against a real one, which `VAULT_ADDR` and `VAULT_TOKEN` name, with its engines at `secret` and `transit`.
#[tokio::test]
async fn a_real_vault_keeps_them_too() {
    let (Ok(address), Ok(token)) = (env::var("VAULT_ADDR"), env::var("VAULT_TOKEN")) else {
        let _ =
            writeln!(std::io::stderr(), "\nskipped: needs VAULT_ADDR and VAULT_TOKEN: remote_vault::tests::a_real_vault_keeps_them_too");
        return;
    };
    let options = RemoteVaultOptions {
        folder: format!("cellspace-test-{}", std::process::id()),
        ..RemoteVaultOptions::new(address, Login::Token(Secret::from(token)))
    };
    let vault = RemoteVault::new(options).unwrap();
    testkit::vault::all(&vault).await;
    for owner in
        ["tk-sign", "tk-again", "tk-secret", "tk-types", "tk-delete", "tk-folder", "tk-folde", "tk-folder0", "tk-folder-", "tk-foldes"]
    {
        vault.delete_folder(&path(owner, "x").owner, "").await.unwrap();
    }
}

/// What an operator sets up for logins of participants, by the policy of the documentation.
async fn set_up(options: &RemoteVaultOptions, token: &str, mount: &str) {
    let node = RemoteVault::new(options.clone()).unwrap();
    let key = node.generate_key(&path(Owner::installation().as_str(), "vault-login"), KeyAlgorithm::P256).await.unwrap();
    let pem = public_key::write(&key)["data"]["keys"]["1"]["public_key"].clone();
    let client = reqwest::Client::new();
    let ask = async |method: reqwest::Method, path: &str, body: Value| {
        let request = client.request(method, format!("{}/v1/{path}", options.address.trim_end_matches('/'))).header("x-vault-token", token);
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str::<Value>(&text).unwrap_or_default()
    };
    let post = reqwest::Method::POST;
    ask(post.clone(), &format!("sys/auth/{mount}"), json!({"type": "jwt"})).await;
    ask(post.clone(), &format!("auth/{mount}/config"), json!({"jwt_validation_pubkeys": [pem], "bound_issuer": "cellspace"})).await;
    let mounts = ask(reqwest::Method::GET, "sys/auth", Value::Null).await;
    let accessor = mounts["data"][format!("{mount}/")]["accessor"].as_str().unwrap().to_owned();
    let policy = include_str!("../../../deploy/vault/participant.hcl").replace("ACCESSOR", &accessor).replace("cellspace", &options.folder);
    let policy = policy.replace("Y2VsbHNwYWNl", &URL_SAFE_NO_PAD.encode(&options.folder));
    ask(post.clone(), &format!("sys/policies/acl/{mount}"), json!({ "policy": policy })).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "claim_mappings": {"participant": "participant"},
        "token_policies": [mount], "token_no_default_policy": true, "token_type": "batch", "token_ttl": "1h",
    });
    ask(post, &format!("auth/{mount}/role/participant"), role).await;
}

/// The same against a real one, whose token may set up what an operator sets up. The node's own token is the one given, so that only participants are apart.
#[tokio::test]
async fn a_real_vault_lets_each_participant_into_its_folder_alone() {
    let (Ok(address), Ok(token)) = (env::var("VAULT_ADDR"), env::var("VAULT_TOKEN")) else {
        let name = "remote_vault::tests::a_real_vault_lets_each_participant_into_its_folder_alone";
        let _ = writeln!(std::io::stderr(), "\nskipped: needs VAULT_ADDR and VAULT_TOKEN: {name}");
        return;
    };
    let mount = format!("cellspace-test-{}", std::process::id());
    let node = RemoteVaultOptions {
        folder: format!("cellspace-apart-{}", std::process::id()),
        ..RemoteVaultOptions::new(address, Login::Token(Secret::from(token.clone())))
    };
    set_up(&node, &token, &mount).await;
    let participants = Some(ParticipantLogin { mount, role: "participant".to_owned() });
    let vault = RemoteVault::new(RemoteVaultOptions { participants, ..node.clone() }).unwrap();
    let (one, two) = (path("tk-one", "s"), path("TK-ONE", "s"));
    let key = |of: &VaultPath| VaultPath { alias: "k".parse().unwrap(), ..of.clone() };
    for path in [&one, &two] {
        vault.put_secret(path, Secret::from("s".to_owned())).await.unwrap();
        vault.generate_key(&key(path), KeyAlgorithm::Ed25519).await.unwrap();
    }
    for (who, whose) in [(&one, &two), (&two, &one)] {
        assert_eq!(vault.read_as(&who.owner, who).await.unwrap(), 200);
        assert_eq!(vault.sign_as(&who.owner, &key(who)).await.unwrap(), 200);
        assert!(vault.read_as(&who.owner, whose).await.is_err() && vault.sign_as(&who.owner, &key(whose)).await.is_err());
    }
    for path in [&one, &two] {
        vault.delete_folder(&path.owner, "").await.unwrap();
    }
    RemoteVault::new(node).unwrap().delete_folder(&Owner::installation(), "").await.unwrap();
}

#[tokio::test]
async fn who_is_not_let_in_signs_in_anew() {
    let double = Double::start().await;
    double.jwt("old");
    let vault = RemoteVault::new(RemoteVaultOptions { login_pause: Duration::ZERO, ..double.options() }).unwrap();
    let key = path("o", "k");
    let refused = vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap_err();
    assert!(refused.to_string().contains("refuses the login with 400"), "{refused}");
    assert!(matches!(vault.health(), Err(StoreError::Unavailable(_))));
    // The file has been exchanged meanwhile.
    double.jwt("good");
    let public = vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    assert_eq!((double.logins(), vault.health().is_ok()), (1, true));
    double.told.lock().forget_tokens = true;
    assert!(verifies(&public, b"m", &vault.sign(&key, b"m").await.unwrap()));
    assert_eq!(double.logins(), 2);
    // Many at once sign in once.
    double.told.lock().forget_tokens = true;
    let all = futures::future::join_all((0..16).map(|_| vault.sign(&key, b"m"))).await;
    assert!(all.iter().all(Result::is_ok) && double.logins() <= 4, "{}", double.logins());
    // A policy that does not allow it is no reason to try for ever.
    double.told.lock().status = Some(403);
    assert!(matches!(vault.sign(&key, b"m").await, Err(VaultError::Store(StoreError::Unavailable(_)))));
    assert!(vault.health().is_err(), "not let in");
}

#[tokio::test]
async fn a_login_counts_for_all_and_for_a_while() {
    let double = Double::start().await;
    let slow = RemoteVaultOptions { login_pause: Duration::from_secs(600), timeout: Duration::from_millis(300), ..double.options() };
    let patient = RemoteVaultOptions { timeout: Duration::from_secs(60), ..slow.clone() };
    let key = path("o", "k");
    // One that has no answer is waited for once.
    double.told.lock().silent = true;
    let vault = RemoteVault::new(slow).unwrap();
    let all = futures::future::join_all((0..8).map(|_| vault.sign(&key, b"m"))).await;
    assert!(all.iter().all(|outcome| matches!(outcome, Err(VaultError::Store(StoreError::Unavailable(_))))) && double.asked_in() == 1);
    double.told.lock().silent = false;
    // Nor is one that was refused asked for again at once.
    double.jwt("old");
    let vault = RemoteVault::new(patient.clone()).unwrap();
    let all = futures::future::join_all((0..8).map(|_| vault.sign(&key, b"m"))).await;
    assert!(all.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.to_string().contains("refuses the login with 400"))));
    assert_eq!((double.asked_in(), vault.health().is_err()), (2, true));
    // A fresh token is not exchanged: what it may not do, another one may not either, and the vault is well.
    double.jwt("good");
    let vault = RemoteVault::new(patient).unwrap();
    vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    double.told.lock().forget_tokens = true;
    for _ in 0..2 {
        let refused = vault.sign(&key, b"m").await.unwrap_err();
        assert!(matches!(&refused, VaultError::Store(StoreError::Unavailable(reason)) if reason.contains("policy")), "{refused}");
    }
    assert_eq!((double.logins(), vault.health().is_ok()), (1, true));
}

#[tokio::test]
async fn installations_share_a_vault_and_no_key() {
    let double = Double::start().await;
    let of = |folder: &str| RemoteVault::new(RemoteVaultOptions { folder: folder.to_owned(), ..double.options() }).unwrap();
    let (one, other, key) = (of("one"), of("one/other"), path("o", "k"));
    let first = one.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    let second = other.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    assert_ne!(first.jwk, second.jwk);
    one.delete_folder(&key.owner, "").await.unwrap();
    assert!(matches!(one.sign(&key, b"m").await, Err(VaultError::NotFound(_))));
    assert!(verifies(&second, b"m", &other.sign(&key, b"m").await.unwrap()));
}

#[tokio::test]
async fn a_key_that_may_not_be_removed_is_not_forgotten() {
    let double = Double::start().await;
    let vault = RemoteVault::new(double.options()).unwrap();
    let key = path("o", "k");
    vault.generate_key(&key, KeyAlgorithm::P256).await.unwrap();
    double.told.lock().keep_keys = true;
    assert!(matches!(vault.delete(&key).await, Err(VaultError::Store(StoreError::Unavailable(_)))));
    assert_eq!(double.left(), (1, 1));
    double.told.lock().keep_keys = false;
    vault.delete(&key).await.unwrap();
    assert_eq!(double.left(), (0, 0));
}

#[tokio::test]
async fn a_vault_that_cannot_be_asked_is_unavailable_and_nothing_else() {
    let double = Double::start().await;
    let vault = RemoteVault::new(double.options()).unwrap();
    let (key, secret) = (path("o", "k"), path("o", "s"));
    vault.generate_key(&key, KeyAlgorithm::P256).await.unwrap();
    vault.put_secret(&secret, Secret::from("hush".to_owned())).await.unwrap();
    for status in [500, 503, 429, 412, 307] {
        double.told.lock().status = Some(status);
        let unavailable = |outcome: Result<(), VaultError>| matches!(outcome, Err(VaultError::Store(StoreError::Unavailable(_))));
        assert!(unavailable(vault.sign(&key, b"m").await.map(drop)), "{status}");
        assert!(unavailable(vault.public_key(&key).await.map(drop)), "{status}");
        assert!(unavailable(vault.generate_key(&path("o", "new"), KeyAlgorithm::P256).await.map(drop)), "{status}");
        assert!(unavailable(vault.secret(&secret).await.map(drop)), "{status}");
        assert!(unavailable(vault.put_secret(&secret, Secret::from("x".to_owned())).await), "{status}");
        assert!(unavailable(vault.delete(&key).await), "{status}");
        assert!(unavailable(vault.delete_folder(&key.owner, "").await), "{status}");
        assert!(vault.health().is_err(), "{status}");
    }
    double.told.lock().status = None;
    assert!(vault.sign(&key, b"m").await.is_ok() && vault.health().is_ok());
    let nobody = RemoteVault::new(RemoteVaultOptions { address: "http://127.0.0.1:1".to_owned(), ..double.options() }).unwrap();
    let error = nobody.secret(&secret).await.unwrap_err().to_string();
    assert!(error.contains("the vault does not answer") && !error.contains("hush") && !error.contains("good"), "{error}");
}

#[tokio::test]
async fn what_a_crash_leaves_is_made_whole_or_removed() {
    let double = Double::start().await;
    let vault = RemoteVault::new(double.options()).unwrap();
    let key = path("o", "k");
    let first = vault.generate_key(&key, KeyAlgorithm::Ed25519).await.unwrap();
    // The note is there, the key is not: as after a crash between the two.
    double.lose_keys();
    for _ in 0..2 {
        assert!(matches!(vault.sign(&key, b"m").await, Err(VaultError::NotFound(_))));
        assert!(matches!(vault.public_key(&key).await, Err(VaultError::NotFound(_))));
    }
    assert!(matches!(vault.put_secret(&key, Secret::from("s".to_owned())).await, Err(VaultError::WrongType(_))));
    let made = vault.generate_key(&key, KeyAlgorithm::P256).await.unwrap();
    assert_eq!((made.algorithm, double.left()), (first.algorithm, (1, 1)), "as the note says");
    double.lose_keys();
    vault.delete(&key).await.unwrap();
    assert_eq!(double.left(), (0, 0));
}
