//! What a node takes in of what others answer, whenever that comes.

use super::*;
use crate::{
    SystemClock,
    membership::{Moment, Rings},
    remote::{AgentAnswer, AgentCall},
};
use cellspace_schemas::Timestamp;
use cellspace_storage::{Dead, Deal, Incarnation, Lease, Settled, Swap, testkit::MemoryMembership};
use futures::future::{BoxFuture, FutureExt};

/// Nobody is reached.
struct Nobody;

async fn lost<T>() -> Result<T, PeerError> {
    Err(PeerError::Lost("nobody is there".into()))
}

impl PeerLink for Nobody {
    fn show<'a>(&'a self, _: &'a Peer, _: &'a View) -> BoxFuture<'a, Result<(), PeerError>> {
        lost().boxed()
    }

    fn ask<'a>(&'a self, _: &'a Peer, _: &'a [u16], _: u64) -> BoxFuture<'a, Result<Vec<Told>, PeerError>> {
        lost().boxed()
    }

    fn announce<'a>(&'a self, _: &'a Peer, _: &'a str) -> BoxFuture<'a, Result<(), PeerError>> {
        lost().boxed()
    }

    fn call<'a>(&'a self, _: &'a Peer, _: &'a AgentCall) -> BoxFuture<'a, Result<AgentAnswer, PeerError>> {
        lost().boxed()
    }
}

struct Stands;

impl Uptime for Stands {
    fn now(&self) -> Moment {
        Moment(Duration::from_secs(1))
    }
}

/// What is heard of slots.
#[derive(Default)]
struct Note(Mutex<BTreeMap<u16, Option<String>>>);

impl SlotMemory for Note {
    fn tell(&self, _: Opening) -> Option<Box<RawValue>> {
        None
    }

    fn hear(&self, slot: Slot, told: Option<&RawValue>) {
        self.0.lock().insert(slot.number(), told.map(|told| told.get().to_owned()));
    }
}

fn member(name: &str) -> Member {
    Member { node: NodeName(name.to_owned()), incarnation: Incarnation(1) }
}

fn next(before: Option<&View>, names: &[&str]) -> View {
    let members: Vec<_> = names.iter().map(|name| member(name)).collect();
    let mut past: Vec<Deal> = before.map(|before| before.past.iter().chain([&before.deal]).cloned().collect()).unwrap_or_default();
    past = past.split_off(past.len().saturating_sub(View::PAST));
    View {
        version: before.map_or(1, |before| before.version + 1),
        format: 1,
        deal: Deal { from: members.clone(), to: members, mark: 0 },
        past,
        dead: Vec::new(),
    }
}

fn of_b(membership: Arc<MemoryMembership>) -> Arc<Cell> {
    Cell::new(CellOptions {
        node: member("b").node,
        level: 1,
        endpoint: String::new(),
        terms: Terms::default(),
        membership,
        peers: Arc::new(Nobody),
        uptime: Arc::new(Stands),
        clock: Arc::new(SystemClock),
    })
}

/// The first row of `b`.
fn row() -> Lease {
    Lease::first(Member { incarnation: Incarnation(1), ..member("b") }, 1, "")
}

/// Node `b`, which has taken in these memberships one after the other, the first of them `a` alone; and what it heard.
fn node_b(memberships: &[&[&str]]) -> (Arc<Cell>, Arc<Note>, View) {
    let cell = of_b(Arc::new(MemoryMembership::default()));
    let note = Arc::new(Note::default());
    cell.remember(note.clone());
    let terms = Terms::default();
    *cell.node.lock() = Some(Node::new(None, row(), terms.clone(), Rings::new(terms.slots), cell.open.now()));
    let mut view = next(None, &["a"]);
    cell.shown(view.clone()).unwrap();
    for names in memberships {
        view = next(Some(&view), names);
        cell.shown(view.clone()).unwrap();
    }
    (cell, note, view)
}

/// A slot goes from `a` to `b`, back before `b` has opened it, and to `b` once more. What `a` answered in between is of before the time that it had the slot again, and
/// what is known of that nobody tells any more when `a` is dead.
#[test]
fn what_was_told_of_an_earlier_time_counts_for_no_later_one() {
    let told_by_a = |question: u64| {
        let (cell, note, view) = node_b(&[&["a", "b"], &["a"], &["a", "b"]]);
        assert_eq!(view.version, 4);
        let (_, slot) = cell.node.lock().as_ref().unwrap().asks().remove(0);
        let memory = RawValue::from_string(question.to_string()).unwrap();
        cell.take_answers(&member("a"), &[slot], vec![Told { answer: Answer::Released, memory: Some(memory) }], question);
        cell.open_free();
        let opened = note.0.lock().contains_key(&slot);
        cell.shown(next(Some(&view), &["b"])).unwrap();
        cell.open_free();
        let heard = note.0.lock().get(&slot).cloned();
        (opened, heard)
    };
    assert_eq!(told_by_a(2), (false, Some(None)), "an answer that comes late opens nothing, and is heard by nobody");
    assert_eq!(told_by_a(4), (true, Some(Some("4".to_owned()))));
}

/// Of a slot whose owner was found dead an opening tells when it was served before; of one that is not open nothing is told that was of an earlier opening.
#[test]
fn an_opening_tells_when_its_slot_was_served_before_and_until_when_it_is() {
    let never = Timestamp(i64::MAX / 2);
    for told in [None, Some(Timestamp(1_600_000_000_000)), Some(never)] {
        let (cell, _, view) = node_b(&[&["a", "b"]]);
        let until = Timestamp(1_700_000_000_000);
        let dead = Dead { member: member("a"), until, settled: told.map(|at| Settled { view: 2, at }) };
        let alone = View { dead: vec![dead], ..next(Some(&view), &["b"]) };
        let slot = {
            let mut node = cell.node.lock();
            let node = node.as_mut().unwrap();
            let slot = (0..Terms::default().slots).find(|slot| node.owner(*slot) == Some(&member("a"))).unwrap();
            let (_, row) = node.renewal(cell.open.now(), Timestamp(1_700_000_001_000));
            node.renewed(&Swap::Applied);
            node.observed(Some(alone.clone()), &[row], cell.open.now()).unwrap();
            cell.open.renew(node);
            slot
        };
        cell.open_free();
        let slot = Slot::numbered(slot).unwrap();
        let opening = cell.opened_at(slot);
        let patience = Terms::default().patience();
        let before = opening.before.unwrap();
        // It came to `a` in this moment, as far as `b` knows.
        let seen = before.others > opening.at && before.others <= opening.at.plus(patience);
        assert!(told.filter(|told| *told < never).map_or(seen, |told| before.others == told), "{opening:?}");
        assert_eq!((before.owner, opening.until), (until, Some(Timestamp(1_700_000_003_000))));
        // It goes, and is about to come back.
        cell.shown(next(Some(&alone), &["a"])).unwrap();
        assert_eq!(cell.opened_at(slot).before, None);
    }
}

/// Time stands: what opens does so because the life before has told of it.
#[tokio::test]
async fn a_node_that_starts_again_opens_what_its_row_says_that_it_had() {
    let rows = Arc::new(MemoryMembership::default());
    let (mut view, b) = (None, member("b"));
    for _ in 0..20 {
        let next = next(view.as_ref(), &["b"]);
        assert_eq!(rows.change_view(next.clone()).await, Swap::Applied);
        view = Some(next);
    }
    let at = Timestamp(1_600_000_000_000);
    let last = Lease { until: Some(Timestamp(1_700_000_000_000)), settled: Some(Settled { view: 19, at }), ..row() };
    assert_eq!(rows.put_lease(None, last.clone()).await, Swap::Applied);
    let cell = of_b(rows);
    cell.renew().await;
    cell.look().await.unwrap();
    let later = cell.node.lock().as_ref().unwrap().me().clone();
    assert_ne!(later, b);
    let mut placed = next(view.as_ref(), &["b"]);
    (placed.deal.from, placed.deal.to) = (vec![later.clone()], vec![later]);
    cell.shown(placed).unwrap();
    cell.open_free();
    let opening = cell.opened_at(Slot::numbered(0).unwrap());
    assert!(cell.open.is_open(opening.slot) && opening.before.is_some_and(|before| before.others == at), "{opening:?}");
}
