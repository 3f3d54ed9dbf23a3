//! What a counterparty sees, and where its offer ids lead.

use super::*;
use crate::{
    control_plane::{
        ControlPlaneState,
        data_planes::{self, DataPlane},
        policy::{Evaluation, ParticipantAgent, PolicyScope},
        resources::{self, OfferDefinition},
    },
    settings::{CelExpression, Settings},
};
use cellspace_schemas::{
    AssetId, Did, OfferId, QuerySpec, Timestamp,
    dsp::SentContext,
    management::{Asset, ContractDefinition, DataplaneMetadata, PolicyDefinition},
    odrl::Policy,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const URL: &str = "https://cells.example/api/dsp/p/net";

fn settings() -> Settings {
    let has = |name: &str| {
        let expression = format!("ctx.agent.claims.vc.hasCredential('{name}')");
        let (id, left_operand, description) = (name.to_owned(), name.to_owned(), String::new());
        (id.clone(), CelExpression { id, left_operand, expression, description, scopes: vec![], actions: vec![] })
    };
    Settings::new(1, BTreeMap::from([has("Membership"), has("Manufacturer")]), BTreeMap::new(), BTreeMap::new())
}

fn agent(credentials: &[&str]) -> ParticipantAgent {
    let credentials: Vec<Value> = credentials.iter().map(|name| json!({"type": [name]})).collect();
    ParticipantAgent::new(Did::new("did:web:c").unwrap(), &credentials)
}

fn put(state: &mut ControlPlaneState, event: resources::Event) {
    resources::apply(state, &event);
}

fn asset(state: &mut ControlPlaneState, id: &str, properties: Value, dataplane_metadata: Option<DataplaneMetadata>) {
    let properties = properties.as_object().cloned().unwrap_or_default();
    let private_properties = json!({"secret": "private"}).as_object().cloned().unwrap_or_default();
    let (id, is_catalog) = (AssetId::new(id).unwrap(), properties.contains_key("endpointURL"));
    let asset = Asset { id, is_catalog, properties, private_properties, dataplane_metadata, created_at: NOW };
    put(state, resources::Event::Asset(Arc::new(asset)));
}

fn policy(state: &mut ControlPlaneState, id: &str, operands: &[&str]) {
    let rule =
        |operand: &&str| json!({"action": "use", "constraint": [{"leftOperand": operand, "operator": "eq", "rightOperand": "active"}]});
    let rules: Vec<Value> = operands.iter().map(rule).collect();
    let policy: Policy = serde_json::from_value(json!({"@type": "Set", "permission": rules})).unwrap();
    let definition = PolicyDefinition { id: id.parse().unwrap(), policy, private_properties: serde_json::Map::new(), created_at: NOW };
    put(state, resources::Event::Policy(Arc::new(definition)));
}

fn definition(state: &mut ControlPlaneState, id: &str, access: &str, contract: &str, assets: &[&str]) {
    selecting(state, id, access, contract, json!([{"operandLeft": "id", "operator": "in", "operandRight": assets}]));
}

fn selecting(state: &mut ControlPlaneState, id: &str, access: &str, contract: &str, selector: Value) {
    let definition = ContractDefinition {
        id: id.parse().unwrap(),
        access_policy_id: access.parse().unwrap(),
        contract_policy_id: contract.parse().unwrap(),
        assets_selector: serde_json::from_value(selector).unwrap(),
        private_properties: serde_json::Map::new(),
        created_at: NOW,
    };
    put(state, resources::Event::Definition(Arc::new(OfferDefinition { definition, offer_key: Uuid::from_u128(9), found_by: None })));
}

fn data_plane(state: &mut ControlPlaneState, id: &str, types: &[&str], labels: &[&str]) {
    let plane = DataPlane {
        id: id.parse().unwrap(),
        revision: 0,
        endpoint: "https://dp.example/flows".parse().unwrap(),
        transfer_types: types.iter().map(|t| t.parse().unwrap()).collect(),
        labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        authorization: None,
        registered_at: NOW,
    };
    data_planes::apply(state, &data_planes::Event::Set(Arc::new(plane)));
}

/// `open` for members, `restricted` seen by members and agreed with manufacturers, `hidden` for manufacturers.
fn provider() -> ControlPlaneState {
    let mut state = ControlPlaneState::default();
    for id in ["open", "restricted", "hidden"] {
        asset(&mut state, id, json!({"description": id}), None);
    }
    policy(&mut state, "m", &["Membership"]);
    policy(&mut state, "f", &["Manufacturer"]);
    policy(&mut state, "any", &[]);
    definition(&mut state, "d-open", "m", "any", &["open"]);
    definition(&mut state, "d-restricted", "m", "f", &["restricted"]);
    definition(&mut state, "d-hidden", "f", "f", &["hidden", "open"]);
    data_plane(&mut state, "dp", &["HttpData-PULL"], &[]);
    state
}

fn looking<T>(state: &ControlPlaneState, agent: &ParticipantAgent, look: impl FnOnce(Viewer<'_>) -> T) -> T {
    let settings = settings();
    let evaluation = Evaluation::new(PolicyScope::Catalog, &settings, agent, NOW);
    look(Viewer::new(state, evaluation, URL))
}

fn seen(state: &ControlPlaneState, credentials: &[&str]) -> Vec<Value> {
    let page = looking(state, &agent(credentials), |viewer| viewer.page(&QuerySpec::default(), None));
    page.datasets().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// Dataset ids with their offers.
fn summary(datasets: &[Value]) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let offers = |dataset: &Value| dataset["hasPolicy"].as_array().unwrap().iter().map(|offer| text(&offer["@id"])).collect();
    datasets.iter().map(|dataset| (text(&dataset["@id"]), offers(dataset))).collect()
}

fn offer(definition: &str, asset: &str) -> String {
    resources::offer_id::offer_id(&definition.parse().unwrap(), &asset.parse().unwrap(), Uuid::from_u128(9))
}

#[test]
fn everybody_sees_what_its_credentials_allow() {
    let state = provider();
    assert_eq!(summary(&seen(&state, &[])), []);
    let members =
        [("open".to_owned(), vec![offer("d-open", "open")]), ("restricted".to_owned(), vec![offer("d-restricted", "restricted")])];
    assert_eq!(summary(&seen(&state, &["Membership"])), members);
    let both = [
        ("hidden".to_owned(), vec![offer("d-hidden", "hidden")]),
        ("open".to_owned(), vec![offer("d-hidden", "open"), offer("d-open", "open")]),
        ("restricted".to_owned(), vec![offer("d-restricted", "restricted")]),
    ];
    assert_eq!(summary(&seen(&state, &["Membership", "Manufacturer"])), both);
    for (id, credentials, there) in
        [("hidden", &["Membership"][..], false), ("hidden", &["Manufacturer"], true), ("none", &["Manufacturer"], false)]
    {
        let found = looking(&state, &agent(credentials), |viewer| viewer.dataset(&id.parse().unwrap()));
        assert_eq!(found.is_some(), there, "{id} {credentials:?}");
    }
}

#[test]
fn datasets_are_as_the_specification_has_them() {
    let mut state = provider();
    asset(&mut state, "open", json!({"description": "a \"quoted\" text", "https://ex.org/n": 1}), None);
    let dataset = seen(&state, &["Membership"]).remove(0);
    assert_eq!(
        dataset,
        json!({"@id": "open", "@type": "Dataset", "https://w3id.org/edc/v0.0.1/ns/description": "a \"quoted\" text", "https://ex.org/n": 1,
            "hasPolicy": [{"@id": offer("d-open", "open"), "@type": "Offer", "permission": [{"action": "use"}]}],
            "distribution": [{"@type": "Distribution", "format": "HttpData-PULL",
                "accessService": {"@id": URL, "@type": "DataService", "endpointURL": URL}}]})
    );
    let participant = Did::new("did:web:p").unwrap();
    let whole = |credentials: &[&str]| -> Value {
        let text = looking(&state, &agent(credentials), |viewer| {
            viewer.catalog(&viewer.page(&QuerySpec::default(), None), &participant, &SentContext::default())
        });
        serde_json::from_str(&text).unwrap()
    };
    let (catalog, empty) = (whole(&["Membership"]), whole(&[]));
    assert_eq!(
        (&catalog["@type"], &catalog["participantId"], catalog["dataset"].as_array().map(Vec::len)),
        (&json!("Catalog"), &json!("did:web:p"), Some(2))
    );
    assert!(catalog.get("catalog").is_none() && catalog["service"][0]["endpointURL"] == json!(URL));
    assert!(empty.get("dataset").is_none());
    let root: Value = serde_json::from_str(&render::root_dataset(&dataset.to_string(), &SentContext::default())).unwrap();
    assert_eq!((&root["@context"][0], &root["@id"]), (&json!(cellspace_schemas::dsp::CONTEXT), &json!("open")));
}

#[test]
fn distributions_follow_the_data_planes() {
    let formats = |state: &ControlPlaneState| {
        let text = |d: &Value| d["format"].as_str().unwrap().to_owned();
        let of = |dataset: &Value| dataset["distribution"].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
        seen(state, &["Membership"])
            .iter()
            .map(|dataset| (dataset["@id"].as_str().unwrap().to_owned(), of(dataset)))
            .collect::<BTreeMap<_, _>>()
    };
    let mut state = provider();
    assert_eq!(formats(&state)["open"], ["HttpData-PULL"]);
    data_plane(&mut state, "dp-eu", &["HttpData-PUSH"], &["eu"]);
    let metadata = DataplaneMetadata { labels: vec!["eu".to_owned()], ..DataplaneMetadata::default() };
    asset(&mut state, "restricted", json!({}), Some(metadata));
    let expected = [("open", vec!["HttpData-PULL", "HttpData-PUSH"]), ("restricted", vec!["HttpData-PUSH"])];
    assert_eq!(formats(&state), expected.into_iter().map(|(id, f)| (id.to_owned(), f.into_iter().map(str::to_owned).collect())).collect());
    // A dataset that nothing can transfer is none.
    let metadata = DataplaneMetadata { profiles: vec!["Other".to_owned()], ..DataplaneMetadata::default() };
    asset(&mut state, "restricted", json!({}), Some(metadata));
    assert_eq!(formats(&state).len(), 1);
}

#[test]
fn catalogs_within_the_catalog() {
    let mut state = provider();
    asset(&mut state, "open", json!({"endpointURL": "https://other.example/dsp", "format": "catalog", "description": "x"}), None);
    let page = looking(&state, &agent(&["Membership"]), |viewer| viewer.page(&QuerySpec::default(), None));
    let inner: Value = serde_json::from_str(page.catalogs().next().unwrap()).unwrap();
    assert_eq!((&inner["@type"], &inner["service"][0]["endpointURL"]), (&json!("Catalog"), &json!("https://other.example/dsp")));
    assert_eq!(
        (page.datasets().count(), inner.get("hasPolicy"), &inner["https://w3id.org/edc/v0.0.1/ns/description"]),
        (1, None, &json!("x"))
    );
}

#[test]
fn filters_see_what_is_public() {
    let state = provider();
    let found = |left: &str, right: &str| {
        let body = json!({"filterExpression": [{"operandLeft": left, "operator": "=", "operandRight": right}]});
        let query = QuerySpec::from_json(&body, "$", &page::DATASET_PATHS).unwrap();
        looking(&state, &agent(&["Membership"]), |viewer| viewer.page(&query, None)).datasets().count()
    };
    assert_eq!((found("description", "open"), found("id", "restricted"), found("id", "hidden")), (1, 1, 0));
    assert_eq!((found("privateProperties.secret", "private"), found("secret", "private")), (0, 0));
}

/// The next page shows a change of whatever decides on it.
#[test]
fn changes_show_in_the_next_page() {
    let mut state = provider();
    let ids = |state: &ControlPlaneState| summary(&seen(state, &["Membership"])).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let by = |operator: &str, right: &str| json!([{"operandLeft": "kind", "operator": operator, "operandRight": right}]);
    selecting(&mut state, "d-kind", "m", "any", by("=", "map"));
    selecting(&mut state, "d-like", "m", "any", by("like", "ro%"));
    assert_eq!(ids(&state), ["open", "restricted"]);
    // An asset that comes, becomes another, and goes.
    asset(&mut state, "new", json!({"kind": "map"}), None);
    assert_eq!(ids(&state), ["new", "open", "restricted"]);
    asset(&mut state, "new", json!({"kind": "road"}), None);
    assert_eq!(seen(&state, &["Membership"])[0]["hasPolicy"][0]["@id"], offer("d-like", "new"));
    asset(&mut state, "new", json!({"kind": "river"}), None);
    assert_eq!(ids(&state), ["open", "restricted"]);
    asset(&mut state, "new", json!({"kind": ["map", "road"]}), None);
    assert_eq!(seen(&state, &["Membership"])[0]["hasPolicy"].as_array().map(Vec::len), Some(2));
    // A policy that asks for something else, and terms that are others.
    policy(&mut state, "m", &["Manufacturer"]);
    assert!(ids(&state).is_empty());
    policy(&mut state, "m", &["Membership"]);
    policy(&mut state, "any", &["Manufacturer"]);
    let terms = |n: usize| seen(&state, &["Membership"])[0]["hasPolicy"][n]["permission"][0]["constraint"][0]["leftOperand"].clone();
    assert_eq!((terms(0), terms(1)), (json!("Manufacturer"), json!("Manufacturer")));
    // A definition with another selector, another policy, and none at all.
    selecting(&mut state, "d-kind", "m", "any", by("=", "nothing"));
    selecting(&mut state, "d-like", "f", "any", by("like", "ro%"));
    assert_eq!(ids(&state), ["open", "restricted"]);
    selecting(&mut state, "d-like", "m", "any", json!([]));
    assert_eq!(ids(&state), ["hidden", "new", "open", "restricted"]);
    put(&mut state, resources::Event::DefinitionDeleted("d-like".parse().unwrap()));
    assert_eq!(ids(&state), ["open", "restricted"]);
    put(&mut state, resources::Event::AssetDeleted("open".parse().unwrap()));
    assert_eq!(ids(&state), ["restricted"]);
}

#[test]
fn offer_ids_lead_back() {
    let (state, settings) = (provider(), settings());
    let resolve = |id: &str, credentials: &[&str]| resolve_offer(&state, &settings, &OfferId::new(id).unwrap(), &agent(credentials), NOW);
    let open = resolve(&offer("d-open", "open"), &["Membership"]).unwrap();
    assert_eq!((open.asset.id.as_str(), open.policy.permission.len()), ("open", 1));
    assert!(resolve(&offer("d-restricted", "restricted"), &["Membership"]).is_some(), "the contract policy is another question");
    assert!(resolve(&offer("d-hidden", "hidden"), &["Manufacturer"]).is_some());
    let foreign_key = resources::offer_id::offer_id(&"d-open".parse().unwrap(), &"open".parse().unwrap(), Uuid::from_u128(8));
    for (what, id, credentials) in [
        ("hidden", offer("d-hidden", "hidden"), &["Membership"][..]),
        ("not selected", offer("d-open", "hidden"), &["Membership", "Manufacturer"]),
        ("no such definition", offer("d-none", "open"), &["Membership"]),
        ("no such asset", offer("d-open", "none"), &["Membership"]),
        ("another key", foreign_key, &["Membership"]),
        ("made up", "urn:uuid:1".to_owned(), &["Membership"]),
    ] {
        assert!(resolve(&id, credentials).is_none(), "{what}");
    }
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]
    /// Following the links shows every visible dataset once, in order, forwards and backwards, whatever the page size.
    #[test]
    fn pages_join_to_the_whole(visible in prop::collection::vec(any::<bool>(), 0..40), limit in 1..7usize) {
        let mut state = ControlPlaneState::default();
        policy(&mut state, "any", &[]);
        policy(&mut state, "never", &["Unknown"]);
        data_plane(&mut state, "dp", &["HttpData-PULL"], &[]);
        let mut expected = Vec::new();
        for (n, visible) in visible.iter().enumerate() {
            let id = format!("a{n:02}");
            asset(&mut state, &id, json!({}), None);
            definition(&mut state, &format!("d{n}"), if *visible { "any" } else { "never" }, "any", &[&id]);
            expected.extend(visible.then_some(id));
        }
        let agent = agent(&[]);
        let ids = |page: &Page| page.datasets().map(|t| serde_json::from_str::<Value>(t).unwrap()["@id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let query = QuerySpec { limit, ..QuerySpec::default() };
        let look = |cursor: Option<&Cursor>| looking(&state, &agent, |viewer| viewer.page(&query, cursor));
        let (mut forwards, mut cursor, mut last) = (Vec::new(), None, look(None));
        prop_assert!(last.previous.is_none());
        loop {
            forwards.push(ids(&last));
            let Some(next) = last.next.clone() else { break };
            prop_assert_eq!(Cursor::parse(&next.token()), Some(next.clone()));
            cursor = Some(next);
            last = look(cursor.as_ref());
        }
        prop_assert_eq!(forwards.concat(), expected.clone());
        prop_assert!(forwards.iter().all(|page| page.len() <= limit));
        let mut backwards = vec![ids(&last)];
        while let Some(previous) = last.previous.clone() {
            last = look(Some(&previous));
            backwards.push(ids(&last));
        }
        backwards.reverse();
        prop_assert_eq!(backwards.concat(), expected.clone());
        // An offset counts visible datasets.
        let rest = looking(&state, &agent, |viewer| viewer.page(&QuerySpec { offset: 3, limit: 100, ..QuerySpec::default() }, None));
        prop_assert_eq!(ids(&rest), expected.into_iter().skip(3).collect::<Vec<_>>());
        let _ = cursor;
    }

    /// Whatever changes between the pages: what is visible all the time is shown once, in order, and nothing is that never was.
    #[test]
    fn pages_hold_while_the_catalog_changes(
        before in prop::collection::btree_map(0..30_u8, any::<bool>(), 0..25),
        changes in prop::collection::vec((0..30_u8, prop_oneof![Just(None), any::<bool>().prop_map(Some)]), 0..25),
        limit in 1..6_usize,
    ) {
        let mut state = ControlPlaneState::default();
        policy(&mut state, "any", &[]);
        data_plane(&mut state, "dp", &["HttpData-PULL"], &[]);
        selecting(&mut state, "shown", "any", "any", json!([{"operandLeft": "kind", "operator": "like", "operandRight": "sh%"}]));
        let name = |n: u8| format!("a{n:02}");
        let kind = |shown: bool| json!({"kind": if shown { "shown" } else { "other" }});
        let mut now = before;
        for (n, shown) in &now {
            asset(&mut state, &name(*n), kind(*shown), None);
        }
        let visible = |now: &BTreeMap<u8, bool>| now.iter().filter(|(_, shown)| **shown).map(|(n, _)| name(*n)).collect::<BTreeSet<_>>();
        let (mut always, mut ever) = (visible(&now), visible(&now));
        let (agent, mut changes) = (agent(&[]), changes.into_iter());
        let (query, mut cursor, mut found) = (QuerySpec { limit, ..QuerySpec::default() }, None, Vec::new());
        loop {
            let look = |cursor: Option<&Cursor>| {
                let page = looking(&state, &agent, |viewer| viewer.page(&query, cursor));
                let id = |text: &str| serde_json::from_str::<Value>(text).unwrap()["@id"].as_str().unwrap().to_owned();
                let ids: Vec<String> = page.datasets().map(id).collect();
                (page, ids)
            };
            let (page, ids) = look(cursor.as_ref());
            // What is linked is there now, whether or not what the page lies behind still is.
            if let (Some(first), true) = (ids.first(), cursor.is_some()) {
                prop_assert_eq!(page.previous.is_some(), visible(&now).iter().any(|id| id < first), "{:?} {:?}", now, first);
            }
            let (back, before) = look(Some(&Cursor::Before(name(15).parse().unwrap())));
            if let Some(last) = before.last() {
                prop_assert_eq!(back.next.is_some(), visible(&now).iter().any(|id| id > last), "{:?} {:?}", now, last);
            }
            found.extend(ids);
            let Some(next) = page.next else { break };
            cursor = Some(next);
            for (n, shown) in changes.by_ref().take(3) {
                if let Some(shown) = shown {
                    asset(&mut state, &name(n), kind(shown), None);
                    now.insert(n, shown);
                } else {
                    put(&mut state, resources::Event::AssetDeleted(name(n).parse().unwrap()));
                    now.remove(&n);
                }
                always = &always & &visible(&now);
                ever.extend(visible(&now));
            }
        }
        prop_assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        prop_assert!(always.iter().all(|id| found.contains(id)), "{always:?} {found:?}");
        prop_assert!(found.iter().all(|id| ever.contains(id)), "{ever:?} {found:?}");
    }
}
