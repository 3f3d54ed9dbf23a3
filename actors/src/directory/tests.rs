//! One shard: table of every (row, command), who may do what, and reservations that are looked after until they are resolved.

use super::{
    agent::{Command, Directory, DirectoryState, Effect, Event, Matched, Matching, RESERVATION, Refusal},
    lookup::Unread,
    query::{DirectoryError, merged},
    row::{Holder, Kind, NewRow, Row},
};
use cellspace_cluster::{Agent, Decision, Input, Query, Rejection, RowOf};
use cellspace_schemas::{
    Timestamp,
    fabric::{Page, Predicate, TenantId},
};
use cellspace_storage::RowKey;
use futures::future::BoxFuture;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

fn holder(tenant: &str) -> Holder {
    Holder::from(TenantId::new(tenant).unwrap())
}

fn key(id: &str, tenant: &str) -> NewRow {
    NewRow { kind: Kind::Identifier, id: id.into(), holder: Some(holder(tenant)), references: vec!["cell:c-1".to_owned()] }
}

fn body(n: i64) -> Arc<Value> {
    Arc::new(json!({ "n": n }))
}

/// A shard without a runtime: turns on a state, its rows and deadlines.
#[derive(Default)]
struct Shard {
    state: DirectoryState,
    rows: BTreeMap<RowKey, Vec<u8>>,
    deadlines: BTreeMap<String, Timestamp>,
    now: i64,
}

impl Shard {
    fn step(&mut self, input: Input<Directory>) -> Result<Decision<Directory>, Refusal> {
        self.now += 1_000;
        let decision = match Directory::decide(&self.state, &input, Timestamp(self.now)) {
            Ok(decision) => decision,
            Err(Rejection::Refused(refusal)) => return Err(refusal),
            Err(Rejection::Stale) => panic!("a shard never finds its preparation stale"),
        };
        for event in &decision.events {
            Directory::apply(&mut self.state, event);
            match Directory::row(event) {
                RowOf::Put(key) => self.rows.insert(key, serde_json::to_vec(event).unwrap()),
                RowOf::Delete(key) => self.rows.remove(&key),
            };
            let (key, due) = Directory::deadline(event).unwrap();
            match due {
                Some(due) => self.deadlines.insert(key, due),
                None => self.deadlines.remove(&key),
            };
        }
        Ok(decision)
    }

    fn ask(&mut self, command: Command) -> Result<Decision<Directory>, Refusal> {
        self.step(Input::Command(command))
    }

    /// What the row shows: nothing, that it is reserved, or the version.
    fn shown(&self, id: &str) -> Option<Option<i64>> {
        self.state.row(Kind::Identifier, id).map(|row| row.body.as_ref().map(|_| row.version))
    }

    /// The deadline passes; what is to be looked up.
    fn due(&mut self) -> Vec<NewRow> {
        let Some((key, due)) = self.deadlines.iter().next().map(|(key, due)| (key.clone(), *due)) else { return Vec::new() };
        self.now = self.now.max(due.millis());
        let decision = self.step(Input::Due(key)).unwrap();
        let check = |effect: &Effect| {
            let Effect::Check(row) = effect;
            row.clone()
        };
        decision.effects.iter().map(|e| check(&e.effect)).collect()
    }

    fn reloaded(&self) -> DirectoryState {
        let mut state = DirectoryState::default();
        for row in self.rows.values() {
            Directory::apply(&mut state, &serde_json::from_slice::<Event>(row).unwrap());
        }
        state
    }
}

/// `(before, command)` by the holder itself: what the row shows afterwards.
#[test]
fn table() {
    let reserved = || vec![Command::Reserve(key("d", "t-1"))];
    let shown = || vec![Command::Put(key("d", "t-1"), 5, body(5))];
    let commands: [(&str, fn() -> Command); 5] = [
        ("reserve", || Command::Reserve(key("d", "t-1"))),
        ("release", || Command::Release(key("d", "t-1"))),
        ("put newer", || Command::Put(key("d", "t-1"), 6, body(6))),
        ("put older", || Command::Put(key("d", "t-1"), 4, body(4))),
        ("remove", || Command::Remove(key("d", "t-1"))),
    ];
    for (before, path) in [("none", vec![]), ("reserved", reserved()), ("shown", shown())] {
        for (name, command) in commands {
            let mut shard = Shard::default();
            for step in path.clone() {
                shard.ask(step).unwrap();
            }
            shard.ask(command()).unwrap();
            let expected = match (before, name) {
                ("none" | "reserved", "reserve") => Some(None),
                ("shown", "reserve" | "release" | "put older") => Some(Some(5)),
                (_, "put newer") => Some(Some(6)),
                ("none" | "reserved", "put older") => Some(Some(4)),
                (_, "release" | "remove") => None,
                (_, other) => panic!("{other}"),
            };
            assert_eq!(shard.shown("d"), expected, "{before}, {name}");
            // Only a reservation has a deadline.
            assert_eq!(shard.deadlines.len(), usize::from(expected == Some(None)), "{before}, {name}");
        }
    }
}

#[test]
fn what_another_one_holds_is_left_alone() {
    for before in [Command::Reserve(key("d", "t-1")), Command::Put(key("d", "t-1"), 1, body(1))] {
        let mut shard = Shard::default();
        shard.ask(before).unwrap();
        let was = shard.shown("d");
        for command in [Command::Reserve(key("d", "t-2")), Command::Release(key("d", "t-2")), Command::Put(key("d", "t-2"), 9, body(9))] {
            assert_eq!(shard.ask(command).err(), Some(Refusal::Taken("d".into())));
        }
        assert!(!shard.ask(Command::Remove(key("d", "t-2"))).unwrap().changes());
        assert_eq!(shard.shown("d"), was);
    }
}

#[test]
fn a_reservation_is_looked_up_until_it_is_resolved() {
    let lookups: [(&str, Option<(i64, Arc<Value>)>, Option<Option<i64>>); 2] =
        [("made", Some((3, body(3))), Some(Some(3))), ("never made", None, None)];
    for (name, outcome, expected) in lookups {
        let mut shard = Shard::default();
        shard.ask(Command::Reserve(key("d", "t-1"))).unwrap();
        // An object that cannot be asked for long: the reservation stays, and is looked at again each time.
        for _ in 0..3 {
            let checked = shard.due();
            assert_eq!(checked, [key("d", "t-1")], "{name}");
            assert!(shard.deadlines.is_empty());
            shard.step(Input::Undeliverable(Effect::Check(key("d", "t-1")).into(), "unreachable".to_owned())).unwrap();
            assert_eq!(shard.shown("d"), Some(None));
            let again = Timestamp(shard.now).plus(RESERVATION);
            assert_eq!(shard.deadlines.values().copied().collect::<Vec<_>>(), [again]);
        }
        assert_eq!(shard.due().len(), 1);
        shard.step(Input::Delivered(Effect::Check(key("d", "t-1")).into(), outcome)).unwrap();
        assert_eq!(shard.shown("d"), expected, "{name}");
        assert!(shard.deadlines.is_empty());
    }
}

/// The id changed hands while the object was looked up: the outcome is about what was there before.
#[test]
fn a_late_look_up_says_nothing_about_another_holder() {
    let check = || Effect::Check(key("d", "t-1")).into();
    for input in [Input::Delivered(check(), None), Input::Undeliverable(check(), "unreachable".to_owned())] {
        let mut shard = Shard::default();
        shard.ask(Command::Reserve(key("d", "t-1"))).unwrap();
        shard.due();
        shard.ask(Command::Release(key("d", "t-1"))).unwrap();
        shard.ask(Command::Reserve(key("d", "t-2"))).unwrap();
        assert!(!shard.step(input).unwrap().changes());
        assert_eq!(shard.shown("d"), Some(None));
    }
}

/// Rows of several shards make one list: oldest first, reserved ones as their objects are. An object that is parked hides no other, one that cannot be asked now
/// is not left out.
#[tokio::test]
async fn lists_over_shards() {
    let row = |id: &str, created: i64, body: Option<Value>| {
        let key = NewRow { kind: Kind::Tenant, id: id.into(), holder: None, references: Vec::new() };
        Arc::new(Row { key, created: Timestamp(created), version: 1, body: body.map(Arc::new), check_at: None })
    };
    let tenant = |id: &str| json!({"id": id, "properties": {"kind": if id < "d" { "early" } else { "late" }}});
    let rows = [
        row("e", 5, Some(tenant("e"))),
        row("c", 3, None),
        row("a", 1, Some(tenant("a"))),
        row("never-made", 2, None),
        row("unreadable", 2, None),
        row("d", 3, Some(tenant("d"))),
    ];
    let look = |row: &Row| -> BoxFuture<'static, Result<Option<(i64, Arc<Value>)>, Unread>> {
        let object = match row.key.id.as_ref() {
            "unreadable" => Err(Unread::Parked("a row".to_owned())),
            "slow" => Err(Unread::NotNow("in time".to_owned())),
            "never-made" => Ok(None),
            id => Ok(Some((0, Arc::new(tenant(id))))),
        };
        Box::pin(async { object })
    };
    for (predicate, offset, limit, ids, total) in [
        ("true", 0, 10, vec!["a", "c", "d", "e"], 4),
        ("true", 1, 2, vec!["c", "d"], 4),
        ("true", 0, 1, vec!["a"], 4),
        ("true", 4, 2, vec![], 4),
        // A reserved row is judged by its object.
        ("properties.kind = 'early'", 0, 10, vec!["a", "c"], 2),
    ] {
        let predicate: Predicate = predicate.parse().unwrap();
        // Dealt to three shards, each of which says what it has for the page.
        let mut shards: [DirectoryState; 3] = Default::default();
        for (n, row) in rows.iter().enumerate() {
            Directory::apply(&mut shards[n % 3], &Event::Set(row.clone()));
        }
        let asked = Matching { kind: Kind::Tenant, predicate: predicate.clone(), limit: (offset + limit) as usize };
        let matched: Vec<Matched> = shards.iter().map(|shard| asked.answer(shard)).collect();
        let shown = |of_shard: &Matched| of_shard.rows.iter().filter(|row| row.body.is_some()).count();
        assert!(matched.iter().all(|of_shard| shown(of_shard) <= asked.limit));
        let found = merged(matched, &predicate, Page { offset, limit }, look).await.unwrap();
        let found_ids: Vec<&str> = found.bodies.iter().map(|body| body["id"].as_str().unwrap()).collect();
        assert_eq!((found_ids, found.total), (ids, total), "{predicate:?} {offset} {limit}");
    }
    let with_slow = Matched { rows: vec![row("slow", 1, None)], total: 0 };
    let found = merged(vec![with_slow], &Predicate::All, Page { offset: 0, limit: 1 }, look).await;
    assert!(matches!(found, Err(DirectoryError::Unavailable(_))), "{found:?}");
}

proptest! {
    #![proptest_config(cellspace_schemas::testkit::proptest_config())]
    /// Whatever is asked, by whomever: the lists hold every row once, oldest first, and the rows bring all of it back.
    #[test]
    fn lists_and_rows_agree(steps in proptest::collection::vec((0usize..4, 0usize..3, 0usize..2, 0i64..4), 0..60)) {
        let mut shard = Shard::default();
        for (what, id, tenant, version) in steps {
            let row = key(["a", "b", "c"][id], ["t-1", "t-2"][tenant]);
            let _ = shard.ask(match what {
                0 => Command::Reserve(row),
                1 => Command::Release(row),
                2 => Command::Put(row, version, body(version)),
                _ => Command::Remove(row),
            });
            let listed: Vec<_> = shard.state.of_kind(Kind::Identifier).map(|row| (row.created, row.key.id.clone())).collect();
            let mut sorted = listed.clone();
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(&listed, &sorted);
            prop_assert_eq!(listed.len(), shard.rows.len());
            prop_assert_eq!(shard.state.of_kind(Kind::Tenant).count(), 0);
            let loaded = shard.reloaded();
            prop_assert_eq!(loaded.of_kind(Kind::Identifier).collect::<Vec<_>>(), shard.state.of_kind(Kind::Identifier).collect::<Vec<_>>());
            for key in shard.deadlines.keys() {
                let id = key.rsplit('/').next().unwrap();
                prop_assert_eq!(shard.shown(id), Some(None), "only reservations have deadlines");
            }
        }
    }
}
