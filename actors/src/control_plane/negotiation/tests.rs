//! Every state, role and cause against the arrows of the protocol; runs of any causes against what always holds.

use super::{Act, Agreement, Cause, Negotiation, Received, Sent, State, table::Refused, table::transition};
use crate::control_plane::dsp::{Repeats, Role, limits};
use cellspace_schemas::{
    AgreementId, Did, NegotiationId, Pid, ProfileId, Timestamp,
    dsp::negotiation::{MessageAgreement, MessageOffer, NegotiationState as Seen},
};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

fn own(role: Role) -> Did {
    Did::new(if role == Role::Consumer { "did:web:consumer" } else { "did:web:provider" }).unwrap()
}

pub(crate) fn offer(id: &str) -> MessageOffer {
    serde_json::from_value(json!({"@type": "Offer", "@id": id, "target": "asset", "permission": [{"action": "use"}]})).unwrap()
}

fn agreement() -> MessageAgreement {
    Agreement::on(&offer("o"), AgreementId::new("ag").unwrap(), own(Role::Provider), own(Role::Consumer), Timestamp(5)).to_message()
}

fn pid() -> Pid {
    Pid::new("theirs").unwrap()
}

pub fn negotiation(state: State, role: Role) -> Negotiation {
    Negotiation {
        id: NegotiationId::new("n").unwrap(),
        role,
        state,
        seen: Seen::Requested,
        step: 3,
        counterparty: own(role.other()),
        address: "http://x".parse().unwrap(),
        counterparty_pid: Some(pid()),
        profile: ProfileId::new("p").unwrap(),
        offer: offer("o"),
        agreement: None,
        accepted: Repeats::default(),
        error_detail: None,
        finding: None,
        patience: None,
        callbacks: vec![],
        created_at: Timestamp(1),
        state_at: Timestamp(1),
    }
}

/// Every cause there is, by name.
fn causes() -> Vec<(&'static str, Cause)> {
    let act = Cause::Act;
    let received = |message| Cause::Received { message, pid: pid() };
    vec![
        ("do offer", act(Act::Offer(offer("o2")))),
        ("do counter-offer", act(Act::CounterOffer(offer("o2")))),
        ("do accept", act(Act::Accept)),
        ("do agree", act(Act::Agree(AgreementId::new("ag").unwrap()))),
        ("do verify", act(Act::Verify)),
        ("do finalize", act(Act::Finalize)),
        ("do terminate", act(Act::Terminate("why".into()))),
        ("request", received(Received::Request(offer("o2")))),
        ("offer", received(Received::Offer(offer("o2")))),
        ("accepted", received(Received::Accepted)),
        ("agreement", received(Received::Agreement(agreement()))),
        ("verification", received(Received::Verification)),
        ("finalized", received(Received::Finalized)),
        ("termination", received(Received::Termination(None))),
        ("delivered", Cause::Delivered { step: 3, pid: None }),
        ("undeliverable", Cause::Undeliverable { step: 3, reason: "why".into() }),
        ("due", Cause::Due),
        ("old delivered", Cause::Delivered { step: 2, pid: Some(pid()) }),
        ("old undeliverable", Cause::Undeliverable { step: 2, reason: "why".into() }),
    ]
}

/// The arrows of the protocol. What is not here is refused, or, for outcomes of messages, changes nothing.
const ARROWS: &[(&str, &str, &str, &str)] = &[
    // role, from, cause, to
    ("P", "REQUESTED", "do offer", "OFFERING"),
    ("C", "OFFERED", "do counter-offer", "REQUESTING"),
    ("C", "OFFERED", "do accept", "ACCEPTING"),
    ("P", "REQUESTED ACCEPTED", "do agree", "AGREEING"),
    ("C", "AGREED", "do verify", "VERIFYING"),
    ("P", "VERIFIED", "do finalize", "FINALIZING"),
    (
        "CP",
        "REQUESTING REQUESTED OFFERING OFFERED ACCEPTING ACCEPTED AGREEING AGREED VERIFYING VERIFIED FINALIZING",
        "do terminate",
        "TERMINATING",
    ),
    ("CP", "TERMINATING", "do terminate", "="),
    ("P", "OFFERED OFFERING", "request", "REQUESTED"),
    ("C", "REQUESTED REQUESTING", "offer", "OFFERED"),
    ("P", "OFFERED OFFERING", "accepted", "ACCEPTED"),
    ("C", "REQUESTED REQUESTING ACCEPTED ACCEPTING", "agreement", "AGREED"),
    ("P", "AGREED AGREEING", "verification", "VERIFIED"),
    ("C", "VERIFIED VERIFYING", "finalized", "FINALIZED"),
    (
        "CP",
        "REQUESTING REQUESTED OFFERING OFFERED ACCEPTING ACCEPTED AGREEING AGREED VERIFYING VERIFIED FINALIZING TERMINATING",
        "termination",
        "TERMINATED",
    ),
    ("CP", "REQUESTING", "delivered", "REQUESTED"),
    ("CP", "OFFERING", "delivered", "OFFERED"),
    ("CP", "ACCEPTING", "delivered", "ACCEPTED"),
    ("CP", "AGREEING", "delivered", "AGREED"),
    ("CP", "VERIFYING", "delivered", "VERIFIED"),
    ("CP", "FINALIZING", "delivered", "FINALIZED"),
    ("CP", "TERMINATING", "delivered", "TERMINATED"),
    ("CP", "TERMINATING", "undeliverable", "TERMINATED"),
    ("CP", "REQUESTING OFFERING ACCEPTING AGREEING VERIFYING FINALIZING", "undeliverable", "TERMINATING"),
];

#[test]
fn every_state_role_and_cause() {
    for state in State::ALL {
        for role in Role::ALL {
            for (name, cause) in causes() {
                let letter = if role == Role::Consumer { "C" } else { "P" };
                let arrow = ARROWS
                    .iter()
                    .find(|(roles, from, by, _)| roles.contains(letter) && from.split(' ').any(|f| f == state.name()) && *by == name);
                let before = negotiation(state, role);
                let found = transition(&before, cause.clone(), &own(role), Timestamp(9));
                let context = format!("{} {role:?} {name}", state.name());
                match (arrow, &cause) {
                    (Some((.., "=")), _) => assert_eq!(found, Ok(None), "{context}"),
                    (Some((.., to)), _) => {
                        let after = found.unwrap_or_else(|e| panic!("{context}: {e}")).unwrap_or_else(|| panic!("{context}: nothing"));
                        assert_eq!(after.state.name(), *to, "{context}");
                        assert_eq!(after.state_at, Timestamp(9), "{context}");
                        assert_eq!(after.step, before.step + u32::from(after.state.sends().is_some()), "{context}");
                    }
                    (None, Cause::Act(_) | Cause::Received { .. }) => {
                        assert!(matches!(found, Err(Refused::NotAllowed { .. })), "{context}: {found:?}");
                    }
                    (None, Cause::Delivered { .. } | Cause::Undeliverable { .. } | Cause::Due) => assert_eq!(found, Ok(None), "{context}"),
                }
            }
        }
    }
}

#[test]
fn a_first_message_that_is_refused_ends_it_at_once() {
    for (state, role) in [(State::Requesting, Role::Consumer), (State::Offering, Role::Provider)] {
        let n = Negotiation { counterparty_pid: None, ..negotiation(state, role) };
        let ended = transition(&n, Cause::Undeliverable { step: 3, reason: "no".into() }, &own(role), Timestamp(9)).unwrap().unwrap();
        assert_eq!((ended.state, ended.step, ended.error_detail.as_deref()), (State::Terminated, 3, Some("no")));
    }
}

#[test]
fn a_refusal_says_in_which_state_and_role() {
    let refused = transition(&negotiation(State::Verified, Role::Consumer), Cause::Act(Act::Accept), &own(Role::Consumer), Timestamp(9));
    assert_eq!(refused.unwrap_err().to_string(), "state VERIFIED of the consumer does not allow an acceptance");
}

#[test]
fn the_counterparty_names_its_process_whenever_it_does() {
    let own = own(Role::Consumer);
    let mut n = negotiation(State::Requesting, Role::Consumer);
    n.counterparty_pid = None;
    // In its answer.
    let after = transition(&n, Cause::Delivered { step: 3, pid: Some(pid()) }, &own, Timestamp(9)).unwrap().unwrap();
    assert_eq!((after.state, after.counterparty_pid), (State::Requested, Some(pid())));
    // In a message that overtakes its answer.
    let message = Received::Agreement(agreement());
    let after = transition(&n, Cause::Received { message, pid: pid() }, &own, Timestamp(9)).unwrap().unwrap();
    assert_eq!((after.state, after.counterparty_pid), (State::Agreed, Some(pid())));
    // So does a consumer that we begin with.
    let offering = Negotiation { counterparty_pid: None, ..negotiation(State::Offering, Role::Provider) };
    let after = transition(&offering, Cause::Delivered { step: 3, pid: Some(pid()) }, &own, Timestamp(9)).unwrap().unwrap();
    assert_eq!((after.state, after.counterparty_pid), (State::Offered, Some(pid())));
    // In an answer that comes after we have ended it: the termination needs it.
    let ending = transition(&n, Cause::Act(Act::Terminate("why".into())), &own, Timestamp(9)).unwrap().unwrap();
    let after = transition(&ending, Cause::Delivered { step: 3, pid: Some(pid()) }, &own, Timestamp(10)).unwrap().unwrap();
    assert_eq!((after.state, after.counterparty_pid), (State::Terminating, Some(pid())));
}

#[test]
fn an_agreement_must_be_the_one_asked_for() {
    let n = negotiation(State::Requested, Role::Consumer);
    let judge = |agreement: MessageAgreement| {
        transition(&n, Cause::Received { message: Received::Agreement(agreement), pid: pid() }, &own(Role::Consumer), Timestamp(9))
    };
    assert!(judge(agreement()).is_ok());
    let other_rules = serde_json::from_value::<MessageOffer>(
        json!({"@type": "Offer", "@id": "o", "target": "asset", "permission": [{"action": "use"}], "obligation": [{"action": "pay"}]}),
    );
    let cases = [
        MessageAgreement { target: "other".parse().unwrap(), ..agreement() },
        MessageAgreement { assigner: "did:web:other".into(), ..agreement() },
        MessageAgreement { assignee: "did:web:other".into(), ..agreement() },
        MessageAgreement { policy: other_rules.unwrap().policy, ..agreement() },
    ];
    for case in cases {
        assert!(matches!(judge(case.clone()), Err(Refused::OtherAgreement(_))), "{case:?}");
    }
}

#[test]
fn what_a_counterparty_began_and_nobody_answers_ends() {
    for (state, role) in [(State::Requested, Role::Provider), (State::Offered, Role::Consumer)] {
        let n = Negotiation { step: 0, ..negotiation(state, role) };
        let due = n.due().unwrap();
        assert_eq!(due, n.created_at.plus(limits::UNANSWERED));
        assert_eq!(transition(&n, Cause::Due, &own(role), Timestamp(due.0 - 1)), Ok(None));
        let ended = transition(&n, Cause::Due, &own(role), due).unwrap().unwrap();
        assert_eq!((ended.state, ended.step, ended.error_detail.as_deref()), (State::Terminating, 1, Some(limits::NOT_ANSWERED)));
        assert_eq!(ended.due(), None);
    }
}

/// Seven days, or as long as the participant says; whoever is to speak next, but never while a message is under way.
#[test]
fn nothing_waits_for_ever() {
    use State::{Accepted, Agreed, Offered, Requested, Verified};
    const DAY: i64 = 24 * 60 * 60 * 1_000;
    for (state, role) in State::ALL.into_iter().flat_map(|state| Role::ALL.map(|role| (state, role))) {
        let n = Negotiation { state_at: Timestamp(5 * DAY + 7), ..negotiation(state, role) };
        let Some(due) = n.due() else {
            assert!(state.is_final() || state.sends().is_some(), "{state:?}");
            continue;
        };
        assert!(due.0 > 12 * DAY && due.0 <= 12 * DAY + DAY / 24 && due.0 % (DAY / 24) == 0, "{due:?}");
        assert_eq!(transition(&n, Cause::Due, &own(role), Timestamp(due.0 - 1)), Ok(None));
        let ended = transition(&n, Cause::Due, &own(role), due).unwrap().unwrap();
        let ours = match role {
            Role::Provider => matches!(state, Requested | Accepted | Verified),
            Role::Consumer => matches!(state, Offered | Agreed),
        };
        let who = if ours { "no decision" } else { "no answer of the counterparty" };
        let why = format!("{who} within 168 hours in state {}", state.name());
        assert_eq!((ended.state, ended.step, ended.error_detail), (State::Terminating, n.step + 1, Some(why)));
        let hasty = Negotiation { patience: Some(1), ..n };
        assert!(hasty.due().is_some_and(|due| due.0 <= 5 * DAY + DAY / 12) && hasty.overdue().contains("within 1 hours"));
    }
}

#[test]
fn patience_is_the_participants_own() {
    let of = |hours: &str| {
        let mut config = cellspace_schemas::management::ParticipantContextConfig::default();
        config.entries.insert(limits::NEGOTIATION_PATIENCE.to_owned(), hours.to_owned());
        limits::patience(&config, limits::NEGOTIATION_PATIENCE)
    };
    assert_eq!((of("1"), of(" 48 "), of("8784")), (Some(1), Some(48), Some(8784)));
    assert_eq!((of("0"), of("8785"), of("-1"), of("a week"), of("")), (None, None, None, None, None));
}

#[test]
fn only_providers_hold_assets() {
    use super::{Event, Negotiations};
    let asset = "asset".parse().unwrap();
    for (role, state, agreed, holds) in [
        (Role::Provider, State::Requested, false, true),
        (Role::Provider, State::Finalized, true, true),
        (Role::Provider, State::Terminated, true, false),
        (Role::Consumer, State::Offered, false, false),
        (Role::Consumer, State::Finalized, true, false),
    ] {
        let mut n = negotiation(state, role);
        n.agreement = agreed
            .then(|| Arc::new(Agreement::on(&n.offer, "ag".parse().unwrap(), own(Role::Provider), own(Role::Consumer), Timestamp(5))));
        let mut all = Negotiations::default();
        all.apply(&Event::Set(Arc::new(n)));
        assert_eq!(all.holds_asset(&asset), holds, "{role:?} {state:?}");
    }
}

#[test]
fn states_by_word_and_number() {
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), json!(state.name()));
    }
    let codes: Vec<u16> = State::ALL.iter().map(|s| s.code()).collect();
    assert_eq!(codes, [100, 200, 300, 400, 700, 800, 825, 850, 1050, 1100, 1150, 1200, 1300, 1400]);
}

fn any_cause() -> impl Strategy<Value = usize> {
    0..causes().len()
}

/// Who may send the message; `None` for both.
const fn sender(sent: Sent) -> Option<Role> {
    match sent {
        Sent::Request | Sent::Accepted | Sent::Verification => Some(Role::Consumer),
        Sent::Offer | Sent::Agreement | Sent::Finalized => Some(Role::Provider),
        Sent::Termination => None,
    }
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]
    /// Whatever happens in whatever order: a final state is final, an outcome of an older message moves nothing, the step never goes back, and what
    /// the counterparty is shown follows what was acknowledged.
    #[test]
    fn any_run(
        (role, start) in prop::sample::select(vec![
            (Role::Consumer, State::Requesting), (Role::Consumer, State::Offered), (Role::Provider, State::Requested), (Role::Provider, State::Offering),
        ]),
        run in prop::collection::vec((any_cause(), 0u32..4), 1..40),
    ) {
        let mut n = negotiation(start, role);
        for (which, back) in run {
            let (_, mut cause) = causes().swap_remove(which);
            if let Cause::Delivered { step, .. } | Cause::Undeliverable { step, .. } = &mut cause {
                *step = n.step.saturating_sub(back);
            }
            let current = matches!(&cause, Cause::Delivered { step, .. } | Cause::Undeliverable { step, .. } if *step == n.step);
            let outcome = matches!(&cause, Cause::Delivered { .. } | Cause::Undeliverable { .. });
            let Ok(Some(next)) = transition(&n, cause, &own(role), Timestamp(9)) else { continue };
            prop_assert!(!n.state.is_final(), "left {:?}", n.state);
            prop_assert!(!outcome || current, "an old outcome moved it");
            prop_assert!(next.step >= n.step && next.step <= n.step + 1);
            prop_assert_eq!(next.step > n.step, next.state.sends().is_some() );
            if next.state == State::Finalized {
                prop_assert!(next.agreement_in_force().is_some());
            }
            if matches!(next.state, State::Agreed | State::Agreeing) {
                prop_assert!(next.agreement.is_some());
            }
            if let Some(sent) = next.state.sends() {
                prop_assert!(sender(sent).is_none_or(|sender| sender == role), "{:?} as {:?}", sent, role);
            }
            prop_assert_eq!((&next.id, &next.counterparty, next.role), (&n.id, &n.counterparty, n.role));
            n = next;
        }
        // It can always be ended, and ends.
        if !n.state.is_final() {
            if let Some(ending) = transition(&n, Cause::Act(Act::Terminate("why".into())), &own(role), Timestamp(10)).unwrap() {
                n = ending;
            }
            let ended = transition(&n, Cause::Delivered { step: n.step, pid: None }, &own(role), Timestamp(11)).unwrap().unwrap();
            prop_assert_eq!(ended.state, State::Terminated);
        }
    }

    /// Applying stored events in any order of keys gives the same indexes as applying them one after the other.
    #[test]
    fn indexes_follow_the_rows(changes in prop::collection::vec((0u8..4, 0u8..3, any::<bool>(), 0usize..14), 1..30)) {
        use super::{Event, Negotiations};
        let mut lived = Negotiations::default();
        let mut rows: std::collections::BTreeMap<String, Event> = std::collections::BTreeMap::new();
        for (id, asset, agreed, state) in changes {
            let mut n = negotiation(State::ALL[state], Role::Provider);
            n.id = NegotiationId::new(format!("n{id}")).unwrap();
            n.counterparty_pid = Some(Pid::new(format!("p{id}")).unwrap());
            n.offer.target = format!("asset{asset}").parse().unwrap();
            if agreed {
                let id = AgreementId::new(format!("ag{id}")).unwrap();
                n.agreement = Some(Arc::new(Agreement::on(&n.offer, id, own(Role::Provider), own(Role::Consumer), Timestamp(5))));
            }
            let event = Event::Set(Arc::new(n.clone()));
            lived.apply(&event);
            rows.insert(n.id.to_string(), event);
        }
        let mut loaded = Negotiations::default();
        rows.values().for_each(|event| loaded.apply(event));
        let open = rows.values().filter(|event| matches!(event, Event::Set(n) if !n.state.is_final())).count();
        prop_assert_eq!((lived.open().all(), loaded.open().all(), lived.open().with(&own(Role::Consumer))), (open, open, open));
        for asset in 0..3 {
            let asset = format!("asset{asset}").parse().unwrap();
            prop_assert_eq!(lived.holds_asset(&asset), loaded.holds_asset(&asset));
        }
        for id in 0..4 {
            let (n, pid, ag) = (format!("n{id}").parse().unwrap(), Pid::new(format!("p{id}")).unwrap(), format!("ag{id}").parse().unwrap());
            prop_assert_eq!(lived.get(&n), loaded.get(&n));
            prop_assert_eq!(lived.of_counterparty(&own(Role::Consumer), &pid), loaded.of_counterparty(&own(Role::Consumer), &pid));
            prop_assert_eq!(lived.agreement(&ag), loaded.agreement(&ag));
        }
    }
}
