//! What becomes of every request to the negotiations of a participant.

use super::{
    Act, Agreement, Arrived, Event, Incoming, Message, Negotiation, NewNegotiation, Prepared, Refusal, Reply, Sent, State,
    command::Message::{Offer, Request},
    decide, due, end, finalized, prepare,
};
use crate::control_plane::{
    ControlPlaneState, Refusal as AgentRefusal, Reply as AgentReply,
    agent::Decided,
    dsp::{self, AtOnce, Envelope, Role, Sender, Steering, client::Head, limits, process::OtherProcess},
    participant,
    scopes::Scopes,
    testing::{NOW, Silent, after, envelope, offer, own, peer, profile, refusal, sender, settings, state},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cellspace_schemas::{
    Did, MessageId, NegotiationId, Pid, SecretText, Timestamp,
    dsp::{
        CONTEXT, SentContext,
        negotiation::{
            ContractAgreementMessage, ContractAgreementVerificationMessage, ContractNegotiationEventMessage,
            ContractNegotiationTerminationMessage, ContractOfferMessage, ContractRequestMessage, MessageOffer, NegotiationEvent,
            NegotiationState as Seen,
        },
        reasons::Reasons,
    },
    management::ParticipantContextState,
};
use serde_json::json;
use std::sync::Arc;

fn pid(text: &str) -> Pid {
    Pid::new(text).unwrap()
}

fn first_request(consumer: &str, offer: MessageOffer) -> Message {
    let callback_address = Some("http://peer/dsp".parse().unwrap());
    Request(ContractRequestMessage { consumer_pid: pid(consumer), provider_pid: None, offer, callback_address })
}

fn counter_offer(offer: MessageOffer) -> Message {
    let (consumer_pid, provider_pid) = (pid("theirs"), Some(pid("n")));
    Request(ContractRequestMessage { consumer_pid, provider_pid, offer, callback_address: None })
}

fn first_offer(provider: &str) -> Message {
    let callback_address = Some("http://peer/dsp".parse().unwrap());
    Offer(ContractOfferMessage { provider_pid: pid(provider), consumer_pid: None, offer: offer("open", 9), callback_address })
}

struct From {
    sender: Sender,
    steering: Arc<dyn Steering>,
}

/// A member that was asked for what a request for the asset of a manufacturer asks for.
fn member() -> From {
    From { sender: sender(peer(), &["Membership"], &["manufacturer"]), steering: Arc::new(AtOnce) }
}

impl From {
    fn with(credentials: &[&str]) -> Self {
        Self { sender: sender(peer(), credentials, &["manufacturer"]), ..member() }
    }

    fn by(did: &str) -> Self {
        Self { sender: sender(Did::new(did).unwrap(), &["Membership"], &["manufacturer"]), ..member() }
    }

    fn silent(self) -> Self {
        Self { steering: Arc::new(Silent), ..self }
    }

    fn sends(self, state: &ControlPlaneState, mark: &str, id: Option<&str>, message: Message) -> Decided {
        let arrived = Arrived {
            incoming: Incoming { envelope: envelope(mark), id: id.map(|id| id.parse().unwrap()), message },
            sender: self.sender,
            fresh: "fresh".parse().unwrap(),
            fresh_agreement: "ag-fresh".parse().unwrap(),
            steering: self.steering,
        };
        decide(state, &Prepared::Receive(Box::new(arrived)), NOW)
    }
}

fn shown(decided: Decided) -> (Seen, String, String, usize) {
    let decision = decided.unwrap();
    match &decision.reply {
        AgentReply::Negotiation(Reply::Process(p)) => {
            (p.state, p.consumer_pid.to_string(), p.provider_pid.to_string(), decision.events.len())
        }
        other => panic!("{other:?}"),
    }
}

fn only(state: &ControlPlaneState) -> &Negotiation {
    let mut all = state.negotiations.iter();
    let one = all.next().unwrap();
    assert!(all.next().is_none());
    one
}

/// A negotiation of ours in this state.
fn with(role: Role, at: State, change: impl FnOnce(&mut Negotiation)) -> ControlPlaneState {
    let mut n = Negotiation {
        id: "n".parse().unwrap(),
        role,
        state: at,
        seen: Seen::Requested,
        step: 2,
        counterparty: peer(),
        address: "http://peer/dsp".parse().unwrap(),
        counterparty_pid: Some(pid("theirs")),
        profile: profile(),
        offer: offer("open", 9),
        agreement: None,
        accepted: dsp::Repeats::default(),
        error_detail: None,
        finding: None,
        patience: None,
        callbacks: vec![],
        created_at: NOW,
        state_at: NOW,
    };
    change(&mut n);
    let mut state = state();
    state.negotiations.apply(&Event::Set(Arc::new(n)));
    state
}

fn agreed(n: &mut Negotiation) {
    let (provider, consumer) = if n.role == Role::Provider { (own(), peer()) } else { (peer(), own()) };
    n.agreement = Some(Arc::new(Agreement::on(&n.offer, "ag".parse().unwrap(), provider, consumer, NOW)));
}

#[test]
fn a_first_request_is_answered_and_agreed_to_in_one_turn() {
    let state = state();
    let decided = member().sends(&state, "m1", None, first_request("c1", offer("open", 9)));
    let decision = decided.unwrap();
    let next = after(&state, &decision);
    let begun = only(&next);
    assert_eq!((begun.state, begun.role, begun.step, begun.due()), (State::Agreeing, Role::Provider, 1, None));
    assert_eq!(
        (
            decision.action,
            decision.effects.len(),
            <crate::control_plane::ControlPlane as cellspace_cluster::Agent>::about(&decision.events[0]).contract.as_deref()
        ),
        ("negotiation.agreeing", 1, Some("ag-fresh"))
    );
    let expected = (Seen::Requested, "c1".to_owned(), "fresh".to_owned(), 1);
    assert_eq!(shown(Ok(decision)), expected);
    // The same again, whatever its `@id`, is answered and changes nothing.
    assert_eq!(shown(member().sends(&next, "m2", None, first_request("c1", offer("open", 9)))), (expected.0, expected.1, expected.2, 0));
    // By its `@id` also when other terms have come since.
    let mut later = begun.clone();
    later.offer = offer("restricted", 9);
    let mut changed = state.clone();
    changed.negotiations.apply(&Event::Set(Arc::new(later)));
    assert_eq!(shown(member().sends(&changed, "m1", None, first_request("c1", offer("open", 9)))).3, 0);
    // The same process id for another offer, or of an offer to us, is none of ours; another party's is another one.
    let pid_used = AgentRefusal::Negotiation(Refusal::PidUsed).to_string();
    assert_eq!(refusal(member().sends(&next, "m3", None, first_request("c1", offer("restricted", 9)))).to_string(), pid_used);
    assert_eq!(refusal(member().sends(&next, "m4", None, first_offer("c1"))).to_string(), pid_used);
    assert!(From::by("did:web:third").sends(&next, "m5", None, first_request("c1", offer("open", 9))).is_ok());
}

#[test]
fn hidden_and_made_up_are_refused_alike() {
    let state = state();
    let ask = |from: From, offer| from.sends(&state, "m", None, first_request("c", offer));
    let wrong_target = MessageOffer { target: "restricted".parse().unwrap(), ..offer("open", 9) };
    for (what, unknown) in [
        ("hidden", offer("hidden", 9)),
        ("another key", offer("open", 8)),
        ("made up", MessageOffer { id: "made-up".parse().unwrap(), ..offer("open", 9) }),
        ("another target", wrong_target),
    ] {
        assert_eq!(refusal(ask(member(), unknown)).to_string(), Refusal::UnknownOffer.to_string(), "{what}");
    }
    assert!(ask(From::with(&["Manufacturer"]), offer("hidden", 9)).is_ok());
    let other_rules = MessageOffer { policy: offer("hidden", 9).policy, ..offer("open", 9) };
    assert_eq!(refusal(ask(member(), other_rules)).to_string(), Refusal::OtherRules.to_string());
}

#[test]
fn what_is_asked_for_does_not_depend_on_the_offer() {
    let (state, settings) = (state(), settings());
    let asks = |state: &ControlPlaneState, message: Message| {
        prepare::asks(&settings, state, &Incoming { envelope: envelope("m"), id: Some("n".parse().unwrap()), message })
    };
    let request = |offer| asks(&state, first_request("c", offer));
    let made_up = MessageOffer { id: "made-up".parse().unwrap(), ..offer("hidden", 9) };
    assert_eq!(request(offer("hidden", 9)), request(made_up.clone()));
    assert_eq!(request(offer("open", 9)), request(MessageOffer { id: made_up.id, ..offer("open", 9) }));
    let list = |scopes: &[&str]| scopes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    // The manufacturer's credential belongs to the catalog's access policies; a rule of the message's own is asked for too.
    let catalog = Scopes { required: list(&["member"]), optional: list(&["manufacturer"]), named: vec![] };
    assert_eq!(request(offer("open", 9)), catalog);
    let mut own_rule = offer("open", 9);
    own_rule.policy = serde_json::from_value(json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
        {"leftOperand": "Other", "operator": "eq", "rightOperand": "x"}]}]}))
    .unwrap();
    assert_eq!(request(own_rule), Scopes { optional: list(&["manufacturer", "other"]), named: list(&["other"]), ..catalog.clone() });
    // An acceptance of what we have offered is judged by the offer, to whom it was made; nobody learns more from being asked.
    let by = |did: &str| SecretText::new(format!("h.{}.s", URL_SAFE_NO_PAD.encode(json!({"iss": did}).to_string())));
    let accepts = |did: &str| Incoming {
        envelope: Envelope { token: by(did), ..envelope("m") },
        id: Some("n".parse().unwrap()),
        message: event(NegotiationEvent::Accepted),
    };
    let offered = with(Role::Provider, State::Offered, |n| n.offer = offer("restricted", 9));
    assert_eq!(prepare::asks(&settings, &offered, &accepts("did:web:peer")), catalog);
    assert_eq!(prepare::asks(&settings, &offered, &accepts("did:web:third")), Scopes { optional: vec![], ..catalog.clone() });
    // No policy judges what follows, nor what a provider sends.
    let negotiating = with(Role::Consumer, State::Requested, |n| n.offer = offer("restricted", 9));
    for message in
        [first_offer("p"), agreement("n", "theirs", "ag"), event(NegotiationEvent::Accepted), verification(), termination("n", "theirs")]
    {
        assert_eq!(asks(&negotiating, message.clone()), Scopes { optional: vec![], ..catalog.clone() }, "{message:?}");
    }
}

#[test]
fn policies_that_changed_meanwhile_are_asked_for_again_whatever_the_offer() {
    let state = state();
    let unasked = || From { sender: sender(peer(), &["Membership"], &[]), ..member() };
    for offer in [offer("open", 9), offer("open", 8)] {
        let refused = refusal(unasked().sends(&state, "m", None, first_request("c", offer)));
        assert!(matches!(refused, AgentRefusal::Message(dsp::Refusal::Changed)), "{refused}");
    }
}

#[test]
fn what_a_policy_forbids_is_ended_with_what_it_requires() {
    let state = state();
    let decision = member().sends(&state, "m", None, first_request("c", offer("restricted", 9))).unwrap();
    let next = after(&state, &decision);
    let begun = only(&next);
    assert_eq!((begun.state, begun.error_detail.as_deref()), (State::Terminating, Some("use requires Manufacturer eq active")));
    // What was found is for the participant.
    let detail = super::view::negotiation(begun)["errorDetail"].to_string();
    assert!(detail.contains("use requires Manufacturer eq active") && detail.contains("presented: "), "{detail}");
    let met = From::with(&["Membership", "Manufacturer"]).sends(&state, "m", None, first_request("c", offer("restricted", 9)));
    assert_eq!(only(&after(&state, &met.unwrap())).state, State::Agreeing);
    // So is a counter-offer.
    let offered = with(Role::Provider, State::Offered, |n| n.offer = offer("restricted", 9));
    let decision = member().sends(&offered, "m", Some("n"), counter_offer(offer("restricted", 9))).unwrap();
    assert_eq!(only(&after(&offered, &decision)).state, State::Terminating);
}

#[test]
fn a_counter_offer_with_terms_of_its_own_waits_for_a_person() {
    let offered = with(Role::Provider, State::Offered, |_| {});
    let named = MessageOffer { id: "its-own".parse().unwrap(), ..offer("open", 9) };
    let other_rules = MessageOffer { policy: offer("restricted", 9).policy, ..offer("open", 9) };
    for own_terms in [named, other_rules] {
        let decision = member().sends(&offered, "m", Some("n"), counter_offer(own_terms.clone())).unwrap();
        let next = after(&offered, &decision);
        assert_eq!((only(&next).state, &only(&next).offer, decision.effects.len()), (State::Requested, &own_terms, 0));
        // What is decided is up to the provider; a second one has to wait for that.
        let again = member().sends(&next, "m2", Some("n"), counter_offer(offer("open", 9)));
        assert!(matches!(refusal(again), AgentRefusal::Negotiation(Refusal::Table(_))));
    }
    // One for an offer of ours is agreed to; one about another dataset that the sender may not have is refused as ever.
    let agreed_to = member().sends(&offered, "m", Some("n"), counter_offer(offer("open", 9))).unwrap();
    assert_eq!(only(&after(&offered, &agreed_to)).state, State::Agreeing);
    let unknown = Refusal::UnknownOffer.to_string();
    assert_eq!(refusal(member().sends(&offered, "m", Some("n"), counter_offer(offer("hidden", 9)))).to_string(), unknown);
}

#[test]
fn an_acceptance_is_judged_by_what_was_offered() {
    let offered = with(Role::Provider, State::Offered, |n| n.offer = offer("restricted", 9));
    let accepts = |from: From| from.sends(&offered, "m", Some("n"), event(NegotiationEvent::Accepted));
    let met = after(&offered, &accepts(From::with(&["Membership", "Manufacturer"])).unwrap());
    assert_eq!(
        (only(&met).state, &only(&met).agreement.as_ref().unwrap().policy.permission),
        (State::Agreeing, &offer("restricted", 9).policy.permission)
    );
    let unmet = after(&offered, &accepts(member()).unwrap());
    assert_eq!(
        (only(&unmet).state, only(&unmet).error_detail.as_deref()),
        (State::Terminating, Some("use requires Manufacturer eq active"))
    );
    assert!(only(&unmet).finding.as_deref().is_some_and(|finding| finding.contains("presented: ")));
    let unasked = From { sender: sender(peer(), &["Membership"], &[]), ..member() };
    assert!(matches!(refusal(accepts(unasked)), AgentRefusal::Message(dsp::Refusal::Changed)));
}

#[test]
fn an_offer_of_what_was_asked_for_is_accepted_and_any_other_waits() {
    let offers = |offer: MessageOffer| {
        Offer(ContractOfferMessage { provider_pid: pid("theirs"), consumer_pid: Some(pid("n")), offer, callback_address: None })
    };
    for at in [State::Requested, State::Requesting] {
        let requested = with(Role::Consumer, at, |_| {});
        let take = |from: From, offer| after(&requested, &from.sends(&requested, "m", Some("n"), offers(offer)).unwrap());
        let same = MessageOffer { id: "their-own".parse().unwrap(), ..offer("open", 9) };
        assert_eq!(only(&take(member(), same.clone())).state, State::Accepting, "{at:?}");
        assert_eq!(only(&take(member().silent(), same)).state, State::Offered, "{at:?}");
        let other_rules = MessageOffer { policy: offer("restricted", 9).policy, ..offer("open", 9) };
        let other_dataset = MessageOffer { target: "restricted".parse().unwrap(), ..offer("open", 9) };
        for other in [other_rules, other_dataset] {
            let held = take(member(), other.clone());
            assert_eq!((only(&held).state, &only(&held).offer), (State::Offered, &other), "{at:?}");
            assert_eq!(super::view::negotiation(only(&held))["offer"]["target"], json!(other.target), "{at:?}");
        }
    }
}

#[test]
fn what_is_on_the_table_is_shown() {
    let shown = |role, named: Option<&str>| {
        let state = with(role, State::Offered, |n| n.offer.policy.assigner = named.map(str::to_owned));
        super::view::negotiation(only(&state))["offer"].clone()
    };
    let offer = json!({"@type": "Offer", "@id": offer("open", 9).id, "target": "open", "permission": [{"action": "use"}]});
    assert_eq!(shown(Role::Provider, None), offer);
    // A provider is who it is, whatever its offer says.
    for named in [None, Some("did:web:third")] {
        let mut by_peer = offer.clone();
        by_peer["assigner"] = json!(peer());
        assert_eq!(shown(Role::Consumer, named), by_peer);
    }
}

#[test]
fn first_messages_have_what_they_need() {
    let state = state();
    let mut cases = vec![agreement("n", "theirs", "ag"), event(NegotiationEvent::Accepted), verification(), termination("n", "theirs")];
    if let Request(m) = first_request("c", offer("open", 9)) {
        cases.push(Request(ContractRequestMessage { callback_address: None, ..m.clone() }));
        cases.push(Request(ContractRequestMessage { provider_pid: Some(pid("p")), ..m }));
    }
    if let Offer(m) = first_offer("p") {
        cases.push(Offer(ContractOfferMessage { callback_address: None, ..m.clone() }));
        cases.push(Offer(ContractOfferMessage { consumer_pid: Some(pid("c")), ..m }));
    }
    for case in cases {
        let refused = refusal(member().sends(&state, "m", None, case.clone()));
        assert!(matches!(refused, AgentRefusal::Negotiation(Refusal::Malformed(_))), "{case:?}: {refused}");
    }
}

#[test]
fn a_first_offer_waits_for_a_person() {
    let state = state();
    let decision = member().sends(&state, "m", None, first_offer("p1")).unwrap();
    let next = after(&state, &decision);
    let begun = only(&next);
    assert_eq!((begun.state, begun.role, decision.effects.len()), (State::Offered, Role::Consumer, 0));
    assert_eq!(begun.due(), Some(NOW.plus(limits::UNANSWERED)));
    // The same message again; another one under its process id.
    assert_eq!(shown(member().sends(&next, "m", None, first_offer("p1"))).3, 0);
    assert_eq!(refusal(member().sends(&next, "m2", None, first_offer("p1"))).to_string(), Refusal::PidUsed.to_string());
    // Nobody has answered.
    let ended = due(&next, &begun.id, NOW.plus(limits::UNANSWERED)).unwrap();
    assert_eq!((only(&after(&next, &ended)).state, ended.effects.len()), (State::Terminating, 1));
    assert!(!due(&next, &begun.id, NOW).unwrap().changes());
    assert!(!due(&next, &"none".parse().unwrap(), NOW).unwrap().changes());
}

fn agreement(consumer: &str, provider: &str, id: &str) -> Message {
    let agreement = Agreement::on(&offer("open", 9), id.parse().unwrap(), peer(), own(), NOW).to_message();
    Message::Agreement(ContractAgreementMessage { provider_pid: pid(provider), consumer_pid: pid(consumer), agreement })
}

fn event(event_type: NegotiationEvent) -> Message {
    Message::Event(ContractNegotiationEventMessage { provider_pid: pid("n"), consumer_pid: pid("theirs"), event_type })
}

fn verification() -> Message {
    Message::Verification(ContractAgreementVerificationMessage { provider_pid: pid("n"), consumer_pid: pid("theirs") })
}

fn termination(consumer: &str, provider: &str) -> Message {
    Message::Termination(ContractNegotiationTerminationMessage {
        provider_pid: pid(provider),
        consumer_pid: pid(consumer),
        code: Some("7".to_owned()),
        reason: Reasons::of("enough"),
    })
}

#[test]
fn messages_go_to_the_process_that_they_name() {
    let state = with(Role::Consumer, State::Requested, |_| {});
    let not_found = dsp::Refusal::NotFound.to_string();
    assert_eq!(refusal(From::by("did:web:third").sends(&state, "m", Some("n"), agreement("n", "theirs", "ag"))).to_string(), not_found);
    assert_eq!(refusal(member().sends(&state, "m", Some("other"), agreement("n", "theirs", "ag"))).to_string(), not_found);
    let elsewhere = with(Role::Consumer, State::Requested, |n| n.profile = "other".parse().unwrap());
    assert_eq!(refusal(member().sends(&elsewhere, "m", Some("n"), agreement("n", "theirs", "ag"))).to_string(), not_found);
    for (consumer, provider) in [("other", "theirs"), ("n", "other")] {
        let refused = refusal(member().sends(&state, "m", Some("n"), agreement(consumer, provider, "ag")));
        assert!(matches!(refused, AgentRefusal::Negotiation(Refusal::OtherProcess(OtherProcess))), "{consumer} {provider}: {refused}");
    }
    // As long as its process is not known, any may be it.
    let unknown = with(Role::Consumer, State::Requesting, |n| n.counterparty_pid = None);
    let decision = member().sends(&unknown, "m", Some("n"), agreement("n", "any", "ag")).unwrap();
    let next = after(&unknown, &decision);
    assert_eq!((only(&next).state, only(&next).counterparty_pid.clone()), (State::Verifying, Some(pid("any"))));
    // The same message again is answered; what the state does not allow is refused.
    assert_eq!(shown(member().sends(&next, "m", Some("n"), agreement("n", "any", "ag"))).3, 0);
    let refused = refusal(member().sends(&next, "m2", Some("n"), agreement("n", "any", "ag")));
    assert!(matches!(refused, AgentRefusal::Negotiation(Refusal::Table(_))), "{refused}");
}

#[test]
fn an_agreement_does_not_take_the_place_of_another() {
    let mut state = with(Role::Consumer, State::Requested, |_| {});
    let other = with(Role::Consumer, State::Finalized, |n| {
        n.id = "n2".parse().unwrap();
        n.counterparty_pid = Some(pid("p2"));
        agreed(n);
    });
    state.negotiations.apply(&Event::Set(other.negotiations.iter().next().unwrap().clone()));
    assert_eq!(
        refusal(member().sends(&state, "m", Some("n"), agreement("n", "theirs", "ag"))).to_string(),
        Refusal::AgreementUsed.to_string()
    );
    assert!(member().sends(&state, "m", Some("n"), agreement("n", "theirs", "ag-2")).is_ok());
}

#[test]
fn a_termination_tells_why() {
    let state = with(Role::Consumer, State::Requested, |_| {});
    let decision = member().sends(&state, "m", Some("n"), termination("n", "theirs")).unwrap();
    assert_eq!(only(&after(&state, &decision)).error_detail.as_deref(), Some("enough (code 7)"));
    assert_eq!((decision.facts.len(), decision.action), (1, "negotiation.terminated"));
}

#[test]
fn silence_is_kept() {
    let state = state();
    let decision = member().silent().sends(&state, "m", None, first_request("c", offer("open", 9))).unwrap();
    assert_eq!((only(&after(&state, &decision)).state, decision.effects.len()), (State::Requested, 0));
}

fn new() -> Box<NewNegotiation> {
    let (counterparty, address, callbacks) = (peer(), "http://peer/dsp".parse().unwrap(), vec![]);
    Box::new(NewNegotiation { id: None, profile: profile(), counterparty, address, offer: offer("open", 9), callbacks })
}

#[test]
fn clients_begin_negotiations() {
    let state = with(Role::Consumer, State::Requested, |_| {});
    let begun = |id: &str, role, new| Prepared::Begin { id: id.parse().unwrap(), role, new, settings: Arc::new(settings()) };
    let begin = |state: &ControlPlaneState, id: &str, role, new| decide(state, &begun(id, role, new), NOW);
    let ask = |state: &ControlPlaneState, id: &str, new| begin(state, id, Role::Consumer, new);
    let decision = ask(&state, "n2", new()).unwrap();
    assert!(matches!(&decision.reply, AgentReply::Negotiation(Reply::Begun { id, at: NOW }) if id.as_str() == "n2"));
    assert_eq!((decision.effects.len(), decision.action), (1, "negotiation.requesting"));
    assert_eq!(refusal(ask(&state, "n", new())).to_string(), Refusal::Exists("n".parse().unwrap()).to_string());
    let elsewhere = Box::new(NewNegotiation { profile: "other".parse().unwrap(), ..*new() });
    assert!(matches!(refusal(ask(&state, "n2", elsewhere)), AgentRefusal::Negotiation(Refusal::NoProfile(_))));
    // By an offer of what is there, which then stays there.
    let offers = |new| begin(&state, "n2", Role::Provider, new);
    let decision = offers(new()).unwrap();
    assert_eq!((decision.effects.len(), decision.action), (1, "negotiation.offering"));
    let offering = after(&state, &decision);
    let begun = offering.negotiations.get(&"n2".parse().unwrap()).unwrap();
    assert_eq!((begun.state, begun.role, begun.seen, begun.due()), (State::Offering, Role::Provider, Seen::Offered, None));
    assert!(offering.negotiations.holds_asset(&begun.offer.target) && !state.negotiations.holds_asset(&begun.offer.target));
    let nothing = MessageOffer { target: "nowhere".parse().unwrap(), ..offer("open", 9) };
    let nothing = refusal(offers(Box::new(NewNegotiation { offer: nothing, ..*new() })));
    assert_eq!(nothing.to_string(), Refusal::NoAsset("nowhere".parse().unwrap()).to_string());
    assert_eq!(refusal(begin(&state, "n", Role::Provider, new())).to_string(), Refusal::Exists("n".parse().unwrap()).to_string());
    let mut off = state;
    off.participant = Some(crate::control_plane::testing::participant(ParticipantContextState::Deactivated));
    for role in Role::ALL {
        assert!(matches!(refusal(begin(&off, "n2", role, new())), AgentRefusal::Participant(participant::Refusal::NotActive)));
    }
    assert!(matches!(refusal(member().sends(&off, "m", None, first_offer("p"))), AgentRefusal::Message(dsp::Refusal::NotFound)));
}

#[test]
fn clients_act_on_and_remove_negotiations() {
    let act = |state: &ControlPlaneState, id: &str, act| {
        decide(state, &Prepared::Act { id: id.parse().unwrap(), act: Box::new(act), seen: None }, NOW)
    };
    let offered = with(Role::Consumer, State::Offered, |_| {});
    assert_eq!(only(&after(&offered, &act(&offered, "n", Act::Accept).unwrap())).state, State::Accepting);
    assert!(matches!(refusal(act(&offered, "none", Act::Accept)), AgentRefusal::Negotiation(Refusal::NotFound(_))));
    assert!(matches!(refusal(act(&offered, "n", Act::Finalize)), AgentRefusal::Negotiation(Refusal::Table(_))));
    // What the client has seen must be what is on the table: by its id and by its terms.
    let seeing = |seen: MessageOffer| {
        decide(&offered, &Prepared::Act { id: "n".parse().unwrap(), act: Box::new(Act::Accept), seen: Some(Box::new(seen)) }, NOW)
    };
    assert!(seeing(offer("open", 9)).is_ok());
    let other_terms = MessageOffer { policy: offer("restricted", 9).policy, ..offer("open", 9) };
    for other in [offer("open", 8), other_terms, MessageOffer { target: "restricted".parse().unwrap(), ..offer("open", 9) }] {
        assert!(matches!(refusal(seeing(other)), AgentRefusal::Negotiation(Refusal::OtherTerms)));
    }
    // How long it may wait from now on is what its participant says then.
    let mut patient = with(Role::Provider, State::Requested, |_| {});
    let mut own = patient.participant.as_deref().unwrap().clone();
    own.config.entries.insert(dsp::limits::NEGOTIATION_PATIENCE.to_owned(), "48".to_owned());
    patient.participant = Some(Arc::new(own));
    let offering = only(&after(&patient, &act(&patient, "n", Act::Offer(offer("open", 9))).unwrap())).clone();
    assert_eq!((offering.state, offering.patience, offering.due()), (State::Offering, Some(48), None));
    let terminating = with(Role::Consumer, State::Terminating, |_| {});
    assert!(!act(&terminating, "n", Act::Terminate("again".into())).unwrap().changes());

    let delete = |state: &ControlPlaneState, id: &str| decide(state, &Prepared::Delete(id.parse::<NegotiationId>().unwrap()), NOW);
    for at in State::ALL {
        for with_agreement in [false, true] {
            let state = with(Role::Provider, at, |n| {
                if with_agreement {
                    agreed(n)
                }
            });
            let removable = at == State::Terminated && !with_agreement;
            match delete(&state, "n") {
                Ok(decision) => assert!(removable && after(&state, &decision).negotiations.iter().next().is_none(), "{at:?}"),
                Err(_) => assert!(!removable, "{at:?} {with_agreement}"),
            }
        }
    }
    assert!(matches!(refusal(delete(&offered, "none")), AgentRefusal::Negotiation(Refusal::NotFound(_))));
}

#[test]
fn open_negotiations_are_bounded() {
    let mut state = state();
    let template = only(&with(Role::Provider, State::Requested, |_| {})).clone();
    for n in 0..limits::MAX_OPEN_WITH_COUNTERPARTY {
        let (id, theirs) = (format!("n{n}").parse().unwrap(), Some(pid(&format!("c{n}"))));
        state.negotiations.apply(&Event::Set(Arc::new(Negotiation { id, counterparty_pid: theirs, ..template.clone() })));
    }
    let too_many = dsp::Refusal::TooMany.to_string();
    assert_eq!(refusal(member().sends(&state, "m", None, first_request("new", offer("open", 9)))).to_string(), too_many);
    assert_eq!(refusal(member().sends(&state, "m", None, first_offer("new"))).to_string(), too_many);
    for role in Role::ALL {
        let own = decide(&state, &Prepared::Begin { id: "own".parse().unwrap(), role, new: new(), settings: Arc::new(settings()) }, NOW);
        assert_eq!(refusal(own).to_string(), too_many);
    }
    // Repeats are answered, messages in what is open are taken, others begin.
    assert_eq!(shown(member().sends(&state, "m", None, first_request("c0", offer("open", 9)))).3, 0);
    assert!(From::by("did:web:third").sends(&state, "m", None, first_offer("new")).is_ok());
}

#[test]
fn a_transfer_proves_the_finalization() {
    for at in State::ALL {
        let state = with(Role::Provider, at, agreed);
        let decision = finalized(&state, only(&state), NOW).unwrap();
        assert_eq!(decision.is_some(), at == State::Finalizing, "{at:?}");
        if let Some(decision) = decision {
            assert_eq!((only(&after(&state, &decision)).state, decision.facts.len()), (State::Finalized, 2));
        }
    }
}

#[test]
fn every_message_on_its_way() {
    let (id, context) = (MessageId::new("urn:uuid:1").unwrap(), SentContext::of(&["https://example.com/own".to_owned()]));
    let head = Head { id: &id, context: &context };
    let wire = |state: &ControlPlaneState, message| super::deliver::wire(only(state), message, "http://own/dsp", head).unwrap();
    let consumer = with(Role::Consumer, State::Requested, agreed);
    let provider = with(Role::Provider, State::Requested, agreed);
    for (state, message, kind, path) in [
        (&consumer, Sent::Request, "ContractRequestMessage", "negotiations/theirs/request"),
        (&consumer, Sent::Accepted, "ContractNegotiationEventMessage", "negotiations/theirs/events"),
        (&consumer, Sent::Verification, "ContractAgreementVerificationMessage", "negotiations/theirs/agreement/verification"),
        (&consumer, Sent::Termination, "ContractNegotiationTerminationMessage", "negotiations/theirs/termination"),
        (&provider, Sent::Offer, "ContractOfferMessage", "negotiations/theirs/offers"),
        (&provider, Sent::Agreement, "ContractAgreementMessage", "negotiations/theirs/agreement"),
        (&provider, Sent::Finalized, "ContractNegotiationEventMessage", "negotiations/theirs/events"),
        (&provider, Sent::Termination, "ContractNegotiationTerminationMessage", "negotiations/theirs/termination"),
    ] {
        let wire = wire(state, message).unwrap();
        assert_eq!((wire.kind, wire.path.join("/").as_str()), (kind, path));
        let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
        let (consumer_pid, provider_pid) = if only(state).role == Role::Consumer { ("n", "theirs") } else { ("theirs", "n") };
        assert_eq!((&body["consumerPid"], &body["providerPid"]), (&json!(consumer_pid), &json!(provider_pid)), "{body}");
        assert_eq!((&body["@id"], &body["@type"]), (&json!("urn:uuid:1"), &json!(kind)));
        assert_eq!(body["@context"], json!([CONTEXT, "https://example.com/own"]));
    }
    // A first request says where answers go; nothing else is sent to a process that is not known.
    let unknown = with(Role::Consumer, State::Requesting, |n| n.counterparty_pid = None);
    let first = wire(&unknown, Sent::Request).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((first.path.join("/").as_str(), &body["callbackAddress"]), ("negotiations/request", &json!("http://own/dsp")));
    assert!(body.get("providerPid").is_none());
    let unknown = with(Role::Provider, State::Offering, |n| n.counterparty_pid = None);
    let first = wire(&unknown, Sent::Offer).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((first.path.join("/").as_str(), &body["callbackAddress"]), ("negotiations/offers", &json!("http://own/dsp")));
    assert_eq!((&body["providerPid"], body.get("consumerPid")), (&json!("n"), None));
    for message in [Sent::Accepted, Sent::Agreement, Sent::Verification, Sent::Finalized, Sent::Termination] {
        assert_eq!(wire(&unknown, message), None, "{message:?}");
    }
}

#[test]
fn a_participant_that_leaves_ends_what_is_open() {
    let state = with(Role::Provider, State::Requested, |_| {});
    let decision = end(&state, &"n".parse().unwrap(), "left", Timestamp(NOW.0 + 1)).unwrap();
    let next = after(&state, &decision);
    assert_eq!((only(&next).state, only(&next).error_detail.as_deref()), (State::Terminating, Some("left")));
}
