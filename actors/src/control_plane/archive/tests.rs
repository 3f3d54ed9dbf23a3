use super::{Filed, KEPT, Key, Recalled, settle};
use crate::control_plane::{
    ControlPlane, ControlPlaneState, Event,
    dsp::Role,
    negotiation::{self, Agreement, Negotiation},
    testing::{self, NOW, own, peer},
    transfer::{self, Transfer},
};
use cellspace_cluster::{Agent, Decision, RowOf};
use cellspace_schemas::{AssetId, Timestamp, management::ParticipantContextState};
use cellspace_storage::APART;
use std::{collections::BTreeMap, sync::Arc};

/// A participant's rows beside its state, as a store and an activation hold them.
#[derive(Default)]
struct Lived {
    state: ControlPlaneState,
    rows: BTreeMap<(String, String), Event>,
}

impl Lived {
    fn take(&mut self, decision: Decision<ControlPlane>) {
        for event in decision.events {
            ControlPlane::apply(&mut self.state, &event);
            match ControlPlane::row(&event) {
                RowOf::Put(key) => drop(self.rows.insert((key.table().into(), key.id().into()), event)),
                RowOf::Delete(key) => drop(self.rows.remove(&(key.table().into(), key.id().into()))),
            }
        }
    }

    /// Decides on nothing but these events.
    fn set(&mut self, events: impl IntoIterator<Item = Event>, recalled: &Recalled) {
        let mut decision = Decision::action("test");
        decision.events.extend(events);
        let state = self.state.clone();
        settle(&state, &recalled.shown(&state).unwrap(), &mut decision);
        self.take(decision);
    }

    /// What an activation reads.
    fn loaded(&self) -> Vec<&Event> {
        self.rows.iter().filter(|((table, _), _)| !table.starts_with(APART)).map(|(_, event)| event).collect()
    }

    fn find<T: Filed>(&self, key: &Key) -> Option<Arc<T>> {
        let at = |key: &Key| self.rows.get(&(key.row().table().to_owned(), key.row().id().to_owned())).cloned();
        match at(key)? {
            Event::Archive(super::Event::Named { id, .. }) => T::read(at(&T::key(&id)?)?),
            event => T::read(event),
        }
    }

    fn recalled(&self, key: &Key) -> Recalled {
        let found = self.find::<Negotiation>(key).into_iter().collect();
        Recalled::of(found, self.find::<Transfer>(key).into_iter().collect(), vec![key.clone()], self.state.archive.moved)
    }
}

fn finalized(n: usize) -> Arc<Negotiation> {
    let mut negotiation = negotiation::tests::negotiation(negotiation::State::Finalized, Role::Provider);
    negotiation.id = format!("n-{n:06}").parse().unwrap();
    negotiation.counterparty = peer();
    negotiation.counterparty_pid = Some(format!("theirs-{n}").parse().unwrap());
    negotiation.state_at = Timestamp(i64::try_from(n).unwrap());
    let agreement = Agreement::on(&negotiation.offer, format!("ag-{n}").parse().unwrap(), own(), peer(), Timestamp(5));
    negotiation.agreement = Some(Arc::new(agreement));
    Arc::new(negotiation)
}

fn transfer(n: usize, state: transfer::State) -> Event {
    let mut transfer = transfer::tests::transfer(state, Role::Provider);
    transfer.id = format!("t-{n:06}").parse().unwrap();
    transfer.agreement = format!("ag-{n}").parse().unwrap();
    transfer.counterparty_pid = Some(format!("their-t-{n}").parse().unwrap());
    transfer.counterparty = peer();
    transfer.state_at = Timestamp(i64::try_from(n).unwrap());
    (transfer.message, transfer.call, transfer.end_again_at) = (None, None, None);
    transfer::Event::Set(Arc::new(transfer)).into()
}

fn negotiation(n: usize) -> Event {
    negotiation::Event::Set(finalized(n)).into()
}

#[test]
fn waking_costs_the_same_however_much_has_ended() {
    let mut lived = Lived::default();
    let mut cost = Vec::new();
    for n in 0..5_000 {
        lived.set([negotiation(n)], &Recalled::default());
        lived.set([transfer(n, transfer::State::Started)], &Recalled::default());
        lived.set([transfer(n, transfer::State::Terminated)], &Recalled::default());
        if n == 1_000 || n == 4_999 {
            let bytes: usize = lived.loaded().iter().map(|event| serde_json::to_vec(event).unwrap().len()).sum();
            // Ids grow by a digit.
            cost.push((lived.loaded().len(), bytes / 10_000));
        }
    }
    assert_eq!(cost[0], cost[1], "rows, and bytes in tens of thousands, that an activation reads");
    assert!(lived.state.negotiations.iter().count() <= KEPT + 1);
    // Whatever it is asked for with, everything is still there.
    for n in [0, 1, 777, 4_500] {
        let expected = finalized(n);
        for key in expected.names().into_iter().chain([Key::Negotiation(expected.id.clone())]) {
            assert_eq!(lived.find::<Negotiation>(&key), Some(expected.clone()), "{key:?}");
            let recalled = lived.recalled(&key);
            assert!(!key.is_in(&lived.state) && key.is_in(&recalled.shown(&lived.state).unwrap()), "{key:?}");
        }
        let id = format!("t-{n:06}");
        let theirs = Key::TransferOf(peer(), format!("their-t-{n}").parse().unwrap());
        assert_eq!(lived.find::<Transfer>(&theirs).unwrap().id(), id);
        assert_eq!(lived.find::<Transfer>(&Key::Transfer(id.parse().unwrap())).unwrap().id(), id);
    }
    // An archived agreement keeps its asset; another asset can go.
    let asset: &AssetId = &finalized(0).offer.target;
    assert!(lived.state.archive.holds_asset(asset) && !lived.state.archive.holds_asset(&"another".parse().unwrap()));
    // What is loaded again is what was lived.
    let mut loaded = ControlPlaneState::default();
    lived.loaded().into_iter().for_each(|event| ControlPlane::apply(&mut loaded, event));
    assert!(loaded.archive.opened && loaded.holds_asset(asset));
    let ids = |state: &ControlPlaneState| state.negotiations.iter().map(|n| n.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&loaded), ids(&lived.state));
}

#[test]
fn an_agreement_in_use_stays_and_comes_back() {
    let mut lived = Lived::default();
    lived.set([negotiation(0)], &Recalled::default());
    lived.set([transfer(0, transfer::State::Started)], &Recalled::default());
    for n in 1..2 * KEPT {
        lived.set([negotiation(n)], &Recalled::default());
    }
    let agreement = |n: usize| Key::Agreement(format!("ag-{n}").parse().unwrap());
    // Oldest of all, but a transfer runs under it.
    assert!(agreement(0).is_in(&lived.state) && !agreement(1).is_in(&lived.state));
    // A transfer under one that has left brings it back for as long as it runs.
    let recalled = lived.recalled(&agreement(1));
    lived.set([transfer(1, transfer::State::Requested)], &recalled);
    assert!(agreement(1).is_in(&lived.state));
    lived.set([negotiation(2 * KEPT)], &Recalled::default());
    assert!(agreement(1).is_in(&lived.state));
    for n in [0, 1] {
        lived.set([transfer(n, transfer::State::Terminated)], &Recalled::default());
    }
    for n in 1..3 {
        lived.set([negotiation(2 * KEPT + n)], &Recalled::default());
    }
    assert!(!agreement(0).is_in(&lived.state) && !agreement(1).is_in(&lived.state));
    assert_eq!(lived.find::<Negotiation>(&agreement(1)), Some(finalized(1)));
}

#[test]
fn what_moved_after_it_was_looked_for_is_looked_for_again() {
    let mut lived = Lived::default();
    (0..=KEPT).for_each(|n| lived.set([negotiation(n)], &Recalled::default()));
    let key = Key::Negotiation("n-000000".parse().unwrap());
    assert!(key.is_in(&lived.state));
    let looked_for = lived.recalled(&key);
    assert!(looked_for.shown(&lived.state).is_ok());
    lived.set([negotiation(KEPT + 1)], &Recalled::default());
    assert!(!key.is_in(&lived.state));
    assert!(looked_for.shown(&lived.state).is_err());
    // What is new was nowhere before: others that move meanwhile are no matter.
    let new = Recalled::of(vec![], vec![], vec![Key::Negotiation("new".parse().unwrap())], 0);
    assert!(new.shown(&lived.state).is_ok());
    assert!(key.is_in(&lived.recalled(&key).shown(&lived.state).unwrap()));
}

#[test]
fn what_came_back_and_changed_since_is_looked_for_again() {
    let mut lived = Lived::default();
    (0..2 * KEPT).for_each(|n| lived.set([negotiation(n)], &Recalled::default()));
    let key = Key::Agreement("ag-0".parse().unwrap());
    // A message under an agreement that is archived is looked at for a while; meanwhile the agreement is retired, and archived once more.
    let message = lived.recalled(&key);
    assert!(key.is_in(&message.shown(&lived.state).unwrap()));
    let (recalled, state) = (lived.recalled(&key), lived.state.clone());
    let retire = negotiation::Prepared::Retire { agreement: "ag-0".parse().unwrap(), reason: "over".into() };
    let mut active = recalled.shown(&state).unwrap().into_owned();
    active.participant = Some(testing::participant(ParticipantContextState::Activated));
    let retired = negotiation::decide(&active, &retire, NOW).unwrap();
    lived.set(retired.events, &recalled);
    assert!(key.is_in(&lived.state));
    lived.set([negotiation(2 * KEPT)], &Recalled::default());
    assert!(!key.is_in(&lived.state));
    assert!(message.shown(&lived.state).is_err());
    let again = lived.recalled(&key);
    let shown = again.shown(&lived.state).unwrap();
    let found = shown.negotiations.of_agreement(&"ag-0".parse().unwrap()).unwrap();
    assert!(found.agreement.is_some() && found.agreement_in_force().is_none());
}

#[test]
fn what_is_deleted_leaves_the_archive() {
    let mut lived = Lived::default();
    (0..2 * KEPT).for_each(|n| lived.set([negotiation(n)], &Recalled::default()));
    let (old, before) = (finalized(0), lived.rows.len());
    let key = Key::Negotiation(old.id.clone());
    let recalled = lived.recalled(&key);
    lived.set([negotiation::Event::Deleted(old.id.clone()).into()], &recalled);
    for key in old.names().into_iter().chain([key]) {
        assert_eq!(lived.find::<Negotiation>(&key), None, "{key:?}");
    }
    assert!(lived.rows.len() < before);
}
