//! Requests that wait for somebody: what is asked, what is answered, and what happens when nobody answers.

use super::*;
use crate::issuer::{
    admin::Command as Admin,
    testing::{World, definition, did, guarded, holder},
};
use serde_json::json;

const HOOK: &str = "https://onboarding.example/requests";

fn world() -> World {
    let mut world = World::seeded();
    world.admin(guarded("guarded", Some(HOOK))).unwrap();
    world.log.clear();
    world
}

fn process<'a>(world: &'a World, pid: &IssuerPid) -> &'a Process {
    world.state.processes.get(pid).unwrap()
}

fn subjects(world: &World) -> Vec<serde_json::Value> {
    world.state.credentials.values().map(|credential| json!(*credential.subject)).collect()
}

#[test]
fn a_request_waits_until_it_is_approved() {
    let mut world = world();
    let pid = world.request("acme", "h-1", &["membership", "guarded"]).unwrap();
    assert_eq!((process(&world, &pid).state, world.state.credentials.size()), (State::Submitted, 0));
    assert!(matches!(world.outbox.front().map(AsRef::as_ref), Some(Effect::Ask(ask)) if ask.process == pid));
    world.sent(Err("nobody listens")).unwrap();
    // It waits all the same, and a repeat of the request is the same one.
    assert_eq!(world.request("acme", "h-1", &["membership", "guarded"]), Ok(pid.clone()));
    assert_eq!((process(&world, &pid).state, world.outbox.len()), (State::Submitted, 0));
    world.approve(&pid).unwrap();
    assert_eq!((process(&world, &pid).state, world.state.credentials.size()), (State::Approved, 2));
    assert!(world.deadlines.is_empty());
    // Again: nothing. The other way round: refused.
    world.approve(&pid).unwrap();
    assert!(matches!(world.reject(&pid, None), Err(Refusal::Conflict(_))));
    world.sent(Ok(())).unwrap();
    world.approve(&pid).unwrap();
    assert_eq!((process(&world, &pid).state, world.outbox.len()), (State::Delivered, 0));
    let usage = "org.cellspace.usage.credential-issued";
    assert_eq!(world.log, ["issuance.submitted", "issuance.approved", "issuance.delivered", usage, usage]);
}

#[test]
fn what_is_sent_comes_with_the_newest_token() {
    let token = |text: &str| Some(SecretText::new(text));
    for approved in [true, false] {
        let mut world = world();
        world.admin(guarded("quiet", None)).unwrap();
        world.token = token("first");
        let pid = world.request("acme", "h-1", &["quiet"]).unwrap();
        // The same one, or none, changes nothing.
        for (came, rows) in [("first", 0), ("second", 1)] {
            let log = world.log.len();
            world.token = token(came);
            assert_eq!(world.request("acme", "h-1", &["quiet"]), Ok(pid.clone()));
            assert_eq!(world.log.len(), log + rows, "{came}");
        }
        world.token = None;
        assert_eq!(world.request("acme", "h-1", &["quiet"]), Ok(pid.clone()));
        assert_eq!(world.log.last().unwrap(), "issuance.repeated");
        assert_eq!((process(&world, &pid).state, world.deadlines.len(), world.outbox.len()), (State::Submitted, 1, 0));
        // Of other credentials it is no repeat, and its token is not kept.
        world.token = token("third");
        assert!(matches!(world.request("acme", "h-1", &["membership"]), Err(Refusal::Conflict(_))));
        if approved {
            world.approve(&pid).unwrap()
        } else {
            world.reject(&pid, None).unwrap()
        };
        match world.outbox.front().map(AsRef::as_ref) {
            Some(Effect::Deliver { token: sent, .. } | Effect::Reject { token: sent, .. }) => assert_eq!(*sent, token("second")),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rejected_request_ends_and_its_holder_is_told() {
    let mut world = world();
    let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
    world.sent(Ok(())).unwrap();
    assert!(matches!(world.reject(&pid, Some(&"x".repeat(MAX_REASON_BYTES + 1))), Err(Refusal::Invalid(_))));
    world.reject(&pid, Some("no member")).unwrap();
    assert_eq!((process(&world, &pid).state, process(&world, &pid).error.as_deref()), (State::Errored, Some("no member")));
    world.reject(&pid, Some("another reason")).unwrap();
    assert_eq!(process(&world, &pid).error.as_deref(), Some("no member"));
    assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
    assert!(matches!(world.outbox.front().map(AsRef::as_ref), Some(Effect::Reject { process, .. }) if *process == pid));
    assert_eq!((world.outbox.len(), world.state.credentials.size()), (1, 0));
    // Asked again, it is another question.
    let again = world.request("acme", "h-1", &["guarded"]).unwrap();
    assert_ne!(again, pid);
    world.approve(&again).unwrap();
    assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
}

#[test]
fn what_nobody_decides_ends() {
    let mut world = world();
    let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
    world.pass(Duration::from_secs(99));
    assert_eq!(process(&world, &pid).state, State::Submitted);
    world.pass(Duration::from_secs(1));
    assert_eq!((process(&world, &pid).state, process(&world, &pid).answer.clone()), (State::Errored, Some(Answer::Missing)));
    assert!(matches!(world.outbox.back().map(AsRef::as_ref), Some(Effect::Reject { .. })));
    assert!(world.deadlines.is_empty());
    for verdict in [world.approve(&pid), world.reject(&pid, None)] {
        assert!(matches!(verdict, Err(Refusal::Conflict(_))));
    }
}

#[test]
fn only_what_waits_is_decided_about() {
    let mut world = world();
    let pid = world.request("acme", "h-1", &["membership"]).unwrap();
    for verdict in [world.approve(&pid), world.reject(&pid, None)] {
        assert!(matches!(verdict, Err(Refusal::Conflict(_))));
    }
    let none = IssuerPid::new("none").unwrap();
    for verdict in [world.approve(&none), world.reject(&none, None)] {
        assert!(matches!(verdict, Err(Refusal::NotFound(..))));
    }
}

#[test]
fn nobody_is_asked_about_who_is_not_entitled() {
    let mut world = world();
    world.admin(holder("unsigned", &json!({"signed": false, "since": "2026"}))).unwrap();
    assert!(matches!(world.request("unsigned", "h-1", &["guarded"]), Err(Refusal::NotEntitled(_))));
    assert!(world.outbox.is_empty());
}

#[test]
fn what_is_issued_is_what_was_shown_if_it_still_holds() {
    let mut world = world();
    let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
    let Admin::CreateHolder(there) = holder("acme", &json!({"signed": true, "since": "1926"})) else { panic!("no holder") };
    let unsigned = serde_json::from_value(json!({"holderId": "acme", "did": did("acme"), "properties": {"since": "2026"}})).unwrap();
    let elsewhere = serde_json::from_value(json!({"holderId": "acme", "did": did("acme-2")})).unwrap();
    for changed in [unsigned, elsewhere] {
        world.admin(Admin::UpdateHolder(changed)).unwrap();
        assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
        assert_eq!(process(&world, &pid).state, State::Submitted, "it may be approved later");
    }
    // Entitled again, and another one now: that was not approved.
    world.admin(Admin::UpdateHolder(there)).unwrap();
    world.approve(&pid).unwrap();
    assert_eq!(subjects(&world), [json!({"since": "2026"})]);
}

#[test]
fn a_definition_that_changed_stands_in_the_way_only_where_it_must() {
    let mut world = world();
    let Admin::CreateDefinition(mut body) = guarded("guarded", Some(HOOK)) else { panic!("no definition") };
    let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
    body.json_schema = Some(json!({"required": ["level"]}).to_string());
    world.admin(Admin::UpdateDefinition(body.clone())).unwrap();
    assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
    world.admin(Admin::DeleteDefinition("guarded".parse().unwrap())).unwrap();
    assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
    // What asks for no approval any more is still waited for by who had to be approved.
    (body.json_schema, body.approval) = (None, None);
    world.admin(Admin::CreateDefinition(body)).unwrap();
    world.approve(&pid).unwrap();
    assert_eq!(process(&world, &pid).state, State::Approved);
}

#[test]
fn what_a_definition_says_otherwise_was_not_approved() {
    let mut world = world();
    let Admin::CreateDefinition(body) = guarded("guarded", Some(HOOK)) else { panic!("no definition") };
    let pid = world.request("acme", "h-1", &["membership", "guarded"]).unwrap();
    for change in [
        json!({"credentialType": "OtherCredential"}),
        json!({"format": "VC1_0_JWT"}),
        json!({"validity": "7200"}),
        json!({"additionalContext": ["https://example.com/context"]}),
    ] {
        let mut changed = json!(body);
        changed.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.admin(Admin::UpdateDefinition(serde_json::from_value(changed).unwrap())).unwrap();
        assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))), "{change}");
    }
    assert_eq!((process(&world, &pid).state, world.state.credentials.size()), (State::Submitted, 0));
    world.admin(Admin::UpdateDefinition(body)).unwrap();
    world.approve(&pid).unwrap();
}

#[test]
fn a_hook_is_told_for_as_long_as_there_is_one_and_something_to_decide() {
    let mut world = world();
    world.admin(guarded("second", Some(HOOK))).unwrap();
    let pid = world.request("acme", "h-1", &["guarded", "second"]).unwrap();
    let Some(Effect::Ask(ask)) = world.outbox.pop_front().as_deref().cloned() else { panic!("nobody is asked") };
    assert!(world.outbox.is_empty(), "it is one hook");
    let told = |world: &World| ask.target(&world.state).map(ToString::to_string);
    let moved = |to: Option<&str>| {
        let Admin::CreateDefinition(body) = guarded("second", to) else { panic!("no definition") };
        Admin::UpdateDefinition(body)
    };
    assert_eq!(told(&world).as_deref(), Some(HOOK));
    // Who asked first is gone; the other one's question stays.
    world.admin(Admin::DeleteDefinition("guarded".parse().unwrap())).unwrap();
    assert_eq!(told(&world).as_deref(), Some(HOOK));
    world.admin(moved(None)).unwrap();
    assert_eq!(told(&world), None);
    // It is elsewhere by now.
    let elsewhere = "https://office.example/";
    world.admin(guarded("guarded", Some(elsewhere))).unwrap();
    assert_eq!(told(&world).as_deref(), Some(elsewhere));
    world.admin(moved(Some(HOOK))).unwrap();
    assert_eq!(told(&world).as_deref(), Some(HOOK));
    world.reject(&pid, None).unwrap();
    assert_eq!(told(&world), None);
}

#[test]
fn who_is_not_registered_is_approved_only_for_what_is_open() {
    let mut world = world();
    let Admin::CreateDefinition(mut open) = guarded("open", Some(HOOK)) else { panic!("no definition") };
    (open.anonymous_allowed, open.attestations, open.rules, open.mappings) = (true, Vec::new(), Vec::new(), Vec::new());
    world.admin(Admin::CreateDefinition(open.clone())).unwrap();
    let pid = world.request("stranger", "h-1", &["open"]).unwrap();
    open.anonymous_allowed = false;
    world.admin(Admin::UpdateDefinition(open)).unwrap();
    assert!(matches!(world.approve(&pid), Err(Refusal::Conflict(_))));
    let taken = serde_json::from_value(json!({"holderId": did("stranger"), "did": did("stranger")})).unwrap();
    world.admin(Admin::UpdateHolder(taken)).unwrap();
    world.approve(&pid).unwrap();
}

#[test]
fn each_hook_is_told_once_and_the_first_deadline_counts() {
    let mut world = world();
    let Admin::CreateDefinition(mut quick) = guarded("quick", Some(HOOK)) else { panic!("no definition") };
    quick.approval.as_mut().unwrap().timeout = 10;
    world.admin(Admin::CreateDefinition(quick)).unwrap();
    world.admin(guarded("other", Some("https://office.example/"))).unwrap();
    world.admin(guarded("quiet", None)).unwrap();
    world.request("acme", "h-1", &["guarded", "quick", "other", "quiet"]).unwrap();
    assert_eq!(world.outbox.len(), 2);
    world.pass(Duration::from_secs(10));
    assert!(world.deadlines.is_empty());
}

#[test]
fn a_holder_that_is_removed_leaves_no_question() {
    let mut world = world();
    let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
    world.admin(Admin::DeleteHolder("acme".parse().unwrap())).unwrap();
    assert_eq!((process(&world, &pid).state, process(&world, &pid).answer.clone()), (State::Errored, Some(Answer::Missing)));
    assert_eq!(process(&world, &pid).error.as_deref(), Some("the holder was removed"));
    assert!(world.deadlines.is_empty());
    assert!(matches!(world.outbox.back().map(AsRef::as_ref), Some(Effect::Reject { .. })));
}

#[test]
fn waiting_requests_of_a_holder_are_bounded() {
    let mut world = world();
    for n in 0..admission::MAX_UNDER_WAY {
        world.request("acme", &format!("h-{n}"), &["guarded"]).unwrap();
    }
    assert_eq!(world.request("acme", "one-more", &["guarded"]), Err(Refusal::TooMany));
    world.pass(Duration::from_secs(1_000));
    assert!(world.request("acme", "one-more", &["guarded"]).is_ok());
}

#[test]
fn a_token_waits_in_the_row_alone() {
    let mut world = world();
    let pid = world.request("acme", "h-1", &["guarded"]).unwrap();
    let Some(Answer::Open(question)) = process(&world, &pid).answer.clone() else { panic!("no question") };
    let question = Question { token: Some(SecretText::new("s3cret")), ..Question::clone(&question) };
    let waiting = Process { answer: Some(Answer::Open(Arc::new(question))), ..process(&world, &pid).clone() };
    assert!(!format!("{waiting:?}").contains("s3cret"));
    let view = serde_json::to_string(&waiting.view(&"issuer".parse().unwrap())).unwrap();
    assert!(!view.contains("s3cret"), "{view}");
}

#[test]
fn services_are_asked_again() {
    let mut world = world();
    let office = serde_json::from_value(json!({"id": "office", "attestationType": "http", "configuration": {"url": HOOK}})).unwrap();
    world.admin(Admin::CreateAttestation(office)).unwrap();
    let Admin::CreateDefinition(mut body) = definition("checked", "vc20-bssl/jwt") else { panic!("no definition") };
    body.attestations.push("office".parse().unwrap());
    body.approval = Some(serde_json::from_value(json!({})).unwrap());
    world.admin(Admin::CreateDefinition(body)).unwrap();
    let said = |claims: Option<serde_json::Value>| {
        Attested::from([("office".parse().unwrap(), claims.map(|claims| claims.as_object().unwrap().clone()))])
    };
    let pid = world.request_with("acme", "h-1", &["checked"], said(Some(json!({"since": "2020"})))).unwrap();
    assert!(matches!(world.approve_with(&pid, said(None)), Err(Refusal::Conflict(_))));
    world.approve_with(&pid, said(Some(json!({"since": "2021"})))).unwrap();
    assert_eq!(subjects(&world), [json!({"since": "2020"})]);
}
