//! Which events come of which change, and who is told of them.

use super::{Effect, Process, change, envelope};
use crate::control_plane::{
    ControlPlane, ControlPlaneState, Effect as AgentEffect,
    dsp::Role,
    negotiation::{self, Negotiation, NewNegotiation, Prepared, State as Negotiating},
    testing::{NOW, offer, peer, profile, settings, state},
    transfer::{self, State as Transferring, Transfer},
};
use cellspace_cluster::{Agent, Decision, Track};
use cellspace_schemas::{
    dsp::negotiation::NegotiationState as Seen,
    management::{CallbackAddress, ProcessEvent},
};
use serde_json::json;
use std::sync::Arc;

fn names(events: &[ProcessEvent]) -> String {
    events.iter().map(|event| event.name().rsplit('.').next().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_step_of_a_negotiation_is_told_once() {
    use Negotiating as S;
    use Role::{Consumer, Provider};
    let negotiation = |role, state, seen, known: bool| {
        let n = negotiation::tests::negotiation(state, role);
        Negotiation { seen, counterparty_pid: n.counterparty_pid.clone().filter(|_| known), ..n }
    };
    for (role, state, seen, known, told) in [
        (Consumer, S::Requesting, Seen::Requested, false, "initiated"),
        (Provider, S::Offering, Seen::Offered, false, "initiated"),
        (Consumer, S::Offered, Seen::Offered, true, "offered"),
        (Provider, S::Requested, Seen::Requested, true, "requested"),
        // Answered in the same turn.
        (Provider, S::Agreeing, Seen::Requested, true, "requested"),
        (Provider, S::Terminating, Seen::Requested, true, "requested"),
    ] {
        let begun = change::of_negotiation(None, &negotiation(role, state, seen, known));
        assert_eq!(names(&begun), told, "{role:?} {state:?}");
    }
    for (role, (before, saw), (after, sees), told) in [
        (Consumer, (S::Requesting, Seen::Requested), (S::Requested, Seen::Requested), "requested"),
        (Consumer, (S::Requested, Seen::Requested), (S::Offered, Seen::Offered), "offered"),
        (Consumer, (S::Offered, Seen::Offered), (S::Requesting, Seen::Offered), ""),
        (Consumer, (S::Requesting, Seen::Offered), (S::Requested, Seen::Requested), "requested"),
        (Consumer, (S::Offered, Seen::Offered), (S::Accepting, Seen::Offered), ""),
        (Consumer, (S::Accepting, Seen::Offered), (S::Accepted, Seen::Accepted), "accepted"),
        (Consumer, (S::Requested, Seen::Requested), (S::Verifying, Seen::Agreed), "agreed"),
        (Consumer, (S::Verifying, Seen::Agreed), (S::Verified, Seen::Verified), "verified"),
        (Consumer, (S::Verified, Seen::Verified), (S::Finalized, Seen::Finalized), "finalized"),
        (Provider, (S::Requested, Seen::Requested), (S::Agreeing, Seen::Requested), ""),
        (Provider, (S::Agreeing, Seen::Requested), (S::Agreed, Seen::Agreed), "agreed"),
        (Provider, (S::Agreed, Seen::Agreed), (S::Finalizing, Seen::Verified), "verified"),
        (Provider, (S::Finalizing, Seen::Verified), (S::Finalized, Seen::Finalized), "finalized"),
        // What came has overtaken the answer to our message.
        (Consumer, (S::Requesting, Seen::Requested), (S::Verifying, Seen::Agreed), "requested agreed"),
        (Consumer, (S::Requesting, Seen::Requested), (S::Offered, Seen::Offered), "requested offered"),
        (Consumer, (S::Requesting, Seen::Offered), (S::Offered, Seen::Offered), "requested offered"),
        (Consumer, (S::Verifying, Seen::Agreed), (S::Finalized, Seen::Finalized), "verified finalized"),
        (Provider, (S::Offering, Seen::Requested), (S::Agreeing, Seen::Accepted), "offered accepted"),
        (Provider, (S::Offering, Seen::Requested), (S::Requested, Seen::Requested), "offered requested"),
        (Provider, (S::Agreeing, Seen::Requested), (S::Finalizing, Seen::Verified), "agreed verified"),
        // Ends.
        (Consumer, (S::Requesting, Seen::Requested), (S::Terminating, Seen::Requested), ""),
        (Consumer, (S::Terminating, Seen::Requested), (S::Terminated, Seen::Terminated), "terminated"),
        (Consumer, (S::Requesting, Seen::Requested), (S::Terminated, Seen::Terminated), "terminated"),
        (Provider, (S::Agreeing, Seen::Requested), (S::Terminated, Seen::Terminated), "terminated"),
        // Nothing but the counterparty's id has come.
        (Consumer, (S::Verifying, Seen::Agreed), (S::Verifying, Seen::Agreed), ""),
    ] {
        let (before, after) = (negotiation(role, before, saw, true), negotiation(role, after, sees, true));
        assert_eq!(names(&change::of_negotiation(Some(&before), &after)), told, "{role:?} {:?} {:?}", before.state, after.state);
    }
    // What came does not fulfil the policy, so that the negotiation ends in the same turn.
    for ((before, saw), sees, told) in [
        ((S::Offered, Seen::Offered), Seen::Requested, "requested"),
        ((S::Offering, Seen::Requested), Seen::Requested, "offered requested"),
        ((S::Offering, Seen::Requested), Seen::Accepted, "offered accepted"),
    ] {
        let after = Negotiation { finding: Some("unmet".to_owned()), ..negotiation(Provider, S::Terminating, sees, true) };
        let before = negotiation(Provider, before, saw, true);
        assert_eq!(names(&change::of_negotiation(Some(&before), &after)), told, "{:?} {sees:?}", before.state);
        let ended = Negotiation { state: S::Terminated, seen: Seen::Terminated, ..after.clone() };
        assert_eq!(names(&change::of_negotiation(Some(&after), &ended)), "terminated");
    }
}

#[test]
fn every_step_of_a_transfer_is_told_once() {
    use Role::{Consumer, Provider};
    use Transferring as S;
    use cellspace_schemas::dsp::transfer::TransferState as Seen;
    let transfer = |role, state| transfer::tests::transfer(state, role);
    for (role, state, told) in [
        (Consumer, S::PreparationRequested, "initiated"),
        (Consumer, S::Terminated, "initiated terminated"),
        (Provider, S::Requested, "requested"),
        (Provider, S::StartupRequested, "requested"),
    ] {
        assert_eq!(names(&change::of_transfer(None, &transfer(role, state))), told, "{role:?} {state:?}");
    }
    for (before, after, told) in [
        (S::PreparationRequested, S::Requesting, "prepared"),
        (S::Requesting, S::Requested, "requested"),
        (S::Requested, S::StartupRequested, ""),
        (S::Requesting, S::StartupRequested, "requested"),
        (S::StartupRequested, S::Starting, ""),
        (S::StartupRequested, S::Started, "started"),
        (S::Starting, S::Started, "started"),
        (S::Started, S::Suspending, ""),
        (S::Suspending, S::Suspended, "suspended"),
        (S::Suspending, S::SuspendingRequested, ""),
        (S::Suspended, S::ResumingRequested, "resuming"),
        (S::SuspendingRequested, S::ResumingRequested, "resuming"),
        (S::ResumingRequested, S::Resuming, ""),
        (S::Resuming, S::Resumed, ""),
        (S::Resumed, S::ResumingRequested, ""),
        (S::Resuming, S::Started, "started"),
        (S::Started, S::Completing, ""),
        (S::Starting, S::Completing, "started"),
        (S::Completing, S::CompletingRequested, ""),
        (S::Completing, S::Completed, "completed"),
        (S::Started, S::Terminating, ""),
        (S::Terminating, S::Terminated, "terminated"),
        (S::Started, S::Started, ""),
    ] {
        let (before, after) = (transfer(Consumer, before), transfer(Consumer, after));
        assert_eq!(names(&change::of_transfer(Some(&before), &after)), told, "{:?} {:?}", before.state, after.state);
    }
    // The counterparty is ahead of us; or it is not, and goes by what was before.
    for (role, before, saw, told) in [
        (Provider, S::Starting, Seen::Requested, "started"),
        (Consumer, S::StartupRequested, Seen::Started, "started"),
        (Provider, S::Resuming, Seen::Suspended, "started"),
        (Consumer, S::ResumingRequested, Seen::Started, "started"),
        (Consumer, S::Resumed, Seen::Started, "started"),
        (Consumer, S::Started, Seen::Started, ""),
        (Consumer, S::Suspending, Seen::Started, ""),
        (Provider, S::ResumingRequested, Seen::Suspended, ""),
    ] {
        let before = Transfer { seen: saw, ..transfer(role, before) };
        for after in [S::CompletingRequested, S::SuspendingRequested] {
            let told_then = change::of_transfer(Some(&before), &transfer(role, after));
            assert_eq!(names(&told_then), told, "{role:?} {:?} {after:?}", before.state);
        }
    }
}

fn callback(uri: &str, events: &[&str]) -> CallbackAddress {
    let events = events.iter().map(|event| (*event).to_owned()).collect();
    CallbackAddress { uri: uri.parse().unwrap(), events, transactional: false, auth_key: None, auth_code_id: None }
}

/// The lanes and events of the posts in a decision.
fn posts(decision: &Decision<ControlPlane>) -> Vec<(&str, &Effect)> {
    decision
        .effects
        .iter()
        .filter_map(|outgoing| match &outgoing.effect {
            AgentEffect::ProcessEvents(effect) => Some((outgoing.lane.as_str(), effect)),
            _ => None,
        })
        .collect()
}

fn begun(state: &ControlPlaneState, callbacks: Vec<CallbackAddress>) -> Decision<ControlPlane> {
    let new = NewNegotiation {
        id: None,
        profile: profile(),
        counterparty: peer(),
        address: "http://peer/dsp".parse().unwrap(),
        offer: offer("open", 9),
        callbacks,
    };
    let begun = Prepared::Begin { id: "n".parse().unwrap(), role: Role::Consumer, new: Box::new(new), settings: Arc::new(settings()) };
    negotiation::decide(state, &begun, NOW).unwrap()
}

#[test]
fn a_change_tells_those_who_asked_in_its_own_commit() {
    let state = state();
    let decision = begun(
        &state,
        vec![
            callback("https://all.example/a?key=hidden", &["contract.negotiation"]),
            callback("https://others.example", &["transfer.process", "contract.negotiation.finalized"]),
            callback("https://none.example", &[]),
            callback("https://twice.example:8443/b", &["contract", "contract.negotiation.initiated"]),
        ],
    );
    assert_eq!(decision.effects.len(), 3, "the message, and two posts");
    let posts = posts(&decision);
    assert_eq!(posts.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), ["callback/negotiation/n/0", "callback/negotiation/n/3"]);
    let (_, effect) = posts[0];
    let process = Process::Negotiation("n".parse().unwrap());
    assert_eq!((&effect.process, effect.event, effect.at), (&process, ProcessEvent::NegotiationInitiated, NOW));
    assert_eq!((effect.callback.host().as_str(), posts[1].1.callback.host().as_str()), ("all.example:443", "twice.example:8443"));
    // Dead letters are kept as they are, so that they can be sent again; nothing of the address but its host is shown of them.
    let kept = AgentEffect::from(effect.clone());
    let mut shown = serde_json::to_value(&kept).unwrap();
    assert!(ControlPlane::redact(&kept).is_none() && shown.to_string().contains("hidden"));
    ControlPlane::shown(&mut shown);
    assert!(shown.to_string().contains("https://all.example\"") && !shown.to_string().contains("hidden"), "{shown}");
    assert_eq!(ControlPlane::track(&kept), Track::Aside);
    assert_eq!(ControlPlane::destination(&kept, &state).as_deref(), Some("callback/p/all.example:443"));
    // Nobody asked: no row more.
    let plain = begun(&state, vec![]);
    assert_eq!(plain.effects.len(), 1);
    let told: Vec<_> = plain.happened.iter().map(|happening| (happening.kind.as_ref(), happening.subject.as_str())).collect();
    assert_eq!(told, [("contract.negotiation.initiated", "n")]);
    assert_eq!(plain.happened, decision.happened);
}

#[test]
fn what_is_told_fits_the_event() {
    let participant = "p".parse().unwrap();
    let n = negotiation::tests::negotiation(Negotiating::Terminated, Role::Consumer);
    let n = Negotiation { error_detail: Some("why".to_owned()), ..n };
    let told = envelope::of_negotiation(ProcessEvent::NegotiationTerminated, &n, &participant);
    let common = json!({"participantContextId": "p", "contractNegotiationId": "n", "type": "CONSUMER", "counterPartyId": "did:web:provider",
        "counterPartyAddress": "http://x/", "protocol": "p", "assetId": "asset"});
    let with = |more: serde_json::Value| {
        let mut all = common.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(told, with(json!({"correlationId": "theirs", "errorDetail": "why"})));
    assert_eq!(envelope::of_negotiation(ProcessEvent::NegotiationInitiated, &n, &participant), common);
    assert_eq!(
        envelope::envelope("1.2", NOW, ProcessEvent::NegotiationInitiated, &common),
        json!({"id": "1.2", "at": NOW.millis(), "type": "ContractNegotiationInitiated", "payload": common})
    );
    let t = Transfer { error_detail: Some("why".to_owned()), ..transfer::tests::transfer(Transferring::Terminated, Role::Provider) };
    let told = |event| envelope::of_transfer(event, &t, &participant);
    assert_eq!(told(ProcessEvent::TransferTerminated)["errorDetail"], "why");
    let started = json!({"participantContextId": "p", "transferProcessId": "t", "type": "PROVIDER", "counterPartyId": "did:web:peer", "protocol": "p",
        "assetId": "asset", "contractId": "ag", "transferType": "HttpData-PULL", "correlationId": "theirs"});
    assert_eq!(told(ProcessEvent::TransferStarted), started);
    // An event names the kind of its process.
    for event in ProcessEvent::ALL {
        let process = Process::of(event, "x").unwrap();
        assert_eq!(matches!(process, Process::Negotiation(_)), event.name().starts_with("contract.negotiation"), "{event:?}");
    }
}
