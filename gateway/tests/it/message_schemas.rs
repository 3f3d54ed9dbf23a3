//! Every request and answer of ours between participants over real HTTP, held against the official JSON schemas: the whole story of the demo, and what it does
//! not tell.
//!
//! A relay that is the platform's public address sees all of it, in both directions. What the tester sends itself, to be refused, is nobody's message;
//! the answers to it are ours.

#[path = "../../../schemas/tests/artifacts/mod.rs"]
mod artifacts;
mod dcp;
mod dsp;
#[path = "../../examples/conformance/proxy.rs"]
mod proxy;
#[path = "../../examples/conformance/schemas.rs"]
mod schemas;

use crate::{
    stage::{DSP_CONTEXT, Stage, TESTER, dsp},
    support::Platform,
};
use anyhow::Result;
use bytes::Bytes;
use cellspace_client::{Caller, Client, Silent, operator, provider, source, story, tenants};
use dsp::{catalogs, claims, errors, negotiations, push, transfers};
use http::Request;
use parking_lot::Mutex;
use proxy::{Door, Proxy};
use reqwest::header;
use schemas::Judge;
use serde_json::json;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// How soon a revocation takes effect at the latest.
const STATUS_LIST_AGE: Duration = Duration::from_secs(2);
/// The suite's modules that carry schemas.
const MODULES: [&str; 3] = ["dsp-catalog", "dsp-contract-negotiation", "dsp-transfer-process"];

/// The judges of DSP and of DCP, with the newest schemas; nothing is skipped when they are there and cannot be used.
fn judges() -> Option<[Judge; 2]> {
    let newest = |group, module| artifacts::jars(group, module).into_iter().next();
    let dsp: Option<Vec<_>> = MODULES.into_iter().map(|module| newest(artifacts::DSP_SUITE, module)).collect();
    let claims = newest("org/eclipse/dataspacetck/dcp", "dcp-testcases")?;
    Some([Judge::new(&schemas::DSP, dsp?).unwrap(), Judge::new(&dcp::DCP, [claims]).unwrap()])
}

struct Recorder {
    platform: SocketAddr,
    proxy: Proxy,
    dsp: Mutex<Judge>,
    dcp: Mutex<Judge>,
}

impl Recorder {
    /// Who judges what is exchanged at a path.
    fn judge(&self, path: &str) -> Option<&Mutex<Judge>> {
        if path.starts_with("/api/dsp/") {
            Some(&self.dsp)
        } else if path.starts_with("/api/credentials/") || path.starts_with("/api/issuance/") {
            Some(&self.dcp)
        } else {
            None
        }
    }
}

impl Door for Recorder {
    async fn answer(&self, request: Request<Bytes>) -> Result<proxy::Answer> {
        let (head, body) = request.into_parts();
        let (method, path) = (head.method.as_str(), head.uri.path());
        let judge = self.judge(path);
        let ours = head.headers.get(header::USER_AGENT).is_none_or(|agent| agent != TESTER);
        if let Some(judge) = judge.filter(|_| ours) {
            judge.lock().message(method, path, &body);
        }
        let url = format!("http://{}{}", self.platform, head.uri);
        let answer = self.proxy.send(head.method.clone(), &url, &head.headers, body).await?;
        if let Some(judge) = judge {
            judge.lock().answer(method, path, answer.status().as_u16(), answer.body());
        }
        Ok(answer)
    }

    /// Data of transfers.
    fn passes(&self, request: &Request<Bytes>) -> Option<(&Proxy, String)> {
        request.uri().path().starts_with("/api/data/").then(|| (&self.proxy, format!("http://{}{}", self.platform, request.uri())))
    }
}

/// A platform behind a recorder.
async fn recorded([dsp, dcp]: [Judge; 2]) -> (Platform, Arc<Recorder>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let public = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let base = Platform::temporary(|config| {
        config.status_list_age = STATUS_LIST_AGE;
        config.public_url = Some(public.parse().unwrap());
    })
    .await;
    let (dsp, dcp) = (Mutex::new(dsp), Mutex::new(dcp));
    let recorder = Arc::new(Recorder { platform: base.node.public_address().unwrap(), proxy: Proxy::new().unwrap(), dsp, dcp });
    tokio::spawn(proxy::serve(recorder.clone(), listener, true));
    (base, recorder)
}

/// Nothing is refused, and of all types there is something but of those that are named.
fn assert_seen(judge: &Judge, none_of: &[&str]) {
    println!("{judge}");
    assert!(judge.refused().is_empty(), "{}", judge.refused().join("\n"));
    let unseen: Vec<&str> = judge.valid().filter(|(_, n)| *n == 0).map(|(kind, _)| kind).collect();
    assert_eq!(unseen, none_of, "{judge}");
}

#[tokio::test]
async fn the_story_of_the_demo_is_as_the_official_schemas_say() {
    let test = "message_schemas::the_story_of_the_demo_is_as_the_official_schemas_say";
    let Some(judges) = artifacts::needed(test, judges()) else { return };
    let (base, recorder) = recorded(judges).await;
    let base_of = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let node = &base.node;
    let mut client = Client::new(reqwest::Client::new(), base_of(&node.urls.admin), base_of(&node.urls.public), Box::new(Silent));
    let host = node.urls.did_host();
    let admin = Caller { name: "admin".into(), token: base.token.clone() };
    let platform = operator::prepare(&mut client, admin, &host).await.unwrap();
    let cast = story::Cast {
        provider: tenants::onboard(&mut client, &platform, "provider", &host, true).await.unwrap(),
        consumer: tenants::onboard(&mut client, &platform, "consumer", &host, true).await.unwrap(),
        third: tenants::onboard(&mut client, &platform, "third", &host, false).await.unwrap(),
    };
    story::border(&mut client, &platform, &cast).await.unwrap();
    let source = source::serve().await.unwrap();
    provider::offer(&mut client, &cast.provider, &format!("http://{source}")).await.unwrap();
    let shared = story::consumer(&mut client, &cast).await.unwrap();
    story::third(&mut client, &cast, &shared).await.unwrap();
    story::terminate(&mut client, &cast, &shared).await.unwrap();
    story::revoke(&mut client, &platform, &cast, &shared, STATUS_LIST_AGE).await.unwrap();
    base.node.drain(crate::support::DRAIN).await;
    let not_told = [
        "ContractOfferMessage",
        "Dataset",
        "TransferCompletionMessage",
        "TransferError",
        "TransferSuspensionMessage",
        "VersionResponse",
        "VersionsError",
    ];
    assert_seen(&recorder.dsp.lock(), &not_told);
    assert_seen(&recorder.dcp.lock(), &["CredentialOfferMessage", "CredentialStatus", "IssuerMetadata"]);
}

#[tokio::test]
async fn every_message_is_as_the_official_schemas_say() {
    let test = "message_schemas::every_message_is_as_the_official_schemas_say";
    let Some(judges) = artifacts::needed(test, judges()) else { return };
    let (base, recorder) = recorded(judges).await;
    let mut s = Stage::on(base).await;
    catalogs(&s).await;
    negotiations(&mut s).await;
    transfers(&mut s).await;
    push(&mut s).await;
    errors(&s).await;
    claims(&s).await;
    s.close().await;
    assert_seen(&recorder.dsp.lock(), &[]);
    assert_seen(&recorder.dcp.lock(), &[]);
}

#[test]
fn what_differs_is_refused() {
    let Some([mut judge, mut dcp]) = artifacts::needed("message_schemas::what_differs_is_refused", judges()) else { return };
    let good = dsp("ContractNegotiation", json!({"consumerPid": "c", "providerPid": "p", "state": "AGREED"}));
    let place = "/api/dsp/p/profile/negotiations/p";
    judge.answer("GET", place, 200, good.to_string().as_bytes());
    assert!(judge.refused().is_empty(), "{judge}");
    for (field, value) in [
        ("state", json!("OPEN")),
        ("state", json!(null)),
        ("consumerPid", json!(1)),
        ("@type", json!("TransferProcess")),
        ("@context", json!(DSP_CONTEXT)),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        judge.answer("GET", place, 200, bad.to_string().as_bytes());
    }
    // No error, no answer, and nothing that is sent there.
    judge.answer("GET", place, 404, good.to_string().as_bytes());
    judge.answer("GET", "/api/dsp/p/profile/nowhere", 200, good.to_string().as_bytes());
    judge.message("POST", place, good.to_string().as_bytes());
    assert_eq!(judge.refused().len(), 8, "{judge}");

    let (query, delivery) = ("/api/credentials/v1/participants/p/presentations/query", "/api/credentials/v1/participants/p/credentials");
    let good = json!({"@context": ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"], "type": "PresentationQueryMessage", "scope": ["a"]});
    dcp.message("POST", query, good.to_string().as_bytes());
    dcp.answer("POST", query, 401, b"{}");
    dcp.answer("POST", delivery, 200, b"");
    assert!(dcp.refused().is_empty(), "{dcp}");
    for (field, value) in [("scope", json!([])), ("type", json!("CredentialMessage")), ("@context", json!([])), ("scope", json!([1]))] {
        let mut bad = good.clone();
        bad[field] = value;
        dcp.message("POST", query, bad.to_string().as_bytes());
    }
    dcp.message("POST", delivery, good.to_string().as_bytes());
    dcp.answer("POST", delivery, 200, b"{}");
    assert_eq!(dcp.refused().len(), 6, "{dcp}");
}
