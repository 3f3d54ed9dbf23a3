//! Catalogs as counterparties see them.

use super::field;
use crate::stage::{Stage, dsp};
use cellspace_client::{Client, provider::DATA_SET, sharing};
use reqwest::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn the_catalog_shows_each_counterparty_its_own_offers() {
    let s = Stage::open().await;
    let shown = |offers: Vec<sharing::Offer>| {
        let mut required: Vec<_> =
            offers.iter().map(|o| (o.asset.clone(), o.policy.to_string().contains("ManufacturerCredential"))).collect();
        required.sort();
        required
    };
    let (data, file) = ("footprints".to_owned(), "model".to_owned());
    assert_eq!(shown(s.offers(&s.consumer).await), [(data.clone(), false), (data.clone(), true), (file.clone(), true)]);
    assert_eq!(shown(s.offers(&s.third).await), [(data, false), (file, true)]);

    // A dataset with hidden offers alone is as one that does not exist.
    let asset = Client::typed(
        "Asset",
        json!({"@id": "secret", "properties": {}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "properties": {"source": DATA_SET}}}),
    );
    assert_eq!(s.manage(&s.provider, Method::POST, "assets", Some(asset)).await.status, 200);
    let definition = json!({"@id": "secret", "accessPolicyId": "requires-ManufacturerCredential", "contractPolicyId": "requires-MembershipCredential",
        "assetsSelector": [{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "=", "operandRight": "secret"}]});
    assert_eq!(
        s.manage(&s.provider, Method::POST, "contractdefinitions", Some(Client::typed("ContractDefinition", definition))).await.status,
        200
    );
    let visible = s.look(&s.consumer, &s.provider, "/catalog/datasets/secret").await;
    assert_eq!((visible.status, field(&visible.body, "@id")), (StatusCode::OK, "secret"), "{}", visible.text);
    let hidden = s.look(&s.third, &s.provider, "/catalog/datasets/secret").await;
    let unknown = s.look(&s.third, &s.provider, "/catalog/datasets/nowhere").await;
    assert_eq!((hidden.status, hidden.body["@type"].as_str()), (StatusCode::NOT_FOUND, Some("CatalogError")));
    assert_eq!((hidden.status, hidden.text), (unknown.status, unknown.text));

    // What is taken back has left the next answer.
    assert_eq!(s.manage(&s.provider, Method::DELETE, "contractdefinitions/secret", None).await.status, 204);
    assert_eq!(s.look(&s.consumer, &s.provider, "/catalog/datasets/secret").await.status, StatusCode::NOT_FOUND);
    s.close().await;
}

#[tokio::test]
async fn the_catalog_is_read_page_by_page() {
    let s = Stage::open().await;
    for n in 0..7 {
        let asset = Client::typed(
            "Asset",
            json!({"@id": format!("part-{n}"), "properties": {"kind": "part"}, "dataplaneMetadata": {"@type": "DataplaneMetadata", "properties": {"source": DATA_SET}}}),
        );
        assert_eq!(s.manage(&s.provider, Method::POST, "assets", Some(asset)).await.status, 200);
    }
    let definition = json!({"@id": "parts", "accessPolicyId": "requires-MembershipCredential", "contractPolicyId": "requires-MembershipCredential",
        "assetsSelector": [{"@type": "Criterion", "operandLeft": "https://w3id.org/edc/v0.0.1/ns/kind", "operator": "=", "operandRight": "part"}]});
    assert_eq!(
        s.manage(&s.provider, Method::POST, "contractdefinitions", Some(Client::typed("ContractDefinition", definition))).await.status,
        200
    );
    let filter = json!({"@type": "QuerySpec", "offset": 0, "limit": 4});
    let request = dsp("CatalogRequestMessage", json!({"filter": [filter]}));
    let (mut path, mut seen, mut pages) = ("/catalog/request".to_owned(), Vec::new(), 0);
    loop {
        let page = s.message(&s.consumer, &s.provider, &path, &request).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        pages += 1;
        let datasets: Vec<String> = page.body["dataset"].as_array().unwrap().iter().map(|d| field(d, "@id").to_owned()).collect();
        assert!(datasets.len() <= 4, "{datasets:?}");
        seen.extend(datasets);
        let link = page.link.unwrap_or_default();
        assert_eq!(link.contains("rel=\"previous\""), pages > 1, "{link}");
        let Some(next) = link.split(',').find(|part| part.contains("rel=\"next\"")) else { break };
        let url = next.split(['<', '>']).nth(1).unwrap();
        path = url.strip_prefix(&s.provider.dsp).unwrap_or_else(|| panic!("{url} is not below {}", s.provider.dsp)).to_owned();
        assert!(pages < 10);
    }
    seen.sort();
    seen.dedup();
    // Nine datasets, each exactly once.
    assert_eq!((pages, seen.len()), (3, 9), "{seen:?}");
    s.close().await;
}
