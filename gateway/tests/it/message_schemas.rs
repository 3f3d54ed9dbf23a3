//! Every request and answer of ours between participants over real HTTP, held against the official JSON schemas: the whole story of the demo, and what it does
//! not tell.
//!
//! A relay that is the platform's public address sees all of it, in both directions. What the tester sends itself, to be refused, is nobody's message;
//! the answers to it are ours.

use crate::{
    negotiating::{MANUFACTURER, MEMBER},
    stage::{Answer, DSP_CONTEXT, Stage, TESTER, contract_request, dsp},
    support::{Platform, text},
};
use anyhow::Result;
use bytes::Bytes;
use cellspace_actors::{
    ControlPlane,
    control_plane::transfer::{Act, Command},
    credential_service::CredentialService,
    trust,
};
use cellspace_client::{
    Caller, Client, Silent, operator,
    provider::{self, DATA_SET},
    sharing, source, story,
    tenants::{self, Participant},
};
use cellspace_cluster::{Address, Call};
use cellspace_schemas::Did;
use http::Request;
use parking_lot::Mutex;
use proxy::{Door, Proxy};
use reqwest::{Method, StatusCode, header};
use schemas::Judge;
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

#[path = "../../../schemas/tests/artifacts/mod.rs"]
mod artifacts;
mod dcp;
#[path = "../../examples/conformance/proxy.rs"]
mod proxy;
#[path = "../../examples/conformance/schemas.rs"]
mod schemas;

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
    let recorder = Arc::new(Recorder { platform: base.node.public_address(), proxy: Proxy::new().unwrap(), dsp, dcp });
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

/// Versions, and catalogs in pages, with nothing in them, with catalogs within, and with policies of all forms.
async fn catalogs(s: &Stage) {
    let own = async |path: &str, kind: &str, body: Value| {
        let made = s.manage(&s.provider, Method::POST, path, Some(Client::typed(kind, body))).await;
        assert_eq!(made.status, 200, "{}", made.body);
    };
    let metadata = json!({"@type": "DataplaneMetadata", "properties": {"source": DATA_SET}});
    let within = json!({"description": "elsewhere", "endpointURL": "https://other.example/dsp", "format": "catalog"});
    own("assets", "CatalogAsset", json!({"@id": "elsewhere", "properties": within})).await;
    own("assets", "Asset", json!({"@id": "described", "properties": {"n": 1, "kind": ["a", "b"]}, "dataplaneMetadata": metadata})).await;
    let member = json!({"leftOperand": MEMBER, "operator": "eq", "rightOperand": "active"});
    let until =
        json!({"leftOperand": "https://w3id.org/edc/v0.0.1/ns/inForceDate", "operator": "lteq", "rightOperand": "contractAgreement+7d"});
    // Numbers and truth values have no meaning by themselves: somebody says what they are compared with.
    let meaning = |operand: &str, wanted: &str| {
        let expression = format!("this.rightOperand == {wanted}");
        Client::typed("CelExpression", json!({"@id": operand, "leftOperand": operand, "expression": expression, "description": "x"}))
    };
    let plain = |operand: &str, right: Value| json!({"leftOperand": operand, "operator": "eq", "rightOperand": right});
    for (operand, wanted) in [("level", "5"), ("share", "0.5"), ("audited", "true")] {
        s.base.must(Method::POST, "/api/mgmt/v5beta/celexpressions", Some(meaning(operand, wanted))).await;
    }
    let numbers = json!({"and": [plain("level", json!(5)), plain("share", json!(0.5)), plain("audited", json!(true))]});
    let either = json!({"or": [member, {"and": [member, until]}, numbers]});
    let policy = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [either, {"xone": [member]}], "duty": [{"action": "use", "constraint": [member]}]}],
        "prohibition": [{"action": "http://www.w3.org/ns/odrl/2/sell"}], "obligation": [{"action": "use"}]});
    own("policydefinitions", "PolicyDefinition", json!({"@id": "of-all-forms", "policy": policy})).await;
    let selected =
        |id: &str| json!([{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": id}]);
    for (id, asset) in [("elsewhere", "elsewhere"), ("described", "described")] {
        let access = format!("requires-{MEMBER}");
        own(
            "contractdefinitions",
            "ContractDefinition",
            json!({"@id": id, "accessPolicyId": access, "contractPolicyId": "of-all-forms", "assetsSelector": selected(asset)}),
        )
        .await;
    }
    let peer = json!({"counterPartyAddress": s.provider.dsp, "counterPartyId": s.provider.did});
    let ask = async |path: &str, kind: &str, more: Value| {
        let mut body = peer.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = s.manage(&s.consumer, Method::POST, path, Some(Client::typed(kind, body))).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    };
    let discovery = Client::typed("DiscoveryRequest", json!({"counterPartyId": s.provider.did}));
    let found = s.manage(&s.consumer, Method::POST, "discover/request", Some(discovery)).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let whole = ask(
        "catalog/request",
        "CatalogRequest",
        json!({"additionalScopes": ["org.eclipse.dspace.dcp.vc.type:ManufacturerCredential:read"]}),
    )
    .await;
    assert!(whole["dataset"].as_array().is_some_and(|all| all.len() == 3) && whole["catalog"].is_array(), "{whole}");
    // Our own clients see them as they were written.
    let shown = ask("catalog/dataset/request", "DatasetRequest", json!({"@id": "described"})).await;
    assert_eq!(shown["hasPolicy"][0]["permission"][0]["constraint"][0]["or"][2], numbers, "{shown}");
    let page = ask("catalog/request", "CatalogRequest", json!({"querySpec": {"@type": "QuerySpec", "offset": 0, "limit": 1}})).await;
    assert_eq!(page["dataset"].as_array().map(Vec::len), Some(1), "{page}");
    let nothing = json!([{"@type": "Criterion", "operandLeft": "n", "operator": "=", "operandRight": "nowhere"}]);
    let empty = ask("catalog/request", "CatalogRequest", json!({"querySpec": {"@type": "QuerySpec", "filterExpression": nothing}})).await;
    assert!(empty["dataset"].as_array().is_none_or(Vec::is_empty), "{empty}");
    // The pages after the first are asked for where its links say.
    let filter = json!([{"@type": "QuerySpec", "offset": 0, "limit": 1}]);
    let request = dsp("CatalogRequestMessage", json!({ "filter": filter }));
    let first = s.message(&s.consumer, &s.provider, "/catalog/request", &request).await;
    let link = first.link.unwrap();
    let next = link.split(['<', '>']).nth(1).unwrap().strip_prefix(&s.provider.dsp).unwrap();
    assert_eq!(s.message(&s.consumer, &s.provider, next, &request).await.status, StatusCode::OK);
}

/// Begun by each side, with counter-offers, to an agreement and to an end by each side; those that are refused.
async fn negotiations(s: &mut Stage) {
    let (theirs, ours) = s.offered(&s.consumer, &s.terms("first", &[MEMBER, MANUFACTURER])).await;
    s.does(&s.consumer, &ours, "request", Some(s.terms("second", &[]))).await;
    s.reached(&s.provider, &theirs, "REQUESTED").await;
    s.does(&s.provider, &theirs, "offer", Some(s.terms("third", &[MEMBER]))).await;
    s.reached(&s.consumer, &ours, "OFFERED").await;
    s.does(&s.consumer, &ours, "accept", None).await;
    s.agreed(&theirs, &ours, &s.terms("third", &[MEMBER])).await;
    assert_eq!(s.look(&s.consumer, &s.provider, &format!("/negotiations/{theirs}")).await.status, StatusCode::OK);
    assert_eq!(s.look(&s.provider, &s.consumer, &format!("/negotiations/{ours}")).await.status, StatusCode::OK);
    let mut numbers = s.terms("numbers", &[]);
    numbers["permission"][0]["constraint"] = json!([{"leftOperand": "level", "operator": "eq", "rightOperand": 5},
        {"leftOperand": "audited", "operator": "eq", "rightOperand": true}]);
    let (theirs, ours) = s.offered(&s.consumer, &numbers).await;
    s.does(&s.consumer, &ours, "accept", None).await;
    s.agreed(&theirs, &ours, &numbers).await;
    let over = || Some(Client::typed("TerminateNegotiation", json!({"reason": "over"})));
    for by_provider in [true, false] {
        let (theirs, ours) = s.offered(&s.consumer, &s.terms("first", &[])).await;
        let (who, id) = if by_provider { (&s.provider, &theirs) } else { (&s.consumer, &ours) };
        s.does(who, id, "terminate", over()).await;
        s.reached(&s.provider, &theirs, "TERMINATED").await;
        s.reached(&s.consumer, &ours, "TERMINATED").await;
    }
    // Accepted without what is required; refused at once.
    let (theirs, ours) = s.offered(&s.third, &s.terms("first", &[MANUFACTURER])).await;
    s.does(&s.third, &ours, "accept", None).await;
    s.reached(&s.provider, &theirs, "TERMINATED").await;
    let offers = s.offers(&s.third).await;
    let restricted = offers.iter().find(|offer| offer.policy.to_string().contains(MANUFACTURER)).unwrap().clone();
    let made_up = sharing::Offer { id: format!("{}x", restricted.id), ..restricted.clone() };
    for offer in [restricted, made_up] {
        sharing::negotiate(&mut s.client, &s.third, &s.provider, &offer, "TERMINATED").await.unwrap();
    }
}

/// Suspended and resumed by each side; completed, and terminated by each side.
async fn transfers(s: &mut Stage) {
    let offer = s.offers(&s.consumer).await.into_iter().find(|offer| offer.asset == DATA_SET).unwrap();
    let (_, _, agreement) = s.agreement(&offer).await;
    for (round, end) in ["completed", "provider", "consumer"].into_iter().enumerate() {
        let pull = sharing::start_pull(&mut s.client, &s.consumer, &s.provider, &agreement).await.unwrap();
        let found = s.manage(&s.provider, Method::POST, "transferprocesses/request", Some(sharing::counterpart(&pull.transfer))).await.body;
        let (theirs, ours) = (text(&found[0], "@id"), pull.transfer);
        let both = [(&s.provider, &theirs), (&s.consumer, &ours)];
        let reached = async |wanted: &str| {
            for (who, id) in both {
                let path = format!("transferprocesses/{id}/state?wait={wanted}&timeout=20s");
                assert_eq!(s.manage(who, Method::GET, &path, None).await.body["state"], wanted);
            }
        };
        let act = async |(who, id): (&Participant, &String), what: &str, kind: &str| {
            let body = (!kind.is_empty()).then(|| Client::typed(kind, json!({"reason": "maintenance"})));
            let done = s.manage(who, Method::POST, &format!("transferprocesses/{id}/{what}"), body).await;
            assert_eq!(done.status, 204, "{what}: {}", done.body);
        };
        if round == 0 {
            for side in both {
                act(side, "suspend", "SuspendTransfer").await;
                reached("SUSPENDED").await;
                act(side, "resume", "").await;
                reached("STARTED").await;
            }
            assert_eq!(s.look(&s.consumer, &s.provider, &format!("/transfers/{theirs}")).await.status, StatusCode::OK);
            assert_eq!(s.look(&s.provider, &s.consumer, &format!("/transfers/{ours}")).await.status, StatusCode::OK);
        }
        match end {
            "completed" => {
                // A step of the participant itself, as its data plane takes it.
                let address = Address::of::<ControlPlane>(&crate::stage::context(&s.provider));
                let command = Command::Act { id: theirs.parse().unwrap(), act: Act::Complete };
                s.node().app.services.cluster.ask::<ControlPlane>(&address, command.into(), Call::by("test")).await.unwrap();
                reached("COMPLETED").await;
            }
            end => {
                act(both[usize::from(end == "consumer")], "terminate", "TerminateTransfer").await;
                reached("TERMINATED").await;
            }
        }
    }
}

/// A data plane that pushes: where it takes data, and that it has begun to send them.
struct Pushing {
    base: String,
}

impl Door for Pushing {
    async fn answer(&self, request: Request<Bytes>) -> Result<proxy::Answer> {
        let property = |name: &str, value: &str| json!({"@type": "EndpointProperty", "name": name, "value": value});
        let address = json!({"@type": "DataAddress", "endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": format!("{}/sink", self.base),
            "endpointProperties": [property("authorization", "a"), property("authType", "bearer")]});
        let told = match request.uri().path() {
            "/token" => json!({"access_token": "t", "token_type": "Bearer"}),
            "/flows/prepare" => json!({"state": "PREPARED", "dataAddress": address}),
            "/flows/start" => json!({"state": "STARTED"}),
            _ => json!({}),
        };
        Ok(proxy::plain(http::StatusCode::OK, told.to_string()))
    }
}

/// A transfer whose data go where the consumer's data plane takes them.
async fn push(s: &mut Stage) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(proxy::serve(Arc::new(Pushing { base: base.clone() }), listener, true));
    let authorization = json!({"type": "oauth2_client_credentials", "tokenEndpoint": format!("{base}/token"), "clientId": "cp", "clientSecret": "s",
        "jwksUri": format!("{base}/jwks")});
    let plane = json!({"dataplaneId": "pushing", "endpoint": format!("{base}/flows"), "profiles": ["HttpData-PUSH"], "authorization": authorization});
    for who in [&s.provider, &s.consumer] {
        let made = s.manage(who, Method::PUT, "dataplanes", Some(plane.clone())).await;
        assert_eq!(made.status, 200, "{}", made.body);
    }
    let asset =
        json!({"@id": "pushed", "properties": {}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "profiles": ["HttpData-PUSH"]}});
    let policy = format!("requires-{MEMBER}");
    let selected =
        json!([{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": "pushed"}]);
    let definition = json!({"@id": "pushed", "accessPolicyId": policy, "contractPolicyId": policy, "assetsSelector": selected});
    for (path, kind, body) in [("assets", "Asset", asset), ("contractdefinitions", "ContractDefinition", definition)] {
        let made = s.manage(&s.provider, Method::POST, path, Some(Client::typed(kind, body))).await;
        assert_eq!(made.status, 200, "{}", made.body);
    }
    let offer = s.offers(&s.consumer).await.into_iter().find(|offer| offer.asset == "pushed").unwrap();
    let (_, _, agreement) = s.agreement(&offer).await;
    let mut request = sharing::transfer_request(&s.provider, &agreement);
    request["transferType"] = json!("HttpData-PUSH");
    let begun = s.manage(&s.consumer, Method::POST, "transferprocesses", Some(request)).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let path = format!("transferprocesses/{}/state?wait=STARTED&timeout=20s", text(&begun.body, "@id"));
    let state = s.manage(&s.consumer, Method::GET, &path, None).await.body;
    let whole = s.manage(&s.consumer, Method::GET, &format!("transferprocesses/{}", text(&begun.body, "@id")), None).await.body;
    assert_eq!(state["state"], "STARTED", "{whole}");
}

/// What of DCP nobody asks for by itself: an offer, the metadata of an issuer, the status of a request.
async fn claims(s: &Stage) {
    let services = &s.node().app.services;
    let issuer = &s.platform;
    let offer = json!({"holderId": s.consumer.did, "credentials": ["membership-credential-def"]});
    let path = format!("/api/issuer/admin/participants/{}/credentials/offer", issuer.issuer_context);
    let offered = s.client.exchange(Some(&issuer.issuer), Method::POST, &path, Some(&offer)).await.unwrap();
    assert_eq!(offered.status, 204, "{}", offered.body);
    let holder = crate::stage::context(&s.consumer);
    let address = Address::of::<CredentialService>(&holder);
    let wait = Duration::from_secs(20);
    let kept = |state: &cellspace_actors::credential_service::State| (!state.offers.is_empty()).then_some(());
    services.cluster.wait::<CredentialService, _>(&address, wait, kept).await.unwrap().unwrap();
    let pid = |state: &cellspace_actors::credential_service::State| state.requests.values().find_map(|request| request.issuer_pid.clone());
    let pid = services.cluster.read::<CredentialService, _>(&address, pid).await.unwrap().unwrap();
    let token = trust::self_issued_token(services, &holder, &Did::new(&issuer.issuer_did).unwrap(), &[]).await.unwrap();
    let base = services.urls.issuer_service(&issuer.issuer_context.parse().unwrap());
    for url in [format!("{base}/requests/{pid}"), format!("{base}/metadata")] {
        let answer = s.client.http.get(url).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

/// 400, 401, 404 and 409, as each protocol has them.
async fn errors(s: &Stage) {
    let is = |answer: &Answer, status: u16, kind: &str| {
        assert_eq!((answer.status.as_u16(), answer.body["@type"].as_str()), (status, Some(kind)), "{}", answer.text);
    };
    let nobody = "urn:uuid:nobody";
    let pids = json!({"consumerPid": nobody, "providerPid": nobody});
    for (path, of, kind, error) in [
        ("/catalog/request", "/catalog/datasets/nowhere", "CatalogRequestMessage", "CatalogError"),
        ("/negotiations/request", "/negotiations/nowhere", "ContractRequestMessage", "ContractNegotiationError"),
        ("/transfers/request", "/transfers/nowhere", "TransferRequestMessage", "TransferError"),
    ] {
        is(&s.send(None, Method::POST, &s.provider, path, Some(&dsp(kind, pids.clone()))).await, 401, error);
        is(&s.send(Some("rubbish"), Method::GET, &s.provider, of, None).await, 401, error);
        is(&s.message(&s.consumer, &s.provider, path, &json!({"@type": kind})).await, 400, error);
        is(&s.message(&s.consumer, &s.provider, path, &json!([])).await, 400, error);
        is(&s.look(&s.consumer, &s.provider, of).await, 404, error);
    }
    for (path, kind, error) in [
        ("/negotiations/nowhere/termination", "ContractNegotiationTerminationMessage", "ContractNegotiationError"),
        ("/transfers/nowhere/termination", "TransferTerminationMessage", "TransferError"),
    ] {
        is(&s.message(&s.consumer, &s.provider, path, &dsp(kind, pids.clone())).await, 404, error);
    }
    let (sink, mut taken) = crate::stage::callback().await;
    let offers = s.offers(&s.consumer).await;
    let of_data: Vec<&sharing::Offer> = offers.iter().filter(|offer| offer.asset == DATA_SET).collect();
    let first = contract_request("urn:uuid:twice", &sink, of_data[0], &s.provider.did);
    let begun = s.message(&s.consumer, &s.provider, "/negotiations/request", &first).await;
    is(&begun, 201, "ContractNegotiation");
    let (_, agreed) = taken.recv().await.unwrap();
    let other = contract_request("urn:uuid:twice", &sink, of_data[1], &s.provider.did);
    is(&s.message(&s.consumer, &s.provider, "/negotiations/request", &other).await, 409, "ContractNegotiationError");
    // Out of turn.
    let pid = text(&begun.body, "providerPid");
    let own = json!({"consumerPid": "urn:uuid:twice", "providerPid": pid, "eventType": "ACCEPTED"});
    let early =
        s.message(&s.consumer, &s.provider, &format!("/negotiations/{pid}/events"), &dsp("ContractNegotiationEventMessage", own)).await;
    is(&early, 400, "ContractNegotiationError");
    let verification = dsp("ContractAgreementVerificationMessage", json!({"consumerPid": "urn:uuid:twice", "providerPid": pid}));
    is(
        &s.message(&s.consumer, &s.provider, &format!("/negotiations/{pid}/agreement/verification"), &verification).await,
        200,
        "ContractNegotiation",
    );
    assert_eq!(taken.recv().await.unwrap().1["eventType"], "FINALIZED");
    let agreement = text(&agreed["agreement"], "@id");
    s.reached(&s.provider, &pid, "FINALIZED").await;
    let transfer = |format: &str| {
        dsp(
            "TransferRequestMessage",
            json!({"consumerPid": "urn:uuid:twice", "agreementId": agreement, "format": format, "callbackAddress": sink}),
        )
    };
    let begun = s.message(&s.consumer, &s.provider, "/transfers/request", &transfer("HttpData-PULL")).await;
    is(&begun, 201, "TransferProcess");
    is(&s.message(&s.consumer, &s.provider, "/transfers/request", &transfer("Other")).await, 409, "TransferError");
    // No participant: nothing that any of them serves.
    let nowhere = s.provider.dsp.replace(&s.provider.context, "nobody");
    let (place, _) = nowhere.rsplit_once('/').unwrap();
    let versions = s.client.http.get(format!("{place}/.well-known/dspace-version")).send().await.unwrap();
    assert_eq!(versions.status(), StatusCode::NOT_FOUND);
}
