//! What ended long ago.

use super::field;
use crate::stage::{Stage, callback, context, contract_request, dsp};
use cellspace_actors::{ControlPlane, control_plane::archive::KEPT};
use cellspace_client::Client;
use cellspace_cluster::Address;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn what_ended_long_ago_is_still_there() {
    let s = Stage::open().await;
    let (url, mut received) = callback().await;
    let visible = s.offers(&s.third).await;
    let restricted = visible.iter().find(|o| o.policy.to_string().contains("ManufacturerCredential")).unwrap();
    let begin = |n: usize| {
        let request = contract_request(&format!("urn:uuid:{n}"), &url, restricted, &s.provider.did);
        let s = &s;
        async move { s.message(&s.third, &s.provider, "/negotiations/request", &request).await }
    };
    let count = KEPT + 8;
    let mut pids = Vec::new();
    for n in 0..count {
        let begun = begin(n).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.text);
        pids.push(field(&begun.body, "providerPid").to_owned());
        received.recv().await.unwrap();
    }
    let live = || async {
        let state = s.node().app.services.cluster.snapshot::<ControlPlane>(&Address::of::<ControlPlane>(&context(&s.provider))).await;
        state.unwrap().negotiations.iter().count()
    };
    assert!(live().await < count, "nothing has moved");

    // By our id and by theirs, in lists, for the counterparty, and for a repeat of its request.
    let all = s.negotiations(&s.provider).await;
    assert_eq!(all.len(), count);
    let first = all.iter().find(|n| n["correlationId"] == "urn:uuid:0").unwrap();
    let id = field(first, "@id").to_owned();
    let get = |path: &str| {
        let (s, path) = (&s, format!("contractnegotiations/{id}{path}"));
        async move { s.manage(&s.provider, Method::GET, &path, None).await }
    };
    assert_eq!(get("").await.body, *first);
    assert_eq!(field(&get("/state?wait=FINALIZED&timeout=60s").await.body, "state"), "TERMINATED");
    let query = |filter: Value, offset: usize| {
        let spec = Client::typed("QuerySpec", json!({"offset": offset, "limit": 10, "filterExpression": [filter]}));
        let s = &s;
        async move { s.manage(&s.provider, Method::POST, "contractnegotiations/request", Some(spec)).await.body.as_array().unwrap().clone() }
    };
    let equals = |name: &str, value: &str| json!({"@type": "Criterion", "operandLeft": name, "operator": "=", "operandRight": value});
    assert_eq!(query(equals("correlationId", "urn:uuid:0"), 0).await, std::slice::from_ref(first));
    assert_eq!(query(equals("state", "TERMINATED"), 30).await, all[30..40]);
    assert!(query(equals("state", "FINALIZED"), 0).await.is_empty());
    let (third, asset) = (s.third.did.as_str(), restricted.asset.as_str());
    for (name, value) in [("state", "1400"), ("type", "PROVIDER"), ("counterPartyId", third), ("assetId", asset)] {
        assert_eq!(query(equals(name, value), 30).await, all[30..40], "{name} {value}");
    }
    for (name, value) in [("state", "1200"), ("type", "CONSUMER"), ("counterPartyId", &s.consumer.did), ("assetId", "another")] {
        assert!(query(equals(name, value), 0).await.is_empty(), "{name} {value}");
    }
    assert_eq!(query(equals("id", &id), 0).await, std::slice::from_ref(first));
    // Page by page everything once, wherever it is kept.
    for sort in [json!({"limit": 10}), json!({"limit": 10, "sortField": "stateTimestamp", "sortOrder": "DESC"})] {
        let spec = Client::typed("QuerySpec", sort.clone());
        let (mut at, mut ids) = (s.provider.path("contractnegotiations/request"), Vec::new());
        loop {
            let request = s.client.http.post(s.node().urls.admin(&at)).bearer_auth(&s.provider.caller.token).json(&spec);
            let page = request.send().await.unwrap();
            let next =
                page.headers().get("link").map(|link| link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap().to_owned());
            let page: Vec<Value> = page.json().await.unwrap();
            ids.extend(page.iter().map(|n| field(n, "@id").to_owned()));
            let Some(next) = next else { break };
            at = next;
        }
        if sort.get("sortField").is_some() {
            ids.sort_unstable();
        }
        assert_eq!(ids, all.iter().map(|n| field(n, "@id").to_owned()).collect::<Vec<_>>(), "{sort}");
    }
    let seen = s.look(&s.third, &s.provider, &format!("/negotiations/{}", pids[0])).await;
    assert_eq!((seen.status, field(&seen.body, "state")), (StatusCode::OK, "TERMINATED"));
    assert_eq!(s.look(&s.consumer, &s.provider, &format!("/negotiations/{}", pids[0])).await.status, StatusCode::NOT_FOUND);
    let again = begin(0).await;
    assert_eq!((again.status, field(&again.body, "providerPid")), (StatusCode::CREATED, pids[0].as_str()));
    let pids_of = json!({"consumerPid": "urn:uuid:0", "providerPid": pids[0], "reason": ["too late"]});
    let late = s
        .message(
            &s.third,
            &s.provider,
            &format!("/negotiations/{}/termination", pids[0]),
            &dsp("ContractNegotiationTerminationMessage", pids_of),
        )
        .await;
    assert_eq!(late.status, StatusCode::BAD_REQUEST, "{}", late.text);
    let terms = Client::typed("Offer", json!({"@id": "own", "assigner": s.provider.did, "target": restricted.asset}));
    let over = Client::typed("TerminateNegotiation", json!({}));
    for (what, body) in
        [("agree", None), ("offer", Some(terms.clone())), ("accept", None), ("request", Some(terms)), ("terminate", Some(over))]
    {
        let refused = s.manage(&s.provider, Method::POST, &format!("contractnegotiations/{id}/{what}"), body).await;
        assert!(refused.status == 409 && refused.body.to_string().contains("TERMINATED"), "{what}: {}", refused.body);
    }

    // What is deleted is gone, under every id.
    assert_eq!(s.manage(&s.provider, Method::DELETE, &format!("contractnegotiations/{id}"), None).await.status, 204);
    assert_eq!(get("").await.status, 404);
    assert_eq!(s.look(&s.third, &s.provider, &format!("/negotiations/{}", pids[0])).await.status, StatusCode::NOT_FOUND);
    assert!(query(equals("correlationId", "urn:uuid:0"), 0).await.is_empty());
    assert_eq!(s.negotiations(&s.provider).await.len(), count - 1);
    s.close().await;
}
