//! What operators see of a cell, whichever node they ask.

use super::*;
use cellspace_storage::{
    EmbeddedOptions, EmbeddedStore, Partitions,
    testkit::turn::{Turn, partition},
};

/// Agents are parked where they are served, and seen from everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn parked_agents_of_all_nodes_are_seen() {
    let place = Place::new();
    let ids: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    {
        // What nobody can read.
        let store = EmbeddedStore::open(config(&place.path().join("a")).data_dir, EmbeddedOptions::default()).unwrap();
        for id in &ids {
            let key = partition(id, "control-plane", "");
            let claim = store.claim(&key, 1).await.unwrap();
            Turn::after(&key, claim).put("context", "x", "no row").applied(&store).await;
        }
        store.close();
    }
    let (a, shared) = place.first(|_| ()).await;
    let b = place.another(&a, &shared, place.seat("b", None), |_| ()).await;
    place.settled(&["a", "b"]).await;
    let mut expected: Vec<(String, String)> = Vec::new();
    for id in &ids {
        expected.push((if serves(&b, id) { "b" } else { "a" }.to_owned(), format!("control-plane/{id}")));
    }
    assert!(expected.iter().any(|(node, _)| node == "a") && expected.iter().any(|(node, _)| node == "b"), "{expected:?}");
    let platform = Platform::of(a, None).await;
    let parked = async |at: &str| {
        let answer = platform.http.get(format!("{at}/api/runtime/parked")).bearer_auth(&platform.token).send().await.unwrap();
        let all: Vec<Value> = answer.json().await.unwrap();
        let mut all: Vec<_> = all.iter().map(|one| (text(one, "node"), text(one, "address"))).collect();
        all.sort();
        all
    };
    let nodes = [platform.node.urls.admin(""), format!("http://{}", b.admin_address().unwrap())];
    for node in &nodes {
        assert_eq!(parked(node).await, []);
    }
    for id in &ids {
        for _ in 0..3 {
            let answer = platform.admin(Method::GET, &format!("{}/none", assets(id))).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    expected.sort();
    for node in &nodes {
        assert_eq!(parked(node).await, expected);
    }
    // What is known of it is shown all the same.
    let stands = platform.must(Method::GET, "/api/runtime/agents/control-plane/p0", None).await;
    assert!(stands["parked"].is_string() && stands["seq"] == 1 && stands["audit"] == json!([]), "{stands}");
    // By whichever node it is put back into service.
    let unparked = platform.admin(Method::POST, "/api/runtime/agents/control-plane/p0/unpark").send().await.unwrap();
    assert_eq!(unparked.status(), StatusCode::NO_CONTENT);
    expected.retain(|(_, address)| address != "control-plane/p0");
    assert_eq!(parked(&nodes[1]).await, expected);
}
