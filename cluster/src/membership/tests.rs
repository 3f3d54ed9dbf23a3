//! Tables of the membership's rules.

mod lives;

use super::{plan, table::Table, watch::Watch, *};
use crate::ring::NodeName;
use cellspace_schemas::Timestamp;
use cellspace_storage::{Dead, Deal, Incarnation, Lease, Member, Swap, View};
use std::{collections::BTreeSet, time::Duration};

const SLOTS: u16 = 64;

fn terms() -> Terms {
    Terms { slots: SLOTS, step: 4, ..Terms::default() }
}

fn at(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn clock(millis: u64) -> Timestamp {
    Timestamp(i64::try_from(millis).unwrap())
}

fn member(name: &str, incarnation: u64) -> Member {
    Member { node: NodeName(name.to_owned()), incarnation: Incarnation(incarnation) }
}

fn lease(name: &str, counter: u64) -> Lease {
    Lease { counter, ..Lease::first(member(name, 1), 1, "") }
}

fn view(version: u64, names: &[&str]) -> View {
    let members: Vec<_> = names.iter().map(|name| member(name, 1)).collect();
    View { version, format: 1, deal: Deal { from: members.clone(), to: members, mark: 0 }, past: Vec::new(), dead: Vec::new() }
}

fn after(before: &View, names: &[&str]) -> View {
    let mut next = view(before.version + 1, names);
    next.past = before.past.iter().chain([&before.deal]).cloned().collect();
    next
}

/// A node that holds its lease from 1 s on, under this view.
fn node(name: &str, first: &View, others: &[Lease]) -> Node {
    let mut node = Node::new(None, lease(name, 0), terms(), Rings::new(SLOTS), at(0));
    round(&mut node, first, others, 1_000).unwrap();
    node
}

/// A round that goes well.
fn round(node: &mut Node, view: &View, others: &[Lease], millis: u64) -> Result<Step, Ended> {
    let (_, next) = node.renewal(at(millis), clock(millis));
    node.renewed(&Swap::Applied);
    let leases: Vec<_> = others.iter().cloned().chain([next]).collect();
    node.observed(Some(view.clone()), &leases, at(millis))
}

fn moved(from: &View, to: &View, owner: &str) -> u16 {
    let rings = Rings::new(SLOTS);
    let (before, after) = (Dealt::new(from.deal.clone(), &rings), Dealt::new(to.deal.clone(), &rings));
    let goes = |slot: &u16| before.owner(*slot).unwrap().node.0 == owner && after.owner(*slot) != before.owner(*slot);
    (0..SLOTS).find(goes).unwrap()
}

#[test]
fn a_lease_counts_from_the_start_of_the_renewal_and_only_when_the_view_was_applied() {
    let mut node = Node::new(None, lease("a", 0), terms(), Rings::new(SLOTS), at(0));
    let (before, next) = node.renewal(at(1_000), clock(1_000));
    assert_eq!((before.counter, next.counter), (0, 1));
    node.renewed(&Swap::Applied);
    assert!(!node.holds_lease(at(1_001)), "no view was read after it");
    node.observed(Some(view(1, &["a"])), &[next], at(1_500)).unwrap();
    assert!(node.holds_lease(at(2_999)) && !node.holds_lease(at(3_000)));
}

/// It may have landed at once: others count from then.
#[test]
fn a_renewal_without_an_answer_is_begun_again_and_counts_from_its_first_beginning() {
    let mut node = Node::new(None, lease("a", 0), terms(), Rings::new(SLOTS), at(0));
    let (_, first) = node.renewal(at(1_000), clock(1_000));
    node.renewed(&Swap::Unknown("silence".into()));
    node.observed(Some(view(1, &["a"])), &[lease("a", 0)], at(1_100)).unwrap();
    assert!(!node.holds_lease(at(1_100)));
    let (_, again) = node.renewal(at(2_500), clock(2_500));
    assert_eq!(first, again);
    node.renewed(&Swap::Refused);
    node.observed(Some(view(1, &["a"])), &[again], at(2_600)).unwrap();
    assert!(node.holds_lease(at(2_999)) && !node.holds_lease(at(3_000)));
}

#[test]
fn a_life_ends_when_it_is_revoked_superseded_or_too_old() {
    let first = view(1, &["a"]);
    let ends = |row: Lease, view: &View| node("a", &first, &[]).observed(Some(view.clone()), &[row], at(1_100)).unwrap_err();
    assert_eq!(ends(Lease { revoked: true, ..lease("a", 1) }, &first), Ended::Revoked);
    assert_eq!(ends(Lease { incarnation: Incarnation(2), ..lease("a", 1) }, &first), Ended::Superseded);
    let newer = View { version: 2, format: 2, ..first.clone() };
    assert_eq!(ends(lease("a", 1), &newer), Ended::TooOld { format: 2, level: 1 });
    let (before, next) = next_life(&NodeName("a".into()), 3, "x:1", clock(0), &[Lease { revoked: true, ..lease("a", 9) }]);
    assert_eq!((before.unwrap().counter, next.incarnation, next.counter, next.revoked), (9, Incarnation(2), 0, false));
}

#[test]
fn who_stands_still_is_judged_by_one_that_was_awake() {
    let first = view(1, &["a", "b", "c"]);
    let others = [lease("b", 5), lease("c", 5)];
    let mut a = node("a", &first, &others);
    let moving = |n: u64| [lease("b", 5), lease("c", 5 + n)];
    for n in 1..=4 {
        // Seen first at 1.0 s.
        assert_eq!(round(&mut a, &first, &moving(n), 1_000 + n * 500).unwrap().revokes, [], "{n}");
    }
    let step = round(&mut a, &first, &moving(5), 3_500).unwrap();
    assert_eq!(step.revokes, [(lease("b", 5), Lease { revoked: true, ..lease("b", 5) })]);
    // One that slept, or heard nothing of the store, does not know who stood still meanwhile.
    let mut a = node("a", &first, &others);
    round(&mut a, &first, &moving(1), 1_500).unwrap();
    assert_eq!(round(&mut a, &first, &moving(2), 9_000).unwrap().revokes, []);
    assert_eq!(round(&mut a, &first, &moving(3), 10_900).unwrap().revokes, []);
    assert_eq!(round(&mut a, &first, &moving(4), 12_600).unwrap().revokes.len(), 1);
}

/// A counter that stands is looked at again when it tells something, not only with the next renewal.
#[test]
fn who_stands_still_is_judged_when_its_time_has_come() {
    let first = view(1, &["a", "b"]);
    let mut a = node("a", &first, &[lease("b", 5)]);
    assert_eq!((a.judges_at(at(1_000)), a.acts_at(at(1_000))), (Some(at(3_250)), Some(at(3_250))));
    round(&mut a, &first, &[lease("b", 6)], 1_500).unwrap();
    assert_eq!(a.judges_at(at(1_500)), Some(at(3_750)));
    assert_eq!(a.judges_at(at(3_750)), None, "what was judged is not looked at again and again");
    assert_eq!(node("a", &view(1, &["a"]), &[lease("b", 5)]).judges_at(at(1_000)), None, "of members alone");
}

/// Clocks of a row never go back, and one counts when its renewal does.
#[test]
fn rows_tell_the_time_of_day() {
    let mut node = Node::new(None, Lease { until: Some(clock(5_000)), ..lease("a", 0) }, terms(), Rings::new(SLOTS), at(0));
    let (_, first) = node.renewal(at(1_000), clock(4_000));
    assert_eq!((first.until, node.serves_until()), (Some(clock(6_000)), None));
    node.renewed(&Swap::Applied);
    assert_eq!(node.serves_until(), None);
    node.observed(Some(view(1, &["a"])), &[first], at(1_050)).unwrap();
    assert_eq!(node.serves_until(), Some(clock(6_000)));
    let (before, next) = node.renewal(at(1_500), clock(3_500));
    assert_eq!((before.until, next.until, node.serves_until()), (Some(clock(6_000)), Some(clock(6_000)), Some(clock(6_000))));
    let life = |clock, row: &Lease| next_life(&NodeName("a".into()), 1, "", clock, std::slice::from_ref(row)).1.until;
    assert_eq!(life(clock(5_500), &next), Some(clock(6_000)));
    assert_eq!(life(clock(6_500), &next), Some(clock(6_500)), "it gives no lease");
    // A life that does not tell it may have any lease.
    assert_eq!(life(clock(6_500), &lease("a", 9)), Some(clock(66_500)));
}

/// Of a slot whose owner was found dead it is known when others served it last: before it came to that owner, and as late as its row says.
#[test]
fn who_gets_a_slot_of_a_dead_node_knows_until_when_it_was_served() {
    let (first, rows) = (view(1, &["a", "b", "c"]), [lease("b", 1), lease("c", 1)]);
    let dead = [lease("b", 1), Lease { until: Some(clock(77_000)), revoked: true, ..lease("c", 9) }];
    let gone = |mut node: Node, names: &[&str]| {
        let mut next = plan::without(node.view().unwrap(), &BTreeSet::from([NodeName("c".into())]), &member("a", 1), &dead);
        assert_eq!(next.dead, [Dead { member: member("c", 1), until: clock(77_000), settled: None }]);
        next.deal.from = view(1, names).deal.from;
        let slot = moved(node.view().unwrap(), &next, "c");
        node.learn(next, at(9_000)).unwrap();
        node.open_free(at(9_000));
        node.served_last(slot)
    };
    // As far as `a` knows it may have come to `c` when `a` began.
    let long = Some(ServedLast { others: at(1_000) + terms().patience(), told: None, owner: clock(77_000) });
    assert_eq!(gone(node("a", &first, &rows), &["a", "b"]), long);
    // It came to `c` a moment ago.
    let two = view(1, &["a", "b"]);
    let mut late = node("a", &two, &rows);
    let next = after(&two, &["a", "b", "c"]);
    late.learn(next, at(8_000)).unwrap();
    let short = Some(ServedLast { others: at(8_000) + terms().patience(), told: None, owner: clock(77_000) });
    assert_eq!(gone(late, &["a", "b"]), short);
    // Nothing is known of one that handed it over, nor where a row does not tell.
    let mut none = node("a", &first, &rows);
    let handed = after(&first, &["a", "b"]);
    let slot = moved(&first, &handed, "c");
    none.learn(handed, at(9_000)).unwrap();
    assert_eq!(none.served_last(slot), None);
}

#[test]
fn never_more_than_half_at_once() {
    let names = ["a", "b", "c", "d", "e"];
    let all = view(1, &names);
    let mut rows: Vec<_> = names[1..].iter().map(|name| lease(name, 1)).collect();
    let mut watch = Watch::default();
    watch.observe(&rows, true, at(0));
    let me = NodeName("a".into());
    let dead = |watch: &mut Watch, rows: &[Lease]| {
        watch.observe(rows, true, at(5_000));
        watch.dead(&all, &me, &terms(), at(5_000))
    };
    assert_eq!(dead(&mut watch, &rows).len(), 2, "four of five stand still");
    rows[3].revoked = true;
    assert_eq!(dead(&mut watch, &rows).len(), 1, "with those that are taken away already");
    watch.restart(at(4_000));
    assert_eq!(dead(&mut watch, &rows).len(), 0, "the others are judged anew");
}

#[test]
fn a_slot_opens_when_its_owner_released_it_left_the_view_or_had_its_time() {
    let both = view(1, &["a", "b"]);
    let alone = after(&both, &["a"]);
    let slot = moved(&both, &alone, "b");
    let rings = Rings::new(SLOTS);
    let three = after(&both, &["a", "b", "c"]);
    let taken = (0..SLOTS).find(|slot| Dealt::new(three.deal.clone(), &rings).owner(*slot).unwrap().node.0 == "c").unwrap();
    let mut gone = Table::new(member("a", 1), None, &rings, &terms());
    gone.apply(&both, &rings, &terms(), at(0));
    assert!(gone.open(slot).is_none());
    gone.open_free(at(0));
    gone.apply(&alone, &rings, &terms(), at(0));
    gone.open_free(at(0));
    assert!(gone.open(slot).is_some(), "its owner has left the view");
    let fresh = || {
        let mut table = Table::new(member("c", 1), None, &rings, &terms());
        table.apply(&both, &rings, &terms(), at(0));
        table.apply(&three, &rings, &terms(), at(10));
        assert!(!table.open_free(at(10)).contains(&taken));
        table
    };
    let owner = Dealt::new(both.deal.clone(), &rings).owner(taken).unwrap().clone();
    let mut table = fresh();
    assert!(table.asks().contains(&(owner.clone(), taken)));
    table.released(taken, &owner, 1);
    assert!(!table.open_free(at(20)).contains(&taken), "an answer from before the slot was its own");
    table.released(taken, &member("z", 1), 2);
    assert!(!table.open_free(at(20)).contains(&taken), "another node's answer");
    table.released(taken, &owner, 2);
    assert!(table.open_free(at(20)).contains(&taken));
    let mut table = fresh();
    assert!(!table.open_free(at(2_259)).contains(&taken));
    assert!(table.open_free(at(2_260)).contains(&taken), "lease and margin");
}

#[test]
fn a_slot_is_released_when_the_view_is_applied_and_the_last_turn_has_ended() {
    let alone = view(1, &["a"]);
    let both = after(&alone, &["a", "b"]);
    let slot = moved(&alone, &both, "a");
    let mut a = node("a", &alone, &[]);
    a.open_free(at(1_000));
    assert!(a.serves(slot, at(1_000)));
    assert_eq!(a.asked(slot, 2), Answer::Behind);
    assert_eq!(a.asked(slot, 1), Answer::Newer(1));
    let closes = a.learn(both, at(1_100)).unwrap();
    assert!(closes.contains(&slot) && !a.serves(slot, at(1_100)));
    assert_eq!(a.asked(slot, 2), Answer::NotYet);
    a.ended(slot);
    assert_eq!(a.asked(slot, 2), Answer::Released);
    assert!(a.learn(alone, at(1_200)).unwrap().is_empty(), "an older view changes nothing");
}

/// What a node knows of a slot is all that is known of it as long as nobody else can have had it open since.
#[test]
fn who_had_a_slot_last_tells_of_it() {
    let alone = view(1, &["a"]);
    let both = after(&alone, &["a", "b"]);
    let slot = moved(&alone, &both, "a");
    let (again, away) = (after(&both, &["a"]), after(&after(&both, &["a"]), &["a", "b"]));
    let open = || {
        let mut a = node("a", &alone, &[]);
        a.open_free(at(1_000));
        a
    };
    let mut a = open();
    assert!(!a.tells(slot), "it is open");
    a.learn(both.clone(), at(1_100)).unwrap();
    assert!(!a.tells(slot), "the last turns are still to end");
    a.ended(slot);
    assert!(a.tells(slot));
    // It was its own again, and has not opened: the other one may have had it open.
    a.learn(again.clone(), at(1_200)).unwrap();
    a.learn(away.clone(), at(1_300)).unwrap();
    assert!(!a.tells(slot));
    // The same, all at once.
    let mut a = open();
    a.learn(away.clone(), at(1_100)).unwrap();
    a.ended(slot);
    assert!(!a.tells(slot));

    // The other side takes it from whose it was last, and only what is about that time.
    let mut b = node("b", &alone, &[]);
    assert_eq!(b.taken_from(slot, None), None, "it was never another's");
    b.learn(both, at(1_100)).unwrap();
    assert_eq!((b.taken_from(slot, Some(&member("a", 1))), b.taken_from(slot, Some(&member("c", 1)))), (Some(2), None));
    b.learn(away, at(1_200)).unwrap();
    assert_eq!(b.taken_from(slot, None), Some(4));
    let mut late = view(1, &["a"]);
    late.version = 100;
    b.learn(late, at(1_300)).unwrap();
    assert_eq!(b.taken_from(slot, None), None, "it missed too much");
}

/// It does not know who else may have served its slots meanwhile.
#[test]
fn who_missed_more_views_than_the_view_tells_of_begins_anew() {
    let mut a = node("a", &view(1, &["a"]), &[]);
    a.open_free(at(1_000));
    assert!(a.serves(0, at(1_000)));
    let mut later = view(1, &["a"]);
    for _ in 0..View::PAST {
        later = after(&later, &["a"]);
    }
    let mut knows = a.clone();
    assert!(knows.learn(later.clone(), at(1_100)).unwrap().is_empty() && knows.serves(0, at(1_100)));
    later.past.remove(0);
    later.past.remove(0);
    assert_eq!(a.learn(later, at(1_100)).unwrap().len(), usize::from(SLOTS));
    (0..SLOTS).for_each(|slot| a.ended(slot));
    assert!(a.open_free(at(1_100)).is_empty() && a.opens_by() == Some(at(3_350)));
}

#[test]
fn requests_go_to_the_owner_over_two_hops_at_most() {
    let both = view(3, &["a", "b"]);
    let (mine, theirs) = (moved(&both, &view(1, &["b"]), "a"), moved(&both, &view(1, &["a"]), "b"));
    let mut a = node("a", &both, &[lease("b", 1)]);
    let route = |a: &Node, slot, version, hops, now| a.route(slot, version, hops, at(now));
    assert_eq!(route(&a, mine, 3, 0, 1_000), Route::Hold);
    a.open_free(at(3_400));
    assert!(matches!(route(&a, mine, 3, 0, 3_400), Route::Unavailable(_)), "it holds no lease");
    round(&mut a, &both, &[lease("b", 2)], 3_400).unwrap();
    assert_eq!(route(&a, mine, 3, 0, 3_500), Route::Here);
    assert_eq!(route(&a, mine, 4, 1, 3_500), Route::Refresh);
    assert_eq!(route(&a, theirs, 0, 0, 3_500), Route::Forward(member("b", 1), 1));
    assert_eq!(route(&a, theirs, 2, 1, 3_500), Route::Forward(member("b", 1), 2));
    assert!(matches!(route(&a, theirs, 2, 2, 3_500), Route::Unavailable(_)));
}

#[test]
fn a_hand_over_moves_few_slots_at_a_time_and_settles() {
    let rings = Rings::new(SLOTS);
    let mut present = plan::joined(&view(1, &["a", "b"]), &member("c", 1)).unwrap();
    let end = view(1, &["a", "b", "c"]).deal.to;
    let mut steps = 0;
    while present.deal.mark < SLOTS {
        let dealt = Dealt::new(present.deal.clone(), &rings);
        let next = plan::advanced(&present, &dealt, 4);
        let after = Dealt::new(next.deal.clone(), &rings);
        let moves = (0..SLOTS).filter(|slot| dealt.owner(*slot) != after.owner(*slot)).count();
        assert!(moves <= 4 && next.deal.mark > present.deal.mark && next.past.len() <= View::PAST);
        assert_eq!(plan::joined(&next, &member("d", 1)), None, "something is half handed over");
        present = next;
        steps += 1;
    }
    assert!(steps >= 5, "{steps}");
    let settled = plan::settled(&present);
    assert_eq!((&settled.deal.from, &settled.deal.to, settled.deal.mark), (&end, &end, 0));
    assert_eq!(plan::leaving(&view(1, &["a"]), &member("a", 1)), None, "the last one stays");
    assert_eq!(plan::leaving(&settled, &member("b", 1)).unwrap().deal.to, view(1, &["a", "c"]).deal.to);
    let gone: BTreeSet<_> = ["a", "b", "c"].map(|name| NodeName(name.to_owned())).into();
    assert_eq!(plan::without(&settled, &gone, &member("d", 2), &[]).deal.to, [member("d", 2)]);
}

#[test]
fn the_format_is_the_lowest_level_of_all_members() {
    let present = view(7, &["a", "b"]);
    let rows = |a: u16, b: u16| [Lease { level: a, ..lease("a", 1) }, Lease { level: b, ..lease("b", 1) }];
    assert_eq!(finalized(&present, &rows(3, 2)).map(|view| (view.version, view.format)), Some((8, 2)));
    assert_eq!(finalized(&present, &rows(3, 1)), None);
    let names = |leases: &[Lease]| behind(&present, leases).into_iter().map(|node| node.0).collect::<Vec<_>>();
    assert_eq!((names(&rows(3, 1)), names(&rows(2, 2))), (vec!["b".to_owned()], Vec::new()));
    assert_eq!(names(&rows(3, 3)[..1]), ["b"], "of one it is not known");
    assert_eq!(finalized(&present, &rows(3, 3)[..1]), None, "of one it is not known");
    let other = Lease { incarnation: Incarnation(2), ..lease("b", 1) };
    assert_eq!(finalized(&present, &[lease("a", 1), other]), None, "another life says nothing of this one");
}
