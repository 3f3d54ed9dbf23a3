//! The table of steps.

mod world;

use super::*;
use crate::{
    Epoch,
    backup::Blob,
    relocation::copying::{AUDIT, Moment, Place, Progress, READ},
    testkit::turn::partition,
};

fn cell(name: &str) -> CellName {
    CellName(name.to_owned())
}

fn home(name: &str, version: u64, phase: Phase) -> Home {
    Home { cell: cell(name), version, came: None, phase }
}

fn moving() -> Phase {
    Phase::Moving { to: cell("b"), since: None }
}

fn seal(version: u64) -> Seal {
    Seal::over(Epoch { view: 3, count: 4 }, version).unwrap()
}

fn open(seq: u64) -> Standing {
    Standing { seq: Some(Seq(seq)), holds: true, ..Standing::default() }
}

fn sealed(version: u64, seq: u64) -> Standing {
    Standing { seal: Some(seal(version)), ..open(seq) }
}

fn seen(cells: &[(&str, &[Standing])]) -> Seen {
    let side = |standings: &[Standing]| (0..).map(|n: u32| partition("o", "k", &n.to_string())).zip(standings.iter().copied()).collect();
    Seen { cells: cells.iter().map(|(name, side_of)| (cell(name), side(side_of))).collect(), overdue: false }
}

#[test]
fn each_phase_goes_on_from_what_is_there() {
    let (to, stay, first) = (Want::To(cell("b")), Want::To(cell("a")), partition("o", "k", "0"));
    let nothing = Standing::default();
    let stone = Standing { seq: None, holds: false, ..sealed(1, 0) };
    let half = Standing { seq: None, ..sealed(2, 0) };
    let late = |first, standing: Standing| Standing { publishing: Some(Seq(first)), ..standing };
    let (at, in_move) = (home("a", 4, Phase::Settled), home("a", 5, moving()));
    let moved = home("b", 6, Phase::Moved { from: cell("a") });
    let returning = home("a", 6, Phase::Returning { to: cell("b") });
    let copying = home("a", 4, Phase::Copying { to: cell("b") });
    let began = vec![Step::Record(home("a", 5, Phase::Copying { to: cell("b") }))];
    let bring = |over| vec![Step::CopyAhead { from: cell("a"), to: cell("b"), partition: first.clone(), over, version: 4 }];
    let ahead = |version, seq, looks| Ahead { version, seq: Seq(seq), generation: 0, looks, passed: 1 };
    let brought = |version, seq, looks| Standing { seq: None, ahead: Some(ahead(version, seq, looks)), ..sealed(0, 0) };
    let renewed = |standing: Standing| Standing { generation: 1, ..standing };
    let copy = |over| vec![Step::Copy { from: cell("a"), to: cell("b"), partition: first.clone(), over }];
    let put = |n: &str| Step::Seal { cell: cell("a"), partition: partition("o", "k", n), version: 5 };
    let off = |at: &str, version| vec![Step::Unseal { cell: cell(at), partition: first.clone(), seal: seal(version) }];
    let cleared = |at: &str, version| vec![Step::Clear { cell: cell(at), partition: first.clone(), seal: seal(version) }];
    let away = |name: &str| vec![Step::Await(cell(name))];
    let record = |home: &Home| vec![Step::Record(home.clone())];
    let rows: &[(&Home, &Want, Seen, Vec<Step>)] = &[
        // Nothing begins unless both cells answer, nor over what the other one serves, nor while the log is away.
        (&at, &to, seen(&[("b", &[])]), away("a")),
        (&at, &to, seen(&[("a", &[open(9)])]), away("b")),
        (&at, &to, seen(&[("a", &[open(9)]), ("b", &[open(1)])]), vec![Step::Occupied(cell("b"))]),
        (&at, &to, seen(&[("a", &[late(9, open(9))]), ("b", &[nothing])]), began.clone()),
        (&at, &to, seen(&[("a", &[open(9)]), ("b", &[sealed(2, 3)])]), began.clone()),
        (&at, &stay, seen(&[("a", &[open(9)])]), vec![]),
        (&at, &Want::Settle, seen(&[("a", &[sealed(3, 9)])]), off("a", 3)),
        // While it is served it is copied, for this version of its home, until little is left; then it is sealed, unless the log is away.
        (&copying, &to, seen(&[("a", &[open(9)])]), away("b")),
        (&copying, &to, seen(&[("b", &[])]), away("a")),
        (&copying, &to, seen(&[("a", &[sealed(3, 9)]), ("b", &[])]), off("a", 3)),
        (&copying, &to, seen(&[("a", &[open(9), nothing]), ("b", &[])]), bring(nothing)),
        (&copying, &Want::Settle, seen(&[("a", &[open(9)]), ("b", &[half])]), bring(half)),
        (&copying, &to, seen(&[("a", &[open(9)]), ("b", &[brought(3, 9, 1)])]), bring(brought(3, 9, 1))),
        (&copying, &to, seen(&[("a", &[open(300)]), ("b", &[brought(4, 9, 1)])]), bring(brought(4, 9, 1))),
        (&copying, &to, seen(&[("a", &[open(9)]), ("b", &[brought(4, 0, 0)])]), bring(brought(4, 0, 0))),
        (&copying, &to, seen(&[("a", &[open(5_000)]), ("b", &[brought(4, 9, 9)])]), bring(brought(4, 9, 9))),
        (&copying, &to, seen(&[("a", &[renewed(open(9))]), ("b", &[brought(4, 9, 9)])]), bring(brought(4, 9, 9))),
        (&copying, &to, seen(&[("a", &[late(9, open(300))]), ("b", &[brought(4, 9, LOOKS)])]), vec![Step::AwaitEvents(cell("a"))]),
        // Events of commits since the copy began to look are not waited for, be it that the commit never comes.
        (&copying, &to, seen(&[("a", &[late(10, open(300))]), ("b", &[brought(4, 9, LOOKS)])]), record(&in_move)),
        (&copying, &to, seen(&[("a", &[open(9), late(1, nothing)]), ("b", &[brought(4, 9, 1)])]), record(&in_move)),
        (&copying, &to, seen(&[("a", &[open(300)]), ("b", &[brought(4, 9, LOOKS)])]), record(&in_move)),
        (&copying, &to, seen(&[("a", &[open(9), nothing]), ("b", &[brought(4, 8, 1)])]), record(&in_move)),
        (&copying, &stay, seen(&[]), record(&home("a", 5, Phase::Returning { to: cell("b") }))),
        // Nobody is sealed for a cell that is away; what is not written yet is sealed too, and what was sealed for another time again.
        (&in_move, &to, seen(&[("a", &[open(9)])]), away("b")),
        (&in_move, &to, seen(&[("b", &[])]), away("a")),
        (&in_move, &to, seen(&[("a", &[open(9), nothing]), ("b", &[])]), vec![put("0"), put("1")]),
        (&in_move, &to, seen(&[("a", &[sealed(3, 9), sealed(5, 1)]), ("b", &[])]), vec![put("0")]),
        (&in_move, &Want::Settle, seen(&[("a", &[sealed(5, 9), open(1)]), ("b", &[])]), vec![put("1")]),
        // Copied is what has the seal of a copy, and the number of the last commit: a copy of an earlier time is copied over.
        (&in_move, &to, seen(&[("a", &[sealed(5, 9)]), ("b", &[])]), copy(nothing)),
        (&in_move, &to, seen(&[("a", &[sealed(5, 9)]), ("b", &[half])]), copy(half)),
        (&in_move, &to, seen(&[("a", &[sealed(5, 9)]), ("b", &[sealed(2, 8)])]), copy(sealed(2, 8))),
        (&in_move, &to, seen(&[("a", &[late(10, sealed(5, 9))]), ("b", &[sealed(2, 9)])]), vec![Step::AwaitEvents(cell("a"))]),
        (&in_move, &to, seen(&[("a", &[sealed(5, 9)]), ("b", &[sealed(2, 9)])]), record(&moved)),
        (&in_move, &stay, seen(&[]), record(&returning)),
        (&in_move, &to, Seen { overdue: true, ..seen(&[]) }, record(&returning)),
        // Decided: it is opened there whatever is wanted by now, and cleared.
        (&moved, &stay, seen(&[("a", &[sealed(5, 9)]), ("b", &[sealed(2, 9)])]), off("b", 2)),
        (&moved, &to, Seen { overdue: true, ..seen(&[("a", &[sealed(5, 9)])]) }, away("b")),
        (&moved, &to, seen(&[("b", &[open(9)])]), away("a")),
        (&moved, &to, seen(&[("a", &[sealed(5, 9)]), ("b", &[open(9)])]), cleared("a", 5)),
        (&moved, &to, seen(&[("a", &[half]), ("b", &[open(9)])]), cleared("a", 2)),
        (&moved, &to, seen(&[("a", &[stone]), ("b", &[open(9)])]), record(&home("b", 7, Phase::Settled))),
        // Given up: the cell serves again, also while the other one is away.
        (&returning, &to, seen(&[("b", &[])]), away("a")),
        (&returning, &to, seen(&[("a", &[sealed(5, 9)])]), off("a", 5)),
        (&returning, &to, seen(&[("a", &[open(9)]), ("b", &[sealed(2, 9)])]), cleared("b", 2)),
        (&returning, &to, seen(&[("a", &[open(9)])]), record(&home("a", 7, Phase::Settled))),
    ];
    for (home, want, seen, step) in rows {
        assert_eq!(decide(home, want, seen), *step, "{home:?} {want:?} {seen:?}");
    }
}

#[test]
fn how_far_a_copy_is_is_told_while_it_is_made() {
    let standing = |version, passed| {
        let ahead = Ahead { version, seq: Seq(9), generation: 0, looks: 0, passed };
        Standing { seq: None, ahead: Some(ahead), ..sealed(0, 0) }
    };
    let seen = seen(&[("a", &[open(9), open(9)]), ("b", &[standing(4, 7), standing(4, 8), standing(3, 9)])]);
    assert_eq!(seen.passed(&home("a", 4, Phase::Copying { to: cell("b") })), Some(15));
    assert_eq!((seen.passed(&home("a", 4, moving())), seen.passed(&home("a", 4, Phase::Settled))), (None, None));
}

#[test]
fn a_look_at_rows_of_a_generation_that_is_left_behind_is_begun_anew() {
    let moment = |seq, generation| Moment { seq: Seq(seq), generation, written: None };
    let place = Place { part: READ, generation: 0, key: Blob(vec![1]) };
    let mut progress = Progress::none(4).going_on(moment(5, 0));
    assert_eq!(progress.leaves_behind(), None);
    progress.pass(place.clone());
    let same = progress.clone().going_on(moment(6, 0));
    assert_eq!((same.after(), same.began()), (Some(&place), moment(5, 0)));
    let anew = progress.going_on(moment(7, 2));
    assert_eq!((anew.after(), anew.began(), anew.leaves_behind()), (None, moment(7, 2), Some(2)));
    // Audit rows are not brought once more for it.
    let (mut past, audit) = (anew.clone(), Place { part: AUDIT, generation: 0, key: Blob(vec![1]) });
    past.pass(audit.clone());
    let goes_on = past.going_on(moment(8, 3));
    assert_eq!((goes_on.after(), goes_on.began(), goes_on.leaves_behind()), (Some(&audit), moment(7, 2), None));
    assert_eq!(goes_on.ended().going_on(moment(8, 3)).leaves_behind(), Some(3));
    let next = anew.ended().going_on(moment(8, 2));
    assert_eq!((next.began(), next.leaves_behind()), (moment(8, 2), None));
}
