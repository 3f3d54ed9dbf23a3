//! Tables of commands, deadlines and outcomes, and what participants are shown.

use super::{
    agent::{Command, Effect, FederatedCatalog, Found, Outcome, Prepared, Refusal, Sighted, Wanted},
    overview::entries,
    state::{Crawl, Event, Seen},
    *,
};
use crate::{
    control_plane::{
        Participant,
        participant::PROFILES_ENTRY,
        testing::{NOW, state as control_plane},
    },
    settings::{DataspaceProfile, Settings},
};
use cellspace_cluster::{Agent, Decision, Input, Rejection, RowOf, Track};
use cellspace_schemas::{Did, ParticipantContextId, ProfileId, Timestamp, management::TargetNode};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const HOUR: Duration = Duration::from_secs(3_600);
const OPTIONS: CrawlOptions =
    CrawlOptions { refresh: Duration::from_secs(900), first_retry: Duration::from_secs(30), longest_retry: Duration::from_secs(240) };

fn did(name: &str) -> Did {
    format!("did:web:{name}.example").parse().unwrap()
}

fn key(name: &str) -> CrawlKey {
    CrawlKey { target: did(name), profile: "net".parse().unwrap() }
}

fn target(name: &str, url: Option<&str>) -> TargetNode {
    TargetNode { id: did(name), name: None, url: url.map(|url| url.parse().unwrap()), supported_protocols: BTreeSet::new() }
}

fn wanted(name: &str) -> Wanted {
    Wanted { key: key(name), url: None, shared: false }
}

fn effect(name: &str) -> Arc<Effect> {
    Arc::new(Effect { key: key(name), url: None })
}

fn sighted(text: &str) -> Found {
    let address = "https://x.example/dsp/net".parse().unwrap();
    Found::Seen(Box::new(Sighted { address, catalog: Arc::from(text), digest: text.to_owned(), cut: false }))
}

fn outcome(found: Found) -> Outcome {
    Outcome { found, pace: Pace { options: OPTIONS, spread: 0.0 } }
}

type Step = Decision<FederatedCatalog>;

fn decide(state: &State, input: Input<FederatedCatalog>, now: Timestamp) -> Result<Step, Refusal> {
    FederatedCatalog::decide(state, &input, now).map_err(|rejection| match rejection {
        Rejection::Refused(refusal) => refusal,
        Rejection::Stale => panic!("stale"),
    })
}

/// Why a command is refused.
fn refused(state: &State, command: Command) -> Refusal {
    decide(state, ask(command), NOW).err().unwrap()
}

/// Takes a step, which must not be refused.
fn go(state: &mut State, input: Input<FederatedCatalog>, now: Timestamp) -> Step {
    let decision = decide(state, input, now).unwrap_or_else(|refusal| panic!("{refusal}"));
    decision.events.iter().for_each(|event| state.apply(event));
    decision
}

fn ask(command: Command) -> Input<FederatedCatalog> {
    Input::Command(Prepared { command, refresh: OPTIONS.refresh })
}

fn want(state: &mut State, name: &str, now: Timestamp) -> Step {
    go(state, ask(Command::Want(vec![wanted(name)])), now)
}

fn bring(state: &mut State, name: &str, found: Found, now: Timestamp) -> Step {
    go(state, Input::Delivered(effect(name), outcome(found)), now)
}

fn due(state: &mut State, name: &str, now: Timestamp) -> Step {
    go(state, Input::Due(format!("crawl/{}", key(name))), now)
}

fn crawl(state: &State, name: &str) -> Arc<Crawl> {
    state.crawls.get(&key(name)).unwrap().clone()
}

/// Words for what a step does: crawls begun, views written and removed, crawls given up.
fn done(step: &Step) -> String {
    let mut words: Vec<&str> = step.effects.iter().map(|_| "crawls").collect();
    words.extend(step.events.iter().filter_map(|event| match event {
        Event::View(..) => Some("view"),
        Event::ViewRemoved(_) => Some("no view"),
        Event::CrawlRemoved(_) => Some("given up"),
        Event::TargetRemoved(_) => Some("no target"),
        Event::Target(_) | Event::Crawl(_) => None,
    }));
    words.join(", ")
}

#[test]
fn a_target_is_looked_at_as_long_as_somebody_asks() {
    let (mut state, after) = (State::default(), |duration| NOW.plus(duration));
    let first = want(&mut state, "a", NOW);
    assert_eq!((done(&first), first.effects[0].lane.as_str()), ("crawls".into(), "crawl/did:web:a.example net"));
    // One look at a time, however many ask.
    assert!(!want(&mut state, "a", NOW).changes());
    assert!(!due(&mut state, "a", after(10 * HOUR)).changes(), "it is under way");
    assert_eq!(done(&bring(&mut state, "a", sighted("one"), NOW)), "view");
    let known = crawl(&state, "a");
    assert_eq!((known.next, known.seen.as_ref().map(|seen| (seen.at, seen.bytes))), (Some(after(OPTIONS.refresh)), Some((NOW, 3))));
    assert!(!due(&mut state, "a", NOW).changes(), "not yet");
    // What has not changed is not written again, but is as fresh.
    let later = after(OPTIONS.refresh);
    assert_eq!(done(&due(&mut state, "a", later)), "crawls");
    assert_eq!((done(&bring(&mut state, "a", sighted("one"), later)), crawl(&state, "a").seen.clone().unwrap().at), (String::new(), later));
    // That somebody asks is written down by the hour.
    assert!(!want(&mut state, "a", after(HOUR - Duration::from_millis(1))).changes());
    assert!(state.news(&[wanted("a")], after(HOUR - Duration::from_millis(1))).is_empty());
    let asked = after(HOUR);
    assert_eq!(state.news(&[wanted("a")], asked), [wanted("a")]);
    assert_eq!((done(&want(&mut state, "a", asked)), crawl(&state, "a").asked_at), ("crawls".to_owned(), asked), "it is old by then");
    bring(&mut state, "a", sighted("one"), asked);
    // A day after that it is given up, and nothing stays.
    let day = asked.plus(24 * HOUR);
    assert_eq!(done(&due(&mut state, "a", Timestamp(day.0 - 1))), "crawls");
    bring(&mut state, "a", sighted("two"), Timestamp(day.0 - 1));
    assert_eq!(crawl(&state, "a").next.map(|next| next.since(day) > 5 * HOUR), Some(true), "nobody is in a hurry any more");
    assert_eq!(done(&due(&mut state, "a", day.plus(7 * HOUR))), "given up, no view");
    assert!(state.crawls.is_empty());
    // What comes back late finds nothing.
    assert!(!bring(&mut state, "a", sighted("three"), day).changes());
    assert!(!due(&mut state, "a", day).changes());
}

#[test]
fn what_is_asked_for_again_is_as_fresh_again() {
    let mut state = State::default();
    want(&mut state, "a", NOW);
    bring(&mut state, "a", sighted("one"), NOW);
    let later = NOW.plus(20 * HOUR);
    due(&mut state, "a", later);
    bring(&mut state, "a", sighted("one"), later);
    assert_eq!(crawl(&state, "a").next, Some(later.plus(5 * HOUR)));
    let soon = later.plus(Duration::from_secs(60));
    let mut old = state.clone();
    assert_eq!((done(&want(&mut state, "a", soon)), crawl(&state, "a").next), (String::new(), Some(later.plus(OPTIONS.refresh))));
    assert_eq!((done(&want(&mut old, "a", later.plus(HOUR))), crawl(&old, "a").next), ("crawls".to_owned(), None));
    // One that fails is left alone until its pause is over.
    bring(&mut old, "a", Found::Failed("x".to_owned()), later.plus(2 * HOUR));
    let pause = crawl(&old, "a").next;
    assert_eq!((done(&want(&mut old, "a", Timestamp(pause.unwrap().0 - 1))), crawl(&old, "a").next), (String::new(), pause));
}

#[test]
fn one_that_fails_is_tried_with_growing_pauses_and_keeps_its_view() {
    let mut state = State::default();
    want(&mut state, "a", NOW);
    bring(&mut state, "a", sighted("one"), NOW);
    let mut now = NOW;
    for (n, seconds) in [30, 60, 120, 240, 240].into_iter().enumerate() {
        now = now.plus(HOUR);
        assert_eq!(done(&due(&mut state, "a", now)), "crawls");
        // Refused, silent, or given up by the runtime: all the same.
        let step = if n == 2 {
            go(&mut state, Input::Undeliverable(effect("a"), "gone".to_owned()), now)
        } else {
            bring(&mut state, "a", Found::Failed("gone".repeat(1_000)), now)
        };
        assert_eq!(done(&step), "");
        let known = crawl(&state, "a");
        let pause = if n == 2 { CrawlOptions::default().first_retry * 4 } else { Duration::from_secs(seconds) };
        assert_eq!((known.failures as usize, known.next), (n + 1, Some(now.plus(pause))));
        let failure = known.failure.as_ref().unwrap();
        assert!(failure.at == now && failure.reason.starts_with("gone") && failure.reason.len() <= 500);
        assert_eq!(known.seen.as_ref().unwrap().at, NOW, "the last view stays");
    }
    due(&mut state, "a", now.plus(HOUR));
    bring(&mut state, "a", sighted("two"), now.plus(HOUR));
    assert_eq!((crawl(&state, "a").failures, crawl(&state, "a").failure.clone()), (0, None));
}

#[test]
fn pauses_are_spread_and_bounded() {
    let pace = |spread| Pace { options: OPTIONS, spread };
    let after_view = |spread, asked_ago| pace(spread).after_view(asked_ago);
    assert_eq!((after_view(0.0, HOUR), after_view(1.0, HOUR)), (OPTIONS.refresh, OPTIONS.refresh.mul_f64(1.2)));
    assert_eq!(after_view(0.0, 8 * HOUR), 2 * HOUR);
    for failures in [5, 31, 32, 33, u32::MAX] {
        assert_eq!(pace(0.0).after_failures(failures), OPTIONS.longest_retry, "{failures}");
    }
    assert_eq!(pace(7.0).after_failures(1), OPTIONS.first_retry.mul_f64(1.2));
}

#[test]
fn a_target_that_moves_is_looked_at_anew() {
    let mut state = State::default();
    want(&mut state, "a", NOW);
    let moved = Wanted { url: Some("https://elsewhere.example".parse().unwrap()), ..wanted("a") };
    // Under way: it is begun again when it comes back, whatever it brings.
    assert_eq!(done(&go(&mut state, ask(Command::Want(vec![moved.clone()])), NOW)), "");
    let again = bring(&mut state, "a", sighted("one"), NOW);
    assert_eq!((done(&again), &again.effects[0].effect.url), ("crawls".into(), &moved.url));
    assert!(crawl(&state, "a").seen.is_none());
    let back = Arc::new(Effect { key: key("a"), url: moved.url.clone() });
    go(&mut state, Input::Delivered(back, outcome(sighted("two"))), NOW);
    // Waiting: at once.
    assert_eq!(done(&want(&mut state, "a", NOW)), "crawls");
    assert!(crawl(&state, "a").seen.is_some());
    // What others are shown too is not shown as of where they asked to look.
    bring(&mut state, "a", sighted("three"), NOW);
    let shared = Wanted { shared: true, ..moved };
    assert_eq!(done(&go(&mut state, ask(Command::Want(vec![shared])), NOW)), "crawls, no view");
    assert!(crawl(&state, "a").seen.is_none());
}

#[test]
fn target_nodes_and_what_follows_their_crawls() {
    let mut state = State::default();
    let command = ask;
    for name in ["a", "b"] {
        go(&mut state, command(Command::AddTarget(target(name, None))), NOW);
        want(&mut state, name, NOW);
        bring(&mut state, name, sighted(name), NOW);
    }
    assert_eq!(refused(&state, Command::AddTarget(target("a", None))), Refusal::Exists(did("a")));
    go(&mut state, command(Command::ReplaceTarget(target("a", Some("https://x.example")))), NOW);
    assert!(state.targets.get(&did("a")).unwrap().url.is_some());
    for unknown in [Command::ReplaceTarget(target("c", None)), Command::RemoveTarget(did("c"))] {
        assert_eq!(refused(&state, unknown), Refusal::NotFound(did("c")));
    }
    // Whether the installation names it too is found out at once: if so, the view stays.
    want(&mut state, "a", NOW);
    assert_eq!(done(&go(&mut state, command(Command::RemoveTarget(did("a"))), NOW)), "crawls, no target");
    assert!(crawl(&state, "a").seen.is_some());
    // Taken out and named again as often as one likes, it is under way once.
    for _ in 0..3 {
        go(&mut state, command(Command::AddTarget(target("a", None))), NOW);
        assert_eq!(done(&want(&mut state, "a", NOW)), "");
        assert_eq!(done(&go(&mut state, command(Command::RemoveTarget(did("a"))), NOW)), "no target");
    }
    assert_eq!(done(&bring(&mut state, "a", Found::Unnamed, NOW)), "given up, no view");
    assert_eq!((state.targets.size(), state.crawls.size()), (1, 1));
    // Named again before it comes back, it goes on.
    due(&mut state, "b", NOW.plus(HOUR));
    assert_eq!(done(&bring(&mut state, "b", Found::Unnamed, NOW)), "crawls");
    bring(&mut state, "b", sighted("b"), NOW);
    assert_eq!(done(&go(&mut state, command(Command::Leave), NOW)), "no target, given up, no view");
    assert!(state.targets.is_empty() && state.crawls.is_empty());
    assert!(!go(&mut state, command(Command::Leave), NOW).changes());
    // A crawl that finds that its participant is gone forgets all.
    want(&mut state, "a", NOW);
    want(&mut state, "b", NOW);
    assert_eq!(done(&bring(&mut state, "a", Found::Gone, NOW)), "given up, no view, given up, no view");
    assert!(state.crawls.is_empty());
}

#[test]
fn all_of_it_is_bounded() {
    let mut state = State::default();
    for n in 0..MAX_TARGETS {
        go(&mut state, ask(Command::AddTarget(target(&format!("t{n}"), None))), NOW);
    }
    assert_eq!(refused(&state, Command::AddTarget(target("more", None))), Refusal::Full);
    let all: Vec<Wanted> = (0..MAX_CRAWLS + 3).map(|n| wanted(&format!("t{n}"))).collect();
    let step = go(&mut state, ask(Command::Want(all.clone())), NOW);
    assert_eq!((step.effects.len(), state.crawls.size()), (MAX_CRAWLS, MAX_CRAWLS));
    assert!(state.news(&all, NOW).is_empty(), "what has no room is not asked for again and again");
    // Views of all together.
    let mut full = crawl(&state, "t1").as_ref().clone();
    let seen = Seen { at: NOW, address: "https://x.example".parse().unwrap(), bytes: MAX_KEPT - 3, digest: String::new(), cut: false };
    full.seen = Some(seen);
    state.apply(&Event::Crawl(Arc::new(full)));
    assert_eq!(done(&bring(&mut state, "t0", sighted("fits"), NOW)), "");
    assert!(crawl(&state, "t0").failure.as_ref().unwrap().reason.contains("not kept"));
    due(&mut state, "t0", NOW.plus(HOUR));
    assert_eq!(done(&bring(&mut state, "t0", sighted("fit"), NOW)), "view");
}

#[test]
fn crawls_stay_in_the_background() {
    assert_eq!(FederatedCatalog::track(&effect("a")), Track::Background);
    let mut state = State::default();
    want(&mut state, "a", NOW);
    assert_eq!(FederatedCatalog::destination(&effect("a"), &state).as_deref(), Some("a.example"));
    bring(&mut state, "a", sighted("one"), NOW);
    assert_eq!(FederatedCatalog::destination(&effect("a"), &state).as_deref(), Some("x.example"));
}

#[test]
fn a_view_is_no_row_that_is_loaded() {
    let RowOf::Put(row) = (Event::View(key("a"), Arc::from("x"))).row() else { panic!("removed") };
    assert!(row.table().starts_with(cellspace_storage::APART));
    assert_eq!(row.id().parse(), Ok(key("a")));
    for bad in ["", " ", "did:web:a", "did:web:a ", "x net"] {
        assert!(bad.parse::<CrawlKey>().is_err(), "{bad}");
    }
}

fn participant(id: &str, profiles: &str) -> Participant {
    let mut participant = control_plane().participant.unwrap().as_ref().clone();
    participant.id = id.parse().unwrap();
    participant.identity = did(id);
    participant.config.entries.insert(PROFILES_ENTRY.to_owned(), profiles.to_owned());
    participant
}

#[test]
fn who_is_shown_what_and_who_looks() {
    let profile = |name: &str, crawler: Option<&str>| {
        let default = Settings::new(1, BTreeMap::new(), BTreeMap::new(), BTreeMap::new()).profiles.pop_first().unwrap().1;
        let name: ProfileId = name.parse().unwrap();
        (name.clone(), DataspaceProfile { name, crawled_by: crawler.map(|id| id.parse().unwrap()), ..default })
    };
    let profiles = BTreeMap::from([profile("net", None), profile("common", Some("operator"))]);
    let settings = Settings::new(1, BTreeMap::new(), BTreeMap::new(), profiles);
    let known = |targets: Vec<TargetNode>| {
        let mut state = State::default();
        targets.into_iter().for_each(|target| state.apply(&Event::Target(Arc::new(target))));
        state
    };
    let in_net = TargetNode { supported_protocols: BTreeSet::from(["net".parse().unwrap()]), ..target("netonly", None) };
    let common = known(vec![target("x", None), in_net, target("acme", None)]);
    let own = known(vec![target("y", None), target("x", Some("https://own.example"))]);
    let shown = |participant: &Participant, own: &State| {
        let found = entries(participant, &settings, own, &common);
        found.iter().map(|entry| format!("{} by {}", entry.id.replace("did:web:", ""), entry.crawler)).collect::<Vec<_>>()
    };
    let nothing = State::default();
    // Profiles that it is not associated with, or that there are not, show nothing; nor does it see itself.
    assert_eq!(shown(&participant("acme", "net, gone"), &nothing), ["netonly.example net by acme", "x.example net by acme"]);
    // One looks for all at what is the installation's.
    assert_eq!(shown(&participant("acme", "common"), &nothing), ["x.example common by operator"]);
    // What a participant names itself it looks at itself: nobody makes another one show itself to somebody.
    assert_eq!(shown(&participant("acme", "common"), &own), ["x.example common by acme", "y.example common by acme"]);
    assert_eq!(shown(&participant("operator", "common"), &nothing), ["acme.example common by operator", "x.example common by operator"]);
    // Who looks for all does not look elsewhere than all ask it to.
    let found = entries(&participant("operator", "common"), &settings, &own, &common);
    assert_eq!(found.iter().map(|entry| entry.target.url.is_some()).collect::<Vec<_>>(), [false, false, false]);
    let id: ParticipantContextId = "installation".parse().unwrap();
    assert_ne!(address(&id).partition(), installation().partition(), "whatever a participant is called");
}

#[test]
fn why_a_look_failed_is_told_to_whoever_looks() {
    let failure = Some(Failure { at: NOW, reason: "SECRET".to_owned() });
    let crawl = Crawl { key: key("a"), url: None, asked_at: NOW, next: Some(NOW), seen: None, failures: 2, failure };
    let (target, crawler) = (Arc::new(target("a", None)), "operator".parse().unwrap());
    let entry = Entry { id: key("a").to_string(), key: key("a"), crawler, target, crawl: Some(Arc::new(crawl)) };
    let told = |is_own| overview::crawl(&entry, is_own, NOW.millis())["crawl"].clone();
    let (own, of_another) = (told(true), told(false));
    assert_eq!(own["error"], "SECRET");
    assert!(of_another["error"].is_string() && !of_another.to_string().contains("SECRET"), "{of_another}");
    assert_eq!((&of_another["failedAt"], &of_another["failures"]), (&own["failedAt"], &own["failures"]));
}

#[derive(Debug, Clone)]
enum Act {
    Want(u8, bool),
    Bring(u8, Option<bool>, u8),
    Due(u8),
    Add(u8),
    Remove(u8),
    Leave,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u8, any::<bool>()).prop_map(|(n, moved)| Act::Want(n, moved)),
        4 => (0..3_u8, prop_oneof![3 => Just(Some(true)), 2 => Just(Some(false)), 1 => Just(None)], 0..3_u8)
            .prop_map(|(n, good, text)| Act::Bring(n, good, text)),
        3 => (0..3_u8).prop_map(Act::Due),
        1 => (0..3_u8).prop_map(Act::Add),
        1 => (0..3_u8).prop_map(Act::Remove),
        1 => Just(Act::Leave),
    ]
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]

    /// Whatever happens in whatever order: a crawl is under way exactly while there is an outbox row for it, what waits has a deadline, there is a view
    /// exactly where one is said to be, and the rows give the same state again.
    #[test]
    fn every_crawl_comes_back_and_goes_on(acts in prop::collection::vec((acts(), 0..30_u64), 1..60)) {
        let (mut state, mut now) = (State::default(), NOW);
        let mut left = false;
        let (mut rows, mut lanes): (BTreeMap<Vec<u8>, Event>, BTreeMap<CrawlKey, Vec<Effect>>) = Default::default();
        for (act, hours) in acts {
            now = now.plus(HOUR * u32::try_from(hours).unwrap());
            let name = |n: u8| format!("t{n}");
            let input = match act {
                Act::Want(n, moved) => {
                    let url = moved.then(|| "https://moved.example".parse().unwrap());
                    ask(Command::Want(vec![Wanted { url, shared: hours < 15, ..wanted(&name(n)) }]))
                }
                Act::Bring(n, good, text) => {
                    // The first row of its lane.
                    let lane = lanes.entry(key(&name(n))).or_default();
                    if lane.is_empty() { continue }
                    let found = match good {
                        Some(true) => sighted(&text.to_string()),
                        Some(false) => Found::Failed("x".to_owned()),
                        None => Found::Unnamed,
                    };
                    Input::Delivered(Arc::new(lane.remove(0)), outcome(found))
                }
                Act::Due(n) => Input::Due(format!("crawl/{}", key(&name(n)))),
                Act::Add(n) => ask(Command::AddTarget(target(&name(n), None))),
                Act::Remove(n) => ask(Command::RemoveTarget(did(&name(n)))),
                Act::Leave => ask(Command::Leave),
            };
            left |= matches!(act, Act::Leave);
            let Ok(step) = decide(&state, input, now) else { continue };
            for event in &step.events {
                state.apply(event);
                match event.row() {
                    RowOf::Put(row) => rows.insert(row.as_bytes().to_vec(), event.clone()),
                    RowOf::Delete(row) => rows.remove(row.as_bytes()),
                };
            }
            for outgoing in step.effects {
                lanes.entry(outgoing.effect.key.clone()).or_default().push(outgoing.effect);
            }
            for crawl in state.crawls.values() {
                let under_way = lanes.get(&crawl.key).is_some_and(|lane| !lane.is_empty());
                prop_assert!(crawl.next.is_some() || under_way, "{:?} is lost", crawl);
                prop_assert!(left || lanes.get(&crawl.key).is_none_or(|lane| lane.len() < 2), "{:?} is under way twice", crawl);
                let view = rows.contains_key(super::state::view_row(&crawl.key).as_bytes());
                prop_assert_eq!(view, crawl.seen.is_some());
            }
            let views = rows.values().filter(|event| matches!(event, Event::View(..))).count();
            prop_assert_eq!(views, state.crawls.values().filter(|crawl| crawl.seen.is_some()).count());
            let mut loaded = State::default();
            rows.values().for_each(|event| loaded.apply(event));
            prop_assert!(loaded.crawls == state.crawls && loaded.targets == state.targets);
        }
    }
}
