//! The registry: tables of cells, dataspace profiles and their deployments, definitions; and what a deployment writes into a cell.

use super::{
    FabricRegistry, RegistryState, Reply,
    agent::{Command, Effect, Event, Outcome, Prepared},
    credentials, profile_names, settings,
};
use crate::fabric::{Refusal, limits, platform::CallError, testing::Double};
use cellspace_cluster::{Agent, Decision, Input, Rejection, RowOf};
use cellspace_schemas::{
    Timestamp,
    fabric::{CellId, DataspaceProfileId, DeploymentState, OrchestrationType},
};
use cellspace_storage::RowKey;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

const ISSUER: &str = "did:web:issuer";

/// A registry without a runtime: turns on a state, and the rows they would write.
#[derive(Default)]
struct World {
    state: RegistryState,
    rows: BTreeMap<RowKey, Vec<u8>>,
    ids: u128,
    now: i64,
}

impl World {
    fn step(&mut self, input: Input<FabricRegistry>) -> Result<Decision<FabricRegistry>, Refusal> {
        self.now += 1_000;
        match FabricRegistry::decide(&self.state, &input, Timestamp(self.now)) {
            Ok(decision) => {
                assert_eq!(decision.changes(), !decision.action.is_empty());
                for event in &decision.events {
                    FabricRegistry::apply(&mut self.state, event);
                    match FabricRegistry::row(event) {
                        RowOf::Put(key) => self.rows.insert(key, serde_json::to_vec(event).unwrap()),
                        RowOf::Delete(key) => self.rows.remove(&key),
                    };
                }
                Ok(decision)
            }
            Err(Rejection::Refused(refusal)) => Err(refusal),
            Err(Rejection::Stale) => panic!("a registry never finds its preparation stale"),
        }
    }

    fn ask(&mut self, command: Command) -> Result<Decision<FabricRegistry>, Refusal> {
        self.ask_when(command, false)
    }

    fn ask_when(&mut self, command: Command, in_use: bool) -> Result<Decision<FabricRegistry>, Refusal> {
        self.ids += 1;
        self.step(Input::Command(Prepared::new(command, Uuid::from_u128(self.ids), "cell-1".into(), in_use)))
    }

    fn delivered(&mut self, effect: Effect, outcome: Outcome) -> Decision<FabricRegistry> {
        self.step(Input::Delivered(effect.into(), outcome)).unwrap()
    }

    fn cell(&mut self, state: &str) -> CellId {
        let decision = self.ask(Command::CreateCell(serde_json::from_value(json!({ "state": state })).unwrap())).unwrap();
        let Reply::Cell(cell) = decision.reply else { panic!("no cell in the reply") };
        cell.id
    }

    fn profile(&mut self, body: Value) -> DataspaceProfileId {
        let decision = self.ask(Command::CreateProfile(serde_json::from_value(body).unwrap())).unwrap();
        let Reply::Profile(profile) = decision.reply else { panic!("no profile in the reply") };
        profile.id
    }

    /// Deploys, and lets the cell take it.
    fn deploy(&mut self, profile: &DataspaceProfileId, cell: &CellId) {
        let effect = self.ask(Command::Deploy(profile.clone(), cell.clone())).unwrap().effects.remove(0).effect;
        self.delivered(effect, Outcome::Deployed);
    }

    fn state_of(&self, cell: &CellId) -> Option<DeploymentState> {
        self.state.cells.get(cell).map(|record| record.cell.state)
    }

    /// The state as it comes back from the rows.
    fn reloaded(&self) -> RegistryState {
        let mut state = RegistryState::default();
        for row in self.rows.values() {
            FabricRegistry::apply(&mut state, &serde_json::from_slice::<Event>(row).unwrap());
        }
        state
    }
}

fn spec(id: &str, kind: &str, role: Option<&str>) -> Value {
    json!({"id": id, "type": kind, "issuer": ISSUER, "format": "vc20-bssl/jwt", "role": role})
}

fn profile(specs: Value, name: Option<&str>) -> Value {
    json!({"dataspaceSpec": {"credentialSpecs": specs}, "properties": {"cellspace.profile.name": name}})
}

// === cells ===

#[test]
fn cells_are_those_that_run() {
    let mut w = World::default();
    let create = |w: &mut World, body: Value| w.ask(Command::CreateCell(serde_json::from_value(body).unwrap()));
    assert!(matches!(create(&mut w, json!({"externalId": "cell-2"})), Err(Refusal::Invalid(_))));
    assert!(matches!(create(&mut w, json!({"properties": {"x": "x".repeat(limits::MAX_PROPERTIES)}})), Err(Refusal::Invalid(_))));
    let Reply::Cell(cell) = create(&mut w, json!({"externalId": "cell-1"})).unwrap().reply else { panic!("no cell") };
    assert_eq!((cell.external_id.as_str(), cell.state, cell.version), ("cell-1", DeploymentState::Active, 0));
    for (wanted, found) in [(None, true), (Some(cell.id.clone()), true), (CellId::new("nothing").ok(), false)] {
        assert_eq!(w.state.cell_for(wanted.as_ref()).is_ok(), found, "{wanted:?}");
    }
    let locked = w.cell("locked");
    assert!(w.state.cell_for(Some(&locked)).is_err());
    assert!(w.state.cell_for(None).is_ok(), "the only active one");
    w.cell("active");
    assert!(w.state.cell_for(None).is_err(), "two");
    assert_eq!(w.reloaded().cells, w.state.cells);
}

/// Every state in which a cell is deleted, and what the directory says of profiles in it: the state afterwards.
#[test]
fn deleting_cells() {
    use DeploymentState::{Active, Disposed, Disposing, Error, Initial, Locked, Offline, Pending};
    for from in [Initial, Pending, Active, Disposing, Disposed, Locked, Offline, Error] {
        for (outcome, expected) in [(Ok(Outcome::InUse), Some(from)), (Ok(Outcome::Vacant), None), (Err("unreachable"), Some(from))] {
            let mut w = World::default();
            let cell = w.cell(from.as_str());
            let started = w.ask(Command::DeleteCell(cell.clone())).unwrap();
            assert_eq!(started.effects.iter().map(|e| &e.effect).collect::<Vec<_>>(), [&Effect::Vacate(cell.clone())]);
            assert_eq!(w.state_of(&cell), Some(Disposing));
            assert!(w.state.cell_for(Some(&cell)).is_err(), "it takes no participants");
            // A second call waits for the same end, and a crash in between changes nothing.
            assert!(!w.ask(Command::DeleteCell(cell.clone())).unwrap().changes());
            w.state = w.reloaded();
            let effect = Effect::Vacate(cell.clone());
            let ended = match outcome {
                Ok(outcome) => w.delivered(effect, outcome),
                Err(reason) => w.step(Input::Undeliverable(effect.into(), reason.to_owned())).unwrap(),
            };
            assert!(ended.changes());
            assert_eq!(w.state_of(&cell), expected, "{from:?} {outcome:?}");
            assert!(!w.delivered(Effect::Vacate(cell.clone()), Outcome::Vacant).changes(), "a repeated outcome");
            assert_eq!(w.state_of(&cell), expected);
        }
    }
    assert!(matches!(World::default().ask(Command::DeleteCell("nothing".parse().unwrap())), Err(Refusal::NotFound(_))));
}

// === dataspace profiles ===

#[test]
fn profiles_are_checked() {
    let mut w = World::default();
    let good = spec("m", "Membership", None);
    for (body, why) in [
        (profile(json!([good, good]), None), "the same spec twice"),
        (profile(json!([spec("", "Membership", None)]), None), "no id"),
        (profile(json!([spec("m", "a b", None)]), None), "no type"),
        (profile(json!([spec("m", "", None)]), None), "an empty type"),
        (profile(json!([spec(&"x".repeat(limits::MAX_TEXT + 1), "M", None)]), None), "a long id"),
        (profile(Value::Array((0..=limits::MAX_SPECS).map(|n| spec(&n.to_string(), "M", None)).collect()), None), "many specs"),
        (profile(json!([]), Some("a/b")), "no name"),
        (json!({"properties": {"cellspace.profile.name": 7}}), "a number for a name"),
    ] {
        let refused = w.ask(Command::CreateProfile(serde_json::from_value(body).unwrap()));
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{why}");
    }
    let id = w.profile(profile(json!([good]), Some("custom")));
    assert_eq!(profile_names(&[w.state.profiles.get(&id).unwrap().clone()]).unwrap(), ["custom".parse().unwrap()]);
    assert!(matches!(w.ask_when(Command::RemoveProfile(id.clone()), true), Err(Refusal::Conflict(_))));
    assert_eq!(w.reloaded().profiles, w.state.profiles);
    w.ask(Command::RemoveProfile(id.clone())).unwrap();
    assert!(matches!(w.ask(Command::RemoveProfile(id)), Err(Refusal::NotFound(_))));
    assert!(w.reloaded().profiles.is_empty());
}

#[test]
fn deployments() {
    let mut w = World::default();
    let (cell, id) = (w.cell("active"), w.profile(profile(json!([]), None)));
    let current = |w: &World| {
        let deployment = w.state.profiles.get(&id).unwrap().deployments[0].clone();
        (deployment.state, deployment.version, deployment.properties.get("error").cloned())
    };
    let started = w.ask(Command::Deploy(id.clone(), cell.clone())).unwrap().effects.remove(0).effect;
    assert_eq!(current(&w), (DeploymentState::Pending, 0, None));
    w.step(Input::Undeliverable(started.into(), "refused".to_owned())).unwrap();
    assert_eq!(current(&w), (DeploymentState::Error, 1, Some(json!("refused"))));
    // Once more; what became of an earlier one counts no more.
    let second = w.ask(Command::Deploy(id.clone(), cell.clone())).unwrap().effects.remove(0).effect;
    assert_eq!(current(&w), (DeploymentState::Pending, 2, None));
    let third = w.ask(Command::Deploy(id.clone(), cell.clone())).unwrap().effects.remove(0).effect;
    assert!(!w.delivered(second, Outcome::Deployed).changes());
    w.delivered(third, Outcome::Deployed);
    assert_eq!(current(&w), (DeploymentState::Active, 4, None));
    assert_eq!(w.state.profiles.get(&id).unwrap().deployments.len(), 1, "one per cell");
    for (profile, cell) in [(id.clone(), "nothing".parse().unwrap()), ("nothing".parse().unwrap(), cell)] {
        assert!(w.ask(Command::Deploy(profile, cell)).is_err());
    }
}

/// Which dataspaces a participant can take part in: those that are active in its cell.
#[test]
fn participants_take_part_where_the_dataspace_is_active() {
    let mut w = World::default();
    let (here, there) = (w.cell("active"), w.cell("active"));
    let (deployed, elsewhere, nowhere) =
        (w.profile(profile(json!([]), None)), w.profile(profile(json!([]), None)), w.profile(profile(json!([]), None)));
    let cell = |w: &World| w.state.cell_for(Some(&here)).unwrap().clone();
    assert!(w.state.profiles_for(&cell(&w), &[]).is_err(), "none is active");
    w.deploy(&deployed, &here);
    w.deploy(&elsewhere, &there);
    let found = |wanted: &[DataspaceProfileId]| {
        let found = w.state.profiles_for(&cell(&w), wanted);
        found.map(|found| found.iter().map(|p| p.id.clone()).collect::<Vec<_>>())
    };
    assert_eq!(found(&[]), Ok(vec![deployed.clone()]));
    assert_eq!(found(std::slice::from_ref(&deployed)), Ok(vec![deployed.clone()]));
    for missing in [elsewhere, nowhere, "nothing".parse().unwrap()] {
        assert!(matches!(found(&[deployed.clone(), missing]), Err(Refusal::Invalid(_))));
    }
}

#[test]
fn credentials_follow_from_roles() {
    let mut w = World::default();
    let specs =
        json!([spec("m", "Membership", None), spec("f", "Manufacturer", Some("manufacturer")), spec("a", "Auditor", Some("auditor"))]);
    let id = w.profile(profile(specs, None));
    let other = w.profile(profile(json!([spec("m", "Membership", None)]), None));
    let profiles: Vec<_> = w.state.profiles.values().cloned().collect();
    for (roles, expected) in [
        (json!({}), vec!["m"]),
        (json!({id.as_str(): ["manufacturer"]}), vec!["m", "f"]),
        (json!({id.as_str(): ["auditor", "manufacturer"]}), vec!["m", "f", "a"]),
        (json!({other.as_str(): ["manufacturer"]}), vec!["m"]),
    ] {
        let mut found: Vec<String> =
            credentials(&profiles, &serde_json::from_value(roles.clone()).unwrap()).into_iter().map(|spec| spec.id).collect();
        found.sort_by_key(|id| "mfa".find(id.as_str()));
        assert_eq!(found, expected, "{roles}");
    }
}

// === definitions ===

#[test]
fn definitions_are_known_once_and_go_when_nothing_needs_them() {
    let mut w = World::default();
    let activity = |name: &str| Command::DefineActivity(serde_json::from_value(json!({ "type": name })).unwrap());
    let template = |id: &str, kind: &str, activity: &str| {
        Command::Define(serde_json::from_value(json!({"id": id, "activities": {kind: [{"id": "a", "type": activity}]}})).unwrap())
    };
    assert!(matches!(w.ask(activity("a/b")), Err(Refusal::Invalid(_))));
    w.ask(activity("x")).unwrap();
    assert!(matches!(w.ask(activity("x")), Err(Refusal::Conflict(_))));
    for command in [template("t", "audit", "y"), Command::Define(serde_json::from_value(json!({"activities": {}})).unwrap())] {
        assert!(matches!(w.ask(command), Err(Refusal::Invalid(_))));
    }
    w.ask(template("t", "audit", "x")).unwrap();
    for again in [template("t", "other", "x"), template("u", "audit", "x")] {
        assert!(matches!(w.ask(again), Err(Refusal::Conflict(_))));
    }
    let kind = OrchestrationType::new("audit").unwrap();
    assert_eq!(w.state.definition(&kind).unwrap().template.as_str(), "t");
    assert_eq!(w.state.definitions(None).len(), 1);
    assert!(matches!(w.ask(Command::RemoveActivity("x".parse().unwrap())), Err(Refusal::Invalid(_))));
    // In Kafka their topics could not be side by side, or one would be the other's for dead letters.
    w.ask(activity("x.y")).unwrap();
    assert!(matches!(w.ask(activity("x_y")), Err(Refusal::Conflict(_))));
    for bad in ["x.dead", &"x".repeat(129)] {
        assert!(matches!(w.ask(activity(bad)), Err(Refusal::Invalid(_))), "{bad}");
    }
    assert!(matches!(w.ask_when(Command::RemoveTemplate("t".parse().unwrap()), true), Err(Refusal::Invalid(_))));
    assert_eq!(w.reloaded().definition(&kind), w.state.definition(&kind));
    w.ask(Command::RemoveTemplate("t".parse().unwrap())).unwrap();
    w.ask(Command::RemoveActivity("x".parse().unwrap())).unwrap();
    for gone in [Command::RemoveTemplate("t".parse().unwrap()), Command::RemoveActivity("x".parse().unwrap())] {
        assert!(matches!(w.ask(gone), Err(Refusal::NotFound(_))));
    }
}

// === settings ===

/// What all deployed profiles of a name say, as one.
fn gathered() -> settings::CellSettings {
    let mut w = World::default();
    let cell = w.cell("active");
    let first = w.profile(profile(json!([spec("m", "Membership", None), spec("f", "Manufacturer", Some("manufacturer"))]), None));
    let second = w.profile(profile(json!([spec("f", "Manufacturer", None), spec("a", "Auditor", Some("auditor"))]), None));
    let other = w.profile(profile(json!([spec("x", "Elsewhere", None)]), Some("other")));
    w.profile(profile(json!([spec("y", "Undeployed", None)]), None));
    for id in [first, second, other] {
        w.deploy(&id, &cell);
    }
    settings::gather(&w.state, &crate::settings::DEFAULT_PROFILE.parse().unwrap(), "cell-1")
}

#[test]
fn settings_of_one_name_are_one() {
    use crate::settings::ScopeType::{Default, Policy};
    let settings = gathered();
    let scopes: Vec<(&str, _)> = settings.scopes.iter().map(|(name, scope)| (name.as_str(), *scope)).collect();
    assert_eq!(scopes, [("Auditor", Policy), ("Manufacturer", Default), ("Membership", Default)]);
    let issuers: Vec<_> = settings.issuers.iter().map(|(issuer, types)| (issuer.as_str(), types.len())).collect();
    assert_eq!(issuers, [(ISSUER, 3)]);
}

/// A cell that keeps what it is told, as the Management API does: POST makes, PUT with the id in the path replaces.
async fn cell(profile: Option<Value>) -> Double {
    let scopes: Mutex<BTreeMap<String, Value>> = Mutex::default();
    let profile = Mutex::new(profile);
    Double::new(move |asked| {
        let (method, path) = asked.path().split_once(' ').unwrap();
        let (kind, id) = match path.strip_prefix("/api/mgmt/v5beta/").unwrap().split_once('/') {
            Some((kind, id)) => (kind, Some(id.to_owned())),
            None => (path.trim_start_matches("/api/mgmt/v5beta/"), None),
        };
        match (method, kind, id) {
            ("GET", "dataspaceprofiles", Some(_)) => profile.lock().clone().map_or((404, Value::Null), |profile| (200, profile)),
            ("POST", "dataspaceprofiles", None) | ("PUT", "dataspaceprofiles", None) => {
                assert_eq!(method == "POST", profile.lock().is_none());
                *profile.lock() = Some(asked.body.clone());
                (204, Value::Null)
            }
            ("POST", "dcpscopes", None) => match scopes.lock().insert(asked.body["@id"].as_str().unwrap().to_owned(), asked.body.clone()) {
                None => (200, json!({})),
                Some(_) => (409, json!([{"message": "exists", "type": "ObjectConflict"}])),
            },
            ("PUT", "dcpscopes", Some(id)) if asked.body["@id"] == id => (204, Value::Null),
            _ => (405, Value::Null),
        }
    })
    .await
}

#[tokio::test]
async fn settings_are_written_once_more_over_what_is_there() {
    let settings = gathered();
    for there in [None, Some(json!({"name": "n", "trustedIssuers": [{"@id": "did:web:old", "supportedTypes": ["Old"]}], "keep": 1}))] {
        let cell = cell(there.clone()).await;
        for _ in 0..2 {
            settings::write(&cell.platform, &settings, None).await.unwrap();
        }
        let asked = cell.asked();
        assert!(asked.iter().all(|asked| asked.caller == "admin fabric management-api:admin"));
        let last = asked.iter().rfind(|asked| asked.call == "PUT /api/mgmt/v5beta/dataspaceprofiles").unwrap();
        let trusted: Vec<&str> = last.body["trustedIssuers"].as_array().unwrap().iter().map(|i| i["@id"].as_str().unwrap()).collect();
        assert_eq!(trusted.contains(&"did:web:old"), there.is_some());
        assert!(trusted.contains(&ISSUER));
        assert_eq!(last.body.get("keep").is_some(), there.is_some(), "what others set stays");
        let puts = asked.iter().filter(|asked| asked.call.starts_with("PUT /api/mgmt/v5beta/dcpscopes/")).count();
        assert_eq!(puts, settings.scopes.len(), "the second time");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_written_now_or_ever() {
    let settings = gathered();
    let cell = cell(None).await;
    settings::write(&cell.platform, &settings, None).await.unwrap();
    cell.reset();
    settings::write(&cell.platform, &settings, None).await.unwrap();
    let calls = cell.calls();
    assert_eq!(calls.len(), 2 + 2 * settings.scopes.len());
    for call in calls {
        cell.instead(&call, 503);
        assert!(matches!(settings::write(&cell.platform, &settings, None).await, Err(CallError::Retry(_))), "{call}");
        cell.instead(&call, 400);
        assert!(matches!(settings::write(&cell.platform, &settings, None).await, Err(CallError::Refused(_))), "{call}");
    }
}
