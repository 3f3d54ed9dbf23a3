//! A platform whose keys and secrets lie in a vault of the installation's.

use crate::{
    stage::Stage,
    support::{DRAIN, Platform, config},
};
use cellspace::{Node, NodeConfig, node::StartError};
use cellspace_client::{provider::DATA_SET, sharing};
use cellspace_storage::{OpenError, RemoteVaultOptions, testkit::remote_vault::Double};
use reqwest::StatusCode;
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
