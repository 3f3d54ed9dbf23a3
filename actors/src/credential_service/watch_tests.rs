//! What becomes of a held credential by time, moment by moment.

use super::{
    CredentialService, Event, State,
    agent::{Effect, Outcome, Prepared},
    context::{self, Create, ParticipantContext},
    credential::{CredentialEvent, StoredCredential},
    holder_request::{Acknowledged, Delivered, Request, RequestState},
    watch::{HeldStatus, MAX_RENEWALS, RENEWAL, RENEWAL_PAUSE, STATUS_EVERY, WARNING, Watch},
};
use cellspace_cluster::{Agent, Decision, Input};
use cellspace_schemas::{
    Did, Timestamp,
    dcp::CredentialFormat,
    identity::RequestedCredential,
    issuer::{CredentialDefinitionId, CredentialId, HolderPid, IssuerPid},
};
use serde_json::{Map, json};
use std::{cell::RefCell, sync::Arc, time::Duration};

const START: Timestamp = Timestamp(1_790_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn did(name: &str) -> Did {
    Did::new(format!("did:web:{name}.example")).unwrap()
}

fn id(text: &str) -> CredentialId {
    CredentialId::new(text).unwrap()
}

fn held(name: &str, life: Duration, has_status: bool) -> StoredCredential {
    StoredCredential {
        id: id(name),
        credential_id: Some(format!("urn:{name}")),
        format: CredentialFormat::Vc2Jose,
        types: vec!["VerifiableCredential".to_owned(), "Member".to_owned()],
        contexts: Vec::new(),
        issuer: did("issuer"),
        holder: did("acme"),
        valid_from: Some(START),
        valid_until: Some(START.plus(life)),
        raw: name.to_owned(),
        json: json!({}),
        request: Some(HolderPid::new("hp").unwrap()),
        status: HeldStatus::Active,
        watch: Watch::begin(has_status, START),
    }
}

/// A participant with time, and what it has sent.
struct World {
    state: State,
    now: Timestamp,
    told: Vec<&'static str>,
    facts: Vec<&'static str>,
    sent: Vec<Arc<Effect>>,
}

impl World {
    /// With a credential that a request has brought.
    fn with(credential: StoredCredential) -> Self {
        let mut world = Self { state: State::default(), now: START, told: Vec::new(), facts: Vec::new(), sent: Vec::new() };
        let create = Create {
            did: did("acme"),
            active: true,
            services: Vec::new(),
            keys: Vec::new(),
            scopes: Vec::new(),
            properties: Map::new(),
            sts_account: false,
        };
        let (id, path) = ("acme".parse().unwrap(), "acme".parse().unwrap());
        world.take(Input::Command(Prepared::Context(context::Prepared::Create { id, path, create: Box::new(create), keys: Vec::new() })));
        let asked = RequestedCredential {
            format: CredentialFormat::Vc2Jose,
            credential_type: "Member".to_owned(),
            id: CredentialDefinitionId::new("member").unwrap(),
        };
        let request = Request { holder_pid: None, issuer: did("issuer"), credentials: vec![asked], pre_authorized_code: None };
        world.take(Input::Command(Prepared::Request(request, HolderPid::new("hp").unwrap())));
        world.deliver("hp", credential);
        (world.told, world.sent) = (Vec::new(), Vec::new());
        world
    }

    fn take(&mut self, input: Input<CredentialService>) -> bool {
        let decision: Decision<CredentialService> = CredentialService::decide(&self.state, &input, self.now).unwrap();
        assert_eq!(decision.action.is_empty(), !decision.changes());
        decision.events.iter().for_each(|event| CredentialService::apply(&mut self.state, event));
        self.facts.extend(decision.facts.iter().map(|fact| fact.kind));
        self.sent.extend(decision.effects.into_iter().map(|outgoing| Arc::new(outgoing.effect)));
        self.told.extend((!decision.action.is_empty()).then_some(decision.action));
        !decision.action.is_empty()
    }

    fn deliver(&mut self, pid: &str, credential: StoredCredential) {
        let delivered = Delivered {
            issuer: did("issuer"),
            issuer_pid: IssuerPid::new("ip").unwrap(),
            holder_pid: HolderPid::new(pid).unwrap(),
            outcome: Ok(vec![Arc::new(credential)]),
        };
        assert!(self.take(Input::Command(Prepared::Deliver(delivered))));
    }

    /// Every request until then is answered by what the issuer makes of it.
    fn answered_until(&mut self, then: Timestamp, most: usize, issue: impl Fn(&str, Timestamp) -> StoredCredential) {
        self.answered_under(None, then, most, issue);
    }

    /// The same, under one request whatever is asked.
    fn answered_under(&mut self, one: Option<&str>, then: Timestamp, most: usize, issue: impl Fn(&str, Timestamp) -> StoredCredential) {
        while let Some(at) = self.next().filter(|at| *at <= then) {
            let before = self.requests().len();
            self.until(at.max(self.now));
            for pid in self.requests().split_off(before) {
                assert!(self.requests().len() <= most, "asked without end");
                let watch = Watch::begin(false, self.now);
                let name = format!("credential-{}", self.requests().len());
                let pid = one.map_or(pid, |one| HolderPid::new(one).unwrap());
                self.deliver(pid.as_str(), StoredCredential { watch, request: Some(pid.clone()), ..issue(&name, self.now) });
            }
        }
    }

    /// The next deadline of all credentials.
    fn next(&self) -> Option<Timestamp> {
        self.state.credentials.values().filter_map(|held| held.due_at()).min()
    }

    /// Time passes until then, deadline by deadline.
    fn until(&mut self, then: Timestamp) {
        while let Some(at) = self.next().filter(|at| *at <= then) {
            self.now = self.now.max(at);
            let due: Vec<CredentialId> = self
                .state
                .credentials
                .values()
                .filter(|held| held.due_at().is_some_and(|at| at <= self.now))
                .map(|held| held.id.clone())
                .collect();
            for id in due {
                assert!(self.take(Input::Due(format!("credential/{id}"))), "a deadline that changes nothing would come for ever");
            }
        }
        self.now = then;
    }

    fn requests(&self) -> Vec<HolderPid> {
        let asked = |effect: &Arc<Effect>| {
            if let Effect::RequestCredentials { holder_pid, .. } = effect.as_ref() { Some(holder_pid.clone()) } else { None }
        };
        self.sent.iter().filter_map(asked).collect()
    }

    fn held(&self, name: &str) -> Option<&Arc<StoredCredential>> {
        self.state.credentials.get(&id(name))
    }

    fn answer_last(&mut self, outcome: Result<(), &str>) {
        let effect = self.sent.last().unwrap().clone();
        self.take(match outcome {
            Ok(()) => Input::Delivered(effect, Outcome::Acknowledged(Acknowledged { issuer_pid: IssuerPid::new("ip").ok() })),
            Err(reason) => Input::Undeliverable(effect, reason.to_owned()),
        });
    }
}

#[test]
fn an_end_is_told_of_once_and_a_renewal_replaces_what_ends() {
    let life = 30 * DAY;
    let mut world = World::with(held("first", life, false));
    let end = START.plus(life);
    assert_eq!(world.next(), Some(end.minus(WARNING)));
    world.until(end.minus(WARNING).minus(Duration::from_millis(1)));
    assert!(world.told.is_empty());
    world.until(end.minus(WARNING));
    assert_eq!((&world.told[..], &world.facts[..]), (&["credential.expiring"][..], &["org.cellspace.credential.expiring"][..]));
    world.until(end.minus(RENEWAL));
    assert_eq!((world.told.last(), world.requests().len(), world.facts.len()), (Some(&"credential.renewing"), 1, 1));
    let pid = world.requests()[0].clone();
    // On its way: it is not asked for twice.
    world.answer_last(Ok(()));
    world.until(end.minus(RENEWAL / 2));
    assert_eq!(world.requests().len(), 1);
    let mut second = held("second", life, false);
    (second.valid_from, second.valid_until, second.request) = (Some(world.now), Some(world.now.plus(life)), Some(pid.clone()));
    world.deliver(pid.as_str(), second.clone());
    assert!(world.held("first").is_none() && world.held("second").is_some());
    // One that does not count yet leaves the other in its place.
    let mut early = World::with(held("first", life, false));
    early.until(end.minus(RENEWAL));
    let pid = early.requests()[0].clone();
    let later = StoredCredential {
        valid_from: Some(end),
        valid_until: Some(end.plus(life)),
        request: Some(pid.clone()),
        ..held("later", life, false)
    };
    early.deliver(pid.as_str(), later);
    assert!(early.held("first").is_some() && early.held("later").is_some());
    early.until(end.minus(Duration::from_millis(1)));
    assert!(early.held("first").is_some());
    // It takes its place when it begins to.
    early.until(end);
    assert_eq!((early.requests().len(), early.held("later").unwrap().is_valid(end), early.held("first")), (1, true, None));
    assert_eq!((early.state.credentials.size(), early.told.last()), (1, Some(&"credential.renewed")));
    // And so on: what brought it goes with it.
    let end = end.plus(life);
    early.until(end.minus(RENEWAL));
    let pid = early.requests().last().unwrap().clone();
    early.deliver(
        pid.as_str(),
        StoredCredential {
            valid_from: Some(end),
            valid_until: Some(end.plus(life)),
            request: Some(pid.clone()),
            ..held("last", life, false)
        },
    );
    early.until(end);
    assert_eq!((early.state.credentials.size(), early.state.requests.size(), early.requests().len()), (1, 2, 2));
    assert!(early.held("last").unwrap().watch.replaces.is_none());
    // And so on; what a renewal has renewed leaves no request behind.
    let mut last = second;
    for n in 0..3 {
        let end = last.valid_until.unwrap();
        world.until(end.minus(RENEWAL));
        let pid = world.requests().last().unwrap().clone();
        world.answer_last(Ok(()));
        let name = format!("next-{n}");
        let mut next = held(&name, life, false);
        (next.valid_from, next.valid_until, next.request) = (Some(world.now), Some(world.now.plus(life)), Some(pid.clone()));
        world.deliver(pid.as_str(), next.clone());
        last = next;
        assert_eq!((world.state.credentials.size(), world.state.requests.size()), (1, 2), "the first request, and the last renewal");
    }
}

#[test]
fn what_lasts_longer_by_then_keeps_its_place() {
    let life = 30 * DAY;
    let mut world = World::with(held("first", life, false));
    let end = START.plus(life);
    world.until(end.minus(RENEWAL));
    let pid = world.requests()[0].clone();
    let (valid_from, valid_until, request) = (Some(end), Some(end.plus(DAY)), Some(pid.clone()));
    world.deliver(pid.as_str(), StoredCredential { valid_from, valid_until, request, ..held("second", life, false) });
    let first = StoredCredential { valid_until: Some(end.plus(2 * DAY)), ..(**world.held("first").unwrap()).clone() };
    CredentialService::apply(&mut world.state, &Event::Credential(CredentialEvent::Stored(Arc::new(first))));
    world.until(end);
    assert!(world.held("first").is_some_and(|first| first.is_valid(end)) && world.held("second").unwrap().watch.replaces.is_none());
}

#[test]
fn a_renewal_that_is_suspended_when_it_begins_takes_the_others_place_at_its_end() {
    let (life, half) = (30 * DAY, RENEWAL / 2);
    let mut world = World::with(held("first", life, false));
    let end = START.plus(life);
    world.until(end.minus(RENEWAL));
    let pid = world.requests()[0].clone();
    let begins = end.minus(half);
    let (valid_from, valid_until, request) = (Some(begins), Some(end.plus(life)), Some(pid.clone()));
    world.deliver(pid.as_str(), StoredCredential { valid_from, valid_until, request, ..held("second", life, false) });
    let second = StoredCredential { status: HeldStatus::Suspended, ..(**world.held("second").unwrap()).clone() };
    CredentialService::apply(&mut world.state, &Event::Credential(CredentialEvent::Stored(Arc::new(second))));
    world.until(begins);
    assert!(world.held("first").is_some(), "it is all that counts");
    world.until(end);
    assert!(world.held("first").is_none() && world.held("second").unwrap().watch.replaces.is_none());
}

#[test]
fn a_renewal_that_fails_is_tried_again_until_the_end() {
    let mut world = World::with(held("first", 30 * DAY, false));
    let end = START.plus(30 * DAY);
    for n in 1..=MAX_RENEWALS {
        world.until(end.minus(RENEWAL).plus(RENEWAL / MAX_RENEWALS * (n - 1)));
        assert_eq!(world.requests().len(), usize::try_from(n).unwrap());
        world.answer_last(Err("no"));
        let failed = world.state.requests.values().filter(|request| request.renews.is_some()).count();
        assert_eq!(failed, 1, "the last attempt alone is kept");
    }
    let mut all = world.requests();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), usize::try_from(MAX_RENEWALS).unwrap());
    world.until(end.plus(DAY));
    assert_eq!((world.requests().len(), world.next()), (all.len(), None));
    assert!(!world.held("first").unwrap().is_valid(world.now));
}

#[test]
fn what_is_not_renewed() {
    let life = 30 * DAY;
    let end = START.plus(life);
    // Given by the participant itself.
    let mut world = World::with(held("first", life, false));
    let own = StoredCredential { request: None, ..held("first", life, false) };
    CredentialService::apply(&mut world.state, &Event::Credential(CredentialEvent::Stored(Arc::new(own))));
    world.until(end);
    assert_eq!((&world.told[..], world.requests().len()), (&["credential.expiring"][..], 0));
    // One that outlives it is there.
    let mut world = World::with(held("first", life, false));
    let longer = StoredCredential { valid_until: Some(end.plus(life)), ..held("longer", life, false) };
    CredentialService::apply(&mut world.state, &Event::Credential(CredentialEvent::Stored(Arc::new(longer))));
    world.until(end);
    assert!(world.requests().is_empty());
    // But one that begins later leaves a time without any.
    let mut world = World::with(held("first", life, false));
    let (from, until) = (Some(end.plus(DAY)), Some(end.plus(life)));
    let later = StoredCredential { valid_from: from, valid_until: until, ..held("later", life, false) };
    CredentialService::apply(&mut world.state, &Event::Credential(CredentialEvent::Stored(Arc::new(later))));
    world.until(end.minus(RENEWAL));
    assert_eq!(world.requests().len(), 1);
    // Its participant is switched off.
    let mut world = World::with(held("first", life, false));
    world.take(Input::Command(Prepared::Context(context::Prepared::Plain(context::Command::SetActive(false)))));
    world.until(end);
    assert!(world.requests().is_empty());
    let context: &ParticipantContext = world.state.context.as_ref().unwrap();
    assert!(!context.active);
    // Its request is gone.
    let mut world = World::with(held("first", life, false));
    world.state.requests.remove_mut(&HolderPid::new("hp").unwrap());
    world.until(end);
    assert!(world.requests().is_empty());
    // It was revoked.
    let mut world = World::with(held("first", life, true));
    world.until(START.plus(STATUS_EVERY));
    let look = world.sent.last().unwrap().clone();
    world.take(Input::Delivered(look, Outcome::Status(HeldStatus::Revoked)));
    assert_eq!(world.next(), None);
}

#[test]
fn short_lives_are_renewed_in_their_last_quarter() {
    let mut world = World::with(held("first", Duration::from_secs(3_600), false));
    assert_eq!(world.next(), Some(START.plus(Duration::from_secs(2_700))));
    world.until(START.plus(Duration::from_secs(2_700)));
    assert_eq!((world.requests().len(), &world.facts[..]), (1, &["org.cellspace.credential.expiring"][..]));
    let endless = StoredCredential { valid_until: None, ..held("endless", DAY, false) };
    assert_eq!(endless.due_at(), None);
}

#[test]
fn a_status_is_looked_up_at_once_and_every_day_and_counts() {
    let mut world = World::with(held("first", 365 * DAY, true));
    let now = |world: &World| world.held("first").unwrap().is_valid(world.now);
    for (day, status, state, told) in [
        (0, HeldStatus::Active, 500, None),
        (1, HeldStatus::Suspended, 700, Some("credential.held.suspended")),
        (2, HeldStatus::Suspended, 700, None),
        (3, HeldStatus::Active, 500, Some("credential.held.resumed")),
        (4, HeldStatus::Revoked, 600, Some("credential.held.revoked")),
    ] {
        (world.told, world.facts) = (Vec::new(), Vec::new());
        world.until(START.plus(day * STATUS_EVERY));
        let look = world.sent.last().unwrap().clone();
        assert!(matches!(look.as_ref(), Effect::LookAtStatus(of, _) if *of == id("first")));
        assert_eq!(world.sent.len(), usize::try_from(day).unwrap() + 1);
        world.take(Input::Delivered(look, Outcome::Status(status)));
        assert_eq!(world.told, [Some("credential.watched"), told].into_iter().flatten().collect::<Vec<_>>(), "day {day}");
        assert_eq!(world.facts.len(), usize::from(told.is_some()));
        let shown = world.held("first").unwrap().resource(&"acme".parse().unwrap(), world.now).state;
        assert_eq!((shown, now(&world)), (state, status == HeldStatus::Active), "day {day}");
    }
    // Revoked is for good.
    let late = world.sent.last().unwrap().clone();
    assert!(!world.take(Input::Delivered(late.clone(), Outcome::Status(HeldStatus::Active))));
    assert!(!world.take(Input::Undeliverable(late, "no".to_owned())));
    world.until(START.plus(400 * DAY));
    assert_eq!(world.sent.len(), 5);
    assert!(matches!(world.state.requests.values().next().unwrap().state, RequestState::Issued));
}

#[test]
fn an_issuer_that_does_not_say_since_when_is_asked_in_the_last_quarter() {
    let hour = Duration::from_secs(3_600);
    let issue =
        |name: &str, now: Timestamp| StoredCredential { valid_from: None, valid_until: Some(now.plus(hour)), ..held(name, hour, false) };
    let mut world = World::with(issue("first", START));
    assert_eq!(world.next(), Some(START.plus(hour * 3 / 4)));
    world.answered_until(START.plus(hour * 3), 4, issue);
    assert_eq!((world.requests().len(), world.state.credentials.size()), (4, 1));
}

#[test]
fn an_issuer_that_grants_no_more_time_is_not_asked_without_end() {
    let end = START.plus(30 * DAY);
    for from in [None, Some(START)] {
        let issue = |name: &str, _| StoredCredential { valid_from: from, valid_until: Some(end), ..held(name, 30 * DAY, false) };
        let mut world = World::with(issue("first", START));
        world.answered_until(end.plus(DAY), usize::try_from(MAX_RENEWALS).unwrap(), issue);
        assert_eq!((world.facts.len(), world.state.credentials.size(), world.state.requests.size()), (1, 1, 2));
    }
    // What ends earlier takes no place, and is an answer.
    let shorter = |name: &str, _| StoredCredential { valid_until: Some(end.minus(RENEWAL / 3)), ..held(name, 30 * DAY, false) };
    let mut world = World::with(held("first", 30 * DAY, false));
    world.answered_until(end.plus(DAY), 1, shorter);
    assert!(world.held("first").is_some() && world.requests().len() == 1);
    let renewal = world.state.requests.get(&world.requests()[0]).unwrap();
    assert_eq!((renewal.state, renewal.brought.len()), (RequestState::Issued, 1));
}

#[test]
fn an_issuer_whose_credentials_end_ever_sooner_is_not_asked_ever_faster() {
    let life = 30 * DAY;
    for little in [Duration::from_millis(1), Duration::from_millis(500), Duration::from_secs(1)] {
        // An answer to each request, or everything under the first one.
        for (under, alternate) in [(None, false), (Some("hp"), false), (None, true), (Some("hp"), true)] {
            let ends = RefCell::new(vec![START.plus(life)]);
            let asked = RefCell::new(Vec::new());
            let issue = |name: &str, now: Timestamp| {
                let end = ends.borrow().last().unwrap().plus(little);
                ends.borrow_mut().push(end);
                asked.borrow_mut().push(now);
                // In a format that nobody asked for is no way around it.
                let format = CredentialFormat::ALL[if alternate { asked.borrow().len() % 2 } else { 1 }];
                StoredCredential { format, valid_until: Some(end), ..held(name, life, false) }
            };
            let mut world = World::with(held("first", life, false));
            world.answered_under(under, START.plus(2 * life), 20, issue);
            let asked = asked.into_inner();
            assert!(asked.len() > 5, "{little:?} {asked:?}");
            for (n, gap) in asked.windows(2).map(|pair| pair[1].since(pair[0])).enumerate() {
                assert!(gap >= RENEWAL_PAUSE, "{little:?} {n}: {gap:?}");
            }
        }
    }
}

#[test]
fn the_pause_between_renewals_grows_while_it_is_too_short_and_shrinks_again() {
    let brief = |life: u64| {
        move |name: &str, now: Timestamp| StoredCredential {
            valid_from: None,
            valid_until: Some(now.plus(Duration::from_secs(life))),
            ..held(name, DAY, false)
        }
    };
    // A steady short life is none of an issuer's tricks.
    let mut world = World::with(brief(4)("first", START));
    world.answered_until(START.plus(Duration::from_secs(3_600)), 1_300, brief(4));
    assert_eq!(world.requests().len(), 1_200);
    assert!(world.state.credentials.values().all(|held| held.watch.haste == 0));
    // Twice as often as it may: each time it waits twice as long, until what it holds has ended.
    let mut world = World::with(brief(2)("first", START));
    world.answered_until(START.plus(Duration::from_secs(3_600)), 10, brief(2));
    assert_eq!(world.requests().len(), 1);
    // What is slow enough makes up for it.
    let mut held = brief(60)("first", START);
    (held.watch.asked_at, held.watch.haste) = (Some(START), 3);
    let mut world = World::with(held);
    world.answered_until(START.plus(Duration::from_secs(600)), 20, brief(60));
    let haste: Vec<u32> = world.state.credentials.values().map(|held| held.watch.haste).collect();
    assert_eq!(haste, [0]);
}

#[test]
fn each_format_of_a_type_is_renewed_by_its_own_entry() {
    let mut world = World::with(held("other", 365 * DAY, false));
    let asked =
        |format, id: &str| RequestedCredential { format, credential_type: "Both".to_owned(), id: CredentialDefinitionId::new(id).unwrap() };
    let formats = [(CredentialFormat::Vc2Jose, "vc20"), (CredentialFormat::Vc1Jwt, "vc11")];
    let credentials = formats.map(|(format, id)| asked(format, id)).to_vec();
    let request = Request { holder_pid: None, issuer: did("issuer"), credentials, pre_authorized_code: None };
    let pid = HolderPid::new("both").unwrap();
    world.take(Input::Command(Prepared::Request(request, pid.clone())));
    let of = |format, name: &str, life| StoredCredential {
        format,
        types: vec!["VerifiableCredential".to_owned(), "Both".to_owned()],
        request: Some(pid.clone()),
        ..held(name, life, false)
    };
    for (format, name) in formats {
        world.deliver("both", of(format, name, 30 * DAY));
    }
    assert!(world.held("vc20").is_some() && world.held("vc11").is_some(), "neither takes the place of the other");
    world.sent.clear();
    world.until(START.plus(29 * DAY));
    let definitions = |effect: &Arc<Effect>| match effect.as_ref() {
        Effect::RequestCredentials { credentials, .. } => credentials.iter().map(ToString::to_string).collect(),
        _ => String::new(),
    };
    let mut asked: Vec<String> = world.sent.iter().map(definitions).collect();
    asked.sort();
    assert_eq!(asked, ["vc11", "vc20"]);
    // What comes in the one format leaves the other where it is. Types that were not asked for do not matter.
    let position = world.sent.iter().position(|effect| definitions(effect) == "vc11").unwrap();
    let pid = world.requests()[position].clone();
    let mut next = of(CredentialFormat::Vc1Jwt, "next", 60 * DAY);
    next.types.push("More".to_owned());
    world.deliver(pid.as_str(), next);
    assert!(world.held("vc11").is_none() && world.held("vc20").is_some() && world.held("next").is_some());
}

#[test]
fn a_credential_in_another_format_takes_the_place_of_the_one_that_it_renews() {
    let life = 30 * DAY;
    let other =
        |name: &str, until| StoredCredential { format: CredentialFormat::Vc1Jwt, valid_until: Some(until), ..held(name, life, false) };
    let mut world = World::with(held("first", life, false));
    let end = START.plus(life);
    world.until(end.minus(RENEWAL));
    let pid = world.requests()[0].clone();
    world.deliver(pid.as_str(), StoredCredential { request: Some(pid.clone()), ..other("second", end.plus(life)) });
    assert!(world.held("first").is_none() && world.held("second").is_some());
    // One that another request for the same has brought is there instead, too.
    let mut world = World::with(held("first", life, false));
    let asked = world.state.requests.values().next().unwrap().asked.clone();
    let request = Request { holder_pid: None, issuer: did("issuer"), credentials: asked, pre_authorized_code: None };
    world.take(Input::Command(Prepared::Request(request, HolderPid::new("more").unwrap())));
    world.deliver("more", StoredCredential { request: HolderPid::new("more").ok(), ..other("longer", end.plus(life)) });
    world.sent.clear();
    world.until(end);
    assert!(world.requests().is_empty());
}

/// Two objects of an issuer may be of one type: what the one has brought is not there instead of the other.
#[test]
fn a_credential_of_the_same_type_by_another_definition_is_no_renewal() {
    let life = 30 * DAY;
    let mut world = World::with(held("first", life, false));
    let mut asked = world.state.requests.values().next().unwrap().asked.clone();
    asked[0].id = CredentialDefinitionId::new("other-object").unwrap();
    let request = Request { holder_pid: None, issuer: did("issuer"), credentials: asked, pre_authorized_code: None };
    world.take(Input::Command(Prepared::Request(request, HolderPid::new("more").unwrap())));
    world.deliver("more", StoredCredential { request: HolderPid::new("more").ok(), ..held("longer", 2 * life, false) });
    world.sent.clear();
    world.until(START.plus(life).minus(RENEWAL));
    assert_eq!(world.requests().len(), 1);
}

#[test]
fn other_bytes_have_a_status_of_their_own() {
    let mut world = World::with(held("first", 365 * DAY, true));
    world.until(START);
    let look = world.sent.last().unwrap().clone();
    let state = |world: &World| world.held("first").map(|held| (held.status, held.watch.look_at));
    world.take(Input::Delivered(look.clone(), Outcome::Status(HeldStatus::Suspended)));
    assert_eq!(state(&world), Some((HeldStatus::Suspended, Some(START.plus(STATUS_EVERY)))));
    world.deliver("hp", StoredCredential { raw: "signed anew".to_owned(), id: id("again"), ..held("first", 365 * DAY, true) });
    assert_eq!(state(&world), Some((HeldStatus::Active, Some(START))));
    // What was found out of the one before says nothing of it.
    assert!(!world.take(Input::Delivered(look, Outcome::Status(HeldStatus::Revoked))));
    world.until(START);
    let look = world.sent.last().unwrap().clone();
    assert!(world.take(Input::Delivered(look, Outcome::Status(HeldStatus::Revoked))));
}
