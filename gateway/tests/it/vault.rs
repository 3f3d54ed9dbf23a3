//! A platform whose keys and secrets lie in a vault of the installation's.

use crate::{
    process::Up,
    stage::Stage,
    support::{DRAIN, IDENTITY, Platform, config, id_of, text},
};
use cellspace::{Node, NodeConfig, Ports, node::StartError};
use cellspace_actors::{
    ControlPlane, CredentialService, Services, control_plane, credential_service,
    data_plane::{self, DataPlane},
};
use cellspace_client::{Client, provider::DATA_SET, sharing};
use cellspace_cluster::{Address, Call, Clock, SystemClock};
use cellspace_schemas::{Timestamp, identity::key_pair::KeyUsage};
use cellspace_storage::{KeyAlgorithm, Login, OpenError, RemoteVaultOptions, VaultPath, testkit::remote_vault::Double};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::{path::Path, sync::Arc, time::Duration};

#[tokio::test]
async fn everything_is_signed_where_the_keys_lie() {
    let double = Double::start().await;
    let base = Platform::temporary(|config| {
        config.status_list_age = Duration::from_secs(2);
        config.vault = Some(double.options_apart());
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
    // Once for the node, and once for each participant: what is theirs is done in their names, or the vault would refuse it.
    assert_eq!(double.logins(), 5);

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

/// The machine's clock, an hour ahead: the time of all that was begun before is over.
#[derive(Debug)]
struct Later;

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(3_600))
    }
}

fn at(owner: &str, alias: &str) -> VaultPath {
    VaultPath { owner: owner.parse().unwrap(), alias: alias.parse().unwrap() }
}

async fn within(what: &str, limit: Duration, done: impl AsyncFn() -> bool) {
    let done = async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(limit, done).await.unwrap_or_else(|_| panic!("{what}"));
}

/// What an agent has noted and made for a command that never came to its commit, as a process leaves it that dies: it goes from the embedded vault when its
/// time is over. What a row names stays, and what nobody has noted.
#[tokio::test]
async fn what_a_crash_left_goes_from_the_embedded_vault() {
    let dir = tempfile::tempdir().unwrap();
    let base = Platform::start(config(dir.path())).await;
    let s = Stage::on(base).await;
    let (services, consumer) = (s.node().app.services.clone(), id_of(&s.consumer.context));
    let left =
        ["secret/1", "source-secret/2", "dataflow-address/3", "keypair/made-4", "keypair/chosen"].map(|alias| at(consumer.as_str(), alias));
    let call = || Call::by("test");
    for path in &left {
        let (record, alias) = (path.alias.clone(), path.alias.as_str());
        let begin = cellspace_actors::records::Command::Begin(record);
        if alias.starts_with("keypair/") {
            let address = Address::of::<CredentialService>(&consumer);
            services.cluster.ask::<CredentialService>(&address, credential_service::Command::Record(begin), call()).await.unwrap();
            services.vault.generate_key(path, KeyAlgorithm::Ed25519).await.unwrap();
            continue;
        }
        if alias.starts_with("secret/") {
            let address = Address::of::<ControlPlane>(&consumer);
            services.cluster.ask::<ControlPlane>(&address, control_plane::Command::Records(begin), call()).await.unwrap();
        } else {
            let address = Address::of::<DataPlane>(&consumer);
            services.cluster.ask::<DataPlane>(&address, data_plane::Command::Record(begin), call()).await.unwrap();
        }
        services.vault.put_secret(path, "s3cret".to_owned().into()).await.unwrap();
    }
    let mine = at(consumer.as_str(), "mine");
    services.vault.generate_key(&mine, KeyAlgorithm::Ed25519).await.unwrap();
    let secret = Client::typed("Secret", json!({"@id": "s-1", "value": "s3cret"}));
    s.base.must(Method::POST, &s.consumer.path("secrets"), Some(secret)).await;
    let kept = async |services: &Services| {
        let address = Address::of::<ControlPlane>(&consumer);
        let id = "s-1".parse().unwrap();
        let record = services.cluster.read::<ControlPlane, _>(&address, |state| state.secrets.get(&id).map(|s| s.record.clone())).await;
        services.vault.secret(&at(consumer.as_str(), record.unwrap().unwrap().as_str())).await.is_ok()
    };
    assert!(kept(&services).await);
    drop(services);
    s.close().await;

    // A start soon after takes nothing out: a note has its time.
    let base = Platform::start(config(dir.path())).await;
    let services = base.node.app.services.clone();
    let signs =
        services.cluster.read::<CredentialService, _>(&Address::of::<CredentialService>(&consumer), |state| state.notes.len()).await;
    assert_eq!(signs.unwrap(), 2);
    assert!(services.vault.secret(&left[0]).await.is_ok() && services.vault.public_key(&left[4]).await.is_ok());
    drop(services);
    base.node.drain(DRAIN).await;

    let base = Platform::start(NodeConfig { clock: Arc::new(Later), ..config(dir.path()) }).await;
    let services = base.node.app.services.clone();
    for path in &left {
        within("a record that nothing names is left", Duration::from_secs(60), async || {
            services.vault.public_key(path).await.is_err() && services.vault.secret(path).await.is_err()
        })
        .await;
    }
    let notes = async || {
        let (keys, secrets) = (Address::of::<CredentialService>(&consumer), Address::of::<ControlPlane>(&consumer));
        let keys = services.cluster.read::<CredentialService, _>(&keys, |state| state.notes.len()).await;
        let secrets = services.cluster.read::<ControlPlane, _>(&secrets, |state| state.notes.len()).await;
        let data = Address::of::<DataPlane>(&consumer);
        let data = services.cluster.read::<DataPlane, _>(&data, |state| state.notes.len()).await;
        (keys.unwrap(), secrets.unwrap(), data.unwrap())
    };
    within("a note is left", Duration::from_secs(60), async || notes().await == (0, 0, 0)).await;
    assert!(services.vault.public_key(&mine).await.is_ok() && kept(&services).await);
    // The participant signs as before.
    let address = Address::of::<CredentialService>(&consumer);
    let key = services.cluster.read::<CredentialService, _>(&address, |state| state.signing_key(KeyUsage::Presentation)).await;
    assert!(services.vault.sign(&key.unwrap().unwrap().path, b"m").await.is_ok());
    drop(services);
    base.node.drain(DRAIN).await;
}

/// Starts the program with the vault elsewhere.
async fn up(dir: &Path, secret: Option<&str>, double: &Double) -> Up {
    let options = double.options_apart();
    let file = double.file();
    let more = [
        ["--vault-addr", options.address.as_str()],
        ["--vault-role", "cellspace-node"],
        ["--vault-login", "kubernetes"],
        ["--vault-jwt-file", file.to_str().unwrap()],
        ["--vault-participant-role", "participant"],
        ["--vault-participant-login", "participants"],
        ["--vault-namespace", "ns"],
    ];
    Up::with(dir, "", secret, more.as_flattened()).await
}

/// Whatever the last thing was that a vault elsewhere has done for a process that is killed, what no row names goes from it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_left_goes_from_a_vault_elsewhere() {
    let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
    let mut platform = up(dir.path(), None, &double).await;
    let secret = text(&platform.line, "clientSecret");
    let did = platform.did("acme");
    let identity = json!({"participantContextId": "acme", "did": did, "active": true, "serviceEndpoints": []});
    platform.must(Method::POST, &format!("{IDENTITY}/participants"), identity).await;
    let management = "/api/mgmt/v5beta/participants";
    let context = Client::typed("ParticipantContext", json!({"@id": "acme", "identity": did, "state": "ACTIVATED"}));
    platform.must(Method::POST, management, context).await;
    let named = double.left();
    let other = platform.did("other");
    let requests = [
        (Method::PUT, format!("{IDENTITY}/participants/acme/keypairs"), json!({"keyId": "k"})),
        (Method::PUT, format!("{IDENTITY}/participants/acme/keypairs"), json!({"keyId": "l", "privateKeyAlias": "chosen"})),
        (Method::POST, format!("{management}/acme/secrets"), Client::typed("Secret", json!({"@id": "s", "value": "s3cret"}))),
        (
            Method::PUT,
            "/participants/acme/sources/x".to_owned(),
            json!({"baseUrl": "http://localhost:1/x", "authorization": {"vaultAlias": "store", "secret": "s3cret"}}),
        ),
        // Of who is not there yet.
        (
            Method::POST,
            format!("{IDENTITY}/participants"),
            json!({"participantContextId": "other", "did": other, "active": true, "serviceEndpoints": []}),
        ),
    ];
    let mut grown = 0;
    for (method, path, body) in requests {
        for step in 1.. {
            let before = double.left();
            double.told.lock().stop_after = Some(step);
            let answer = tokio::select! {
                () = double.stopped() => None,
                answer = platform.admin(method.clone(), &path).json(&body).send() => Some(answer.unwrap().status()),
            };
            double.told.lock().stop_after = None;
            if let Some(status) = answer {
                // Nothing was held up: that is what rows name, and it is taken back as a client does it.
                assert!(status.is_success() && step > 2, "{path}: {status} after {step}");
                break;
            }
            platform.kill().await;
            grown += usize::from(double.left() != before);
            platform = up(dir.path(), Some(&secret), &double).await;
        }
    }
    // A key of each of two names, a secret, that of a source, and a participant's key.
    let rows = (named.0 + 5, named.1 + 3);
    platform.kill().await;
    assert!(grown > 5, "{grown} kills left something: {:?}, {rows:?}", double.left());

    let config = NodeConfig { vault: Some(double.options_apart()), clock: Arc::new(Later), ..config(&dir.path().join("data")) };
    let base = Platform::start(NodeConfig { ports: Ports::Remembered, ..config }).await;
    within("something is left", Duration::from_secs(60), async || double.left() == rows).await;
    for owner in ["acme", "other"] {
        let address = Address::of::<CredentialService>(&id_of(owner));
        let services = &base.node.app.services;
        let keys = services
            .cluster
            .read::<CredentialService, _>(&address, |state| state.keys.values().map(|key| key.alias.clone()).collect::<Vec<_>>());
        for key in keys.await.unwrap() {
            assert!(services.vault.sign(&at(owner, &format!("keypair/{key}")), b"m").await.is_ok(), "{owner}/{key}");
        }
    }
    base.node.drain(DRAIN).await;
}

/// What is deleted while the vault is down leaves it when it is back, without anybody asking again; and what it was asked to make meanwhile is refused.
#[tokio::test]
async fn what_is_deleted_leaves_a_vault_that_was_down() {
    let double = Double::start().await;
    let base = Platform::temporary(|config| config.vault = Some(double.options_apart())).await;
    base.participant("acme").await;
    let pairs = format!("{IDENTITY}/participants/acme/keypairs");
    let before = double.left();
    base.must(Method::PUT, &pairs, Some(json!({"keyId": "next", "privateKeyAlias": "next", "resourceId": "next"}))).await;
    assert_eq!(double.left(), (before.0 + 1, before.1 + 1));
    double.told.lock().status = Some(503);
    base.must(Method::POST, &format!("{pairs}/next/revoke"), None).await;
    let other = json!({"keyId": "other", "privateKeyAlias": "other"});
    assert_eq!(base.call(Method::PUT, &pairs, Some(other)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(double.left(), (before.0 + 1, before.1 + 1));
    double.told.lock().status = None;
    within("the key is left", Duration::from_secs(30), async || double.left() == before).await;
    // With its participant all goes.
    double.told.lock().status = Some(503);
    base.must(Method::DELETE, &format!("{IDENTITY}/participants/acme"), None).await;
    double.told.lock().status = None;
    within("keys of who is gone are left", Duration::from_secs(60), async || double.left() == (before.0 - 1, before.1 - 1)).await;
    base.node.drain(DRAIN).await;
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
    // Nothing is held to a vault that has never answered.
    Platform::start(config(dir.path())).await.node.drain(DRAIN).await;
}
