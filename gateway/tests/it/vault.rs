//! A platform whose keys and secrets lie in a vault of the installation's.

use crate::{
    stage::Stage,
    support::{DRAIN, Platform, config},
};
use cellspace::{Node, node::StartError};
use cellspace_client::{provider::DATA_SET, sharing};
use cellspace_storage::testkit::remote_vault::Double;
use reqwest::StatusCode;
use std::time::Duration;

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

#[tokio::test]
async fn an_installation_keeps_the_vault_that_it_began_with() {
    let (double, dir) = (Double::start().await, tempfile::tempdir().unwrap());
    Platform::start(config(dir.path())).await.node.drain(DRAIN).await;
    let elsewhere = cellspace::NodeConfig { vault: Some(double.options()), ..config(dir.path()) };
    // Tasks of the first one may still be letting go of the directory.
    let refused = loop {
        match Node::start(elsewhere.clone()).await {
            Err(StartError::Open(cellspace_storage::OpenError::Locked { .. })) => tokio::task::yield_now().await,
            other => break other.map(drop),
        }
    };
    assert!(matches!(refused, Err(StartError::OtherVault(at)) if at == dir.path()));
    assert_eq!(double.logins(), 0);
}
