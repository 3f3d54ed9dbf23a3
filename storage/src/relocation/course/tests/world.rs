//! Many histories of several who try at once, with crashes, cells that are away, late actions and commits in between.

use super::*;
use crate::relocation::copying::{Change, Found};
use cellspace_schemas::testkit::seed;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;

/// A row of the model: what it holds, and when it was written.
type Row = (u32, i64);

/// A partition of the model, as a store keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept {
    fence: Epoch,
    /// `None` while nothing whole is there.
    seq: Option<u64>,
    generation: i32,
    rows: BTreeMap<Place, Row>,
    /// Of the last write.
    time: i64,
    /// The first commit whose events are on their way.
    unpublished: Option<u64>,
    /// The activation whose events lie there, and whose commit never came.
    begun: Option<(Epoch, u64)>,
    /// How far a copy is that is made there.
    progress: Option<Progress>,
}

/// Rows of a partition's tables, as who serves it reads them.
type Content = BTreeMap<(i8, Vec<u8>), u32>;

const APART: i8 = 2;

impl Kept {
    fn standing(&self) -> Standing {
        let first = self.unpublished.into_iter().chain(self.begun.map(|(_, seq)| seq)).min();
        let (seq, publishing) = (self.seq.map(Seq), first.map(Seq));
        let ahead = self.progress.as_ref().filter(|_| seq.is_none()).map(Progress::told);
        Standing { seal: Seal::of(self.fence), seq, generation: self.generation, holds: !self.rows.is_empty(), publishing, ahead }
    }

    fn content(&self) -> Content {
        let read = self.rows.iter().filter(|(place, _)| place.part != READ || place.generation == self.generation);
        read.map(|(place, (value, _))| ((place.part, place.key.0.clone()), *value)).collect()
    }

    fn write(&mut self, place: Place, value: Option<u32>) {
        match value {
            Some(value) => drop(self.rows.insert(place, (value, self.time))),
            None => drop(self.rows.remove(&place)),
        }
    }

    /// The rows that are read are written anew, as those of another generation; those of the one before stay.
    fn renew(&mut self) {
        self.time += 1;
        let (old, time) = (self.generation, self.time);
        self.generation += 1;
        self.rows.retain(|place, _| place.part != READ || place.generation == old);
        let read = self.rows.iter().filter(|(place, _)| place.part == READ);
        let anew = read.map(|(place, (value, _))| (Place { generation: old + 1, ..place.clone() }, (*value, time)));
        self.rows.extend(anew.collect::<Vec<_>>());
    }

    fn commit(&mut self, random: &mut StdRng) {
        self.time += 1;
        let seq = self.seq.map_or(1, |seq| seq + 1);
        for _ in 0..random.random_range(0..4) {
            let part = [READ, APART][random.random_range(0..2)];
            let generation = if part == READ { self.generation } else { 0 };
            let place = Place { part, generation, key: Blob(vec![random.random_range(0..8)]) };
            let value = random.random_bool(0.6).then(|| random.random());
            self.write(place, value);
        }
        let audit = Place { part: AUDIT, generation: 0, key: Blob(seq.to_be_bytes().to_vec()) };
        self.write(audit, Some(random.random()));
        (self.seq, self.unpublished) = (Some(seq), self.unpublished.or(Some(seq)));
    }

    fn moment(&self) -> Moment {
        let seq = self.seq.unwrap_or_default();
        let audit = self.rows.get(&Place { part: AUDIT, generation: 0, key: Blob(seq.to_be_bytes().to_vec()) });
        Moment { seq: Seq(seq), generation: self.generation, written: audit.map(|(_, written)| *written) }
    }

    /// Events go out, but those of which a commit may come yet.
    fn publish(&mut self) {
        self.unpublished = None;
        self.begun.take_if(|(begun, _)| self.fence > *begun);
    }
}

/// A copy that is being made: the seals of both sides, and how far it is.
#[derive(Debug, Clone)]
struct Copying {
    from: CellName,
    to: CellName,
    partition: PartitionKey,
    /// `None`: it is served meanwhile.
    under: Option<Seal>,
    seal: Seal,
    /// When that was put.
    sealed: i64,
    progress: Progress,
    /// What was read to be written next, and whether the look ends with it.
    read: Option<(Vec<Change<u32>>, bool)>,
    looks: u32,
    looking: bool,
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
    truth: BTreeMap<PartitionKey, Content>,
    counts: Counts,
}

/// What was tried.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    moves: u32,
    returns: u32,
    /// Copies that were whole by a later look than the first.
    went_on: u32,
    /// Rows that a later look has brought, not brought since it knew them, and taken away.
    again: u32,
    known: u32,
    gone: u32,
    /// Those of generations that were left behind.
    left: u32,
}

impl Counts {
    fn add(&mut self, Self { moves, returns, went_on, again, known, gone, left }: Self) {
        self.moves += moves;
        self.returns += returns;
        self.went_on += went_on;
        self.again += again;
        self.known += known;
        self.gone += gone;
        self.left += left;
    }
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
            truth: keys.into_iter().map(|key| (key, Content::new())).collect(),
            counts: Counts::default(),
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

    /// A client's commit, by a node of any cell that may hold itself to be the home; or what is left of one when the node dies.
    fn commit(&mut self) {
        let (at, n) = (self.any_cell(), self.random.random_range(0..3));
        let key = self.truth.keys().nth(n).unwrap().clone();
        let (believed, dies) = (self.believing.contains(&at), self.random.random_bool(0.05));
        let (truth, mut random) = (self.truth[&key].clone(), StdRng::seed_from_u64(self.random.random()));
        let Some(kept) = self.kept(&at, &key).filter(|kept| believed && Seal::of(kept.fence).is_none()) else { return };
        assert_eq!(kept.content(), truth, "{at} serves what is not the truth");
        kept.fence.count += 1;
        if kept.seq.is_some() && random.random_bool(0.15) {
            kept.renew();
        }
        if dies {
            kept.begun = Some((kept.fence, kept.seq.unwrap_or_default() + 1));
            return;
        }
        kept.commit(&mut random);
        let content = kept.content();
        self.truth.insert(key, content);
    }

    /// Does a step, or its first half; refused when what it was decided on does not hold any more.
    fn act(&mut self, step: &Step, calm: bool) -> Option<Copying> {
        let sealed = |kept: &Kept| Seal::of(kept.fence);
        let crashes = !calm && self.random.random_bool(0.2);
        match step {
            Step::Record(next) if next.version == self.home.version + 1 => {
                match &next.phase {
                    Phase::Moved { from } => {
                        assert!(
                            self.cells[from].values().all(|kept| kept.standing().publishing.is_none()),
                            "events come out of their order"
                        );
                        self.counts.moves += 1;
                        self.believing.insert(next.cell.clone());
                    }
                    Phase::Returning { .. } => self.counts.returns += 1,
                    Phase::Settled | Phase::Copying { .. } | Phase::Moving { .. } => {}
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
                    assert_eq!(kept.unpublished, None, "events are lost");
                    (kept.fence, kept.seq) = (Seal::over(kept.fence, seal.version()).unwrap().epoch(), None);
                    if !crashes {
                        (kept.rows, kept.progress) = (BTreeMap::new(), None);
                    }
                }
            }
            Step::Copy { from, to, partition, over } | Step::CopyAhead { from, to, partition, over, .. } => {
                let source = self.kept(from, partition)?;
                let under = sealed(source);
                source.seq?;
                let (under, version) = match step {
                    Step::CopyAhead { version, .. } => (None, *version),
                    _ => (Some(under?), under?.version() - 1),
                };
                let kept = self.kept(to, partition)?;
                let standing = kept.standing();
                if (standing.seal, standing.seq) != (over.seal, over.seq) || (over.seal.is_none() && over.seq.is_some()) {
                    return None;
                }
                let seal = Seal::over(kept.fence, 0)?;
                (kept.fence, kept.seq, kept.time) = (seal.epoch(), None, kept.time + 1);
                let sealed = kept.time;
                if !kept.progress.as_ref().is_some_and(|progress| progress.is_of(version)) {
                    (kept.rows, kept.progress) = (BTreeMap::new(), None);
                    if crashes {
                        return None;
                    }
                }
                let progress = kept.progress.clone().unwrap_or_else(|| Progress::none(version));
                let (from, to, partition) = (from.clone(), to.clone(), partition.clone());
                return Some(Copying { from, to, partition, under, seal, sealed, progress, read: None, looks: 0, looking: false });
            }
            Step::Record(_) | Step::Await(_) | Step::AwaitEvents(_) | Step::Occupied(_) => {}
        }
        None
    }

    /// A copy comes further: some of both sides is read, what was read is written, or it is whole. What is left of it is answered.
    fn copied(&mut self, mut copying: Copying) -> Option<Copying> {
        if let Some((changes, ends)) = copying.read.take() {
            return self.written(copying, changes, ends);
        }
        let source = self.kept(&copying.from.clone(), &copying.partition)?.clone();
        if copying.under.is_some() && copying.progress.has_all_of(Seq(source.seq.unwrap_or_default()), source.generation) {
            return self.whole(&copying, &source);
        }
        let mut counts = self.counts;
        let target = self.kept(&copying.to.clone(), &copying.partition)?;
        if !copying.looking {
            if copying.looks == if copying.under.is_some() { 2 } else { 1 } {
                return None;
            }
            (copying.looks, copying.looking) = (copying.looks + 1, true);
            copying.progress = copying.progress.going_on(source.moment());
            // However late that is.
            if let Some(first) = copying.progress.leaves_behind() {
                let before = target.rows.len();
                target.rows.retain(|place, (_, written)| place.part != READ || place.generation >= first || *written > copying.sealed);
                counts.left += u32::try_from(before - target.rows.len()).unwrap();
            }
        }
        let target = target.clone();
        self.counts = counts;
        let most = self.random.random_range(1..12);
        let after = copying.progress.after().cloned();
        let is_left = |place: &Place| after.as_ref().is_none_or(|after| place > after);
        let found = |(place, (value, written)): (&Place, &Row)| Found { place: place.clone(), written: Some(*written), holds: *value };
        let mut here = source.rows.iter().filter(|(place, _)| is_left(place)).map(found);
        let mut there = target.rows.keys().filter(|place| is_left(place)).cloned();
        let (mut row, mut place, mut changes) = (None, None, Vec::new());
        while changes.len() < most {
            row = row.or_else(|| here.next());
            place = place.or_else(|| there.next());
            match copying.progress.next(&mut row, &mut place) {
                Some(change) => changes.push(change),
                None => break,
            }
        }
        let ends = changes.len() < most;
        Some(Copying { read: Some((changes, ends)), ..copying })
    }

    fn written(&mut self, mut copying: Copying, changes: Vec<Change<u32>>, ends: bool) -> Option<Copying> {
        let (fence, again) = (copying.seal.epoch(), copying.progress.told().looks > 0);
        let mut counts = self.counts;
        let kept = self.kept(&copying.to.clone(), &copying.partition).filter(|kept| kept.fence == fence && kept.seq.is_none())?;
        kept.time += 1;
        for change in changes {
            copying.progress.pass(change.place().clone());
            match change {
                Change::Bring(place, value) => {
                    kept.write(place, Some(value));
                    counts.again += u32::from(again);
                }
                Change::Remove(place) => {
                    kept.write(place, None);
                    counts.gone += u32::from(again);
                }
                Change::Pass(_) => counts.known += u32::from(again),
            }
        }
        if ends {
            (copying.progress, copying.looking) = (copying.progress.ended(), false);
        }
        kept.progress = Some(copying.progress.clone());
        self.counts = counts;
        Some(copying)
    }

    /// The head comes last, if nobody has begun to clear what was read.
    fn whole(&mut self, copying: &Copying, source: &Kept) -> Option<Copying> {
        if Seal::of(source.fence) != copying.under {
            return None;
        }
        let fence = copying.seal.epoch();
        let kept = self.kept(&copying.to, &copying.partition).filter(|kept| kept.fence == fence && kept.seq.is_none())?;
        (kept.seq, kept.generation, kept.unpublished, kept.begun, kept.progress) = (source.seq, source.generation, None, None, None);
        assert_eq!(kept.content(), source.content(), "a copy is not what was copied");
        assert!(kept.rows.keys().all(|place| place.part != READ || place.generation == kept.generation), "what was left behind was copied");
        self.counts.went_on += u32::from(copying.progress.told().looks > 1);
        None
    }

    /// One of them goes on with one thing, stops for good, or tries something else.
    fn go_on(&mut self, trier: &mut Trier) {
        if self.random.random_bool(0.03) {
            let to = self.any_cell();
            let want = if self.random.random_bool(0.8) { Want::To(to) } else { Want::Settle };
            *trier = Trier { want, cells: None, steps: Vec::new(), copying: None };
        } else if let Some(copying) = trier.copying.take() {
            trier.copying = self.copied(copying);
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
        self.cells.get_mut(&at).unwrap().values_mut().for_each(Kept::publish);
    }

    /// By a mover, from a cell whose nodes are all gone: activations that may commit yet are fenced.
    fn publish_left(&mut self, at: &CellName) {
        let all = self.cells.get_mut(at).unwrap();
        assert!(all.values().any(|kept| kept.standing().publishing.is_some()), "nothing is waited for");
        for kept in all.values_mut() {
            if kept.begun.is_some_and(|(begun, _)| begun == kept.fence) {
                kept.fence.count += 1;
            }
            kept.publish();
        }
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
                    Step::AwaitEvents(at) => self.publish_left(at),
                    Step::Await(_) | Step::Occupied(_) => panic!("{step:?}"),
                    _ => {
                        let mut copying = self.act(step, true);
                        while let Some(left) = copying {
                            copying = self.copied(left);
                        }
                    }
                }
            }
        }
        assert_eq!(self.home.phase, Phase::Settled);
        for (key, truth) in &self.truth {
            let kept = &self.cells[&self.home.cell][key];
            assert!(Seal::of(kept.fence).is_none(), "nobody is left sealed");
            assert_eq!(kept.content(), *truth);
        }
        for (name, kept) in self.cells.iter().filter(|(name, _)| **name != self.home.cell && self.believing.contains(*name)) {
            assert!(kept.values().all(|kept| Seal::of(kept.fence).is_some()), "{name} would serve it");
        }
    }
}

#[test]
fn nothing_is_lost_whoever_stops_or_is_late_wherever() {
    let (first, mut all, mut most) = (seed(), Counts::default(), 0);
    for number in 0..3_000 {
        let seed = first.wrapping_add(number);
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            let mut triers = vec![Trier { want: Want::To(cell("b")), cells: None, steps: Vec::new(), copying: None }; 3];
            for _ in 0..world.random.random_range(50..1_200) {
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
            world.counts
        });
        let counts = run.unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        most = most.max(counts.moves);
        all.add(counts);
    }
    let Counts { moves, returns, went_on, again, known, gone, left } = all;
    let enough = gone > 200
        && moves > 1_000
        && returns > 1_000
        && most > 2
        && went_on > 1_000
        && [again, known, left].iter().all(|rows| *rows > 1_000);
    assert!(enough, "{all:?}, {most} moves at most: too little was tried");
}

impl World {
    /// A commit before each look of one mover, which does all that it decides at once; the home after so many looks, or as soon as it is not on its way any more.
    fn under_load(&mut self, looks: u32, publish: impl Fn(&mut Kept)) -> Home {
        let (x, mut random) = (self.truth.keys().next().unwrap().clone(), StdRng::seed_from_u64(self.random.random()));
        for _ in 0..looks {
            let kept = self.kept(&cell("a"), &x).unwrap();
            kept.commit(&mut random);
            publish(kept);
            let seen = self.seen(true);
            for step in decide(&self.home, &Want::To(cell("b")), &seen) {
                let mut copying = self.act(&step, true);
                while let Some(left) = copying {
                    copying = self.copied(left);
                }
            }
            if !matches!(self.home.phase, Phase::Settled | Phase::Copying { .. }) {
                break;
            }
        }
        self.home.clone()
    }
}

#[test]
fn who_commits_without_pause_leaves_as_long_as_the_log_takes_events() {
    let first = seed();
    for number in 0..200 {
        let mut world = World::new(first.wrapping_add(number));
        // Those of some commits are on their way at each look.
        let lag = 1 + number % 40;
        let goes_out = |kept: &mut Kept| {
            let seq = kept.seq.unwrap();
            kept.unpublished = kept.unpublished.map(|first| first.max((seq + 1).saturating_sub(lag)));
        };
        let home = world.under_load(100, goes_out);
        assert!(matches!(home.phase, Phase::Moving { .. }), "{lag}: {home:?}");
        // With a log that takes nothing any more nobody is sealed, unless it went away as the copy was made.
        let mut world = World::new(first.wrapping_add(number));
        let home = world.under_load(100, |_| ());
        assert!(matches!(home.phase, Phase::Copying { .. }), "{home:?}");
    }
}
