//! The table of steps; and many histories of several who try at once, with crashes, cells that are away, late actions and commits in between.

use super::*;
use crate::{Epoch, testkit::turn::partition};
use cellspace_schemas::testkit::seed;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;

fn cell(name: &str) -> CellName {
    CellName(name.to_owned())
}

fn home(name: &str, version: u64, phase: Phase) -> Home {
    Home { cell: cell(name), version, came: None, phase }
}

fn moving() -> Phase {
    Phase::Moving { to: cell("b") }
}

fn seal(version: u64) -> Seal {
    Seal::over(Epoch { view: 3, count: 4 }, version).unwrap()
}

fn open(seq: u64) -> Standing {
    Standing { seal: None, seq: Some(Seq(seq)), holds: true, publishing: false }
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
    let late = |standing: Standing| Standing { publishing: true, ..standing };
    let (at, in_move) = (home("a", 4, Phase::Settled), home("a", 5, moving()));
    let moved = home("b", 6, Phase::Moved { from: cell("a") });
    let returning = home("a", 6, Phase::Returning { to: cell("b") });
    let began = vec![Step::Record(in_move.clone())];
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
        (&at, &to, seen(&[("a", &[late(open(9))]), ("b", &[])]), vec![Step::AwaitEvents(cell("a"))]),
        (&at, &to, seen(&[("a", &[open(9)]), ("b", &[nothing])]), began.clone()),
        (&at, &to, seen(&[("a", &[open(9)]), ("b", &[sealed(2, 3)])]), began.clone()),
        (&at, &stay, seen(&[("a", &[open(9)])]), vec![]),
        (&at, &Want::Settle, seen(&[("a", &[sealed(3, 9)])]), off("a", 3)),
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
        (&in_move, &to, seen(&[("a", &[late(sealed(5, 9))]), ("b", &[sealed(2, 9)])]), vec![Step::AwaitEvents(cell("a"))]),
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

/// A partition of the model.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept {
    fence: Epoch,
    /// `None` while nothing whole is there.
    commits: Option<Vec<u32>>,
    /// Rows of half a copy, or of half a removal.
    holds: bool,
    unpublished: bool,
}

impl Kept {
    fn standing(&self) -> Standing {
        let seq = self.commits.as_ref().map(|commits| Seq(commits.len() as u64));
        Standing { seal: Seal::of(self.fence), seq, holds: self.holds || seq.is_some(), publishing: self.unpublished }
    }
}

/// A copy that is being made: the seals of both sides, and the rows read.
#[derive(Debug, Clone)]
struct Copying {
    from: CellName,
    to: CellName,
    partition: PartitionKey,
    under: Seal,
    seal: Seal,
    rows: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Trier {
    want: Want,
    cells: Option<Seen>,
    steps: Vec<Step>,
    copying: Option<Copying>,
}

struct World {
    random: StdRng,
    home: Home,
    cells: BTreeMap<CellName, BTreeMap<PartitionKey, Kept>>,
    away: BTreeSet<CellName>,
    /// Cells whose nodes may hold themselves to be the home.
    believing: BTreeSet<CellName>,
    /// What was acknowledged.
    truth: BTreeMap<PartitionKey, Vec<u32>>,
    moves: u32,
    returns: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let names = ["a", "b", "c"].map(cell);
        let keys = ["x", "y", "z"].map(|name| partition("o", "k", name));
        let empty: BTreeMap<PartitionKey, Kept> = keys.iter().map(|key| (key.clone(), Kept::default())).collect();
        Self {
            random: StdRng::seed_from_u64(seed),
            home: home("a", 0, Phase::Settled),
            cells: names.iter().map(|name| (name.clone(), empty.clone())).collect(),
            away: BTreeSet::new(),
            believing: BTreeSet::from([cell("a")]),
            truth: keys.into_iter().map(|key| (key, Vec::new())).collect(),
            moves: 0,
            returns: 0,
        }
    }

    fn any_cell(&mut self) -> CellName {
        cell(["a", "b", "c"][self.random.random_range(0..3)])
    }

    fn seen(&mut self, calm: bool) -> Seen {
        let there = self.cells.iter().filter(|(name, _)| !self.away.contains(*name));
        let side = |kept: &BTreeMap<PartitionKey, Kept>| kept.iter().map(|(key, kept)| (key.clone(), kept.standing())).collect();
        let cells = there.map(|(name, kept)| (name.clone(), side(kept))).collect();
        Seen { cells, overdue: !calm && self.random.random_bool(0.03) }
    }

    /// The partition, when its cell answers.
    fn kept(&mut self, at: &CellName, key: &PartitionKey) -> Option<&mut Kept> {
        if self.away.contains(at) { None } else { self.cells.get_mut(at)?.get_mut(key) }
    }

    /// A client's commit, by a node of any cell that may hold itself to be the home.
    fn commit(&mut self) {
        let (at, n) = (self.any_cell(), self.random.random_range(0..3));
        let key = self.truth.keys().nth(n).unwrap().clone();
        let (believed, number) = (self.believing.contains(&at), self.random.random());
        let truth = self.truth[&key].clone();
        let Some(kept) = self.kept(&at, &key).filter(|kept| believed && Seal::of(kept.fence).is_none()) else { return };
        assert_eq!(kept.commits.clone().unwrap_or_default(), truth, "{at} serves what is not the truth");
        kept.fence.count += 1;
        kept.commits.get_or_insert_default().push(number);
        kept.unpublished = true;
        self.truth.get_mut(&key).unwrap().push(number);
    }

    /// Does a step, or its first half; refused when what it was decided on does not hold any more.
    fn act(&mut self, step: &Step, calm: bool) -> Option<Copying> {
        let sealed = |kept: &Kept| Seal::of(kept.fence);
        let crashes = !calm && self.random.random_bool(0.2);
        match step {
            Step::Record(next) if next.version == self.home.version + 1 => {
                match &next.phase {
                    Phase::Moved { from } => {
                        assert!(self.cells[from].values().all(|kept| !kept.unpublished), "events come out of their order");
                        self.moves += 1;
                        self.believing.insert(next.cell.clone());
                    }
                    Phase::Returning { .. } => self.returns += 1,
                    Phase::Settled | Phase::Moving { .. } => {}
                }
                self.home = next.clone();
            }
            Step::Seal { cell, partition, version } => {
                if let Some(kept) = self.kept(cell, partition) {
                    kept.fence = Seal::over(kept.fence, *version).unwrap().epoch();
                }
            }
            Step::Unseal { cell, partition, seal } => {
                if let Some(kept) = self.kept(cell, partition).filter(|kept| sealed(kept) == Some(*seal)) {
                    kept.fence = seal.taken_off();
                }
            }
            Step::Clear { cell, partition, seal } => {
                if let Some(kept) = self.kept(cell, partition).filter(|kept| sealed(kept) == Some(*seal)) {
                    assert!(!kept.unpublished, "events are lost");
                    kept.fence = Seal::over(kept.fence, seal.version()).unwrap().epoch();
                    (kept.commits, kept.holds) = (None, crashes);
                }
            }
            Step::Copy { from, to, partition, over } => {
                let source = self.kept(from, partition)?;
                let (under, rows) = (sealed(source)?, source.commits.clone()?);
                let kept = self.kept(to, partition)?;
                if (sealed(kept), kept.standing().seq) != (over.seal, over.seq) || (over.seal.is_none() && over.seq.is_some()) {
                    return None;
                }
                let seal = Seal::over(kept.fence, 0)?;
                (kept.fence, kept.commits, kept.holds) = (seal.epoch(), None, true);
                return Some(Copying { from: from.clone(), to: to.clone(), partition: partition.clone(), under, seal, rows });
            }
            Step::Record(_) | Step::Await(_) | Step::AwaitEvents(_) | Step::Occupied(_) => {}
        }
        None
    }

    fn copied(&mut self, copying: Copying) {
        let Copying { from, to, partition, under, seal, rows } = copying;
        // What was read is whole if nobody has begun to clear it.
        if self.kept(&from, &partition).is_none_or(|kept| Seal::of(kept.fence) != Some(under)) {
            return;
        }
        if let Some(kept) = self.kept(&to, &partition).filter(|kept| kept.fence == seal.epoch() && kept.commits.is_none()) {
            (kept.commits, kept.unpublished) = (Some(rows), false);
        }
    }

    /// One of them goes on with one thing, stops for good, or tries something else.
    fn go_on(&mut self, trier: &mut Trier) {
        if self.random.random_bool(0.03) {
            let to = self.any_cell();
            let want = if self.random.random_bool(0.8) { Want::To(to) } else { Want::Settle };
            *trier = Trier { want, cells: None, steps: Vec::new(), copying: None };
        } else if let Some(copying) = trier.copying.take() {
            self.copied(copying);
        } else if let Some(step) = trier.steps.pop() {
            trier.copying = self.act(&step, false);
        } else if let Some(seen) = trier.cells.take() {
            trier.steps = decide(&self.home, &trier.want, &seen);
        } else {
            trier.cells = Some(self.seen(false));
        }
    }

    fn publish(&mut self) {
        let at = self.any_cell();
        self.cells.get_mut(&at).unwrap().values_mut().for_each(|kept| kept.unpublished = false);
    }

    /// Faults end: what is under way comes to its end by itself, and all that was acknowledged is served.
    fn ends(&mut self) {
        self.away.clear();
        for _ in 0..1_000 {
            let seen = self.seen(true);
            let steps = decide(&self.home, &Want::Settle, &seen);
            if steps.is_empty() {
                break;
            }
            for step in &steps {
                match step {
                    Step::AwaitEvents(_) => self.publish(),
                    Step::Await(_) | Step::Occupied(_) => panic!("{step:?}"),
                    _ => {
                        if let Some(copying) = self.act(step, true) {
                            self.copied(copying);
                        }
                    }
                }
            }
        }
        assert_eq!(self.home.phase, Phase::Settled);
        for (key, truth) in &self.truth {
            let kept = &self.cells[&self.home.cell][key];
            assert!(Seal::of(kept.fence).is_none(), "nobody is left sealed");
            assert_eq!(kept.commits.clone().unwrap_or_default(), *truth);
        }
        for (name, kept) in self.cells.iter().filter(|(name, _)| **name != self.home.cell && self.believing.contains(*name)) {
            assert!(kept.values().all(|kept| Seal::of(kept.fence).is_some()), "{name} would serve it");
        }
    }
}

#[test]
fn nothing_is_lost_whoever_stops_or_is_late_wherever() {
    let (first, mut moves, mut returns, mut most) = (seed(), 0, 0, 0);
    for number in 0..3_000 {
        let seed = first.wrapping_add(number);
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            let mut triers = vec![Trier { want: Want::To(cell("b")), cells: None, steps: Vec::new(), copying: None }; 3];
            for _ in 0..world.random.random_range(50..600) {
                match world.random.random_range(0..20) {
                    0..3 => world.commit(),
                    3 => world.publish(),
                    4 => {
                        let at = world.any_cell();
                        if !world.away.remove(&at) && world.random.random_bool(0.3) {
                            world.away.insert(at);
                        }
                    }
                    _ => {
                        let one = world.random.random_range(0..3);
                        world.go_on(&mut triers[one]);
                    }
                }
            }
            world.ends();
            (world.moves, world.returns)
        });
        let (moved, returned) = run.unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        (moves, returns, most) = (moves + moved, returns + returned, most.max(moved));
    }
    assert!(moves > 1_000 && returns > 1_000 && most > 2, "{moves} moves, {returns} returns, {most} at most: too little was tried");
}
