//! The tenant and its participant profiles: table of every (state, input), and counting once.

use super::{Deployment, Effect, Event, Outcome, Prepared, Reply, TenantAgent, TenantState};
use crate::fabric::{Refusal, topics};
use cellspace_cluster::{Agent, Decision, Input, Rejection};
use cellspace_schemas::{
    Did, EventPosition, Timestamp,
    fabric::{
        DeploymentState, NewTenant, OrchestrationId, OrchestrationManifest, OrchestrationResponse, ParticipantProfile,
        ParticipantProfileId, TenantId, TenantPropertiesDiff, VpaId, VpaType, keys,
    },
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_000);

fn profile_id() -> ParticipantProfileId {
    ParticipantProfileId::new("pp-1").unwrap()
}

fn did() -> Did {
    Did::new("did:web:localhost%3A1:acme").unwrap()
}

fn orchestration(text: &str) -> OrchestrationId {
    OrchestrationId::new(text).unwrap()
}

fn decide(state: &mut TenantState, prepared: Prepared) -> Result<Decision<TenantAgent>, Rejection<Refusal>> {
    let decision = TenantAgent::decide(state, &Input::Command(prepared), NOW)?;
    for event in &decision.events {
        TenantAgent::apply(state, event);
    }
    Ok(decision)
}

fn tenant() -> TenantState {
    let mut state = TenantState::default();
    let new = NewTenant { properties: json!({"name": "Acme", "location": "eu"}).as_object().unwrap().clone() };
    decide(&mut state, Prepared::Create(TenantId::new("t-1").unwrap(), new)).unwrap();
    state
}

fn deployment() -> Prepared {
    let json = json!({"identifier": "did:web:localhost%3A1:acme", "cellId": "c-1", "participantRoles": {"dp-1": ["manufacturer"]},
        "vpaProperties": {"cfm.issuer": {"membershipType": "full-member"}}, "properties": {"x": 1, keys::VPA_STATE: {"participantContextId": "somebody-elses"}}});
    let cell = json!({"id": "c-1", "version": 0, "externalId": "cell-1", "state": "active", "stateTimestamp": "2026-11-22T10:00:00Z"});
    let spec = json!({"id": "m", "type": "MembershipCredential", "issuer": "did:web:issuer", "format": "vc20-bssl/jwt"});
    Prepared::Deploy(Box::new(Deployment {
        id: profile_id(),
        new: serde_json::from_value(json).unwrap(),
        cell: serde_json::from_value(cell).unwrap(),
        profiles: Vec::new(),
        profile_names: vec!["http-dsp-profile-2025-1".parse().unwrap()],
        credentials: vec![serde_json::from_value(spec).unwrap()],
        vpa_ids: (1..=4).map(|n| VpaId::new(format!("vpa-{n}")).unwrap()).collect(),
        orchestration: orchestration("o-1"),
    }))
}

fn ended(id: &str, kind: &str, success: bool, position: u64) -> Prepared {
    let response = OrchestrationResponse {
        id: orchestration(id),
        manifest_id: orchestration(id),
        correlation_id: "pp-1".to_owned(),
        orchestration_type: kind.parse().unwrap(),
        success,
        error_detail: (!success).then(|| "ih: refused".to_owned()),
        properties: json!({"participantContextId": "pc-1", "holderPid": "hp-1", "credentialRequest": "http://x"})
            .as_object()
            .unwrap()
            .clone(),
        tenant_id: TenantId::new("t-1").ok(),
    };
    Prepared::Ended(Box::new(response), format!("orchestration/{id}"), EventPosition { seq: position, n: 0 })
}

fn profile(state: &TenantState) -> ParticipantProfile {
    state.profiles.get(&profile_id()).unwrap().view()
}

fn manifest(decision: &Decision<TenantAgent>) -> Option<OrchestrationManifest> {
    let fact = decision.facts.iter().find(|fact| fact.topic == topics::REQUESTS)?;
    Some(serde_json::from_value(fact.data.clone()).unwrap())
}

/// A profile in this state, as the machine leads there.
fn profile_in(wanted: DeploymentState) -> TenantState {
    let mut state = tenant();
    decide(&mut state, deployment()).unwrap();
    let path: Vec<Prepared> = match wanted {
        DeploymentState::Pending => vec![],
        DeploymentState::Active => vec![ended("o-1", keys::DEPLOY, true, 9)],
        DeploymentState::Error => vec![ended("o-1", keys::DEPLOY, false, 9)],
        DeploymentState::Disposing => vec![ended("o-1", keys::DEPLOY, true, 9), Prepared::Dispose(profile_id(), orchestration("o-2"))],
        DeploymentState::Disposed => vec![
            ended("o-1", keys::DEPLOY, true, 9),
            Prepared::Dispose(profile_id(), orchestration("o-2")),
            ended("o-2", keys::DISPOSE, true, 9),
        ],
        DeploymentState::Initial | DeploymentState::Locked | DeploymentState::Offline => vec![],
    };
    for step in path {
        decide(&mut state, step).unwrap();
    }
    if profile(&state).state() != wanted {
        // Only an operator's hand leads there.
        let mut record = state.profiles.get(&profile_id()).unwrap().as_ref().clone();
        record.profile.vpas.iter_mut().for_each(|vpa| vpa.state = wanted);
        state.profiles.insert_mut(profile_id(), record.into());
    }
    state
}

#[test]
fn a_deployment_asks_for_its_orchestration_in_the_same_turn() {
    let mut state = tenant();
    let decision = decide(&mut state, deployment()).unwrap();
    let manifest = manifest(&decision).unwrap();
    assert_eq!((manifest.id.as_str(), manifest.correlation_id.as_str()), ("o-1", "pp-1"));
    assert_eq!(manifest.orchestration_type.as_str(), keys::DEPLOY);
    assert_eq!(manifest.payload[keys::PARTICIPANT_ID], "did:web:localhost%3A1:acme");
    assert_eq!(manifest.payload[keys::VPA_CREDENTIALS][0]["type"], "MembershipCredential");
    assert_eq!(manifest.payload[keys::PROFILES], json!(["http-dsp-profile-2025-1"]));
    let issuer = manifest.payload[keys::VPA_DATA].as_array().unwrap().iter().find(|v| v["vpaType"] == "cfm.issuer").unwrap().clone();
    assert_eq!((&issuer["properties"]["membershipType"], &issuer["externalCellId"]), (&json!("full-member"), &json!("cell-1")));
    assert!(manifest.payload.get(keys::VPA_STATE).is_none());

    let Reply::Profile(profile) = &decision.reply else { panic!("no profile in the reply") };
    assert!(!profile.properties.contains_key(keys::VPA_STATE), "no client's word");
    assert_eq!(profile.vpas.iter().map(|v| v.vpa_type).collect::<Vec<_>>(), VpaType::ALL);
    assert!(profile.vpas.iter().all(|v| v.state == DeploymentState::Pending && v.cell_id.as_str() == "c-1"));
    assert!(decision.effects.iter().any(|e| e.effect == Effect::IndexProfile(profile_id(), did())));
    assert!(matches!(decide(&mut state, deployment()), Err(Rejection::Refused(Refusal::Conflict(_)))));
}

#[test]
fn success_makes_all_agents_active_and_keeps_the_outputs() {
    let mut state = profile_in(DeploymentState::Pending);
    let decision = decide(&mut state, ended("o-1", keys::DEPLOY, true, 3)).unwrap();
    let profile = profile(&state);
    assert!(profile.vpas.iter().all(|v| v.state == DeploymentState::Active && v.version == 1));
    assert_eq!(
        profile.properties[keys::VPA_STATE],
        json!({"participantContextId": "pc-1", "holderPid": "hp-1", "credentialRequest": "http://x"})
    );
    assert_eq!(profile.properties["x"], 1);
    assert!(!profile.error);
    let topics: Vec<&str> = decision.facts.iter().map(|f| f.topic.as_ref()).collect();
    assert_eq!(topics, [topics::LIFECYCLE, topics::USAGE]);
    assert_eq!(decision.facts[0].data["participantContextId"], "pc-1");
}

#[test]
fn failure_says_why_and_undoing_it_disposes() {
    let mut state = profile_in(DeploymentState::Pending);
    decide(&mut state, ended("o-1", keys::DEPLOY, false, 3)).unwrap();
    assert_eq!((profile(&state).error, profile(&state).error_detail.as_str()), (true, "ih: refused"));
    assert_eq!(profile(&state).state(), DeploymentState::Error);
    decide(&mut state, ended("o-1.compensation", keys::DISPOSE, true, 1)).unwrap();
    assert_eq!(profile(&state).state(), DeploymentState::Disposed);
    assert_eq!((profile(&state).error, profile(&state).error_detail.as_str()), (true, "ih: refused"));
}

#[test]
fn failed_undoing_keeps_both_reasons() {
    let mut state = profile_in(DeploymentState::Error);
    decide(&mut state, ended("o-1.compensation", keys::DISPOSE, false, 1)).unwrap();
    assert_eq!(profile(&state).error_detail, "ih: refused; undoing it failed: ih: refused");
    // A disposal tries again, with what the deployment brought about.
    let decision = decide(&mut state, Prepared::Dispose(profile_id(), orchestration("o-2"))).unwrap();
    let manifest = manifest(&decision).unwrap();
    assert_eq!(manifest.payload[keys::VPA_STATE]["participantContextId"], "pc-1");
    assert!(!profile(&state).error);
}

#[test]
fn results_count_once_and_only_from_awaited_orchestrations() {
    let mut state = profile_in(DeploymentState::Pending);
    let stranger = decide(&mut state, ended("o-9", keys::DEPLOY, true, 1)).unwrap();
    assert!(!stranger.changes());
    assert!(decide(&mut state, ended("o-1", keys::DEPLOY, true, 5)).unwrap().changes());
    let before = profile(&state);
    for position in [5, 4] {
        assert!(!decide(&mut state, ended("o-1", keys::DEPLOY, false, position)).unwrap().changes());
    }
    assert_eq!(profile(&state), before);
    // Nor does an earlier orchestration speak up once a disposal is awaited.
    decide(&mut state, Prepared::Dispose(profile_id(), orchestration("o-2"))).unwrap();
    assert!(!decide(&mut state, ended("o-1", keys::DEPLOY, true, 6)).unwrap().changes());
}

/// The next state for every state and input; `None` when nothing changes, `Err` when it is refused.
#[test]
fn table() {
    use DeploymentState::{Active, Disposed, Disposing, Error, Initial, Locked, Offline, Pending};
    let inputs: [(&str, fn() -> Prepared); 5] = [
        ("deployed", || ended("o-x", keys::DEPLOY, true, 1)),
        ("failed", || ended("o-x", keys::DEPLOY, false, 1)),
        ("disposed", || ended("o-x", keys::DISPOSE, true, 1)),
        ("disposal failed", || ended("o-x", keys::DISPOSE, false, 1)),
        ("dispose", || Prepared::Dispose(profile_id(), orchestration("o-7"))),
    ];
    for from in [Initial, Pending, Active, Disposing, Disposed, Locked, Offline, Error] {
        for (name, input) in inputs {
            let mut state = profile_in(from);
            let mut record = state.profiles.get(&profile_id()).unwrap().as_ref().clone();
            record.awaits.push(orchestration("o-x"));
            state.profiles.insert_mut(profile_id(), record.into());
            let expected = match (from, name) {
                (Pending, "deployed") => Ok(Some(Active)),
                (Pending, "failed") => Ok(Some(Error)),
                (Disposing | Error, "disposed") => Ok(Some(Disposed)),
                (Disposing | Error, "disposal failed") => Ok(Some(Error)),
                (Active | Error | Locked | Offline, "dispose") => Ok(Some(Disposing)),
                (Initial | Pending, "dispose") => Err(()),
                _ => Ok(None),
            };
            let found = match decide(&mut state, input()) {
                Ok(decision) => Ok(decision.changes().then(|| profile(&state).state())),
                Err(_) => Err(()),
            };
            assert_eq!(found, expected, "{from:?}, {name}");
        }
    }
}

#[test]
fn properties_of_a_tenant() {
    let mut state = tenant();
    let diff: TenantPropertiesDiff = serde_json::from_value(json!({"properties": {"tier": "gold"}, "removed": ["location"]})).unwrap();
    let decision = decide(&mut state, Prepared::Patch(diff)).unwrap();
    let Reply::Tenant(tenant) = decision.reply else { panic!("no tenant in the reply") };
    assert_eq!(Value::Object(tenant.properties), json!({"name": "Acme", "tier": "gold"}));
    assert_eq!(tenant.version, 1);
    let large = json!({"properties": {"x": "x".repeat(crate::fabric::limits::MAX_PROPERTIES)}});
    let refused = decide(&mut state, Prepared::Patch(serde_json::from_value(large).unwrap()));
    assert!(matches!(refused, Err(Rejection::Refused(Refusal::Invalid(_)))));
    let again = decide(&mut state, Prepared::Create(TenantId::new("t-1").unwrap(), NewTenant::default()));
    assert!(matches!(again, Err(Rejection::Refused(Refusal::Conflict(_)))));
}

#[test]
fn a_tenant_goes_when_its_participants_are_gone() {
    for from in [DeploymentState::Pending, DeploymentState::Active, DeploymentState::Disposing, DeploymentState::Error] {
        assert!(matches!(decide(&mut profile_in(from), Prepared::Delete), Err(Rejection::Refused(Refusal::Invalid(_)))), "{from:?}");
    }
    let mut state = profile_in(DeploymentState::Disposed);
    let decision = decide(&mut state, Prepared::Delete).unwrap();
    assert!(state.tenant.is_none() && state.profiles.is_empty());
    // The rows of profile and DID go with the tenant, also when the removal of the DID's row at the disposal was not delivered yet.
    let effects: Vec<&Effect> = decision.effects.iter().map(|e| &e.effect).collect();
    assert_eq!(effects, [&Effect::IndexTenant, &Effect::IndexProfile(profile_id(), did())]);
    for input in [Prepared::Delete, deployment(), Prepared::Patch(TenantPropertiesDiff::default())] {
        assert!(matches!(decide(&mut state, input), Err(Rejection::Refused(Refusal::NotFound(_)))));
    }
}

fn input(state: &mut TenantState, input: Input<TenantAgent>, now: Timestamp) -> Decision<TenantAgent> {
    let decision = TenantAgent::decide(state, &input, now).unwrap();
    for event in &decision.events {
        TenantAgent::apply(state, event);
    }
    decision
}

fn due_at(state: &TenantState) -> Option<Timestamp> {
    state.profiles.get(&profile_id()).unwrap().check_at
}

/// The deadline passes, and the look at the orchestrations brings `outcome`.
fn overdue(state: &mut TenantState, outcome: Outcome) -> Decision<TenantAgent> {
    let now = due_at(state).unwrap();
    let asked = input(state, Input::Due("pp-1".to_owned()), now);
    assert_eq!(asked.effects.iter().map(|e| &e.effect).collect::<Vec<_>>(), [&Effect::Check(profile_id())]);
    assert!(asked.facts.is_empty() && due_at(state).is_none());
    input(state, Input::Delivered(Effect::Check(profile_id()).into(), outcome), now)
}

fn response(id: &str, kind: &str, success: bool) -> OrchestrationResponse {
    let Prepared::Ended(response, ..) = ended(id, kind, success, 1) else { panic!("no response") };
    *response
}

#[test]
fn a_result_that_does_not_come_is_looked_for() {
    for (from, responses, to) in [
        (DeploymentState::Pending, vec![response("o-1", keys::DEPLOY, true)], DeploymentState::Active),
        (DeploymentState::Pending, vec![response("o-1", keys::DEPLOY, false)], DeploymentState::Error),
        (
            DeploymentState::Pending,
            vec![response("o-1", keys::DEPLOY, false), response("o-1.compensation", keys::DISPOSE, true)],
            DeploymentState::Disposed,
        ),
        (DeploymentState::Disposing, vec![response("o-2", keys::DISPOSE, true)], DeploymentState::Disposed),
        (DeploymentState::Disposing, vec![response("o-2", keys::DISPOSE, false)], DeploymentState::Error),
    ] {
        let mut state = profile_in(from);
        let decision = overdue(&mut state, Outcome::Ended(responses));
        assert_eq!((profile(&state).state(), due_at(&state)), (to, None), "{from:?}");
        assert!(decision.facts.iter().any(|fact| fact.topic == topics::LIFECYCLE), "{from:?}");
    }
    // The event that comes late after all has nothing new to say.
    let mut state = profile_in(DeploymentState::Pending);
    overdue(&mut state, Outcome::Ended(vec![response("o-1", keys::DEPLOY, true)]));
    assert!(!decide(&mut state, ended("o-1", keys::DEPLOY, true, 9)).unwrap().changes());
}

#[test]
fn while_an_orchestration_runs_or_cannot_be_asked_it_is_looked_at_again() {
    let mut state = profile_in(DeploymentState::Pending);
    let first = due_at(&state);
    overdue(&mut state, Outcome::Running);
    assert!(due_at(&state) > first);
    let now = due_at(&state).unwrap();
    input(&mut state, Input::Due("pp-1".to_owned()), now);
    input(&mut state, Input::Undeliverable(Effect::Check(profile_id()).into(), "unreachable".to_owned()), now);
    assert!(due_at(&state) > Some(now));
    // What others than those awaited say does not end the wait.
    overdue(&mut state, Outcome::Ended(vec![response("o-9", keys::DEPLOY, true)]));
    assert_eq!(profile(&state).state(), DeploymentState::Pending);
    assert!(due_at(&state).is_some());
}

#[test]
fn a_log_that_is_away_for_long_fails_no_deployment() {
    let ended = || vec![response("o-1", keys::DEPLOY, true)];
    assert_eq!(super::awaited::found(ended(), false, true), Outcome::Ended(ended()));
    assert_eq!(super::awaited::found(vec![], true, false), Outcome::Running);
    assert_eq!(super::awaited::found(vec![], false, false), Outcome::Missing);
    let mut state = profile_in(DeploymentState::Pending);
    for _ in 0..2 * super::awaited::MAX_MISSED {
        assert!(manifest(&overdue(&mut state, super::awaited::found(vec![], false, true))).is_none(), "it is asked for already");
        assert_eq!(profile(&state).state(), DeploymentState::Pending);
    }
}

#[test]
fn a_request_without_effect_is_made_again_and_given_up_in_the_end() {
    for (from, id, kind) in [(DeploymentState::Pending, "o-1", keys::DEPLOY), (DeploymentState::Disposing, "o-2", keys::DISPOSE)] {
        let mut state = profile_in(from);
        for _ in 0..super::awaited::MAX_MISSED {
            let again = manifest(&overdue(&mut state, Outcome::Missing)).unwrap();
            assert_eq!((again.id.as_str(), again.orchestration_type.as_str()), (id, kind));
        }
        let last = overdue(&mut state, Outcome::Missing);
        assert!(manifest(&last).is_none());
        assert_eq!((profile(&state).state(), due_at(&state)), (DeploymentState::Error, None));
        assert!(profile(&state).error_detail.contains("dead letters"));
        // Not stuck: it can be disposed of.
        decide(&mut state, Prepared::Dispose(profile_id(), orchestration("o-3"))).unwrap();
        assert_eq!(profile(&state).state(), DeploymentState::Disposing);
    }
}

#[test]
fn a_settled_profile_is_not_looked_at() {
    for settled in [DeploymentState::Active, DeploymentState::Error, DeploymentState::Disposed] {
        let mut state = profile_in(settled);
        assert_eq!(due_at(&state), None);
        assert!(!input(&mut state, Input::Due("pp-1".to_owned()), NOW).changes());
        let late = Input::Delivered(Effect::Check(profile_id()).into(), Outcome::Missing);
        assert!(!input(&mut state, late, NOW).changes(), "{settled:?}");
    }
}

/// Rows hold events, so state must come back from them.
#[test]
fn state_is_loaded_from_rows() {
    let mut state = tenant();
    let decision = decide(&mut state, deployment()).unwrap();
    let mut loaded = tenant();
    for event in &decision.events {
        let row: Event = serde_json::from_slice(&serde_json::to_vec(event).unwrap()).unwrap();
        TenantAgent::apply(&mut loaded, &row);
    }
    assert_eq!(loaded.profiles.get(&profile_id()), state.profiles.get(&profile_id()));
}
