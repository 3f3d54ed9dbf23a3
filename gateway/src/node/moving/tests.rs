//! A mover in the cell `b`, over a cell `a` that does as a test says.

use super::*;
use cellspace_cluster::{AgentAnswer, AgentCall, Options, PeerError, SystemClock, Told as AskedSlot};
use cellspace_storage::{EmbeddedOptions, EmbeddedStore, Homes, Incarnation, Seal, Seq, View, relocation::Ahead};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The version of the home as a test begins.
const VERSION: u64 = 4;

fn cell(name: &str) -> CellName {
    CellName(name.to_owned())
}

/// The one row.
struct Row(Mutex<Home>);

impl Homes for Row {
    fn of<'a>(&'a self, _: &'a Owner) -> BoxFuture<'a, Result<Option<Home>, StoreError>> {
        let home = self.0.lock().clone();
        Box::pin(async move { Ok(Some(home)) })
    }

    fn put<'a>(&'a self, _: &'a Owner, next: &'a Home) -> BoxFuture<'a, Swap> {
        *self.0.lock() = next.clone();
        Box::pin(async { Swap::Applied })
    }
}

/// The store of a cell, with one partition: how that stands, or why it cannot be read.
struct Store(Mutex<Result<Standing, StoreError>>);

impl Movable for Store {
    fn standing<'a>(&'a self, _: &'a PartitionKey) -> BoxFuture<'a, Result<Standing, StoreError>> {
        let standing = self.0.lock().clone();
        Box::pin(async move { standing })
    }

    fn seal<'a>(&'a self, _: &'a PartitionKey, version: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        if let Ok(standing) = &mut *self.0.lock() {
            standing.seal = Seal::over(cellspace_storage::Epoch::default(), version);
        }
        Box::pin(async { Ok(()) })
    }

    fn unseal<'a>(&'a self, _: &'a PartitionKey, _: Seal) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a PartitionKey, _: Seal) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Both cells, and the nodes of `a`.
struct Both {
    a: Store,
    b: Store,
    nodes: Vec<&'static str>,
    /// Those that do not answer, and those whose life is over.
    silent: Mutex<BTreeSet<&'static str>>,
    over: Mutex<BTreeSet<&'static str>>,
    /// How often one of them has answered, and after how many answers all of them go; how often events were published for all of them.
    answered: AtomicUsize,
    lasting: AtomicUsize,
    published: AtomicUsize,
}

impl Both {
    /// A copy is made that has all up to the ninth commit.
    fn copied(nodes: &[&'static str], publishing: Option<Seq>) -> Self {
        let here = Standing { seq: Some(Seq(9)), holds: true, publishing, ..Standing::default() };
        let ahead = Ahead { version: VERSION, seq: Seq(9), generation: 0, looks: 1, passed: 7 };
        let there = Standing { ahead: Some(ahead), holds: true, ..Standing::default() };
        let (a, b) = (Store(Mutex::new(Ok(here))), Store(Mutex::new(Ok(there))));
        let (silent, over, answered, published) = <(Mutex<_>, Mutex<_>, AtomicUsize, AtomicUsize)>::default();
        Self { a, b, nodes: nodes.to_vec(), silent, over, answered, lasting: AtomicUsize::new(usize::MAX), published }
    }

    fn is_among(all: &Mutex<BTreeSet<&'static str>>, node: &NodeName) -> bool {
        all.lock().contains(node.0.as_str())
    }
}

impl Cells for Both {
    fn store(&self, name: &CellName) -> Option<&dyn Movable> {
        [(cell("a"), &self.a), (cell("b"), &self.b)].into_iter().find(|(of, _)| of == name).map(|(_, store)| store as &dyn Movable)
    }

    fn copy_ahead<'a>(
        &'a self,
        _: &'a CellName,
        _: &'a CellName,
        _: &'a PartitionKey,
        _: Standing,
        _: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn copy<'a>(&'a self, _: &'a CellName, _: &'a CellName, _: &'a PartitionKey, _: Standing) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(StoreError::Unavailable("it is sealed, and that is enough".to_owned())) })
    }

    fn members<'a>(&'a self, name: &'a CellName) -> BoxFuture<'a, Result<Vec<(Member, String)>, StoreError>> {
        assert_eq!(*name, cell("a"));
        let member = |node: &&str| (Member { node: NodeName((*node).to_owned()), incarnation: Incarnation(1) }, String::new());
        let members = self.nodes.iter().map(member).collect();
        Box::pin(async move { Ok(members) })
    }

    fn is_over<'a>(&'a self, _: &'a CellName, member: &'a Member) -> BoxFuture<'a, Result<bool, StoreError>> {
        let over = Self::is_among(&self.over, &member.node);
        Box::pin(async move { Ok(over) })
    }

    fn publish<'a>(&'a self, _: &'a CellName, _: &'a PartitionKey) -> BoxFuture<'a, Result<(), StoreError>> {
        self.published.fetch_add(1, Ordering::SeqCst);
        if let Ok(standing) = &mut *self.a.0.lock() {
            standing.publishing = None;
        }
        Box::pin(async { Ok(()) })
    }
}

impl PeerLink for Both {
    fn show<'a>(&'a self, _: &'a Peer, _: &'a View) -> BoxFuture<'a, Result<(), PeerError>> {
        unreachable!("movers show no views")
    }

    fn ask<'a>(&'a self, _: &'a Peer, _: &'a [u16], _: u64) -> BoxFuture<'a, Result<Vec<AskedSlot>, PeerError>> {
        unreachable!("movers ask for no slots")
    }

    fn announce<'a>(&'a self, to: &'a Peer, _: &'a str) -> BoxFuture<'a, Result<(), PeerError>> {
        let answer = if Self::is_among(&self.silent, &to.member.node) {
            Err(PeerError::NotDone("it is ending".to_owned()))
        } else {
            if self.answered.fetch_add(1, Ordering::SeqCst) + 1 == self.lasting.load(Ordering::SeqCst) {
                self.silent.lock().extend(&self.nodes);
                self.over.lock().extend(&self.nodes);
            }
            Ok(())
        };
        Box::pin(async move { answer })
    }

    fn call<'a>(&'a self, _: &'a Peer, _: &'a AgentCall) -> BoxFuture<'a, Result<AgentAnswer, PeerError>> {
        unreachable!("movers call no agents")
    }
}

/// What a mover of `b` reports after so long, of an owner that is copied there; and the home then.
async fn goes_on(both: &Both, time: Duration) -> (MoveReport, Home) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let cluster = Cluster::new(store.clone(), store, Arc::new(SystemClock), Options::default());
    let home = Home { cell: cell("a"), version: VERSION, came: None, phase: Phase::Copying { to: cell("b") } };
    let rows = Arc::new(Row(Mutex::new(home)));
    let elsewhere = Elsewhere::new(rows.clone(), cell("b"), cell("a"), BTreeMap::new());
    let (me, owner) = (NodeName("m".to_owned()), Owner::new("p1").unwrap());
    let mover = Mover {
        cluster: &cluster,
        elsewhere: &elsewhere,
        cells: both,
        link: both,
        me: &me,
        others: Vec::new(),
        is_member: true,
        owner: &owner,
        kinds: vec!["k"],
        told: Mutex::default(),
        away: Mutex::default(),
    };
    let report = mover.go_on(Want::To(cell("b")), time).await;
    let home = rows.0.lock().clone();
    (report, home)
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_waited_for_before_the_seal_also_when_nothing_else_is() {
    let both = Both::copied(&["n1", "n2"], None);
    both.silent.lock().insert("n2");
    let (report, home) = goes_on(&both, Duration::from_secs(20)).await;
    assert!(matches!(home.phase, Phase::Copying { .. }), "{home:?}");
    // What it has said is told.
    assert_eq!(report.waits.as_deref(), Some("node n2 of cell a is waited for: not taken: it is ending"));
    assert_eq!((report.done, report.copying), (false, Some(7)));
    assert!(both.a.0.lock().as_ref().unwrap().seal.is_none());
    // Its life is over, or it answers.
    both.over.lock().insert("n2");
    let (_, home) = goes_on(&both, Duration::from_secs(1)).await;
    assert!(matches!(home.phase, Phase::Moving { since: Some(_), .. }), "{home:?}");
    let both = Both::copied(&["n1", "n2"], None);
    let (_, home) = goes_on(&both, Duration::from_secs(1)).await;
    assert!(matches!(home.phase, Phase::Moving { .. }), "{home:?}");
}

#[tokio::test(start_paused = true)]
async fn members_are_not_told_the_same_at_each_look_and_one_that_goes_meanwhile_is_noticed() {
    let (both, time) = (Both::copied(&["n1", "n2"], Some(Seq(9))), Duration::from_secs(20));
    let (report, home) = goes_on(&both, time).await;
    assert!(matches!(home.phase, Phase::Copying { .. }), "{home:?}");
    assert_eq!(report.waits.as_deref(), Some("events of commits in cell a are on their way to the log"));
    let most = both.nodes.len() * (usize::try_from(time.as_millis() / told::COUNTS.as_millis()).unwrap() + 1);
    let answered = both.answered.load(Ordering::SeqCst);
    assert!((1..=most).contains(&answered), "{answered} answers, {most} at most");
    // All of them go while it waits for them.
    both.lasting.store(answered + 4, Ordering::SeqCst);
    let (_, home) = goes_on(&both, time).await;
    assert!(both.published.load(Ordering::SeqCst) > 0 && !matches!(home.phase, Phase::Copying { .. }), "{home:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_why_a_cell_does_not_answer() {
    let both = Both::copied(&["n1"], None);
    *both.b.0.lock() = Err(StoreError::Unavailable("too many traces".to_owned()));
    let (report, _) = goes_on(&both, Duration::from_secs(1)).await;
    let waits = report.waits.unwrap();
    assert!(waits.starts_with("cell b does not answer: ") && waits.contains("too many traces"), "{waits}");
}
