//! Decisions about what is offered, and the index against a model that searches everything.

use super::*;
use crate::control_plane::{ControlPlane, Created, Participant, Reply, agent};
use cellspace_cluster::{Agent, Input, Rejection};
use cellspace_schemas::{
    Did, ParticipantContextId,
    management::{ContractDefinition, ParticipantContextConfig, ParticipantContextState},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NOW: Timestamp = Timestamp(1_000);

fn empty() -> ControlPlaneState {
    let participant = Participant {
        id: ParticipantContextId::new("p").unwrap(),
        identity: Did::new("did:web:p").unwrap(),
        state: ParticipantContextState::Activated,
        properties: serde_json::Map::new(),
        created_at: NOW,
        config: ParticipantContextConfig::default(),
    };
    ControlPlaneState { participant: Some(participant.into()), ..ControlPlaneState::default() }
}

fn body(kind: &str, fields: Value) -> Value {
    let mut body = json!({"@context": [cellspace_schemas::management::MANAGEMENT_CONTEXT], "@type": kind});
    if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
        body.extend(fields);
    }
    body
}

fn asset(id: &str, colour: impl Into<Value>) -> AssetDraft {
    let properties = json!({"colour": colour.into(), "weight": id.len()});
    AssetDraft::from_json(&body("Asset", json!({"@id": id, "properties": properties}))).unwrap()
}

fn policy(id: &str, operand: &str) -> PolicyDefinitionDraft {
    let rule = json!({"action": "use", "constraint": [{"leftOperand": operand, "operator": "eq", "rightOperand": "x"}]});
    PolicyDefinitionDraft::from_json(&body("PolicyDefinition", json!({"@id": id, "policy": {"@type": "Set", "permission": [rule]}})))
        .unwrap()
}

fn definition(id: &str, access: &str, contract: &str, selector: Value) -> ContractDefinitionDraft {
    let fields = json!({"@id": id, "accessPolicyId": access, "contractPolicyId": contract, "assetsSelector": selector});
    ContractDefinitionDraft::from_json(&body("ContractDefinition", fields)).unwrap()
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Decides and applies; the events are also kept as rows.
fn run(state: &mut ControlPlaneState, rows: &mut BTreeMap<Vec<u8>, agent::Event>, command: Command) -> Result<Reply, Refusal> {
    let prepared = Prepared { command, fresh_id: Uuid::from_u128(1), offer_key: Uuid::from_u128(2) };
    let input = Input::Command(agent::Prepared { asked: agent::Asked::Resources(prepared), recalled: Default::default() });
    match ControlPlane::decide(state, &input, NOW) {
        Ok(decision) => {
            for event in decision.events {
                ControlPlane::apply(state, &event);
                match ControlPlane::row(&event) {
                    RowOf::Put(key) => rows.insert(key.as_bytes().to_vec(), event),
                    RowOf::Delete(key) => rows.remove(key.as_bytes()),
                };
            }
            Ok(decision.reply)
        }
        Err(Rejection::Refused(agent::Refusal::Resources(refusal))) => Err(refusal),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn refusals() {
    let (mut state, mut rows) = (empty(), BTreeMap::new());
    let mut go = |command: Command| run(&mut state, &mut rows, command);
    let exact = json!([{"operandLeft": "id", "operator": "=", "operandRight": "a"}]);
    // Nothing is there yet.
    assert_eq!(go(Command::DeleteAsset(id("a"))).err(), Some(Refusal::NotFound(Kind::Asset, "a".into())));
    assert_eq!(go(Command::UpdateAsset(id("a"), asset("a", "red"))).err(), Some(Refusal::NotFound(Kind::Asset, "a".into())));
    assert_eq!(go(Command::UpdatePolicy(id("p"), policy("p", "M"))).err(), Some(Refusal::NotFound(Kind::Policy, "p".into())));
    assert_eq!(go(Command::DeletePolicy(id("p"))).err(), Some(Refusal::NotFound(Kind::Policy, "p".into())));
    assert_eq!(go(Command::DeleteDefinition(id("d"))).err(), Some(Refusal::NotFound(Kind::Definition, "d".into())));
    let dangling = |field| Some(Refusal::Dangling { field, id: id("p") });
    assert_eq!(go(Command::CreateDefinition(definition("d", "p", "p", exact.clone()))).err(), dangling("accessPolicyId"));
    // Made once.
    let created = Created { id: "a".into(), created_at: NOW };
    assert!(matches!(go(Command::CreateAsset(asset("a", "red"))), Ok(Reply::Created(reply)) if reply == created));
    assert_eq!(go(Command::CreateAsset(asset("a", "red"))).err(), Some(Refusal::Exists(Kind::Asset, "a".into())));
    assert!(go(Command::CreatePolicy(policy("p", "M"))).is_ok() && go(Command::CreatePolicy(policy("q", "M"))).is_ok());
    assert_eq!(go(Command::CreatePolicy(policy("p", "M"))).err(), Some(Refusal::Exists(Kind::Policy, "p".into())));
    assert!(go(Command::CreateDefinition(definition("d", "p", "p", exact.clone()))).is_ok());
    assert_eq!(
        go(Command::CreateDefinition(definition("d", "p", "p", exact.clone()))).err(),
        Some(Refusal::Exists(Kind::Definition, "d".into()))
    );
    // What is used stays.
    let used = Refusal::Referenced { kind: Kind::Policy, id: "p".into(), by: "contract definition d".into() };
    assert_eq!(go(Command::DeletePolicy(id("p"))).err(), Some(used));
    assert!(go(Command::UpdateDefinition(id("d"), definition("d", "q", "q", exact))).is_ok());
    assert!(
        go(Command::DeletePolicy(id("p"))).is_ok()
            && go(Command::DeleteDefinition(id("d"))).is_ok()
            && go(Command::DeletePolicy(id("q"))).is_ok()
    );
    // An id is made when there is none.
    let unnamed = AssetDraft { id: None, ..asset("x", "red") };
    assert!(matches!(go(Command::CreateAsset(unnamed)), Ok(Reply::Created(reply)) if reply.id == Uuid::from_u128(1).to_string()));
}

#[test]
fn updates_keep_what_must_stay() {
    let (mut state, mut rows) = (empty(), BTreeMap::new());
    let mut go = |command: Command| run(&mut state, &mut rows, command).unwrap();
    go(Command::CreatePolicy(policy("p", "M")));
    go(Command::CreateDefinition(definition("d", "p", "p", json!([]))));
    go(Command::UpdateDefinition(id("d"), definition("other", "p", "p", json!([]))));
    let definition = state.resources.definition(&id("d")).unwrap();
    assert_eq!((definition.offer_key, definition.definition.created_at), (Uuid::from_u128(2), NOW));
    assert!(state.resources.definition(&id("other")).is_none());
}

/// A state with the policy `p`.
fn with_policy() -> (ControlPlaneState, BTreeMap<Vec<u8>, agent::Event>) {
    let (mut state, mut rows) = (empty(), BTreeMap::new());
    run(&mut state, &mut rows, Command::CreatePolicy(policy("p", "M"))).unwrap();
    (state, rows)
}

fn colour(operator: &str, right: Value) -> Value {
    json!({"operandLeft": "colour", "operator": operator, "operandRight": right})
}

fn by_id(operator: &str, right: Value) -> Value {
    json!({"operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": operator, "operandRight": right})
}

#[test]
fn selectors_that_nothing_is_found_by_are_bounded() {
    let (mut state, mut rows) = with_policy();
    let mut go = |command: Command| run(&mut state, &mut rows, command);
    let loose = json!([colour("like", json!("%d"))]);
    for n in 0..MAX_LOOSE_SELECTORS {
        go(Command::CreateDefinition(definition(&format!("d{n}"), "p", "p", if n % 2 == 0 { json!([]) } else { loose.clone() }))).unwrap();
    }
    let full = |reply| matches!(reply, Err(Refusal::Limit { limit: MAX_LOOSE_SELECTORS, .. }));
    assert!(full(go(Command::CreateDefinition(definition("more", "p", "p", json!([]))))));
    for (n, found) in
        [by_id("=", json!("a")), colour("=", json!("red")), colour("in", json!(["red"])), colour("like", json!("r%"))].iter().enumerate()
    {
        assert!(go(Command::CreateDefinition(definition(&format!("found{n}"), "p", "p", json!([found, loose[0]])))).is_ok(), "{found}");
        assert!(full(go(Command::UpdateDefinition(id(&format!("found{n}")), definition("x", "p", "p", loose.clone())))), "{found}");
    }
    // In place of what it is, each may stay so; and one that is no longer makes room.
    assert!(go(Command::UpdateDefinition(id("d0"), definition("x", "p", "p", loose.clone()))).is_ok());
    assert!(go(Command::UpdateDefinition(id("d0"), definition("x", "p", "p", json!([colour("=", json!("red"))])))).is_ok());
    assert!(go(Command::UpdateDefinition(id("found1"), definition("x", "p", "p", loose))).is_ok());
}

#[test]
fn properties_that_assets_are_kept_by_are_bounded() {
    let (mut state, mut rows) = with_policy();
    run(&mut state, &mut rows, Command::CreateAsset(asset("a", "red"))).unwrap();
    let by = |n: usize| json!([{"operandLeft": format!("p{n}"), "operator": "=", "operandRight": 1}]);
    for n in 0..70 {
        run(&mut state, &mut rows, Command::CreateDefinition(definition(&format!("d{n:02}"), "p", "p", by(n)))).unwrap();
    }
    assert_eq!(state.resources.loose_selectors(), 6);
    // One that is still selected by takes the place of another.
    let both = json!([by(69)[0], by(0)[0]]);
    run(&mut state, &mut rows, Command::UpdateDefinition(id("d69"), definition("x", "p", "p", both))).unwrap();
    assert_eq!(state.resources.loose_selectors(), 5);
    run(&mut state, &mut rows, Command::DeleteDefinition(id("d01"))).unwrap();
    run(&mut state, &mut rows, Command::CreateDefinition(definition("d70", "p", "p", by(70)))).unwrap();
    assert_eq!(state.resources.loose_selectors(), 5);
}

/// What a definition is found by is kept with it: loading does not choose, in another order than that of arrival.
#[test]
fn what_definitions_are_found_by_outlives_a_restart() {
    let (mut state, mut rows) = with_policy();
    let by = |n: usize| json!([{"operandLeft": format!("p{n}"), "operator": "=", "operandRight": 1}]);
    let used = (0..64).chain([63; 3]).enumerate().map(|(n, property)| (format!("z{n:02}"), property));
    for (id, property) in used.chain((64..69).map(|n| (format!("a{n}"), n))) {
        run(&mut state, &mut rows, Command::CreateDefinition(definition(&id, "p", "p", by(property)))).unwrap();
    }
    assert_eq!((state.resources.loose_selectors(), loaded(&rows).resources.loose_selectors()), (5, 5));
}

#[test]
fn values_that_assets_are_found_by_are_bounded() {
    let (mut state, mut rows) = with_policy();
    let list = |n: usize| (0..n).collect::<Vec<_>>();
    let five = json!([colour("=", json!(5))]);
    let limited = |reply, bound| matches!(reply, Err(Refusal::Limit { limit, .. }) if limit == bound);
    // One that has many is compared.
    run(&mut state, &mut rows, Command::CreateAsset(asset("many", list(MAX_VALUES_OF_ASSET + 1)))).unwrap();
    run(&mut state, &mut rows, Command::CreateDefinition(definition("compared", "p", "p", five.clone()))).unwrap();
    let both = json!([five[0], {"operandLeft": "weight", "operator": "=", "operandRight": 4}]);
    run(&mut state, &mut rows, Command::CreateDefinition(definition("both", "p", "p", both))).unwrap();
    assert_eq!((state.resources.loose_selectors(), state.resources.offers(), state.resources.values()), (2, 2, 0));
    run(&mut state, &mut rows, Command::DeleteAsset(id("many"))).unwrap();
    // Where one is found by its values it has few.
    run(&mut state, &mut rows, Command::CreateDefinition(definition("found", "p", "p", five.clone()))).unwrap();
    let many = Command::CreateAsset(asset("many", list(MAX_VALUES_OF_ASSET + 1)));
    assert!(limited(run(&mut state, &mut rows, many), MAX_VALUES_OF_ASSET));
    run(&mut state, &mut rows, Command::CreateAsset(asset("few", list(MAX_VALUES_OF_ASSET)))).unwrap();
    let many = Command::UpdateAsset(id("few"), asset("x", list(MAX_VALUES_OF_ASSET + 1)));
    assert!(limited(run(&mut state, &mut rows, many), MAX_VALUES_OF_ASSET));
    assert_eq!((state.resources.loose_selectors(), state.resources.offers(), state.resources.values()), (2, 2, MAX_VALUES_OF_ASSET));
    // All together.
    state.resources.pretend_more_values("colour", MAX_VALUES - MAX_VALUES_OF_ASSET - 1);
    assert!(limited(run(&mut state, &mut rows, Command::CreateAsset(asset("two", list(2)))), MAX_VALUES));
    run(&mut state, &mut rows, Command::CreateAsset(asset("one", list(1)))).unwrap();
    assert!(limited(run(&mut state, &mut rows, Command::UpdateAsset(id("one"), asset("x", list(2)))), MAX_VALUES));
    run(&mut state, &mut rows, Command::UpdateAsset(id("few"), asset("x", list(2)))).unwrap();
    let weight = |name: &str| json!([{"operandLeft": name, "operator": "=", "operandRight": 1}]);
    run(&mut state, &mut rows, Command::CreateDefinition(definition("weight", "p", "p", weight("weight")))).unwrap();
    assert_eq!(state.resources.loose_selectors(), 2, "two more have room");
    state.resources.pretend_more_values("colour", MAX_VALUES - state.resources.values() - 1);
    run(&mut state, &mut rows, Command::CreateDefinition(definition("again", "p", "p", weight("properties.weight")))).unwrap();
    assert_eq!((state.resources.loose_selectors(), state.resources.values()), (3, MAX_VALUES - 1));
}

#[test]
fn offers_are_bounded() {
    let (mut state, mut rows) = with_policy();
    let red = json!([colour("=", json!("red"))]);
    for n in ["a", "b"] {
        run(&mut state, &mut rows, Command::CreateAsset(asset(n, "red"))).unwrap();
    }
    run(&mut state, &mut rows, Command::CreateDefinition(definition("d", "p", "p", red.clone()))).unwrap();
    state.resources.pretend_more_offers(MAX_OFFERS - 3);
    let mut go = |command: Command| run(&mut state, &mut rows, command);
    let full = |reply| matches!(reply, Err(Refusal::Limit { limit: MAX_OFFERS, .. }));
    // Two are there and one more has room.
    assert!(full(go(Command::CreateDefinition(definition("e", "p", "p", red.clone())))));
    assert!(go(Command::CreateAsset(asset("blue", "blue"))).is_ok() && go(Command::CreateAsset(asset("c", "red"))).is_ok());
    assert!(full(go(Command::UpdateAsset(id("blue"), asset("x", "red")))));
    assert!(full(go(Command::CreateAsset(asset("f", "red")))));
    assert!(go(Command::UpdateAsset(id("c"), asset("x", "red"))).is_ok(), "in place of what it has");
    assert!(go(Command::UpdateDefinition(id("d"), definition("x", "p", "p", red))).is_ok(), "in place of what it has");
    assert!(full(go(Command::UpdateDefinition(id("d"), definition("x", "p", "p", json!([]))))));
}

#[test]
fn bytes_are_bounded() {
    let (mut state, mut rows) = with_policy();
    run(&mut state, &mut rows, Command::CreateAsset(asset("a", "red"))).unwrap();
    run(&mut state, &mut rows, Command::CreateDefinition(definition("d", "p", "p", json!([])))).unwrap();
    let taken = state.resources.bytes();
    state.resources.pretend_more_bytes(MAX_BYTES - taken);
    let mut go = |command: Command| run(&mut state, &mut rows, command);
    let full = |reply| matches!(reply, Err(Refusal::Limit { limit: MAX_BYTES, .. }));
    assert!(full(go(Command::CreateAsset(asset("b", "red")))));
    assert!(full(go(Command::UpdateAsset(id("a"), asset("x", "darkred")))));
    assert!(full(go(Command::CreateDefinition(definition("e", "p", "p", json!([]))))));
    assert!(full(go(Command::UpdateDefinition(id("d"), definition("x", "p", "p", json!([colour("=", json!("red"))]))))));
    assert!(go(Command::UpdateAsset(id("a"), asset("x", "re"))).is_ok() && go(Command::DeleteDefinition(id("d"))).is_ok());
    assert!(full(go(Command::CreateAsset(asset("b", "red")))));
    assert!(go(Command::DeleteAsset(id("a"))).is_ok() && go(Command::CreateAsset(asset("b", "red"))).is_ok());
}

#[test]
fn what_selectors_list_is_bounded() {
    let (mut state, mut rows) = with_policy();
    let named = |ids: &[&str]| json!([by_id("in", json!(ids))]);
    run(&mut state, &mut rows, Command::CreateDefinition(definition("d", "p", "p", named(&["a", "b"])))).unwrap();
    state.resources.pretend_more_listed(MAX_LISTED - 3);
    let mut go = |command: Command| run(&mut state, &mut rows, command);
    let full = |reply| matches!(reply, Err(Refusal::Limit { limit: MAX_LISTED, .. }));
    assert!(full(go(Command::CreateDefinition(definition("e", "p", "p", named(&["a", "b"]))))));
    assert!(full(go(Command::CreateDefinition(definition("e", "p", "p", json!([colour("in", json!([1, 2]))]))))));
    assert!(full(go(Command::UpdateDefinition(id("d"), definition("x", "p", "p", named(&["a", "b", "c", "d"]))))));
    assert!(go(Command::UpdateDefinition(id("d"), definition("x", "p", "p", named(&["a", "b", "c"])))).is_ok());
}

fn selectors() -> impl Strategy<Value = Value> {
    let criterion = prop_oneof![
        Just(by_id("=", json!("a0"))),
        Just(by_id("=", json!(7))),
        Just(by_id("in", json!(["a1", "a2", "gone", "a1"]))),
        Just(by_id("!=", json!("a1"))),
        Just(by_id("like", json!("a%"))),
        Just(colour("=", json!("red"))),
        Just(colour("=", json!("5.0"))),
        Just(colour("in", json!(["red", "blue", 5]))),
        Just(colour("in", json!([]))),
        Just(colour("like", json!("%e%"))),
        Just(colour("like", json!("r%"))),
        Just(colour("like", json!("re_"))),
        Just(colour("like", json!("5%"))),
        Just(json!({"operandLeft": "properties.colour", "operator": "=", "operandRight": "red"})),
        Just(json!({"operandLeft": "properties.'weight'", "operator": "=", "operandRight": "2"})),
        Just(json!({"operandLeft": "weight", "operator": ">", "operandRight": 1})),
        Just(json!({"operandLeft": "@type", "operator": "=", "operandRight": "Asset"})),
    ];
    prop::collection::vec(criterion, 0..3).prop_map(Value::from)
}

fn commands() -> impl Strategy<Value = Command> {
    let (assets, policies, definitions) = (0..4u8, 0..3u8, 0..4u8);
    let colours = prop_oneof![
        Just(json!("red")),
        Just(json!("green")),
        Just(json!("blue")),
        Just(json!("re")),
        Just(json!(5)),
        Just(json!("5.0")),
        Just(json!(["blue", "red"])),
        Just(json!(null)),
    ];
    let operands = prop_oneof![Just("M"), Just("N")];
    prop_oneof![
        (assets.clone(), colours.clone()).prop_map(|(a, c)| Command::CreateAsset(asset(&format!("a{a}"), c))),
        (assets.clone(), colours).prop_map(|(a, c)| Command::UpdateAsset(id(&format!("a{a}")), asset("x", c))),
        assets.prop_map(|a| Command::DeleteAsset(id(&format!("a{a}")))),
        (policies.clone(), operands.clone()).prop_map(|(p, o)| Command::CreatePolicy(policy(&format!("p{p}"), o))),
        (policies.clone(), operands).prop_map(|(p, o)| Command::UpdatePolicy(id(&format!("p{p}")), policy("x", o))),
        policies.clone().prop_map(|p| Command::DeletePolicy(id(&format!("p{p}")))),
        (definitions.clone(), policies.clone(), policies.clone(), selectors())
            .prop_map(|(d, p, q, s)| Command::CreateDefinition(definition(&format!("d{d}"), &format!("p{p}"), &format!("p{q}"), s))),
        (definitions.clone(), policies.clone(), policies, selectors()).prop_map(|(d, p, q, s)| Command::UpdateDefinition(
            id(&format!("d{d}")),
            definition("x", &format!("p{p}"), &format!("p{q}"), s)
        )),
        definitions.prop_map(|d| Command::DeleteDefinition(id(&format!("d{d}")))),
    ]
}

/// Loading applies the rows in the order of their keys, through their stored form.
fn loaded(rows: &BTreeMap<Vec<u8>, agent::Event>) -> ControlPlaneState {
    let mut loaded = empty();
    for event in rows.values() {
        let stored: agent::Event = serde_json::from_slice(&serde_json::to_vec(event).unwrap()).unwrap();
        ControlPlane::apply(&mut loaded, &stored);
    }
    loaded
}

/// Searches everything: pairs of asset and definition, operands of access policies, users of policies.
type Found = (BTreeSet<(String, String)>, BTreeSet<String>, BTreeSet<String>);

fn searched(state: &State) -> Found {
    let selects = |d: &ContractDefinition, a: &Asset| d.assets_selector.iter().all(|criterion| criterion.matches(&a.to_json()));
    let definitions = || state.definitions().map(|d| &d.definition);
    let offers = definitions()
        .flat_map(|d| state.assets().filter(move |a| selects(d, a)).map(move |a| (a.id.to_string(), d.id.to_string())))
        .collect();
    let access = definitions().filter_map(|d| state.policy(&d.access_policy_id));
    let operands = access.flat_map(|p| p.policy.atomic_constraints().map(|c| c.left_operand.clone()).collect::<Vec<_>>()).collect();
    let used = definitions().flat_map(|d| [d.access_policy_id.to_string(), d.contract_policy_id.to_string()]).collect();
    (offers, operands, used)
}

fn pairs(assets: &OfferedAssets) -> impl Iterator<Item = (String, String)> {
    assets.iter().flat_map(|(a, offered)| offered.offers().keys().map(move |d| (a.to_string(), d.to_string())))
}

fn indexed(state: &State) -> Found {
    let offers: BTreeSet<_> = pairs(state.offered()).collect();
    let views: Vec<_> =
        state.views().iter().flat_map(|view| pairs(&view.assets).map(|pair| (view.access.policy.value().id.clone(), pair))).collect();
    assert!(views.iter().all(|(access, (_, d))| state.definition(&id(d)).unwrap().definition.access_policy_id == *access));
    assert_eq!((views.len(), views.into_iter().map(|(_, pair)| pair).collect()), (state.offers(), offers.clone()));
    let policies = ["p0", "p1", "p2"].into_iter().filter(|p| state.definition_using(&id(p)).is_some());
    (offers, state.access_operands().map(str::to_owned).collect(), policies.map(str::to_owned).collect())
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]
    #[test]
    fn the_index_is_what_a_search_finds(commands in prop::collection::vec(commands(), 1..60)) {
        let (mut state, mut rows) = (empty(), BTreeMap::new());
        for command in commands {
            let _ = run(&mut state, &mut rows, command);
            prop_assert_eq!(indexed(&state.resources), searched(&state.resources));
        }
        let loaded = loaded(&rows);
        prop_assert_eq!(indexed(&loaded.resources), indexed(&state.resources));
        prop_assert_eq!(loaded.resources.loose_selectors(), state.resources.loose_selectors());
        prop_assert_eq!(loaded.resources.bytes(), state.resources.bytes());
        prop_assert_eq!(loaded.resources.values(), state.resources.values());
        // And in any other order.
        let mut reversed = empty();
        rows.values().rev().for_each(|event| ControlPlane::apply(&mut reversed, event));
        prop_assert_eq!(indexed(&reversed.resources), indexed(&state.resources));
        prop_assert_eq!(reversed.resources.values(), state.resources.values());
        // Nothing is left of what goes.
        for n in 0..4 {
            let _ = run(&mut state, &mut rows, Command::DeleteDefinition(id(&format!("d{n}"))));
        }
        prop_assert!(state.resources.finds_nothing() && state.resources.offers() == 0);
        for n in 0..4 {
            let _ = run(&mut state, &mut rows, Command::DeleteAsset(id(&format!("a{n}"))));
        }
        prop_assert_eq!(state.resources.bytes(), 0);
    }
}

/// An offer has the policies that are there now, in every snapshot its own.
#[test]
fn offers_follow_their_policies() {
    let (mut state, mut rows) = (empty(), BTreeMap::new());
    let mut must = |state: &mut _, command| run(state, &mut rows, command).unwrap();
    must(&mut state, Command::CreatePolicy(policy("p", "old")));
    must(&mut state, Command::CreatePolicy(policy("t", "terms")));
    let selector = json!([{"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": "a"}]);
    must(&mut state, Command::CreateDefinition(definition("exact", "p", "t", selector)));
    must(&mut state, Command::CreateDefinition(definition("general", "p", "t", json!([]))));
    must(&mut state, Command::CreateAsset(asset("a", "red")));
    let operands = |state: &ControlPlaneState| -> Vec<String> {
        let offers = state.resources.offers_of(&id("a")).unwrap().offers().clone();
        let access = offers.values().filter_map(|offering| state.resources.access(offering));
        access.flat_map(|access| access.value().policy.atomic_constraints().map(|c| c.left_operand.clone()).collect::<Vec<_>>()).collect()
    };
    let old = state.clone();
    must(&mut state, Command::UpdatePolicy(id("p"), policy("p", "new")));
    assert_eq!((operands(&old), operands(&state)), (vec!["old".to_owned(); 2], vec!["new".to_owned(); 2]));
    // Another definition of the same offer, and another asset of the same definition.
    must(&mut state, Command::UpdateDefinition(id("general"), definition("general", "t", "t", json!([]))));
    assert_eq!(operands(&state), ["new", "terms"]);
    must(&mut state, Command::CreateAsset(asset("b", "red")));
    assert_eq!(state.resources.offers_of(&id("b")).unwrap().offers().size(), 1);
}
