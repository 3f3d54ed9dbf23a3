//! What `deploy/conformance` promises, and that the product has nothing of it.

use crate::support::read;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

/// Longest time for anything; the system under test may have to be built first.
const PATIENCE: Duration = Duration::from_secs(600);

/// Texts and symbols that the wiring has and the product must not have.
const MARKS: [&str; 6] =
    ["TCK_PARTICIPANT", "/conformance/relay/", "/conformance/negotiations", "/conformance/catalog", "CN_C", "ACNC0101"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// One of the scripts. What they build is what these tests were built with.
fn script(name: &str) -> Command {
    let features = [("cellspace/scylla", cfg!(feature = "scylla")), ("cellspace/kafka", cfg!(feature = "kafka"))];
    let features: Vec<_> = features.into_iter().filter_map(|(name, is_on)| is_on.then_some(name)).collect();
    let mut script = Command::new(root().join("deploy/conformance").join(name));
    script.env("CELLSPACE_CONFORMANCE_FEATURES", features.join(","));
    script
}

/// Whether a text is somewhere in the files at the path.
fn holds(path: &Path, text: &str) -> bool {
    match Command::new("grep").args(["-rqaF", "--", text]).arg(path).status().unwrap().code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("grep ended with {other:?}"),
    }
}

/// Neither texts nor symbols of it: it links the product, the product does not know it.
#[test]
fn the_program_has_nothing_of_the_wiring() {
    let (wiring, program) = (root().join("gateway/examples/conformance"), Path::new(env!("CARGO_BIN_EXE_cellspace")));
    for mark in MARKS {
        assert!(holds(&wiring, mark), "{mark} is not in the wiring any more: choose another mark");
        assert!(!holds(program, mark), "the program has {mark}, which is the wiring's");
    }
    // Symbols begin with the name of their crate and its length. What is there is found.
    assert!(holds(program, "9cellspace") && holds(program, "ContractRequestMessage"), "the program has no symbols");
    assert!(!holds(program, "11conformance"), "the program has symbols of the wiring");
}

/// A system under test that was started.
struct Served {
    process: Child,
    path: PathBuf,
    /// The suite's properties, as they are written.
    text: String,
}

impl Served {
    async fn start(suite: &str) -> Self {
        let mut process = tokio::process::Command::from(script("serve"))
            .arg(suite)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it starts").unwrap();
        let path = PathBuf::from(said.expect("it says where the properties are"));
        assert!(path.is_absolute(), "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        Self { process, path, text }
    }

    fn properties(&self) -> HashMap<&str, &str> {
        self.text.lines().map(|line| line.split_once('=').unwrap()).collect()
    }

    /// Ends it by SIGTERM, with all that belongs to it.
    async fn end(mut self) {
        let group = self.process.id().unwrap();
        assert!(Command::new("sh").args(["-c", &format!("kill -TERM {group}")]).status().unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("it ends").unwrap();
        assert!(ended.success(), "{ended}");
        assert!(!Command::new("sh").args(["-c", &format!("kill -0 -{group} 2>&-")]).status().unwrap().success(), "a child is left");
        assert!(!self.path.exists(), "{} is left", self.path.display());
    }
}

/// The last line is said when everything answers, to the suite's own authorization; SIGTERM ends all of it.
#[tokio::test]
async fn what_is_served_answers_and_ends() {
    let served = Served::start("dsp").await;
    let (text, properties) = (&served.text, served.properties());
    let of =
        |key: &str| *properties.get(format!("dataspacetck.dsp.connector.{key}").as_str()).unwrap_or_else(|| panic!("no {key}: {text}"));

    let http = Client::new();
    let call = async |method, url: String, authorization: Option<&str>, body: Option<Value>| {
        let mut request = http.request(method, url);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.unwrap()).await
    };
    let (url, authorization) = (of("http.url"), Some(of("http.headers.authorization")));
    let ask = json!({"@context": ["https://w3id.org/dspace/2025/1/context.jsonld"], "@type": "CatalogRequestMessage"});
    let catalog = async |authorization| call(Method::POST, format!("{url}/catalog/request"), authorization, Some(ask.clone())).await;
    let (status, shown) = catalog(authorization).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    let shown = |id: &str| shown["dataset"].as_array().unwrap().iter().any(|dataset| dataset["@id"] == id);
    assert_eq!((shown(properties["CAT_01_01_DATASETID"]), shown(properties["CAT_01_03_DATASETID"])), (true, false));
    // It is the product that is asked, with all its doors closed.
    for authorization in [None, Some("Bearer SOMEBODY")] {
        assert_eq!(catalog(authorization).await.0, StatusCode::UNAUTHORIZED, "{authorization:?}");
    }
    let versions = format!("{}/.well-known/dspace-version", of("http.base.url"));
    assert_eq!(call(Method::GET, versions, None, None).await.1["protocolVersions"][0]["version"], "2025-1");

    served.end().await;
}

/// Each role of the Decentralized Claims Protocol answers as a party that asks for proof, under the DID that the suite is told.
#[tokio::test]
async fn every_role_is_served_and_ends() {
    let http = Client::new();
    let document = async |did: &str| {
        let place = did.strip_prefix("did:web:").unwrap().replace(':', "/").replace("%3A", ":");
        read(http.get(format!("http://{place}/did.json")).send().await.unwrap()).await.1
    };
    let endpoint = |document: &Value, kind: &str| {
        let services = document["service"].as_array().unwrap_or_else(|| panic!("{document}"));
        let service = services.iter().find(|service| service["type"] == kind).unwrap_or_else(|| panic!("{document}"));
        service["serviceEndpoint"].as_str().unwrap().to_owned()
    };
    for (suite, role, service) in [
        ("dcp-holder", "holder", "CredentialService"),
        ("dcp-issuer", "issuer", "IssuerService"),
        ("dcp-verifier", "verifier", "CredentialService"),
    ] {
        let served = Served::start(suite).await;
        let properties = served.properties();
        let of = |key: &str| *properties.get(format!("dataspacetck.{key}").as_str()).unwrap_or_else(|| panic!("no {key}: {}", served.text));
        let document = document(of(&format!("did.{role}"))).await;
        let endpoint = endpoint(&document, service);
        assert_eq!(document["verificationMethod"][0]["publicKeyJwk"]["crv"], "P-256", "{document}");
        let bare = async |url: String| http.post(url).json(&json!({})).send().await.unwrap().status();
        match role {
            "holder" => {
                assert_eq!(bare(format!("{endpoint}/presentations/query")).await, StatusCode::UNAUTHORIZED);
                let token = async |secret: &str| {
                    let form = format!(
                        "grant_type=client_credentials&client_id={}&client_secret={secret}&audience=did:web:verifier",
                        of("sts.client.id")
                    );
                    let request = http.post(format!("{}/token", of("sts.url"))).header("content-type", "application/x-www-form-urlencoded");
                    request.body(form).send().await.unwrap().status()
                };
                assert_eq!((token(of("sts.client.secret")).await, token("guess").await), (StatusCode::OK, StatusCode::UNAUTHORIZED));
            }
            "issuer" => {
                assert_eq!(bare(format!("{endpoint}/credentials")).await, StatusCode::UNAUTHORIZED);
                let metadata = read(http.get(format!("{endpoint}/metadata")).send().await.unwrap()).await.1;
                let profiles: Vec<&Value> = metadata["credentialsSupported"].as_array().unwrap().iter().map(|it| &it["profile"]).collect();
                assert_eq!(profiles, ["vc11-sl2021/jwt"; 2]);
            }
            _ => assert_eq!(bare(of("vpp.trigger.endpoint").to_owned()).await, StatusCode::UNAUTHORIZED),
        }
        served.end().await;
    }
}

fn is_there(tool: &str) -> bool {
    Command::new(tool).arg("-version").output().is_ok()
}

/// A line per test, and at last the count; only what was asked for.
#[test]
fn a_run_counts_its_tests() {
    if !(is_there("javac") && is_there("mvn")) {
        return cellspace_storage::testkit::services::skipped("Java", "conformance::a_run_counts_its_tests", "and Maven");
    }
    for (suite, times, tests, passed) in
        [("dsp", "2", "^(MET:|CAT:01-02)", 4), ("dcp-holder", "1", "(5\\.2|6\\.6\\.1) .*(discovery|should accept)", 3)]
    {
        let run = script("run").args([suite, "--times", times, "--match", tests]).output().unwrap();
        let (said, complaint) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{said}{complaint}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.last(), Some(&format!("{passed} passed, 0 failed").as_str()), "{said}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("PASS ")).count(), passed, "{said}");
        // What was sent and answered in each run was held against the schemas.
        let judged = lines.iter().filter(|line| line.contains(" are as the official schemas say ") && line.ends_with(", 0 are not"));
        assert_eq!(judged.count(), if suite == "dsp" { 2 } else { 0 }, "{said}");
    }
}

#[test]
fn unknown_suites_and_options_are_refused() {
    for (name, arguments) in [("run", &["dsx"][..]), ("run", &["dsp", "--times", "0"]), ("run", &[]), ("serve", &["dsx"]), ("serve", &[])] {
        let ended = script(name).args(arguments).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{name} {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{name} {arguments:?}");
    }
}
