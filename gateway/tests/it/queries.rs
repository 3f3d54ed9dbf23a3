//! Queries of the Management API over HTTP: filters, sorting, pages, and what is refused.

use crate::{
    management::{MANAGEMENT, body, context},
    support::{DRAIN, Platform},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A page: ids, how many there are in all, the cursor of the next one.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    ids: Vec<String>,
    total: Option<usize>,
    next: Option<String>,
}

impl Platform {
    async fn page(&self, path: &str, query: Value) -> Result<Page, Value> {
        let answer = self.admin(Method::POST, &format!("{MANAGEMENT}{path}")).json(&body("QuerySpec", query)).send().await.unwrap();
        let status = answer.status();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let total = header("x-total-count").map(|total| total.parse().unwrap());
        let next = header("link").map(|link| {
            let (path_of, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
            assert_eq!(rest, "; rel=\"next\"");
            path_of.strip_prefix(MANAGEMENT).unwrap().to_owned()
        });
        let found: Value = answer.json().await.unwrap();
        if status != StatusCode::OK {
            assert_eq!(status, StatusCode::BAD_REQUEST, "{found}");
            return Err(found);
        }
        let id = |one: &Value| one["@id"].as_str().or_else(|| one["name"].as_str()).unwrap().to_owned();
        Ok(Page { ids: found.as_array().unwrap().iter().map(id).collect(), total, next })
    }

    async fn ids(&self, path: &str, query: Value) -> String {
        self.page(path, query).await.unwrap().ids.join(" ")
    }
}

fn criterion(left: &str, operator: &str, right: Value) -> Value {
    json!({"@type": "Criterion", "operandLeft": left, "operator": operator, "operandRight": right})
}

#[tokio::test]
async fn assets_are_found_sorted_and_paged() {
    let p = Platform::temporary(|_| {}).await;
    p.must(Method::POST, &format!("{MANAGEMENT}/participants"), Some(context(&p, "acme", json!({"@id": "acme"})))).await;
    let assets = "/participants/acme/assets";
    let make = async |id: &str, properties: Value, private: Value| {
        let asset = body("Asset", json!({"@id": id, "properties": properties, "privateProperties": private}));
        p.must(Method::POST, &format!("{MANAGEMENT}{assets}"), Some(asset)).await;
    };
    for (n, name) in ["e", "b", "d", "a", "c"].into_iter().enumerate() {
        make(name, json!({"rank": n, "https://ex.org/team": if n % 2 == 0 { "Red" } else { "blue" }}), json!({"https://ex.org/p": [n]}))
            .await;
    }
    let path = format!("{assets}/request");
    for (left, operator, right, expected) in [
        ("id", "=", json!("a"), "a"),
        ("https://w3id.org/edc/v0.0.1/ns/id", "IN", json!(["a", "e", "x"]), "a e"),
        ("id", "NOT in", json!(["a", "e"]), "b c d"),
        ("https://ex.org/team", "!=", json!("Red"), "a b"),
        ("properties.'https://ex.org/team'", "like", json!("R%"), "c d e"),
        ("'https://ex.org/team'", "iLike", json!("b__E"), "a b"),
        ("https://ex.org/team", "contains", json!("lu"), "a b"),
        ("rank", "<", json!(2), "b e"),
        ("properties.rank", "<=", json!(2), "b d e"),
        ("rank", ">", json!(3), "c"),
        ("rank", ">=", json!(3), "a c"),
        ("privateProperties.'https://ex.org/p'", "=", json!(3), "a"),
        ("participantContextId", "=", json!("other"), ""),
        ("participantContextId", "=", json!("acme"), "a b c d e"),
        ("nothing.at.all", "=", json!(1), ""),
    ] {
        assert_eq!(
            p.ids(&path, json!({"filterExpression": [criterion(left, operator, right.clone())]})).await,
            expected,
            "{left} {operator} {right}"
        );
    }
    let both = [criterion("rank", ">", json!(0)), criterion("https://ex.org/team", "=", json!("Red"))];
    assert_eq!(p.ids(&path, json!({"filterExpression": both})).await, "c d");
    let named = [criterion("https://ex.org/team", "=", json!("Red")), criterion("id", "in", json!(["e", "c", "a", "e"]))];
    let page = p.page(&path, json!({"filterExpression": named, "limit": 1})).await.unwrap();
    assert_eq!((page.ids.join(" "), page.total), ("c".to_owned(), Some(2)));
    let rest = p.page(&page.next.unwrap(), json!({"filterExpression": named, "limit": 1})).await.unwrap();
    assert_eq!((rest.ids.join(" "), rest.next), ("e".to_owned(), None));
    assert_eq!(p.ids(&path, json!({"sortField": "rank", "sortOrder": "DESC"})).await, "c a d b e");
    assert_eq!(p.ids(&path, json!({"sortField": "https://ex.org/team", "offset": 1, "limit": 3})).await, "d e a");
    // Every page knows how many there are, and where the next begins.
    let first = p.page(&path, json!({"sortField": "rank", "limit": 2})).await.unwrap();
    assert_eq!((first.ids.join(" "), first.total), ("e b".to_owned(), Some(5)));
    // What comes in before the place moves nothing, what comes in behind it is seen.
    make("0", json!({"rank": 0}), json!({})).await;
    make("9", json!({"rank": 2}), json!({})).await;
    let second = p.page(&first.next.unwrap(), json!({"sortField": "rank", "limit": 2})).await.unwrap();
    assert_eq!((second.ids.join(" "), second.total), ("9 d".to_owned(), Some(7)));
    let again = second.next.unwrap();
    let last = p.page(&again, json!({"sortField": "rank", "limit": 9})).await.unwrap();
    assert_eq!(last, Page { ids: vec!["a".into(), "c".into()], total: Some(7), next: None });
    for other in
        [json!({"limit": 2}), json!({"sortField": "rank", "sortOrder": "DESC"}), json!({"sortField": "rank", "filterExpression": both})]
    {
        let refused = p.page(&again, other).await.unwrap_err();
        assert_eq!((&refused[0]["type"], &refused[0]["path"]), (&json!("ValidationFailure"), &json!("?cursor")));
    }
    // Without a sort the order is that of the ids.
    let mut at = path.clone();
    let mut seen = Vec::new();
    loop {
        let page = p.page(&at, json!({"limit": 3, "filterExpression": [criterion("id", "!=", json!("d"))]})).await.unwrap();
        seen.extend(page.ids);
        let Some(next) = page.next else { break };
        at = next;
    }
    assert_eq!(seen.join(" "), "0 9 a b c e");
    p.node.drain(DRAIN).await;
}

/// Every list has pages, and tells every violated rule of a query.
#[tokio::test]
async fn every_list_is_paged_and_checks_its_query() {
    let p = Platform::temporary(|_| {}).await;
    p.must(Method::POST, &format!("{MANAGEMENT}/participants"), Some(context(&p, "acme", json!({"@id": "acme"})))).await;
    let own = "/participants/acme";
    let rules = json!({"@type": "Set", "permission": [{"action": "use"}]});
    let mut offers = json!({"accessPolicyId": "", "contractPolicyId": "", "assetsSelector": []});
    for id in ["p1", "p2"] {
        p.must(
            Method::POST,
            &format!("{MANAGEMENT}{own}/policydefinitions"),
            Some(body("PolicyDefinition", json!({"@id": id, "policy": rules}))),
        )
        .await;
        (offers["@id"], offers["accessPolicyId"], offers["contractPolicyId"]) = (id.into(), id.into(), id.into());
        p.must(Method::POST, &format!("{MANAGEMENT}{own}/contractdefinitions"), Some(body("ContractDefinition", offers.clone()))).await;
        let expression = json!({"@id": id, "leftOperand": id, "expression": "true", "description": "x"});
        p.must(Method::POST, &format!("{MANAGEMENT}/celexpressions"), Some(body("CelExpression", expression))).await;
        let scope = json!({"@id": id, "value": "org.eclipse.dspace.dcp.vc.type:M:read"});
        p.must(Method::POST, &format!("{MANAGEMENT}/dcpscopes"), Some(body("DcpScope", scope))).await;
        let profile =
            json!({"name": id, "protocol": {"version": "2025-1", "path": format!("/{id}"), "binding": "HTTPS", "namespace": "n"}});
        p.must(Method::POST, &format!("{MANAGEMENT}/dataspaceprofiles"), Some(body("DataspaceProfile", profile))).await;
    }
    let mut negotiations = Vec::new();
    for _ in 0..2 {
        let mut wanted = p.negotiation();
        wanted["profile"] = "http-dsp-profile-2025-1".into();
        let begun = p.must(Method::POST, &format!("{MANAGEMENT}{own}/contractnegotiations"), Some(wanted)).await;
        negotiations.push(begun["@id"].as_str().unwrap().to_owned());
    }
    negotiations.sort_unstable();
    let lists = [
        (format!("{own}/policydefinitions/request"), "policy.nothing.here", true),
        (format!("{own}/contractdefinitions/request"), "assetsSelector.nothing", false),
        (format!("{own}/contractnegotiations/request"), "contractAgreement.nothing", false),
        ("/celexpressions/request".to_owned(), "nothing", false),
        ("/dcpscopes/request".to_owned(), "type.nothing", false),
        ("/dataspaceprofiles/request".to_owned(), "nothing.protocol", false),
        (format!("{own}/contractagreements/request"), "nothing", false),
        (format!("{own}/transferprocesses/request"), "dataplaneMetadata.nothing", false),
    ];
    for (path, unknown, may_be) in &lists {
        let some = !path.contains("agreements") && !path.contains("transfer");
        let mut at = path.clone();
        let mut seen = Vec::new();
        loop {
            let page = p.page(&at, json!({"limit": 1})).await.unwrap();
            assert!(page.ids.len() <= 1 && page.total.is_some_and(|total| (total > 1) == some), "{path}: {page:?}");
            seen.extend(page.ids);
            let Some(next) = page.next else { break };
            at = next;
        }
        let whole = p.page(path, json!({})).await.unwrap();
        assert_eq!((seen.len(), &seen), (whole.total.unwrap(), &whole.ids), "{path}");
        let asked = json!({"filterExpression": [criterion(unknown, "=", json!(1))]});
        assert_eq!(p.page(path, asked.clone()).await.is_ok(), *may_be, "{path}: {unknown}");
        // One entry for each rule that is violated.
        let wrong = json!({"limit": 0, "offset": -1, "sortOrder": "UP", "filterExpression": [criterion("id", "~", json!(1)), {"operandLeft": "id", "operator": "in", "operandRight": 1}]});
        let told = p.page(path, wrong).await.unwrap_err();
        let paths: Vec<&str> = told.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
        let expected = ["$.offset", "$.limit", "$.sortOrder", "$.filterExpression[0].operator", "$.filterExpression[1].operandRight"];
        assert_eq!(paths, expected, "{path}");
        assert!(told.as_array().unwrap().iter().all(|entry| entry["type"] == "ValidationFailure"), "{told}");
    }
    // A process that is named is found by its name.
    let path = &lists[2].0;
    for (left, right, expected) in [
        ("id", json!(negotiations[0]), negotiations[0].as_str()),
        ("@id", json!("no such id"), ""),
        ("id", json!(7), ""),
        ("contractAgreementId", json!("none"), ""),
        ("correlationId", json!("none"), ""),
    ] {
        let page = p.page(path, json!({"filterExpression": [criterion(left, "=", right.clone())]})).await.unwrap();
        assert_eq!((page.ids.join(" ").as_str(), page.total), (expected, Some(usize::from(!expected.is_empty()))), "{left} {right}");
    }
    let other = json!({"filterExpression": [criterion("id", "=", json!(negotiations[0])), criterion("type", "=", json!("PROVIDER"))]});
    assert_eq!(p.ids(path, other).await, "");
    p.node.drain(DRAIN).await;
}
