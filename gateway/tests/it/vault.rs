//! A platform whose keys and secrets lie in a vault of the installation's.

use crate::{
    stage::Stage,
    support::{DRAIN, IDENTITY, Platform, config},
};
use cellspace::{Node, NodeConfig, node::StartError};
use cellspace_client::{Client, provider::DATA_SET, sharing};
use cellspace_storage::{KeyAlgorithm, Login, OpenError, RemoteVaultOptions, VaultPath, testkit::remote_vault::Double};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::{path::Path, time::Duration};

#[tokio::test]
async fn everything_is_signed_where_the_keys_lie() {
    let double = Double::start().await;
    let base = Platform::temporary(|config| {
        config.status_list_age = Duration::from_secs(2);
        config.vault = Some(double.options());
    })
    .await;
    let mut s = Stage::on(base).await;
    // Four participants, the key of access tokens and that of the token service.
    assert!(double.left().1 >= 5, "{:?}", double.left());
    let offer = s.offers(&s.consumer).await.into_iter().find(|offer| offer.asset == DATA_SET).unwrap();
    let (_, _, agreement) = s.agreement(&offer).await;
    let pull = sharing::start_pull(&mut s.client, &s.consumer, &s.provider, &agreement).await.unwrap();
    let data = sharing::open(&s.client, &pull).await.unwrap();
    assert_eq!(data.status(), StatusCode::OK);
    // The data directory has no vault, and no key to one.
    let dir = s.base.data_dir();
    assert!(!dir.join("vault").exists() && !dir.join("master.key").exists());
    assert_eq!(double.logins(), 1);

    let readiness = async || s.client.http.get(format!("{}/api/check/readiness", s.node().ops_url())).send().await.unwrap();
    assert_eq!(readiness().await.status(), StatusCode::OK);
    double.told.lock().status = Some(503);
    let client = s.base.bootstrap();
    let form = [("grant_type", "client_credentials"), ("client_id", client.client_id.as_str()), ("client_secret", client.secret())];
    assert_eq!(s.base.form("/token", &form).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let (status, told) = crate::support::read(readiness().await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(told.to_string().contains("the vault answered 503"), "{told}");
    double.told.lock().status = None;
    assert_eq!(s.base.form("/token", &form).await.status(), StatusCode::OK);
    assert_eq!(readiness().await.status(), StatusCode::OK);
    s.close().await;
}

/// What a process that died had put for commits that it did not make goes when the next such thing is kept, from a vault that is the store's own; what has
/// a name of somebody's choice stays.
async fn what_a_crash_left(base: Platform) {
    let s = Stage::on(base).await;
    let vault = s.node().app.services.vault.clone();
    let at = |owner: &str, alias: String| VaultPath { owner: owner.parse().unwrap(), alias: alias.parse().unwrap() };
    let consumer = s.consumer.context.as_str();
    let left = [(consumer, "secret/"), (consumer, "source-secret/"), ("late", "keypair/made-")];
    let left = left.map(|(owner, part)| at(owner, format!("{part}{}", uuid::Uuid::new_v4())));
    let mine = at(consumer, "secret/mine".to_owned());
    for path in &left {
        vault.generate_key(path, KeyAlgorithm::Ed25519).await.unwrap();
    }
    vault.generate_key(&mine, KeyAlgorithm::Ed25519).await.unwrap();
    let secret = Client::typed("Secret", json!({"@id": "s-1", "value": "s3cret"}));
    s.base.must(Method::POST, &s.consumer.path("secrets"), Some(secret)).await;
    let source = json!({"baseUrl": "http://localhost:1/x", "authorization": {"vaultAlias": "store", "secret": "s3cret"}});
    s.base.must(Method::PUT, &format!("/participants/{consumer}/sources/x"), Some(source)).await;
    let mut late = s.base.manifest("late", "late");
    late["key"].as_object_mut().unwrap().remove("privateKeyAlias");
    s.base.must(Method::POST, &format!("{IDENTITY}/participants"), Some(late)).await;
    let gone = async {
        for path in &left {
            while vault.public_key(path).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    };
    let stays = usize::from(!vault.is_private());
    if stays == 0 {
        tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    }
    assert!(vault.public_key(&mine).await.is_ok());
    for (owner, part, count) in
        [(consumer, "secret/", 2 + stays), (consumer, "source-secret/", 1 + stays), ("late", "keypair/made-", 1 + stays)]
    {
        assert_eq!(vault.aliases(&owner.parse().unwrap(), part).await.unwrap().len(), count, "{part}");
    }
    s.close().await;
}

#[tokio::test]
async fn what_a_crash_left_goes_from_the_embedded_vault() {
    what_a_crash_left(Platform::temporary(|config| config.status_list_age = Duration::from_secs(2)).await).await;
}

#[tokio::test]
async fn what_a_crash_left_stays_in_a_vault_that_is_not_the_stores_own() {
    let double = Double::start().await;
    let options = double.options();
    what_a_crash_left(Platform::temporary(|config| config.vault = Some(options)).await).await;
}

type Start<'a> = dyn Fn(&Path) -> NodeConfig + 'a;

#[tokio::test]
async fn an_installation_keeps_the_vault_that_it_began_with() {
    let double = Double::start().await;
    let remote = |dir: &Path| NodeConfig { vault: Some(double.options()), ..config(dir) };
    let other = |dir: &Path| {
        let options = RemoteVaultOptions { folder: "other".to_owned(), ..double.options() };
        NodeConfig { vault: Some(options), ..config(dir) }
    };
    let starts: [(&Start<'_>, &Start<'_>, &str); 3] = [
        (&config, &remote, "lie in the data directory"),
        (&remote, &config, "lie in another vault (--vault-addr http://127.0.0.1"),
        (&remote, &other, "--vault-folder cellspace"),
    ];
    for (first, then, told) in starts {
        let dir = tempfile::tempdir().unwrap();
        Platform::start(first(dir.path())).await.node.drain(DRAIN).await;
        let left = double.left();
        // Tasks of the first one may still be letting go of the directory.
        let refused = loop {
            match Node::start(then(dir.path())).await {
                Err(StartError::Open(OpenError::Locked { .. })) => tokio::task::yield_now().await,
                other => break other.map(drop).unwrap_err(),
            }
        };
        assert!(matches!(refused, StartError::OtherVault { .. }) && refused.to_string().contains(told), "{refused}");
        assert_eq!(double.left(), left);
        // What was refused has left nothing in the way.
        Platform::start(first(dir.path())).await.node.drain(DRAIN).await;
    }
}

#[tokio::test]
async fn a_vault_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let login = Login::Jwt { mount: "jwt".to_owned(), role: "cells".to_owned(), file: file.clone() };
    let options = RemoteVaultOptions::new("http://127.0.0.1:1".to_owned(), login);
    let refused = Node::start(NodeConfig { vault: Some(options.clone()), ..config(dir.path()) }).await.map(drop).unwrap_err().to_string();
    let named = format!("the vault cannot be used (--vault-addr http://127.0.0.1:1 --vault-jwt-file {}): ", file.display());
    assert!(refused.starts_with(&named) && refused.contains("No such file"), "{refused}");
    std::fs::write(&file, "jwt").unwrap();
    let refused = loop {
        match Node::start(NodeConfig { vault: Some(options.clone()), ..config(dir.path()) }).await {
            // Tasks of the first one may still be letting go of the directory.
            Err(StartError::Open(OpenError::Locked { .. })) => tokio::task::yield_now().await,
            other => break other.map(drop).unwrap_err().to_string(),
        }
    };
    assert!(refused.starts_with(&named) && refused.contains("does not answer"), "{refused}");
}
