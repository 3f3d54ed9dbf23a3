//! The agent that holds one shard.

use super::{
    lookup::{self, Unread},
    row::{Holder, Kind, NewRow, Row},
};
use crate::Services;
use cellspace_cluster::{
    Address, Agent, Call, Decision, Delivery, DeliveryError, Input, PrepareError, Query, Reach, Rejection, RetryPolicy, RowOf,
};
use cellspace_schemas::{Timestamp, fabric::Predicate};
use cellspace_storage::{AgentKind, RowKey};
use futures::future::BoxFuture;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// A reservation whose object has not come into being after this time is checked, and removed unless the object is there.
pub(super) const RESERVATION: Duration = Duration::from_secs(600);

/// One shard of the directory.
pub struct Directory {
    services: Services,
}

impl Directory {
    /// The agent with the services that its look-ups use.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

/// Place of a row in lists.
pub(super) type Order = (Kind, Timestamp, Arc<str>);

/// Rows of one shard.
#[derive(Debug, Clone, Default)]
pub struct DirectoryState {
    rows: HashTrieMapSync<(Kind, Arc<str>), Arc<Row>>,
    ordered: RedBlackTreeMapSync<Order, Arc<Row>>,
}

impl DirectoryState {
    /// A row.
    #[must_use]
    pub fn row(&self, kind: Kind, id: &str) -> Option<&Arc<Row>> {
        self.rows.get(&(kind, Arc::from(id)))
    }

    /// Rows of a kind, oldest first.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Row>> {
        let from: Order = (kind, Timestamp(i64::MIN), Arc::from(""));
        self.ordered.range(from..).map(|(_, row)| row).take_while(move |row| row.key.kind == kind)
    }
}

/// A request to a shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Takes the id before the object is made; repeatable by the same holder.
    Reserve(NewRow),
    /// Gives a reserved id back, when the object was not made after all.
    Release(NewRow),
    /// Shows the object as it now is; an older version than the one shown changes nothing.
    Put(NewRow, i64, Arc<Value>),
    /// The object is gone.
    Remove(NewRow),
}

/// The first rows of a kind that satisfy a predicate, and all those whose object must be asked: oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Matching {
    /// Which kind.
    pub kind: Kind,
    /// What they satisfy.
    pub predicate: Predicate,
    /// So many of the former, at most.
    pub limit: usize,
}

/// What is found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Matched {
    /// The rows.
    pub rows: Vec<Arc<Row>>,
    /// How many satisfy the predicate; those whose object must be asked are not counted.
    pub total: usize,
}

impl Query<Directory> for Matching {
    const NAME: &'static str = "matching";
    type Answer = Matched;

    fn answer(&self, state: &DirectoryState) -> Self::Answer {
        let mut found = Matched::default();
        for row in state.of_kind(self.kind) {
            match &row.body {
                Some(body) if !self.predicate.matches(body) => continue,
                Some(_) if found.total >= self.limit => {
                    found.total += 1;
                    continue;
                }
                Some(_) => found.total += 1,
                None => {}
            }
            found.rows.push(row.clone());
        }
        found
    }
}

/// Whether any row, reserved ones included, refers to something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refers(pub String);

impl Query<Directory> for Refers {
    const NAME: &'static str = "refers";
    type Answer = bool;

    fn answer(&self, state: &DirectoryState) -> Self::Answer {
        let kinds = [Kind::ParticipantProfile, Kind::Orchestration];
        kinds.into_iter().any(|kind| state.of_kind(kind).any(|row| row.key.references.contains(&self.0)))
    }
}

/// Why a shard refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The id belongs to another holder.
    #[error("{0} is already in use")]
    Taken(Arc<str>),
}

/// A change of a shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// The row as it now is.
    Set(Arc<Row>),
    /// The row is gone.
    Removed(Kind, Arc<str>),
}

/// Something to do after the commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Effect {
    /// Look whether the object of a reserved row exists.
    Check(NewRow),
}

/// What a look-up brought: version and form of the object, or that there is none.
pub type Outcome = Option<(i64, Arc<Value>)>;

type Decided = Result<Decision<Directory>, Rejection<Refusal>>;

/// Lane and deadline key of a row.
fn name_of(kind: Kind, id: &str) -> String {
    format!("{}/{id}", kind.table())
}

fn set(action: &'static str, row: Row) -> Decision<Directory> {
    Decision::action(action).event(Event::Set(Arc::new(row)))
}

fn removed(action: &'static str, row: &Row) -> Decision<Directory> {
    Decision::action(action).event(Event::Removed(row.key.kind, row.key.id.clone()))
}

/// The row, when it is there; refused when it belongs to another holder.
fn held<'a>(state: &'a DirectoryState, key: &NewRow) -> Result<Option<&'a Arc<Row>>, Refusal> {
    match state.row(key.kind, &key.id) {
        Some(row) if !row.held_by(key.holder.as_ref()) => Err(Refusal::Taken(key.id.clone())),
        found => Ok(found),
    }
}

fn command(state: &DirectoryState, command: &Command, now: Timestamp) -> Decided {
    match command {
        Command::Reserve(key) => Ok(match held(state, key)? {
            // reserved -> reserved, shown -> shown
            Some(_) => Decision::nothing(),
            // (none) -> reserved
            None => {
                let check_at = Some(now.plus(RESERVATION));
                set("directory.reserved", Row { key: key.clone(), created: now, version: 0, body: None, check_at })
            }
        }),
        Command::Release(key) => Ok(match held(state, key)? {
            // reserved -> (none)
            Some(row) if row.body.is_none() => removed("directory.released", row),
            // shown -> shown: the object was made after all
            Some(_) | None => Decision::nothing(),
        }),
        Command::Put(key, version, body) => Ok(match held(state, key)? {
            Some(row) if row.body.is_some() && row.version >= *version => Decision::nothing(),
            // reserved -> shown, shown -> shown, (none) -> shown
            found => {
                let created = found.map_or(now, |row| row.created);
                let row = Row { key: key.clone(), created, version: *version, body: Some(body.clone()), check_at: None };
                set("directory.put", row)
            }
        }),
        Command::Remove(key) => Ok(match held(state, key) {
            // reserved -> (none), shown -> (none)
            Ok(Some(row)) => removed("directory.removed", row),
            // What another one holds by now is not what was to be removed.
            Ok(None) | Err(Refusal::Taken(_)) => Decision::nothing(),
        }),
    }
}

fn checked(state: &DirectoryState, key: &NewRow, outcome: &Outcome) -> Decided {
    let reserved = state.row(key.kind, &key.id).filter(|row| row.body.is_none() && row.held_by(key.holder.as_ref()));
    Ok(match (reserved, outcome) {
        (None, _) => Decision::nothing(),
        // reserved -> (none)
        (Some(row), None) => removed("directory.expired", row),
        // reserved -> shown
        (Some(row), Some((version, body))) => {
            let row = Row { version: *version, body: Some(body.clone()), check_at: None, ..row.as_ref().clone() };
            set("directory.confirmed", row)
        }
    })
}

/// The object could not be asked for minutes: the reservation stays, is resolved whenever it is read, and is checked again.
fn unchecked(state: &DirectoryState, key: &NewRow, now: Timestamp) -> Decision<Directory> {
    let row = state.row(key.kind, &key.id).filter(|row| row.body.is_none() && row.check_at.is_none() && row.held_by(key.holder.as_ref()));
    row.map_or_else(Decision::nothing, |row| {
        set("directory.unchecked", Row { check_at: Some(now.plus(RESERVATION)), ..row.as_ref().clone() })
    })
}

fn due(state: &DirectoryState, key: &str) -> Decided {
    let kinds =
        [Kind::Tenant, Kind::ParticipantProfile, Kind::Identifier, Kind::Orchestration, Kind::ParticipantContext, Kind::ManagedParticipant];
    let named = key.split_once('/').and_then(|(table, id)| Some((kinds.into_iter().find(|kind| kind.table() == table)?, id)));
    let row = named.and_then(|(kind, id)| state.row(kind, id)).filter(|row| row.body.is_none());
    Ok(row.map_or_else(Decision::nothing, |row| {
        let unscheduled = Row { check_at: None, ..row.as_ref().clone() };
        let lane = name_of(row.key.kind, &row.key.id);
        set("directory.checked", unscheduled).effect(lane, Effect::Check(row.key.clone()))
    }))
}

impl Agent for Directory {
    const KIND: AgentKind = AgentKind("directory");
    type State = DirectoryState;
    type Command = Command;
    type Prepared = Command;
    type Event = Event;
    type Effect = Effect;
    type Outcome = Outcome;
    type Reply = ();
    type Refusal = Refusal;

    fn reach(none: Reach<Self>) -> Reach<Self> {
        none.commands().query::<Matching>().query::<Refers>()
    }

    fn creates(command: &Command) -> bool {
        match command {
            Command::Reserve(_) | Command::Put(..) => true,
            Command::Release(_) | Command::Remove(_) => false,
        }
    }

    fn prepare<'a>(
        &'a self,
        _address: &'a Address,
        _snapshot: Arc<DirectoryState>,
        command: Command,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Command, PrepareError<Refusal>>> {
        Box::pin(async move { Ok(command) })
    }

    fn decide(state: &DirectoryState, input: &Input<Self>, now: Timestamp) -> Decided {
        match input {
            Input::Command(c) => command(state, c, now),
            Input::Delivered(effect, outcome) => match effect.as_ref() {
                Effect::Check(key) => checked(state, key, outcome),
            },
            Input::Undeliverable(effect, _) => match effect.as_ref() {
                Effect::Check(key) => Ok(unchecked(state, key, now)),
            },
            Input::Due(key) => due(state, key),
        }
    }

    fn apply(state: &mut DirectoryState, event: &Event) {
        match event {
            Event::Set(row) => {
                let (kind, id) = (row.key.kind, row.key.id.clone());
                state.ordered.insert_mut((kind, row.created, id.clone()), row.clone());
                state.rows.insert_mut((kind, id), row.clone());
            }
            Event::Removed(kind, id) => {
                let key = (*kind, id.clone());
                if let Some(row) = state.rows.get(&key).cloned() {
                    state.rows.remove_mut(&key);
                    state.ordered.remove_mut(&(*kind, row.created, id.clone()));
                }
            }
        }
    }

    fn row(event: &Event) -> RowOf {
        match event {
            Event::Set(row) => RowOf::Put(RowKey::new(row.key.kind.table(), &row.key.id)),
            Event::Removed(kind, id) => RowOf::Delete(RowKey::new(kind.table(), id)),
        }
    }

    fn deadline(event: &Event) -> Option<(String, Option<Timestamp>)> {
        match event {
            Event::Set(row) => Some((name_of(row.key.kind, &row.key.id), row.check_at)),
            Event::Removed(kind, id) => Some((name_of(*kind, id), None)),
        }
    }

    fn deliver<'a>(&'a self, delivery: Delivery<'a, Self>) -> BoxFuture<'a, Result<Outcome, DeliveryError>> {
        Box::pin(async move {
            let Effect::Check(key) = delivery.effect.as_ref();
            let looked = lookup::object(&self.services, key.kind, &key.id, key.holder.as_ref()).await;
            looked.map_err(|(Unread::Parked(reason) | Unread::NotNow(reason))| DeliveryError::Retry(reason))
        })
    }

    fn retry_policy(_effect: &Effect) -> RetryPolicy {
        RetryPolicy::default()
    }
}

/// A holder for the tenant itself.
impl From<cellspace_schemas::fabric::TenantId> for Holder {
    fn from(tenant: cellspace_schemas::fabric::TenantId) -> Self {
        Self { tenant, profile: None }
    }
}
