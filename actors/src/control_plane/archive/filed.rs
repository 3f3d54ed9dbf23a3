//! What the archive must know of a kind of process.

use super::{
    super::{
        ControlPlaneState,
        negotiation::{self, Negotiation},
        transfer::{self, Transfer},
    },
    Event, Field, Key, Kind,
    marks::{AGREED, newest_first},
};
use crate::control_plane;
use cellspace_schemas::{Pid, Timestamp};
use std::{borrow::Cow, sync::Arc};

/// A kind of process that is archived when it has ended.
pub trait Filed: Send + Sync + Sized + 'static {
    /// Which.
    const KIND: Kind;
    /// Table of its rows, without the mark of tables apart.
    const TABLE: &'static str;
    /// Table that finds it by the counterparty's process id.
    const OF: &'static str;

    /// Our id of it.
    fn id(&self) -> &str;
    /// The key that leads to it directly.
    fn key(id: &str) -> Option<Key>;
    /// Its other ids.
    fn names(&self) -> Vec<Key>;
    /// Its value in a field that lists are searched by: a text without white space.
    fn value(&self, field: Field) -> Option<Cow<'_, str>>;
    /// Its place among those of its kind, from the oldest on: when it began, and its id.
    fn place(&self) -> (Timestamp, &str);
    /// The words of its states, and their numbers.
    fn states() -> impl Iterator<Item = (&'static str, u16)>;
    /// The process in a row, if it is of this kind.
    fn read(event: control_plane::Event) -> Option<Arc<Self>>;
    /// Puts it into a state.
    fn show(state: &mut ControlPlaneState, process: Arc<Self>);
    /// The one in the state that the key leads to.
    fn at<'a>(state: &'a ControlPlaneState, key: &Key) -> Option<&'a Arc<Self>>;
    /// Those in the state, in order of their ids.
    fn live(state: &ControlPlaneState) -> impl Iterator<Item = &Arc<Self>>;
    /// Those in the state that any counterparty calls `pid`.
    fn correlated<'a>(state: &'a ControlPlaneState, pid: &Pid) -> impl Iterator<Item = &'a Arc<Self>>;
}

impl Filed for Negotiation {
    const KIND: Kind = Kind::Negotiation;
    const TABLE: &'static str = Key::NEGOTIATION;
    const OF: &'static str = Key::NEGOTIATION_OF;

    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn key(id: &str) -> Option<Key> {
        id.parse().ok().map(Key::Negotiation)
    }

    fn names(&self) -> Vec<Key> {
        let agreement = self.agreement.as_ref().map(|agreement| Key::Agreement(agreement.id.clone()));
        let theirs = self.counterparty_pid.as_ref().map(|pid| Key::NegotiationOf(self.counterparty.clone(), pid.clone()));
        agreement.into_iter().chain(theirs).collect()
    }

    fn value(&self, field: Field) -> Option<Cow<'_, str>> {
        Some(match field {
            Field::State => self.state.name().into(),
            Field::Role => self.role.name().into(),
            Field::Counterparty => self.counterparty.as_str().into(),
            Field::Asset => self.offer.target.as_str().into(),
            Field::Agreed => self.agreement.as_ref().map(|_| AGREED)?.into(),
            Field::Created => newest_first(self.created_at).into(),
            Field::Contract => return None,
        })
    }

    fn place(&self) -> (Timestamp, &str) {
        (self.created_at, self.id.as_str())
    }

    fn states() -> impl Iterator<Item = (&'static str, u16)> {
        negotiation::State::ALL.into_iter().map(|state| (state.name(), state.code()))
    }

    fn read(event: control_plane::Event) -> Option<Arc<Self>> {
        match event {
            control_plane::Event::Archive(Event::Negotiation(negotiation)) => Some(negotiation),
            _ => None,
        }
    }

    fn show(state: &mut ControlPlaneState, process: Arc<Self>) {
        state.negotiations.apply(&control_plane::negotiation::Event::Set(process));
    }

    fn at<'a>(state: &'a ControlPlaneState, key: &Key) -> Option<&'a Arc<Self>> {
        match key {
            Key::Negotiation(id) => state.negotiations.get(id),
            Key::Agreement(id) => state.negotiations.of_agreement(id),
            Key::NegotiationOf(peer, pid) => state.negotiations.of_counterparty(peer, pid),
            Key::Transfer(_) | Key::TransferOf(..) => None,
        }
    }

    fn live(state: &ControlPlaneState) -> impl Iterator<Item = &Arc<Self>> {
        state.negotiations.iter()
    }

    fn correlated<'a>(state: &'a ControlPlaneState, pid: &Pid) -> impl Iterator<Item = &'a Arc<Self>> {
        state.negotiations.correlated(pid)
    }
}

impl Filed for Transfer {
    const KIND: Kind = Kind::Transfer;
    const TABLE: &'static str = Key::TRANSFER;
    const OF: &'static str = Key::TRANSFER_OF;

    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn key(id: &str) -> Option<Key> {
        id.parse().ok().map(Key::Transfer)
    }

    fn names(&self) -> Vec<Key> {
        self.counterparty_pid.as_ref().map(|pid| Key::TransferOf(self.counterparty.clone(), pid.clone())).into_iter().collect()
    }

    fn value(&self, field: Field) -> Option<Cow<'_, str>> {
        Some(match field {
            Field::State => self.state.name().into(),
            Field::Role => self.role.name().into(),
            Field::Counterparty => self.counterparty.as_str().into(),
            Field::Asset => self.asset.as_str().into(),
            Field::Contract => self.agreement.as_str().into(),
            Field::Created => newest_first(self.created_at).into(),
            Field::Agreed => return None,
        })
    }

    fn place(&self) -> (Timestamp, &str) {
        (self.created_at, self.id.as_str())
    }

    fn states() -> impl Iterator<Item = (&'static str, u16)> {
        transfer::State::ALL.into_iter().map(|state| (state.name(), state.code()))
    }

    fn read(event: control_plane::Event) -> Option<Arc<Self>> {
        match event {
            control_plane::Event::Archive(Event::Transfer(transfer)) => Some(transfer),
            _ => None,
        }
    }

    fn show(state: &mut ControlPlaneState, process: Arc<Self>) {
        state.transfers.apply(&control_plane::transfer::Event::Set(process));
    }

    fn at<'a>(state: &'a ControlPlaneState, key: &Key) -> Option<&'a Arc<Self>> {
        match key {
            Key::Transfer(id) => state.transfers.get(id),
            Key::TransferOf(peer, pid) => state.transfers.of_counterparty(peer, pid),
            Key::Negotiation(_) | Key::Agreement(_) | Key::NegotiationOf(..) => None,
        }
    }

    fn live(state: &ControlPlaneState) -> impl Iterator<Item = &Arc<Self>> {
        state.transfers.iter()
    }

    fn correlated<'a>(state: &'a ControlPlaneState, pid: &Pid) -> impl Iterator<Item = &'a Arc<Self>> {
        state.transfers.correlated(pid)
    }
}
