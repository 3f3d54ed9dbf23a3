//! The federated catalog over real sockets: who is shown what of which target, how fresh that is, and what becomes of it.

use crate::{
    stage::{Stage, context, did, dsp},
    support::PATIENCE,
};
use bytes::Bytes;
use cellspace_actors::federated_catalog::{Crawl, CrawlKey, CrawlOptions, FederatedCatalog, MAX_PAGES, State, address};
use cellspace_client::{
    Client,
    provider::{self, DATA_SET, FILE},
    sharing::PROFILE,
    source,
    tenants::{self, Participant},
};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// So that a test need not wait for a deadline.
const SOON: CrawlOptions = CrawlOptions {
    refresh: Duration::from_millis(200),
    first_retry: Duration::from_millis(100),
    longest_retry: Duration::from_millis(200),
};
const MANAGEMENT: &str = "/api/mgmt/v5beta";

struct Answer {
    status: StatusCode,
    total: Option<String>,
    next: Option<String>,
    body: Value,
}

impl Answer {
    fn catalogs(&self) -> &[Value] {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body.as_array().unwrap()
    }
}

impl Stage {
    /// What a participant sees.
    async fn catalogs(&self, who: &Participant, url: &str, query: Value) -> Answer {
        let url = format!("{}{}{url}", self.client.admin, who.path("catalogs/request"));
        let request = self.client.http.post(url).bearer_auth(&who.caller.token).json(&Client::typed("QuerySpec", query));
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, total, next) = (response.status(), header("x-total-count"), header("link"));
        Answer { status, total, next, body: response.json().await.unwrap() }
    }

    /// Waits until the crawl of a target stands like this.
    async fn crawl(&self, crawler: &Participant, target: &Participant, stands: impl Fn(&Crawl) -> bool) -> Arc<Crawl> {
        let (address, key) = (address(&context(crawler)), CrawlKey { target: did(target), profile: PROFILE.parse().unwrap() });
        let found = self
            .node()
            .app
            .services
            .cluster
            .wait::<FederatedCatalog, _>(&address, PATIENCE, |state| state.crawls.get(&key).filter(|crawl| stands(crawl)).cloned());
        found.await.unwrap().unwrap_or_else(|| panic!("the crawl of {} by {} does not come there", target.did, crawler.did))
    }

    /// How many crawls a participant has.
    async fn crawls(&self, who: &Participant) -> usize {
        let address = address(&context(who));
        self.node().app.services.cluster.read::<FederatedCatalog, _>(&address, |state| state.crawls.size()).await.unwrap_or_default()
    }

    /// Waits until the participant neither names nor crawls anything.
    async fn forgotten(&self, who: &Participant) {
        let (address, cluster) = (address(&context(who)), &self.node().app.services.cluster);
        let nothing = |state: &State| (state.crawls.is_empty() && state.targets.is_empty()).then_some(());
        assert_eq!(cluster.wait::<FederatedCatalog, _>(&address, PATIENCE, nothing).await.unwrap(), Some(()), "of {}", who.did);
    }

    /// Waits for the views of these targets, and asks for them.
    async fn federated(&self, who: &Participant, crawler: &Participant, targets: &[&Participant]) -> Vec<Value> {
        self.catalogs(who, "", json!({})).await;
        for target in targets {
            self.crawl(crawler, target, |crawl| crawl.seen.is_some()).await;
        }
        let answer = self.catalogs(who, "", json!({})).await;
        let catalogs = answer.catalogs();
        assert_eq!(catalogs.len(), targets.len(), "{catalogs:?}");
        targets.iter().map(|target| catalogs.iter().find(|one| one["crawl"]["target"] == target.did).unwrap().clone()).collect()
    }

    /// Makes the participants targets for everybody.
    async fn common_targets(&self, targets: &[&Participant]) {
        for target in targets {
            let node = Client::typed("TargetNode", json!({"@id": target.did, "name": "a provider"}));
            self.base.must(Method::POST, &format!("{MANAGEMENT}/targetnodes"), Some(node)).await;
        }
    }

    async fn second_provider(&mut self) -> Participant {
        let host = self.node().urls.did_host();
        let second = tenants::onboard(&mut self.client, &self.platform, "second", &host, true).await.unwrap();
        let data = source::serve().await.unwrap();
        provider::offer(&mut self.client, &second, &format!("http://{data}")).await.unwrap();
        second
    }

    async fn provides(&self, path: &str, kind: &str, body: Value) {
        let answer = self.manage(&self.provider, Method::POST, path, Some(Client::typed(kind, body))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// Datasets with the number of their offers.
fn offered(catalog: &Value) -> Vec<(String, usize)> {
    let offers = |dataset: &Value| dataset["hasPolicy"].as_array().unwrap().len();
    let datasets = catalog["dataset"].as_array().unwrap_or_else(|| panic!("{catalog}"));
    let mut found: Vec<_> = datasets.iter().map(|dataset| (dataset["@id"].as_str().unwrap().to_owned(), offers(dataset))).collect();
    found.sort();
    found
}

fn of(datasets: &[(&str, usize)]) -> Vec<(String, usize)> {
    datasets.iter().map(|(id, offers)| ((*id).to_owned(), *offers)).collect()
}

#[tokio::test]
async fn everybody_sees_what_each_target_shows_them() {
    let mut s = Stage::with(|config| config.crawls = SOON).await;
    let second = s.second_provider().await;
    let (makers, members) = (of(&[(DATA_SET, 2), (FILE, 1)]), of(&[(DATA_SET, 1), (FILE, 1)]));
    assert_eq!(s.catalogs(&s.consumer, "", json!({})).await.body, json!([]), "nobody is looked at");
    s.common_targets(&[&s.provider, &second]).await;
    for (who, expected) in [(&s.consumer, &makers), (&s.third, &members)] {
        for (catalog, target) in s.federated(who, who, &[&s.provider, &second]).await.iter().zip([&s.provider, &second]) {
            assert_eq!((offered(catalog), &catalog["participantId"]), (expected.clone(), &json!(target.did)), "{}", who.did);
            assert_eq!((&catalog["originator"], &catalog["crawl"]["profile"]), (&json!(target.dsp), &json!(PROFILE)));
            let crawl = &catalog["crawl"];
            assert!(crawl["age"].as_u64().unwrap() < 60 && crawl["seenAt"].is_i64() && crawl["error"].is_null(), "{crawl}");
        }
        assert_eq!(s.crawls(who).await, 2, "each for itself");
    }
    // The provider itself is not among what it sees.
    assert_eq!(s.federated(&s.provider, &s.provider, &[&second]).await.len(), 1);

    // A change shows at the next deadline, at the one who made it alone.
    let before = s.crawl(&s.third, &s.provider, |_| true).await.seen.clone().unwrap().digest;
    assert_eq!(s.manage(&s.provider, Method::DELETE, "contractdefinitions/open", None).await.status, 204);
    s.crawl(&s.third, &s.provider, |crawl| crawl.seen.as_ref().is_some_and(|seen| seen.digest != before)).await;
    let changed = s.federated(&s.third, &s.third, &[&s.provider, &second]).await;
    assert_eq!((offered(&changed[0]), offered(&changed[1])), (of(&[(FILE, 1)]), members));

    // Queries are about catalogs.
    let by = |operand: &str, operator: &str, right: &str| json!({"filterExpression": [{"@type": "Criterion", "operandLeft": operand, "operator": operator, "operandRight": right}]});
    for (query, found) in [
        (by("participantId", "=", &second.did), vec![&second]),
        (by("dataset.@id", "=", DATA_SET), vec![&second]),
        (by("crawl.target", "=", "did:web:nobody"), vec![]),
        (json!({"sortField": "participantId", "sortOrder": "DESC"}), vec![&second, &s.provider]),
        (json!({"sortField": "participantId", "offset": 1}), vec![&second]),
    ] {
        let answer = s.catalogs(&s.third, "", query.clone()).await;
        let found: Vec<&str> = found.iter().map(|one| one.did.as_str()).collect();
        let seen: Vec<&str> = answer.catalogs().iter().map(|one| one["participantId"].as_str().unwrap()).collect();
        assert_eq!(seen, found, "{query}");
    }
    let first = s.catalogs(&s.third, "", json!({"limit": 1})).await;
    assert_eq!((first.catalogs().len(), first.total.as_deref()), (1, Some("2")));
    let link = first.next.as_ref().unwrap();
    let cursor = link.split(['?', '>']).nth(1).unwrap();
    let rest = s.catalogs(&s.third, &format!("?{cursor}"), json!({"limit": 1})).await;
    assert_eq!((rest.catalogs().len(), &rest.next), (1, &None), "{link}");
    assert_ne!(rest.body[0]["participantId"], first.body[0]["participantId"]);
    for (url, path) in [("?flatten=maybe", "?flatten"), ("?cursor=x", "?cursor")] {
        let wrong = s.catalogs(&s.third, url, json!({})).await;
        assert_eq!((wrong.status, &wrong.body[0]["path"]), (StatusCode::BAD_REQUEST, &json!(path)), "{}", wrong.body);
    }
    let wrong = s.catalogs(&s.third, "", json!({"limit": 0})).await;
    assert_eq!((wrong.status, &wrong.body[0]["path"]), (StatusCode::BAD_REQUEST, &json!("$.limit")));
    s.close().await;
}

#[tokio::test]
async fn a_target_that_fails_leaves_its_last_view() {
    let mut s = Stage::with(|config| config.crawls = SOON).await;
    let second = s.second_provider().await;
    s.common_targets(&[&s.provider, &second]).await;
    let before = s.federated(&s.consumer, &s.consumer, &[&s.provider, &second]).await;
    let switch = async |state: &str| {
        let body = Client::typed("ParticipantContext", json!({"identity": second.did, "state": state, "properties": {}}));
        s.base.must(Method::PUT, &format!("{MANAGEMENT}/participants/{}", second.context), Some(body)).await;
    };
    switch("DEACTIVATED").await;
    let failed = s.crawl(&s.consumer, &second, |crawl| crawl.failures > 1).await;
    let seen = failed.seen.as_ref().unwrap();
    let after = s.federated(&s.consumer, &s.consumer, &[&s.provider, &second]).await;
    let crawl = &after[1]["crawl"];
    assert_eq!((offered(&after[1]), &crawl["seenAt"]), (offered(&before[1]), &json!(seen.at.millis())));
    assert!(crawl["error"].as_str().unwrap().contains("404") && crawl["failures"].as_u64().unwrap() > 1, "{crawl}");
    assert!(after[0]["crawl"]["error"].is_null(), "{}", after[0]["crawl"]);
    // What was never seen is said to be so.
    let nobody = json!({"@id": "did:web:localhost%3A1:nobody", "supportedProtocols": [PROFILE]});
    assert_eq!(s.manage(&s.third, Method::POST, "targetnodes", Some(Client::typed("TargetNode", nobody))).await.status, 200);
    let answer = s.catalogs(&s.third, "", json!({})).await;
    let nobody = answer.catalogs().iter().find(|one| one["participantId"] == "did:web:localhost%3A1:nobody").unwrap();
    assert_eq!((&nobody["dataset"], &nobody["crawl"]["seenAt"]), (&json!([]), &Value::Null));
    assert!(nobody["crawl"]["error"].as_str().unwrap().contains("cannot be fetched"), "{nobody}");

    // Back again, it is seen again.
    switch("ACTIVATED").await;
    s.crawl(&s.consumer, &second, |crawl| crawl.failure.is_none()).await;
    switch("DEACTIVATED").await;
    let failed = s.crawl(&s.consumer, &second, |crawl| crawl.failure.is_some()).await;
    let seen = failed.seen.as_ref().unwrap();

    // A restart shows the last view with its age.
    let s = s.restarted().await;
    let again = s.federated(&s.consumer, &s.consumer, &[&s.provider, &second]).await;
    assert_eq!((offered(&again[1]), &again[1]["crawl"]["seenAt"]), (offered(&before[1]), &json!(seen.at.millis())));
    assert!(again[1]["crawl"]["error"].is_string(), "{}", again[1]["crawl"]);
    s.close().await;
}

#[tokio::test]
async fn one_participant_looks_for_all_of_a_profile() {
    let s = Stage::with(|config| config.crawls = SOON).await;
    let path = format!("{MANAGEMENT}/dataspaceprofiles");
    let mut profile = s.base.must(Method::GET, &format!("{path}/{PROFILE}"), None).await;
    profile["crawledBy"] = json!(s.consumer.context);
    s.base.must(Method::PUT, &path, Some(profile)).await;
    s.common_targets(&[&s.provider]).await;
    // The terms of one of them need a credential that the third has not got: to itself the provider would show it all the same.
    let filtered = s.federated(&s.third, &s.consumer, &[&s.provider]).await;
    assert_eq!(offered(&filtered[0]), of(&[(DATA_SET, 1)]));
    let whole = s.federated(&s.consumer, &s.consumer, &[&s.provider]).await;
    assert_eq!(offered(&whole[0]), of(&[(DATA_SET, 2), (FILE, 1)]));
    assert_eq!((s.crawls(&s.consumer).await, s.crawls(&s.third).await), (1, 0), "one look serves both");
    assert_eq!(filtered[0]["crawl"]["profile"], PROFILE);

    // Terms that nobody here knows are for the provider to judge.
    let riddle = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [{"leftOperand": "Unheard", "operator": "eq", "rightOperand": "x"}]}]});
    s.provides("policydefinitions", "PolicyDefinition", json!({"@id": "riddle", "policy": riddle})).await;
    let asset =
        json!({"@id": "riddle", "properties": {}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "properties": {"source": DATA_SET}}});
    s.provides("assets", "Asset", asset).await;
    let definition = json!({"@id": "riddle", "accessPolicyId": "requires-MembershipCredential", "contractPolicyId": "riddle",
        "assetsSelector": [{"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": "riddle"}]});
    let before = s.crawl(&s.consumer, &s.provider, |_| true).await.seen.clone().unwrap().digest;
    s.provides("contractdefinitions", "ContractDefinition", definition).await;
    s.crawl(&s.consumer, &s.provider, |crawl| crawl.seen.as_ref().is_some_and(|seen| seen.digest != before)).await;
    assert_eq!(offered(&s.federated(&s.third, &s.consumer, &[&s.provider]).await[0]), of(&[(DATA_SET, 1), ("riddle", 1)]));

    // What it names itself it looks at itself, and sees as itself.
    let own = Client::typed("TargetNode", json!({"@id": s.provider.did}));
    assert_eq!(s.manage(&s.third, Method::POST, "targetnodes", Some(own)).await.status, 200);
    let seen = s.federated(&s.third, &s.third, &[&s.provider]).await;
    assert_eq!(offered(&seen[0]), of(&[(DATA_SET, 1), (FILE, 1), ("riddle", 1)]));
    // Who is not in the profile sees nothing of it.
    let none = Client::typed("AssociateDataspaceProfile", json!({"profiles": []}));
    s.base.must(Method::PUT, &format!("{MANAGEMENT}/participants/{}/profiles", s.third.context), Some(none)).await;
    assert_eq!(s.catalogs(&s.third, "", json!({})).await.body, json!([]));
    s.close().await;
}

/// A provider that says of every page that another one follows: where its versions are told.
async fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let place = base.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let place = place.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let page: usize = request.uri().query().and_then(|query| query.strip_prefix("page=")?.parse().ok()).unwrap_or(0);
                let body = match request.uri().path() {
                    "/.well-known/dspace-version" => {
                        json!({"protocolVersions": [{"version": "2025-1", "path": "/net", "binding": "HTTPS"}]})
                    }
                    _ => dsp("Catalog", json!({"@id": "endless", "dataset": {"@id": format!("d{page}"), "@type": "Dataset"}})),
                };
                let next = format!("<{place}/net/catalog/request?page={}>; rel=\"next\"", page + 1);
                let answer = Response::builder().header("link", next).body(Full::new(Bytes::from(body.to_string()))).unwrap();
                async { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    base
}

#[tokio::test]
async fn a_target_without_end_is_cut_and_one_that_is_none_is_said_to_be_so() {
    let s = Stage::open().await;
    let node = |url: String| Client::typed("TargetNode", json!({"@id": s.provider.did, "url": url}));
    assert_eq!(s.manage(&s.consumer, Method::POST, "targetnodes", Some(node(endless().await))).await.status, 200);
    let catalog = s.federated(&s.consumer, &s.consumer, &[&s.provider]).await.remove(0);
    assert_eq!((&catalog["crawl"]["cut"], catalog["dataset"].as_array().unwrap().len()), (&json!(true), MAX_PAGES));
    // Named differently it is looked at anew, at once; what was seen stays meanwhile.
    assert_eq!(s.manage(&s.consumer, Method::PUT, "targetnodes", Some(node(s.node().urls.public("/keys")))).await.status, 204);
    s.catalogs(&s.consumer, "", json!({})).await;
    s.crawl(&s.consumer, &s.provider, |crawl| crawl.failure.is_some()).await;
    let catalog = s.federated(&s.consumer, &s.consumer, &[&s.provider]).await.remove(0);
    assert!(catalog["crawl"]["error"].is_string() && catalog["@id"] == "endless", "{}", catalog["crawl"]);
    s.close().await;
}

#[tokio::test]
async fn target_nodes_of_ones_own() {
    let s = Stage::with(|config| config.crawls = SOON).await;
    let manage = async |method: Method, path: &str, body: Option<Value>| {
        let answer = s.manage(&s.consumer, method, path, body.map(|body| Client::typed("TargetNode", body))).await;
        (answer.status, answer.body)
    };
    let id: String = url::form_urlencoded::byte_serialize(s.provider.did.as_bytes()).collect();
    let one = format!("targetnodes/{id}");
    assert_eq!(manage(Method::GET, &one, None).await.0, 404);
    assert_eq!(manage(Method::PUT, "targetnodes", Some(json!({"@id": s.provider.did}))).await.0, 404);
    assert_eq!(manage(Method::DELETE, &one, None).await.0, 404);
    for (wrong, path) in [
        (json!({}), "$.@id"),
        (json!({"@id": "provider"}), "$.@id"),
        (json!({"@id": s.provider.did, "url": "ftp://x.example"}), "$.url"),
        (json!({"@id": s.provider.did, "supportedProtocols": [7]}), "$.supportedProtocols"),
    ] {
        let (status, body) = manage(Method::POST, "targetnodes", Some(wrong.clone())).await;
        assert_eq!((status, &body[0]["path"]), (400, &json!(path)), "{wrong}: {body}");
    }
    // A catalog of many pages, and one within it.
    for n in 0..60 {
        let plane = json!({"@type": "DataplaneMetadata", "properties": {"source": DATA_SET}});
        let body = json!({"@id": format!("part-{n}"), "properties": {"kind": "part"}, "dataplaneMetadata": plane});
        s.provides("assets", "Asset", body).await;
    }
    let inner = json!({"@id": "inner", "properties": {"kind": "part", "endpointURL": "https://x.example/dsp", "format": "x"}});
    s.provides("assets", "CatalogAsset", inner).await;
    let definition = json!({"@id": "parts", "accessPolicyId": "requires-MembershipCredential", "contractPolicyId": "requires-MembershipCredential",
        "assetsSelector": [{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/kind", "operator": "=", "operandRight": "part"}]});
    s.provides("contractdefinitions", "ContractDefinition", definition).await;
    let node = json!({"@id": s.provider.did, "name": "parts", "url": s.node().urls.dsp_versions(&context(&s.provider))});
    assert_eq!(manage(Method::POST, "targetnodes", Some(node.clone())).await.0, 200);
    assert_eq!(manage(Method::POST, "targetnodes", Some(node)).await.0, 409);
    let catalog = s.federated(&s.consumer, &s.consumer, &[&s.provider]).await.remove(0);
    assert_eq!((catalog["dataset"].as_array().unwrap().len(), catalog["catalog"].as_array().unwrap().len()), (62, 1));
    assert_eq!((&catalog["crawl"]["name"], &catalog["crawl"]["cut"]), (&json!("parts"), &json!(false)));
    let flat = s.catalogs(&s.consumer, "?flatten=true", json!({})).await;
    assert_eq!((flat.catalogs()[0].get("catalog"), flat.body[0]["dataset"].as_array().unwrap().len()), (None, 62));

    assert_eq!(manage(Method::PUT, "targetnodes", Some(json!({"@id": s.provider.did, "supportedProtocols": ["other"]}))).await.0, 204);
    let (_, shown) = manage(Method::GET, &one, None).await;
    assert_eq!((&shown["supportedProtocols"], shown.get("name")), (&json!(["other"]), None));
    assert_eq!(s.catalogs(&s.consumer, "", json!({})).await.body, json!([]), "in another profile alone");
    let all = s.manage(&s.consumer, Method::POST, "targetnodes/request", Some(Client::typed("QuerySpec", json!({})))).await;
    assert_eq!(all.body.as_array().map(Vec::len), Some(1));
    assert_eq!(manage(Method::DELETE, &one, None).await.0, 204);
    assert_eq!(manage(Method::GET, &one, None).await.0, 404);
    s.forgotten(&s.consumer).await;
    // Named for all, it is not named by one any more either when an administrator takes it out.
    s.common_targets(&[&s.provider]).await;
    s.federated(&s.consumer, &s.consumer, &[&s.provider]).await;
    s.base.must(Method::DELETE, &format!("{MANAGEMENT}/{one}"), None).await;
    s.forgotten(&s.consumer).await;

    // Nothing stays of a participant that is gone.
    assert_eq!(manage(Method::POST, "targetnodes", Some(json!({"@id": s.provider.did}))).await.0, 200);
    s.federated(&s.consumer, &s.consumer, &[&s.provider]).await;
    s.base.must(Method::DELETE, &format!("{MANAGEMENT}/participants/{}", s.consumer.context), None).await;
    s.forgotten(&s.consumer).await;
    s.close().await;
}
