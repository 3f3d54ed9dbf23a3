//! A platform whose listeners have a certificate, as its users start it.

use crate::{
    process::Process,
    program::{refused, up},
    support::{ok, text},
};
use cellspace::crypto;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Certificates for this machine, made by the program itself.
async fn certificates(dir: &Path) -> PathBuf {
    let certs = dir.join("certs");
    let hosts = ["--host", "localhost", "--host", "127.0.0.1"];
    let mut admin = Process::start(dir, &[&["admin", "certs", "--cell", "c", "--out", certs.to_str().unwrap()][..], &hosts].concat());
    assert!(admin.line().await.unwrap().contains("for localhost, 127.0.0.1"));
    assert!(admin.end().await.success(), "{}", admin.errors());
    certs
}

/// The whole story over TLS: its client, the participants among each other, and the platform's calls to itself.
#[tokio::test]
async fn a_platform_with_a_certificate_is_operated_and_plays_the_story() {
    let dir = tempfile::tempdir().unwrap();
    let certs = certificates(dir.path()).await;
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let (certificate, key, authority) = (file("listeners.pem"), file("listeners-key.pem"), file("ca.pem"));
    let (mut platform, ready) = up(dir.path(), &["--tls-cert", &certificate, "--tls-key", &key, "--ca-file", &authority]).await;
    let base = |name: &str| text(&ready, name);
    for name in ["public", "admin", "tokenUrl"] {
        assert!(base(name).starts_with("https://localhost:"), "{ready}");
    }
    assert!(base("ops").starts_with("https://127.0.0.1:"), "{ready}");
    let http = Client::builder().tls_certs_only(crypto::authorities(&certs.join("ca.pem")).unwrap()).build().unwrap();
    let readiness = http.get(format!("{}/api/check/readiness", base("ops"))).send().await.unwrap();
    assert_eq!(readiness.status(), StatusCode::OK);

    let data = dir.path().join("data");
    let token = |more: &[&str]| {
        let arguments = [&["admin", "token", "--data-dir", data.to_str().unwrap()][..], more].concat();
        Process::start(&certs, &arguments)
    };
    let mut unbelieved = token(&[]);
    assert!(!unbelieved.end().await.success());
    let mut believed = token(&["--ca-file", &authority]);
    let token = believed.line().await.unwrap_or_else(|| panic!("{}", believed.errors()));
    ok(http.get(format!("{}/api/v1/clients", base("admin"))).bearer_auth(token).send().await.unwrap()).await;

    let client = data.join("bootstrap-client.json");
    let arguments = ["demo", "--json", "--against", &base("public"), "--client-file", client.to_str().unwrap(), "--ca-file", &authority];
    let (mut demo, mut last) = (Process::start(&certs, &arguments), Value::Null);
    while let Some(line) = demo.json().await {
        last = line;
    }
    assert_eq!(last["result"], "passed", "{last}");
    assert!(demo.end().await.success(), "{}", demo.errors());
    platform.signal("TERM");
    assert!(platform.end().await.success(), "{}", platform.errors());
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let certs = certificates(dir.path()).await;
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let (certificate, key, other) = (file("listeners.pem"), file("listeners-key.pem"), file("ca-key.pem"));
    let data = dir.path().join("data");
    for (certificate, key, authority, told) in [
        (&certificate, &other, None, "(--tls-cert, --tls-key): the certificates cannot be used"),
        (&certificate, &certificate, None, "listeners.pem: "),
        (&key, &key, None, "listeners-key.pem: there is no certificate in it"),
        (&file("none"), &key, None, "none: No such file"),
        (&certificate, &key, Some(&key), "(--ca-file): "),
    ] {
        let mut arguments = vec!["--tls-cert", certificate, "--tls-key", key];
        arguments.extend(authority.into_iter().flat_map(|authority| ["--ca-file", authority.as_str()]));
        let errors = refused(dir.path(), &data, &arguments).await;
        assert!(errors.contains(told), "{told}: {errors}");
    }
    let errors = refused(dir.path(), &data, &["--tls-cert", &certificate]).await;
    assert!(errors.contains("--tls-key"), "{errors}");
    assert!(!data.exists(), "nothing was begun");
}
