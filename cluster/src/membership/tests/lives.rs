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
    let last = Lease { clock: Some(clock(70_000)), settled, ..lease("a", 9) };
    let mut a = Node::new(Some(last.clone()), second("a", 0, 9), terms(), Rings::new(SLOTS), at(0));
    for view in seen {
        a.learn((*view).clone(), at(100)).unwrap();
    }
    assert!(a.open_free(at(200)).is_empty());
    let next = plan::replaced(seen[seen.len() - 1], a.me(), Some(&last));
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
    assert_eq!(a.renewal(at(3_000), clock(53_000)).1.settled, None, "something is still to open");
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
        assert_eq!((last.told, last.owner), (settled.filter(|_| counts).map(|settled| settled.at), clock(72_000)), "{settled:?}");
    }
    // It was put in its place before it looked.
    let last = Lease { clock: Some(clock(70_000)), settled: told(known + 1), ..lease("a", 9) };
    let mut a = Node::new(Some(last.clone()), second("a", 0, 9), terms(), Rings::new(SLOTS), at(0));
    let next = plan::replaced(&now, a.me(), Some(&last));
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

#[test]
fn a_later_life_is_put_in_the_place_of_one_whose_lease_has_ended() {
    let first = view(1, &["a", "b"]);
    let replaced = |rows: &[Lease], millis: u64| {
        let mut a = node("a", &first, &[lease("b", 5)]);
        assert_eq!(round(&mut a, &first, &[lease("b", 6)], 1_500).unwrap().change, None);
        let last = &rows[rows.len() - 1];
        let moved = |by| Lease { counter: last.counter + by, ..last.clone() };
        for (row, millis) in rows.iter().cloned().zip([2_000, 2_200]).chain([(moved(1), 3_000)]) {
            let step = round(&mut a, &first, &[row], millis).unwrap();
            assert_eq!((step.revokes, step.change), (Vec::new(), None));
        }
        (a.acts_at(at(3_000)), round(&mut a, &first, &[moved(2)], millis).unwrap().change)
    };
    // Its last renewal was seen at 1.5 s.
    let known = [second("b", 0, 6)];
    assert_eq!(replaced(&known, 3_749), (Some(at(3_750)), None));
    let next = replaced(&known, 3_750).1.unwrap();
    assert_eq!(next, plan::replaced(&first, &member("b", 2), Some(&lease("b", 6))));
    // It may have renewed until the later life was seen.
    let between = [second("b", 0, 7)];
    assert_eq!(replaced(&between, 4_249).1, None);
    assert_eq!(replaced(&between, 4_250).1.unwrap(), plan::replaced(&first, &member("b", 2), None));
    // Lives that end before they are in the place of the first one keep nobody waiting.
    let third = Lease { incarnation: Incarnation(3), ..second("b", 0, 0) };
    let next = replaced(&[second("b", 0, 6), third], 3_750).1.unwrap();
    assert_eq!(next.deal.to, [member("a", 1), member("b", 3)]);
    // One whose lease was taken away takes no place.
    assert_eq!(replaced(&[second("b", 0, 6), Lease { revoked: true, ..second("b", 0, 6) }], 3_750).1, None);
}

/// Nobody else is there to do it.
#[test]
fn the_only_node_takes_the_place_of_its_own_earlier_life() {
    let first = view(1, &["a"]);
    let last = Lease { clock: Some(clock(70_000)), ..lease("a", 9) };
    let mut a = Node::new(Some(last.clone()), second("a", 0, 9), terms(), Rings::new(SLOTS), at(1_000));
    assert_eq!(round(&mut a, &first, &[], 1_100).unwrap().change, None);
    assert_eq!(a.acts_at(at(1_100)), Some(at(3_250)));
    assert_eq!(round(&mut a, &first, &[], 3_000).unwrap().change, None);
    assert_eq!(round(&mut a, &first, &[], 3_250).unwrap().change.unwrap(), plan::replaced(&first, a.me(), Some(&last)));
    assert_eq!(a.acts_at(at(3_250)), None);
}
