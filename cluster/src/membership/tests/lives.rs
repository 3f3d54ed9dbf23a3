//! A node begins another life while the others still count on the one before.

use super::*;
use cellspace_storage::Settled;

/// The row in which life 2 of `name` follows a row with this counter.
fn second(name: &str, counter: u64, follows: u64) -> Lease {
    Lease { incarnation: Incarnation(2), follows: Some(follows), ..lease(name, counter) }
}

/// A view of so many versions, of which it tells as many as a view does, with the same members in all.
fn old(names: &[&str], version: u64) -> View {
    (1..version).fold(view(1, names), |before, _| {
        let mut next = after(&before, names);
        next.past = next.past.split_off(next.past.len().saturating_sub(View::PAST));
        next
    })
}

fn slots_of(view: &View, owner: &Member) -> Vec<u16> {
    let dealt = Dealt::new(view.deal.clone(), &Rings::new(SLOTS));
    (0..SLOTS).filter(|slot| dealt.owner(*slot) == Some(owner)).collect()
}

/// What opens at once when life 2 of `a` has seen `seen` and is put in the place of life 1 then, which had told this with its last row.
fn opens(seen: &[&View], settled: Option<Settled>) -> (Node, Vec<u16>) {
    let last = Lease { until: Some(clock(70_000)), settled, ..lease("a", 9) };
    let mut a = Node::new(Some(last.clone()), second("a", 0, 9), terms(), Rings::new(SLOTS), at(0));
    for view in seen {
        a.learn((*view).clone(), at(100)).unwrap();
    }
    assert!(a.open_free(at(200)).is_empty());
    let first = member("a", 1);
    let next = plan::replaced(seen[seen.len() - 1], vec![(a.me().clone(), last.dead(&first))]);
    a.learn(next, at(2_000)).unwrap();
    let opened = a.open_free(at(2_000));
    (a, opened)
}

#[test]
fn a_row_tells_since_when_all_is_open() {
    let first = view(1, &["a"]);
    let mut a = node("a", &first, &[]);
    assert_eq!(a.renewal(at(1_500), clock(51_500)).1.settled, None, "nothing is open");
    a.open_free(at(1_600));
    let mut a = node("a", &first, &[]);
    a.open_free(at(1_600));
    let told = Some(Settled { view: 1, at: clock(51_600) });
    assert_eq!(a.renewal(at(2_000), clock(52_000)).1.settled, told);
    a.renewed(&Swap::Applied);
    // Under a newer view that takes and gives nothing; and under one that gives something.
    a.learn(after(&first, &["a"]), at(2_100)).unwrap();
    let two = after(&after(&first, &["a"]), &["a", "b"]);
    assert_eq!(a.renewal(at(2_500), clock(52_500)).1.settled, Some(Settled { view: 2, at: clock(51_600) }));
    a.renewed(&Swap::Applied);
    a.learn(two.clone(), at(2_600)).unwrap();
    a.learn(after(&two, &["a"]), at(2_700)).unwrap();
    let before = Some(Settled { view: 2, at: clock(51_600) });
    assert_eq!(a.renewal(at(3_000), clock(53_000)).1.settled, before, "something is still to open");
}

/// What its life before had open it opens as soon as it is in its place, and it knows since when nobody else served that.
#[test]
fn a_life_counts_on_what_the_life_before_has_told() {
    let (names, now) = (["a", "b"], old(&["a", "b"], 40));
    let mine = slots_of(&now, &member("a", 1));
    let told = |view| Some(Settled { view, at: clock(60_000) });
    let known = now.version - View::PAST as u64;
    for settled in [None, told(known - 1), told(known), told(now.version), told(now.version + 1)] {
        let counts = settled.is_some_and(|settled| (known..=now.version).contains(&settled.view));
        let (node, opened) = opens(&[&now], settled);
        assert_eq!(opened, if counts { mine.clone() } else { Vec::new() }, "{settled:?}");
        let last = node.served_last(mine[0]).unwrap();
        assert_eq!((last.told, last.owner), (settled.filter(|_| counts).map(|settled| settled.at), clock(70_000)), "{settled:?}");
    }
    // It was put in its place before it looked.
    let last = Lease { until: Some(clock(70_000)), settled: told(known + 1), ..lease("a", 9) };
    let mut a = Node::new(Some(last.clone()), second("a", 0, 9), terms(), Rings::new(SLOTS), at(0));
    let next = plan::replaced(&now, vec![(a.me().clone(), None)]);
    a.learn(next, at(100)).unwrap();
    assert_eq!(a.open_free(at(100)), mine);
    // What came to the life before after it had told waits.
    let mut more = old(&["a", "b", "c"], 20);
    for _ in 0..3 {
        more = after(&more, &names);
        more.past.remove(0);
    }
    let came: Vec<_> = slots_of(&more, &member("a", 1))
        .into_iter()
        .filter(|slot| !slots_of(&old(&["a", "b", "c"], 20), &member("a", 1)).contains(slot))
        .collect();
    assert!(!came.is_empty());
    let (_, opened) = opens(&[&more], told(20));
    assert!(!opened.is_empty() && came.iter().all(|slot| !opened.contains(slot)));
    assert_eq!(opens(&[&more], told(21)).1, slots_of(&more, &member("a", 1)));
    // What another has had meanwhile waits, though it is the life before's again.
    let again = after(&after(&now, &["b"]), &names);
    assert!(opens(&[&now, &again], told(now.version)).1.is_empty());
}

/// What `a` does at this time, of `names` of which all but `b` go on, and of `b` this was seen: life 1 until 1.5 s with counter 6, then one row after another.
fn judged(names: &[&str], rows: &[Lease], millis: u64) -> (Option<Moment>, Step) {
    let mut first = view(1, names);
    first.format = 2;
    let begins = Lease { level: 2, ..lease("a", 0) };
    let mut a = Node::new(None, begins, terms(), Rings::new(SLOTS), at(0));
    let others = |b: Lease, millis: u64| {
        let alive = names.iter().filter(|name| !["a", "b"].contains(name)).map(|name| Lease { level: 2, ..lease(name, millis) });
        alive.chain([b]).collect::<Vec<_>>()
    };
    for (counter, millis) in [(5, 1_000), (6, 1_500)] {
        let step = round(&mut a, &first, &others(last_of_first(counter), millis), millis).unwrap();
        assert_eq!((step.revokes, step.change), (Vec::new(), None));
    }
    let last = &rows[rows.len() - 1];
    let moved = |by| Lease { counter: last.counter + by, ..last.clone() };
    for (row, millis) in rows.iter().cloned().zip([2_000, 2_200]).chain([(moved(1), 3_000)]) {
        let step = round(&mut a, &first, &others(row, millis), millis).unwrap();
        assert_eq!((step.revokes, step.change), (Vec::new(), None));
    }
    (a.acts_at(at(3_000)), round(&mut a, &first, &others(moved(2), millis), millis).unwrap())
}

fn last_of_first(counter: u64) -> Lease {
    Lease { level: 2, until: Some(clock(61_500)), settled: Some(Settled { view: 1, at: clock(60_000) }), ..lease("b", counter) }
}

fn later(incarnation: u64, follows: u64) -> Lease {
    Lease { level: 2, incarnation: Incarnation(incarnation), until: Some(clock(62_500)), ..second("b", 0, follows) }
}

#[test]
fn a_later_life_is_put_in_the_place_of_one_whose_lease_has_ended() {
    let two = ["a", "b"];
    let placed = |rows: &[Lease], millis| {
        let change = judged(&two, rows, millis).1.change?;
        Some((change.deal.to[1].clone(), change.dead))
    };
    let dead = |row: Lease| vec![row.dead(&member("b", 1)).unwrap()];
    // Its last renewal was seen at 1.5 s.
    let known = [later(2, 6)];
    assert_eq!((judged(&two, &known, 3_749).0, placed(&known, 3_749)), (Some(at(3_750)), None));
    assert_eq!(placed(&known, 3_750), Some((member("b", 2), dead(last_of_first(6)))));
    // It may have renewed until the later life was seen.
    for between in [later(2, 7), later(3, 6)] {
        let life = between.member();
        assert_eq!(placed(std::slice::from_ref(&between), 4_249), None);
        assert_eq!(placed(std::slice::from_ref(&between), 4_250), Some((life, dead(between))));
    }
    // Lives that end before they are in the place of the first one keep nobody waiting.
    let lives = [later(2, 6), later(3, 0)];
    assert_eq!(placed(&lives, 3_750), Some((member("b", 3), dead(last_of_first(6)))));
}

/// Nobody who comes after one that has gone takes its place.
#[test]
fn a_member_is_gone_when_its_lease_has_ended_and_its_node_has_nothing_for_its_place() {
    let revoked = [later(2, 6), Lease { revoked: true, ..later(2, 6) }];
    let too_old = [Lease { level: 1, ..later(2, 6) }];
    let earlier = [Lease { incarnation: Incarnation(0), ..later(2, 6) }];
    for (rows, at) in [(&revoked[..], 3_750), (&too_old[..], 3_750), (&earlier[..], 4_250)] {
        assert_eq!(judged(&["a", "b"], rows, at - 1).1.change, None, "{rows:?}");
        let change = judged(&["a", "b"], rows, at).1.change.unwrap();
        // The row of a life before it says nothing of a member.
        let told = usize::from(rows[0].incarnation.0 > 1);
        assert_eq!((change.deal.to, change.dead.len()), (vec![member("a", 1)], told), "{rows:?}");
    }
}

#[test]
fn all_whose_time_has_come_are_put_in_their_places_at_once_and_nobody_is_judged_anew_for_it() {
    let first = view(1, &["a", "b", "c", "d"]);
    let rows = |life: u64, d: u64| {
        let of = |name| if life == 1 { lease(name, 5) } else { second(name, life, 5) };
        [of("b"), of("c"), lease("d", d)]
    };
    let mut a = node("a", &first, &rows(1, 1));
    for (life, d, millis) in [(2, 2, 1_500), (3, 3, 2_000), (4, 3, 2_500), (5, 3, 3_000)] {
        assert_eq!(round(&mut a, &first, &rows(life, d), millis).unwrap().change, None);
    }
    let next = round(&mut a, &first, &rows(6, 3), 3_250).unwrap().change.unwrap();
    assert_eq!(next.deal.to, [member("a", 1), member("b", 2), member("c", 2), member("d", 1)]);
    // `d` stands still since 2.0 s.
    assert_eq!(round(&mut a, &next, &rows(7, 3), 4_249).unwrap().revokes, []);
    assert_eq!(round(&mut a, &next, &rows(8, 3), 4_250).unwrap().revokes.len(), 1);
}

/// A view that is pushed is newer than rows that were read before it.
#[test]
fn a_life_whose_row_was_not_read_yet_is_not_taken_for_gone() {
    let first = view(1, &["a", "b"]);
    let mut a = node("a", &first, &[lease("b", 5)]);
    round(&mut a, &first, &[lease("b", 6)], 2_900).unwrap();
    let next = plan::replaced(&first, vec![(member("b", 2), None)]);
    a.learn(next.clone(), at(3_400)).unwrap();
    let step = a.observed(Some(first), &[lease("a", 1), lease("b", 6)], at(3_500)).unwrap();
    assert_eq!((step.revokes, step.change), (Vec::new(), None));
    assert_eq!(round(&mut a, &next, &[second("b", 1, 6)], 3_600).unwrap().change, None);
    // Nor for one that renewed nothing since, when one more life is there.
    let mut cut = a.clone();
    let third = |counter| Lease { incarnation: Incarnation(3), ..second("b", counter, 9) };
    round(&mut cut, &next, &[third(0)], 5_300).unwrap();
    for (millis, counter) in [(5_800, 1), (6_800, 2), (7_549, 3)] {
        assert_eq!(round(&mut cut, &next, &[third(counter)], millis).unwrap().change, None, "{millis}");
    }
    assert_eq!(round(&mut cut, &next, &[third(4)], 7_550).unwrap().change.unwrap().deal.to[1], member("b", 3));
    // What was read is of now.
    assert_eq!(round(&mut a, &next, &[second("b", 2, 6)], 5_500).unwrap().change, None);
    assert_eq!(round(&mut a, &next, &[second("b", 3, 6)], 5_800).unwrap().change, None);
}

/// The deal stays as it is.
#[test]
fn a_node_that_is_started_again_and_again_does_not_hold_up_a_hand_over() {
    let joins = plan::joined(&view(1, &["a", "b"]), &member("c", 1)).unwrap();
    let mut a = node("a", &joins, &[lease("b", 5), lease("c", 5)]);
    let steps = a.steps_at();
    a.learn(plan::replaced(&joins, vec![(member("b", 2), None)]), at(2_000)).unwrap();
    assert_eq!(a.steps_at(), steps);
    let mut newcomer = a.clone();
    newcomer.learn(plan::replaced(a.view().unwrap(), vec![(member("c", 2), None)]), at(2_200)).unwrap();
    assert!(newcomer.steps_at() > steps);
    a.learn(plan::without(a.view().unwrap(), &BTreeSet::from([NodeName("b".into())]), &member("a", 1), &[]), at(2_500)).unwrap();
    assert!(a.steps_at() > steps);
}

/// Who missed the views in which slots went back may find the hand-over where it saw it last: whoever had them meanwhile is given the time to hear of the end.
#[test]
fn a_hand_over_that_went_to_and_fro_unseen_is_waited_for_anew() {
    let joins = plan::joined(&view(1, &["a", "b"]), &member("c", 1)).unwrap();
    let next = |view: &View, mark: u16| plan::next(view, Deal { mark, ..view.deal.clone() });
    let done = next(&joins, SLOTS);
    let mut a = node("a", &done, &[lease("b", 5), lease("c", 5)]);
    let steps = a.steps_at();
    let (mut same, mut unknown) = (a.clone(), a.clone());
    a.learn(next(&next(&done, 0), SLOTS), at(2_000)).unwrap();
    assert_eq!(a.steps_at(), steps.map(|steps| steps + Duration::from_secs(1)));
    let replaced = plan::replaced(&plan::replaced(&done, vec![(member("b", 2), None)]), vec![(member("b", 3), None)]);
    same.learn(replaced.clone(), at(2_000)).unwrap();
    assert_eq!(same.steps_at(), steps, "it was there all the time");
    unknown.learn(View { past: Vec::new(), ..replaced }, at(2_000)).unwrap();
    assert!(unknown.steps_at() > steps, "it is not known where it was");
}

/// As long as nothing more is open, later lives tell what the last one told that had all.
#[test]
fn what_was_told_goes_on_from_life_to_life() {
    let now = old(&["a", "b"], 40);
    let settled = Some(Settled { view: 38, at: clock(60_000) });
    let first = Lease { until: Some(clock(70_000)), settled, ..lease("a", 9) };
    let (before, next) = next_life(&first.node, 1, "", clock(71_000), std::slice::from_ref(&first));
    assert_eq!((before, next.settled, next.follows), (Some(first.clone()), settled, Some(9)));
    let mut a = Node::new(Some(first), next, terms(), Rings::new(SLOTS), at(0));
    let (_, renewed) = a.renewal(at(100), clock(71_100));
    assert_eq!(renewed.settled, settled);
    let (_, next) = next_life(&renewed.node, 1, "", clock(72_000), std::slice::from_ref(&renewed));
    let mut a = Node::new(Some(renewed), next, terms(), Rings::new(SLOTS), at(500));
    a.learn(now.clone(), at(600)).unwrap();
    a.learn(plan::replaced(&now, vec![(a.me().clone(), None)]), at(700)).unwrap();
    let mine = slots_of(&now, &member("a", 1));
    assert_eq!(a.open_free(at(700)), mine);
    let last = a.served_last(mine[0]).unwrap();
    assert_eq!((last.told, last.owner), (Some(clock(60_000)), clock(73_100)), "as the last row of all has it");
}

/// Nobody else is there to do it.
#[test]
fn the_only_node_takes_the_place_of_its_own_earlier_life() {
    let first = view(1, &["a"]);
    let last = Lease { until: Some(clock(70_000)), ..lease("a", 9) };
    let mut a = Node::new(Some(last.clone()), second("a", 0, 9), terms(), Rings::new(SLOTS), at(1_000));
    assert_eq!(round(&mut a, &first, &[], 1_100).unwrap().change, None);
    assert_eq!(a.acts_at(at(1_100)), Some(at(3_250)));
    assert_eq!(round(&mut a, &first, &[], 3_000).unwrap().change, None);
    assert_eq!(
        round(&mut a, &first, &[], 3_250).unwrap().change.unwrap(),
        plan::replaced(&first, vec![(a.me().clone(), last.dead(&member("a", 1)))])
    );
    assert_eq!(a.acts_at(at(3_250)), None);
}
